// SPDX-License-Identifier: Apache-2.0
/*
 * What the memory holds becomes unknown without a reset that anybody asked for: errors of the PCI bus, suspend.
 *
 * vm-modules: edu_peer pci_poke
 * vm-kernel: CONFIG_PCIEAER CONFIG_PM_SLEEP
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

/* The lease is over for the owner and for every importer, and the next owner finds zero. */
static void check_lease_is_over(struct card_buffer *buffer, uint8_t *memory, int peer)
{
	struct edu_peer_state state;
	uint64_t handle;
	int fd;

	/* The owner's calls fail a moment before his exports are revoked; free is the card only after that. */
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &handle), -ENODEV);
	CHECK_EQ(card_export(buffer->fd, buffer->va, 0, MIB), -ENODEV);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(peer_map(peer), -ENODEV);
	CHECK(raises_sigbus(memory));
	CHECK_MSG(host_is_zero(0, 0, 0), "memory was not scrubbed as a whole");
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "open: %s", strerror(-fd));
	close(fd);
}

static int make_used_buffer(struct card_buffer *buffer, uint8_t **ret_memory)
{
	uint8_t *memory;
	int peer;

	card_buffer_make(buffer, 0, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memcpy(memory, secret, sizeof(secret));
	peer = peer_of(buffer->dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
	*ret_memory = memory;
	return peer;
}

TEST(fatal_bus_error_ends_the_lease_and_scrubs, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	int peer = make_used_buffer(&buffer, &memory);
	uint64_t handle;

	/* Beyond what is allocated: a reset may change any byte. */
	host_plant(0, 32 * MIB, 4096, 0x33);
	host_bus_error(0);
	WAIT_FOR(card_alloc(buffer.fd, 4096, 0, &handle) == -ENODEV, 30);
	check_lease_is_over(&buffer, memory, peer);
}

/* Of pci_poke. */
static void poke(const char *what)
{
	char pci[32], path[64];

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/module/pci_poke/parameters/%s", what);
	CHECK_EQ(vm_write(path, pci), 0);
}

TEST(bus_that_does_not_recover_loses_the_card_until_a_reset, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	int peer = make_used_buffer(&buffer, &memory);
	char reason[128];

	host_plant(0, 32 * MIB, 4096, 0x33);
	poke("fail");
	CHECK(card_state_is(0, "lost"));
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) > 0);
	CHECK_MSG(
		!strcmp(reason, "the PCI bus did not recover from an error: reset or bind the device again"),
		"reason: %s", reason);
	CHECK_EQ(card_open(0, 0), -EIO);
	/* A dead card is not scrubbed. */
	CHECK_EQ(host_peek(0, 32 * MIB), 0x33);
	CHECK_EQ(card_reset(0), 0);
	check_lease_is_over(&buffer, memory, peer);
}

TEST(suspend_ends_the_lease_and_resume_scrubs, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	int peer = make_used_buffer(&buffer, &memory);
	char reason[128];

	host_plant(0, 32 * MIB, 4096, 0x33);
	poke("suspend");
	CHECK(card_state_is(0, "draining"));
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) > 0);
	CHECK_MSG(!strcmp(reason, "the machine is suspended"), "reason: %s", reason);
	CHECK_EQ(card_open(0, O_NONBLOCK), -EBUSY);
	/* Nothing touches the card while it sleeps. */
	CHECK_EQ(host_peek(0, 32 * MIB), 0x33);
	poke("resume");
	check_lease_is_over(&buffer, memory, peer);
}

TEST(card_that_nobody_has_is_scrubbed_after_suspend_too, .driver = EMULATED)
{
	WAIT_FOR(card_state_is(0, "free"), 30);
	poke("suspend");
	host_plant(0, 32 * MIB, 4096, 0x33);
	poke("resume");
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}
