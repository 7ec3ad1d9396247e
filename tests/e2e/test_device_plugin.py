# SPDX-License-Identifier: Apache-2.0
"""The device plugin's pod, as deploy/ ships it, and pods that ask for Gaudis."""

from node import CARDS, pod
from shipped import DEVICE_PLUGIN, PLUGIN, shipped

TOGETHER = True
LOOK = ('for f in /dev/accel/* /dev/infiniband/uverbs*; do echo "node $f"; done; /bin/busybox env; '
        'trap "exit 0" TERM; while :; do /bin/busybox sleep 1; done')


def setup(node):
    node.apply_pod(shipped(DEVICE_PLUGIN))


def teardown(node):
    for name in ('one', 'all', 'toomany', PLUGIN):
        node.delete_pod(name)


def test_registers(node):
    """The plugin's pod runs without privileges and the kubelet knows both Gaudis"""
    node.wait_pod(PLUGIN, 'Running')
    ids = node.wait_allocatable(CARDS)
    assert len(set(ids)) == CARDS, ids
    for i in range(CARDS):
        node.wait_card(i, 'free')


def look(node, name, gaudis):
    """Runs a pod that asks for Gaudis; returns its device nodes and its environment."""
    node.apply_pod(pod(name, 'gaudi-p2p/tools:dev', ['/bin/sh', '-c', LOOK], gaudis=gaudis))
    node.wait_pod(name, 'Running')
    node.wait_log(name, r'^PATH=')
    lines = node.logs(name).splitlines()
    env = dict(line.split('=', 1) for line in lines if '=' in line)
    return [line[5:] for line in lines if line.startswith('node ')], env


def test_one_gaudi(node):
    """A pod that asks for one Gaudi sees its nodes and those of the NIC beside it, and no others"""
    nodes, env = look(node, 'one', 1)
    mine = node.devices_of('one')
    assert len(mine) == 1, mine
    accel = [n for n in nodes if n.startswith('/dev/accel/accel') and 'control' not in n]
    assert len(accel) == 1, nodes
    minor = accel[0].rsplit('accel', 1)[1]
    assert sorted(nodes)[:2] == ['/dev/accel/accel' + minor, '/dev/accel/accel_controlD' + minor], nodes
    assert [n for n in nodes if 'infiniband' in n] == ['/dev/infiniband/uverbs' + minor], nodes
    assert env['HABANA_VISIBLE_DEVICES'] == minor, env
    assert env['GAUDI_P2P_PAIRS'] == '%s=/dev/infiniband/uverbs%s' % (accel[0], minor), env


def test_nic_in_pod(node):
    """The pod's network namespace has the NIC and its RDMA device, the host's has it no more"""
    number = node.logs('one').split('/dev/infiniband/uverbs')[1][0]
    rdma = 'rxe' + number
    assert rdma not in node.sh('rdma link'), 'the RDMA device is still on the host'
    inside = node.sh('nsenter -t %d -n rdma link' % node.pid('one'))
    assert rdma + '/1' in inside and 'state ACTIVE' in inside, inside
    other = 'rxe%d' % (1 - int(number))
    assert other not in inside, inside


def test_kubelet_restart(node):
    """After a restart of the kubelet the plugin registers again; the pod runs on and keeps its Gaudi"""
    before, pid = node.devices_of('one'), node.pid('one')
    node.restart_kubelet()
    assert len(set(node.wait_allocatable(CARDS))) == CARDS
    node.wait_pod('one', 'Running')
    node.wait(lambda: node.devices_of('one') == before, 60, 'the same Gaudi in pod one', 0.5)
    assert node.pid('one') == pid, 'the container was started anew'


def test_given_back(node):
    """When the pod is deleted its Gaudi is free and the NIC is back under its old name and number"""
    node.delete_pod('one')
    assert node.devices_of('one') == []
    for i in range(CARDS):
        node.wait_card(i, 'free')
        node.wait(lambda i=i: 'rxe%d/1 state ACTIVE' % i in node.sh('rdma link'), 60, 'return of rxe%d' % i, 0.5)
        assert node.read('/sys/class/infiniband_verbs/uverbs%d/ibdev' % i).decode().strip() == 'rxe%d' % i
    links = node.sh('rdma link')
    assert all('netdev roce%d' % i in links for i in range(CARDS)), links


def test_both_gaudis(node):
    """A pod that asks for both gets both; one that asks for a third is refused, and the first is not disturbed"""
    nodes, _ = look(node, 'all', CARDS)
    assert len([n for n in nodes if n.startswith('/dev/accel/accel') and 'control' not in n]) == CARDS, nodes
    assert len(node.devices_of('all')) == CARDS
    node.apply_pod(pod('toomany', 'gaudi-p2p/tools:dev', ['/bin/busybox', 'sleep', '1000'], gaudis=1))
    node.wait_pod('toomany', 'Failed')
    phase, why = node.pod_status('toomany')
    assert phase == 'Failed' and 'habana.ai/gaudi' in why, why
    assert node.pod_status('all')[0] == 'Running'
    node.delete_pod('toomany')
    node.delete_pod('all')
    for i in range(CARDS):
        node.wait_card(i, 'free')
