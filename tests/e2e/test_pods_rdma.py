# SPDX-License-Identifier: Apache-2.0
"""Two pods, each with a Gaudi and its NIC, and the programs that everybody tries RDMA with."""

import json
import re

from node import CARDS, pod
from shipped import start_device_plugin

PODS = 'rdma-a', 'rdma-b'
STAY = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do busybox sleep 1; done']
# GID 0 is of the link-local address, which every NIC has.
PINGPONG = 'ibv_rc_pingpong -g 0 -n 200'
# Tries again after 4 s only: emulated CPUs may take long to answer.
WRITE_BW = 'ib_write_bw -x 0 -F -s 65536 -u 20'
PORT = ':%04X ' % 18515  # of both


def setup(node):
    start_device_plugin(node)
    for name in PODS:
        start(node, name)


def teardown(node):
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        node.delete_pod(name[:-len('.json')])
    for i in range(CARDS):
        node.wait_card(i, 'free')


def start(node, name):
    node.apply_pod(pod(name, 'gaudi-p2p/perftest:dev', STAY, gaudis=1, grace=1))
    node.wait_pod(name, 'Running')


def inside(node, name, command, timeout=120):
    return node.exec(name, ['/bin/sh', '-c', command], timeout=timeout)


def address(node, name):
    return re.search(r'inet ([0-9.]+)/', inside(node, name, 'busybox ip -4 addr show dev eth0')[1]).group(1)


def serve(node, name, command):
    """Starts a server, whose output goes to a file in its container, and waits until it listens."""
    rc, out = inside(node, name, '%s >/tmp/server 2>&1 & echo started' % command)
    assert rc == 0, out
    node.wait(lambda: PORT in inside(node, name, 'cat /proc/net/tcp /proc/net/tcp6')[1], 60, 'the server in ' + name, 0.3)


def run_pair(node, server, client, command):
    """Runs the program in both pods; what the client said and what the server said.

    Up to three times: ibv_rc_pingpong sends anew after 67 ms, which is too soon for CPUs that are busy elsewhere."""
    for _ in range(3):
        serve(node, server, 'busybox timeout 90 ' + command)
        rc, out = inside(node, client, 'busybox timeout 60 %s %s' % (command, address(node, server)))
        program = command.split()[0]
        if rc != 0:
            inside(node, server, 'kill -9 $(busybox pidof %s)' % program)
        node.wait(lambda: inside(node, server, 'busybox pidof ' + program)[0] != 0, 60, 'the end of the server', 0.3)
        if rc == 0:
            break
    said = inside(node, server, 'cat /tmp/server')[1]
    assert rc == 0, 'client: %s\nserver: %s' % (out, said)
    return out, said


def test_each_pod_sees_its_own_rdma_device(node):
    """ibv_devices and ibv_devinfo show one device in each pod, and not the same"""
    seen = []
    for name in PODS:
        devices = re.findall(r'^\s+(\w+)\s+[0-9a-f]{16}$', inside(node, name, 'ibv_devices')[1], re.M)
        assert len(devices) == 1, devices
        rc, info = inside(node, name, 'ibv_devinfo -d %s || exit 1' % devices[0])
        assert rc == 0 and 'PORT_ACTIVE' in info, info
        seen += devices
    assert len(set(seen)) == len(PODS), seen
    for name, other in zip(PODS, reversed(seen)):
        rc, out = inside(node, name, 'ibv_devinfo -d %s || exit 1' % other)
        assert rc != 0, '%s sees the device of the other pod: %s' % (name, out)


def test_pingpong_between_pods(node):
    """ibv_rc_pingpong runs from each pod to the other"""
    for server, client in (PODS, PODS[::-1]):
        for said in run_pair(node, server, client, PINGPONG):
            assert re.search(r'^200 iters in [0-9.]+ seconds', said, re.M), said


def test_write_bandwidth_between_pods(node):
    """ib_write_bw runs from each pod to the other, and measures something"""
    for server, client in (PODS, PODS[::-1]):
        for said in run_pair(node, server, client, WRITE_BW + ' -n 200'):
            row = re.search(r'^\s+65536\s+200\s+([0-9.]+)\s+([0-9.]+)', said, re.M)
            assert row and float(row.group(2)) > 0, said


def refusal(node, name, device):
    """What ADD says for that pod when its configuration names the device. On the host's network nothing would be moved."""
    config = {'cniVersion': '1.0.0', 'name': 'rdma', 'type': 'cni-rdma', 'deviceID': device}
    rc, out = node.run("CNI_COMMAND=ADD CNI_CONTAINERID=by-hand CNI_NETNS=/proc/1/ns/net CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin "
                       "CNI_ARGS='K8S_POD_NAMESPACE=default;K8S_POD_NAME=%s-%s' /opt/cni/bin/cni-rdma 2>/dev/null <<'END'\n%s\nEND"
                       % (name, node.node_name, json.dumps(config)))
    assert rc == 1, out
    return json.loads(out)


def test_the_nic_of_another_pod_cannot_be_named(node):
    """cni-rdma asks the kubelet: a configuration that names the Gaudi or NIC of the other pod is refused, one with the pod's own is not"""
    pairs = {p['gaudi']: p['nic']['pci'] for p in json.loads(node.read('/var/lib/gaudi-p2p/pairs.json'))['pairs']}
    for name, other in (PODS, PODS[::-1]):
        mine, = node.devices_of(name)
        theirs, = node.devices_of(other)
        for device in (theirs, pairs[theirs]):
            said = refusal(node, name, device)
            assert said['code'] == 106 and said['msg'].endswith('the kubelet has given it ' + mine), said
        for device in (mine, pairs[mine]):
            assert refusal(node, name, device)['code'] == 102


def test_pod_deleted_under_traffic(node):
    """A pod goes in the middle of ib_write_bw: nobody answers its peer, and the next pod has the NIC under its old number"""
    a, b = PODS
    numbers = 'grep . /sys/class/infiniband_verbs/*/ibdev'
    before, old = node.sh(numbers), inside(node, b, 'ls /sys/class/infiniband')[1]
    serve(node, b, WRITE_BW + ' -n 200000')
    rc, out = inside(node, a, '%s -n 200000 %s >/tmp/client 2>&1 & echo started' % (WRITE_BW, address(node, b)))
    assert rc == 0, out

    def answers():
        return int(inside(node, a, 'cat /sys/class/infiniband/*/ports/1/hw_counters/rcvd_pkts')[1])

    first = answers()
    node.wait(lambda: answers() > first + 100 or inside(node, a, 'busybox pidof ib_write_bw')[0] != 0, 120, 'traffic', 0.3)
    assert answers() > first + 100, inside(node, a, 'cat /tmp/client')[1]
    node.delete_pod(b)
    assert node.sh(numbers) == before and old in node.sh('ls /sys/class/infiniband'), 'the NIC is not back as it was'
    # The program asks for seven tries, which Soft-RoCE takes for "for ever": it waits, and nothing comes.
    last = answers()
    node.sh('sleep 5')
    assert answers() == last, 'somebody still answers'
    rc, out = inside(node, a, 'kill $(busybox pidof ib_write_bw)')
    assert rc == 0, out + inside(node, a, 'cat /tmp/client')[1]
    start(node, 'rdma-c')
    assert inside(node, 'rdma-c', 'ls /sys/class/infiniband')[1] == old and node.sh(numbers) == before
    run_pair(node, 'rdma-c', a, PINGPONG)
