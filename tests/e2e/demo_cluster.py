# SPDX-License-Identifier: Apache-2.0
"""A training on a cluster, from nothing to its end, and what it leaves behind.

A control plane and two nodes with two Gaudis and two RDMA NICs each, without driver, CNI plugin and device plugin: what
deploy/ has brings them. Then the Job of deploy/examples trains on all four Gaudis. The proofs are tests of make e2e,
told one after another; a witness beside them tells what the API server and the kubelets say of the pods meanwhile.
"""

import threading

import deployed
import test_cluster_deploy
import test_cluster_pods
import test_cluster_training
from cluster import Cluster
from guest import GuestError
from node import CARD_BYTES, CARDS
from story import held, say

STAGE = 'a control plane, and two nodes with two Gaudis and two RDMA NICs each, which nobody has prepared'


class Witness:
    """Tells of every pod that runs or ends, and which Gaudis its node's kubelet gave it."""

    SECONDS = 2

    def __init__(self, cluster):
        self._cluster, self._told, self._ends = cluster, set(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._ends.wait(self.SECONDS):
            try:
                for pod in self._cluster.plane.get('pods', '-n', 'default'):
                    self._look(pod)
            except GuestError as e:
                # What it looks at may be gone for a moment, or for good; then a proof says so too.
                say('the witness sees nothing for now: %s' % e)

    def _look(self, pod):
        name, phase = pod['metadata']['name'], pod['status'].get('phase')
        if (name, phase) in self._told or phase not in ('Running', 'Succeeded', 'Failed'):
            return
        self._told.add((name, phase))
        if phase != 'Running':
            say('pod %s: %s' % (name, phase))
            return
        node = deployed.node_of(self._cluster, pod)
        gaudis = node.devices_of(name)
        for gaudi in gaudis:
            held(node, gaudi, name)
        say('pod %s runs on %s%s' % (name, node.node_name, ' with Gaudi ' + ', '.join(gaudis) if gaudis else ''))

    def end(self):
        self._ends.set()
        self._thread.join()


witness = None


def stage(results):
    return Cluster(results)


def setup(cluster):
    global witness
    assert set(deployed.capacity(cluster).values()) == {0}, 'the nodes offer Gaudis before anybody did anything'
    witness = Witness(cluster)


def teardown(_cluster):
    """Ends the witness. The pods of a proof that failed are left for the evidence; they end with the cluster."""
    if witness:
        witness.end()


def all_is_given_back(cluster):
    """After all pods: every Gaudi of both nodes is free and every byte of it zero, seen from outside; the nodes offer all of them"""
    deployed.clear(cluster)
    for node in cluster.node.values():
        holders = [p['name'] for p in node.podresources() if any(c['devices'].get(deployed.RESOURCE) for c in p['containers'])]
        assert not holders, 'PodResources of %s still shows Gaudis with %s' % (node.node_name, holders)
    return '%d Gaudis, %d MiB zero' % (len(cluster.node) * CARDS, len(cluster.node) * CARDS * CARD_BYTES >> 20)


PROOFS = (test_cluster_deploy.test_nodes_offer_their_gaudis, test_cluster_training.test_four_pods_on_two_nodes_train,
          test_cluster_training.test_killed_pod_is_made_anew_and_the_training_resumes,
          test_cluster_pods.test_pods_that_ask_for_too_much_wait_with_the_reason, all_is_given_back)
