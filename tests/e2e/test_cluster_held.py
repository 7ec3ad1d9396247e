# SPDX-License-Identifier: Apache-2.0
"""Somebody on the node does not let go of what a pod had: CNI DEL ends it, or the Gaudi goes to nobody until he does."""

import re

import deployed
from demo import SOCKETS, Scene, Server, end_witness, start_witness
from node import CARDS, STAY, pod

FIXTURE = 'cluster'
ONLY_LONG = True
TOOLS = 'gaudi-p2p/tools:dev'
STRANGER = 'stranger'
NAMESPACE = 'on-host-network'
REVOCABLE = '/sys/module/rdma_rxe/parameters/revocable'
SECRET = 0x5EC4E7


def setup(cluster):
    """On node 1 the NICs' driver cannot take a region back, and a process of the node waits for what it is handed."""
    deployed.deploy(cluster)
    node = cluster.node[1]
    assert node.sh('cat /sys/module/gaudi_p2p/parameters/nonrevocable').strip() == 'hold', 'the loader set another policy'
    node.sh('echo 0 >' + REVOCABLE)
    start_witness(node)


def teardown(cluster):
    cluster.node[1].run('systemctl stop %s; echo 1 >%s' % (STRANGER, REVOCABLE))
    end_witness(cluster.node[1])
    cluster.plane.kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', timeout=300)
    deployed.clear(cluster)


def start_stranger(node):
    node.sh('mkdir -p %s; systemctl stop %s; systemd-run -q --unit %s p2p-copy serve --socket %s/%s.sock' % (
        SOCKETS, STRANGER, STRANGER, SOCKETS, STRANGER))
    return Server(node, STRANGER).connect()


def leave_with_stranger(owner):
    """All memory of the Gaudi is full, registered with the NIC, and the NIC's descriptor is the stranger's."""
    owner.ask('open')
    owner.ask('alloc-all')
    owner.ask('fill', name='all0', seed=SECRET)
    owner.ask('nic')
    owner.ask('register', name='all0')
    owner.ask('send', what='uverbs', to='/run/demo/%s.sock' % STRANGER, **{'as': 'held'})


def assert_zero(server):
    """The new owner sees all memory of its Gaudi, and every byte is zero."""
    opened = server.ask('open')
    assert server.ask('alloc-all')['bytes'] == opened['memory']
    seen = server.ask('is-zero')
    assert seen['zero'] == '1' and seen['checked'] == opened['memory'], seen


def test_uverbs_file_of_a_stranger_is_ended_by_del(cluster):
    """The pod is deleted, a stranger keeps its uverbs file: CNI DEL ends the region, the next pod starts on zero memory"""
    node, scene = cluster.node[1], Scene(cluster.node[1])
    cluster.plane.apply(deployed.on_node(pod('other', TOOLS, STAY, gaudis=CARDS - 1), 1))
    cluster.wait_pod('other', 'Running')
    stranger = start_stranger(node)
    owner = deployed.start_server(cluster, 'owner', 1)
    device, = node.devices_of('owner')
    card = scene.accel_of(device)
    leave_with_stranger(owner)
    owner.close()
    since = scene.now()
    cluster.plane.kubectl('delete', 'pod', 'owner', '--wait=false')
    cluster.plane.apply(deployed.server_pod('next', 1))
    draining = scene.wait_event(card['accel'], 'draining', since)
    free = scene.wait_event(card['accel'], 'free', since)
    moved = [e for e in scene.events(since) if e[1] == card['uverbs'] and e[2] == 'remove']
    assert draining[3] == 'open=EBUSY', 'opening a draining Gaudi: %s' % draining[3]
    assert moved and draining[4] < moved[0][4] < free[4], (draining, moved, free)
    server = deployed.wait_server(cluster, 'next', 1)
    assert node.devices_of('next') == [device]
    assert_zero(server)
    assert stranger.ask('try', **{'as': 'held', 'what': 'uverbs'})['mmap'] == 'EIO', "the stranger's descriptor still works"
    for peer in (server, stranger):
        peer.close()


def test_importer_that_holds_makes_the_gaudi_unhealthy_until_it_lets_go(cluster):
    """No CNI DEL ends it (host network, allowed by an administrator): over the limit the Gaudi is unhealthy, its holder is
    named, no pod gets it; when the holder lets go it comes back by itself, zero"""
    deployed.clear(cluster)
    node, scene = cluster.node[1], Scene(cluster.node[1])
    cluster.plane.kubectl('create', 'namespace', NAMESPACE)
    cluster.plane.kubectl('label', 'namespace', NAMESPACE, 'gaudi-p2p/host-network=allowed')
    cluster.wait(lambda: cluster.plane.get('serviceaccount', 'default', '-n', NAMESPACE), 60, 'the account of the namespace')
    stranger = start_stranger(node)
    manifest = deployed.server_pod('on-host', 1, namespace=NAMESPACE)
    manifest['spec']['hostNetwork'] = True
    cluster.plane.apply(manifest)
    owner = deployed.wait_server(cluster, 'on-host', 1, NAMESPACE)
    device, = node.devices_of('on-host')
    card = scene.accel_of(device)
    leave_with_stranger(owner)
    owner.close()
    cluster.plane.kubectl('delete', 'pod', 'on-host', '-n', NAMESPACE, timeout=300)
    assert node.card_attr(card['card'], 'state') == 'draining'
    cluster.wait(lambda: deployed.capacity(cluster)[node.node_name] == CARDS - 1, 120, 'one Gaudi less on node 1')
    holder = re.search(r'mapped by (\S+)', node.card_attr(card['card'], 'reason'))
    assert holder, node.card_attr(card['card'], 'reason')
    said = cluster.plane.kubectl('-n', deployed.NAMESPACE, 'logs', '-l', 'app.kubernetes.io/name=gaudi-device-plugin',
                                 '--prefix', '--tail=-1')
    assert re.search(r'%s.*unhealthy.*mapped by %s' % (device, re.escape(holder.group(1))), said), said
    cluster.plane.apply(deployed.server_pod('both', 1, gaudis=CARDS))
    deployed.wait_described(cluster, 'pod', 'both', r'FailedScheduling .*Insufficient habana.ai/gaudi')
    stranger.ask('quit')
    stranger.close()
    server = deployed.wait_server(cluster, 'both', 1)
    assert_zero(server)
    server.close()
