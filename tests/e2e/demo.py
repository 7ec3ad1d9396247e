# SPDX-License-Identifier: Apache-2.0
"""The main job, and the proofs that device memory belongs to its pod.

Two pods, A and B, each with one Gaudi and its NIC, made from the manifests in deploy/. Each runs
`p2p-copy serve`, which does one step at a time as this scenario tells it over a Unix socket. Two
witnesses trust nothing in the pods: `p2p-copy events` on the node writes down every change of state that
the driver announces, and the card's memory is a file of this machine.

The proofs build on each other, in the order of this file.
"""

import concurrent.futures
import json
import os
import re
import shlex
import socket

from guest import GuestError, file_is_zero
from node import CARD_BYTES, CARDS, ROOT, Node, manifests, pod_of
from story import held, say

TOGETHER = True
STAGE = 'a node with two Gaudis and two RDMA NICs, with kubelet, containerd, driver, Soft-RoCE'

MIB = 1 << 20
COPY_BYTES = 64 * MIB
SOCKETS = '/run/gaudi-p2p-demo'
EVENTS = '/run/gaudi-p2p-demo.events'
MODULES = '/sys/module'
PAGE = 4096
# What a remote read may end with once the region is gone: refused by the NIC that had it, or nobody answers.
REFUSED, NO_ANSWER = 'REM_ACCESS_ERR', 'RETRY_EXC_ERR'


def splitmix64(x):
    mask = (1 << 64) - 1
    x = (x + 0x9e3779b97f4a7c15) & mask
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & mask
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & mask
    return x ^ (x >> 31)


def pattern(seed, first=0, words=64):
    """Words of what p2p-copy fills memory with, as bytes."""
    return b''.join(splitmix64(seed + first + i).to_bytes(8, 'little') for i in range(words))


class Refused(GuestError):
    """p2p-copy's 'err' answer; .errno is its name."""

    def __init__(self, command, answer):
        self.errno = re.search(r'errno=(\w+)', answer).group(1)
        super().__init__('"%s" was answered "%s"' % (command, answer))


class Server:
    """A pod that runs `p2p-copy serve`, and a connection to it."""

    def __init__(self, node, name):
        self.node, self.name = node, name
        self.path = '%s/%s.sock' % (SOCKETS, name)
        self.socket = None
        self.buffer = b''

    def connect(self):
        self.node.wait(lambda: self.node.run('test -S ' + self.path)[0] == 0, 60,
                       'the socket of p2p-copy in pod %s' % self.name, 0.3)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(self.node.forward(self.path))
        return self

    def ask(self, command, **arguments):
        """One command. Returns its answer's {key: value}; raises Refused."""
        line = ' '.join([command] + ['%s=%s' % (k, v) for k, v in arguments.items()])
        try:
            self.socket.sendall(line.encode() + b'\n')
            while b'\n' not in self.buffer:
                data = self.socket.recv(65536)
                if not data:
                    raise GuestError('p2p-copy in pod %s ended at "%s":\n%s' % (
                        self.name, line, self.node.logs(self.name)[-1000:]))
                self.buffer += data
        except socket.timeout:
            raise GuestError('p2p-copy in pod %s did not answer "%s" within 120 s' % (self.name, line)) from None
        answer, self.buffer = self.buffer.split(b'\n', 1)
        answer = answer.decode(errors='replace')
        if not answer.startswith('ok'):
            raise Refused(line, answer)
        return dict(word.split('=', 1) for word in answer.split()[1:])

    def refusal(self, command, **arguments):
        """A command that must fail; returns the name of its errno."""
        try:
            answer = self.ask(command, **arguments)
        except Refused as e:
            return e.errno
        raise AssertionError('"%s %s" in pod %s succeeded: %s' % (command, arguments, self.name, answer))

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None


class Scene:
    """What the proofs share."""

    def __init__(self, node):
        self.node = node
        self.a = self.b = self.c = None
        self.docs = {}
        self.before = {}     # RDMA devices of the host before any pod
        self.a_id = self.b_id = None
        self.a_card = self.b_card = None
        self.qps = 0
        self.stale = None    # rkey and address of A's region that outlived A

    # --- pods -------------------------------------------------------------
    def start(self, name, like):
        """A pod of the manifest `like`, by another name."""
        doc = json.loads(json.dumps(self.docs[like]).replace(like, name))
        manifest = pod_of(doc, name)
        for container in manifest['spec']['containers']:
            # Stricter than what is shipped would prove less: let it make device nodes.
            container['securityContext']['capabilities']['add'] = ['MKNOD']
        self.node.apply_pod(manifest)
        return Server(self.node, name)

    def wait_running(self, server):
        self.node.wait_pod(server.name, 'Running', 150)
        ids = self.node.devices_of(server.name)
        assert len(ids) == 1, 'pod %s asked for one Gaudi, the kubelet gave it %s' % (server.name, ids)
        held(self.node, ids[0], server.name)
        server.connect()
        return ids[0]

    def end(self, server):
        server.close()
        self.node.delete_pod(server.name)

    # --- cards ------------------------------------------------------------
    def accel_of(self, device_id):
        """Numbers and nodes of a Gaudi, from sysfs and the pairing file: {accel, major, minor, uverbs, card}."""
        pairs = json.loads(self.node.read('/var/lib/gaudi-p2p/pairs.json'))['pairs']
        pair = next((p for p in pairs if p['gaudi'] == device_id), None)
        assert pair and pair['nic'], 'the pairing file has no NIC for %s: %s' % (device_id, pairs)
        link = os.path.basename(self.node.sh('readlink /dev/gaudi/by-id/%s/accel' % shlex.quote(device_id)).strip())
        address = self.node.sh('cat /sys/class/accel/%s/device/pci_addr' % link).strip()
        return {'accel': link, 'uverbs': pair['nic']['uverbs'], 'card': self.node.cards().index(address),
                'number': int(link[len('accel'):])}

    def rdma_devices(self):
        """{uverbs: [RDMA device, netdev]} of the host's namespace."""
        out = self.node.sh('for d in /sys/class/infiniband/*; do [ -e $d ] || continue; n=$(basename $d); '
                           'u=$(basename $d/device/infiniband_verbs/uverbs* 2>/dev/null); '
                           '[ "$u" != "uverbs*" ] || for v in /sys/class/infiniband_verbs/uverbs*; do '
                           '[ "$(cat $v/ibdev)" = $n ] && u=$(basename $v); done; '
                           'echo $u $n $(cat $d/ports/1/gid_attrs/ndevs/0); done; true')
        return {fields[0]: fields[1:] for fields in (line.split() for line in out.splitlines())}

    def set_policy(self, nonrevocable, revocable):
        self.node.sh('echo %s >%s/gaudi_p2p/parameters/nonrevocable && echo %d >%s/rdma_rxe/parameters/revocable' % (
            nonrevocable, MODULES, revocable, MODULES))

    def events(self, after=0.0):
        """What the kernel announced, in its order: [(seconds, device, word, rest, place)]."""
        found = []
        for place, line in enumerate(self.node.read(EVENTS).decode().splitlines()):
            fields = line.split()
            assert 'lost' not in fields, 'the witness of events lost some: ' + line
            if len(fields) >= 3 and float(fields[0]) > after:
                found.append((float(fields[0]), fields[1], fields[2], ' '.join(fields[3:]), place))
        return found

    def wait_event(self, device, word, after, timeout=120):
        """The first such event; waits for it."""
        found = []

        def check():
            found[:] = [e for e in self.events(after) if e[1] == device and e[2] == word]
            return found
        self.node.wait(check, timeout, '"%s" of %s' % (word, device), 0.3)
        return found[0]

    def now(self):
        return float(self.node.sh('cut -d" " -f1 /proc/uptime'))

    # --- RDMA -------------------------------------------------------------
    def link(self, left, right):
        """Connects a new pair of queue pairs; returns their common name."""
        self.qps += 1
        name = 'q%d' % self.qps
        ends = [server.ask('qp', name=name) for server in (left, right)]
        left.ask('connect', name=name, **ends[1])
        right.ask('connect', name=name, **ends[0])
        return name

    def unlink(self, name, *servers):
        for server in servers:
            server.ask('disconnect', name=name)

    def wait_watch(self, server, timeout, what, condition):
        """Waits for a condition on the background reading; returns its status."""
        state = {}

        def check():
            state.update(server.ask('watch-status'))
            return condition(state)
        self.node.wait(check, timeout, what, 0.3)
        return state

    def prepare(self, server, name, size, seed):
        """Memory of the pod's Gaudi, filled and registered; returns its rkey, addr."""
        server.ask('alloc', name=name, size=size)
        server.ask('fill', name=name, seed=seed)
        return server.ask('register', name=name)


scene = None


def start_witness(node):
    """From here on the node's own log has every change of a lease that the kernel announces."""
    node.sh('p2p-copy events --probe </dev/null >%s 2>&1 & echo $! >/run/gaudi-p2p-demo.pid; i=0; until grep -q listening %s; do i=$((i+1)); '
            '[ $i -lt 100 ] || exit 1; sleep 0.1; done' % (EVENTS, EVENTS))


def end_witness(node):
    node.run('kill $(cat /run/gaudi-p2p-demo.pid); rm -f /run/gaudi-p2p-demo.pid %s' % EVENTS)


# --- stage --------------------------------------------------------------------
def stage(results):
    return Node(results)


def setup(node):
    """Witness, device plugin, pods A and B."""
    global scene
    scene = Scene(node)
    plugin, = manifests(os.path.join(ROOT, 'deploy/base/device-plugin.yaml'))
    for doc in manifests(os.path.join(ROOT, 'deploy/examples/two-pods.yaml')):
        scene.docs[doc['metadata']['name']] = doc
    with open(os.path.join(ROOT, 'deploy/host/cni-rdma.json'), encoding='utf-8') as f:
        shipped = json.load(f)
    chain = json.loads(node.read('/etc/cni/net.d/10-gaudi.conflist'))['plugins']
    assert shipped in chain, 'the node does not run the CNI configuration that deploy/host ships'

    scene.before = scene.rdma_devices()
    assert len(scene.before) == CARDS, 'RDMA devices of the node: %s' % scene.before
    start_witness(node)
    say('starting the device plugin from deploy/base/device-plugin.yaml')
    node.apply_pod(pod_of(plugin))
    node.wait_pod(plugin['metadata']['name'], 'Running', 150)
    ids = node.wait_allocatable(CARDS)
    say('the kubelet knows %d habana.ai/gaudi: %s' % (len(ids), ', '.join(sorted(ids))))
    say('starting pods A and B from deploy/examples/two-pods.yaml')
    scene.a = scene.start('p2p-copy-a', 'p2p-copy-a')
    scene.b = scene.start('p2p-copy-b', 'p2p-copy-b')
    scene.a_id = scene.wait_running(scene.a)
    scene.b_id = scene.wait_running(scene.b)
    assert scene.a_id != scene.b_id, 'both pods got ' + scene.a_id
    scene.a_card = scene.accel_of(scene.a_id)
    scene.b_card = scene.accel_of(scene.b_id)
    say('A has %s with %s, B has %s with %s' % (scene.a_card['accel'], scene.a_card['uverbs'], scene.b_card['accel'],
                                                 scene.b_card['uverbs']))


def test_copy_by_hand(node):
    """p2p-copy recv in one pod and send in the other, as a user runs them"""
    address = node.wait(lambda: (node.pod(scene.b.name) or {}).get('status', {}).get('podIP'), 30, "the address of B's pod", 0.5)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        receiver = pool.submit(node.exec, scene.b.name, ['p2p-copy', 'recv'], timeout=180)
        while True:
            rc, sent = node.exec(scene.a.name, ['p2p-copy', 'send', address, '--size', '4M'], timeout=120)
            if rc == 0 or receiver.done() or 'cannot reach' not in sent:
                break
        received = receiver.result()[1]
    assert rc == 0 and 'wrote 4194304 bytes by RDMA' in sent and 'found every byte as sent' in sent, sent + received
    assert 'received 4194304 bytes, every one as sent' in received, received
    for i in range(CARDS):
        node.wait_card(i, 'free', 30)


def assert_sees_only(server, card):
    seen = server.ask('list')
    assert sorted(seen['accel'].split(',')) == ['accel%d' % card['number'], 'accel_controlD%d' % card['number']], \
        'pod %s sees accel nodes %s' % (server.name, seen['accel'])
    assert seen['uverbs'] == card['uverbs'], 'pod %s sees uverbs nodes %s' % (server.name, seen['uverbs'])
    assert len(seen['rdma'].split(',')) == 1, 'pod %s sees RDMA devices %s' % (server.name, seen['rdma'])


def device_number(node, path):
    major, minor = node.sh('stat -c "%t %T" ' + path).split()
    return int(major, 16), int(minor, 16)


def assert_cannot_open(server, card):
    for path in ('/dev/accel/' + card['accel'], '/dev/accel/accel_controlD%d' % card['number'],
                 '/dev/infiniband/' + card['uverbs']):
        major, minor = device_number(server.node, path)
        tried = server.ask('try-node', path=path, major=major, minor=minor)
        assert tried['open'] == 'ENOENT', 'pod %s opened %s: %s' % (server.name, path, tried)
        assert tried['mknod'] == '0' and tried['mknod_open'] == 'EPERM', \
            'pod %s, its own node for %s: %s' % (server.name, path, tried)


def test_isolation(node):
    """Each pod sees exactly its own Gaudi and NIC; opening the other's fails"""
    for server, card in ((scene.a, scene.a_card), (scene.b, scene.b_card)):
        assert_sees_only(server, card)
        opened = server.ask('open')
        assert opened['accel'] == '/dev/accel/' + card['accel'] and opened['uverbs'] == '/dev/infiniband/' + card['uverbs'], opened
        server.ask('nic')
    for i in range(CARDS):
        node.wait_card(i, 'owned', 10)
    for server, card in ((scene.a, scene.b_card), (scene.b, scene.a_card)):
        assert_cannot_open(server, card)
    assert not scene.rdma_devices(), 'RDMA devices left in the host: %s' % scene.rdma_devices()
    say('each pod sees its own accel and uverbs node and no other; a node of its own making does not open (EPERM)')


def test_p2p_copy(node):
    """64 MiB from A's device memory into B's by RDMA write, compared by B through its own mapping"""
    seed = 0xA11CE
    scene.prepare(scene.a, 'm', COPY_BYTES, seed)
    target = scene.prepare(scene.b, 'm', COPY_BYTES, 1)
    link = scene.link(scene.a, scene.b)
    done = scene.a.ask('write', qp=link, name='m', rkey=target['rkey'], addr=target['addr'])
    assert done['status'] == 'SUCCESS' and int(done['bytes']) == COPY_BYTES, done
    compared = scene.b.ask('verify', name='m', seed=seed)
    assert compared['same'] == '1' and int(compared['checked']) == COPY_BYTES, compared
    # The card's own memory, seen from outside: first and last page of the pattern, as far apart as they should be.
    where = find_in_card(node, scene.b_card['card'], pattern(seed))
    last = pattern(seed, (COPY_BYTES - PAGE) // 8)
    assert where is not None and read_card(node, scene.b_card['card'], where + COPY_BYTES - PAGE, len(last)) == last, \
        "the pattern is not in the file of B's card"
    say("64 MiB from A's device memory into B's by RDMA write: %s s, %s MiB/s; B compared every byte, and it is in "
        "B's card" % (done['seconds'], done['mib_per_s']))
    scene.unlink(link, scene.a, scene.b)
    return '%s MiB/s' % done['mib_per_s']


def find_in_card(node, card, data):
    """Offset of data (page-aligned) in a card's memory, or None."""
    with open(node.card_file(card), 'rb') as f:
        for offset in range(0, CARD_BYTES, MIB):
            block = f.read(MIB)
            at = block.find(data)
            while at >= 0:
                if at % PAGE == 0:
                    return offset + at
                at = block.find(data, at + 1)
    return None


def read_card(node, card, offset, length):
    with open(node.card_file(card), 'rb') as f:
        f.seek(offset)
        return f.read(length)


def assert_foreign(server, accel, dmabuf, answers):
    """Nothing of what a stranger tries with A's descriptors works, and each answer is among those given."""
    tried = server.ask('try', **{'as': dmabuf, 'what': 'dmabuf'})
    wrong = {k: v for k, v in tried.items() if k != 'exporter' and v not in answers}
    assert not wrong and tried['register'] != 'none', "B's use of A's dma-buf: %s" % tried
    tried = server.ask('try', **{'as': accel, 'what': 'accel'})
    wrong = {k: v for k, v in tried.items() if v not in answers}
    assert not wrong, "B's use of A's accel descriptor: %s" % tried


def test_foreign_import_refused(node):
    """B holds A's dma-buf and accel descriptors: every use fails with EPERM, and they keep nothing busy"""
    for what, name in (('dmabuf', 'a-dmabuf'), ('accel', 'a-accel')):
        scene.a.ask('send', what=what, name='m', to='/run/demo/%s.sock' % scene.b.name, **{'as': name})
    assert_foreign(scene.b, 'a-accel', 'a-dmabuf', {'EPERM'})
    say("B has A's dma-buf and accel descriptors: ibv_reg_dmabuf_mr, mmap and every ioctl answer EPERM")
    assert scene.a.ask('verify', name='m', seed=0xA11CE)['same'] == '1', "A's memory changed"
    say("deleting pod A, while B keeps both descriptors")
    scene.end(scene.a)
    node.wait_card(scene.a_card['card'], 'free', 60)
    assert file_is_zero(node.card_file(scene.a_card['card'])), "A's card is free but not zero"
    assert_foreign(scene.b, 'a-accel', 'a-dmabuf', {'EPERM', 'ENODEV'})
    say("A's Gaudi is free and zero, with both descriptors still open in B")
    scene.a = scene.start('p2p-copy-a2', 'p2p-copy-a')
    given = scene.wait_running(scene.a)
    assert given == scene.a_id, 'the next pod got %s' % given
    scene.a.ask('open')
    scene.a.ask('nic')
    scene.a_card = scene.accel_of(scene.a_id)


def watch_region(link, region, seed):
    """B reads A's region over and over; returns when it has brought the pattern some times."""
    scene.b.ask('watch', qp=link, name='r', rkey=region['rkey'], addr=region['addr'], length=PAGE, seed=seed)
    scene.wait_watch(scene.b, 30, "B's first reads through A's key", lambda s: int(s['reads']) >= 3 or s['failed'] == '1')
    state = scene.b.ask('watch-status')
    assert state['failed'] == '0' and state['matching'] == state['reads'], "B's reading: %s" % state


def read_once(link, server, region, status):
    """A read that must fail with one of the statuses and bring nothing."""
    scene.b.ask('fill', name='r', seed=0)  # known bytes, so that any that the read brings show
    done = scene.b.ask('read', qp=link, name='r', rkey=region['rkey'], addr=region['addr'], length=PAGE)
    assert done['status'] in status, '%s: a read through a dead key ended with %s' % (server, done)
    assert scene.b.ask('verify', name='r', seed=0)['same'] == '1', '%s: the failed read brought bytes' % server
    return done['status']


def test_revoked_on_close(node):
    """A closes the accel descriptor while its region lives: B's reads through the key fail from then on"""
    seed = 0xC105E
    region = scene.prepare(scene.a, 'k', MIB, seed)
    scene.prepare(scene.b, 'r', PAGE, 0)
    link = scene.link(scene.a, scene.b)
    watch_region(link, region, seed)
    say("B reads A's memory through A's key; now A closes the accel descriptor and keeps the region")
    scene.a.ask('close-accel')
    state = scene.wait_watch(scene.b, 60, "the failure of B's reads", lambda s: s['failed'] == '1')
    assert state['status'] == REFUSED and state['leaked'] == '0' and state['matching'] == state['reads'], state
    node.wait_card(scene.a_card['card'], 'free', 30)
    assert scene.a.ask('touch', name='k')['sigbus'] == '1', "A's own mapping still answers"
    scene.unlink(link, scene.a, scene.b)
    link = scene.link(scene.a, scene.b)
    read_once(link, 'after close', region, {REFUSED})
    scene.unlink(link, scene.a, scene.b)
    say('after %s good reads the next one failed with %s, and so does every later one; the Gaudi is free although '
        'region, dma-buf and mapping still exist' % (state['reads'], state['status']))
    scene.a.ask('drop', name='k')
    return '%s reads, then %s' % (state['reads'], state['status'])


def test_held_until_let_go(node):
    """An importer that cannot revoke: the Gaudi drains, goes to no one, until CNI DEL ends the region"""
    seed = 0x4E1D
    scene.set_policy('refuse', revocable=0)
    scene.a.ask('open')
    scene.a.ask('alloc', name='h', size=8 * MIB)
    assert scene.a.refusal('register', name='h') == 'EOPNOTSUPP'
    say('policy refuse: a NIC that cannot revoke may not register (EOPNOTSUPP)')
    scene.set_policy('hold', revocable=0)
    scene.a.ask('fill', name='h', seed=seed)
    region = scene.a.ask('register', name='h')
    scene.stale = region
    link = scene.link(scene.a, scene.b)
    watch_region(link, region, seed)
    scene.a.ask('send', what='uverbs', to='/run/demo/%s.sock' % scene.b.name, **{'as': 'a-uverbs'})
    assert scene.b.ask('try', **{'as': 'a-uverbs', 'what': 'uverbs'})['mmap'] != 'EIO', "A's uverbs descriptor is dead too early"
    accel, uverbs = scene.a_card['accel'], scene.a_card['uverbs']
    since = scene.now()
    began = node.run('date +%s')[1].strip()
    say("policy hold: it may. B reads through the key and holds A's uverbs descriptor; deleting pod A")
    scene.end(scene.a)
    draining = scene.wait_event(accel, 'draining', since)
    scrubbing = scene.wait_event(accel, 'scrubbing', since)
    free = scene.wait_event(accel, 'free', since)
    state = scene.wait_watch(scene.b, 60, "the failure of B's reads", lambda s: s['failed'] == '1')
    moved = [e for e in scene.events(since) if e[1] == uverbs and e[2] == 'remove']
    assert draining[3] == 'open=EBUSY', 'opening a draining Gaudi: %s' % draining[3]
    assert moved, 'the NIC never left the namespace of A'
    order = draining, moved[0], scrubbing, free
    assert [e[4] for e in order] == sorted(e[4] for e in order), 'the order of events: %s' % (order,)
    read_for = float(state['last_read']) - draining[0]
    # When B noticed; that no read brought anything but the pattern is checked below.
    assert float(state['last_read']) <= scrubbing[0] + 1, 'B read %.3f s after draining began, the scrub began after %.3f s' % (
        read_for, scrubbing[0] - draining[0])
    assert state['matching'] == state['reads'] and state['leaked'] == '0', state
    answer = scene.b.ask('try', **{'as': 'a-uverbs', 'what': 'uverbs'})['mmap']
    assert answer == 'EIO', "A's uverbs descriptor, still held by B, answers %s" % answer
    scene.b.ask('disconnect', name=link)
    scene.set_policy('hold', revocable=1)
    say('A was gone, its region was not: the Gaudi drained for %.1f s and opening it gave EBUSY; then CNI DEL took the '
        'NIC, the region died, the Gaudi was scrubbed and free' % (scrubbing[0] - draining[0]))
    # What the kubelet does not show: that it waited for it.
    node.wait_card(scene.a_card['card'], 'free', 10)
    # And DEL tells the administrator how long that was.
    rc, told = node.run("journalctl -q --no-pager -u containerd --since @%s | "
                        "grep -o 'is free [0-9]* ms after its NIC was taken out'" % began)
    assert rc == 0, 'DEL said nothing of the lease'
    say('DEL in the log: the Gaudi %s' % told.strip().splitlines()[-1])
    return 'drained %.1f s, readable for %.1f s of it' % (scrubbing[0] - draining[0], max(0.0, read_for))


def test_next_owner_safe(node):
    """Pod C gets A's Gaudi, finds every byte zero, writes a secret; nothing reads it through A's old region"""
    secret = 0x5EC4E7
    card = scene.a_card['card']
    assert file_is_zero(node.card_file(card)), "A's card is not zero, seen from outside"
    say("A's card is zero, seen from outside; starting pod C")
    scene.c = scene.start('p2p-copy-c', 'p2p-copy-a')
    given = scene.wait_running(scene.c)
    assert given == scene.a_id, 'pod C got %s and not %s' % (given, scene.a_id)
    opened = scene.c.ask('open')
    claimed = scene.c.ask('alloc-all')
    assert claimed['bytes'] == opened['memory'], 'C got %s of its device' % claimed
    zero = scene.c.ask('is-zero')
    assert zero['zero'] == '1' and zero['checked'] == opened['memory'], 'C looked at its memory: %s' % zero
    scene.c.ask('fill', name='all0', seed=secret)
    assert find_in_card(node, card, pattern(secret)) is not None, "C's secret is not in A's card: the witness is blind"
    say('C found all %d MiB zero and wrote a secret' % (int(zero['checked']) // MIB))
    scene.c.ask('nic')
    mine = scene.c.ask('register', name='all0')
    while mine['rkey'] == scene.stale['rkey']:  # one chance in 256; the proof is about keys that are not C's
        scene.c.ask('unregister', name='all0')
        mine = scene.c.ask('register', name='all0')
    link = scene.link(scene.c, scene.b)
    target = dict(scene.stale, addr=mine['addr'])
    status = read_once(link, 'A\'s key, C\'s address', target, {REFUSED})
    scene.unlink(link, scene.c, scene.b)
    link = scene.link(scene.c, scene.b)
    read_once(link, 'A\'s key and address', scene.stale, {REFUSED})
    scene.unlink(link, scene.c, scene.b)
    assert_foreign(scene.b, 'a-accel', 'a-dmabuf', {'EPERM', 'ENODEV'})
    answer = scene.b.ask('try', **{'as': 'a-uverbs', 'what': 'uverbs'})['mmap']
    assert answer == 'EIO', "A's uverbs descriptor, still held by B, answers %s" % answer
    assert scene.c.ask('verify', name='all0', seed=secret)['same'] == '1', "C's secret changed"
    say("B tried A's old key, dma-buf, accel and uverbs descriptors: %s, EPERM or ENODEV, EIO" % status)
    return '%d MiB zero, stale key: %s' % (int(zero['checked']) // MIB, status)


def test_returned(node):
    """After all pods: both devices free for the kubelet and the driver, NICs back under their names and numbers"""
    say('deleting pods B and C')
    for server in (scene.b, scene.c):
        server.close()
    for server in (scene.b, scene.c):
        node.delete_pod(server.name)
    for i in range(CARDS):
        node.wait_card(i, 'free', 60)
        assert node.card_attr(i, 'allocated_bytes') == '0', 'card %d: %s bytes are allocated' % (i, node.card_attr(i, 'allocated_bytes'))
        assert file_is_zero(node.card_file(i)), 'card %d is free but not zero' % i
    holders = [p['name'] for p in node.podresources() if any(c['devices'].get('habana.ai/gaudi') for c in p['containers'])]
    assert not holders, 'PodResources still shows devices with %s' % holders
    assert len(node.allocatable()) == CARDS, 'allocatable: %s' % node.allocatable()
    node.wait(lambda: scene.rdma_devices() == scene.before, 30,
              'the return of the RDMA devices to %s (they are %s)' % (scene.before, scene.rdma_devices()), 0.5)
    say('PodResources, leases and RDMA devices are as before: %s' % ', '.join(
        '%s=%s on %s' % (u, *names) for u, names in sorted(scene.before.items())))


def teardown(node):
    """Takes away the pods. The device plugin stays: the kubelet is slow to run a static pod again that was
    deleted a moment ago, and other tests want it too."""
    for server in (scene.a, scene.b, scene.c) if scene else ():
        if server:
            server.close()
            node.delete_pod(server.name)
    end_witness(node)


# test_copy_by_hand is no proof: it is that a user can do it too.
PROOFS = (test_isolation, test_p2p_copy, test_foreign_import_refused, test_revoked_on_close, test_held_until_let_go,
          test_next_owner_safe, test_returned)
