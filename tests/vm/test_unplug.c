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

TEST(unbind_does_not_wait_for_an_importer_and_rebind_does,
     .driver = EMULATED " nonrevocable=hold open_wait_s=1")
{
	struct card_buffer buffer;
	char pci[32], back[sizeof(secret)];
	double start;
	int peer;

	card_pci(0, pci, sizeof(pci));
	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	start = vm_now();
	CHECK_EQ(vm_write(UNBIND, pci), 0);
	CHECK_MSG(vm_now() - start < 5, "unbind waited %.1f s for an importer", vm_now() - start);
	CHECK_EQ(vm_write(BIND, pci), 0);
	/* The old importer still reaches the memory, so nobody may get it. */
	vm_sleep(1);
	CHECK(!card_state_is(0, "free"));
	CHECK_EQ(card_open(0, 0), -EBUSY);
	CHECK_EQ(peer_read(peer, 0, back, sizeof(back)), 0);
	close(peer);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(pulled_card_leaves_no_hold_and_comes_back_clean, .driver = EMULATED, .seconds = 120)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	uint8_t *memory;
	int peer, fd;

	card_buffer_make(&buffer, 1, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memcpy(memory, secret, sizeof(secret));
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);

	host_card_remove(1);
	WAIT_FOR(!card_is_there(1), 30);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	check_all_gone(&buffer, memory, peer);
	CHECK_MSG(host_find(1, secret) >= 0, "the witness is gone too");
	/* The other card does not care. */
	fd = card_open(0, 0);
	CHECK(fd >= 0);
	close(fd);

	host_card_add(1);
	WAIT_FOR(card_is_there(1), 60);
	fd = card_open(1, 0);
	CHECK_MSG(fd >= 0, "open after plugging in again: %s", strerror(-fd));
	CHECK(host_is_zero(1, 0, 0));
	close(buffer.fd);
	close(buffer.dmabuf);
	close(peer);
	CHECK(card_state_is(1, "owned"));
}

TEST(card_pulled_while_it_scrubs_does_no_harm, .driver = EMULATED, .seconds = 120)
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 1, 60 * MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	close(buffer.dmabuf);
	close(buffer.fd);
	host_card_remove(1);
	WAIT_FOR(!card_is_there(1), 30);
	close(peer);
	host_card_add(1);
	WAIT_FOR(card_is_there(1), 60);
	WAIT_FOR(card_state_is(1, "free"), 30);
	CHECK(host_is_zero(1, 0, 0));
}

/* --- reset, and memory that cannot be trusted ------------------------------------------- */
TEST(reset_ends_the_lease_and_scrubs, .driver = EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	char pci[32], path[64];
	uint64_t handle;
	int peer, fd;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	CHECK_EQ(vm_write(path, "1"), 0);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &handle), -ENODEV);
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "open after reset: %s", strerror(-fd));
	CHECK(host_is_zero(0, 0, 0));
}

TEST(card_whose_memory_does_not_stay_zero_is_lost_until_bound_again, .driver = EMULATED, .seconds = 120)
{
	char pci[32], reason[128];
	double end;

	card_pci(0, pci, sizeof(pci));
	WAIT_FOR(card_state_is(0, "free"), 30);
	host_disturb(0, 5);
	end = vm_now() + 5;
	while (vm_now() < end && !card_state_is(0, "lost")) {
		CHECK_EQ(vm_write(UNBIND, pci), 0);
		CHECK_EQ(vm_write(BIND, pci), 0);
		WAIT_FOR(card_state_is(0, "free") || card_state_is(0, "lost"), 60);
	}
	CHECK_MSG(card_state_is(0, "lost"), "no scrub noticed that memory changes behind it");
	CHECK_EQ(card_open(0, 0), -EIO);
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) > 0);
	vm_note("reason: %s", reason);
	/* It does not come back by itself when the disturbance is over. */
	vm_sleep(end > vm_now() ? end - vm_now() + 1 : 1);
	CHECK_EQ(card_open(0, 0), -EIO);

	CHECK_EQ(vm_write(UNBIND, pci), 0);
	CHECK_EQ(vm_write(BIND, pci), 0);
	WAIT_FOR(card_state_is(0, "free"), 60);
	CHECK(host_is_zero(0, 0, 0));
}
