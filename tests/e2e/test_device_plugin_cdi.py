# SPDX-License-Identifier: Apache-2.0
"""The device plugin with --inject=cdi: containerd looks the names up in the plugin's specs and makes the nodes."""

import base64
import json

import test_device_plugin as plain
import test_device_plugin_life as life
from node import CARDS
from shipped import DEVICE_PLUGIN, shipped

# A name of its own: to the kubelet a static pod that is made again is for a while the one that has just ended.
PLUGIN = plain.PLUGIN + '-cdi'
PODS = ('cdi-looks', 'cdi-works')


def setup(node):
    node.delete_pod(plain.PLUGIN)  # the demo leaves it
    manifest = shipped(DEVICE_PLUGIN, PLUGIN)
    main, = manifest['spec']['containers']
    main['args'].append('--inject=cdi')
    main['volumeMounts'].append({'name': 'cdi', 'mountPath': '/var/run/cdi'})  # as the file says
    manifest['spec']['volumes'].append({'name': 'cdi', 'hostPath': {'path': '/var/run/cdi', 'type': 'DirectoryOrCreate'}})
    node.apply_pod(manifest)
    node.wait_pod(PLUGIN, 'Running')
    node.wait_allocatable(CARDS)


def teardown(node):
    for name in PODS + (PLUGIN,):
        node.delete_pod(name)


def answer_of(node, device):
    """What the plugin answered to Allocate for that device, as the kubelet keeps it: bytes of the message."""
    kept = json.loads(node.read('/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint'))
    answers = [e['AllocResp'] for e in kept['Data']['PodDeviceEntries'] if device in json.dumps(e['DeviceIDs'])]
    assert len(answers) == 1, kept
    return base64.b64decode(answers[0])


def test_pod_gets_its_gaudi_by_cdi_name(node):
    """A pod gets by CDI names alone the nodes of its Gaudi and its NIC, no others, and they work"""
    nodes, env = plain.look(node, PODS[0], 1)
    device, = node.devices_of(PODS[0])
    answer = answer_of(node, device)
    assert b'habana.ai/gaudi=' + device.encode() in answer and b'by-id' not in answer, answer
    assert device in node.read('/var/run/cdi/gaudi-p2p-habana.ai-gaudi.json').decode()
    number = node.sh('readlink /dev/gaudi/by-id/%s/accel' % device).strip().rsplit('accel', 1)[1]
    verbs = node.sh('readlink /dev/gaudi/by-id/%s/uverbs' % device).strip().rsplit('/', 1)[1]
    mine = ['/dev/accel/accel' + number, '/dev/accel/accel_controlD' + number, '/dev/infiniband/' + verbs]
    assert sorted(nodes) == mine and env['HABANA_VISIBLE_DEVICES'] == number, (nodes, env)
    for path in mine:
        inside = '/proc/%d/root%s' % (node.pid(PODS[0]), path)
        assert node.sh('stat -c %t:%T ' + inside) == node.sh('stat -c %t:%T ' + path), path
    # While the first one has its Gaudi, this gets the other.
    other, tell = life.start_server(node, PODS[1])
    assert other != device, 'one Gaudi for two pods'
    said = tell('open', 'alloc name=m size=1048576', 'nic', 'register name=m')
    assert 'ok' in said and 'err' not in said, said
    for name in PODS:
        node.delete_pod(name)
    life.all_free(node)
