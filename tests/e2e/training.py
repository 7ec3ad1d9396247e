# SPDX-License-Identifier: Apache-2.0
"""What tests ask of deploy/examples/ring-allreduce: its options, its losses, and the Job of deploy/ on a cluster."""

import os
import re

from cluster import ClusterError
from deployed import CHECKPOINTS
from node import ROOT, manifests, pod

IMAGE = 'gaudi-p2p/ring-allreduce:dev'
EXAMPLE = os.path.join(ROOT, 'deploy/examples/ring-allreduce.yaml')
NAME = 'ring-allreduce'
STEPS, EVERY = 40, 5
PACE = '--pace=1500'  # of a step, so that there is time to disturb a training
OPTIONS = ['--steps=%d' % STEPS, '--checkpoint-every=%d' % EVERY, '--batch=48', '--hidden=512', '--rate=0.1']
SECURITY = {'allowPrivilegeEscalation': False, 'readOnlyRootFilesystem': True, 'capabilities': {'drop': ['ALL']},
            'seccompProfile': {'type': 'RuntimeDefault'}}
# Of a loss between one process and several: sums of float32 in another order, over all steps.
TOLERANCE = 1e-4


def losses(log):
    """{step: loss} of what a rank wrote."""
    return {int(step): float(loss) for step, loss in re.findall(r'^step=(\d+) loss=(\S+) ', log, re.M)}


def digest(log):
    """Of the weights after the last step."""
    found = re.search(r'^done step=%d digest=([0-9a-f]{16})$' % STEPS, log, re.M)
    assert found, 'it did not come to its end:\n' + log[-2000:]
    return found.group(1)


def compare(got, wanted, first=0):
    """Every step from the first on is there, with the loss that it should have."""
    assert sorted(got) == list(range(first, STEPS)), sorted(got)
    for step, loss in got.items():
        assert abs(loss - wanted[step]) <= TOLERANCE * abs(wanted[step]), 'step %d: %r and not %r' % (step, loss, wanted[step])


def begin(log):
    """The step from which it went."""
    found = re.search(r'^start step=(\d+) ', log, re.M)
    assert found, 'it did not begin:\n' + log[-2000:]
    return int(found.group(1))


class Training:
    """The Job and the Service of deploy/, under a name and a size of its own."""

    def __init__(self, cluster, name=NAME, world=4, more=()):
        self.cluster, self.name, self.world, self.more = cluster, name, world, list(more)

    def manifests(self):
        service, job = manifests(EXAMPLE)
        for doc in (service, job):
            doc['metadata'].update(name=self.name, namespace='default')
            doc['metadata']['labels']['app.kubernetes.io/name'] = self.name
        service['spec']['selector'] = {'app.kubernetes.io/name': self.name}
        job['spec'].update(completions=self.world, parallelism=self.world)
        template = job['spec']['template']
        template['metadata']['labels']['app.kubernetes.io/name'] = self.name
        template['spec']['subdomain'] = self.name
        template['spec']['containers'][0]['args'] = [
            '--world=%d' % self.world, '--service=' + self.name, '--checkpoint-dir=/checkpoints', *OPTIONS, *self.more]
        volume, = template['spec']['volumes']
        volume['hostPath']['path'] = '%s/%s' % (CHECKPOINTS, self.name)
        return service, job

    def start(self):
        self.cluster.plane.apply(*self.manifests())

    def pods(self):
        """The Job's pods that were not replaced, by rank."""
        found = {}
        for one in self.cluster.plane.get('pods', '-l', 'app.kubernetes.io/name=' + self.name):
            rank = int(one['metadata']['labels']['batch.kubernetes.io/job-completion-index'])
            if rank not in found or one['metadata']['creationTimestamp'] >= found[rank]['metadata']['creationTimestamp']:
                found[rank] = one
        return [found[rank] for rank in sorted(found)]

    def names(self):
        return [one['metadata']['name'] for one in self.pods()]

    def log(self, rank):
        return self.cluster.logs(self.names()[rank])

    def wait_step(self, step, rank=0, timeout=300):
        """Waits until a rank has written the loss of that step."""
        name = self.cluster.wait(lambda: len(self.pods()) == self.world and self.names()[rank], timeout, 'all pods of ' + self.name)
        self.cluster.wait(lambda: max(losses(self.cluster.logs(name)), default=-1) >= step, timeout,
                          'step %d of %s' % (step, self.name))

    def _condition(self, kind):
        job = self.cluster.plane.get('job', self.name) or {}
        return next((c for c in job.get('status', {}).get('conditions', []) if c['type'] == kind and c['status'] == 'True'), None)

    def check(self):
        """Raises when the Job was given up."""
        failed = self._condition('Failed')
        if failed:
            raise ClusterError('job %s failed: %s\n%s' % (self.name, failed.get('message', ''),
                                                         self.cluster.plane.run('describe', 'job', self.name)[1]))

    def wait_complete(self, timeout=600):
        """Waits for the end of all ranks; returns what each wrote."""
        def complete():
            self.check()
            return self._condition('Complete')
        self.cluster.wait(complete, timeout, 'the end of job ' + self.name)
        return [self.log(rank) for rank in range(self.world)]

    def delete(self):
        self.cluster.plane.kubectl('delete', 'job/' + self.name, 'service/' + self.name, '--ignore-not-found',
                                   '--cascade=foreground', timeout=300)
        self.cluster.each(lambda node: node.sh('rm -rf -- %s/%s' % (CHECKPOINTS, self.name)))


def of_one_process(cluster):
    """The losses of the same training by one process without any device, in a pod that asks for nothing."""
    cluster.plane.apply(pod('ring-one', IMAGE, args=OPTIONS + ['--world=1', '--device=none'], securityContext=SECURITY))
    cluster.wait_pod('ring-one', 'Succeeded')
    found = losses(cluster.logs('ring-one'))
    cluster.plane.kubectl('delete', 'pod', 'ring-one', timeout=300)
    assert found[STEPS - 1] < found[0] / 4, 'it did not learn: %s' % found
    return found
