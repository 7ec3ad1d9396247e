# SPDX-License-Identifier: Apache-2.0
"""From an empty cluster to nodes that offer their Gaudis, by what deploy/ has."""

import deployed

FIXTURE = 'cluster'
TOGETHER = True


def test_nodes_offer_their_gaudis(cluster):
    """kubectl apply -k: driver, CNI plugin and device plugin are ready, and both nodes have habana.ai/gaudi: 2"""
    assert set(deployed.capacity(cluster).values()) == {0}
    deployed.deploy(cluster)
