# SPDX-License-Identifier: Apache-2.0
"""The admission policies of deploy/: which pods they refuse, and that nothing goes around them."""

import json

from deployed import OVERLAY
from node import pod

FIXTURE = 'control-plane'
USERS, ALLOWED = 'users', 'allowed'
NETWORK, ACCESS = 'gaudi-p2p-host-network', 'gaudi-p2p-host-access'
LABELS = {NETWORK: 'gaudi-p2p/host-network', ACCESS: 'gaudi-p2p/host-access'}
IMAGE = 'gaudi-p2p/tools:dev'
HOST_NETWORK = {'hostNetwork': True}
PRIVILEGED = {'privileged': True}


def user(name, mount=None, asks='habana.ai/gaudi', where='containers', spec=None, security=None, kind='limits'):
    """A pod with one plain container, and one in WHERE that has what is judged; mount: a folder of the node."""
    made = pod(name, IMAGE, mounts={'/mnt': mount} if mount else None)
    plain = made['spec']['containers'][0]
    judged = plain if where == 'containers' else json.loads(json.dumps(dict(plain, name='judged')))
    if judged is not plain:
        made['spec'][where] = [judged]
    if asks:
        judged['resources'] = {'limits': {asks: '1'}, 'requests': {asks: '1'}} if kind == 'both' else {kind: {asks: '1'}}
    if security:
        judged['securityContext'] = security
    made['spec'].update(spec or {})
    return made


def adds(*names):
    return {'capabilities': {'add': list(names)}}


# By the policy that refuses them, each with words of its message.
REFUSED = {
    NETWORK: ('remove hostNetwork', [
        user('gaudi', spec=HOST_NETWORK),
        user('gaudi-as-limit-and-request', spec=HOST_NETWORK, kind='both'),
        user('rdma', asks='habana.ai/rdma', spec=HOST_NETWORK),
        user('init-container', where='initContainers', spec=HOST_NETWORK),
    ]),
    ACCESS: ('gaudi-p2p/host-access=allowed', [
        user('host-pid', spec={'hostPID': True}),
        user('host-pid-init-container', where='initContainers', spec={'hostPID': True}),
        user('privileged', security=PRIVILEGED),
        user('privileged-init-container', where='initContainers', security=PRIVILEGED),
        user('sys-admin', security=adds('CHOWN', 'SYS_ADMIN')),
        user('sys-admin-in-lower-case', security=adds('sys_admin')),
        user('sys-admin-by-its-long-name', security=adds('CAP_SYS_ADMIN')),
        user('all-capabilities', security=adds('ALL')),
        user('sys-module', security=adds('SYS_MODULE')),
        user('sys-rawio', security=adds('SYS_RAWIO')),
        user('bpf', security=adds('BPF')),
        user('sys', '/sys'),
        user('sys-below', '/sys/class/infiniband'),
        user('proc', '/proc/1/root'),
        user('dev', '/dev'),
        user('dev-links', '/dev/char'),
        user('root-of-the-node', '/'),
        user('above-what-is-ours', '/var/lib'),
        user('accel', '/dev/accel'),
        user('rdma-and-dev', '/dev', asks='habana.ai/rdma'),
        # These ask for nothing.
        user('accel-without-asking', '/dev/accel', asks=None),
        user('one-accel-without-asking', '/dev/accel/accel0', asks=None),
        user('uverbs-without-asking', '/dev/infiniband/uverbs0', asks=None),
        user('links-without-asking', '/dev/gaudi', asks=None),
        user('driver-without-asking', '/sys/module/gaudi_p2p/parameters', asks=None),
        user('pairs-without-asking', '/var/lib/gaudi-p2p', asks=None),
        user('attachments-without-asking', '/var/lib/cni/cni-rdma', asks=None),
        user('slash-at-the-end', '/dev/accel/', asks=None),
        user('two-slashes', '/dev//accel', asks=None),
        user('many-slashes-in-front', '///dev/accel', asks=None),
        user('dot', '/dev/./accel/.', asks=None),
    ]),
}
PASSED = [
    user('plain'),
    user('rdma-alone', asks='habana.ai/rdma'),
    user('nothing', asks=None),
    user('host-network-without-asking', asks=None, spec=HOST_NETWORK),
    user('another-resource', asks='example.com/card', spec=dict(HOST_NETWORK, hostPID=True), security=PRIVILEGED),
    user('host-pid-without-asking', asks=None, spec={'hostPID': True}),
    user('privileged-without-asking', asks=None, security=PRIVILEGED),
    user('sys-without-asking', '/sys', asks=None),
    user('dev-without-asking', '/dev', asks=None),
    user('root-without-asking', '/', asks=None),
    user('data-of-the-node', '/data/accel'),
    user('a-name-that-begins-alike', '/dev/accelerators', asks=None),
    user('another-name-that-begins-alike', '/developers'),
    user('socket-of-the-demo', '/run/gaudi-p2p-demo'),
    user('mknod', security=adds('MKNOD', 'IPC_LOCK', 'NET_RAW')),
    user('shared-processes', spec={'shareProcessNamespace': True}),
    user('memory-volume', spec={'volumes': [{'name': 'm', 'emptyDir': {'medium': 'Memory'}}]}),
]


def create(cluster, namespace, pods, *args):
    """What the API server says to each pod: {name: words}; only the judgement is wanted, none is kept."""
    items = [dict(p, metadata=dict(p['metadata'], namespace=namespace)) for p in pods]
    out = cluster.plane.run('create', '--dry-run=server', '-f', '-', *args,
                            data=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items}))[1]
    said = {}
    for line in out.splitlines():
        for p in pods:
            name = p['metadata']['name']
            if line.startswith('pod/%s created' % name) or 'pods "%s" is forbidden' % name in line:
                said[name] = line
    missing = {p['metadata']['name'] for p in pods} - set(said)
    assert not missing, '%s: neither created nor forbidden: %s' % (sorted(missing), out[-2000:])
    return said


def assert_refused(said, policy, words):
    for name, line in said.items():
        assert "'%s'" % policy in line and words in line, '%s: %s' % (name, line)


def namespace(name, **labels):
    return {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name, 'labels': {k: v for k, v in labels.items()}}}


def setup(cluster):
    cluster.plane.kubectl('apply', '-k', OVERLAY)
    cluster.plane.apply(namespace(USERS), namespace(ALLOWED, **dict.fromkeys(LABELS.values(), 'allowed')),
                        namespace('strict', **{'pod-security.kubernetes.io/enforce': 'restricted'}))
    for name in (USERS, ALLOWED, 'strict'):
        cluster.wait(lambda: cluster.plane.get('serviceaccount', 'default', '-n', name), 60, 'the account of ' + name)
    # The API server takes a moment before a new policy holds.
    first = [REFUSED[p][1][0] for p in REFUSED]
    cluster.wait(lambda: all('forbidden' in line for line in create(cluster, USERS, first).values()), 60, 'the policies')


def teardown(cluster):
    cluster.plane.kubectl('delete', 'namespace', USERS, ALLOWED, 'strict', '--ignore-not-found')
    cluster.plane.kubectl('delete', '-k', OVERLAY, '--ignore-not-found')


def test_policies_are_sound(cluster):
    """The API server's own check of types finds nothing to say about an expression"""
    for policy in REFUSED:
        def checked():
            found = cluster.plane.get('validatingadmissionpolicy', policy)
            return found if found['status'].get('observedGeneration') == found['metadata']['generation'] else None
        found = cluster.wait(checked, 60, 'the check of ' + policy)
        assert not found['status'].get('typeChecking', {}).get('expressionWarnings'), found['status']
        assert found['spec']['failurePolicy'] == 'Fail'


def test_what_is_refused(cluster):
    """Each pod that would get around its own Gaudis and NICs is refused by name of the policy, with what to do"""
    for policy, (words, pods) in REFUSED.items():
        assert_refused(create(cluster, USERS, pods), policy, words)


def test_what_passes(cluster):
    """Pods that ask and keep to themselves, and pods that ask for nothing and take nothing of ours"""
    for name, line in create(cluster, USERS, PASSED).items():
        assert line.startswith('pod/'), '%s: %s' % (name, line)


def test_the_strictest_pod_security_lets_a_pod_with_a_gaudi_pass(cluster):
    """A namespace held to "restricted" can use Gaudis: nothing about them needs a right"""
    security = {'allowPrivilegeEscalation': False, 'runAsNonRoot': True, 'runAsUser': 1000, 'capabilities': {'drop': ['ALL']},
                'seccompProfile': {'type': 'RuntimeDefault'}}
    assert create(cluster, 'strict', [user('strict', security=security)])['strict'].startswith('pod/')
    assert 'PodSecurity' in create(cluster, 'strict', [user('lax')])['lax']


def test_resources_of_the_pod_as_a_whole_are_no_way_around(cluster):
    """A pod cannot ask for a Gaudi where the policies do not look: the API server knows no such request"""
    around = user('around', asks=None, spec=dict(HOST_NETWORK, resources={'limits': {'habana.ai/gaudi': '1'}}))
    around['metadata']['namespace'] = USERS
    rc, out = cluster.plane.run('create', '--dry-run=server', '-f', '-', data=json.dumps(around))
    assert rc and 'habana.ai/gaudi' in out and 'nvalid' in out, out
    debugger = user('ephemeral', where='ephemeralContainers', spec=HOST_NETWORK)
    debugger['metadata']['namespace'] = USERS
    rc, out = cluster.plane.run('create', '--dry-run=server', '-f', '-', data=json.dumps(debugger))
    assert rc and 'ephemeral' in out, out


def workload(kind, name, template):
    labels = {'app': name}
    spec = json.loads(json.dumps(template['spec']))
    made = {'apiVersion': 'batch/v1' if kind == 'Job' else 'apps/v1', 'kind': kind,
            'metadata': {'name': name, 'namespace': USERS},
            'spec': {'template': {'metadata': {'labels': labels}, 'spec': spec}}}
    if kind != 'Job':
        made['spec']['selector'] = {'matchLabels': labels}
        spec['restartPolicy'] = 'Always'
    if kind == 'StatefulSet':
        made['spec']['serviceName'] = name
    return made


def test_pods_that_controllers_make_are_judged(cluster):
    """Deployment, Job and StatefulSet with a refused template get no pod, and an event says why; with a lawful one they do"""
    kinds = ('Deployment', 'Job', 'StatefulSet')
    cluster.plane.apply(*(workload(k, 'bad-' + k.lower(), user('x', spec=HOST_NETWORK)) for k in kinds),
                        *(workload(k, 'good-' + k.lower(), user('x')) for k in kinds))

    def reasons():
        events = cluster.plane.get('events', '-n', USERS, '--field-selector=reason=FailedCreate')
        return {k: e['message'] for e in events for k in kinds if e['involvedObject']['name'].startswith('bad-' + k.lower())}
    told = cluster.wait(lambda: reasons() if len(reasons()) == len(kinds) else None, 90, 'an event of each controller')
    assert_refused(told, NETWORK, 'remove hostNetwork')

    def owners():
        return {p['metadata']['labels']['app'] for p in cluster.plane.get('pods', '-n', USERS)}
    cluster.wait(lambda: owners() == {'good-' + k.lower() for k in kinds}, 90, 'a pod of each lawful template')
    for k in kinds:
        cluster.plane.kubectl('delete', k, '-n', USERS, 'bad-' + k.lower(), 'good-' + k.lower())


def test_a_pod_cannot_be_changed_into_a_refused_one(cluster):
    """Lawful pods stay so: the API server changes none of the fields, and kubectl debug brings no right to a Gaudi"""
    cluster.plane.apply(*(dict(p, metadata=dict(p['metadata'], namespace=USERS)) for p in (
        user('lawful'), user('without', asks=None))))
    for change in (HOST_NETWORK, {'hostPID': True}, {'containers': [{'name': 'main', 'securityContext': PRIVILEGED}]},
                   {'volumes': [{'name': 'x', 'hostPath': {'path': '/dev/accel'}}]}):
        rc, out = cluster.plane.run('patch', 'pod', 'lawful', '-n', USERS, '-p', json.dumps({'spec': change}))
        assert rc and 'orbidden' in out, (change, out)
    rc, out = cluster.plane.run('patch', 'pod', 'without', '-n', USERS, '--subresource=resize', '-p', json.dumps(
        {'spec': {'containers': [{'name': 'main', 'resources': {'limits': {'habana.ai/gaudi': '1'}}}]}}))
    assert rc and ('orbidden' in out or 'nvalid' in out), out

    def debug(name, profile):
        return cluster.plane.run('debug', name, '-n', USERS, '--image=' + IMAGE, '--profile=' + profile, '--quiet')
    rc, out = debug('lawful', 'sysadmin')
    assert rc and ACCESS in out and 'may be privileged' in out, out
    rc, out = debug('lawful', 'restricted')
    assert rc == 0, out
    rc, out = debug('without', 'sysadmin')
    assert rc == 0, out
    cluster.plane.kubectl('delete', 'pod', 'lawful', 'without', '-n', USERS)


def test_a_label_of_the_namespace_opts_out_and_is_seen(cluster):
    """Each label lets through what its policy refuses and nothing else, and the user is warned in the policy's words"""
    said = cluster.plane.kubectl('get', 'namespaces', '-l', LABELS[NETWORK] + '=allowed', '-o', 'name')
    assert said.split() == ['namespace/' + ALLOWED], said
    said = cluster.plane.kubectl('get', 'namespaces', '-l', LABELS[ACCESS] + '=allowed', '-o', 'name')
    assert sorted(said.split()) == ['namespace/' + ALLOWED, 'namespace/gaudi-p2p'], said
    for policy, (words, pods) in REFUSED.items():
        assert all(line.startswith('pod/') for line in create(cluster, ALLOWED, pods).values())
        one = dict(pods[0], metadata=dict(pods[0]['metadata'], namespace=ALLOWED))
        out = cluster.plane.kubectl('create', '--dry-run=server', '-f', '-', data=json.dumps(one))
        assert out.startswith('Warning: ') and "'%s'" % policy in out and words in out, out
        other, = set(REFUSED) - {policy}
        cluster.plane.kubectl('label', 'namespace', ALLOWED, LABELS[policy] + '-')
        # What a request sees of a namespace may be a moment old.
        cluster.wait(lambda: all('forbidden' in line for line in create(cluster, ALLOWED, pods).values()), 30, 'its refusal again')
        assert all(line.startswith('pod/') for line in create(cluster, ALLOWED, REFUSED[other][1]).values())
        cluster.plane.kubectl('label', 'namespace', ALLOWED, LABELS[policy] + '=no')  # any other value is no opt-out
        assert all('forbidden' in line for line in create(cluster, ALLOWED, pods).values())
        cluster.plane.kubectl('label', 'namespace', ALLOWED, '--overwrite', LABELS[policy] + '=allowed')
        cluster.wait(lambda: all(line.startswith('pod/') for line in create(cluster, ALLOWED, pods).values()), 30, 'its opt-out')


def test_a_label_of_the_pod_does_not_opt_out(cluster):
    """Who writes a pod cannot let himself through: the same label on the pod is none"""
    for policy, (words, pods) in REFUSED.items():
        labelled = [dict(p, metadata=dict(p['metadata'], labels=dict.fromkeys(LABELS.values(), 'allowed'))) for p in pods]
        assert_refused(create(cluster, USERS, labelled), policy, words)


def test_the_owner_of_a_namespace_cannot_opt_out(cluster):
    """Kubernetes' own role "admin" in a namespace may make pods there, and neither label it nor touch a policy"""
    cluster.plane.kubectl('create', 'rolebinding', 'owner', '-n', USERS, '--clusterrole=admin', '--user=owner')
    plain = dict(user('mine'), metadata={'name': 'mine', 'namespace': USERS})
    cluster.wait(lambda: cluster.plane.run('create', '--dry-run=server', '--as=owner', '-f', '-', data=json.dumps(plain))[0] == 0,
                 30, 'the rights of the owner')
    rc, out = cluster.plane.run('create', '--dry-run=server', '--as=owner', '-f', '-', data=json.dumps(
        dict(user('mine', spec=HOST_NETWORK), metadata={'name': 'mine', 'namespace': USERS})))
    assert rc and NETWORK in out, out
    for label in LABELS.values():
        rc, out = cluster.plane.run('label', '--as=owner', 'namespace', USERS, label + '=allowed')
        assert rc and 'orbidden' in out, out
    for policy in REFUSED:
        rc, out = cluster.plane.run('delete', '--as=owner', 'validatingadmissionpolicybinding', policy)
        assert rc and 'orbidden' in out, out
