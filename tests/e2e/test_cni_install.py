# SPDX-License-Identifier: Apache-2.0
"""cni-rdma onto a node that has only its pod network, by the DaemonSet in deploy/, and away again."""

import json
import os

from node import CARDS, ROOT, STAY, pod
from shipped import PLUGIN, shipped, start_device_plugin

TOGETHER = True
INSTALLER, USER = 'cni-rdma', 'installed-user'
TOOLS = 'gaudi-p2p/tools:dev'
LIST = '/etc/cni/net.d/10-gaudi.conflist'
BINARY, MODPROBE = '/opt/cni/bin/cni-rdma', '/etc/modprobe.d/gaudi-p2p.conf'
RECORDS, ATTACHMENTS = '/var/lib/cni/cni-rdma-install', '/var/lib/cni/cni-rdma'
kept = {}


def installer(name, *words):
    """The pod of deploy/base/cni-rdma.yaml, with another verb when there is one."""
    return shipped('base/cni-rdma.yaml', name, words)


def setup(node):
    """The node as one is without this project: what the lab has put there by hand is taken away."""
    start_device_plugin(node)
    for path in (LIST, BINARY, MODPROBE):
        kept[path] = node.read(path)
    network = json.loads(kept[LIST])
    network['plugins'] = [p for p in network['plugins'] if p['type'] != 'cni-rdma']
    # Not as any program would write it, so that a restored list shows.
    kept['plain'] = json.dumps(network, indent=7).encode() + b'\n\n'
    node.write(LIST, kept['plain'])
    node.sh('rm %s %s' % (BINARY, MODPROBE))


def teardown(node):
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        if name != PLUGIN + '.json':  # as after the demo: others want it too
            node.delete_pod(name[:-len('.json')])
    for path, mode in ((BINARY, 0o755), (MODPROBE, 0o644), (LIST, 0o644)):
        node.write(path, kept[path], mode)
    node.sh('rm -rf ' + RECORDS)
    for i in range(CARDS):
        node.wait_card(i, 'free')


def chained(node):
    return [p['type'] for p in json.loads(node.read(LIST))['plugins']]


def test_installs(node):
    """The DaemonSet's pod, with its few rights, brings the program, the mode and the entry, and then says it is ready"""
    node.apply_pod(installer(INSTALLER))
    node.wait_log(INSTALLER, 'cni-rdma is on this node and in its pod network')
    assert chained(node) == ['ptp', 'cni-rdma'], node.read(LIST)
    with open(os.path.join(ROOT, 'deploy/host/cni-rdma.json'), encoding='utf-8') as f:
        assert json.loads(node.read(LIST))['plugins'][1] == json.load(f)
    assert node.read(BINARY) == kept[BINARY] and node.sh('stat -c %a ' + BINARY).strip() == '755'
    assert node.read(MODPROBE) == kept[MODPROBE]

    def ready():
        statuses = (node.pod(INSTALLER) or {}).get('status', {}).get('containerStatuses') or [{}]
        return statuses[0].get('ready')
    node.wait(ready, 120, 'readiness of the installer', 1)


def test_pod_gets_its_nic(node):
    """A pod that asks for a Gaudi then has its NIC for itself"""
    node.apply_pod(pod(USER, TOOLS, STAY, gaudis=1))
    node.wait_pod(USER, 'Running')
    rdma = node.exec(USER, ['/bin/busybox', 'ls', '/sys/class/infiniband'])[1].split()
    netdevs = node.exec(USER, ['/bin/busybox', 'ls', '/sys/class/net'])[1].split()
    assert len(rdma) == 1 and 'rdma0' in netdevs, (rdma, netdevs)
    assert rdma[0] not in node.sh('ls /sys/class/infiniband').split()


def test_not_taken_from_under_pods(node):
    """Uninstalling is refused while a pod has a NIC, names it, and changes nothing"""
    rc, said = node.exec(INSTALLER, ['/cni-rdma-install', 'uninstall', '--root=/host'])
    assert rc == 6 and 'default/%s' % USER in said and 'nothing was taken away' in said, said
    rc, said = node.exec(INSTALLER, ['/cni-rdma-install', 'absent', '--root=/host'])
    assert rc == 5 and 'is still there' in said, said
    assert chained(node) == ['ptp', 'cni-rdma']
    assert node.read(BINARY) == kept[BINARY]


def test_comes_back_into_a_list_written_anew(node):
    """Whoever writes the pod network's list anew, the entry is there again after some seconds"""
    node.write(LIST, kept['plain'])
    node.wait(lambda: chained(node) == ['ptp', 'cni-rdma'], 60, 'the return of the entry', 0.5)


def test_uninstalls(node):
    """Without pods that have NICs all of it goes: the list is byte for byte as before, and pods run without it"""
    node.delete_pod(USER)
    node.delete_pod(INSTALLER)
    assert chained(node) == ['ptp', 'cni-rdma'], "the end of the installer's pod took the entry away"
    name = INSTALLER + '-uninstall'
    node.apply_pod(installer(name, 'uninstall', '--stay', '--root=/host'))
    node.wait_log(name, 'cni-rdma is no longer on this node')
    assert node.read(LIST) == kept['plain']
    assert node.run('ls %s %s 2>/dev/null' % (BINARY, MODPROBE))[1] == ''
    rc, said = node.exec(name, ['/cni-rdma-install', 'status', '--root=/host'])
    assert rc == 5 and BINARY in said, said
    rc, said = node.exec(name, ['/cni-rdma-install', 'absent', '--root=/host'])
    assert rc == 0, said
    node.delete_pod(name)
    assert node.run('ls -d %s %s 2>/dev/null' % (RECORDS, ATTACHMENTS))[1] == '', 'a folder stayed'
    node.apply_pod(pod('plain-user', TOOLS, STAY))
    node.wait_pod('plain-user', 'Running')
