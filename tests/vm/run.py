#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the test guest and runs driver tests in it; one test, one verdict.

    run.py GUEST_DIR KERNEL ACCEL [TEST ...]
GUEST_DIR is what build.py made. Evidence goes to build/results/vm/, the verdicts
to build/results/vm.json (LAB_VM_RESULTS: another name than vm). After a test that hurt
the kernel the guest is booted anew,
and when the next test wants the devices in another place (machine.py).
"""

import json
import os
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from machine import LONG, NAME, RESULTS, TOPOLOGIES, VmGuest, guest  # noqa: E402  (found by the line above)

# A DMA that the IOMMU stops is news unless the test expects it.
FAULTS = re.compile(r'DMAR:.*fault|DMAR:.*PTE .* not set')


class Run:
    def __init__(self, vm, shows=False):
        self.vm = vm
        self.verdicts = []
        self._shows = shows  # what a test says, while it runs
        self._booted = False
        self._sees_leaks = False

    def boot(self, topology):
        start = time.monotonic()
        self.vm.stop()
        self.vm.boot()
        self._booted = True
        print('guest: booted %s with topology %s in %.0f s (%s)' % (
            self.vm.plan['release'], topology, time.monotonic() - start, self.vm.accel), flush=True)
        bad = guest.scan(self.vm.console())
        if bad:
            raise guest.GuestError('the kernel complains before any test: ' + bad[0])
        self._sees_leaks = self.vm.ask('run /bin/leaks clear', 60) == 0

    def call(self, program, test, said):
        """Runs a test, again after each reset of the machine that it asked for; its exit status."""
        deadline = test['long_seconds' if LONG else 'seconds'] + 25
        resets = 0
        while True:
            for module in program['modules']:
                self.vm.insmod(module)
            status = self.vm.ask('run /t/%s %s:%d' % (program['name'], test['name'], resets), deadline,
                                 lambda line: self.hear(line, said))
            if status is not None:
                return status
            resets += 1
            said.append('the machine was reset')
            self.vm.wait_after_reset()
            if self._sees_leaks:
                self.vm.ask('run /bin/leaks clear', 60)

    def hear(self, line, said):
        said.append(line)
        if self._shows:
            print('      ' + line, flush=True)

    def judge(self, name, status, log):
        """Words for a failure, '' when the test passed, None when it was skipped."""
        for pattern in self.vm.expected:
            if not pattern.search(log):
                return 'the kernel log lacks what it must say: ' + pattern.pattern
        known = self.vm.expected + self.vm.allowed
        lines = [line for line in log.splitlines() if not any(p.search(line) for p in known)]
        bad = guest.scan('\n'.join(lines))
        if not any('DMAR' in p.pattern for p in known):
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
        start = time.monotonic()
        try:
            if not self._booted or not self.vm.running() or self.vm.topology is not TOPOLOGIES[test['topology']]:
                self.vm.topology = TOPOLOGIES[test['topology']]
                self.boot(test['topology'])
            start = time.monotonic()
            self.vm.expected, self.vm.allowed = [], []
            log_start = self.vm.log_start()
            self.vm.ask('mark begin ' + name, 20)
            status = self.call(program, test, said)
            self.vm.ask('mark end ' + name, 20)
            self.vm.wait_console('gaudi-mark end ' + name, 60, log_start)
            why = self.judge(name, status, self.vm.log())
            # After a failure the next test gets a kernel that nothing was done to.
            hurt = bool(why) or not self.vm.is_whole()
        except guest.GuestError as e:
            why, hurt = str(e), True
        seconds = time.monotonic() - start
        if os.path.exists(self.vm.console_path):
            self.evidence(name, said, self.vm.log())
        if hurt:
            self.vm.stop()
            self._booted = False
        self.verdict(name, why, seconds, said)

    def leaks(self, program, topology):
        """On a kernel with kmemleak: whether the tests of a program, all over now, left memory behind."""
        if not self._booted or not self._sees_leaks or not self.vm.running():
            return
        name = program['name'] + ('' if topology == 'ports' else '_on_' + topology) + '_leaks_no_memory'
        start, said = time.monotonic(), []
        try:
            why = 'kmemleak found leaks' if self.vm.ask('run /bin/leaks scan', 200, said.append) else ''
        except guest.GuestError as e:
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
        with open(os.path.join(RESULTS, NAME, name + '.log'), 'w', encoding='utf-8') as f:
            f.write(''.join(line + '\n' for line in said) + '--- kernel log\n' + log)

    def finish(self):
        """The verdict is written last, when nothing can change it any more."""
        count = {word: sum(v['status'] == word for v in self.verdicts) for word in ('pass', 'fail', 'skip')}
        with open(os.path.join(RESULTS, NAME + '.json.tmp'), 'w', encoding='utf-8') as f:
            json.dump(self.verdicts, f, indent=1)
        os.rename(os.path.join(RESULTS, NAME + '.json.tmp'), os.path.join(RESULTS, NAME + '.json'))
        print('%d passed, %d failed%s' % (count['pass'], count['fail'],
                                         ', %d skipped' % count['skip'] if count['skip'] else ''), flush=True)
        skip_fails = os.environ.get('CI') == 'true' and count['skip']
        return 1 if count['fail'] or skip_fails or not self.verdicts else 0


def now(tests, wanted):
    """Without the tests that are for LONG=1 only; says how many those are."""
    chosen = [(p, t) for p, t in tests if LONG or not t['only_long'] or wanted(p, t)]
    if len(chosen) < len(tests):
        print('%d more tests run with LONG=1' % (len(tests) - len(chosen)), flush=True)
    return chosen


def pick(plan, names):
    everything = [(p, t) for p in plan['programs'] for t in p['tests']]
    # The guest is booted anew for each topology.
    everything.sort(key=lambda each: list(TOPOLOGIES).index(each[1]['topology']))
    if not names:
        return now(everything, lambda p, t: False)
    known = {t['name'] for _, t in everything} | {p['name'] for p in plan['programs']}
    wrong = [n for n in names if n not in known]
    if wrong:
        print('make vm: no test is called %s; there are:' % ' '.join(wrong), file=sys.stderr)
        for p in plan['programs']:
            print('  %s: %s' % (p['name'], ' '.join(t['name'] for t in p['tests'])), file=sys.stderr)
        sys.exit(2)
    return now([(p, t) for p, t in everything if t['name'] in names or p['name'] in names],
               lambda p, t: t['name'] in names)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    directory, kernel, accel, *names = sys.argv[1:]
    guest.end_on_signals()
    results = os.path.join(RESULTS, NAME)
    shutil.rmtree(results, ignore_errors=True)
    os.makedirs(results)
    if os.path.exists(os.path.join(RESULTS, NAME + '.json')):
        os.unlink(os.path.join(RESULTS, NAME + '.json'))
    with VmGuest(directory, kernel, accel) as vm:
        todo = pick(vm.plan, names)
        run = Run(vm, shows=len(todo) == 1)
        for i, (program, test) in enumerate(todo):
            run.one(program, test)
            after = todo[i + 1] if i + 1 < len(todo) else None
            if not after or after[0] is not program or after[1]['topology'] != test['topology']:
                run.leaks(program, test['topology'])
    return run.finish()


if __name__ == '__main__':
    sys.exit(main())
