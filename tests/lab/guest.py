#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Control of QEMU guests, shared by the driver tests and the emulated node.

A guest is started with a topology (QEMU arguments), watched through its console
file, steered through QMP, and always ended, also when the test process dies.
Waiting is always for a condition with a deadline, never for time alone.

Subclasses say when a guest is ready (is_ready) and how to talk to it.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from cpio import Cpio

TCG = 'tcg,thread=multi'
# The guest's clock counts its instructions, one a nanosecond: what it measures does not depend on what else runs here.
COUNT = 'count'

# About one emulated SMP boot in 30 dies like this before any code of ours runs: QEMU
# races with the kernel that patches its own text. On a busy machine the kernel may also
# find that its timer does not tick. Booting again is the cure.
EARLY_OOPS = re.compile(r"Oops: int3|IO-APIC \+ timer doesn't work")

BAD_LINES = re.compile(
    r'WARNING:|\bBUG\b|\bOops\b|KASAN|UBSAN:|DMA-API: (?!preallocated|debugging enabled)|general protection fault|Kernel panic|'
    r'possible (recursive|circular) locking|possible irq lock|suspicious RCU usage|held lock freed|'
    r'INFO: (task .* blocked|lockdep|possible|trying to register|rcu)|self-detected stall|soft lockup|'
    r'kmemleak: \d+ new|refcount_t:|unreferenced object|memory leak(?! detector)|list_(add|del) corruption|'
    r'sleeping function called|scheduling while atomic|Memory manager not clean|Modules linked in:')

# What the kernel says about the emulated machine and not about our code.
HARMLESS = re.compile(
    r'Speculative Return Stack Overflow|Spectre|RETBleed|MDS CPU bug|SRSO|'
    r'spectre_v2|TAA CPU bug|MMIO Stale Data CPU bug|loading out-of-tree module|module verification failed')

# Lockdep's report of the hotplug driver's own two locks, when it removes a device that was pulled out; no code of ours
# is in it. The rest of it has no words of BAD_LINES.
PCIEHP_LOCKS = re.compile(
    r'^.*WARNING: possible circular locking dependency detected\n(?:.*\n){2}.*irq/\d+-pciehp/.* is trying to acquire lock:\n'
    r'.*\(&ctrl->reset_lock\).*pciehp_unconfigure_device', re.M)


class GuestError(Exception):
    """Says in words what went wrong; the console has the rest."""


def scan(text):
    """Lines of a kernel log that mean a failure of whatever ran meanwhile."""
    text = PCIEHP_LOCKS.sub('', text)
    return [line for line in text.splitlines() if BAD_LINES.search(line) and not HARMLESS.search(line)]


def wait(condition, timeout, what, poll=0.05, check=None):
    """Waits until condition() is true and returns its value.

    check(), if given, raises when waiting on is of no use."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if check:
            check()
        if time.monotonic() > deadline:
            raise GuestError('%s did not happen within %d s' % (what, timeout))
        time.sleep(poll)


def end_on_signals():
    """Makes SIGTERM and SIGHUP unwind like Ctrl-C, so that guests are ended."""
    def stop(signum, _frame):
        sys.exit(128 + signum)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


def die_with_parent():
    """For a child between fork and exec: it ends with the thread that started it."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)


class Port:
    """A line channel to the guest (virtio-serial), from the host's end."""

    def __init__(self, path):
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.connect(path)
        self._sock.setblocking(False)
        self._buffer = b''

    def fileno(self):
        return self._sock.fileno()

    def send(self, line):
        self._sock.setblocking(True)
        self._sock.settimeout(30)
        try:
            self._sock.sendall(line.encode() + b'\n')
        except OSError as e:
            raise GuestError('the guest does not read its channel: %s' % e) from e
        finally:
            self._sock.setblocking(False)

    def lines(self):
        """The whole lines that have come by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._sock.recv(65536)
                if not data:
                    break
                self._buffer += data
        *whole, self._buffer = self._buffer.split(b'\n')
        return [line.decode(errors='replace').rstrip('\r') for line in whole]

    def forget(self):
        """What was said by a guest that was reset since."""
        self.lines()
        self._buffer = b''

    def close(self):
        self._sock.close()


class Qmp:
    """QEMU's own control channel."""

    def __init__(self, path, check):
        self._check = check
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        wait(lambda: self._connects(path), 30, 'the start of QEMU', check=check)
        self._sock.settimeout(0.2)
        self._buffer = b''
        self.events = []
        self._next(30)
        self.command('qmp_capabilities')

    def _connects(self, path):
        # The socket has its name before it listens, and there is time between the two on a busy machine.
        return self._sock.connect_ex(path) == 0

    def _next(self, timeout):
        deadline = time.monotonic() + timeout
        while b'\n' not in self._buffer:
            try:
                data = self._sock.recv(65536)
            except socket.timeout:
                data = None
            if data == b'':
                raise GuestError('QEMU closed its control channel')
            self._buffer += data or b''
            self._check()
            if time.monotonic() > deadline:
                raise GuestError('QEMU does not answer on its control channel')
        line, self._buffer = self._buffer.split(b'\n', 1)
        return json.loads(line)

    def command(self, name, /, timeout=30, **arguments):
        message = {'execute': name}
        if arguments:
            message['arguments'] = {k.replace('_', '-'): v for k, v in arguments.items()}
        self._sock.sendall(json.dumps(message).encode() + b'\n')
        while True:
            answer = self._next(timeout)
            if 'event' in answer:
                self.events.append(answer)
            elif 'error' in answer:
                raise GuestError('QEMU refuses %s: %s' % (name, answer['error'].get('desc')))
            else:
                return answer.get('return')

    def wait_event(self, name, timeout, **data):
        """Waits for an event; one that came before the call counts, once."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event['event'] == name and all(event.get('data', {}).get(k) == v for k, v in data.items()):
                    self.events.remove(event)
                    return event
            self.events.append(self._next(max(0.1, deadline - time.monotonic())))

    def forget_events(self, name):
        self.events = [event for event in self.events if event['event'] != name]

    def close(self):
        self._sock.close()


class Guest:
    """One QEMU. Use it as a context manager, so that it always ends.

    name      names the evidence: RESULTS/NAME.console, RESULTS/NAME.qemu
    kernel, initrd, append   what QEMU boots directly (append without console=)
    devices   the topology, as QEMU arguments
    ports     names of virtio-serial ports; self.port[NAME] is the host's end
    """

    BOOT_TIMEOUT = 240
    BOOT_TRIES = 3

    def __init__(self, name, results, kernel, initrd, append='', devices=(), ports=(), accel=TCG, cpu='EPYC',
                 smp=2, memory='1G', machine='q35'):
        self.name = name
        self.results = results
        self.accel = accel
        self._kernel, self._initrd, self._append = kernel, initrd, append
        self._devices, self._ports = list(devices), list(ports)
        self._cpu, self._smp, self._memory, self._machine = cpu, smp, memory, machine
        self._process = None
        self._qmp = None
        self._boots = 0
        self.port = {}
        os.makedirs(results, exist_ok=True)
        # Socket paths are limited to 107 bytes, so they do not go below results.
        self.run_dir = tempfile.mkdtemp(prefix='gaudi-p2p-')
        self.console_path = os.path.join(results, name + '.console')
        self.qemu_log = os.path.join(results, name + '.qemu')

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    # --- for subclasses --------------------------------------------------
    def is_ready(self):
        """Whether the guest can be used; asked again and again during boot."""
        return 'gaudi-guest-ready' in self.console()

    # --- life ------------------------------------------------------------
    def _accel_arguments(self):
        if self.accel == COUNT:
            return ['-accel', 'tcg,thread=single', '-icount', 'shift=0,sleep=off', '-smp', '1']
        return ['-accel', self.accel, '-smp', str(self._smp)]

    def arguments(self):
        args = ['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
                '-machine', self._machine, *self._accel_arguments(), '-cpu', self._cpu, '-m', self._memory,
                '-kernel', self._kernel, '-initrd', self._initrd,
                # On a busy machine an emulated timer is late, and the kernel's test of it ends in a panic.
                '-append', 'console=ttyS0,115200 panic=-1 no_timer_check ' + self._append,
                '-chardev', 'file,id=console,path=' + self.console_path, '-serial', 'chardev:console',
                '-qmp', 'unix:%s/qmp,server=on,wait=off' % self.run_dir]
        if self._ports:
            args += ['-device', 'virtio-serial-pci,id=ports']
        for i, port in enumerate(self._ports):
            args += ['-chardev', 'socket,id=port%d,path=%s/port%d,server=on,wait=off' % (i, self.run_dir, i),
                     '-device', 'virtserialport,bus=ports.0,nr=%d,chardev=port%d,name=%s' % (i + 1, i, port)]
        return args + self._devices

    def start(self):
        """One QEMU, running; no waiting for what is inside."""
        if not shutil.which('qemu-system-x86_64'):
            raise GuestError('qemu-system-x86_64 is missing: run tests/lab/lab host')
        # The console of an earlier boot is evidence.
        if os.path.exists(self.console_path) and os.path.getsize(self.console_path):
            self._boots += 1
            os.replace(self.console_path, '%s.%d' % (self.console_path, self._boots))
        open(self.console_path, 'w', encoding='utf-8').close()
        with open(self.qemu_log, 'wb') as log:
            self._process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             preexec_fn=die_with_parent)
        self._qmp = Qmp(self.run_dir + '/qmp', self.check)
        self.port = {port: Port('%s/port%d' % (self.run_dir, i)) for i, port in enumerate(self._ports)}

    def boot(self, timeout=None):
        """Starts the guest and waits until it is ready; boots again after QEMU's own early oops."""
        for attempt in range(1, self.BOOT_TRIES + 1):
            self.start()
            try:
                wait(self.is_ready, timeout or self.BOOT_TIMEOUT, 'the boot of guest ' + self.name, 0.1, self.check)
                return self
            except GuestError:
                if attempt == self.BOOT_TRIES or not EARLY_OOPS.search(self.console()):
                    raise
                self.stop()
        raise AssertionError('not reached')

    def running(self):
        return self._process is not None and self._process.poll() is None

    def check(self):
        """Raises when the guest is gone for good."""
        if not self.running():
            with open(self.qemu_log, encoding='utf-8', errors='replace') as f:
                words = f.read().strip()
            if 'Kernel panic' in self.console():
                words = 'its kernel panicked'
            raise GuestError('guest %s ended: %s (see %s)' % (self.name, words or 'without a word', self.console_path))

    def stop(self):
        """Ends QEMU. Harmless when it has ended already."""
        for port in self.port.values():
            port.close()
        self.port = {}
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        for name in os.listdir(self.run_dir):
            if name == 'qmp' or name.startswith('port'):
                os.unlink(os.path.join(self.run_dir, name))

    def close(self):
        """Ends QEMU and removes what belongs to this run; the evidence stays."""
        self.stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    # --- while it runs ---------------------------------------------------
    def qmp(self, command, /, **arguments):
        return self._qmp.command(command, **arguments)

    def wait_event(self, name, timeout=30, **data):
        return self._qmp.wait_event(name, timeout, **data)

    def forget_events(self, name):
        self._qmp.forget_events(name)

    def console(self, start=0):
        with open(self.console_path, 'rb') as f:
            f.seek(start)
            return f.read().decode(errors='replace')

    def console_size(self):
        return os.stat(self.console_path).st_size

    def wait_console(self, pattern, timeout, start=0):
        return wait(lambda: re.search(pattern, self.console(start)), timeout, 'console line "%s"' % pattern,
                    0.1, self.check)

    def wait(self, condition, timeout, what, poll=0.05):
        """wait(), given up at once when the guest is gone."""
        return wait(condition, timeout, what, poll, self.check)


def card_file(path, size):
    """The memory of an emulated card, as a file of the host: a witness outside the guest."""
    with open(path, 'wb') as f:
        f.truncate(size)
    return path


def card_arguments(index, path, size, bus, addr=None):
    """An emulated Gaudi whose memory is the file `path`."""
    return ['-object', 'memory-backend-file,id=hbm%d,share=on,size=%d,mem-path=%s' % (index, size, path),
            '-device', 'ivshmem-plain,id=gaudi%d,memdev=hbm%d,bus=%s%s' % (
                index, index, bus, ',addr=' + addr if addr else '')]


def file_is_zero(path, offset=0, length=None):
    """Whether the file is zero in [offset, offset + length); holes are."""
    block = bytes(1 << 20)
    with open(path, 'rb') as f:
        left = os.fstat(f.fileno()).st_size - offset if length is None else length
        f.seek(offset)
        while left > 0:
            data = f.read(min(len(block), left))
            if not data:
                raise GuestError('%s ends before the range that was asked for' % path)
            if data != block[:len(data)]:
                return False
            left -= len(data)
    return True


# --- KVM or not ----------------------------------------------------------
def _probe_kvm(buildroot, kernel, directory):
    archive = Cpio()
    archive.file('bin/busybox', os.path.join(buildroot, 'bin/busybox'), 0o755)
    archive.data('init', b'#!/bin/busybox sh\n/bin/busybox echo gaudi-guest-ready >/dev/console\n'
                         b'/bin/busybox sleep 30\n', 0o755)
    archive.char('dev/console', 5, 1)
    initrd = os.path.join(directory, 'probe.cpio')
    archive.write(initrd)
    with Guest('kvm-probe', directory, os.path.join(buildroot, 'boot/vmlinuz-' + kernel), initrd, accel='kvm') as guest:
        try:
            guest.start()
            guest.wait(guest.is_ready, 20, 'a boot under KVM', 0.1)
            return True
        except GuestError:
            return False


def pick_accel(cache, buildroot, kernel):
    """KVM only if a tiny guest really boots under it; asked once per boot of the machine."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return TCG
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as f:
        boot = f.read().strip()
    answer = os.path.join(cache, 'accel')
    with contextlib.suppress(OSError, ValueError), open(answer, encoding='ascii') as f:
        seen, accel = f.read().split()
        if seen == boot:
            return accel
    directory = tempfile.mkdtemp(prefix='gaudi-p2p-kvm-')
    try:
        accel = 'kvm' if _probe_kvm(buildroot, kernel, directory) else TCG
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    with open(answer + '.tmp', 'w', encoding='ascii') as f:
        f.write('%s %s\n' % (boot, accel))
    os.rename(answer + '.tmp', answer)
    return accel


if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit('usage: guest.py CACHE BUILDROOT KERNEL   (prints the accelerator that works here)')
    print(pick_accel(*sys.argv[1:]))
