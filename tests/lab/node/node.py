# SPDX-License-Identifier: Apache-2.0
"""The emulated node: a trixie guest with containerd, a real kubelet, two Gaudis and two RDMA NICs.

    with Node(results) as node:
        node.boot()
        node.apply_pod(manifest)                    # a dict, as in Kubernetes; see pod()
        node.wait_pod('a', 'Running')
        print(node.logs('a'))
        node.delete_pod('a')

tests/lab/node/prepare must have run: it builds what is booted here and writes
build/lab/node/node.env.

Topology: two PCIe switches, each with one Gaudi (512 MiB, card_file(i) is its
memory on this machine) and one NIC (netdev rocei, Soft-RoCE link rxei); the two
NICs reach each other. Two CPUs and two NUMA nodes. Cards are filled with garbage before the first boot.

The kubelet runs without a cluster: a pod is a manifest in a folder. It calls
the pod NAME-gaudi-node; here pods go by the name of their manifest. Everything
that waits has a deadline and raises GuestError.
"""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from guest import Guest, GuestError, TCG, card_arguments, card_file, scan, wait  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
NODE_NAME = 'gaudi-node'
CARDS = 2
CARD_BYTES = 512 << 20
MAC = '52:54:00:67:7%d:%s'  # number of the node, 0 without a cluster; of the NIC
MANIFESTS = '/etc/kubernetes/manifests'
# Commands of containers: one that does nothing until it is told to end, and one that has its Gaudis open until then.
STAY = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do /bin/busybox sleep 1; done']
HOLD_GAUDIS = ['/bin/sh', '-c', 'trap "exit 0" TERM; for f in /dev/accel/accel[0-9]*; do exec 3<>$f; done; echo opened; '
                                'while :; do /bin/busybox sleep 1; done']
APPEND = ('quiet loglevel=4 mitigations=off apparmor=0 selinux=0 audit=0 nowatchdog no_timer_check tsc=reliable '
          'random.trust_cpu=on systemd.show_status=no')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def pod(name, image, command=None, args=None, gaudis=0, env=None, mounts=None, restart='Never', grace=5, **container):
    """A pod manifest with one container called "main".

    gaudis      how many habana.ai/gaudi it asks for
    env         {NAME: VALUE}
    mounts      {path in the container: path on the node} (made as a folder when missing)
    container   any other field of the container, as in Kubernetes
    """
    main = {'name': 'main', 'image': image, 'imagePullPolicy': 'Never'}
    if command:
        main['command'] = list(command)
    if args:
        main['args'] = list(args)
    if env:
        main['env'] = [{'name': k, 'value': v} for k, v in env.items()]
    if gaudis:
        main['resources'] = {'limits': {'habana.ai/gaudi': str(gaudis)}}
    mounts = list((mounts or {}).items())
    main['volumeMounts'] = [{'name': 'v%d' % i, 'mountPath': inside} for i, (inside, _) in enumerate(mounts)]
    main.update(container)
    return {
        'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'namespace': 'default'},
        'spec': {
            'restartPolicy': restart,
            'terminationGracePeriodSeconds': grace,
            'containers': [main],
            'volumes': [{'name': 'v%d' % i, 'hostPath': {'path': outside, 'type': 'DirectoryOrCreate'}}
                        for i, (_, outside) in enumerate(mounts)],
        },
    }


def manifests(path):
    """The documents of a YAML file of this machine."""
    import yaml  # only here: Debian's python3-yaml, not part of Python
    with open(path, encoding='utf-8') as f:
        return [doc for doc in yaml.safe_load_all(f) if doc]


def pod_of(doc, name=None):
    """A Pod, DaemonSet, Deployment or Job as shipped, as the pod that a kubelet without a cluster can run:
    without what only an API server can answer, images from the node."""
    spec = json.loads(json.dumps(doc['spec'] if doc['kind'] == 'Pod' else doc['spec']['template']['spec']))
    for field in ('serviceAccountName', 'serviceAccount', 'nodeSelector', 'affinity', 'tolerations', 'priorityClassName'):
        spec.pop(field, None)
    for container in spec.get('initContainers', []) + spec['containers']:
        container['imagePullPolicy'] = 'Never'
    meta = doc['metadata'] if doc['kind'] == 'Pod' else doc['spec']['template'].get('metadata', {})
    return {'apiVersion': 'v1', 'kind': 'Pod', 'spec': spec,
            'metadata': {'name': name or doc['metadata']['name'], 'namespace': doc['metadata'].get('namespace', 'default'),
                         'labels': meta.get('labels', {}), 'annotations': meta.get('annotations', {})}}


def fill_with_garbage(path, size):
    """A card that was used before: no page of it is zero."""
    block = os.urandom(1 << 20)
    with open(path, 'r+b') as f:
        for _ in range(size // len(block)):
            f.write(block)


def environment(what='node'):
    """What tests/lab/node/prepare built: 'node': {'BASE': folder, 'LAYERS': folder, 'ACCEL': for QEMU},
    'kubernetes': {'KUBERNETES': folder}."""
    path = os.path.join(ROOT, 'build/lab/node/%s.env' % what)
    try:
        with open(path, encoding='utf-8') as f:
            return dict(line.rstrip('\n').split('=', 1) for line in f)
    except FileNotFoundError:
        raise GuestError('%s is missing: run tests/lab/node/prepare' % path) from None


class Node(Guest):
    """See the top of the file. Evidence goes to RESULTS/NAME.*."""

    # A minute on a machine that has nothing else to do; emulated CPUs get what is left over.
    BOOT_TIMEOUT = 600

    # A node of a cluster has another number, and its own layer: tests/lab/cluster.
    number = 0
    node_name = NODE_NAME

    def __init__(self, results=None, name='node', accel=None, memory='3G'):
        built = environment()
        self._base = built['BASE']
        super().__init__(name, results or os.path.join(ROOT, 'build/results/e2e'), kernel=self._base + '/vmlinuz',
                         initrd=self._base + '/initrd.img', append=APPEND, accel=accel or built.get('ACCEL', TCG),
                         # A socket for each NUMA node: the kernel warns of CPUs that share a cache and no memory.
                         memory=memory, smp='2,sockets=2')
        self._ssh_port, self._http_port = free_port(), free_port()
        self._layers = [built['LAYERS'] + '/layer.tar', self._own_layer(built['LAYERS'])]
        self._mark = 0.0
        self._cards = []
        self._make_disk()
        for i in range(CARDS):
            fill_with_garbage(card_file(self.card_file(i), CARD_BYTES), CARD_BYTES)
        self._devices += self._topology()

    # --- life ------------------------------------------------------------
    def _make_disk(self):
        """An overlay of the base, so that every run starts clean."""
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', self._base + '/root.img',
                        self.run_dir + '/root.qcow2'], check=True)

    def _own_layer(self, layers):
        """The tar that makes it this node."""
        return layers + '/alone.tar'

    def _forwards(self):
        """Ports of this machine that lead into the guest: [(address:port, port there)]."""
        return [('127.0.0.1:%d' % self._ssh_port, 22), ('127.0.0.1:%d' % self._http_port, 10255)]

    def _topology(self):
        args = ['-drive', 'file=%s/root.qcow2,if=none,id=root,format=qcow2,cache=unsafe' % self.run_dir,
                '-device', 'virtio-blk-pci,drive=root']
        for i, layer in enumerate(self._layers):
            args += ['-drive', 'file=%s,if=none,id=layer%d,format=raw,readonly=on' % (layer, i),
                     '-device', 'virtio-blk-pci,drive=layer%d' % i]
        args += ['-netdev', 'user,id=mgmt' + ''.join(',hostfwd=tcp:%s-:%d' % f for f in self._forwards()),
                 '-device', 'virtio-net-pci,netdev=mgmt,mac=' + MAC % (self.number, 'ff')]
        # Two NUMA nodes, so that the kubelet's topology manager has something to decide.
        half = int(self._memory[:-1]) * 512
        for i in range(2):
            args += ['-object', 'memory-backend-ram,id=ram%d,size=%dM' % (i, half),
                     '-numa', 'node,nodeid=%d,cpus=%d,memdev=ram%d' % (i, i, i)]
        for i in range(CARDS):
            args += ['-device', 'pcie-root-port,id=root%d,bus=pcie.0,chassis=%d,slot=%d' % (i, 10 + i, 10 + i),
                     '-device', 'x3130-upstream,id=switch%d,bus=root%d' % (i, i)]
            for port, chassis in (('card', 20), ('nic', 30)):
                args += ['-device', 'xio3130-downstream,id=%s%d,bus=switch%d,chassis=%d,slot=%d' % (
                    port, i, i, chassis + i, chassis + i)]
            args += card_arguments(i, self.card_file(i), CARD_BYTES, 'card%d' % i)
            # 9000 so that RoCE can use its largest packets of 4096 bytes.
            args += ['-netdev', 'hubport,id=fabric%d,hubid=1' % i,
                     '-device', 'virtio-net-pci,netdev=fabric%d,bus=nic%d,mac=%s,host_mtu=9000' % (
                         i, i, MAC % (self.number, '%02x' % i))]
        return args

    def check(self):
        super().check()
        failed = re.search(r'gaudi-guest-failed (\S+)', self.console())
        if failed:
            raise GuestError('%s failed in the guest (see %s)' % (failed.group(1), self.console_path))

    def reboot(self):
        """A clean reboot of the node: same disk, same cards, new kernel."""
        with contextlib.suppress(GuestError):
            self.run('systemctl poweroff', timeout=30)
        wait(lambda: not self.running(), 90, 'the shutdown of the node')
        self._boot_again()

    def crash(self):
        """The node loses its power, and boots: same disk, same cards."""
        self.sh('sync')
        self._boot_again()

    def _boot_again(self):
        self.stop()
        os.replace(self.console_path, self.console_path + '.before-reboot')
        self.boot()

    def stop(self):
        if os.path.exists(self.run_dir + '/ssh'):
            subprocess.run(self._ssh('-O', 'exit'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                           timeout=20)
        super().stop()

    def close(self):
        """Collects the evidence, then ends the guest."""
        try:
            if self.running() and 'gaudi-guest-ready' in self.console():
                self.collect()
        finally:
            super().close()

    # --- commands and files ----------------------------------------------
    def _ssh(self, *args):
        return ['ssh', '-F', 'none', '-o', 'BatchMode=yes', '-o', 'HostKeyAlias=' + NODE_NAME, '-o', 'LogLevel=ERROR',
                '-o', 'UserKnownHostsFile=%s/known_hosts' % self._base, '-o', 'GlobalKnownHostsFile=/dev/null',
                '-o', 'ControlMaster=auto', '-o', 'ControlPath=%s/ssh' % self.run_dir, '-o', 'ControlPersist=600',
                '-o', 'ConnectTimeout=30', '-i', self._base + '/id_ed25519', '-p', str(self._ssh_port),
                *args, 'root@127.0.0.1']

    def _command(self, cmd, data, timeout):
        try:
            done = subprocess.run(self._ssh() + [cmd], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  stdin=None if data is not None else subprocess.DEVNULL, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            self.check()
            raise GuestError('in the node, "%s" did not end within %d s' % (cmd, timeout)) from None
        if done.returncode == 255:
            self.check()
            raise GuestError('no ssh to the node: %s' % done.stdout.decode(errors='replace').strip())
        return done.returncode, done.stdout

    def run(self, cmd, timeout=120):
        """A shell command in the guest, as root. Returns (exit status, output with errors)."""
        rc, out = self._command(cmd, None, timeout)
        return rc, out.decode(errors='replace')

    def sh(self, cmd, timeout=120):
        """run() that must succeed; returns the output."""
        rc, out = self.run(cmd, timeout)
        if rc:
            raise GuestError('in the node, "%s" failed with %d: %s' % (cmd, rc, out.strip()))
        return out

    def read(self, path):
        """Content of a file of the guest, as bytes."""
        rc, out = self._command('cat -- ' + shlex.quote(path), None, 60)
        if rc:
            raise GuestError('cannot read %s in the node: %s' % (path, out.decode(errors='replace').strip()))
        return out

    def write(self, path, data, mode=0o644):
        """Writes a file of the guest; it appears whole or not at all."""
        data = data.encode() if isinstance(data, str) else data
        quoted = shlex.quote(path)
        # A dot in front: folders that are watched for files pass over it.
        tmp = shlex.quote(os.path.join(os.path.dirname(path), '.%s.tmp' % os.path.basename(path)))
        rc, out = self._command('mkdir -p -- "$(dirname %s)" && cat >%s && chmod %o %s && mv -T -- %s %s' % (
            quoted, tmp, mode, tmp, tmp, quoted), data, 120)
        if rc:
            raise GuestError('cannot write %s in the node: %s' % (path, out.decode(errors='replace').strip()))

    def put(self, local, remote, mode=None):
        """Copies a file into the guest; mode by default that of the file."""
        with open(local, 'rb') as f:
            self.write(remote, f.read(), mode if mode is not None else os.stat(local).st_mode & 0o777)

    def get(self, remote, local):
        """Copies a file out of the guest."""
        data = self.read(remote)
        with open(local, 'wb') as f:
            f.write(data)

    def forward(self, remote):
        """A Unix socket of the guest, reachable as one of this machine; returns its path."""
        local = '%s/s%d' % (self.run_dir, time.monotonic_ns() // 1000)
        self.run('true')  # the connection that carries it
        done = subprocess.run(self._ssh('-O', 'forward', '-L', '%s:%s' % (local, remote)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60, check=False)
        if done.returncode:
            raise GuestError('cannot forward %s: %s' % (remote, done.stdout.decode(errors='replace').strip()))
        return local

    # --- pods ------------------------------------------------------------
    def load_image(self, tar):
        """Gives containerd a docker-archive of this machine."""
        self.put(tar, '/tmp/image.tar')
        self.sh('ctr -n k8s.io images import /tmp/image.tar && rm /tmp/image.tar', timeout=180)

    def apply_pod(self, manifest):
        """Drops a Pod (a dict) into the kubelet's folder. Returns its name.

        A pod whose resource the kubelet does not know yet is admitted WITHOUT it: wait for
        wait_allocatable() first."""
        name = manifest['metadata']['name']
        self.write('%s/%s.json' % (MANIFESTS, name), json.dumps(manifest))
        return name

    def pods(self):
        """The kubelet's pods with their status, as in Kubernetes."""
        for attempt in range(3):
            try:
                with urllib.request.urlopen('http://127.0.0.1:%d/pods' % self._http_port, timeout=30) as answer:
                    return json.load(answer).get('items') or []
            except (urllib.error.URLError, OSError, ValueError) as e:
                self.check()
                if attempt == 2:
                    raise GuestError('the kubelet does not list its pods: %s' % e) from e
                time.sleep(2)
        raise AssertionError('not reached')

    def pod(self, name):
        """One pod with its status, or None."""
        wanted = '%s-%s' % (name, self.node_name)
        return next((p for p in self.pods() if p['metadata']['name'] in (wanted, name)), None)

    def pod_status(self, name):
        """(phase, why): phase as in Kubernetes or '' when there is no such pod yet; why in the kubelet's words."""
        found = self.pod(name)
        if not found:
            return '', 'the kubelet has no such pod'
        status = found.get('status', {})
        words = [status.get('reason', ''), status.get('message', '')]
        for container in status.get('containerStatuses', []):
            for state in container.get('state', {}).values():
                words += [state.get('reason', ''), state.get('message', '')]
                if 'exitCode' in state:
                    words.append('exit status %d' % state['exitCode'])
        return status.get('phase', ''), ', '.join(w for w in words if w)

    def wait_pod(self, name, phase, timeout=300):
        """Waits for a phase: 'Running' (and all its containers run), 'Succeeded' or 'Failed'.

        Ends early when the pod has reached another end. Returns the pod."""
        ends = {'Succeeded', 'Failed'}
        deadline = time.monotonic() + timeout
        while True:
            now, why = self.pod_status(name)
            if now == phase:
                found = self.pod(name)
                states = [c.get('state', {}) for c in found.get('status', {}).get('containerStatuses', [])]
                if phase != 'Running' or (states and all('running' in s for s in states)):
                    return found
            elif now in ends:
                raise GuestError('pod %s is %s and not %s: %s\n%s' % (name, now, phase, why, self.logs(name)[-2000:]))
            self.check()
            if time.monotonic() > deadline:
                raise GuestError('pod %s is not %s after %d s but %s: %s' % (name, phase, timeout, now or 'absent', why))
            time.sleep(0.5)

    def delete_pod(self, name, timeout=300, wait_gone=True):
        """Takes the manifest away and waits until nothing is left of the pod: its processes, its
        network namespace (CNI DEL is done), its folder."""
        found = self.pod(name)
        self.sh('rm -f -- %s/%s.json' % (MANIFESTS, shlex.quote(name)))
        if found and wait_gone:
            self.wait_gone(found['metadata']['uid'], timeout)

    def wait_gone(self, uid, timeout=300):
        """Waits until the kubelet and containerd have ended the pod of that UID."""
        cmd = 'ls -d /var/lib/kubelet/pods/%s /sys/fs/cgroup/kubepods.slice/*pod%s.slice ' \
              '/sys/fs/cgroup/kubepods.slice/*/*pod%s.slice 2>/dev/null | head -n 1' % (
                  uid, uid.replace('-', '_'), uid.replace('-', '_'))
        self.wait(lambda: not self.run(cmd)[1].strip(), timeout, 'the end of pod ' + uid, 0.5)

    def logs(self, name, container='main'):
        """What the container wrote so far, over all its restarts."""
        rc, out = self.run('cat $(ls -d /var/log/pods/*_%s-%s_*/%s/*.log /var/log/pods/*_%s_*/%s/*.log 2>/dev/null | '
                           'sort -V) </dev/null' % (name, self.node_name, container, name, container))
        if rc:
            return ''
        text = ''
        for line in out.splitlines():
            # TIME STREAM F|P TEXT; P: the line goes on
            fields = line.split(' ', 3)
            if len(fields) == 4:
                text += fields[3] + ('\n' if fields[2] == 'F' else '')
        return text

    def wait_log(self, name, pattern, timeout=300, container='main'):
        """Waits until the container's output matches the regular expression; returns the match."""
        deadline = time.monotonic() + timeout
        while True:
            text = self.logs(name, container)
            match = re.search(pattern, text, re.M)
            if match:
                return match
            phase, why = self.pod_status(name)
            if phase in ('Failed', 'Succeeded'):
                text = self.logs(name, container)
                match = re.search(pattern, text, re.M)
                if match:
                    return match
                raise GuestError('pod %s is %s (%s) and never said "%s", but:\n%s' % (
                    name, phase, why, pattern, text[-2000:]))
            self.check()
            if time.monotonic() > deadline:
                raise GuestError('pod %s did not say "%s" within %d s, but:\n%s' % (name, pattern, timeout, text[-2000:]))
            time.sleep(0.5)

    def _container_id(self, name, container):
        for status in (self.pod(name) or {}).get('status', {}).get('containerStatuses', []):
            if status['name'] == container and 'running' in status.get('state', {}):
                return status['containerID'].partition('://')[2]
        raise GuestError('container %s of pod %s does not run' % (container, name))

    def exec(self, name, argv, container='main', timeout=60):
        """A further process in a running container, with all that binds the container (namespaces,
        device rules). Returns (exit status, output)."""
        return self.run('ctr -n k8s.io tasks exec --exec-id x%d %s %s' % (
            time.monotonic_ns(), self._container_id(name, container), ' '.join(shlex.quote(a) for a in argv)), timeout)

    def pid(self, name, container='main'):
        """Process id, in the guest, of the container's first process."""
        out = self.sh('ctr -n k8s.io tasks ls')
        wanted = self._container_id(name, container)
        for line in out.splitlines():
            fields = line.split()
            if fields and fields[0] == wanted:
                return int(fields[1])
        raise GuestError('container %s of pod %s has no process' % (container, name))

    # --- devices ---------------------------------------------------------
    def podresources(self):
        """PodResources List: [{'namespace', 'name', 'containers': [{'name', 'devices': {resource: [id]}}]}]."""
        return json.loads(self.sh('podresources list'))

    def devices_of(self, name, resource='habana.ai/gaudi'):
        """Device ids that the kubelet says a pod holds; [] when it holds none or does not exist."""
        wanted = ('%s-%s' % (name, self.node_name), name)
        return [d for p in self.podresources() if p['name'] in wanted
                for c in p['containers'] for d in c['devices'].get(resource, [])]

    def allocatable(self, resource='habana.ai/gaudi'):
        """Device ids that the kubelet can hand out or has handed out."""
        return json.loads(self.sh('podresources allocatable')).get(resource, [])

    def wait_allocatable(self, count, resource='habana.ai/gaudi', timeout=240):
        """Waits until the kubelet knows that many devices; returns their ids. The kubelet may be starting."""
        def known():
            rc, out = self.run('podresources allocatable')
            ids = json.loads(out).get(resource, []) if rc == 0 else []
            return ids if len(ids) == count else None
        return self.wait(known, timeout, '%d allocatable %s' % (count, resource), 0.5)

    def restart_kubelet(self, timeout=240):
        """Ends the kubelet and waits until the new one serves both of its sockets; pods live on."""
        sockets = '/var/lib/kubelet/device-plugins/kubelet.sock', '/var/lib/kubelet/pod-resources/kubelet.sock'
        self.sh('systemctl stop kubelet && rm -f -- %s %s && systemctl start kubelet' % sockets, timeout)
        self.wait(lambda: self.run('test -S %s && test -S %s' % sockets)[0] == 0, timeout, 'the restart of the kubelet', 0.5)

    def card_file(self, i):
        """The memory of card i (in PCI order) as a file of this machine."""
        return '%s/hbm%d' % (self.run_dir, i)

    def cards(self):
        """PCI addresses of the Gaudis in the guest; number i is card_file(i)."""
        if not self._cards:  # the topology is fixed, and a command in the guest costs half a second
            self._cards = self.sh("grep -lx 0x1110 /sys/bus/pci/devices/*/device | cut -d/ -f6").split()
        return self._cards

    def card_attr(self, i, attr):
        """An attribute of card i, as of /sys/class/accel/accelN/device/; '' when it is absent."""
        rc, out = self.run('cat /sys/bus/pci/devices/%s/%s 2>/dev/null' % (self.cards()[i], attr))
        return out.strip() if rc == 0 else ''

    def wait_card(self, i, state, timeout=120):
        """Waits for a lease state: free, owned, draining, scrubbing or lost."""
        self.wait(lambda: self.card_attr(i, 'state') == state, timeout, 'state "%s" of card %d' % (state, i), 0.2)

    # --- evidence --------------------------------------------------------
    def dmesg(self):
        return self.sh('dmesg')

    def mark_dmesg(self):
        """From here on dmesg_findings() looks."""
        self._mark = float(self.sh('cut -d" " -f1 /proc/uptime'))

    def dmesg_findings(self):
        """Kernel lines since mark_dmesg() (or since boot) that mean a failure."""
        lines = []
        for line in self.dmesg().splitlines():
            stamp = re.match(r'\[ *([0-9.]+)\]', line)
            if not stamp or float(stamp.group(1)) >= self._mark:
                lines.append(line)
        return scan('\n'.join(lines))

    def collect(self, name=None):
        """Logs of the guest into RESULTS/NAME.*; never raises for a guest that is in a bad way."""
        wanted = {
            'dmesg': 'dmesg',
            'kubelet': 'journalctl --no-pager -o short-precise -u kubelet',
            'containerd': 'journalctl --no-pager -o short-precise -u containerd',
            'journal': 'journalctl --no-pager -o short-precise -b -p warning; systemctl --no-pager --failed',
            'pods': 'for f in $(ls -d /var/log/pods/*/*/*.log); do echo "== $f"; cat "$f"; done 2>/dev/null',
            'state': 'set -x; podresources list; podresources allocatable; rdma link; rdma resource; ip -br address; '
                     'ip netns; cat /var/lib/gaudi-p2p/pairs.json; ls -lR /dev/accel /dev/infiniband /dev/gaudi; '
                     'grep -H . /sys/class/accel/accel*/device/{state,reason,dirty_bytes}; '
                     'ctr -n k8s.io containers ls; ctr -n k8s.io tasks ls; free -m; busybox ps -o pid,stat,args',
        }
        for what, cmd in wanted.items():
            try:
                _, out = self.run(cmd, timeout=60)
            except GuestError as e:
                out = str(e)
            with open(os.path.join(self.results, '%s.%s' % (name or self.name, what)), 'w', encoding='utf-8') as f:
                f.write(out)
