// SPDX-License-Identifier: Apache-2.0
/*
 * Importers that the table of states and events (test_matrix.c) has no row for: many at once, in many pieces, and such as
 * do not keep to the rules.
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
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

/* --- many ------------------------------------------------------------------------ */
TEST(hundred_attachments_let_go_in_one_revoke, .driver = EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	int peer[2], i;

	host_allow_log("DMAR:");
	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < 2; i++) {
		peer[i] = peer_open();
		CHECK_EQ(peer_attach_many(peer[i], buffer.dmabuf,
					  i ? EDU_PEER_PINNED_REVOCABLE : EDU_PEER_DYNAMIC, 0, 100),
			 0);
		CHECK_EQ(peer_map(peer[i]), 0);
		CHECK_EQ(peer_write(peer[i], 0, secret, sizeof(secret)), 0);
	}
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	for (i = 0; i < 2; i++) {
		peer_state(peer[i], &state);
		CHECK_EQ(state.attached, 100);
		CHECK_EQ(state.invalidations, 100);
		CHECK_EQ(state.mapped, 0);
		CHECK_EQ(state.pinned, 0);
		CHECK_EQ(peer_map(peer[i]), -ENODEV);
	}
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
}

TEST(device_waits_for_the_last_of_many_kinds_of_importer, .driver = EMULATED " nonrevocable=hold")
{
	int peer[2 * EDU_PEER_KINDS], told[EDU_PEER_KINDS], i;
	struct edu_peer_state state;
	struct card_buffer buffer;

	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < EDU_PEER_KINDS; i++) {
		peer[i] = peer_of(buffer.dmabuf, (uint32_t)i, 0);
		told[i] = peer_of(buffer.dmabuf, (uint32_t)i, EDU_PEER_NEVER);
	}
	close(buffer.dmabuf);
	close(buffer.fd);
	for (i = 0; i < EDU_PEER_KINDS; i++) {
		peer_state(peer[i], &state);
		CHECK_EQ(state.mapped, i == EDU_PEER_PINNED);
	}
	/* In an order that is not the one they came in. */
	for (i = EDU_PEER_KINDS - 1; i >= 0; i--) {
		vm_sleep(0.05);
		CHECK(card_state_is(0, "draining"));
		peer_unmap(told[i]);
		peer_signal(told[i]);
	}
	CHECK_EQ(peer_unmap(peer[EDU_PEER_PINNED]), 0);
	vm_sleep(0.1);
	CHECK(card_state_is(0, "draining"));
	/* The fence of the one that let go at once is the last. */
	CHECK_EQ(peer_signal(peer[EDU_PEER_FENCE]), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(export_in_hundreds_of_pieces_is_reached_and_taken_back_as_a_whole, .driver = EMULATED, .seconds = 120)
{
	uint64_t size = 16 * MIB, handle, va, at;
	struct edu_peer_state state;
	int fd = card_open(0, 0), dmabuf, peer;
	unsigned long faults;
	char text[64];
	unsigned int i;

	host_allow_log("DMAR:");
	CHECK(fd >= 0);
	CHECK(card_fragment(fd, CARD_PAGE) > 0);
	CHECK_EQ(card_alloc(fd, size, 0, &handle), 0);
	CHECK_EQ(card_map(fd, handle, &va), 0);
	dmabuf = card_export(fd, va, 0, size);
	CHECK_MSG(dmabuf >= 0, "export: %s", strerror(-dmabuf));
	peer = peer_of(dmabuf, EDU_PEER_DYNAMIC, 0);
	peer_state(peer, &state);
	vm_note("%u segments", state.segments);
	CHECK_EQ(state.segments, size / CARD_PAGE);
	for (i = 0; i < 4; i++) {
		at = (size - CARD_PAGE) / 3 / CARD_PAGE * i * CARD_PAGE + i * 512;
		snprintf(text, sizeof(text), "in piece %u of the export", i);
		CHECK_EQ(peer_write(peer, at, text, sizeof(text)), 0);
		CHECK_EQ(host_find(0, text) % (int64_t)CARD_PAGE, i * 512);
	}
	close(fd);
	WAIT_FOR(card_state_is(0, "free"), 60);
	CHECK(host_is_zero(0, 0, 0));
	faults = iommu_faults();
	for (i = 0; i < 4; i++) {
		at = (size - CARD_PAGE) / 3 / CARD_PAGE * i * CARD_PAGE;
		CHECK_EQ(peer_write(peer, at, secret, sizeof(secret)), 0);
	}
	WAIT_FOR(iommu_faults() > faults, 10);
	CHECK(host_is_zero(0, 0, 0));
}

/* --- the CPU's mapping for the kernel ------------------------------------------------ */
TEST(kernel_importer_that_does_not_pin_sees_nothing_after_revoke, .driver = EMULATED)
{
	struct card_buffer buffer, next;
	char back[sizeof(secret)];
	uint8_t *memory;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_KERNEL_UNPINNED, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);

	/* No splat of the core, no memory of the card, and nothing that the device waits for. */
	CHECK_EQ(peer_map(peer), 0);
	card_buffer_make(&next, 0, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, next.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memset(memory, 0x77, MIB);
	CHECK_EQ(peer_read(peer, 0, back, sizeof(back)), 0);
	CHECK_EQ(back[0], 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
	CHECK_EQ(host_find(0, secret), -1);
	close(next.dmabuf);
	close(next.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(peer_unmap(peer), 0);
}

TEST(kernel_mapping_that_two_share_holds_the_device_until_both_let_go, .driver = EMULATED)
{
	struct card_buffer buffer;
	char back[sizeof(secret)];
	int first, second;

	card_buffer_make(&buffer, 0, MIB);
	first = peer_of(buffer.dmabuf, EDU_PEER_KERNEL, EDU_PEER_NEVER);
	second = peer_open();
	CHECK_EQ(peer_attach(second, buffer.dmabuf, EDU_PEER_KERNEL_UNPINNED, 0), 0);
	CHECK_EQ(peer_write(first, 0, secret, sizeof(secret)), 0);
	close(buffer.fd);
	CHECK(card_state_is(0, "draining"));
	/* The core hands out the mapping that is there. */
	CHECK_EQ(peer_map(second), 0);
	CHECK_EQ(peer_unmap(first), 0);
	vm_sleep(0.2);
	CHECK(card_state_is(0, "draining"));
	CHECK_EQ(peer_read(second, 0, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, secret, sizeof(back)), 0);
	CHECK_EQ(peer_unmap(second), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(kernel_importer_reaches_memory_in_pieces, .driver = EMULATED, .seconds = 120)
{
	uint64_t size = MIB, handle, va;
	int fd = card_open(0, 0), dmabuf, peer, r;
	char text[64], back[64];
	unsigned int i;

	CHECK(fd >= 0);
	CHECK(card_fragment(fd, CARD_PAGE) > 0);
	CHECK_EQ(card_alloc(fd, size, 0, &handle), 0);
	CHECK_EQ(card_map(fd, handle, &va), 0);
	dmabuf = card_export(fd, va, 0, size);
	CHECK_MSG(dmabuf >= 0, "export: %s", strerror(-dmabuf));
	peer = peer_open();
	r = peer_attach(peer, dmabuf, EDU_PEER_KERNEL, 0);
	if (r == -EOPNOTSUPP) {
		/* Without CONFIG_VMAP_PFN: importers learn it at attach, not from a failing vmap, which warns. */
		CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_KERNEL_UNPINNED, 0), -EOPNOTSUPP);
		vm_note("this kernel cannot map pieces");
		return;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(peer_map(peer), 0);
	for (i = 0; i < size / CARD_PAGE; i += 5) {
		snprintf(text, sizeof(text), "by the CPU into piece %u", i);
		CHECK_EQ(peer_write(peer, i * CARD_PAGE, text, sizeof(text)), 0);
		CHECK_EQ(host_find(0, text) % (int64_t)CARD_PAGE, 0);
		CHECK_EQ(peer_read(peer, i * CARD_PAGE, back, sizeof(back)), 0);
		CHECK_EQ(strcmp(back, text), 0);
	}
	CHECK_EQ(card_revoke_all(fd), 1);
	CHECK_EQ(peer_read(peer, 0, back, 1), -ENXIO);
}

/* --- an importer that goes ------------------------------------------------------------ */
TEST(device_is_free_when_the_importer_that_held_it_is_unbound, .driver = EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	char pci[32];
	int peer[2];

	peer_pci(pci, sizeof(pci));
	card_buffer_make(&buffer, 0, MIB);
	peer[0] = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	peer[1] = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	close(buffer.fd);
	CHECK(card_state_is(0, "draining"));
	CHECK_EQ(peer_bind(pci, false), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	CHECK_EQ(peer_map(peer[0]), -ENODEV);
	CHECK_EQ(peer_bind(pci, true), 0);
}
