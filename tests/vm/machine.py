# SPDX-License-Identifier: Apache-2.0
"""The machine of the driver tests: its topologies, and what a test may ask the host for."""

import json
import mmap
import os
import re
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(ROOT, 'tests/lab'))
import guest  # noqa: E402  (found by the line above)
from guest import GuestError  # noqa: E402

RESULTS = os.path.join(ROOT, 'build/results')
NAME = os.environ.get('LAB_VM_RESULTS', 'vm')
CARD_SIZE = int(os.environ.get('LAB_VM_CARD_MB', '64')) << 20
NICS = 2
# An emulated CPU on a busy machine is slow; deadlines are for hangs, not for speed.
PATIENCE = float(os.environ.get('GAUDI_P2P_PATIENCE', '3'))
LONG = os.environ.get('LONG') == '1'
# Settings of tests, for the guest's environment: the kernel gives words that it does not know to init.
SETTINGS = ''.join(' %s=%s' % (name, os.environ[name]) for name in ('LONG', 'SEED', 'FUZZ_CALLS', 'FUZZ_SECONDS', 'BENCH')
                   if re.fullmatch(r'[\w.]+', os.environ.get(name, '')))
# Device numbers of the ports, on the root bus or inside the switch, and of their slots; a card's port is 0x10 + its
# number. The kernel takes a switch apart from the highest number down: edu goes before the cards, the NICs after them.
PORT_NIC, PORT_CARD, PORT_EDU, PORT_SWITCH = 0x0e, 0x10, 0x18, 0x1c


class Topology:
    """Where the cards, the DMA engine (edu) and the NICs sit.

    switch    below one switch, whose peers reach each other without the root; else each below a root port of its own
    iommu     an IOMMU stops what is not mapped. Not with a switch: QEMU sends peer-to-peer through the IOMMU
              where hardware would not
    pciehp    slots are served by the kernel's pciehp, and what is in them can be ripped out (slot.h);
              else by ACPI, for orderly removal that the host asks for (host_card_remove() and others)
    """

    def __init__(self, cards=2, switch=False, iommu=True, pciehp=False):
        self.cards, self.switch, self.iommu, self.pciehp = cards, switch, iommu, pciehp


TOPOLOGIES = {
    'ports': Topology(),
    'pciehp': Topology(pciehp=True),
    'switch': Topology(switch=True, iommu=False, pciehp=True),
    'eight': Topology(cards=8),
}


class VmGuest(guest.Guest):
    """EPYC (whose host bridge the kernel trusts with peer-to-peer) and one of the topologies."""

    def __init__(self, directory, kernel, accel):
        with open(os.path.join(directory, 'plan.json'), encoding='utf-8') as f:
            self.plan = json.load(f)
        super().__init__(NAME + '/guest', RESULTS, kernel, os.path.join(directory, 'initrd.cpio'), accel=accel,
                         memory='2G', ports=('gaudi.control', 'gaudi.host'))
        self.topology = TOPOLOGIES['ports']
        self.cards = []
        self.loaded = set()
        self.expected, self.allowed = [], []
        self.was_reset = False
        self._said_ready = False
        self._plugged = 0
        self._log, self._log_start = '', 0

    # --- the machine --------------------------------------------------------
    def _port(self, name, number, bus=None):
        bus = bus or ('up' if self.topology.switch else 'pcie.0')
        return ['-device', '%s,id=%s,bus=%s,chassis=%d,slot=%d,addr=%#x%s' % (
            'xio3130-downstream' if bus == 'up' else 'pcie-root-port', name, bus, number, number, number,
            # Of a slot that switches its own power off, pciehp thinks that nothing was pulled out of it.
            ',power_controller_present=off' if self.topology.pciehp else '')]

    def _build(self):
        """The arguments of the topology that is to be booted."""
        top = self.topology
        self._machine = 'q35,kernel-irqchip=split' if self.accel == 'kvm' and top.iommu else 'q35'
        self._append = ('ignore_loglevel loglevel=8 printk.devkmsg=on log_buf_len=4M rcupdate.rcu_cpu_stall_timeout=120 '
                        'watchdog_thresh=60 cgroup_no_v1=all hung_task_panic=0' +
                        (' intel_iommu=on iommu.strict=1' if top.iommu else '') + SETTINGS)
        self._devices = ['-device', 'intel-iommu,intremap=off,caching-mode=on'] if top.iommu else []
        if top.pciehp:
            self._devices += ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off']
        if top.switch:
            self._devices += self._port('rpsw', PORT_SWITCH, 'pcie.0') + ['-device', 'x3130-upstream,id=up,bus=rpsw']
        for i, path in enumerate(self.cards[:top.cards]):
            self._devices += self._port('rp%d' % i, PORT_CARD + i) + guest.card_arguments(i, path, CARD_SIZE, 'rp%d' % i)
        self._devices += self._port('rpedu', PORT_EDU)
        self._devices += ['-global', 'edu.dma_mask=0xffffffffffffffff', '-device', 'edu,id=edu,bus=rpedu']
        for i in range(NICS):  # on one hub, so that they reach each other
            self._devices += self._port('rpnic%d' % i, PORT_NIC + i)
            self._devices += ['-netdev', 'hubport,id=hub%d,hubid=0' % i, '-device', self._nic_arguments(i)]

    @staticmethod
    def _nic_arguments(i):
        return 'virtio-net-pci,id=nic%d,netdev=hub%d,mac=52:54:00:0a:00:%02x,romfile=,bus=rpnic%d' % (i, i, i, i)

    def is_ready(self):
        self._said_ready = self._said_ready or 'ready' in self.port['gaudi.control'].lines()
        return self._said_ready

    def boot(self, timeout=None):
        self.loaded, self._said_ready = set(), False
        for i in range(len(self.cards), self.topology.cards):
            self.cards.append(guest.card_file(os.path.join(self.run_dir, 'hbm%d' % i), CARD_SIZE))
        # Memory is dirty when a machine starts: whatever a test finds zero was made zero.
        for path in self.cards[:self.topology.cards]:
            with open(path, 'r+b') as f:
                f.write(b'\xa5former owner\x5a..' * (CARD_SIZE // 16))
        self._build()
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
        """Has the guest do something and returns its status; serves it meanwhile. None: it had itself reset."""
        self.was_reset = False
        self.port['gaudi.control'].send(line)
        status = []

        def answered():
            self.serve()
            if self.was_reset:
                return True
            for answer in self.port['gaudi.control'].lines():
                if answer.startswith('done '):
                    status.append(int(answer[5:]))
                elif answer.startswith('out '):
                    on_line(answer[4:])
            return bool(status)
        self.wait(answered, seconds * PATIENCE, 'an answer to "%s"' % line, 0.02)
        return None if self.was_reset else status[0]

    def wait_after_reset(self):
        """The machine is up again, on the same card memory, without modules."""
        self.loaded = set()
        self.wait(self.is_ready, self.BOOT_TIMEOUT, 'the boot after a reset', 0.1)
        self.qmp('set-action', reboot='shutdown')
        # A boot that died of QEMU's own early oops was followed by another, and is no part of the log.
        console = self.console(self._log_start)
        if guest.EARLY_OOPS.search(console):
            self._log_start += len(console[:console.rindex('Linux version')].encode())
        for name in self.plan['base']:
            self.insmod(name)

    def is_whole(self):
        """Whether every device of the topology is plugged in; a test may leave a slot empty."""
        there = {entry['name'] for entry in self.qmp('qom-list', path='/machine/peripheral')}
        cards = ['gaudi%d' % i for i in range(self.topology.cards)]
        return there.issuperset(cards + ['nic%d' % i for i in range(NICS)] + ['edu'])

    # --- the kernel log of a test -------------------------------------------
    def log_start(self):
        """It begins here. Returns where in the console that is."""
        self._log, self._log_start = '', self.console_size()
        return self._log_start

    def log(self):
        return self._log + self.console(self._log_start)

    # --- what the guest may ask for ----------------------------------------
    def serve(self):
        for line in self.port['gaudi.host'].lines():
            verb, _, rest = line.partition(' ')
            try:
                handler = getattr(self, 'host_' + verb, None)
                if not handler:
                    raise GuestError('no such request')
                answer = 'ok %s' % handler(rest)
            except (GuestError, OSError, ValueError, IndexError, KeyError) as e:
                answer = 'error %s' % e
            if self.was_reset:
                return  # nobody is left to answer
            self.port['gaudi.host'].send(answer)

    def _range(self, rest, count):
        values = [int(v) for v in rest.split()]
        if len(values) != count:
            raise ValueError('wrong number of arguments')
        return (self.cards[values[0]], *values[1:])

    def host_zero(self, rest):
        path, offset, size = self._range(rest, 3)
        return int(guest.file_is_zero(path, offset, size or None))

    def host_filled(self, rest):
        """Whether all bytes of a range are the same, as host_plant made them."""
        path, offset, size, value = self._range(rest, 4)
        with open(path, 'rb') as f:
            f.seek(offset)
            data = f.read(size or -1)
        return int(data.count(value) == len(data))

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
        """Writes into a part of a card all the time, for so many seconds, while the guest goes on."""
        path, seconds, offset, size, value = self._range(rest, 5)
        end = time.monotonic() + min(seconds, 120)
        data = bytes([value]) * (size or CARD_SIZE - offset)

        def write_on():
            with open(path, 'r+b', buffering=0) as f:
                while time.monotonic() < end:
                    f.seek(offset)
                    f.write(data)
        threading.Thread(target=write_on, daemon=True).start()
        return ''

    def host_peek(self, rest):
        path, offset = self._range(rest, 2)
        with open(path, 'rb') as f:
            f.seek(offset)
            return f.read(1)[0]

    def host_find(self, rest):
        card, _, text = rest.partition(' ')
        with open(self.cards[int(card)], 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return memory.find(text.encode())

    def host_size(self, rest):
        return os.path.getsize(self._range(rest, 1)[0])

    def host_remove(self, rest):
        if not re.fullmatch(r'gaudi\d|edu|nic\d', rest) or self.topology.pciehp:
            raise ValueError('cannot remove %s; with pciehp the guest does that (slot.h)' % rest)
        self.forget_events('DEVICE_DELETED')
        self.qmp('device_del', id=rest)
        self.wait_event('DEVICE_DELETED', 60, device=rest)
        return ''

    def host_add(self, rest):
        kind, number = re.fullmatch(r'(gaudi|edu|nic)(\d?)', rest).groups()
        if kind == 'edu':
            self.qmp('device_add', driver='edu', id='edu', bus='rpedu')
        elif kind == 'nic':
            driver, *rest = self._nic_arguments(int(number)).split(',')
            self.qmp('device_add', driver=driver, **dict(pair.split('=') for pair in rest))
        else:
            # QEMU forgets to unregister the memory of a pulled ivshmem: it aborts when the
            # same object is plugged in again. A new object on the same file does as well.
            self._plugged += 1
            memory = 'hbm%s-%d' % (number, self._plugged)
            self.qmp('object-add', qom_type='memory-backend-file', id=memory, share=True, size=CARD_SIZE,
                     mem_path=self.cards[int(number)])
            self.qmp('device_add', driver='ivshmem-plain', id=kind + number, memdev=memory, bus='rp' + number)
        return ''

    def host_reset(self, _rest):
        """The reset button: the guest begins anew, and the cards' memory stays what it is."""
        self._log, self._log_start = self.log(), self.console_size()
        self.qmp('set-action', reboot='reset')  # -no-reboot made it an end
        self._said_ready = False
        self.was_reset = True
        self.forget_events('RESET')
        self.qmp('system_reset')
        self.wait_event('RESET', 30)
        for port in self.port.values():
            port.forget()
        return ''

    def host_error(self, rest):
        """A fatal error of the bus that a card sits on; the guest resets that bus."""
        self._range(rest, 1)
        said = self.qmp('human-monitor-command', command_line='pcie_aer_inject_error rp%d DLP' % int(rest))
        if not (said or '').startswith('OK'):
            raise ValueError('QEMU injects no error: %s' % said)
        return ''

    def host_expect(self, rest):
        self.expected.append(re.compile(rest))
        return ''

    def host_allow(self, rest):
        self.allowed.append(re.compile(rest))
        return ''
