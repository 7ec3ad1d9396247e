# SPDX-License-Identifier: Apache-2.0
"""From an empty cluster to nodes that offer their Gaudis, by what deploy/ has."""

import os

import deployed
from deployed import NAMESPACE, OVERLAY
from node import ROOT

FIXTURE = 'cluster'
TOGETHER = True


def test_manifests_are_valid(cluster):
    """The API server takes both overlays as they are, word for word: a dry run, and no warning"""
    cluster.plane.kubectl('create', 'namespace', NAMESPACE)  # a dry run makes none for the rest
    for overlay in ('gaudi-p2p', 'habanalabs'):
        out = cluster.plane.kubectl('apply', '--server-side', '--dry-run=server', '--validate=strict', '-k',
                                    os.path.join(ROOT, 'deploy/overlays', overlay), '--force-conflicts')
        assert 'Warning' not in out and 'daemonset.apps/gaudi-device-plugin' in out, out
    cluster.plane.kubectl('delete', 'namespace', NAMESPACE)


def test_nodes_offer_their_gaudis(cluster):
    """kubectl apply -k, and both nodes have habana.ai/gaudi: 2, driver, CNI plugin and device plugin being ready"""
    assert set(deployed.capacity(cluster).values()) == {0}
    deployed.deploy(cluster)


def test_nothing_differs_after_apply(cluster):
    """kubectl diff is empty: the API server changed and added nothing that would be put back at each apply"""
    rc, out = cluster.plane.run('diff', '-k', OVERLAY)
    assert rc == 0 and not out, out
