// SPDX-License-Identifier: Apache-2.0
/*
 * Many cards, many buffers, and memory in small pieces.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define MIB (1ull << 20)
#define MANY 10000
#define CARDS 8

/* --- eight cards ---------------------------------------------------------------------------------- */
struct pod {
	int index; /* of accelN */
	int sock[2];
};

/* A pod with one card: fills all of it with its own number, and finds nothing else there as long as others work too. */
static void pod_run(void *argument)
{
	struct pod *pod = argument;
	uint64_t size, handle, va, i;
	struct hl_info_dram_usage usage;
	int fd = hl_open(pod->index), dmabuf, round;
	uint64_t *p;

	CHECK_MSG(fd >= 0, "accel%d: %s", pod->index, strerror(-fd));
	for (round = 0; round < 3; round++) {
		CHECK_EQ(hl_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
		size = usage.dram_free_mem;
		CHECK_EQ(hl_alloc(fd, size, 0, 0, &handle), 0);
		CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
		dmabuf = hl_export(fd, va, 0, size);
		CHECK(dmabuf >= 0);
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		CHECK(p != MAP_FAILED);
		for (i = 0; i < size / 8; i += 64) {
			CHECK_EQ(p[i], 0);
			p[i] = pod->index + 1;
		}
		for (i = 0; i < size / 8; i += 64)
			CHECK_EQ(p[i], pod->index + 1);
		if (round == 2)
			break;
		munmap(p, size);
		close(dmabuf);
		CHECK_EQ(hl_unmap(fd, va), 0);
		CHECK_EQ(hl_free(fd, handle), 0);
	}
	vm_signal(pod->sock[1]);
	vm_await(pod->sock[1]);
}

static void check_eight_cards(void)
{
	struct pod pods[CARDS];
	pid_t pids[CARDS];
	uint64_t seen = 0;
	int i, first, control;

	WAIT_FOR(hl_index(NULL) >= 0, 10);
	first = hl_index(NULL);
	for (i = 0; i < CARDS; i++) {
		struct hl_info_hw_ip_info ip = { 0 };

		WAIT_FOR((control = hl_open_control(first + i)) >= 0, 10);
		CHECK_EQ(hl_info(control, HL_INFO_HW_IP_INFO, &ip, sizeof(ip)), 0);
		CHECK(ip.module_id < 64 && !(seen & 1ull << ip.module_id));
		seen |= 1ull << ip.module_id;
		close(control);
	}
	for (i = 0; i < CARDS; i++) {
		pods[i].index = first + i;
		vm_pair(pods[i].sock);
		pids[i] = vm_child(true, pod_run, &pods[i]);
	}
	for (i = 0; i < CARDS; i++)
		vm_await(pods[i].sock[0]);
	for (i = 0; i < CARDS; i++)
		CHECK_EQ(hl_open(first + i), -EBUSY);
	/* One goes; its card can be had while the others work on. */
	vm_signal(pods[3].sock[0]);
	vm_child_end(pids[3]);
	i = hl_open(first + 3);
	CHECK(i >= 0);
	CHECK_EQ(hl_open(first + 4), -EBUSY);
	close(i);
	for (i = 0; i < CARDS; i++) {
		if (i == 3)
			continue;
		vm_signal(pods[i].sock[0]);
		vm_child_end(pids[i]);
	}
	for (i = 0; i < CARDS; i++) {
		int fd = hl_open(first + i);

		CHECK(fd >= 0);
		close(fd);
	}
}

TEST(eight_devices_serve_eight_pods_at_once, .driver = "virtual=8 virtual_mb=8")
{
	check_eight_cards();
}

TEST(emulated_cards_and_virtual_devices_serve_together, .driver = "emulated=1 virtual=6 virtual_mb=8")
{
	check_eight_cards();
	WAIT_FOR(card_state_is(0, "free") && card_state_is(1, "free"), 30);
	CHECK(host_is_zero(0, 0, 0) && host_is_zero(1, 0, 0));
}

/* --- ten thousand buffers --------------------------------------------------------------------------- */
struct many {
	uint64_t handle[MANY + 400];
	uint64_t va[MANY];
	int dmabuf[MANY];
};

static int compare(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

/* Median time of ALLOC with @live buffers there, in microseconds; frees what it allocated. */
static double alloc_median(int fd, struct many *many, unsigned int live)
{
	double times[300];
	unsigned int i;

	for (i = 0; i < 300; i++) {
		double start = vm_now();

		CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &many->handle[live + i]), 0);
		times[i] = vm_now() - start;
	}
	for (i = 0; i < 300; i++)
		CHECK_EQ(hl_free(fd, many->handle[live + i]), 0);
	qsort(times, 300, sizeof(times[0]), compare);
	return times[150] * 1e6;
}

static void buffers_make(int fd, struct many *many, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++) {
		CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, i % 2 ? HL_MEM_CONTIGUOUS : 0, &many->handle[i]), 0);
		CHECK_EQ(hl_map(fd, many->handle[i], 0, 0, &many->va[i]), 0);
		many->dmabuf[i] = hl_export(fd, many->va[i], 0, CARD_PAGE);
		CHECK_MSG(many->dmabuf[i] >= 0, "export %u: %s", i, strerror(-many->dmabuf[i]));
	}
}

TEST(ten_thousand_buffers_live_on_one_card, .driver = "virtual=1 virtual_mb=704", .seconds = 180)
{
	struct rlimit limit = { .rlim_cur = MANY + 100, .rlim_max = MANY + 100 };
	struct many *many = calloc(1, sizeof(*many));
	double few, lots, start;
	unsigned int i;
	int fd;

	CHECK(many);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = hl_open_card(-1);
	start = vm_now();
	buffers_make(fd, many, 0, 100);
	few = alloc_median(fd, many, 100);
	buffers_make(fd, many, 100, MANY);
	vm_note("alloc, map, export of %d: %.1f s", MANY, vm_now() - start);
	lots = alloc_median(fd, many, MANY);
	vm_note("ALLOC takes %.1f us beside 100 live buffers, %.1f us beside %d", few, lots, MANY);
	/* Twice is the target, which `make bench` shows; on an emulated machine among others a median jumps. */
	CHECK(lots < 4 * few);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-vram"), MANY * CARD_PAGE);
	CHECK_EQ(hl_fdinfo(fd, "drm-shared-vram"), MANY * CARD_PAGE);

	start = vm_now();
	for (i = 0; i < MANY; i += 2) {
		CHECK_EQ(close(many->dmabuf[i]), 0);
		CHECK_EQ(hl_unmap(fd, many->va[i]), 0);
		CHECK_EQ(hl_free(fd, many->handle[i]), 0);
	}
	vm_note("close, unmap, free of %d: %.1f s", MANY / 2, vm_now() - start);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-vram"), MANY / 2 * CARD_PAGE);
	/* The others end with the lease, at once. */
	start = vm_now();
	CHECK_EQ(close(fd), 0);
	vm_note("close with %d exports: %.2f s", MANY / 2, vm_now() - start);
	fd = hl_open_card(-1);
	CHECK_EQ(hl_alloc(fd, 704 * MIB, 0, HL_MEM_CONTIGUOUS, &many->handle[0]), 0);
}

/* --- small pieces ------------------------------------------------------------------------------------- */
TEST(random_allocation_loses_no_memory, .driver = "virtual=1 virtual_mb=48")
{
	uint64_t handles[128] = { 0 }, handle, size = 48 * MIB, live = 0, sizes[128];
	int fd = hl_open_card(-1), round, r;
	unsigned int i;

	srandom(4711);
	for (round = 0; round < 4000; round++) {
		uint64_t pages = 1 + random() % (random() % 4 ? 8 : 128);

		i = random() % 128;
		if (handles[i]) {
			CHECK_EQ(hl_free(fd, handles[i]), 0);
			live -= sizes[i];
			handles[i] = 0;
			continue;
		}
		r = hl_alloc(fd, pages * CARD_PAGE, 0, random() % 2 ? HL_MEM_CONTIGUOUS : 0, &handles[i]);
		CHECK_MSG(!r || r == -ENOMEM, "alloc: %s", strerror(-r));
		sizes[i] = r ? 0 : pages * CARD_PAGE;
		live += sizes[i];
		/* Without a wish for a run it can only fail because there is not so much. */
		if (r && live + pages * CARD_PAGE <= size)
			CHECK_EQ(hl_alloc(fd, size - live, 0, 0, &handle) ?: hl_free(fd, handle), 0);
	}
	for (i = 0; i < 128; i++)
		if (handles[i])
			CHECK_EQ(hl_free(fd, handles[i]), 0);
	/* 48 MiB are no power of two: the allocator keeps them as two blocks. */
	for (i = 0; i < 4; i++) {
		CHECK_EQ(hl_alloc(fd, size, 0, i % 2 ? HL_MEM_CONTIGUOUS : 0, &handle), 0);
		CHECK_EQ(hl_free(fd, handle), 0);
	}
}

TEST(run_that_lies_across_the_allocators_blocks_is_found, .driver = "emulated=1")
{
	enum { GROUP = 8, LOOK = 32 };
	uint64_t total = host_card_size(0) / CARD_PAGE, handle, va, at[LOOK], of[LOOK];
	int fd = hl_open_card(0), dmabuf;
	unsigned int i, n = 0;
	char text[32];
	char *p;

	for (i = 0; i < total; i++) {
		CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
		if (i < total / 2 || i >= total / 2 + LOOK)
			continue;
		/* Where on the card is this one? */
		CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
		dmabuf = hl_export(fd, va, 0, CARD_PAGE);
		p = mmap(NULL, CARD_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		CHECK(p != MAP_FAILED);
		snprintf(text, sizeof(text), "granule %u.", i);
		memcpy(p, text, strlen(text));
		of[n] = handle;
		at[n++] = host_find(0, text) / CARD_PAGE;
		munmap(p, CARD_PAGE);
		close(dmabuf);
		CHECK_EQ(hl_unmap(fd, va), 0);
	}
	/* Six in a row, that begin one after a multiple of eight: no aligned four of them. */
	for (i = 0, n = 0; i < LOOK; i++) {
		if (at[i] / GROUP == at[LOOK / 2] / GROUP && at[i] % GROUP >= 1 && at[i] % GROUP <= 6) {
			CHECK_EQ(hl_free(fd, of[i]), 0);
			n++;
		}
	}
	CHECK_MSG(n == 6, "of six neighbours %u were found", n);
	CHECK_EQ(hl_alloc(fd, 7 * CARD_PAGE, 0, HL_MEM_CONTIGUOUS, &handle), -ENOMEM);
	CHECK_EQ(hl_alloc(fd, 6 * CARD_PAGE, 0, HL_MEM_CONTIGUOUS, &handle), 0);
	CHECK_EQ(hl_alloc(fd, 1, 0, 0, &handle), -ENOMEM);
}

TEST(freed_memory_is_waited_for_while_it_is_scrubbed, .driver = "emulated=1")
{
	uint64_t size = host_card_size(0), one, two, three;
	int fd = hl_open_card(0), round;

	for (round = 0; round < 20; round++) {
		CHECK_EQ(hl_alloc(fd, size / 2, 0, 0, &one), 0);
		CHECK_EQ(hl_alloc(fd, size / 2, 0, 0, &two), 0);
		CHECK_EQ(hl_alloc(fd, 1, 0, 0, &three), -ENOMEM);
		CHECK_EQ(hl_free(fd, one), 0);
		CHECK_EQ(hl_alloc(fd, size / 2, 0, HL_MEM_CONTIGUOUS, &three), 0);
		CHECK_EQ(hl_free(fd, two), 0);
		CHECK_EQ(hl_free(fd, three), 0);
		CHECK_EQ(hl_alloc(fd, size, 0, HL_MEM_CONTIGUOUS, &one), 0);
		CHECK_EQ(hl_free(fd, one), 0);
	}
}
