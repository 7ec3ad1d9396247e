// SPDX-License-Identifier: Apache-2.0
/*
 * MEMORY as programs of the Gaudi user library use it: one test per rule and per error. Host memory has a file of its own.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define VIRTUAL "virtual=1 virtual_mb=8"
#define VIRTUAL_SIZE (8 * MIB)
#define PAGE 4096ull
#define MIB (1ull << 20)

struct buffer {
	uint64_t handle;
	uint64_t va;
};

static struct buffer buffer_make(int fd, uint64_t size)
{
	struct buffer buffer;

	CHECK_EQ(hl_alloc(fd, size, 0, 0, &buffer.handle), 0);
	CHECK_EQ(hl_map(fd, buffer.handle, 0, 0, &buffer.va), 0);
	return buffer;
}

static uint64_t allocated(int fd)
{
	struct hl_info_dram_usage usage;

	CHECK_EQ(hl_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	return usage.ctx_dram_mem;
}

/* --- a program's whole life ------------------------------------------------------------------ */
/* As perftest with --use_hl: contiguous memory, the dma-buf closed as soon as it is registered. */
TEST(perftest_lives_its_life_again_and_again, .driver = EMULATED)
{
	struct hl_info_hw_ip_info ip = { 0 };
	uint64_t size = 2 * MIB, handle, va;
	char text[32], back[32];
	int round, fd, dmabuf, peer;

	for (round = 0; round < 8; round++) {
		fd = hl_open_card(0);
		CHECK_EQ(hl_info(fd, HL_INFO_HW_IP_INFO, &ip, sizeof(ip)), 0);
		CHECK(ip.dram_enabled && ip.dram_size >= size);
		CHECK_EQ(hl_alloc(fd, size, 0, HL_MEM_CONTIGUOUS, &handle), 0);
		CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
		CHECK(va >= ip.dram_base_address);
		dmabuf = hl_export(fd, va, 0, size);
		CHECK_MSG(dmabuf >= 0, "export: %s", strerror(-dmabuf));
		peer = peer_of(dmabuf, round % 2 ? EDU_PEER_PINNED_REVOCABLE : EDU_PEER_DYNAMIC, 0);
		CHECK_EQ(close(dmabuf), 0);
		snprintf(text, sizeof(text), "round %d", round);
		CHECK_EQ(peer_write(peer, size - 64, text, sizeof(text)), 0);
		CHECK_EQ(peer_read(peer, size - 64, back, sizeof(back)), 0);
		CHECK(!strcmp(text, back));
		CHECK_EQ(hl_unmap(fd, va), -EINVAL);
		/* ibv_dereg_mr: right after it UNMAP must succeed. */
		CHECK_EQ(peer_unmap(peer), 0);
		CHECK_EQ(peer_detach(peer), 0);
		CHECK_EQ(hl_unmap(fd, va), 0);
		CHECK_EQ(hl_free(fd, handle), 0);
		CHECK_EQ(allocated(fd), 0);
		CHECK_EQ(close(fd), 0);
		close(peer);
	}
}

/* --- ALLOC -------------------------------------------------------------------------------------- */
TEST(alloc_rounds_up_to_the_page, .driver = VIRTUAL)
{
	static const struct {
		uint64_t size, pages;
	} cases[] = { { 1, 1 },
		      { CARD_PAGE - 1, 1 },
		      { CARD_PAGE, 1 },
		      { CARD_PAGE + 1, 2 },
		      { 3 * CARD_PAGE - 1, 3 },
		      { VIRTUAL_SIZE - 1, VIRTUAL_SIZE / CARD_PAGE } };
	int fd = hl_open_card(-1);
	struct buffer buffer;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t size = cases[i].pages * CARD_PAGE;
		int dmabuf;

		buffer = buffer_make(fd, cases[i].size);
		CHECK_EQ(allocated(fd), size);
		/* All of what it was rounded to can be used. */
		CHECK_EQ(hl_export(fd, buffer.va, 0, size + PAGE), -EINVAL);
		dmabuf = hl_export(fd, buffer.va, 0, size);
		CHECK(dmabuf >= 0);
		close(dmabuf);
		CHECK_EQ(hl_unmap(fd, buffer.va), 0);
		CHECK_EQ(hl_free(fd, buffer.handle), 0);
		CHECK_EQ(allocated(fd), 0);
	}
}

TEST(handles_begin_at_one_and_are_small, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), i;
	uint64_t handle;

	for (i = 1; i <= 10; i++) {
		CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
		CHECK_EQ(handle, i);
	}
}

TEST(alloc_of_nothing_is_invalid, .driver = VIRTUAL)
{
	uint64_t handle = 0;
	int fd = hl_open_card(-1);

	CHECK_EQ(hl_alloc(fd, 0, 0, 0, &handle), -EINVAL);
	CHECK_EQ(hl_alloc(fd, 0, CARD_PAGE, HL_MEM_CONTIGUOUS, &handle), -EINVAL);
	CHECK_EQ(handle, 0);
}

TEST(alloc_of_more_than_there_is_has_no_memory, .driver = VIRTUAL)
{
	uint64_t one, handle;
	int fd = hl_open_card(-1);

	CHECK_EQ(hl_alloc(fd, VIRTUAL_SIZE + 1, 0, 0, &handle), -ENOMEM);
	CHECK_EQ(hl_alloc(fd, VIRTUAL_SIZE, 0, 0, &one), 0);
	CHECK_EQ(hl_alloc(fd, 1, 0, 0, &handle), -ENOMEM);
	CHECK_EQ(hl_alloc(fd, 1, 0, HL_MEM_CONTIGUOUS, &handle), -ENOMEM);
	CHECK_EQ(hl_free(fd, one), 0);
	CHECK_EQ(hl_alloc(fd, VIRTUAL_SIZE, 0, HL_MEM_CONTIGUOUS, &one), 0);
}

TEST(alloc_sizes_do_not_overflow, .driver = VIRTUAL)
{
	static const uint64_t sizes[] = {
		UINT64_MAX,	  UINT64_MAX - CARD_PAGE + 1, UINT64_MAX - CARD_PAGE + 2, 1ull << 63,
		(1ull << 63) + 1, (1ull << 32) + CARD_PAGE,   (1ull << 48) + CARD_PAGE,	  (1ull << 44) + 1
	};
	int fd = hl_open_card(-1);
	uint64_t handle;
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		CHECK_EQ(hl_alloc(fd, sizes[i], 0, 0, &handle), -ENOMEM);
		CHECK_EQ(hl_alloc(fd, sizes[i], 0, HL_MEM_CONTIGUOUS, &handle), -ENOMEM);
	}
	CHECK_EQ(allocated(fd), 0);
}

TEST(contiguous_memory_is_one_run_of_the_card, .driver = EMULATED)
{
	uint64_t size = 5 * CARD_PAGE, pieces[16], handle, va;
	int fd = hl_open_card(0), dmabuf, i;
	int64_t first, last;
	uint8_t *p;

	/* Holes of one page first, so that five in a row are not just anywhere. */
	for (i = 0; i < 16; i++)
		CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &pieces[i]), 0);
	for (i = 0; i < 16; i += 2)
		CHECK_EQ(hl_free(fd, pieces[i]), 0);
	CHECK_EQ(hl_alloc(fd, size, 0, HL_MEM_CONTIGUOUS, &handle), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
	dmabuf = hl_export(fd, va, 0, size);
	CHECK(dmabuf >= 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	CHECK(p != MAP_FAILED);
	for (i = 0; i < 5; i++)
		snprintf((char *)p + i * CARD_PAGE, 32, "page %d of five", i);
	first = host_find(0, "page 0 of five");
	CHECK(first >= 0);
	for (i = 1; i < 5; i++) {
		char text[32];

		snprintf(text, sizeof(text), "page %d of five", i);
		last = host_find(0, text);
		CHECK_EQ(last - first, i * CARD_PAGE);
	}
}

/* --- FREE ------------------------------------------------------------------------------------------ */
TEST(free_of_an_unknown_handle_is_invalid, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	uint64_t handle;

	CHECK_EQ(hl_free(fd, 1), -EINVAL);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
	CHECK_EQ(hl_free(fd, 0), -EINVAL);
	CHECK_EQ(hl_free(fd, handle + 1), -EINVAL);
	CHECK_EQ(hl_free(fd, handle | 1ull << 31), -EINVAL);
	CHECK_EQ(hl_free(fd, handle | 1ull << 32), -EINVAL);
	CHECK_EQ(hl_free(fd, handle | 1ull << 63), -EINVAL);
	CHECK_EQ(hl_free(fd, UINT64_MAX), -EINVAL);
	CHECK_EQ(hl_free(fd, handle), 0);
	CHECK_EQ(hl_free(fd, handle), -EINVAL);
}

TEST(free_of_mapped_memory_is_invalid, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);
	uint64_t second;

	CHECK_EQ(hl_map(fd, buffer.handle, 0, 0, &second), 0);
	CHECK_EQ(hl_free(fd, buffer.handle), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
	CHECK_EQ(hl_free(fd, buffer.handle), -EINVAL);
	CHECK_EQ(hl_unmap(fd, second), 0);
	CHECK_EQ(hl_free(fd, buffer.handle), 0);
}

TEST(handles_are_of_one_device_and_of_one_lease, .driver = "virtual=2 virtual_mb=4")
{
	int one, two;
	uint64_t handle = 0, va;

	WAIT_FOR(hl_index(NULL) >= 0, 10);
	one = hl_open_card(-1);
	two = hl_open(hl_index(NULL) + 1);
	CHECK(two >= 0);
	while (handle < 3)
		CHECK_EQ(hl_alloc(one, CARD_PAGE, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(one, 3, 0, 0, &va), 0);
	CHECK_EQ(hl_alloc(two, CARD_PAGE, 0, 0, &handle), 0);
	CHECK_EQ(hl_free(two, 3), -EINVAL);
	CHECK_EQ(hl_map(two, 3, 0, 0, &handle), -EINVAL);
	CHECK_EQ(hl_unmap(two, va), -EINVAL);
	CHECK_EQ(hl_export(two, va, 0, CARD_PAGE), -EINVAL);
	close(one);
	one = hl_open_card(-1);
	CHECK_EQ(hl_free(one, 3), -EINVAL);
	CHECK_EQ(hl_map(one, 3, 0, 0, &handle), -EINVAL);
	CHECK_EQ(hl_unmap(one, va), -EINVAL);
}

/* --- MAP ------------------------------------------------------------------------------------------- */
TEST(handle_can_be_mapped_more_than_once, .driver = EMULATED)
{
	int fd = hl_open_card(0), i, dmabuf, other;
	struct buffer buffer = buffer_make(fd, 4 * CARD_PAGE);
	uint64_t va[8];
	uint8_t *p, *q;

	for (i = 0; i < 8; i++) {
		CHECK_EQ(hl_map(fd, buffer.handle, 0, 0, &va[i]), 0);
		CHECK(va[i] >= buffer.va + 4 * CARD_PAGE || va[i] + 4 * CARD_PAGE <= buffer.va);
	}
	/* It is the same memory behind each. */
	dmabuf = hl_export(fd, va[7], CARD_PAGE, CARD_PAGE);
	other = hl_export(fd, buffer.va, 0, 4 * CARD_PAGE);
	CHECK(dmabuf >= 0 && other >= 0);
	p = mmap(NULL, CARD_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	q = mmap(NULL, 4 * CARD_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	CHECK(p != MAP_FAILED && q != MAP_FAILED);
	p[5] = 0x77;
	CHECK_EQ(q[CARD_PAGE + 5], 0x77);
	/* An export keeps its own mapping, not the others. */
	CHECK_EQ(hl_unmap(fd, va[7]), -EINVAL);
	for (i = 0; i < 7; i++)
		CHECK_EQ(hl_unmap(fd, va[i]), 0);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
}

TEST(map_of_an_unknown_handle_is_invalid, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	uint64_t handle, va;

	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(fd, 0, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map(fd, handle + 1, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map(fd, handle | 1ull << 32, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map(fd, handle | 1ull << 31, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map(fd, UINT64_MAX, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map(fd, handle + 1, 0, HL_MEM_FORCE_HINT, &va), -EINVAL);
}

TEST(map_uses_a_free_aligned_hint_and_forced_hint_fails_if_not, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);
	uint64_t hint = buffer.va + 64 * MIB, va;

	CHECK_EQ(hl_map(fd, buffer.handle, hint, 0, &va), 0);
	CHECK_EQ(va, hint);
	CHECK_EQ(hl_map(fd, buffer.handle, hint, 0, &va), 0);
	CHECK(va != hint);
	CHECK_EQ(hl_map(fd, buffer.handle, hint + PAGE, 0, &va), 0);
	CHECK_EQ(va % CARD_PAGE, 0);
	CHECK_EQ(hl_map(fd, buffer.handle, hint + MIB, HL_MEM_FORCE_HINT, &va), 0);
	CHECK_EQ(va, hint + MIB);
	CHECK_EQ(hl_map(fd, buffer.handle, hint, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, hint + CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, hint - CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, hint + 8 * MIB + PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	/* Below, above and over the end of all addresses. A forced hint of 0 cannot be met. */
	CHECK_EQ(hl_map(fd, buffer.handle, CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, buffer.va - CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, buffer.va + (1ull << 40), HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, buffer.va + (1ull << 40) - CARD_PAGE, HL_MEM_FORCE_HINT, &va),
		 -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, 0 - (uint64_t)CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, buffer.handle, 0, HL_MEM_FORCE_HINT, &va), -ENOMEM);
}

TEST(address_can_be_used_again_after_unmap, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), i;
	struct buffer buffer = buffer_make(fd, MIB);
	uint64_t va;

	for (i = 0; i < 50; i++) {
		CHECK_EQ(hl_unmap(fd, buffer.va), 0);
		CHECK_EQ(hl_map(fd, buffer.handle, buffer.va, HL_MEM_FORCE_HINT, &va), 0);
		CHECK_EQ(va, buffer.va);
	}
}

static void stranger(void *argument)
{
	int fd = *(int *)argument, op;
	union hl_mem_args args;
	uint64_t out;

	CHECK_EQ(hl_map(fd, 1, 0, 0, &out), -EPERM);
	for (op = 0; op < 8; op++) {
		args = (union hl_mem_args){ .in = { .op = op, .alloc = { .mem_size = CARD_PAGE } } };
		CHECK_EQ(hl_memory(fd, &args), -EPERM);
	}
	CHECK_EQ(hl_info(fd, HL_INFO_HW_IDLE, &out, sizeof(out)), -EPERM);
}

TEST(memory_operations_of_a_stranger_are_not_permitted, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);

	buffer_make(fd, MIB);
	vm_child_end(vm_child(true, stranger, &fd));
	CHECK_EQ(allocated(fd), MIB);
}

/* --- UNMAP ------------------------------------------------------------------------------------------ */
TEST(unmap_wants_the_exact_address, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);

	CHECK_EQ(hl_unmap(fd, 0), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va + 1), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va + PAGE), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va + CARD_PAGE), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va + MIB), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va - CARD_PAGE), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va | 1ull << 63), -EINVAL);
	CHECK_EQ(hl_unmap(fd, (uint32_t)buffer.va), -EINVAL);
	CHECK_EQ(hl_unmap(fd, UINT64_MAX), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
}

TEST(unmap_of_exported_memory_is_invalid_until_the_dmabuf_is_closed, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), whole, part, copy;
	struct buffer buffer = buffer_make(fd, MIB);

	whole = hl_export(fd, buffer.va, 0, MIB);
	part = hl_export(fd, buffer.va, PAGE, PAGE);
	copy = dup(whole);
	CHECK(whole >= 0 && part >= 0 && copy >= 0);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
	close(whole);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
	close(part);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
	close(copy);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
	CHECK_EQ(hl_free(fd, buffer.handle), 0);
}

/* --- EXPORT ----------------------------------------------------------------------------------------- */
TEST(export_wants_the_start_of_a_mapping, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);

	CHECK_EQ(hl_export(fd, 0, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va + CARD_PAGE, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va + PAGE, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va + MIB, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va + 1, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, (uint32_t)buffer.va, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.handle, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, -PAGE, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
	CHECK_EQ(hl_export(fd, buffer.va, 0, PAGE), -EINVAL);
}

TEST(export_wants_whole_pages_and_more_than_none, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);

	CHECK_EQ(hl_export(fd, buffer.va, 0, 0), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, PAGE, 0), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 0, 1), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 0, PAGE - 1), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 0, PAGE + 1), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 1, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, PAGE - 1, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, PAGE / 2, PAGE / 2), -EINVAL);
}

TEST(export_stays_inside_its_mapping_without_wrapping_around, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), dmabuf;
	struct buffer buffer = buffer_make(fd, MIB);

	/* More memory right behind it, to be reached by mistake. */
	buffer_make(fd, MIB);
	dmabuf = hl_export(fd, buffer.va, MIB - PAGE, PAGE);
	CHECK(dmabuf >= 0);
	CHECK_EQ(lseek(dmabuf, 0, SEEK_END), PAGE);
	CHECK_EQ(hl_export(fd, buffer.va, 0, MIB + PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, PAGE, MIB), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, MIB, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, MIB - PAGE, 2 * PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, PAGE, -PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, -PAGE, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, -PAGE, 2 * PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 1ull << 63, 1ull << 63), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 1ull << 32, PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, buffer.va, 0, 1ull << 32 | PAGE), -EINVAL);
}

TEST(export_knows_its_flags, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);
	union hl_mem_args args;
	unsigned int bit;

#define EXPORT(how)                                                                              \
	({                                                                                       \
		args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,            \
						    .flags = (how),                              \
						    .export_dmabuf_fd = { .addr = buffer.va,     \
									  .mem_size = MIB } } }; \
		hl_memory(fd, &args);                                                            \
	})
	CHECK_EQ(EXPORT(O_RDWR), 0);
	CHECK_EQ(fcntl(args.out.fd, F_GETFD), 0);
	CHECK_EQ(fcntl(args.out.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	CHECK_EQ(EXPORT(O_RDWR | O_CLOEXEC), 0);
	CHECK_EQ(fcntl(args.out.fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(EXPORT(O_WRONLY), -EINVAL);
	CHECK_EQ(EXPORT(O_ACCMODE), -EINVAL);
	for (bit = 2; bit < 32; bit++)
		if (1u << bit != O_CLOEXEC)
			CHECK_EQ(EXPORT(O_RDWR | 1u << bit), -EINVAL);
#undef EXPORT
}

TEST(export_without_a_free_descriptor_loses_nothing, .driver = VIRTUAL)
{
	struct rlimit limit = { .rlim_cur = 16, .rlim_max = 16 };
	int fd = hl_open_card(-1), last = -1, copy;
	struct buffer buffer = buffer_make(fd, MIB);

	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((copy = dup(0)) >= 0)
		last = copy;
	CHECK_EQ(hl_export(fd, buffer.va, 0, MIB), -EMFILE);
	CHECK_EQ(close(last), 0);
	CHECK_EQ(hl_export(fd, buffer.va, 0, MIB), last);
	CHECK_EQ(hl_unmap(fd, buffer.va), -EINVAL);
	CHECK_EQ(close(last), 0);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
}

TEST(freed_memory_cannot_be_exported_by_its_old_address, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB), next;

	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
	CHECK_EQ(hl_free(fd, buffer.handle), 0);
	CHECK_EQ(hl_export(fd, buffer.va, 0, PAGE), -EINVAL);
	CHECK_EQ(hl_map(fd, buffer.handle, 0, 0, &buffer.va), -EINVAL);
	/* The number may come again: with other memory, which is mapped nowhere. */
	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &next.handle), 0);
	CHECK_EQ(hl_export(fd, buffer.va, 0, PAGE), -EINVAL);
}

/* --- what is common ------------------------------------------------------------------------------------ */
TEST(memory_operations_that_are_not_known_are_invalid, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	union hl_mem_args args;
	uint32_t op;

	for (op = 0; op < 80; op++) {
		if (op <= HL_MEM_OP_UNMAP || op == HL_MEM_OP_EXPORT_DMABUF_FD)
			continue;
		args = (union hl_mem_args){ .in = { .op = op, .alloc = { .mem_size = CARD_PAGE } } };
		CHECK_EQ(hl_memory(fd, &args), -EINVAL);
	}
	args = (union hl_mem_args){ .in = { .op = UINT32_MAX } };
	CHECK_EQ(hl_memory(fd, &args), -EINVAL);
	CHECK_EQ(allocated(fd), 0);
}

TEST(fields_without_a_meaning_and_unknown_flags_are_invalid, .driver = VIRTUAL)
{
	static const struct {
		uint32_t op, flags;
	} known[] = {
		{ HL_MEM_OP_ALLOC, HL_MEM_CONTIGUOUS | HL_MEM_SHARED },
		{ HL_MEM_OP_FREE, 0 },
		{ HL_MEM_OP_MAP, HL_MEM_USERPTR | HL_MEM_FORCE_HINT | HL_MEM_SHARED | HL_MEM_PREFETCH },
		{ HL_MEM_OP_UNMAP, HL_MEM_USERPTR },
	};
	int fd = hl_open_card(-1);
	struct buffer buffer = buffer_make(fd, MIB);
	union hl_mem_args args;
	unsigned int i, bit;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		for (bit = 0; bit < 32; bit++) {
			if (known[i].flags & 1u << bit)
				continue;
			args = (union hl_mem_args){ .in = { .op = known[i].op, .flags = 1u << bit } };
			args.in.alloc.mem_size = known[i].op == HL_MEM_OP_UNMAP ? buffer.va : 1;
			args.in.map_device.handle = known[i].op == HL_MEM_OP_MAP ? buffer.handle : 0;
			CHECK_EQ(hl_memory(fd, &args), -EINVAL);
		}
		args = (union hl_mem_args){
			.in = { .op = known[i].op, .ctx_id = 1, .alloc = { .mem_size = 1 } }
		};
		CHECK_EQ(hl_memory(fd, &args), -EINVAL);
		args = (union hl_mem_args){
			.in = { .op = known[i].op, .num_of_elements = 1, .alloc = { .mem_size = 1 } }
		};
		CHECK_EQ(hl_memory(fd, &args), -EINVAL);
	}
	CHECK_EQ(allocated(fd), MIB);
	CHECK_EQ(hl_unmap(fd, buffer.va), 0);
}

TEST(answer_holds_nothing_but_the_answer, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC, .alloc = { .mem_size = MIB } } };
	unsigned int i;

	CHECK_EQ(hl_memory(fd, &args), 0);
	CHECK_EQ(args.out.handle, 1);
	for (i = sizeof(args.out.handle); i < sizeof(args); i++)
		CHECK_EQ(((uint8_t *)&args)[i], 0);
}
