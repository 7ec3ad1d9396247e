# SPDX-License-Identifier: Apache-2.0
"""Pods of the emulated node as deploy/ has them."""

import os

from node import CARDS, ROOT, manifests, pod_of

DEVICE_PLUGIN = 'base/device-plugin.yaml'
PLUGIN = 'gaudi-device-plugin'


def shipped(path, name=None, args=None):
    """The pod of a DaemonSet in deploy/, under another name or with other arguments where they are given."""
    manifest = pod_of(manifests(os.path.join(ROOT, 'deploy', path))[0], name)
    if args:
        manifest['spec']['containers'][0]['args'] = list(args)
    return manifest


def start_device_plugin(node):
    """Returns when the kubelet knows all Gaudis."""
    node.apply_pod(shipped(DEVICE_PLUGIN))
    node.wait_pod(PLUGIN, 'Running')
    node.wait_allocatable(CARDS)
