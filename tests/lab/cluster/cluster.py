# SPDX-License-Identifier: Apache-2.0
"""A cluster: a control plane on this machine, and emulated nodes as its members.

    if not is_isolated():
        isolate()                               # does not return
    with Cluster(results) as cluster:           # Cluster(results, ()): a control plane without a node
        cluster.boot()
        cluster.plane.apply(...)
        cluster.node[1].card_attr(0, 'state')

Members are gaudi-node-1 and gaudi-node-2, each as in node.py, but without driver,
CNI plugin and device plugin: DaemonSets bring those. Two networks connect them,
the fabric of the NICs beside the cards, and one for everything else:

    node N       10.100.0.N     (cluster0)
    its pods     10.200.N.0/24  (bridge, host-local, one route per node)
    Services     10.96.0.0/16   (kube-proxy), DNS 10.96.0.10 (CoreDNS)

Each node reaches the API server at 10.0.2.2, which is this machine for QEMU's user
network; the API server reaches a kubelet at the node's address, because that is on
the loopback of the namespace that isolate() makes, and QEMU listens there.
"""

import concurrent.futures
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '../node'), os.path.join(HERE, '..')]
from control import API_PORT, ClusterError, ControlPlane  # noqa: E402
from guest import wait  # noqa: E402
from node import MAC, Node, environment, manifests  # noqa: E402

NODES = (1, 2)
MACHINE = '10.0.2.2'
ISOLATED = 'GAUDI_P2P_ISOLATED'


def address_of(number):
    return '10.100.0.%d' % number


def name_of(number):
    return 'gaudi-node-%d' % number


def is_isolated():
    return bool(os.environ.get(ISOLATED))


def isolate():
    """Starts this program again in a network namespace of its own, in which the nodes' addresses are on the loopback."""
    os.environ[ISOLATED] = '1'
    # The source has to be another than the node's own address: QEMU hands it on, and the node drops what it said itself.
    addresses = ''.join('ip route add local %s dev lo table local src 127.0.0.1; ' % address_of(n) for n in NODES)
    os.execvp('unshare', ['unshare', '--net', 'sh', '-c', 'ip link set lo up; %sexec "$@"' % addresses, 'sh',
                          sys.executable, *sys.argv])


class Member(Node):
    """One node of a cluster. Evidence goes to RESULTS/gaudi-node-N.*."""

    # Two guests and a control plane share what is there.
    BOOT_TIMEOUT = 900

    def __init__(self, number, results, authority, wires):
        self.number = number
        self.node_name = name_of(number)
        self._authority = authority
        self._wires = wires
        super().__init__(results, self.node_name)
        # As on a node that was prepared: later the mode can be changed only while there are no pods.
        self._append += ' ib_core.netns_mode=0'

    def _files(self):
        """What is this node's alone: {path: (text, mode)}."""
        server, name, pki = 'https://%s:%d' % (MACHINE, API_PORT), self.node_name, self._authority
        serving = pki.issue(name + '-serving', '/O=system:nodes/CN=system:node:' + name,
                            ['DNS:' + name, 'IP:' + address_of(self.number)])

        def content(path):
            with open(path, encoding='utf-8') as f:
                return f.read()
        hosts = ''.join('%s %s\n' % (address_of(n), name_of(n)) for n in NODES)
        network = {
            'cniVersion': '1.0.0', 'name': 'pods', 'plugins': [{
                'type': 'bridge', 'bridge': 'cni0', 'isGateway': True, 'hairpinMode': True,
                'ipam': {'type': 'host-local', 'ranges': [[{'subnet': '10.200.%d.0/24' % self.number}]],
                         'routes': [{'dst': '0.0.0.0/0'}]}}]}
        return {
            'etc/hostname': (name + '\n', 0o644),
            'etc/hosts': ('127.0.0.1 localhost\n' + hosts, 0o644),
            'etc/kubernetes/kubelet.env': ('NODE_NAME=%s\nKUBELET_OPTIONS=--kubeconfig=/etc/kubernetes/kubelet.kubeconfig '
                                           '--hostname-override=%s --node-ip=%s\n' % (name, name, address_of(self.number)),
                                           0o644),
            'etc/kubernetes/cluster.env': ('NUMBER=%d\nPEERS="%s"\n' % (
                self.number, ' '.join(str(n) for n in NODES if n != self.number)), 0o644),
            'etc/kubernetes/kubelet.kubeconfig': (pki.kubeconfig(name, '/O=system:nodes/CN=system:node:' + name, server), 0o600),
            'etc/kubernetes/kube-proxy.kubeconfig': (pki.kubeconfig(name + '-proxy', '/CN=system:kube-proxy', server), 0o600),
            'etc/kubernetes/pki/ca.crt': (content(pki.path('ca.crt')), 0o644),
            'etc/kubernetes/pki/kubelet.crt': (content(serving[0]), 0o644),
            'etc/kubernetes/pki/kubelet.key': (content(serving[1]), 0o600),
            'etc/cni/net.d/10-pods.conflist': (json.dumps(network, indent=2) + '\n', 0o644),
        }

    def _own_layer(self, layers):
        path = self.run_dir + '/member.tar'
        shutil.copyfile(layers + '/member.tar', path)
        with tarfile.open(path, 'a', format=tarfile.GNU_FORMAT) as tar:
            for name, (text, mode) in self._files().items():
                info = tarfile.TarInfo('./' + name)
                info.size, info.mode = len(text.encode()), mode
                tar.addfile(info, io.BytesIO(text.encode()))
        return path

    def _forwards(self):
        return super()._forwards() + [('%s:10250' % address_of(self.number), 10250)]

    def _topology(self):
        args = super()._topology()
        mine, other = '%s/%%s%d' % (self._wires, self.number), '%s/%%s%d' % (self._wires, 3 - self.number)
        for wire in ('fabric', 'cluster'):
            args += ['-netdev', 'dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s' % (
                wire, mine % wire, other % wire)]
        return args + ['-netdev', 'hubport,id=fabric-uplink,hubid=1,netdev=fabric',
                       '-device', 'virtio-net-pci,netdev=cluster,mac=' + MAC % (self.number, 'fe')]

    def start(self):
        for wire in ('fabric', 'cluster'):  # QEMU does not bind a name that is there
            path = '%s/%s%d' % (self._wires, wire, self.number)
            if os.path.exists(path):
                os.unlink(path)
        super().start()


class Cluster:
    """See the top of the file. What a control plane alone needs is built by `tests/lab/node/prepare kubernetes`."""

    def __init__(self, results, numbers=NODES):
        self.results = results
        self.plane = ControlPlane(results, MACHINE, environment('kubernetes')['KUBERNETES'])
        self._numbers = numbers
        self._wires = tempfile.mkdtemp(prefix='gaudi-p2p-')
        # Its threads live as long as the nodes: QEMU ends with the thread that started it.
        self._pool = concurrent.futures.ThreadPoolExecutor(max(1, len(numbers)))
        self.node = {}

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def boot(self):
        """Control plane, nodes (all boot at once), DNS; returns when the nodes are ready."""
        self.plane.start()
        if not self._numbers:
            return
        self.plane.kubectl('create', 'clusterrolebinding', 'kube-proxy', '--clusterrole=system:node-proxier',
                           '--user=system:kube-proxy')
        self.plane.apply(*manifests(HERE + '/coredns.yaml'))
        self.plane.start_dns(environment('kubernetes')['COREDNS'] + '/coredns')
        for number in self._numbers:
            self.node[number] = Member(number, self.results, self.plane.authority, self._wires)
        self.each(lambda node: node.boot())
        self.wait_nodes()

    def each(self, do):
        """do(node) for all nodes at once; raises what the first of them raises."""
        return list(self._pool.map(do, self.node.values()))

    def wait_nodes(self, timeout=600):
        """Waits until all nodes are Ready."""
        def ready():
            nodes = self.plane.get('nodes')
            return len(nodes) == len(self._numbers) and all(
                c['status'] == 'True' for n in nodes for c in n['status']['conditions'] if c['type'] == 'Ready')
        self.wait(ready, timeout, 'that all nodes are Ready')

    def is_ready(self, daemonset, namespace):
        """Whether all pods of a DaemonSet are of its newest form and ready."""
        found = self.plane.get('daemonset', daemonset, '-n', namespace)
        status = (found or {}).get('status', {})
        wanted = status.get('desiredNumberScheduled', 0)
        return (wanted > 0 and status.get('observedGeneration') == found['metadata']['generation'] and
                status.get('numberReady', 0) == status.get('updatedNumberScheduled', 0) == wanted)

    def check(self):
        self.plane.check()
        for node in self.node.values():
            node.check()

    def wait(self, condition, timeout, what, poll=1.0):
        return wait(condition, timeout, what, poll, self.check)

    # --- pods, by kubectl as a user has it ----------------------------------
    def wait_pod(self, name, phase, timeout=300, namespace='default'):
        """Waits for a phase; with 'Running' until all containers are ready. Returns the pod."""
        def reached():
            pod = self.plane.get('pod', name, '-n', namespace)
            status = (pod or {}).get('status', {})
            if status.get('phase') == phase:
                ready = [c.get('ready') for c in status.get('containerStatuses', [])]
                return pod if phase != 'Running' or (ready and all(ready)) else None
            if status.get('phase') in ('Succeeded', 'Failed'):
                raise ClusterError('pod %s is %s and not %s: %s\n%s' % (
                    name, status['phase'], phase, status.get('message', ''), self.logs(name, namespace)))
            return None
        return self.wait(reached, timeout, 'that pod %s is %s' % (name, phase))

    def logs(self, name, namespace='default'):
        return self.plane.run('logs', name, '-n', namespace)[1]

    def exec(self, name, *argv, namespace='default', timeout=120):
        """A command in the pod's only container. Returns (exit status, output)."""
        return self.plane.run('exec', name, '-n', namespace, '--', *argv, timeout=timeout)

    # --- evidence, as a Node has it ----------------------------------------
    def mark_dmesg(self):
        self.each(lambda node: node.mark_dmesg())

    def dmesg_findings(self):
        return [finding for findings in self.each(lambda node: node.dmesg_findings()) for finding in findings]

    def collect(self, name='cluster'):
        """What the API server knows into RESULTS/NAME.kubectl, the nodes' logs; never raises."""
        with open(os.path.join(self.results, name + '.kubectl'), 'w', encoding='utf-8') as f:
            for args in (['get', 'all', '-A', '-o', 'wide'], ['get', 'events', '-A', '--sort-by=.lastTimestamp'],
                         ['describe', 'nodes'], ['describe', 'pods', '-A']):
                try:
                    f.write('== kubectl %s\n%s\n' % (' '.join(args), self.plane.run(*args)[1]))
                except (OSError, subprocess.SubprocessError) as e:
                    f.write('%s\n' % e)
        if name != 'cluster':
            self.each(lambda node: node.collect('%s-%s' % (name, node.node_name)))

    def close(self):
        """Collects the evidence, then ends everything."""
        try:
            self.collect()
            for node in self.node.values():
                node.close()
        finally:
            self._pool.shutdown()
            self.plane.close()
            shutil.rmtree(self._wires, ignore_errors=True)
