# SPDX-License-Identifier: Apache-2.0
"""The cluster by itself: what all its other tests stand on."""

import deployed
from node import pod

FIXTURE = 'cluster'
SERVICE = {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web', 'namespace': 'default'},
           'spec': {'selector': {'app': 'web'}, 'ports': [{'port': 80, 'targetPort': 8080}]}}


def test_a_pod_reaches_a_service_on_the_other_node_by_name(cluster):
    """Scheduler's work, pod network, Services and DNS: one pod asks another by the name of its Service."""
    web = deployed.on_node(pod('web', 'gaudi-p2p/tools:dev', ['sh', '-c', 'echo from-the-other-node >/index.html && '
                                                              'exec busybox httpd -f -p 8080 -h /']), 2)
    web['metadata']['labels'] = {'app': 'web'}
    asker = deployed.on_node(pod('asker', 'gaudi-p2p/tools:dev', ['busybox', 'sleep', '3600']), 1)
    cluster.plane.apply(SERVICE, web, asker)
    cluster.wait_pod('web', 'Running')
    cluster.wait_pod('asker', 'Running')

    def answer():
        rc, out = cluster.exec('asker', 'busybox', 'wget', '-q', '-T', '5', '-O', '-', 'http://web.default.svc.cluster.local/')
        return rc == 0 and out
    assert 'from-the-other-node' in cluster.wait(answer, 120, 'an answer of the Service')
    cluster.plane.kubectl('delete', 'service/web', 'pod/web', 'pod/asker', '--grace-period=1', timeout=300)
