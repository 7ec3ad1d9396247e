# SPDX-License-Identifier: Apache-2.0
"""The driver on a node by the DaemonSet in deploy/: loaded, replaced when no Gaudi is in use, taken away."""

import os
import re

from node import CARDS, HOLD_GAUDIS, ROOT, pod
from shipped import PLUGIN, next_driver, shipped, start_device_plugin

TOGETHER = True
# It takes as long as all others together, and a busy machine makes its pods' ends last minutes.
ONLY_LONG = True
LOADER, USER, SECOND = 'gaudi-driver-loader', 'loader-user', 'loader-second'
TOOLS = 'gaudi-p2p/tools:dev'
RULES, BOOT = '/etc/udev/rules.d/60-gaudi-p2p.rules', '/etc/modules-load.d/gaudi-p2p.conf'
RECORDS = '/var/lib/gaudi-p2p/driver-loader'
DKMS = '/var/lib/dkms/gaudi-p2p'
SYS = '/sys/module/gaudi_p2p'
kept = {}


def loader(name, *words):
    """The pod of deploy/overlays/gaudi-p2p/driver-loader.yaml, with another verb when there is one."""
    return shipped('overlays/gaudi-p2p/driver-loader.yaml', name, words)


def setup(node):
    """A node that has loaded the driver by itself, but has none of our files."""
    kept['kernel'] = node.sh('uname -r').strip()
    kept['next'], kept['old'], kept['new'] = next_driver(kept['kernel'])
    kept['dep'] = '/lib/modules/%s/modules.dep' % kept['kernel']
    start_device_plugin(node)
    for path in (RULES, BOOT, kept['dep']):
        kept[path] = node.read(path)
    node.sh('rm %s %s' % (RULES, BOOT))


def teardown(node):
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        if name != PLUGIN + '.json':  # as after the demo: others want it too
            node.delete_pod(name[:-len('.json')])
    for path in (RULES, BOOT, kept['dep']):
        node.write(path, kept[path])
    node.sh('rm -rf %s /var/lib/dkms /lib/modules/%s/updates/dkms; modprobe gaudi_p2p' % (RECORDS, kept['kernel']))
    for i in range(CARDS):
        node.wait_card(i, 'free')


def version(node):
    return node.run('cat %s/version' % SYS)[1].strip()


def parameter(node, name):
    return node.sh('cat %s/parameters/%s' % (SYS, name)).strip()


def ready(node, name):
    statuses = (node.pod(name) or {}).get('status', {}).get('containerStatuses') or [{}]
    return bool(statuses[0].get('ready'))


def states(node):
    return [node.card_attr(i, 'state') for i in range(CARDS)]


def install_by_dkms(node):
    """What `dkms install` leaves on a host. depmod takes minutes in the guest, and the loader reads its text."""
    folder = '/lib/modules/%s/updates' % kept['kernel']
    node.put(kept['next'], folder + '/dkms/gaudi_p2p.ko', 0o644)
    node.sh('sed -i "s|^updates/gaudi_p2p.ko:|updates/dkms/gaudi_p2p.ko:|" %s && grep -q ^updates/dkms/gaudi_p2p.ko: %s' % (
        kept['dep'], kept['dep']))
    node.sh('mkdir -p %s && ln -s %s/%s/x86_64 %s/kernel-%s-x86_64' % (
        DKMS, kept['new'], kept['kernel'], DKMS, kept['kernel']))


def test_driver_of_the_node_is_left(node):
    """A driver that is loaded already stays, is given the policy of the node, and the pod says so and is ready"""
    assert version(node) == kept['old'] and parameter(node, 'emulated') == 'Y'
    node.sh('echo refuse >%s/parameters/nonrevocable' % SYS)
    node.apply_pod(loader(LOADER))
    node.wait_log(LOADER, r'gaudi_p2p %s was loaded already, by the node; %d card\(s\); importers that cannot revoke: hold' % (
        re.escape(kept['old']), CARDS))
    assert parameter(node, 'nonrevocable') == 'hold'
    with open(os.path.join(ROOT, 'deploy/host' + RULES), 'rb') as f:
        assert node.read(RULES) == f.read()
    assert node.run('ls ' + BOOT)[0] != 0, 'the host is to load at boot what it does not have'
    node.wait(lambda: ready(node, LOADER), 120, 'readiness of the loader', 1)


def test_upgrade_waits_for_pods(node):
    """dkms builds another version: it waits for the pod with a Gaudi, names it, and holds the free one meanwhile"""
    node.apply_pod(pod(USER, TOOLS, HOLD_GAUDIS, gaudis=1))
    node.wait_log(USER, 'opened')
    install_by_dkms(node)
    said = node.wait_log(LOADER, r'gaudi_p2p %s, built from \w+ is replaced by %s, built from \w+ when no Gaudi is in use; '
                                 r'1 of %d is: \S+ is with pod default/%s' % (
                                     re.escape(kept['old']), re.escape(kept['new']), CARDS, USER))
    assert node.devices_of(USER)[0] in said.group(0), said.group(0)
    assert version(node) == kept['old']
    assert states(node) == ['owned'] * CARDS
    node.wait_allocatable(CARDS - 1)  # the held one is shown unhealthy: no pod gets it
    node.wait(lambda: not ready(node, LOADER), 120, 'the end of readiness', 1)


def test_giving_up_gives_cards_back(node):
    """The end of the loader gives the free card back, and the pod keeps its own"""
    node.delete_pod(LOADER)
    node.wait(lambda: sorted(states(node)) == ['free', 'owned'], 60, 'the free card to be free again', 0.5)
    node.wait_allocatable(CARDS)
    assert version(node) == kept['old'] and node.pod_status(USER)[0] == 'Running'
    node.apply_pod(loader(LOADER))
    node.wait(lambda: states(node) == ['owned'] * CARDS, 120, 'the free card to be held again', 0.5)


def test_replaced_when_pod_is_gone(node):
    """When the pod ends the driver is replaced, with the same parameters, and the next pod gets a Gaudi"""
    node.delete_pod(USER)
    node.wait_log(LOADER, r'gaudi_p2p %s was loaded, as dkms built it; %d card\(s\); importers that cannot revoke: hold' % (
        re.escape(kept['new']), CARDS))
    assert version(node) == kept['new']
    assert parameter(node, 'emulated') == 'Y' and parameter(node, 'nonrevocable') == 'hold'
    assert node.run('cat ' + BOOT)[0] == 0, 'the host does not load its own driver at boot'
    for i in range(CARDS):
        node.wait_card(i, 'free')
    node.wait(lambda: node.sh('stat -c %G /dev/accel/accel0').strip() == 'render', 60, "the rule for the cards' group", 0.5)
    node.wait_allocatable(CARDS)
    node.apply_pod(pod(SECOND, TOOLS, HOLD_GAUDIS, gaudis=1))
    node.wait_log(SECOND, 'opened')
    node.delete_pod(SECOND)
    node.wait(lambda: ready(node, LOADER), 120, 'readiness of the loader', 1)


def test_image_follows_dkms(node):
    """When dkms has no driver any more, that of the image takes its place"""
    node.sh('rm -r %s && rmdir /var/lib/dkms' % DKMS)  # there is no dkms on the node, whose folder it would be
    node.wait_log(LOADER, r'gaudi_p2p %s was loaded from this image; %d card\(s\)' % (re.escape(kept['old']), CARDS))
    assert version(node) == kept['old'] and parameter(node, 'emulated') == 'Y'
    assert node.run('ls ' + BOOT)[0] != 0
    node.wait_allocatable(CARDS)


def test_uninstalls(node):
    """Uninstalling leaves neither the module nor a file, and waits for nobody when no Gaudi is in use"""
    node.delete_pod(LOADER)
    assert version(node) == kept['old'], "the end of the loader's pod took the driver away"
    name = LOADER + '-uninstall'
    node.apply_pod(loader(name, 'uninstall', '--stay', '--root=/host'))
    node.wait_log(name, 'gaudi_p2p is no longer on this node')
    assert node.run('ls -d %s %s %s %s /dev/accel/accel0 2>/dev/null' % (SYS, RULES, BOOT, RECORDS))[1] == ''
    rc, said = node.exec(name, ['/gaudi-driver-loader', 'status', '--root=/host'])
    assert rc == 5 and 'is missing' in said, said
    rc, said = node.exec(name, ['/gaudi-driver-loader', 'absent', '--root=/host'])
    assert rc == 0, said
    node.delete_pod(name)
    assert node.run('ls /var/lib/dkms')[0] != 0 and node.run('ls /var/lib/gaudi-p2p')[1].split() == ['pairs.json']


def test_installs_again(node):
    """Installed again, the driver comes from the image and a pod gets its Gaudi"""
    node.apply_pod(loader(LOADER))
    node.wait_log(LOADER, r'gaudi_p2p %s was loaded from this image; %d card\(s\)' % (re.escape(kept['old']), CARDS))
    node.wait_allocatable(CARDS)
    node.apply_pod(pod(SECOND, TOOLS, HOLD_GAUDIS, gaudis=1))
    node.wait_log(SECOND, 'opened')
    node.delete_pod(SECOND)
