# SPDX-License-Identifier: Apache-2.0
"""What happens to a cluster while it trains: restarts, upgrades, losses. Each time: what kubectl describe says, and a clean end."""

import os
import re
import subprocess

import deployed
from node import CARDS, HOLD_GAUDIS, ROOT, pod
from shipped import next_driver
from training import PACE, Training, begin, compare, digest, losses, of_one_process

FIXTURE = 'cluster'
ONLY_LONG = True
TOOLS = 'gaudi-p2p/tools:dev'
whole = {}  # {'losses'}


def setup(cluster):
    deployed.deploy(cluster)
    whole['losses'] = of_one_process(cluster)


def teardown(cluster):
    deployed.clear(cluster)


def train(cluster, name):
    """A training of four pods that has begun."""
    deployed.clear(cluster)
    training = Training(cluster, name, more=[PACE])
    training.start()
    training.wait_step(3)
    return training


def finish(cluster, training, undisturbed=False):
    """It comes to its end with the right losses, and leaves all Gaudis free and zero."""
    logs = training.wait_complete(900)
    for log in logs:
        first = begin(log)
        assert first == 0 or not undisturbed, log
        compare(losses(log), whole['losses'], first)
    assert len({digest(log) for log in logs}) == 1
    training.delete()
    deployed.all_free(cluster)


def test_kubelet_restarts(cluster):
    """A kubelet restarts under the training: describe shows its start, no pod notices, the node offers its Gaudis again"""
    training = train(cluster, 'ring-kubelet')
    names = training.names()
    cluster.node[2].restart_kubelet()
    # An event of the last two minutes, as a kubelet that starts has them.
    deployed.wait_described(cluster, 'node', 'gaudi-node-2', r'NodeHasSufficientMemory +\d+s\b.*kubelet')
    deployed.wait_capacity(cluster)
    assert training.names() == names
    finish(cluster, training, undisturbed=True)


def test_plugin_is_upgraded(cluster):
    """A new image of the device plugin under the training: the node offers both Gaudis all the time, no pod notices"""
    training = train(cluster, 'ring-plugin')
    names = training.names()
    cluster.each(lambda node: node.sh('ctr -n k8s.io images tag --force docker.io/gaudi-p2p/device-plugin:dev '
                                      'docker.io/gaudi-p2p/device-plugin:next'))
    cluster.plane.kubectl('-n', deployed.NAMESPACE, 'set', 'image', 'daemonset/gaudi-device-plugin', 'main=gaudi-p2p/device-plugin:next')
    seen = set()

    def upgraded():
        seen.update(deployed.capacity(cluster).values())
        return cluster.is_ready('gaudi-device-plugin', deployed.NAMESPACE)
    cluster.wait(upgraded, 300, 'the upgrade of the device plugin', 0.2)
    assert seen == {CARDS}, 'a node offered %s Gaudis meanwhile' % sorted(seen)
    said = cluster.plane.kubectl('-n', deployed.NAMESPACE, 'describe', 'daemonset', 'gaudi-device-plugin')
    assert re.search(r'SuccessfulDelete .*Deleted pod: gaudi-device-plugin', said), said
    assert training.names() == names
    finish(cluster, training, undisturbed=True)
    cluster.plane.kubectl('apply', '-k', deployed.OVERLAY)
    deployed.wait_ready(cluster)


def version(node):
    return node.run('cat /sys/module/gaudi_p2p/version')[1].strip()


def make_loader_image(cluster, module):
    """gaudi-p2p/driver-loader:next, which is ours with another module, onto all nodes."""
    node = cluster.node[1]
    tree, tar = os.path.join(ROOT, 'build/driver-next/image'), os.path.join(ROOT, 'build/driver-next/driver-loader.tar')
    folder = os.path.join(tree, 'modules', node.sh('uname -r').strip())
    os.makedirs(folder, exist_ok=True)
    subprocess.run(['strip', '--strip-debug', '-o', os.path.join(folder, 'gaudi_p2p.ko'), module], check=True)
    subprocess.run(['install', '-m', '755', '-t', tree, os.path.join(ROOT, 'build/lab/static/gaudi-driver-loader')], check=True)
    subprocess.run(['cp', '-r', os.path.join(ROOT, 'deploy/host/etc'), tree], check=True)
    subprocess.run([os.path.join(ROOT, 'tests/lab/node/mkimage.py'), '--name', 'gaudi-p2p/driver-loader:next', '--tree', tree,
                    '--output', tar, '--', '/gaudi-driver-loader'], check=True)
    cluster.each(lambda n: n.load_image(tar))


def loader_on(cluster, number):
    """Name of the loader's newest pod on that node."""
    pods = cluster.plane.get('pods', '-n', deployed.NAMESPACE, '-l', 'app.kubernetes.io/name=gaudi-driver-loader',
                             '--field-selector', 'spec.nodeName=gaudi-node-%d' % number)
    return max(pods, key=lambda p: p['metadata']['creationTimestamp'])['metadata']['name']


def test_driver_is_upgraded_when_its_leases_are_free(cluster):
    """A new driver waits for the pod with a Gaudi, as describe and its log say, and is loaded when it is gone"""
    deployed.clear(cluster)
    module, old, new = next_driver(cluster.node[1].sh('uname -r').strip())
    make_loader_image(cluster, module)
    cluster.plane.apply(deployed.on_node(pod('keeps', TOOLS, HOLD_GAUDIS, gaudis=1), 2))
    cluster.wait_pod('keeps', 'Running')
    cluster.plane.kubectl('-n', deployed.NAMESPACE, 'set', 'image', 'daemonset/gaudi-driver-loader',
                          'main=gaudi-p2p/driver-loader:next')

    def waits():
        loader = '-n', deployed.NAMESPACE, loader_on(cluster, 2)
        return (re.search(r'Readiness probe failed: .* is loaded, and is to be %s' % re.escape(new),
                          cluster.plane.run('describe', 'pod', *loader)[1]) and
                re.search(r'when no Gaudi is in use; 1 of %d is: \S+ is with pod default/keeps' % CARDS,
                          cluster.plane.run('logs', *loader)[1]))
    cluster.wait(waits, 300, 'that describe of the loader on node 2 says what is to be, and its log who has a Gaudi')
    assert version(cluster.node[2]) == old
    # The kubelet tells the API server after some seconds.
    cluster.wait(lambda: deployed.capacity(cluster)['gaudi-node-2'] == CARDS - 1, 60, 'that the free Gaudi of node 2 is not given out')
    cluster.plane.kubectl('delete', 'pod', 'keeps', timeout=300)
    for number in sorted(cluster.node):
        cluster.wait(lambda n=number: version(cluster.node[n]) == new, 300, 'the new driver on node %d' % number)
    deployed.wait_ready(cluster)
    deployed.wait_capacity(cluster)
    finish(cluster, train(cluster, 'ring-new-driver'))
    cluster.plane.kubectl('apply', '-k', deployed.OVERLAY)
    for number in sorted(cluster.node):
        cluster.wait(lambda n=number: version(cluster.node[n]) == old, 300, 'the old driver on node %d' % number)
    deployed.wait_ready(cluster)
    deployed.wait_capacity(cluster)


def test_gaudi_is_unplugged_under_a_pod(cluster):
    """The pod fails and describe says why, its node has one Gaudi less; plugged in again, the training goes on to its end"""
    training = train(cluster, 'ring-unplugged')
    victim = training.pods()[1]
    name, node = victim['metadata']['name'], deployed.node_of(cluster, victim)
    device, = node.devices_of(name)
    node.sh('echo 1 >/sys/bus/pci/devices/%s/remove' % device)
    # Off the list after a minute, and unhealthy until then.
    cluster.wait(lambda: deployed.capacity(cluster)[node.node_name] == CARDS - 1, 60, 'one Gaudi less on ' + node.node_name)
    deployed.wait_described(cluster, 'node', node.node_name, r'Capacity:(?s:.*)habana.ai/gaudi: +%d\n(?s:.*)Allocatable:(?s:.*)'
                                                             r'habana.ai/gaudi: +%d\n' % (CARDS, CARDS - 1))
    deployed.wait_described(cluster, 'job', training.name, r'Pods Statuses:.*[1-9] Failed|FailedCreate|SuccessfulCreate')
    # One of the four finds no Gaudi, and the others wait for it.
    waiting = cluster.wait(lambda: next((p for p in training.pods() if not p['spec'].get('nodeName')), None), 300,
                           'a pod that finds no Gaudi')['metadata']['name']
    deployed.wait_described(cluster, 'pod', waiting, r'FailedScheduling .*Insufficient habana.ai/gaudi')
    node.sh('echo 1 >/sys/bus/pci/rescan')
    deployed.wait_capacity(cluster)
    finish(cluster, training)


def test_rdma_link_drops(cluster):
    """The link of a NIC goes down: the ranks beside it end, describe says why; with the link back the training goes on to its end"""
    training = train(cluster, 'ring-link')
    before = training.names()
    node = cluster.node[1]
    for i in range(CARDS):
        node.qmp('set_link', name='fabric%d' % i, up=False)
    try:
        # The Job has not yet taken away pods that failed and are kept for their words.
        said = [deployed.wait_described(cluster, 'pod', name, r'Exit Code: +(\d+)').group(1) for name in before]
        assert '3' in said, said
        for name, code in zip(before, said):
            if code == '3':
                deployed.wait_described(cluster, 'pod', name, 'all ranks should start again')
    finally:
        for i in range(CARDS):
            node.qmp('set_link', name='fabric%d' % i, up=True)
    finish(cluster, training)


def test_node_reboots(cluster):
    """A node loses its power in mid-training: its pods are failed and made anew by the Job, which comes to the right end"""
    training = train(cluster, 'ring-reboot')
    before = training.pods()
    lost = [p['metadata']['name'] for p in before if p['spec']['nodeName'] == 'gaudi-node-2']
    assert len(lost) == CARDS, lost
    cluster.node[2].crash()
    deployed.wait_described(cluster, 'node', 'gaudi-node-2', r'Rebooted .*Node gaudi-node-2 has been rebooted')
    cluster.wait_nodes()
    deployed.wait_ready(cluster)
    deployed.wait_capacity(cluster)
    finish(cluster, training)
