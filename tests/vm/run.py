#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the test guest and runs driver tests in it; one test, one verdict.

    run.py GUEST_DIR KERNEL ACCEL [TEST ...]
GUEST_DIR is what build.py made. Evidence goes to build/results/vm/, the verdicts
to build/results/vm.json. After a test that hurt the kernel the guest is booted anew.
"""

import json
import os
import re
import shutil
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(ROOT, 'tests/lab'))
import guest  # noqa: E402  (found by the line above)
from guest import GuestError  # noqa: E402

RESULTS = os.path.join(ROOT, 'build/results')
CARD_SIZE = 64 << 20
CARDS = 2
NICS = 2
# An emulated CPU on a busy machine is slow; deadlines are for hangs, not for speed.
PATIENCE = float(os.environ.get('GAUDI_P2P_PATIENCE', '3'))
LONG = os.environ.get('LONG') == '1'
# A DMA that the IOMMU stops is news unless the test expects it.
FAULTS = re.compile(r'DMAR:.*fault|DMAR:.*PTE .* not set')


class VmGuest(guest.Guest):
    """EPYC and an IOMMU; each card and the edu device below a root port of its own."""

    def __init__(self, directory, kernel, accel):
        with open(os.path.join(directory, 'plan.json'), encoding='utf-8') as f:
            self.plan = json.load(f)
        super().__init__(
            'vm/guest', RESULTS, kernel, os.path.join(directory, 'initrd.cpio'), accel=accel, memory='2G',
            machine='q35,kernel-irqchip=split' if accel == 'kvm' else 'q35',
            append='intel_iommu=on iommu.strict=1 ignore_loglevel loglevel=8 printk.devkmsg=on '
                   'log_buf_len=4M rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60 cgroup_no_v1=all '
                   'hung_task_panic=0' + (' LONG=1' if LONG else ''),
            ports=('gaudi.control', 'gaudi.host'))
        self.cards = [guest.card_file(os.path.join(self.run_dir, 'hbm%d' % i), CARD_SIZE) for i in range(CARDS)]
        self._devices += ['-device', 'intel-iommu,intremap=off,caching-mode=on']
        for i, path in enumerate(self.cards):
            self._devices += ['-device', 'pcie-root-port,id=rp%d,bus=pcie.0,chassis=%d,slot=%d,addr=%#x' % (
                i, i + 1, i + 1, 0x10 + i)]
            self._devices += guest.card_arguments(i, path, CARD_SIZE, 'rp%d' % i)
        self._devices += ['-device', 'pcie-root-port,id=rpedu,bus=pcie.0,chassis=9,slot=9,addr=0x18',
                          '-device', 'edu,id=edu,dma_mask=0xffffffffffffffff,bus=rpedu']
        for i in range(NICS):  # on one hub, so that they reach each other
            self._devices += ['-netdev', 'hubport,id=hub%d,hubid=0' % i,
                              '-device', 'virtio-net-pci,netdev=hub%d,mac=52:54:00:0a:00:%02x,romfile=' % (i, i)]
        self.loaded = set()
        self._said_ready = False
        self._plugged = 0
        self.expected = []

    def is_ready(self):
        self._said_ready = self._said_ready or 'ready' in self.port['gaudi.control'].lines()
        return self._said_ready

    def boot(self, timeout=None):
        self.loaded, self._said_ready = set(), False
        # Memory is dirty when a machine starts: whatever a test finds zero was made zero.
        for path in self.cards:
            with open(path, 'r+b') as f:
                f.write(b'\xa5former owner\x5a..' * (CARD_SIZE // 16))
        super().boot(timeout)
        for name in self.plan['base']:
            self.insmod(name)
        return self

    def insmod(self, name):
        if name in self.loaded:
            return
        status = self.ask('insmod /modules/%s.ko' % name, 60)
        if status:
            raise GuestError('module %s cannot be loaded: %s' % (name, os.strerror(status)))
        self.loaded.add(name)

    def ask(self, line, seconds, on_line=lambda text: None):
        """Has the guest do something and returns its status; serves it meanwhile."""
        self.port['gaudi.control'].send(line)
        status = []

        def answered():
            self.serve()
            for answer in self.port['gaudi.control'].lines():
                if answer.startswith('done '):
                    status.append(int(answer[5:]))
                elif answer.startswith('out '):
                    on_line(answer[4:])
            return bool(status)
        self.wait(answered, seconds * PATIENCE, 'an answer to "%s"' % line, 0.02)
        return status[0]

    # --- what the guest may ask for ----------------------------------------
    def serve(self):
        for line in self.port['gaudi.host'].lines():
            verb, _, rest = line.partition(' ')
            try:
                handler = getattr(self, 'host_' + verb, None)
                if not handler:
                    raise GuestError('no such request')
                answer = 'ok %s' % handler(rest)
            except (GuestError, OSError, ValueError, IndexError) as e:
                answer = 'error %s' % e
            self.port['gaudi.host'].send(answer)

    def _range(self, rest, count):
        values = [int(v) for v in rest.split()]
        if len(values) != count:
            raise ValueError('wrong number of arguments')
        return (self.cards[values[0]], *values[1:])

    def host_zero(self, rest):
        path, offset, size = self._range(rest, 3)
        return int(guest.file_is_zero(path, offset, size or None))

    def host_plant(self, rest):
        path, offset, size, value = self._range(rest, 4)
        with open(path, 'r+b') as f:
            f.seek(offset)
            size = size or CARD_SIZE - offset
            if offset + size > CARD_SIZE:
                raise ValueError('beyond the card')
            f.write(bytes([value]) * size)
        return ''

    def host_disturb(self, rest):
        """Writes into a card all the time, for so many seconds, while the guest goes on."""
        path, seconds = self._range(rest, 2)
        end = time.monotonic() + min(seconds, 120)

        def write_on():
            with open(path, 'r+b', buffering=0) as f:
                while time.monotonic() < end:
                    f.seek(0)
                    f.write(b'\x55' * CARD_SIZE)
        threading.Thread(target=write_on, daemon=True).start()
        return ''

    def host_peek(self, rest):
        path, offset = self._range(rest, 2)
        with open(path, 'rb') as f:
            f.seek(offset)
            return f.read(1)[0]

    def host_find(self, rest):
        card, _, text = rest.partition(' ')
        with open(self.cards[int(card)], 'rb') as f:
            return f.read().find(text.encode())

    def host_size(self, rest):
        return os.path.getsize(self._range(rest, 1)[0])

    def host_remove(self, rest):
        self._range(rest, 1)
        name = 'gaudi%d' % int(rest)
        self.qmp('device_del', id=name)
        self.wait_event('DEVICE_DELETED', 60, device=name)
        return ''

    def host_add(self, rest):
        path, card = self._range(rest, 1)[0], int(rest)
        # QEMU forgets to unregister the memory of a pulled ivshmem: it aborts when the
        # same object is plugged in again. A new object on the same file does as well.
        self._plugged += 1
        memory = 'hbm%d-%d' % (card, self._plugged)
        self.qmp('object-add', qom_type='memory-backend-file', id=memory, share=True, size=CARD_SIZE, mem_path=path)
        self.qmp('device_add', driver='ivshmem-plain', id='gaudi%d' % card, memdev=memory, bus='rp%d' % card)
        return ''

    def host_expect(self, rest):
        self.expected.append(re.compile(rest))
        return ''


class Run:
    def __init__(self, vm):
        self.vm = vm
        self.verdicts = []
        self._booted = False
        self._sees_leaks = False

    def boot(self):
        start = time.monotonic()
        self.vm.stop()
        self.vm.boot()
        self._booted = True
        print('guest: booted %s in %.0f s (%s)' % (self.vm.plan['release'], time.monotonic() - start, self.vm.accel),
              flush=True)
        bad = guest.scan(self.vm.console())
        if bad:
            raise GuestError('the kernel complains before any test: ' + bad[0])
        self._sees_leaks = self.vm.ask('run /bin/leaks clear', 60) == 0

    def judge(self, name, status, log):
        """Words for a failure, '' when the test passed, None when it was skipped."""
        for pattern in self.vm.expected:
            if not pattern.search(log):
                return 'the kernel log lacks what it must say: ' + pattern.pattern
        lines = [line for line in log.splitlines() if not any(p.search(line) for p in self.vm.expected)]
        bad = guest.scan('\n'.join(lines))
        if not any('DMAR' in p.pattern for p in self.vm.expected):
            bad += [line for line in lines if FAULTS.search(line)]
        if bad:
            return 'the kernel log says: ' + bad[0].strip()
        if status == 77:
            return None
        if status:
            return 'exit status %d' % status if status < 128 else 'killed by signal %d' % (status - 128)
        return ''

    def one(self, program, test):
        name = test['name']
        said = []
        hurt = False
        log_start = 0
        start = time.monotonic()
        try:
            if not self._booted or not self.vm.running():
                self.boot()
            for module in program['modules']:
                self.vm.insmod(module)
            start = time.monotonic()
            self.vm.expected = []
            log_start = self.vm.console_size()
            self.vm.ask('mark begin ' + name, 20)
            deadline = test['long_seconds' if LONG else 'seconds'] + 25
            status = self.vm.ask('run /t/%s %s' % (program['name'], name), deadline, said.append)
            self.vm.ask('mark end ' + name, 20)
            self.vm.wait_console('gaudi-mark end ' + name, 60, log_start)
            why = self.judge(name, status, self.vm.console(log_start))
            # After a failure the next test gets a kernel that nothing was done to.
            hurt = bool(why)
        except GuestError as e:
            why, hurt = str(e), True
        seconds = time.monotonic() - start
        if os.path.exists(self.vm.console_path):
            self.evidence(name, said, self.vm.console(log_start))
        if hurt:
            self.vm.stop()
            self._booted = False
        self.verdict(name, why, seconds, said)

    def leaks(self, program):
        """On a kernel with kmemleak: whether the tests of a program, all over now, left memory behind."""
        if not self._booted or not self._sees_leaks or not self.vm.running():
            return
        name, start, said = program['name'] + '_leaks_no_memory', time.monotonic(), []
        try:
            why = 'kmemleak found leaks' if self.vm.ask('run /bin/leaks scan', 200, said.append) else ''
        except GuestError as e:
            why = str(e)
        self.evidence(name, said, '')
        self.verdict(name, why, time.monotonic() - start, said)

    def verdict(self, name, why, seconds, said):
        word = 'pass' if why == '' else 'skip' if why is None else 'fail'
        self.verdicts.append({'name': name, 'status': word, 'seconds': round(seconds, 1)})
        print('%-4s  %s  (%.1f s)' % (word, name, seconds), flush=True)
        if word != 'pass':
            for line in said[-12:] + ([why] if why else []):
                print('      ' + line, flush=True)

    @staticmethod
    def evidence(name, said, log):
        with open(os.path.join(RESULTS, 'vm', name + '.log'), 'w', encoding='utf-8') as f:
            f.write(''.join(line + '\n' for line in said) + '--- kernel log\n' + log)

    def finish(self):
        """The verdict is written last, when nothing can change it any more."""
        count = {word: sum(v['status'] == word for v in self.verdicts) for word in ('pass', 'fail', 'skip')}
        with open(os.path.join(RESULTS, 'vm.json.tmp'), 'w', encoding='utf-8') as f:
            json.dump(self.verdicts, f, indent=1)
        os.rename(os.path.join(RESULTS, 'vm.json.tmp'), os.path.join(RESULTS, 'vm.json'))
        print('%d passed, %d failed%s' % (count['pass'], count['fail'],
                                         ', %d skipped' % count['skip'] if count['skip'] else ''), flush=True)
        skip_fails = os.environ.get('CI') == 'true' and count['skip']
        return 1 if count['fail'] or skip_fails or not self.verdicts else 0


def pick(plan, names):
    everything = [(p, t) for p in plan['programs'] for t in p['tests']]
    if not names:
        return everything
    known = {t['name'] for _, t in everything} | {p['name'] for p in plan['programs']}
    wrong = [n for n in names if n not in known]
    if wrong:
        print('make vm: no test is called %s; there are:' % ' '.join(wrong), file=sys.stderr)
        for p in plan['programs']:
            print('  %s: %s' % (p['name'], ' '.join(t['name'] for t in p['tests'])), file=sys.stderr)
        sys.exit(2)
    return [(p, t) for p, t in everything if t['name'] in names or p['name'] in names]


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    directory, kernel, accel, *names = sys.argv[1:]
    guest.end_on_signals()
    results = os.path.join(RESULTS, 'vm')
    shutil.rmtree(results, ignore_errors=True)
    os.makedirs(results)
    if os.path.exists(os.path.join(RESULTS, 'vm.json')):
        os.unlink(os.path.join(RESULTS, 'vm.json'))
    with VmGuest(directory, kernel, accel) as vm:
        todo = pick(vm.plan, names)
        run = Run(vm)
        for i, (program, test) in enumerate(todo):
            run.one(program, test)
            if i + 1 == len(todo) or todo[i + 1][0] is not program:
                run.leaks(program)
    return run.finish()


if __name__ == '__main__':
    sys.exit(main())
