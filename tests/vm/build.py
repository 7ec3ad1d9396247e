#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the test guest: compiles the programs, packs an initramfs, writes a plan.

Runs in the build chroot, in the project's root:
    build.py OUT KERNEL_RELEASE CONFIG MODULES_DIR [MODULE.ko ...]
CONFIG is the kernel's configuration, MODULES_DIR a lib/modules/RELEASE; the .ko files are ours and win over it.
OUT gets initrd.cpio and plan.json:
    {"programs": [{"name", "tests": [{"name", "seconds", "long_seconds", "topology", "only_long"}],
                   "modules": [names in order]}], "base": [names in order]}
"""

import json
import lzma
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from cpio import Cpio  # noqa: E402  (found by the line above)
from machine import TOPOLOGIES  # noqa: E402


# Objects younger than five seconds are no leaks yet, and one scan may find a pointer by chance.
LEAKS = b"""#!/bin/sh
f=/sys/kernel/debug/kmemleak
[ -e $f ] || exit 77
if [ "$1" = clear ]; then echo clear >$f; exit 0; fi
sleep 6
echo scan >$f
echo scan >$f
leaks=$(cat $f)
echo "$leaks"
[ -z "$leaks" ]
"""


def fail(text):
    sys.exit('tests/vm/build.py: ' + text)


def module_name(path):
    return re.sub(r'\.ko(\.\w+)?$', '', os.path.basename(path)).replace('-', '_')


class Modules:
    """The modules of a kernel and ours, and the order in which to load them."""

    def __init__(self, directory, ours):
        self._directory = directory
        self._path, self._needs = {}, {}
        self._builtin = set()
        for line in self._lines('modules.dep'):
            path, needs = line.split(':', 1)
            self._path[module_name(path)] = os.path.join(directory, path)
            self._needs[module_name(path)] = [module_name(n) for n in needs.split()]
        for line in self._lines('modules.builtin'):
            self._builtin.add(module_name(line))
        for path in ours:
            self._path[module_name(path)] = path
            self._needs[module_name(path)] = self._depends(path)

    def _lines(self, name):
        with open(os.path.join(self._directory, name), encoding='ascii') as f:
            return f.read().splitlines()

    @staticmethod
    def _depends(path):
        with open(path, 'rb') as f:
            found = re.search(rb'\0depends=([^\0]*)\0', f.read())
        return [n.decode().replace('-', '_') for n in found.group(1).split(b',') if n] if found else []

    def order(self, names):
        """Names in loading order, with what they depend on."""
        done = []

        def visit(name, path=()):
            if name in done or name in self._builtin:
                return
            if name not in self._path:
                fail('there is no module %s%s' % (name, ', which %s needs' % path[-1] if path else ''))
            if name in path:
                fail('modules depend on each other: ' + ' '.join(path))
            for need in self._needs[name]:
                visit(need, path + (name,))
            done.append(name)
        for name in names:
            visit(name.replace('-', '_'))
        return done

    def content(self, name):
        path = self._path[name]
        with (lzma.open(path) if path.endswith('.xz') else open(path, 'rb')) as f:
            return f.read()


def wanted(source, key):
    """The words behind a key in the comment at the top, up to the next key; formatters may have wrapped the lines."""
    with open(source, encoding='utf-8') as f:
        comment = re.search(r'/\*(.*?)\*/', f.read(), re.S).group(1)
    text = re.sub(r'\n\s*\*', ' ', comment)
    return [w for part in re.findall(key + r':(.*?)(?=vm-\w+:|$)', text, re.S) for w in part.split()]


def kernel_has(config, source):
    """Whether the kernel has what the file asks for: its tests say nothing on another."""
    return all(re.search('^%s=[ym]$' % option, config, re.M) for option in wanted(source, 'vm-kernel'))


def add_libraries(archive, program):
    """What a dynamically linked program needs, at the paths that its loader looks at."""
    out = subprocess.run(['ldd', program], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r'(/\S+) \(0x', out):
        if path not in archive:
            archive.file(path, os.path.realpath(path), 0o755)


def add_file(archive, source, target):
    """A file, or a folder with all below it, and the libraries of programs."""
    if os.path.isdir(source):
        for name in sorted(os.listdir(source)):
            add_file(archive, os.path.join(source, name), os.path.join(target, name))
        return
    if not os.path.exists(source):
        fail('%s, which a test wants in the guest, does not exist' % source)
    archive.file(target, os.path.realpath(source))
    with open(source, 'rb') as f:
        if f.read(4) == b'\x7fELF':
            add_libraries(archive, source)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    out, release, config, directory = sys.argv[1:5]
    modules = Modules(directory, sys.argv[5:])
    with open(config, encoding='utf-8') as f:
        config = f.read()
    if subprocess.run(['make', '-s', '-j2', '-f', 'tests/vm/vm.mk', 'O=' + out], check=False).returncode:
        fail('the test programs do not compile')
    archive = Cpio()
    archive.file('init', out + '/init', 0o755)
    archive.file('bin/busybox', '/bin/busybox', 0o755)
    for applet in ('sh', 'cat', 'ls', 'mount', 'ip', 'ps', 'dmesg', 'sleep'):
        archive.link('bin/' + applet, 'busybox')
    archive.data('bin/leaks', LEAKS, 0o755)
    archive.char('dev/console', 5, 1)
    for path in ('proc', 'sys', 'tmp', 'run', 'etc'):
        archive.dir(path)
    plan = {'release': release, 'base': modules.order(['gaudi_p2p']), 'programs': []}
    plan['base'].remove('gaudi_p2p')
    load = set(plan['base'] + ['gaudi_p2p'])
    names = {}
    for program in sorted(os.listdir(out + '/t')):
        source = 'tests/vm/%s.c' % program
        only = os.environ.get('LAB_VM_PROGRAMS', '').split()
        if not os.path.exists(source) or (only and program not in only) or not kernel_has(config, source):
            os.unlink(os.path.join(out, 't', program))
            continue
        path = os.path.join(out, 't', program)
        archive.file('t/' + program, path, 0o755)
        add_libraries(archive, path)
        for pair in wanted(source, 'vm-files'):
            add_file(archive, *pair.split(':'))
        listing = subprocess.run([path, '--list'], check=True, capture_output=True, text=True).stdout
        tests = []
        usual = (wanted(source, 'vm-topology') or ['ports'])[0]
        for name, seconds, long_seconds, own, only_long in map(str.split, listing.splitlines()):
            if name in names:
                fail('two tests are called %s: in %s and in %s' % (name, names[name], program))
            names[name] = program
            topology = usual if own == '-' else own
            if topology not in TOPOLOGIES:
                fail('%s, which a test in %s wants, is no topology' % (topology, program))
            tests.append({'name': name, 'seconds': int(seconds), 'long_seconds': int(long_seconds),
                          'topology': topology, 'only_long': only_long == '1'})
        order = modules.order(wanted(source, 'vm-modules'))
        load.update(order, modules.order(wanted(source, 'vm-loads')))
        plan['programs'].append({'name': program, 'tests': tests, 'modules': order})
    for name in load:
        archive.data('modules/%s.ko' % name, modules.content(name))
    archive.write(out + '/initrd.cpio')
    with open(out + '/plan.json.tmp', 'w', encoding='utf-8') as f:
        json.dump(plan, f, indent=1)
    os.rename(out + '/plan.json.tmp', out + '/plan.json')
    print('%d tests in %d programs: %s' % (len(names), len(plan['programs']), shlex.join(names)))


if __name__ == '__main__':
    main()
