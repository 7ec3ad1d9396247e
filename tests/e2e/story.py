# SPDX-License-Identifier: Apache-2.0
"""What a demo tells: what happens while it plays, who had which Gaudi, and what it played on.

    say('starting pod C')                       # with elapsed seconds; kept for the report
    held(node, '0000:04:00.0', 'p2p-copy-c')    # that pod of that node has, or had, this Gaudi
"""

import json
import shlex
import subprocess
import time

from guest import GuestError
from node import ROOT


class Story:
    def __init__(self):
        self.start = time.monotonic()
        self.entries = []  # [(seconds, text, kind)], as the report has them
        self.owners = {}   # {(name of the node, id of the Gaudi): [pod]}
        self.sink = None   # a function that takes a line

    def say(self, text, kind=''):
        """kind is 'pass' or 'fail' for the end of a proof."""
        seconds = time.monotonic() - self.start
        self.entries.append((seconds, text, kind))
        if self.sink:
            self.sink('[%4d s] %s' % (seconds, text))

    def held(self, node, gaudi, pod):
        pods = self.owners.setdefault((node.node_name, gaudi), [])
        if pod not in pods:
            pods.append(pod)


story = Story()
say, held = story.say, story.held


def nodes_of(stage):
    """The nodes of a Cluster, or a Node alone."""
    return list(stage.node.values()) if hasattr(stage, 'node') else [stage]


def _switch(path):
    """Address of the upstream port of the nearest switch, from a PCI function's path in sysfs; '' when there is none."""
    below = path.split('/pci')[-1].split('/')[1:]  # root port, upstream port, downstream port, function
    return below[-3] if len(below) >= 4 else ''


def topology(node):
    """Pairs of a node for the report, as the device plugin wrote them down and the node's sysfs shows them."""
    pairs = json.loads(node.read('/var/lib/gaudi-p2p/pairs.json'))['pairs']
    found = []
    for pair in pairs:
        gaudi, nic = pair['gaudi'], pair['nic']
        addresses = ['$(cat /sys/class/accel/$(basename $(readlink /dev/gaudi/by-id/%s/accel))/device/pci_addr)' % shlex.quote(gaudi)]
        addresses += [shlex.quote(nic['pci'])] if nic else []
        paths = node.sh('for a in %s; do readlink -f /sys/bus/pci/devices/$a; done' % ' '.join(addresses)).split()
        switches = [_switch(path) for path in paths]
        name = nic['rdma'] if nic else ''
        if nic and switches[1] != switches[0]:
            name += ' at switch %s' % switches[1] if switches[1] else ' at no switch'
        found.append({'switch': switches[0], 'gaudi': gaudi, 'nic': name,
                      'pods': story.owners.get((node.node_name, gaudi), [])})
    return {'name': node.node_name, 'pairs': found}


def _says(*command):
    """First line that a program of this machine says; '' when it fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ''
    return done.stdout.decode(errors='replace').split('\n')[0] if done.returncode == 0 else ''


def versions(node):
    """[(of what, version)] of what ran on the node and under it."""
    asked = (('Linux', 'uname -r'), ('kubelet', 'kubelet --version'), ('containerd', 'containerd --version'),
             ('gaudi_p2p', 'cd /sys/module/gaudi_p2p && echo "$(cat version), source $(cat srcversion)"'))
    found = []
    for what, command in asked:
        rc, out = node.run(command)
        found.append((what, out.strip() if rc == 0 else 'not known: ' + out.strip()))
    return found + [('QEMU', '%s, %s' % (_says('qemu-system-x86_64', '--version'), node.accel)),
                    ('this project', _says('git', 'describe', '--always', '--dirty') or 'not known')]


def look(stage):
    """(topology, versions) for the report; of what can still be asked."""
    nodes, words = [], []
    for node in nodes_of(stage):
        try:
            nodes.append(topology(node))
            words = words or versions(node)
        except (GuestError, OSError, ValueError, KeyError) as e:
            say('%s cannot be looked at: %s' % (node.node_name, e))
    return nodes, words
