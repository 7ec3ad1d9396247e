# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes control plane on this machine: etcd, API server, controller manager, scheduler, and DNS.

    with ControlPlane(results, '10.0.2.2') as plane:
        plane.start()
        plane.apply(text)
        plane.get('nodes')

They are the programs of the kubelet's own module (tests/lab/node/prepare builds
them), with Node and RBAC authorization, NodeRestriction and every admission
plugin that is on by default; nobody is anonymous. The caller gives them a
network namespace of their own (see cluster.py), so that ports may be fixed and
nothing else on the machine reaches them. Everything that waits has a deadline
and raises ClusterError.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from guest import GuestError, die_with_parent, wait  # noqa: E402

API_PORT = 6443
ETCD = 'http://127.0.0.1:2379'
SERVICES = '10.96.0.0/16'
API_SERVICE = '10.96.0.1'
DNS_PORT = 5353
START_SECONDS = 180


class ClusterError(GuestError):
    """Says in words what went wrong; the logs have the rest."""


class Authority:
    """One CA and what it signs, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, mode=0o700)
        self._openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30',
                      '-subj', '/CN=gaudi-p2p-lab', '-keyout', self.path('ca.key'), '-out', self.path('ca.crt'))
        self._openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', self.path('sa.key'))
        self._openssl('ec', '-in', self.path('sa.key'), '-pubout', '-out', self.path('sa.pub'))

    def path(self, name):
        return os.path.join(self.folder, name)

    def _openssl(self, *args):
        done = subprocess.run(['openssl', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise ClusterError('openssl %s: %s' % (args[0], done.stdout.decode(errors='replace').strip()))

    def issue(self, name, subject, names=()):
        """NAME.crt and NAME.key: for a server if it has names ("DNS:x", "IP:y"), else for a client. Returns both paths."""
        key, crt, request, config = (self.path(name + end) for end in ('.key', '.crt', '.csr', '.ext'))
        with open(config, 'w', encoding='utf-8') as f:
            f.write('keyUsage=digitalSignature\nextendedKeyUsage=%s\n' % ('serverAuth' if names else 'clientAuth'))
            if names:
                f.write('subjectAltName=%s\n' % ','.join(names))
        self._openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', subject,
                      '-keyout', key, '-out', request)
        self._openssl('x509', '-req', '-days', '30', '-in', request, '-CA', self.path('ca.crt'), '-CAkey',
                      self.path('ca.key'), '-CAcreateserial', '-extfile', config, '-out', crt)
        return crt, key

    def kubeconfig(self, name, subject, server):
        """A kubeconfig with everything in it, for that subject; returns its text."""
        crt, key = self.issue(name, subject)

        def data(path):
            with open(path, 'rb') as f:
                return base64.b64encode(f.read()).decode()
        return json.dumps({
            'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'lab',
            'clusters': [{'name': 'lab', 'cluster': {'server': server,
                                                     'certificate-authority-data': data(self.path('ca.crt'))}}],
            'users': [{'name': name, 'user': {'client-certificate-data': data(crt), 'client-key-data': data(key)}}],
            'contexts': [{'name': 'lab', 'context': {'cluster': 'lab', 'user': name}}]})


class ControlPlane:
    """See the top of the file. address is the one at which nodes reach this machine; logs go to RESULTS."""

    def __init__(self, results, address, programs):
        self.results = results
        self._address = address
        self._programs = programs
        self._processes = []
        os.makedirs(results, exist_ok=True)
        self.run_dir = tempfile.mkdtemp(prefix='gaudi-p2p-cluster-')
        self.authority = Authority(self.run_dir + '/pki')
        self._admin = self._kubeconfig('admin', '/O=system:masters/CN=admin')

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def _write(self, name, text):
        path = os.path.join(self.run_dir, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def _kubeconfig(self, name, subject):
        """A file for a program of this machine; returns its path."""
        return self._write(name + '.kubeconfig', self.authority.kubeconfig(name, subject, 'https://127.0.0.1:%d' % API_PORT))

    # --- life ------------------------------------------------------------
    def _spawn(self, program, *args):
        name = os.path.basename(program)
        # Not of this process's group: Ctrl-C is for the tests, which end these in order.
        with open(os.path.join(self.results, name + '.log'), 'wb') as log:
            process = subprocess.Popen([os.path.join(self._programs, program), *args], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, preexec_fn=die_with_parent, start_new_session=True,
                                       env={'PATH': os.environ['PATH'], 'HOME': self.run_dir})
        self._processes.append((name, process))

    def check(self):
        """Raises when one of them has ended."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise ClusterError('%s ended with status %d: see %s/%s.log' % (name, process.returncode, self.results, name))

    def start(self):
        pki = self.authority
        tls = pki.issue('apiserver', '/CN=kube-apiserver',
                        ['DNS:kubernetes', 'DNS:kubernetes.default', 'DNS:kubernetes.default.svc', 'IP:' + API_SERVICE,
                         'IP:127.0.0.1', 'IP:' + self._address])
        to_kubelet = pki.issue('apiserver-kubelet', '/O=system:masters/CN=kube-apiserver')
        self._spawn('etcd', '--data-dir=' + self.run_dir + '/etcd', '--listen-client-urls=' + ETCD,
                    '--advertise-client-urls=' + ETCD, '--listen-peer-urls=http://127.0.0.1:2380',
                    # What the machine loses with its power is of no interest here.
                    '--unsafe-no-fsync', '--log-level=warn')
        self._spawn('kube-apiserver', '--etcd-servers=' + ETCD, '--bind-address=0.0.0.0', '--secure-port=%d' % API_PORT,
                    '--advertise-address=' + self._address, '--service-cluster-ip-range=' + SERVICES,
                    '--client-ca-file=' + pki.path('ca.crt'), '--tls-cert-file=' + tls[0],
                    '--tls-private-key-file=' + tls[1], '--kubelet-certificate-authority=' + pki.path('ca.crt'),
                    '--kubelet-client-certificate=' + to_kubelet[0], '--kubelet-client-key=' + to_kubelet[1],
                    '--kubelet-preferred-address-types=InternalIP', '--authorization-mode=Node,RBAC',
                    '--enable-admission-plugins=NodeRestriction', '--anonymous-auth=false',
                    # As kubeadm has it: the loader of the driver needs it, and what is refused here no policy gets to see.
                    '--allow-privileged',
                    '--service-account-issuer=https://kubernetes.default.svc',
                    '--service-account-key-file=' + pki.path('sa.pub'),
                    '--service-account-signing-key-file=' + pki.path('sa.key'))
        self.wait(lambda: self._kubectl('get', '--raw=/readyz').returncode == 0, START_SECONDS, 'the start of the API server', 0.5)
        for name, more in (('kube-controller-manager', ['--root-ca-file=' + pki.path('ca.crt'),
                                                        '--service-account-private-key-file=' + pki.path('sa.key'),
                                                        '--use-service-account-credentials']),
                           ('kube-scheduler', [])):
            config = self._kubeconfig(name, '/CN=system:' + name)
            self._spawn(name, '--kubeconfig=' + config, '--authentication-kubeconfig=' + config,
                        '--authorization-kubeconfig=' + config, '--leader-elect=false', '--bind-address=127.0.0.1', *more)
        # Pods are refused until their namespace has this account.
        self.wait(lambda: self._kubectl('get', 'serviceaccount', 'default').returncode == 0, START_SECONDS,
                  'the making of the service account default', 0.5)

    def start_dns(self, program):
        """CoreDNS, at port DNS_PORT of this machine, for a Service to lead to."""
        config = self._kubeconfig('coredns', '/CN=system:coredns')
        corefile = self._write('Corefile', '.:%d {\n bind 127.0.0.1\n errors\n kubernetes cluster.local in-addr.arpa {\n'
                                           '  kubeconfig %s lab\n }\n cache 5\n}\n' % (DNS_PORT, config))
        self._spawn(program, '-conf', corefile)

    def close(self):
        """Ends all of them; the logs stay."""
        for _, process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for _, process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []
        shutil.rmtree(self.run_dir, ignore_errors=True)

    # --- use -------------------------------------------------------------
    def _kubectl(self, *args, data=None, timeout=120):
        return subprocess.run([os.path.join(self._programs, 'kubectl'), '--kubeconfig=' + self._admin, *args], input=data.encode() if data is not None else None,
                              stdin=None if data is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False,
                              env={'PATH': os.environ['PATH'], 'HOME': self.run_dir})

    def run(self, *args, data=None, timeout=120):
        """kubectl as the administrator. Returns (exit status, output with errors)."""
        try:
            done = self._kubectl(*args, data=data, timeout=timeout)
        except subprocess.TimeoutExpired as e:
            return 124, '%sno end within %d s' % ((e.stdout or b'').decode(errors='replace'), timeout)
        return done.returncode, done.stdout.decode(errors='replace')

    def kubectl(self, *args, data=None, timeout=120):
        """run() that must succeed; returns the output."""
        rc, out = self.run(*args, data=data, timeout=timeout)
        if rc:
            self.check()
            raise ClusterError('kubectl %s: %s' % (' '.join(args), out.strip()))
        return out

    def apply(self, *objects):
        """Objects as in Kubernetes (dicts), by server-side apply."""
        return self.kubectl('apply', '--server-side', '-f', '-', data=json.dumps({'apiVersion': 'v1', 'kind': 'List',
                                                                                 'items': list(objects)}))

    def get(self, *args):
        """The object or the items that `kubectl get ARGS` finds; None when there is no object of that name."""
        rc, out = self.run('get', *args, '-o', 'json')
        if rc and 'Error from server (NotFound)' in out:
            return None
        if rc:
            raise ClusterError('kubectl get %s: %s' % (' '.join(args), out.strip()))
        found = json.loads(out)
        return found['items'] if found['kind'] == 'List' else found

    def wait(self, condition, timeout, what, poll=1.0):
        """Waits until condition() is true and returns its value; given up when one of the programs has ended."""
        return wait(condition, timeout, what, poll, self.check)
