// SPDX-License-Identifier: Apache-2.0
/*
 * The machine is reset while a card is in use. Its memory keeps what is in it; what was known of it is gone.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

/* Leaves the secret all over a card, with a mapping and an importer alive. */
static void use(unsigned int card, uint32_t kind)
{
	struct card_buffer buffer;
	uint8_t *memory;
	unsigned int i;
	int peer;

	card_buffer_make(&buffer, card, 48 * MIB);
	memory = mmap(NULL, buffer.size, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	for (i = 0; i < 48; i++)
		memcpy(memory + i * MIB, secret, sizeof(secret));
	peer = peer_of(buffer.dmabuf, kind, 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
	CHECK(host_find(card, secret) >= 0);
}

/* The first who opens in the next kernel finds nothing. */
static void check_first_open(unsigned int card)
{
	struct card_buffer buffer;
	uint8_t *memory;
	unsigned int i;

	buffer.fd = card_open(card, 0);
	CHECK_MSG(buffer.fd >= 0, "open: %s", strerror(-buffer.fd));
	CHECK_MSG(host_is_zero(card, 0, 0), "a card was handed out with the former kernel's bytes in it");
	CHECK_EQ(card_alloc(buffer.fd, 48 * MIB, 0, &buffer.handle), 0);
	CHECK_EQ(card_map(buffer.fd, buffer.handle, &buffer.va), 0);
	buffer.dmabuf = card_export(buffer.fd, buffer.va, 0, 48 * MIB);
	memory = mmap(NULL, 48 * MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	for (i = 0; i < 48 * MIB; i += 4096)
		CHECK_EQ(memory[i], 0);
}

TEST(warm_reboot_shows_the_next_owner_zero, .driver = EMULATED " nonrevocable=hold", .seconds = 120)
{
	if (!vm_resets()) {
		use(0, EDU_PEER_DYNAMIC);
		use(1, EDU_PEER_PINNED);
		host_reset();
	}
	check_first_open(0);
	check_first_open(1);
}
