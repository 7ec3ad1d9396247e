# SPDX-License-Identifier: Apache-2.0
"""deploy/components/multus with Multus itself: which pods get NICs, and that no network brings another pod's."""

import json
import os

import deployed
from cluster import MACHINE
from control import API_PORT
from node import environment, pod

FIXTURE = 'cluster'
ONLY_LONG = True
TOGETHER = True  # the pods of one test are those that the next one leaves alone or robs
CONFIG = '/etc/cni/net.d/00-multus.conf'
PROGRAM = '/opt/cni/bin/multus'
KUBECONFIG = '/etc/cni/net.d/multus.d/multus.kubeconfig'
PAIRS = '/var/lib/gaudi-p2p/pairs.json'
ASK = 'k8s.v1.cni.cncf.io/networks'
TOLD = 'k8s.v1.cni.cncf.io/network-status'
OURS = 'default/gaudi-rdma'
# Multus gives the API server a quarter of a second, handshake and all; when emulated CPUs are late, the kubelet tries again.
PATIENCE = 600
# What Multus' own manifests give it, less what the plugin does not use.
RIGHTS = [
    {'apiGroups': ['k8s.cni.cncf.io'], 'resources': ['network-attachment-definitions'], 'verbs': ['get']},
    {'apiGroups': [''], 'resources': ['pods'], 'verbs': ['get']},
    {'apiGroups': [''], 'resources': ['pods/status'], 'verbs': ['update']},
    {'apiGroups': ['', 'events.k8s.io'], 'resources': ['events'], 'verbs': ['create', 'patch', 'update']},
]
before = {}  # of each node: its NICs when no pod has one


def role(kind, **fields):
    return {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': kind, 'metadata': {'name': 'multus'}, **fields}


def put_multus(cluster, node):
    """In front of the pod network, which stays as it was before gaudi-p2p came, as the plugin that containerd calls."""
    pods = json.loads(node.read('/etc/cni/net.d/10-pods.conflist'))
    pods['plugins'] = [p for p in pods['plugins'] if p['type'] != 'cni-rdma']
    node.put(os.path.join(environment('kubernetes')['MULTUS'], 'multus'), PROGRAM)
    node.write(KUBECONFIG, cluster.plane.authority.kubeconfig('multus-' + node.node_name, '/CN=multus',
                                                              'https://%s:%d' % (MACHINE, API_PORT)), 0o600)
    node.write(CONFIG, json.dumps({'cniVersion': '1.0.0', 'name': 'multus-cni-network', 'type': 'multus',
                                   'kubeconfig': KUBECONFIG, 'delegates': [pods]}))


def setup(cluster):
    cluster.plane.apply(deployed.NETWORKS, role('ClusterRole', rules=RIGHTS), role(
        'ClusterRoleBinding', subjects=[{'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'User', 'name': 'multus'}],
        roleRef={'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'multus'}))
    cluster.plane.kubectl('wait', '--for=condition=Established', 'crd/' + deployed.NETWORKS['metadata']['name'])
    cluster.each(lambda node: put_multus(cluster, node))
    deployed.deploy(cluster, deployed.with_components(cluster, 'multus'))
    for number, node in cluster.node.items():
        before[number] = nics_on(node)


def teardown(cluster):
    deployed.clear(cluster)
    cluster.plane.kubectl('delete', 'crd', deployed.NETWORKS['metadata']['name'])
    cluster.each(lambda node: node.sh('rm -rf -- %s %s %s' % (CONFIG, PROGRAM, os.path.dirname(KUBECONFIG))))
    cluster.plane.kubectl('delete', 'clusterrolebinding/multus', 'clusterrole/multus')
    deployed.deploy(cluster)


def network(name, resource=None, **keys):
    """A NetworkAttachmentDefinition for cni-rdma, as anybody may write one."""
    config = {'cniVersion': '1.0.0', 'name': name, 'type': 'cni-rdma', **keys}
    return {'apiVersion': 'k8s.cni.cncf.io/v1', 'kind': 'NetworkAttachmentDefinition',
            'metadata': {'name': name, 'namespace': 'default',
                         'annotations': {'k8s.v1.cni.cncf.io/resourceName': resource} if resource else {}},
            'spec': {'config': json.dumps(config)}}


def start(cluster, number, name, gaudis=0, asks=None):
    made = deployed.on_node(pod(name, 'gaudi-p2p/tools:dev', ['busybox', 'sleep', '3600'], gaudis=gaudis, grace=1), number)
    if asks:
        made['metadata']['annotations'] = {ASK: asks}
    cluster.plane.apply(made)


def remove(cluster, *names):
    cluster.plane.kubectl('delete', 'pod', *names, '--grace-period=1', timeout=300)


def nics_on(node):
    """What the host has of the NICs beside the cards: netdevs, RDMA devices, and the number of each."""
    return node.sh('ls -d /sys/class/net/roce* /sys/class/infiniband/*; grep . /sys/class/infiniband_verbs/*/ibdev')


def nics_of(node, name):
    """The NICs that are paired with the Gaudis that the pod has from the kubelet."""
    pairs = {p['gaudi']: p['nic'] for p in json.loads(node.read(PAIRS))['pairs']}
    return [pairs[gaudi] for gaudi in node.devices_of(name)]


def listed(cluster, name, folder):
    rc, out = cluster.exec(name, 'busybox', 'ls', folder)
    assert rc == 0, out
    return out.split()


def check_has(cluster, number, name, gaudis, nics):
    """The pod has its Gaudis, and inside these NICs and no other."""
    assert len([n for n in listed(cluster, name, '/dev/accel') if n.startswith('accel') and n[5:].isdigit()]) == gaudis
    assert sorted(listed(cluster, name, '/sys/class/infiniband')) == sorted(n['rdma'] for n in nics)
    assert sorted(listed(cluster, name, '/sys/class/net')) == sorted(['eth0', 'lo'] + ['rdma%d' % i for i in range(len(nics))])
    on_host = nics_on(cluster.node[number])
    for nic in nics_of(cluster.node[number], name):
        assert ('/sys/class/infiniband/' + nic['rdma'] in on_host.split()) == (nic not in nics), on_host


def networks_of(cluster, name):
    """The networks to which Multus says that it has attached the pod."""
    return [n['name'] for n in json.loads(cluster.plane.get('pod', name)['metadata']['annotations'][TOLD])]


def test_a_pod_that_names_the_network_has_the_nics_of_its_gaudis(cluster):
    """With the annotation a pod gets through Multus the NIC of its Gaudi, and one with two Gaudis both NICs"""
    start(cluster, 1, 'one', 1, OURS)
    start(cluster, 2, 'two', 2, OURS)
    for number, name, gaudis in ((1, 'one', 1), (2, 'two', 2)):
        cluster.wait_pod(name, 'Running', PATIENCE)
        assert OURS in networks_of(cluster, name), networks_of(cluster, name)
        nics = nics_of(cluster.node[number], name)
        assert len(nics) == gaudis
        check_has(cluster, number, name, gaudis, nics)


def test_a_pod_that_does_not_name_it_has_no_nic(cluster):
    """Without the annotation a pod has its Gaudi, and the NIC of that stays on the host"""
    start(cluster, 1, 'none', 1)
    cluster.wait_pod('none', 'Running', PATIENCE)
    assert networks_of(cluster, 'none') == ['pods']
    check_has(cluster, 1, 'none', 1, [])


def test_a_network_that_names_another_pods_nic_is_refused(cluster):
    """A NetworkAttachmentDefinition with the NIC or Gaudi of another pod, or a node of its own making, brings nothing but an event"""
    node = cluster.node[1]
    gaudi, = node.devices_of('none')
    nic, = nics_of(node, 'none')
    own = '/var/lib/kubelet/pods/own/volumes/kubernetes.io~empty-dir/v/'
    robbers = {
        'names-nic': ({'deviceID': nic['pci']}, "is not pod default/names-nic's: the kubelet has given it no devices"),
        'names-gaudi': ({'deviceID': gaudi}, 'of Gaudi %s), which the configuration names, is not pod' % gaudi),
        'names-result': ({'prevResult': {'cniVersion': '1.0.0', 'interfaces': [{'name': 'x', 'pciID': nic['pci']}]}},
                         'which the previous result names, is not pod'),
        'has-pairs': ({'deviceID': gaudi, 'pairs': own + 'pairs.json'}, "'pairs' is " + own),
        'has-kubelet': ({'deviceID': gaudi, 'podResources': own + 'sock'}, "'podResources' is " + own),
    }
    for name, (keys, _) in robbers.items():
        cluster.plane.apply(network(name, **keys))
        start(cluster, 1, name, asks='default/' + name)

    def said(name, words):
        events = cluster.plane.get('events', '--field-selector=involvedObject.name=' + name)
        return [e for e in events if e['reason'] == 'FailedCreatePodSandBox' and words in e['message']]
    for name, (_, words) in robbers.items():
        cluster.wait(lambda: said(name, words), PATIENCE, 'an event of pod %s with the words "%s"' % (name, words))
        assert cluster.plane.get('pod', name)['status']['phase'] == 'Pending'
    remove(cluster, *robbers)
    check_has(cluster, 1, 'none', 1, [])
    check_has(cluster, 1, 'one', 1, nics_of(node, 'one'))


def test_the_device_that_multus_hands_on_is_taken(cluster):
    """A network with a resourceName: Multus has the pod's device from the kubelet and names it to cni-rdma"""
    remove(cluster, 'none')
    cluster.node[1].wait(lambda: len(cluster.node[1].devices_of('one')) == 1 and not cluster.node[1].devices_of('none'), 120,
                         'the end of pod none')
    cluster.plane.apply(network('handed', deployed.RESOURCE))
    start(cluster, 1, 'handed', 1, 'default/handed')
    cluster.wait_pod('handed', 'Running', PATIENCE)
    check_has(cluster, 1, 'handed', 1, nics_of(cluster.node[1], 'handed'))


def test_all_is_back_when_the_pods_are_gone(cluster):
    """After the pods are deleted every card is free, and the NICs are on the host as they were"""
    remove(cluster, 'one', 'two', 'handed')
    deployed.all_free(cluster)
    for number, node in cluster.node.items():
        node.wait(lambda: nics_on(node) == before[number], 120, 'the NICs on the host', 0.5)
        assert not node.sh('ls /var/lib/cni/cni-rdma | grep json || true')
