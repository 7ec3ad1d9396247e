# SPDX-License-Identifier: Apache-2.0
"""What happens to the device plugin and its pods: restarts, a pulled card, a draining one, the topology manager."""

from node import CARDS, STAY, pod
from shipped import PLUGIN, start_device_plugin

TOOLS, COPY = 'gaudi-p2p/tools:dev', 'gaudi-p2p/p2p-copy:dev'
SOCKETS = '/run/gaudi-p2p-demo'
HOLDER = 'gaudi-p2p-holder'
CONFIG = '/etc/kubernetes/kubelet.yaml'
MODULES = '/sys/module'


def setup(node):
    # One Gaudi on each of the node's NUMA nodes: QEMU's switches say nothing of it.
    for i, card in enumerate(node.cards()):
        node.sh('echo %d >/sys/bus/pci/devices/%s/numa_node' % (i, card))
    start_device_plugin(node)


def teardown(node):
    clear(node)
    node.delete_pod(PLUGIN)


def clear(node):
    """Takes away what a test that failed has left."""
    node.run('systemctl stop %s; echo 1 >%s/rdma_rxe/parameters/revocable' % (HOLDER, MODULES))
    for name in node.sh('ls /etc/kubernetes/manifests').split():
        if name != PLUGIN + '.json':
            node.delete_pod(name[:-len('.json')])
    if 'topologyManagerPolicy' in node.read(CONFIG).decode():
        set_policy(node, None)
    node.wait_allocatable(CARDS)
    all_free(node)


def start(node, name, gaudis=1, **more):
    """A running pod with so many Gaudis; returns their ids.

    Each has a name of its own: the UID of a static pod comes from its manifest, and to the kubelet one that is
    made again is for a while the one that has just ended."""
    node.apply_pod(pod(name, TOOLS, STAY, gaudis=gaudis, **more))
    node.wait_pod(name, 'Running')
    ids = node.devices_of(name)
    assert len(ids) == gaudis, ids
    return ids


def start_server(node, name, **more):
    """A running pod with `p2p-copy serve` and one Gaudi; returns the id and a function that gives it commands."""
    node.apply_pod(pod(name, COPY, args=['serve', '--socket', '/run/demo/%s.sock' % name], gaudis=1,
                       mounts={'/run/demo': SOCKETS}, **more))
    node.wait_pod(name, 'Running')
    return node.devices_of(name)[0], lambda *commands: ask(node, name, *commands)


def ask(node, name, *commands):
    """Commands to p2p-copy; its answers."""
    path = '%s/%s.sock' % (SOCKETS, name)
    node.wait(lambda: node.run('p2p-copy ask %s hello' % path)[0] == 0, 60, 'p2p-copy at ' + path, 0.3)
    return node.run('p2p-copy ask %s %s' % (path, ' '.join('"%s"' % c for c in commands)))[1]


def card_of(node, device):
    """Number of the card that has this device id (its PCI address on the emulated node)."""
    return node.cards().index(device)


def restarts_of(node, name):
    statuses = (node.pod(name) or {}).get('status', {}).get('containerStatuses') or [{}]
    return statuses[0].get('restartCount', 0)


def all_free(node):
    for i in range(CARDS):
        node.wait_card(i, 'free')


def test_kubelet_restarts(node):
    """Three kubelets, one of them killed: each knows the Gaudis again, the pod runs on with its own"""
    clear(node)
    ids, pid = start(node, 'stays'), node.pid('stays')
    for how in ('systemctl restart kubelet', 'systemctl kill -s KILL kubelet', 'systemctl restart kubelet'):
        before = node.sh('systemctl show -p MainPID --value kubelet').strip()
        node.sh(how, 240)
        node.wait(lambda b=before: node.run('systemctl show -p MainPID --value kubelet')[1].strip() not in (b, '0'),
                  120, 'another kubelet', 0.5)
        node.wait(lambda: node.run('podresources list')[0] == 0, 240, "the kubelet's PodResources", 0.5)
        node.wait_allocatable(CARDS)
        node.wait(lambda: node.devices_of('stays') == ids, 120, 'the same Gaudi in the pod', 0.5)
    node.wait_pod('stays', 'Running')
    assert node.pid('stays') == pid, 'the container was started anew'


def test_plugin_killed(node):
    """Killed, the plugin comes back and is registered: another pod gets the other Gaudi, the first keeps its own"""
    clear(node)
    before = start(node, 'keeps')
    count = restarts_of(node, PLUGIN)
    node.sh('kill -9 %d' % node.pid(PLUGIN))
    node.wait(lambda: restarts_of(node, PLUGIN) > count, 120, 'the restart of the plugin', 0.5)
    node.wait_pod(PLUGIN, 'Running')
    node.wait_allocatable(CARDS)
    after = start(node, 'next')
    assert node.devices_of('keeps') == before and after != before, (before, after)


def test_waits_for_a_draining_gaudi(node):
    """A container whose Gaudi drains is not started; when the drain ends it runs, and nothing failed meanwhile"""
    clear(node)
    node.sh('echo hold >%s/gaudi_p2p/parameters/nonrevocable && echo 0 >%s/rdma_rxe/parameters/revocable' % (MODULES, MODULES))
    node.sh('mkdir -p %s && systemd-run -q --unit %s p2p-copy serve --socket %s/%s.sock' % (SOCKETS, HOLDER, SOCKETS, HOLDER))
    device, tell = start_server(node, 'drains', restart='Always')
    card, since = card_of(node, device), node.sh('date +%s').strip()
    # A stranger keeps the NIC's descriptor, and with it the region, beyond the container's end.
    said = tell('open', 'alloc name=h size=8388608', 'nic', 'register name=h', 'send what=uverbs to=/run/demo/%s.sock as=held' % HOLDER)
    assert 'err' not in said, said
    node.sh('kill -9 %d' % node.pid('drains'))  # it would let go of the region if it were asked to end
    node.wait_card(card, 'draining')
    node.wait_log(PLUGIN, r'container waits.*%s' % device)
    assert node.card_attr(card, 'state') == 'draining' and restarts_of(node, 'drains') == 0, 'it did not wait'
    assert len(node.allocatable()) == CARDS, 'a short drain made the Gaudi unhealthy'
    ask(node, HOLDER, 'quit')
    node.wait(lambda: restarts_of(node, 'drains') > 0, 120, 'the second container', 0.5)
    node.wait_pod('drains', 'Running')
    rc, failures = node.run("journalctl -q --no-pager -u kubelet --since @%s | grep 'PreStartContainer rpc failed'" % since)
    assert rc != 0, failures
    assert 'ok' in tell('open', 'alloc-all'), 'the Gaudi is of no use'


def set_policy(node, policy):
    """A kubelet with this policy; None is what it has by itself."""
    line = 'echo "topologyManagerPolicy: %s" >>%s' % (policy, CONFIG) if policy else 'true'
    node.sh('sed -i "/^topologyManagerPolicy/d" %s && %s && systemctl restart kubelet' % (CONFIG, line), 240)
    node.wait(lambda: node.run('podresources list')[0] == 0, 240, "the kubelet's PodResources", 0.5)
    node.wait_allocatable(CARDS)


def test_topology_manager(node):
    """single-numa-node: one Gaudi each is admitted, two from two nodes are refused; restricted: the two are admitted"""
    clear(node)
    set_policy(node, 'single-numa-node')
    node.apply_pod(pod('both', TOOLS, STAY, gaudis=2))
    node.wait_pod('both', 'Failed')
    assert 'TopologyAffinityError' in node.pod_status('both')[1], node.pod_status('both')
    node.delete_pod('both')
    assert start(node, 'left') != start(node, 'right')
    for name in ('left', 'right'):
        node.delete_pod(name)
    all_free(node)
    set_policy(node, 'restricted')
    assert len(set(start(node, 'both-restricted', 2))) == 2


def test_pulled_under_a_pod(node):
    """A card is pulled while a pod uses it: one Gaudi less at once, the pod runs on; put back, the next pod gets it"""
    clear(node)
    device, tell = start_server(node, 'pulled')
    assert 'ok' in tell('open', 'alloc name=m size=1048576'), 'the pod cannot use its Gaudi'
    address, pid = node.cards()[card_of(node, device)], node.pid('pulled')
    node.sh('echo 1 >/sys/bus/pci/devices/%s/remove' % address)
    left = node.wait_allocatable(CARDS - 1, timeout=60)
    assert device not in left, left
    assert node.pid('pulled') == pid and node.pod_status('pulled')[0] == 'Running', node.pod_status('pulled')
    assert node.devices_of('pulled') == [device], 'the kubelet forgot whose it was'
    assert 'err' in tell('alloc name=n size=1048576'), 'a pulled Gaudi gives memory'
    node.wait_log(PLUGIN, r'%s.*unhealthy' % device)
    node.sh('echo 1 >/sys/bus/pci/rescan')
    node.wait_allocatable(CARDS, timeout=120)
    node.delete_pod('pulled')
    all_free(node)
    assert len(set(start(node, 'again', CARDS))) == CARDS
