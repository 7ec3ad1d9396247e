/* SPDX-License-Identifier: Apache-2.0 */
/* Hotplug slots as the guest sees them; for topologies with pciehp (machine.py). host_card_add() and others fill them. */
#ifndef VM_SLOT_H
#define VM_SLOT_H

#include <stdbool.h>

/* What machine.py puts into a slot of this number. */
enum {
	SLOT_NIC = 0x0e,  /* + number of the NIC */
	SLOT_CARD = 0x10, /* + number of the card */
	SLOT_PEER = 0x18,
	SLOT_SWITCH = 0x1c, /* with everything below it; QEMU cannot plug it in again */
};

/* In good order: the kernel lets the device go, then it is taken away. */
void slot_remove(unsigned int slot);
/*
 * Without a word: for the hardware the device is gone when this returns, and the kernel learns it from the slot
 * afterwards.
 */
void slot_rip_out(unsigned int slot);

/* pciehp has nothing to do: what happened to any slot is dealt with. */
bool slots_are_quiet(void);

#endif
