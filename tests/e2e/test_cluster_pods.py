# SPDX-License-Identifier: Apache-2.0
"""Who gets Gaudis on the cluster, who does not, and what pods that have some can do to each other."""

import deployed
from demo import NO_ANSWER, PAGE, REFUSED, Scene, assert_cannot_open, assert_foreign, assert_sees_only
from node import CARDS, STAY, pod
from training import Training, compare, digest, losses, of_one_process

FIXTURE = 'cluster'
ONLY_LONG = True
TOOLS = 'gaudi-p2p/tools:dev'
# What other runtimes and plugins listen to, and what our own hands out.
WISHES = {'HABANA_VISIBLE_DEVICES': 'all', 'HABANA_VISIBLE_MODULES': '0,1', 'NVIDIA_VISIBLE_DEVICES': 'all',
          'GAUDI_P2P_PAIRS': '/dev/accel/accel0=/dev/infiniband/uverbs0'}


def setup(cluster):
    deployed.deploy(cluster)


def teardown(cluster):
    deployed.clear(cluster)


def test_pods_that_ask_for_too_much_wait_with_the_reason(cluster):
    """More Gaudis than a node has, or than are left: Pending, and describe says which resource is short; it runs when one is free"""
    deployed.clear(cluster)
    nodes = sorted(cluster.node)
    cluster.plane.apply(pod('three', TOOLS, STAY, gaudis=CARDS + 1))
    short = r'FailedScheduling .*%d Insufficient habana.ai/gaudi' % len(nodes)
    deployed.wait_described(cluster, 'pod', 'three', short)
    for number in nodes:
        cluster.plane.apply(deployed.on_node(pod('all-%d' % number, TOOLS, STAY, gaudis=CARDS), number))
    for number in nodes:
        cluster.wait_pod('all-%d' % number, 'Running')
    cluster.plane.apply(pod('one-more', TOOLS, STAY, gaudis=1))
    deployed.wait_described(cluster, 'pod', 'one-more', short)
    assert cluster.plane.get('pod', 'one-more')['status']['phase'] == 'Pending'
    cluster.plane.kubectl('delete', 'pod', 'all-%d' % nodes[0], timeout=300)
    cluster.wait_pod('one-more', 'Running')
    assert cluster.plane.get('pod', 'three')['status']['phase'] == 'Pending'


def test_pod_without_a_request_sees_no_device(cluster):
    """Whatever environment it sets: no node of a Gaudi or NIC, no RDMA device, and one of its own making does not open"""
    deployed.clear(cluster)
    node = cluster.node[1]
    scene = Scene(node)
    server = deployed.start_server(cluster, 'asks-for-nothing', 1, gaudis=0, env=WISHES)
    seen = server.ask('list')
    assert seen['accel'] == seen['uverbs'] == seen['rdma'] == '', seen
    assert not [n for n in seen['netdev'].split(',') if n.startswith(('rdma', 'roce'))], seen
    for device in sorted(node.allocatable()):
        assert_cannot_open(server, scene.accel_of(device))
    server.close()


def assert_cannot_reach(victim, attacker, region, secret):
    """The attacker knows the victim's address, queue pairs and key, and the victim has a connection of its own."""
    ends = [victim.ask('qp', name=name) for name in ('left', 'right')]
    victim.ask('connect', name='left', **ends[1])
    victim.ask('connect', name='right', **ends[0])
    attacker.ask('alloc', name='r', size=PAGE)
    attacker.ask('register', name='r')
    # At the victim's queue pair, which is connected to another; and by way of the attacker's own NIC, with the victim's key.
    mine = [attacker.ask('qp', name=name) for name in ('to-victim', 'loop', 'back')]
    attacker.ask('connect', name='to-victim', **ends[0])
    attacker.ask('connect', name='loop', **mine[2])
    attacker.ask('connect', name='back', **mine[1])
    for name, status in (('to-victim', NO_ANSWER), ('loop', REFUSED)):
        attacker.ask('fill', name='r', seed=0)
        done = attacker.ask('read', qp=name, name='r', rkey=region['rkey'], addr=region['addr'], length=PAGE)
        assert done['status'] == status, '%s: %s' % (name, done)
        assert attacker.ask('verify', name='r', seed=0)['same'] == '1', 'the failed read brought bytes'
    for name in ('left', 'right'):
        victim.ask('disconnect', name=name)
    for name in ('to-victim', 'loop', 'back'):
        attacker.ask('disconnect', name=name)
    attacker.ask('drop', name='r')
    assert victim.ask('verify', name='m', seed=secret)['same'] == '1', "the victim's memory changed"


def test_pods_of_two_jobs_cannot_open_import_or_reach_each_others(cluster):
    """On one node and across two: the other's device nodes do not open, its buffers do not import, its memory is not read"""
    deployed.clear(cluster)
    scene = Scene(cluster.node[1])
    one, two = (deployed.start_server(cluster, name, 1) for name in ('job-one', 'job-two'))
    far = deployed.start_server(cluster, 'job-two-far', 2)
    cards = {s: scene.accel_of(cluster.node[1].devices_of(s.name)[0]) for s in (one, two)}
    regions = {}
    for seed, server in enumerate((one, two, far)):
        if server is not far:
            assert_sees_only(server, cards[server])
        server.ask('open')
        server.ask('nic')
        regions[server] = scene.prepare(server, 'm', 4 * PAGE, seed)
    for server, other in ((one, two), (two, one)):
        assert_cannot_open(server, cards[other])
        for what in ('dmabuf', 'accel'):
            other.ask('send', what=what, name='m', to='/run/demo/%s.sock' % server.name, **{'as': what})
        assert_foreign(server, 'accel', 'dmabuf', {'EPERM'})
    for victim, attacker, secret in ((one, two, 0), (two, one, 1), (one, far, 0), (far, one, 2)):
        assert_cannot_reach(victim, attacker, regions[victim], secret)
    for server in (one, two, far):
        server.close()


def test_two_trainings_at_once_keep_apart(cluster):
    """Two Jobs of two pods each share the nodes; each comes to the losses and weights that it has alone"""
    deployed.clear(cluster)
    wanted = of_one_process(cluster)
    both = [Training(cluster, name, 2) for name in ('ring-left', 'ring-right')]
    for training in both:
        training.start()
    logs = [training.wait_complete() for training in both]
    for of_one in logs:
        for log in of_one:
            compare(losses(log), wanted)
    assert len({digest(log) for of_one in logs for log in of_one}) == 1
    for training in both:
        training.delete()
    deployed.all_free(cluster)
