# SPDX-License-Identifier: Apache-2.0
"""A node that goes down with pods running: what cni-rdma and the device plugin make of what it left."""

import json

from node import CARDS, STAY, pod
from shipped import PLUGIN, start_device_plugin

TOOLS = 'gaudi-p2p/tools:dev'
STATE = '/var/lib/cni/cni-rdma'


def setup(node):
    start_device_plugin(node)


def teardown(node):
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        node.delete_pod(name[:-len('.json')])


def nics(node):
    """The host's NICs with their RDMA devices and numbers, as text."""
    return node.sh('for d in /sys/class/infiniband/*; do n=${d##*/}; u=$(grep -lx $n /sys/class/infiniband_verbs/*/ibdev); '
                   'u=${u%/ibdev}; echo $n $(cat $d/parent) ${u##*/}; done')


def records(node):
    """The attachments that cni-rdma has recorded: container and the boot in which it was written.

    The runtime may end one while they are read: a record that is gone by then is none.
    """
    out = node.sh('for f in %s/*.json; do cat "$f" 2>/dev/null || test ! -e "$f" || exit 1; printf "\\0"; done' % STATE)
    return [json.loads(record) for record in out.split('\0') if record]


def start_pods(node, name):
    for i in range(CARDS):
        node.apply_pod(pod('%s-%d' % (name, i), TOOLS, STAY, gaudis=1))
    for i in range(CARDS):
        node.wait_pod('%s-%d' % (name, i), 'Running')


def delete_pods(node, name):
    for i in range(CARDS):
        node.delete_pod('%s-%d' % (name, i))


def test_power_fails_under_pods(node):
    """Power fails under two pods with NICs: after the boot nothing of them is left, and the next two have a NIC each"""
    before = nics(node)
    start_pods(node, 'before')
    old = records(node)
    assert len(old) == CARDS, old
    node.crash()
    assert nics(node) == before, 'the host had\n%s\nand has\n%s' % (before, nics(node))
    node.wait_pod(PLUGIN, 'Running')
    node.wait_allocatable(CARDS)
    # The runtime's DEL of each, or its STATUS, which it asks for every few seconds.
    node.wait(lambda: not records(node), 120, 'the end of the old records', 1)
    # A kubelet that comes up before its plugins refuses pods that had devices; a controller would make others.
    delete_pods(node, 'before')
    start_pods(node, 'after')
    boot = node.read('/proc/sys/kernel/random/boot_id').decode().strip()
    now = records(node)
    assert len(now) == CARDS and all(r['boot'] == boot for r in now), now
    seen = set()
    for i in range(CARDS):
        rdma = node.exec('after-%d' % i, ['/bin/busybox', 'ls', '/sys/class/infiniband'])[1].split()
        netdevs = node.exec('after-%d' % i, ['/bin/busybox', 'ls', '/sys/class/net'])[1].split()
        assert len(rdma) == 1 and 'rdma0' in netdevs, (rdma, netdevs)
        seen.update(rdma)
    assert len(seen) == CARDS, seen
    delete_pods(node, 'after')
    assert nics(node) == before, 'the host had\n%s\nand has\n%s' % (before, nics(node))
    assert not records(node), records(node)
    for i in range(CARDS):
        node.wait_card(i, 'free')
