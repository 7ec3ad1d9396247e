# SPDX-License-Identifier: Apache-2.0
"""What an administrator does once, for tests on the cluster that need it: labels the nodes and applies deploy/.

    deploy(cluster)     # in setup(): harmless when it is done already
    clear(cluster)      # in teardown(): no pods of users, every Gaudi free and zero
"""

import os
import re

import snapshot
from demo import SOCKETS, Server
from guest import GuestError, file_is_zero
from node import CARDS, ROOT, pod

OVERLAY = os.path.join(ROOT, 'deploy/overlays/gaudi-p2p')
NAMESPACE = 'gaudi-p2p'
DAEMONSETS = ('gaudi-driver-loader', 'cni-rdma', 'gaudi-device-plugin')
RESOURCE = 'habana.ai/gaudi'
CHECKPOINTS = '/var/lib/gaudi-p2p-checkpoints'  # as deploy/examples/ring-allreduce.yaml has it
# The CRD of Multus' NetworkAttachmentDefinition, of which only what the API server needs to take such an object.
NETWORKS = {
    'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition',
    'metadata': {'name': 'network-attachment-definitions.k8s.cni.cncf.io'},
    'spec': {'group': 'k8s.cni.cncf.io', 'scope': 'Namespaced',
             'names': {'plural': 'network-attachment-definitions', 'singular': 'network-attachment-definition',
                       'kind': 'NetworkAttachmentDefinition'},
             'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {
                 'type': 'object',
                 'properties': {'spec': {'type': 'object', 'properties': {'config': {'type': 'string'}}}}}}}]},
}


def capacity(cluster):
    """How many Gaudis each node offers, by its name."""
    return {n['metadata']['name']: int(n['status'].get('allocatable', {}).get(RESOURCE, 0)) for n in cluster.plane.get('nodes')}


def wait_capacity(cluster, count=CARDS, timeout=300):
    cluster.wait(lambda: set(capacity(cluster).values()) == {count}, timeout, '%d Gaudis on each node' % count)


def wait_ready(cluster, timeout=600):
    for name in DAEMONSETS:
        cluster.wait(lambda: cluster.is_ready(name, NAMESPACE), timeout, 'DaemonSet %s on all nodes' % name)


def with_components(cluster, *names):
    """A kustomization of an administrator's own, as the components say; its folder."""
    folder = os.path.join(cluster.results, 'with-' + '-'.join(names))
    os.makedirs(folder, exist_ok=True)
    parts = [os.path.relpath(os.path.join(ROOT, 'deploy', part), folder)
             for part in ('overlays/gaudi-p2p', *('components/' + name for name in names))]
    with open(folder + '/kustomization.yaml', 'w', encoding='utf-8') as f:
        f.write('resources: [%s]\ncomponents: [%s]\n' % (parts[0], ', '.join(parts[1:])))
    return folder


def remember(cluster):
    """How each node is before anything of ours comes: cluster.before, {name: snapshot}. Once, whoever is first."""
    if hasattr(cluster, 'before'):
        return
    names = ['plain-%d' % number for number in cluster.node]
    for name, number in zip(names, cluster.node):
        # The first pod of a node brings its bridge, and folders that the pod network keeps.
        cluster.plane.apply(on_node(pod(name, 'gaudi-p2p/tools:dev', ['busybox', 'sleep', '3600']), number))
    for name in names:
        cluster.wait_pod(name, 'Running')
    cluster.plane.kubectl('delete', 'pod', '--grace-period=1', *names, timeout=300)
    cluster.before = {node.node_name: found for node, found in zip(cluster.node.values(), cluster.each(snapshot.take))}


def deploy(cluster, folder=OVERLAY):
    """Returns when both nodes offer all their Gaudis."""
    remember(cluster)
    cluster.plane.kubectl('label', 'nodes', '--all', '--overwrite', 'habana.ai/gaudi.present=true')
    cluster.plane.kubectl('apply', '-k', folder)
    wait_ready(cluster)
    wait_capacity(cluster)


def node_of(cluster, pod):
    """The node (a Member) on which a pod of the API server is."""
    return next(n for n in cluster.node.values() if n.node_name == pod['spec']['nodeName'])


def all_free(cluster):
    """Waits until every Gaudi of every node is free; then every byte of its memory must be zero, as the machine sees it."""
    def free_and_zero(node):
        for i in range(CARDS):
            node.wait_card(i, 'free', 300)
            assert file_is_zero(node.card_file(i)), 'card %d of %s is free but not zero' % (i, node.node_name)
    cluster.each(free_and_zero)


def clear(cluster):
    """Takes away what users have in the namespace default and on nodes, also what a test that failed has left."""
    cluster.plane.kubectl('delete', 'jobs,deployments,pods', '--all', '--cascade=foreground', timeout=600)
    cluster.plane.kubectl('delete', 'services', '-l', 'component!=apiserver')
    # Folders of the node that pods ask for by hostPath stay when they go.
    cluster.each(lambda node: node.sh('rm -rf -- %s %s' % (SOCKETS, CHECKPOINTS)))
    all_free(cluster)
    wait_capacity(cluster)


def describe(cluster, kind, name):
    """What a user sees of it."""
    return cluster.plane.kubectl('describe', kind, name)


def wait_described(cluster, kind, name, pattern, timeout=300):
    """Waits until `kubectl describe` of it matches the regular expression; returns the match."""
    seen = ['']

    def found():
        seen[0] = describe(cluster, kind, name)
        return re.search(pattern, seen[0])
    try:
        return cluster.wait(found, timeout, 'that kubectl describe %s %s says "%s"' % (kind, name, pattern))
    except GuestError as e:
        raise GuestError('%s; it says:\n%s' % (e, seen[0])) from None


def start_server(cluster, name, number, gaudis=1, namespace='default', **more):
    """A pod on that node that runs `p2p-copy serve`, as deploy/examples/two-pods.yaml has it; returns its Server."""
    cluster.plane.apply(server_pod(name, number, gaudis, namespace, **more))
    return wait_server(cluster, name, number, namespace)


def server_pod(name, number, gaudis=1, namespace='default', **more):
    manifest = on_node(pod(name, 'gaudi-p2p/p2p-copy:dev', args=['serve', '--socket', '/run/demo/%s.sock' % name], gaudis=gaudis,
                           mounts={'/run/demo': SOCKETS}, **more), number)
    manifest['metadata']['namespace'] = namespace
    return manifest


def wait_server(cluster, name, number, namespace='default'):
    cluster.wait_pod(name, 'Running', namespace=namespace)
    return Server(cluster.node[number], name).connect()


def on_node(manifest, number):
    """Lets the scheduler put a pod onto that node only."""
    manifest['spec']['nodeSelector'] = {'kubernetes.io/hostname': 'gaudi-node-%d' % number}
    return manifest
