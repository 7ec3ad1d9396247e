# SPDX-License-Identifier: Apache-2.0
"""What an administrator does once, for tests on the cluster that need it: labels the nodes and applies deploy/."""

import os

from node import ROOT

OVERLAY = os.path.join(ROOT, 'deploy/overlays/gaudi-p2p')
NAMESPACE = 'gaudi-p2p'
DAEMONSETS = ('gaudi-driver-loader', 'cni-rdma', 'gaudi-device-plugin')
RESOURCE = 'habana.ai/gaudi'


def capacity(cluster):
    """How many Gaudis each node offers, by its name."""
    return {n['metadata']['name']: int(n['status'].get('allocatable', {}).get(RESOURCE, 0)) for n in cluster.plane.get('nodes')}


def wait_capacity(cluster, count=2, timeout=300):
    cluster.wait(lambda: set(capacity(cluster).values()) == {count}, timeout, '%d Gaudis on each node' % count)


def wait_ready(cluster, timeout=600):
    for name in DAEMONSETS:
        cluster.wait(lambda: cluster.is_ready(name, NAMESPACE), timeout, 'DaemonSet %s on all nodes' % name)


def deploy(cluster):
    """Harmless when it is done already."""
    cluster.plane.kubectl('label', 'nodes', '--all', '--overwrite', 'habana.ai/gaudi.present=true')
    cluster.plane.kubectl('apply', '-k', OVERLAY)
    wait_ready(cluster)
    wait_capacity(cluster)
