# SPDX-License-Identifier: Apache-2.0
"""The emulated node by itself: what the other tests stand on."""

from guest import file_is_zero
from node import CARDS, pod


def test_topology(node):
    """Each Gaudi shares a PCIe switch with one NIC"""
    cards = node.cards()
    assert len(cards) == CARDS, cards
    for i, card in enumerate(cards):
        nic = node.sh('basename $(readlink -f /sys/class/net/roce%d/device/..)' % i).strip()
        switches = [node.sh('basename $(readlink -f /sys/bus/pci/devices/%s/../..)' % a).strip() for a in (card, nic)]
        assert switches[0] == switches[1], 'card %s and NIC %s: %s' % (card, nic, switches)


def test_rdma(node):
    """Soft-RoCE links in exclusive namespace mode, numbered as they were made"""
    assert 'netns exclusive' in node.sh('rdma system')
    links = node.sh('rdma link')
    for i in range(CARDS):
        assert 'rxe%d/1 state ACTIVE' % i in links and 'netdev roce%d' % i in links, links
        assert node.read('/sys/class/infiniband_verbs/uverbs%d/ibdev' % i).decode().strip() == 'rxe%d' % i


def test_first_scrub(node):
    """Cards that came up full of garbage are free only when every byte of them is zero"""
    for i in range(CARDS):
        node.wait_card(i, 'free')
        assert node.card_attr(i, 'dirty_bytes') == '0', node.card_attr(i, 'dirty_bytes')
        assert file_is_zero(node.card_file(i)), 'card %d is free and holds garbage' % i


def test_static_pod(node):
    """The kubelet runs a pod from a local image, and nothing is left of it afterwards"""
    script = 'echo hello there; trap "exit 0" TERM; while :; do /bin/busybox sleep 1; done'
    name = node.apply_pod(pod('hello', 'gaudi-p2p/tools:dev', ['/bin/sh', '-c', script]))
    node.wait_pod(name, 'Running')
    node.wait_log(name, r'^hello there$')
    rc, out = node.exec(name, ['/bin/busybox', 'ip', 'link'])
    assert rc == 0 and 'eth0' in out, out
    assert 'roce' not in out, 'a pod that asked for nothing sees a NIC: ' + out
    node.delete_pod(name)
    assert not [p for p in node.podresources() if p['name'].startswith('hello')]
