# SPDX-License-Identifier: Apache-2.0
"""What deploy/ has, before a real API server: no node is needed for that."""

import json
import os

from deployed import NAMESPACE, NETWORKS, with_components
from node import ROOT, manifests

FIXTURE = 'control-plane'
OVERLAYS = {name: os.path.join(ROOT, 'deploy/overlays', name) for name in ('gaudi-p2p', 'habanalabs')}
REMOVE = os.path.join(ROOT, 'deploy/remove')
FOLDERS = [*OVERLAYS.values(), REMOVE]
PART = 'app.kubernetes.io/part-of=gaudi-p2p'
KINDS = ('namespace,serviceaccount,daemonset,validatingadmissionpolicy,validatingadmissionpolicybinding,role,rolebinding,'
         'clusterrole,clusterrolebinding')
# What a container must not have, but for those named: for each the file says why.
NEEDS = {
    'cni-rdma': {'hostNetwork', 'capability NET_ADMIN'},
    'gaudi-driver-loader': {'hostNetwork', 'privileged'},
}
NEEDS_REMOVING = {**NEEDS, 'cni-rdma': {'hostNetwork'}}


def output_of(cluster, folder):
    """What an administrator would apply, as objects, read by the API server's own tool."""
    text = cluster.plane.kubectl('kustomize', folder)
    out = cluster.plane.kubectl('create', '--dry-run=client', '-o', 'json', '-f', '-', data=text)
    return json.loads('[%s]' % out.replace('\n}\n{', '\n},{')) if '\n}\n{' in out else json.loads(out)['items']


def left(cluster):
    """Every object of ours, in all namespaces."""
    return cluster.plane.kubectl('get', KINDS, '-A', '-l', PART, '-o', 'name').split()


def teardown(cluster):
    cluster.plane.kubectl('delete', 'nodes', '--all')
    for folder in OVERLAYS.values():
        cluster.plane.kubectl('delete', '-k', folder, '--ignore-not-found')


def test_every_manifest_passes_a_dry_run(cluster):
    """The API server takes both overlays and remove word for word, unknown fields and doubtful values refused, without a warning"""
    cluster.plane.kubectl('create', 'namespace', NAMESPACE)  # a dry run makes none for the rest
    for folder in FOLDERS:
        out = cluster.plane.kubectl('apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict',
                                    '-k', folder)
        assert 'Warning' not in out and 'daemonset.apps/gaudi-device-plugin' in out, out
    cluster.plane.kubectl('delete', 'namespace', NAMESPACE)


def test_the_api_server_refuses_what_is_wrong_in_a_manifest(cluster):
    """The dry run would find a misspelt field: it is refused"""
    plugin, = manifests(os.path.join(ROOT, 'deploy/base/device-plugin.yaml'))
    plugin['metadata']['namespace'] = 'default'
    plugin['spec']['template']['spec']['hostNetwrok'] = True
    rc, out = cluster.plane.run('apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-',
                                data=json.dumps(plugin))
    assert rc and 'hostNetwrok' in out, out


def test_diff_is_empty_after_apply(cluster):
    """After kubectl apply, diff says nothing and apply "unchanged": the API server adds and changes nothing; so too when changed over"""
    for folder in (OVERLAYS['gaudi-p2p'], OVERLAYS['habanalabs'], REMOVE, OVERLAYS['gaudi-p2p'], REMOVE, OVERLAYS['gaudi-p2p']):
        cluster.plane.kubectl('apply', '-k', folder)
        rc, out = cluster.plane.run('diff', '-k', folder)
        assert rc == 0 and not out, out
        said = cluster.plane.kubectl('apply', '-k', folder).splitlines()
        assert said and all(line.endswith(' unchanged') for line in said), said


def test_diff_shows_a_change_by_hand(cluster):
    """The empty diff means something: a right that somebody added on the cluster is shown, and apply takes it away"""
    cluster.plane.kubectl('patch', 'daemonset', 'gaudi-device-plugin', '-n', NAMESPACE, '--type=json', '-p', json.dumps([
        {'op': 'replace', 'path': '/spec/template/spec/containers/0/securityContext/privileged', 'value': True},
        {'op': 'replace', 'path': '/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation', 'value': True}]))
    rc, out = cluster.plane.run('diff', '-k', OVERLAYS['gaudi-p2p'])
    assert rc == 1 and '+          privileged: false' in out, out
    cluster.plane.kubectl('apply', '-k', OVERLAYS['gaudi-p2p'])
    assert cluster.plane.run('diff', '-k', OVERLAYS['gaudi-p2p'])[0] == 0


def rights(pod):
    """What a pod of ours has beyond nothing at all."""
    found = {field for field in ('hostNetwork', 'hostPID', 'hostIPC') if pod.get(field)}
    for container in pod.get('initContainers', []) + pod['containers']:
        context = container['securityContext']
        if context.get('privileged'):
            found.add('privileged')
        else:
            assert context['allowPrivilegeEscalation'] is False, container
            assert context['capabilities']['drop'] == ['ALL'], container
            assert context['seccompProfile']['type'] == 'RuntimeDefault', container
        found |= {'capability ' + name for name in context.get('capabilities', {}).get('add', [])}
        assert context['readOnlyRootFilesystem'] is True, container
        assert 'memory' in container['resources']['limits'], container
        assert {'cpu', 'memory'} <= set(container['resources']['requests']), container
    return found


def daemonsets_of(cluster, folder):
    return {o['metadata']['name']: o for o in output_of(cluster, folder) if o['kind'] == 'DaemonSet'}


def test_no_container_has_a_right_that_it_does_not_need(cluster):
    """Only the loader of the driver is privileged; every other has no capability but those named, and all are bounded"""
    for folder in FOLDERS:
        daemonsets = daemonsets_of(cluster, folder)
        assert len(daemonsets) >= 2, daemonsets
        for name, daemonset in daemonsets.items():
            pod = daemonset['spec']['template']['spec']
            needs = NEEDS_REMOVING if folder == REMOVE else NEEDS
            assert rights(pod) == needs.get(name, set()), '%s: %s' % (name, rights(pod))
            assert daemonset['metadata']['namespace'] == NAMESPACE
            assert pod['serviceAccountName'] == name and pod['automountServiceAccountToken'] is False


def test_removing_is_the_overlay_turned_round(cluster):
    """deploy/remove has the same objects, so that none is left or doubled; its pods uninstall, all nodes at once, ready when it is done"""
    install, remove = daemonsets_of(cluster, OVERLAYS['gaudi-p2p']), daemonsets_of(cluster, REMOVE)
    assert set(install) == set(remove) and set(install) > set(daemonsets_of(cluster, OVERLAYS['habanalabs']))
    others = [[o for o in output_of(cluster, folder) if o['kind'] != 'DaemonSet'] for folder in (OVERLAYS['gaudi-p2p'], REMOVE)]
    assert others[0] == others[1]
    for name, daemonset in remove.items():
        before, after = (d['spec']['template']['spec']['containers'][0] for d in (install[name], daemonset))
        assert after['image'] == before['image'] and after['resources'] == before['resources']
        assert daemonset['spec']['updateStrategy']['rollingUpdate']['maxUnavailable'] == '100%'
        probe = after['readinessProbe']['exec']['command']
        if name == 'gaudi-device-plugin':
            more = after['args'][len(before['args']):]
            assert after['args'][:len(before['args'])] == before['args'] and '--uninstall=stay' in more, after
            # It looks at what the program looks at.
            assert probe == ['/' + name] + [a.replace('=stay', '=look') for a in more], probe
        else:
            assert before['args'][0] == 'install' and after['args'] == ['uninstall'] + before['args'][1:], after
            assert probe[1] == 'absent' and '--root=/host' in probe, probe
    # A mount point cannot be removed: no folder that shall go is one.
    gone = ('/var/lib/gaudi-p2p', '/dev/gaudi', '/var/lib/cni/cni-rdma')
    mounted = {v['hostPath']['path'] for d in remove.values() for v in d['spec']['template']['spec']['volumes']}
    assert not mounted & set(gone), mounted


def may(cluster, account, namespace):
    """What the API server says that a service account can do there: verbs, resources and paths."""
    review = json.loads(cluster.plane.kubectl(
        'create', '-f', '-', '-o', 'json', '--validate=false', '--as=system:serviceaccount:' + account,
        data=json.dumps({'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectRulesReview',
                         'spec': {'namespace': namespace}})))
    return {(verb, what) for rule in review['status']['resourceRules'] for verb in rule['verbs'] for what in rule['resources']} | {
        (verb, what) for rule in review['status']['nonResourceRules'] for verb in rule['verbs'] for what in rule['nonResourceURLs']}


def test_service_accounts_can_do_nothing(cluster):
    """Each DaemonSet's account may do what any account may that nobody gave a right (ask who it is), and nothing else"""
    accounts = [a['metadata']['name'] for a in cluster.plane.get('serviceaccounts', '-n', NAMESPACE, '-l', PART)]
    daemonsets = cluster.plane.get('daemonsets', '-n', NAMESPACE)
    assert sorted(accounts) == sorted(d['spec']['template']['spec']['serviceAccountName'] for d in daemonsets)
    for namespace in (NAMESPACE, 'kube-system', 'default'):
        everybody = may(cluster, 'default:nobody', namespace)
        assert ('create', 'selfsubjectreviews') in everybody and not [w for _, w in everybody if w in ('*', 'secrets', 'pods')]
        for account in accounts:
            assert may(cluster, NAMESPACE + ':' + account, namespace) == everybody, (account, namespace)


def test_pods_go_to_nodes_with_gaudis(cluster):
    """A node with a label of node-feature-discovery or with ours gets each DaemonSet's pod, with a node's priority; others none"""
    labels = {'nfd': {'feature.node.kubernetes.io/pci-1200_1da3.present': 'true'},
              'nfd-vendor': {'feature.node.kubernetes.io/pci-1da3.present': 'true'},
              'by-hand': {'habana.ai/gaudi.present': 'true'},
              'another-card': {'feature.node.kubernetes.io/pci-0302_10de.present': 'true'},
              'taken-away': {'habana.ai/gaudi.present': 'false'}, 'nothing': {}}
    cluster.plane.apply(*({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': name, 'labels': own}}
                          for name, own in labels.items()))
    wanted = {'nfd', 'nfd-vendor', 'by-hand'}

    def pods():
        return cluster.plane.get('pods', '-n', NAMESPACE, '-l', PART)

    def node_of(pod):
        term, = pod['spec']['affinity']['nodeAffinity']['requiredDuringSchedulingIgnoredDuringExecution']['nodeSelectorTerms']
        return term['matchFields'][0]['values'][0]

    names = [d['metadata']['name'] for d in cluster.plane.get('daemonsets', '-n', NAMESPACE)]
    cluster.wait(lambda: len(pods()) >= len(names) * len(wanted), 60, 'a pod of each DaemonSet on each node with Gaudis')
    for name in names:
        status = cluster.plane.get('daemonset', name, '-n', NAMESPACE)['status']
        assert status['desiredNumberScheduled'] == len(wanted), status
    for name in names:
        mine = [p for p in pods() if p['metadata']['labels']['app.kubernetes.io/name'] == name]
        assert sorted(map(node_of, mine)) == sorted(wanted), name
        for pod in mine:
            assert pod['spec']['priorityClassName'] == 'system-node-critical' and pod['spec']['priority'] > 2 * 10 ** 9
            assert not [v for v in pod['spec']['volumes'] if 'projected' in v], 'a token is mounted in ' + pod['metadata']['name']


def test_the_multus_component_is_for_clusters_with_multus(cluster):
    """Without the CRD it is refused by that name and nothing else misses it; with it, its network is cni-rdma's own entry"""
    folder = with_components(cluster, 'multus')
    rc, out = cluster.plane.run('apply', '-k', folder, '--dry-run=server')
    assert rc and 'no matches for kind "NetworkAttachmentDefinition"' in out, out
    cluster.plane.apply(NETWORKS)
    cluster.plane.kubectl('wait', '--for=condition=Established', 'crd/' + NETWORKS['metadata']['name'])
    cluster.plane.kubectl('apply', '-k', folder)
    assert cluster.plane.run('diff', '-k', folder)[0] == 0
    network = json.loads(cluster.plane.get('network-attachment-definition', 'gaudi-rdma', '-n', 'default')['spec']['config'])
    with open(os.path.join(ROOT, 'deploy/host/cni-rdma.json'), encoding='utf-8') as f:
        # Nothing else, above all no capability to be told a device by the pod.
        assert network == {'cniVersion': '1.0.0', 'name': 'gaudi-rdma', **json.load(f)}
    spec = {d['metadata']['name']: d['spec']['template']['spec'] for d in cluster.plane.get('daemonsets', '-n', NAMESPACE)}
    main, = spec['cni-rdma']['containers']
    assert '--no-chain' in main['args'] and '--no-chain' in main['readinessProbe']['exec']['command'], main
    main, = spec['gaudi-driver-loader']['containers']
    assert '--nonrevocable=hold' in main['args'] and '--nonrevocable=hold' in main['readinessProbe']['exec']['command'], main
    assert all('affinity' in pod for pod in spec.values())
    # The other way round with the component "remove" behind it: its readiness counts, and options stay.
    removing = daemonsets_of(cluster, with_components(cluster, 'multus', 'remove'))
    for name, verb in (('cni-rdma', 'uninstall'), ('gaudi-driver-loader', 'uninstall')):
        main, = removing[name]['spec']['template']['spec']['containers']
        assert main['args'][0] == verb and 'absent' in main['readinessProbe']['exec']['command'], main
    assert '--nonrevocable=hold' in main['args'], main
    cluster.plane.kubectl('delete', 'crd', NETWORKS['metadata']['name'])
    cluster.plane.kubectl('apply', '-k', OVERLAYS['gaudi-p2p'])
    assert cluster.plane.run('diff', '-k', OVERLAYS['gaudi-p2p'])[0] == 0


def test_delete_leaves_nothing(cluster):
    """kubectl delete -k takes away every object that apply made, of an overlay and in its place"""
    for folder in (REMOVE, OVERLAYS['gaudi-p2p']):
        cluster.plane.kubectl('apply', '-k', folder)
        assert 'namespace/' + NAMESPACE in left(cluster)
        cluster.plane.kubectl('delete', '-k', folder)
        assert not left(cluster), left(cluster)
        assert not cluster.plane.get('namespace', NAMESPACE)
