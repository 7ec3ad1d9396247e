# SPDX-License-Identifier: Apache-2.0
"""Everything away from the cluster again, by the very commands of deploy/README.md: the nodes are as they were before."""

import os
import re
import shlex

import deployed
import snapshot
from node import ROOT, STAY, pod

FIXTURE = 'cluster'
ONLY_LONG = True
TOGETHER = True
USER = 'removal-user'
# Of the whole removal: pods of a busy machine take their time to start and to end.
TIMEOUT = 600


def setup(cluster):
    deployed.deploy(cluster)


def teardown(cluster):
    """Others find it deployed."""
    cluster.plane.kubectl('delete', 'pod', USER, '--ignore-not-found', timeout=300)
    deployed.deploy(cluster)


def commands():
    """What "Remove" in deploy/README.md tells an administrator to type, word for word."""
    with open(os.path.join(ROOT, 'deploy/README.md'), encoding='utf-8') as f:
        block = re.search(r'^\*\*Remove\.\*\*.*?\n\n((?:    \$ kubectl [^\n]*\n)+)', f.read(), re.M | re.S).group(1)
    found = [shlex.split(line)[2:] for line in block.splitlines()]
    assert [words[0] for words in found if words[0] in ('apply', 'delete')] == ['apply', 'delete'], found
    return [[os.path.join(ROOT, word) if word.startswith('deploy/') else word for word in words] for words in found]


def logs(cluster, name):
    # Also of pods whose neighbours are just being made, which kubectl calls an error.
    return cluster.plane.run('-n', deployed.NAMESPACE, 'logs', '-l', 'app.kubernetes.io/name=' + name, '--prefix', '--tail=-1')[1]


def test_removal_waits_for_pods_and_names_them(cluster):
    """While a pod has a Gaudi and its NIC nothing is taken away on its node, each of the three says whose they are, and the pod lives"""
    cluster.plane.apply(deployed.on_node(pod(USER, 'gaudi-p2p/tools:dev', STAY, gaudis=1), 1))
    cluster.wait_pod(USER, 'Running')
    before = snapshot.take(cluster.node[1])
    for words in commands()[:2]:
        cluster.plane.kubectl(*words)
    waits = {'gaudi-device-plugin': r'1 pod of this node has habana\.ai/gaudi or habana\.ai/rdma \(default/%s\); nothing was taken away',
             'cni-rdma': r'NICs are with 1 pod \(default/%s\); nothing was taken away',
             'gaudi-driver-loader': r'gaudi_p2p is unloaded when no Gaudi is in use; 1 of \d is: \S+ is with pod default/%s'}
    for name, words in waits.items():
        cluster.wait(lambda n=name, w=words % USER: re.search(w, logs(cluster, n)), 300, 'that %s names the pod' % name)
    # The other node is done meanwhile.
    cluster.wait(lambda: all((cluster.plane.get('daemonset', name, '-n', deployed.NAMESPACE)['status'].get('numberReady')) == 1
                             for name in deployed.DAEMONSETS), 300, 'the node without a pod that has a Gaudi')
    taken = [line for line in snapshot.difference(before, snapshot.take(cluster.node[1]))
             if '/device-plugins/gaudi-p2p-' not in line]  # the plugin's own socket, which went with it
    assert not taken, '\n'.join(taken)
    assert cluster.exec(USER, 'sh', '-c', 'ls /dev/accel/accel* /sys/class/infiniband/*')[0] == 0


def test_nodes_are_as_they_were(cluster):
    """As README says, word for word: rollout status ends by itself, and each node is as before the first deploy"""
    cluster.plane.kubectl('delete', 'pod', USER, '--ignore-not-found', timeout=300)
    for words in commands():
        cluster.plane.kubectl(*words, timeout=TIMEOUT)
    assert not cluster.plane.get('namespace', deployed.NAMESPACE)

    def compare(node):
        return snapshot.difference(cluster.before[node.node_name], snapshot.take(node))
    for node, found in zip(cluster.node.values(), cluster.each(compare)):
        assert not found, '%s is not as it was:\n%s' % (node.node_name, '\n'.join(found[:40]))


def test_overlay_for_the_mainline_driver(cluster):
    """Applied to nodes without any driver: CNI plugin and device plugin are ready, no loader comes, no Gaudi is offered"""
    cluster.plane.kubectl('apply', '-k', os.path.join(ROOT, 'deploy/overlays/habanalabs'))
    for name in ('cni-rdma', 'gaudi-device-plugin'):
        cluster.wait(lambda: cluster.is_ready(name, deployed.NAMESPACE), 300, 'DaemonSet %s on all nodes' % name)
    assert not cluster.plane.get('daemonset', 'gaudi-driver-loader', '-n', deployed.NAMESPACE)
    assert set(deployed.capacity(cluster).values()) == {0}, deployed.capacity(cluster)
    for node in cluster.node.values():
        assert 'gaudi_p2p' not in node.sh('cat /proc/modules'), 'a driver of ours is on ' + node.node_name


def test_installs_again(cluster):
    """From there to the overlay with our driver: both nodes offer all their Gaudis, and a pod gets one with its NIC"""
    deployed.deploy(cluster)
    cluster.plane.apply(deployed.on_node(pod(USER, 'gaudi-p2p/tools:dev', STAY, gaudis=1), 2))
    cluster.wait_pod(USER, 'Running')
    rc, out = cluster.exec(USER, 'sh', '-c', 'ls /dev/accel/accel* /sys/class/infiniband')
    assert rc == 0 and '/dev/accel/accel' in out, out
    cluster.plane.kubectl('delete', 'pod', USER, timeout=300)
