// SPDX-License-Identifier: Apache-2.0
#include "event.h"

#include <stdio.h>
#include <unistd.h>

#include "card.h"
#include "slot.h"
#include "vm.h"

#define DRIVER "/sys/bus/pci/drivers/gaudi_p2p/"
#define CARDS 8

/* Of a card that was unbound; it has no node that leads to it. */
static char address[CARDS][32];

static void remember(unsigned int card)
{
	card_pci(card, address[card], sizeof(address[card]));
}

/* The kernel has no device any more: the driver's remove has returned. */
static void wait_until_gone(unsigned int card)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", address[card]);
	WAIT_FOR(access(path, F_OK) != 0, 30);
}

static void wait_until_back(unsigned int card)
{
	CHECK_MSG(card_index(card) >= 0, "card %u has no node again", card);
}

static void unbind(unsigned int card)
{
	remember(card);
	CHECK_EQ(vm_write(DRIVER "unbind", address[card]), 0);
}

static void bind_again(unsigned int card)
{
	CHECK_EQ(vm_write(DRIVER "bind", address[card]), 0);
	wait_until_back(card);
}

static void write_attribute(unsigned int card, const char *name)
{
	char path[64];

	remember(card);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", address[card], name);
	CHECK_EQ(vm_write(path, "1"), 0);
}

static void pci_remove(unsigned int card)
{
	write_attribute(card, "remove");
	wait_until_gone(card);
}

static void pci_rescan(unsigned int card)
{
	CHECK_EQ(vm_write("/sys/bus/pci/rescan", "1"), 0);
	wait_until_back(card);
}

static void reset(unsigned int card)
{
	write_attribute(card, "reset");
}

static void pull(unsigned int card)
{
	remember(card);
	host_card_remove(card);
	wait_until_gone(card);
}

static void rip_out(unsigned int card)
{
	remember(card);
	slot_rip_out(SLOT_CARD + card);
	wait_until_gone(card);
}

static void plug(unsigned int card)
{
	/* In the middle of a removal the kernel finds the new card, and takes the button that QEMU presses for it for "off". */
	WAIT_FOR(slots_are_quiet(), 60);
	host_card_add(card);
	WAIT_FOR(card_is_there(card), 60);
}

const struct card_event event_unbind = { unbind, bind_again };
const struct card_event event_remove = { pci_remove, pci_rescan };
const struct card_event event_pull = { pull, plug };
const struct card_event event_rip_out = { rip_out, plug };
const struct card_event event_reset = { reset, NULL };
