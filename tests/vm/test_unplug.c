// SPDX-License-Identifier: Apache-2.0
/*
 * A card that goes: unbound, pulled out of its slot, with files and imports alive.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "event.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define BIND "/sys/bus/pci/drivers/gaudi_p2p/bind"
#define UNBIND "/sys/bus/pci/drivers/gaudi_p2p/unbind"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

/* What every file of a card that is gone must answer. */
static void check_all_gone(struct card_buffer *buffer, uint8_t *memory, int peer)
{
	uint64_t handle;
	int late = peer_open();

	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &handle), -ENODEV);
	CHECK_EQ(card_export(buffer->fd, buffer->va, 0, MIB), -ENODEV);
	CHECK_EQ(card_revoke_all(buffer->fd), -ENODEV);
	CHECK_EQ(peer_map(peer), -ENODEV);
	CHECK_EQ(peer_attach(late, buffer->dmabuf, EDU_PEER_DYNAMIC, 0), -ENODEV);
	CHECK(raises_sigbus(memory));
	CHECK(mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer->dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
}

TEST(unbind_takes_the_card_from_its_owner_and_rebind_scrubs_it, .driver = EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	uint8_t *memory;
	char pci[32];
	int peer, fd;

	card_pci(0, pci, sizeof(pci));
	card_buffer_make(&buffer, 0, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memcpy(memory, secret, sizeof(secret));
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK(host_find(0, secret) >= 0);

	peer_expect_fault();
	CHECK_EQ(vm_write(UNBIND, pci), 0);
	CHECK(!card_is_there(0));
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	check_all_gone(&buffer, memory, peer);
	CHECK_EQ(peer_write(peer, 0, "xxxx", 4), 0);
	CHECK_MSG(host_find(0, secret) >= 0, "a DMA after unbind changed the card's memory");

	/* Whoever drove it meanwhile: nothing is known about its memory. */
	host_plant(0, 32 * MIB, 4096, 0x33);
	CHECK_EQ(vm_write(BIND, pci), 0);
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "open after rebind: %s", strerror(-fd));
	CHECK_MSG(host_is_zero(0, 0, 0), "rebind did not scrub everything");
	check_all_gone(&buffer, memory, peer);
	close(buffer.fd);
	CHECK(card_state_is(0, "owned"));
}

/* --- reset, and memory that cannot be trusted ------------------------------------------- */
/* Writes behind the cards' back until both are lost. */
static void lose_both_cards(void)
{
	double end = vm_now() + 6;
	unsigned int card;

	for (card = 0; card < 2; card++) {
		WAIT_FOR(card_state_is(card, "free"), 30);
		host_disturb(card, 6);
	}
	while (!card_state_is(0, "lost") || !card_state_is(1, "lost")) {
		CHECK_MSG(vm_now() < end, "no scrub noticed that memory changes behind it");
		for (card = 0; card < 2; card++)
			if (!card_state_is(card, "lost"))
				event_reset.happen(card);
		WAIT_FOR((card_state_is(0, "free") || card_state_is(0, "lost")) &&
				 (card_state_is(1, "free") || card_state_is(1, "lost")),
			 60);
	}
	vm_sleep(end > vm_now() ? end - vm_now() + 1 : 1);
}

TEST(card_whose_memory_does_not_stay_zero_is_lost_until_reset_or_bound_again, .driver = EMULATED,
     .seconds = 120)
{
	char reason[128];
	unsigned int card;

	lose_both_cards();
	for (card = 0; card < 2; card++) {
		/* It does not come back by itself now that the disturbance is over. */
		CHECK_EQ(card_open(card, 0), -EIO);
		CHECK(card_attribute(card, "reason", reason, sizeof(reason)) > 0);
		vm_note("reason: %s", reason);
	}
	event_reset.happen(0);
	event_unbind.happen(1);
	event_unbind.undo(1);
	for (card = 0; card < 2; card++) {
		WAIT_FOR(card_state_is(card, "free"), 60);
		CHECK(host_is_zero(card, 0, 0));
	}
}
