# SPDX-License-Identifier: Apache-2.0
"""Pods of the emulated node as deploy/ has them, and the driver that comes after it."""

import os
import re
import shutil
import subprocess

from guest import GuestError
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


def next_driver(kernel):
    """The driver as its next version, which only says so. Returns the file and the two versions."""
    source, out = os.path.join(ROOT, 'build/driver-next/source'), os.path.join(ROOT, 'build/driver-next/out')
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, 'driver'), source)
    os.makedirs(out, exist_ok=True)
    path = os.path.join(source, 'gaudi_drv.c')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    version = re.search(r'MODULE_VERSION\("(.*)"\)', text).group(1)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text.replace('MODULE_VERSION("%s")' % version, 'MODULE_VERSION("%s.1")' % version))
    done = subprocess.run([os.path.join(ROOT, 'tests/lab/lab'), 'in-buildroot', 'make', '-s', '-C',
                           '/lib/modules/%s/build' % kernel, 'M=' + source, 'MO=' + out, 'modules'],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise GuestError('the next version of the driver does not compile: ' + done.stdout.decode(errors='replace'))
    return os.path.join(out, 'gaudi_p2p.ko'), version, version + '.1'
