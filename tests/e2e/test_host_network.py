# SPDX-License-Identifier: Apache-2.0
"""A pod on the host network that asks for a Gaudi: no CNI call, so no NIC of its own, as deploy/README.md says."""

from node import CARDS, STAY, pod
from shipped import start_device_plugin

HOST, USER = 'on-host-network', 'beside-host-network'
STATE = '/var/lib/cni/cni-rdma'


def setup(node):
    start_device_plugin(node)


def teardown(node):
    for name in (HOST, USER):  # the plugin stays, as after the demo
        node.delete_pod(name)
    for i in range(CARDS):
        node.wait_card(i, 'free')


def inside(node, name, path):
    return node.exec(name, ['/bin/busybox', 'ls', path])[1].split()


def uverbs(node, name):
    return [d for d in inside(node, name, '/dev/infiniband') if d.startswith('uverbs')]


def test_host_network_pod_gets_no_nic_of_its_own(node):
    """It runs, with its Gaudi and one uverbs node, sees every NIC of the host and holds none; another pod's NIC leaves it"""
    devices = node.sh('ls /sys/class/infiniband').split()
    assert len(devices) == CARDS, devices
    manifest = pod(HOST, 'gaudi-p2p/tools:dev', STAY, gaudis=1)
    manifest['spec']['hostNetwork'] = True
    node.apply_pod(manifest)
    node.wait_pod(HOST, 'Running')
    assert len(node.devices_of(HOST)) == 1
    assert inside(node, HOST, '/sys/class/infiniband') == devices
    nodes = uverbs(node, HOST)
    assert len(nodes) == 1, nodes
    assert node.sh('ls /sys/class/infiniband').split() == devices, 'a NIC has left the host'
    assert '.json' not in node.run('ls ' + STATE)[1], 'cni-rdma has recorded something'

    node.apply_pod(pod(USER, 'gaudi-p2p/tools:dev', STAY, gaudis=1))
    node.wait_pod(USER, 'Running')
    mine = inside(node, USER, '/sys/class/infiniband')
    assert len(mine) == 1, mine
    assert inside(node, HOST, '/sys/class/infiniband') == [d for d in devices if d not in mine]
    others = uverbs(node, USER)
    assert len(others) == 1 and others != nodes, (others, nodes)
    node.delete_pod(HOST)
    node.delete_pod(USER)
    assert node.sh('ls /sys/class/infiniband').split() == devices
