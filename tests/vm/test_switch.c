// SPDX-License-Identifier: Apache-2.0
/*
 * Cards and peer below one switch: peer-to-peer without the root, and all of them gone at once.
 *
 * vm-modules: edu_peer
 * vm-topology: switch
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "slot.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

TEST(peer_below_the_same_switch_reaches_the_card, .driver = EMULATED)
{
	struct card_buffer buffer;
	char back[sizeof(secret)] = "";
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
	CHECK_EQ(peer_read(peer, 4096, back, sizeof(back)), 0);
	CHECK(!memcmp(back, secret, sizeof(secret)));
}

/* The kernel tells the peer, then the cards, then the NICs; for the hardware all were gone before. */
TEST(switch_ripped_out_takes_card_and_peer_together, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint64_t handle;
	uint8_t *memory;

	card_buffer_make(&buffer, 0, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memcpy(memory, secret, sizeof(secret));
	slot_rip_out(SLOT_SWITCH);
	WAIT_FOR(!card_is_there(0) && !card_is_there(1), 60);
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &handle), -ENODEV);
	CHECK(raises_sigbus(memory));
}
