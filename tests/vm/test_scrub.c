// SPDX-License-Identifier: Apache-2.0
/*
 * The scrub: what it costs, that a scrub which does not stick leads to "lost" wherever in the card that is, and that it
 * does not keep a card from going.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define BIND "/sys/bus/pci/drivers/gaudi_p2p/bind"
#define UNBIND "/sys/bus/pci/drivers/gaudi_p2p/unbind"
#define PCI_COMMAND 4
#define PCI_COMMAND_MEMORY 2
#define LOST "memory cannot be proven to be zero"
#define MIB (1ull << 20)

struct statistics {
	uint64_t bytes, ns, count, failures;
};

static uint64_t number(const char *name)
{
	char text[32];

	CHECK(card_attribute(0, name, text, sizeof(text)) > 0);
	return strtoull(text, NULL, 10);
}

static struct statistics statistics(void)
{
	return (struct statistics){ .bytes = number("scrubbed_bytes"),
				    .ns = number("scrub_time_ns"),
				    .count = number("scrub_count"),
				    .failures = number("scrub_failures") };
}

static void reset(void)
{
	char pci[32], path[64];

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	CHECK_EQ(vm_write(path, "1"), 0);
}

/* --- cost -------------------------------------------------------------------------------------- */
TEST(only_what_was_handed_out_is_scrubbed, .driver = EMULATED)
{
	struct statistics before, after;
	uint64_t handle[3];
	double start;
	int fd;

	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("scrubbed_bytes"), host_card_size(0));
	CHECK_EQ(number("scrub_count"), 1);
	CHECK_EQ(number("dirty_bytes"), 0);

	/* A lease without memory costs nothing. */
	before = statistics();
	fd = hl_open_card(0);
	close(fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	after = statistics();
	CHECK_EQ(after.bytes - before.bytes, 0);
	CHECK_EQ(after.ns - before.ns, 0);

	start = vm_now();
	fd = hl_open_card(0);
	CHECK_EQ(hl_alloc(fd, 2 * MIB, 0, 0, &handle[0]), 0);
	CHECK_EQ(hl_alloc(fd, 1, 0, 0, &handle[1]), 0);
	CHECK_EQ(hl_alloc(fd, 7 * CARD_PAGE, 0, HL_MEM_CONTIGUOUS, &handle[2]), 0);
	CHECK_EQ(hl_free(fd, handle[1]), 0);
	WAIT_FOR(number("dirty_bytes") == 0, 10);
	CHECK_EQ(number("scrubbed_bytes") - before.bytes, CARD_PAGE);
	close(fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	after = statistics();
	CHECK_EQ(after.bytes - before.bytes, 2 * MIB + 8 * CARD_PAGE);
	CHECK_EQ(after.count - before.count, 2);
	CHECK_EQ(after.failures, 0);
	CHECK(after.ns > before.ns && after.ns - before.ns < (vm_now() - start) * 1e9);
}

TEST(bind_and_reset_scrub_everything, .driver = EMULATED)
{
	uint64_t size = host_card_size(0), before;
	char pci[32];

	WAIT_FOR(card_state_is(0, "free"), 30);
	before = number("scrubbed_bytes");
	host_plant(0, 0, 0, 0x77);
	reset();
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("scrubbed_bytes") - before, size);
	CHECK(host_is_zero(0, 0, 0));

	/* A new binding counts anew. */
	host_plant(0, 0, 0, 0x77);
	card_pci(0, pci, sizeof(pci));
	CHECK_EQ(vm_write(UNBIND, pci), 0);
	CHECK_EQ(vm_write(BIND, pci), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("scrubbed_bytes"), size);
	CHECK_EQ(number("scrub_count"), 1);
	CHECK(host_is_zero(0, 0, 0));
}

/* Speed is for `make bench` to show; this one sees it when proving costs as much as filling does. */
TEST(scrub_is_about_as_fast_as_a_fill, .driver = EMULATED)
{
	uint64_t size = host_card_size(0), handle, va, ns, fill_ns = UINT64_MAX, scrub_ns = UINT64_MAX;
	int fd = hl_open_card(0), dmabuf, i;
	volatile uint64_t *p;
	double start;

	for (i = 0; i < 8; i++) {
		CHECK_EQ(hl_alloc(fd, size, 0, HL_MEM_CONTIGUOUS, &handle), 0);
		CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
		dmabuf = hl_export(fd, va, 0, size);
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		CHECK(p != MAP_FAILED);
		for (uint64_t j = 0; j < size / 8; j += 512)
			p[j] = 1;
		start = vm_now();
		for (uint64_t j = 0; j < size / 8; j += 8) {
			p[j] = p[j + 1] = p[j + 2] = p[j + 3] = 0;
			p[j + 4] = p[j + 5] = p[j + 6] = p[j + 7] = 0;
		}
		ns = (vm_now() - start) * 1e9;
		fill_ns = ns < fill_ns ? ns : fill_ns;
		munmap((void *)p, size);
		close(dmabuf);
		CHECK_EQ(hl_unmap(fd, va), 0);
		ns = number("scrub_time_ns");
		CHECK_EQ(hl_free(fd, handle), 0);
		WAIT_FOR(number("dirty_bytes") == 0, 30);
		ns = number("scrub_time_ns") - ns;
		scrub_ns = ns < scrub_ns ? ns : scrub_ns;
	}
	vm_note("fill %.0f MB/s, scrub %.0f MB/s: %.0f %%", size * 1e3 / fill_ns, size * 1e3 / scrub_ns,
		100.0 * fill_ns / scrub_ns);
	/* A kernel whose code is instrumented takes twice as long as a program. */
	CHECK_MSG(scrub_ns < 4 * fill_ns, "the scrub takes %.1f times as long as a fill",
		  (double)scrub_ns / fill_ns);
}

/* --- lost --------------------------------------------------------------------------------------- */
/*
 * Somebody writes into a part of the card while all of it is allocated and freed, until a scrub notices. Returns when
 * nobody writes any more; the lease is over then.
 */
static void disturb_until_lost(int fd, uint64_t offset, uint64_t size, uint8_t value)
{
	uint64_t handle, all = host_card_size(0);
	double end = 0;
	int r = 0, i;

	host_expect_log(LOST);
	for (i = 0; i < 20 && !r; i++) {
		host_disturb_range(0, 1, offset, size, value);
		end = vm_now() + 1.2;
		while (!r && vm_now() < end)
			r = hl_alloc(fd, all, 0, 0, &handle) ?: hl_free(fd, handle);
	}
	CHECK_MSG(r, "no scrub noticed it");
	CHECK_EQ(r, -ENODEV);
	WAIT_FOR(card_state_is(0, "lost"), 5);
	WAIT_FOR(vm_now() > end, 5);
}

static void check_lost_until_reset(uint64_t failures, uint64_t dirty)
{
	char reason[128];

	CHECK(number("scrub_failures") > failures);
	CHECK_EQ(number("dirty_bytes"), dirty);
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) > 0);
	CHECK_EQ(hl_open(card_index(0)), -EIO);
	/* Time does not heal it. */
	vm_sleep(0.3);
	CHECK_EQ(hl_open(card_index(0)), -EIO);
	CHECK(card_state_is(0, "lost"));
}

static void disturbed_page_loses_the_card(uint64_t offset, uint8_t value)
{
	int fd = hl_open_card(0);

	disturb_until_lost(fd, offset, 4096, value);
	check_lost_until_reset(0, host_card_size(0));
	close(fd);
	reset();
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	fd = hl_open_card(0);
	close(fd);
}

TEST(disturbed_first_page_loses_the_card, .driver = EMULATED)
{
	disturbed_page_loses_the_card(0, 0x55);
}

TEST(disturbed_middle_page_loses_the_card, .driver = EMULATED)
{
	disturbed_page_loses_the_card(host_card_size(0) / 2 + 4096, 1);
}

TEST(disturbed_last_page_loses_the_card, .driver = EMULATED)
{
	disturbed_page_loses_the_card(host_card_size(0) - 4096, 0xff);
}

TEST(lost_card_is_found_again_by_binding_it, .driver = EMULATED)
{
	int fd = hl_open_card(0);
	char pci[32];

	card_pci(0, pci, sizeof(pci));
	disturb_until_lost(fd, 0, 0, 0xff);
	check_lost_until_reset(0, host_card_size(0));
	CHECK_EQ(vm_write(UNBIND, pci), 0);
	CHECK_EQ(vm_write(BIND, pci), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("scrub_failures"), 0);
	CHECK(host_is_zero(0, 0, 0));
	CHECK(hl_open_card(0) >= 0);
}

static void card_memory(bool on)
{
	char pci[32], path[64];
	uint16_t command;
	int config;

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", pci);
	config = open(path, O_RDWR | O_CLOEXEC);
	CHECK(config >= 0);
	CHECK_EQ(pread(config, &command, 2, PCI_COMMAND), 2);
	command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
	CHECK_EQ(pwrite(config, &command, 2, PCI_COMMAND), 2);
	close(config);
}

TEST(card_whose_memory_is_switched_off_is_lost, .driver = EMULATED)
{
	int fd = hl_open_card(0);
	uint64_t handle;

	host_expect_log(LOST);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
	host_plant(0, 0, 0, 0x5a);
	card_memory(false);
	CHECK_EQ(close(fd), 0);
	WAIT_FOR(card_state_is(0, "lost"), 30);
	check_lost_until_reset(0, CARD_PAGE);
	CHECK_EQ(host_peek(0, 0), 0x5a);

	/* A reset that leaves it switched off does not help. */
	reset();
	WAIT_FOR(card_state_is(0, "lost"), 30);
	check_lost_until_reset(1, host_card_size(0));
	card_memory(true);
	CHECK_EQ(hl_open(card_index(0)), -EIO);
	reset();
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(owner_of_a_card_that_is_switched_off_learns_it_at_the_next_free, .driver = EMULATED)
{
	int fd = hl_open_card(0);
	uint64_t handle, other;

	host_expect_log(LOST);
	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &handle), 0);
	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &other), 0);
	card_memory(false);
	CHECK_EQ(hl_free(fd, handle), 0);
	/* Waits for the scrub that fails. */
	CHECK_EQ(hl_alloc(fd, host_card_size(0) - MIB, 0, 0, &handle), -ENODEV);
	CHECK_EQ(hl_free(fd, other), -ENODEV);
	WAIT_FOR(card_state_is(0, "lost"), 10);
	card_memory(true);
	reset();
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

/* --- it can be interrupted ------------------------------------------------------------------------ */
TEST(unbind_in_the_middle_of_a_scrub_does_not_wait_for_its_end, .driver = EMULATED)
{
	uint64_t size = host_card_size(0);
	int round, hits = 0;
	char pci[32], text[32];

	card_pci(0, pci, sizeof(pci));
	for (round = 0; round < 40 && hits < 3; round++) {
		host_plant(0, size - 4096, 4096, 0x44);
		CHECK_EQ(vm_write(UNBIND, pci), 0);
		CHECK_EQ(vm_write(BIND, pci), 0);
		if (card_attribute(0, "scrubbed_bytes", text, sizeof(text)) < 0)
			continue;
		CHECK_EQ(vm_write(UNBIND, pci), 0);
		/* What was scrubbed before the driver let go; the end of the card was not reached. */
		hits += strtoull(text, NULL, 10) < size && host_peek(0, size - 1) == 0x44;
		CHECK_EQ(vm_write(BIND, pci), 0);
		WAIT_FOR(card_state_is(0, "free"), 30);
		CHECK_MSG(host_is_zero(0, 0, 0), "a scrub that was cut off left something to the next owner");
	}
	vm_note("%d of %d were cut off in the middle", hits, round);
	CHECK(hits > 0);
}

TEST(card_pulled_during_a_scrub_is_scrubbed_when_it_comes_back, .driver = EMULATED)
{
	uint64_t handle;
	int round, fd;

	for (round = 0; round < 3; round++) {
		fd = hl_open_card(0);
		CHECK_EQ(hl_alloc(fd, host_card_size(0), 0, 0, &handle), 0);
		host_plant(0, 0, 0, 0x44);
		CHECK_EQ(hl_free(fd, handle), 0);
		host_card_remove(0);
		CHECK_EQ(hl_alloc(fd, 1, 0, 0, &handle), -ENODEV);
		close(fd);
		host_plant(0, 0, 0, 0x44);
		host_card_add(0);
		WAIT_FOR(card_state_is(0, "free"), 30);
		CHECK(host_is_zero(0, 0, 0));
	}
}

TEST(reset_in_the_middle_of_a_scrub_begins_it_anew, .driver = EMULATED)
{
	uint64_t handle;
	int round, fd;

	for (round = 0; round < 5; round++) {
		fd = hl_open_card(0);
		CHECK_EQ(hl_alloc(fd, host_card_size(0), 0, 0, &handle), 0);
		host_plant(0, 0, 0, 0x44);
		close(fd);
		reset();
		WAIT_FOR(card_state_is(0, "free"), 30);
		CHECK(host_is_zero(0, 0, 0));
		CHECK_EQ(number("dirty_bytes"), 0);
	}
	CHECK_EQ(number("scrub_failures"), 0);
}
