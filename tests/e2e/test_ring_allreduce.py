# SPDX-License-Identifier: Apache-2.0
"""Two pods, each with a Gaudi and its NIC, train together with deploy/examples/ring-allreduce."""

import re
import time

from deployed import CHECKPOINTS
from node import CARDS, pod
from shipped import start_device_plugin
from training import EVERY, IMAGE, OPTIONS, PACE, SECURITY, STEPS, begin, compare, digest, losses

TOGETHER = True  # the second compares with what the first found
ONLY_LONG = True
PORT = 7475
whole = {}  # what the first test found, for the second: {'losses', 'digest'}


def setup(node):
    start_device_plugin(node)


def teardown(node):
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        node.delete_pod(name[:-len('.json')])
    node.sh('rm -rf -- %s/ring*' % CHECKPOINTS)
    free_and_clean(node)


def free_and_clean(node):
    for i in range(CARDS):
        node.wait_card(i, 'free')
        assert node.card_attr(i, 'dirty_bytes') == '0', node.card_attr(i, 'dirty_bytes')


def start(node, name, rank, first, more=(), folder=CHECKPOINTS + '/ring'):
    """One of two ranks; first is the address of rank 0."""
    args = OPTIONS + ['--rank=%d' % rank, '--peers=%s:%d,rank-1' % (first, PORT), '--job=' + name[:-2],
                      '--checkpoint-dir=/checkpoints', *more]
    node.apply_pod(pod(name, IMAGE, args=args, gaudis=1, mounts={'/checkpoints': folder}, securityContext=SECURITY))


def start_both(node, stem, more=(), folder=CHECKPOINTS + '/ring'):
    """Both ranks, STEM-0 and STEM-1. Rank 0 does not need its own address, which nobody knows before it runs."""
    names = stem + '-0', stem + '-1'
    start(node, names[0], 0, '0.0.0.0', more, folder)
    node.wait_pod(names[0], 'Running')
    start(node, names[1], 1, node.pod(names[0])['status']['podIP'], more, folder)
    return names


def received(node):
    """Packets that the host's NICs took in so far. All must be on the node."""
    return [int(n) for n in node.sh('cat /sys/class/net/roce*/statistics/rx_packets').split()]


def ended(node, name, status, timeout=120):
    """Waits until the pod has failed with that exit status; returns what it wrote."""
    node.wait(lambda: node.pod_status(name)[0] in ('Failed', 'Succeeded'), timeout, 'the end of ' + name, 0.5)
    phase, why = node.pod_status(name)
    log = node.logs(name)
    assert phase == 'Failed' and 'exit status %d' % status in why, '%s: %s\n%s' % (phase, why, log[-2000:])
    return log


def test_losses_are_those_of_one_process(node):
    """Two pods train over RDMA between Gaudis, with the losses of one process without any device"""
    node.apply_pod(pod('ring-one', IMAGE, args=OPTIONS + ['--world=1', '--device=none'], securityContext=SECURITY))
    node.wait_pod('ring-one', 'Succeeded')
    wanted = losses(node.logs('ring-one'))
    node.delete_pod('ring-one')
    assert wanted[STEPS - 1] < wanted[0] / 4, wanted
    before = received(node)
    names = start_both(node, 'ring', folder=CHECKPOINTS + '/ring-whole')
    for name in names:
        node.wait_pod(name, 'Succeeded')
    logs = [node.logs(name) for name in names]
    for log in logs:
        assert 'bytes of device memory, all zero' in log, log
        assert re.search(r'^start step=0 world=2 rails=1 ', log, re.M), log
        compare(losses(log), wanted)
    assert losses(logs[0]) == losses(logs[1]) and digest(logs[0]) == digest(logs[1])
    for name in names:
        node.delete_pod(name)
    node.sh('rm -rf -- %s/ring-whole' % CHECKPOINTS)
    free_and_clean(node)
    # Each rank sends one chunk in each of two rounds, which is many packets of at most 4096 bytes.
    for old, new in zip(before, received(node)):
        assert new - old > 2 * STEPS, (before, received(node))
    whole.update(losses=wanted, digest=digest(logs[0]))


def test_killed_rank_resumes(node):
    """One of two pods is killed in the middle: the other ends at once, and both go on from the checkpoint to the same end"""
    assert whole, 'the test before this one must have passed'
    names = start_both(node, 'ring-cut', [PACE])
    for name in names:
        node.wait_log(name, r'^checkpoint step=%d ' % (2 * EVERY))
    for i in range(CARDS):
        assert node.card_attr(i, 'state') == 'owned'
    killed = time.monotonic()
    node.sh('kill -9 %d' % node.pid(names[1]))
    log = ended(node, names[0], 3)
    assert time.monotonic() - killed < 60, 'rank 0 took too long to notice'
    assert re.search('rank 1 is gone|the neighbour, its Gaudi or the link is gone', log), log
    assert 'start again' in log and not re.search('^done ', log, re.M), log
    ended(node, names[1], 137)
    for name in names:
        node.delete_pod(name)
    free_and_clean(node)
    # Half a checkpoint of a writer that was killed, and one that somebody damaged: neither is used.
    files = node.sh('ls %s/ring' % CHECKPOINTS).split()
    newest = max(re.search(r'step-(\d+)', f).group(1) for f in files)
    node.sh('cd %s/ring && head -c 1000 rank-0000-step-%s.ckpt >rank-0000-step-%012d.ckpt' % (CHECKPOINTS, newest, STEPS - 1))
    again = start_both(node, 'ring-on')
    for name in again:
        node.wait_pod(name, 'Succeeded')
        log = node.logs(name)
        first = begin(log)
        assert 2 * EVERY <= first < STEPS and first % EVERY == 0 and first <= int(newest), log
        assert 'step-%012d.ckpt is not used: it is torn' % (STEPS - 1) in log, log
        compare(losses(log), whole['losses'], first)
        assert digest(log) == whole['digest'], 'not the weights of the run that nobody cut short'
        node.delete_pod(name)
    free_and_clean(node)


def test_rank_whose_peer_never_comes(node):
    """A rank that waits in vain ends with a status that a Job counts, names who is missing, and gives its Gaudi back"""
    start(node, 'ring-alone-0', 0, '0.0.0.0', ['--join-timeout=3'], CHECKPOINTS + '/ring-alone')
    log = ended(node, 'ring-alone-0', 1)
    assert 'these ranks did not come within 3 s: 1' in log, log
    node.delete_pod('ring-alone-0')
    node.sh('rm -rf -- %s/ring-alone' % CHECKPOINTS)
    free_and_clean(node)


def test_told_to_stop(node):
    """A pod that is deleted in the middle of a step ends within its grace, says so, and the other notices"""
    names = start_both(node, 'ring-stop', [PACE], CHECKPOINTS + '/ring-stop')
    node.wait_log(names[1], r'^step=1 ')
    pid = node.pid(names[1])
    since = time.monotonic()
    node.sh('kill -TERM %d' % pid)
    log = ended(node, names[1], 143)
    assert time.monotonic() - since < 30 and 'told to stop' in log, log
    ended(node, names[0], 3)
    for name in names:
        node.delete_pod(name)
    node.sh('rm -rf -- %s/ring-stop' % CHECKPOINTS)
    free_and_clean(node)
