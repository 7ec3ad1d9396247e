# SPDX-License-Identifier: Apache-2.0
"""The training job of deploy/examples on the cluster: four pods on two nodes, one Gaudi each."""

import re

import deployed
from node import CARDS
from training import EVERY, PACE, STEPS, Training, begin, compare, digest, losses, of_one_process

FIXTURE = 'cluster'
TOGETHER = True  # the second compares with what the first found
whole = {}  # what the first test found: {'losses', 'digest'}


def setup(cluster):
    deployed.deploy(cluster)


def teardown(cluster):
    Training(cluster).delete()
    deployed.clear(cluster)


def test_four_pods_on_two_nodes_train(cluster):
    """The Job as shipped trains over RDMA between Gaudis of two nodes, with the losses of one process without any"""
    wanted = of_one_process(cluster)
    training = Training(cluster)
    training.start()
    logs = training.wait_complete()
    placed = sorted(pod['spec']['nodeName'] for pod in training.pods())
    assert placed == sorted(n.node_name for n in cluster.node.values() for _ in range(CARDS)), placed
    for log in logs:
        assert 'bytes of device memory, all zero' in log, log
        assert re.search(r'^start step=0 world=4 rails=1 ', log, re.M), log
        compare(losses(log), wanted)
    assert len({digest(log) for log in logs}) == 1, [digest(log) for log in logs]
    deployed.all_free(cluster)
    whole.update(losses=wanted, digest=digest(logs[0]))
    training.delete()
    return '%d steps, loss %.3f to %.3f' % (STEPS, wanted[0], wanted[STEPS - 1])


def test_killed_pod_is_made_anew_and_the_training_resumes(cluster):
    """A pod's process is killed: the Job makes all pods anew, they go on from a checkpoint and come to the same weights"""
    assert whole, 'the test before this one must have passed'
    training = Training(cluster, more=[PACE])
    training.start()
    training.wait_step(2 * EVERY)
    victim = training.pods()[3]
    node = deployed.node_of(cluster, victim)
    node.sh('kill -9 %d' % node.pid(victim['metadata']['name']))
    logs = training.wait_complete()
    assert victim['metadata']['name'] not in training.names()
    for log in logs:
        first = begin(log)
        assert first and first % EVERY == 0, log
        compare(losses(log), whole['losses'], first)
        assert digest(log) == whole['digest'], 'not the weights of the training that nobody cut short'
    deployed.all_free(cluster)
    training.delete()
    return 'resumed at step %d of %d, weights %s' % (first, STEPS, whole['digest'])
