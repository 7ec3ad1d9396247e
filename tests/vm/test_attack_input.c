// SPDX-License-Identifier: Apache-2.0
/*
 * Calls that nobody meant to be made: DRM's own ioctls on a node without display and without GEM, sizes that wrap around.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "test_attack_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ul << 20)

static int call(int fd, unsigned long number, void *argument)
{
	return ioctl(fd, number, argument) ? -errno : 0;
}

/* GET_UNIQUE and GET_MAGIC are NULL dereferences on an accel node that lets them through (seen in Linux 7.3). */
TEST(ioctls_of_displays_and_gem_are_refused, .driver = EMULATED)
{
	int fd = card_open(0, 0), nr;
	struct drm_version version = { 0 };
	struct drm_get_cap cap = { .capability = DRM_CAP_PRIME };

	CHECK(fd >= 0);
	for (nr = 0; nr < 256; nr++) {
		char argument[256] = { 0 };

		if (nr == _IOC_NR(DRM_IOCTL_VERSION) || nr == _IOC_NR(DRM_IOCTL_GET_CAP) ||
		    (nr >= DRM_COMMAND_BASE && nr < DRM_COMMAND_END))
			continue;
		/* DRM knows its ioctls by number; the size may be any. */
		CHECK_MSG(call(fd, DRM_IOWR(nr, char[64]), argument) == -EINVAL, "ioctl %#x is not refused",
			  nr);
		CHECK_MSG(call(fd, DRM_IO(nr), NULL) == -EINVAL, "ioctl %#x is not refused", nr);
	}
	CHECK_EQ(call(fd, DRM_IOCTL_VERSION, &version), 0);
	CHECK_EQ(version.version_major, 1);
	CHECK_EQ(call(fd, DRM_IOCTL_GET_CAP, &cap), 0);
}

/* Numbers of our own range without a function, functions with another size or direction. */
TEST(ioctls_that_do_not_exist_are_refused, .driver = EMULATED)
{
	int fd = card_open(0, 0), nr;
	char argument[512];

	CHECK(fd >= 0);
	for (nr = DRM_COMMAND_BASE; nr < DRM_COMMAND_END; nr++) {
		memset(argument, 0xff, sizeof(argument));
		CHECK(call(fd, DRM_IOWR(nr, char[512]), argument) < 0);
		CHECK(call(fd, DRM_IO(nr), argument) < 0);
		CHECK(call(fd, DRM_IOWR(nr, char[64]), (void *)8) < 0);
	}
	CHECK_EQ(call(fd, _IOWR('G', 0x41, union hl_mem_args), argument), -ENOTTY);
	CHECK_EQ(call(fd, _IO('T', 1), argument), -ENOTTY);
	/* A short structure is a long one with zeros behind it: here, an allocation of no bytes. */
	memset(argument, 0, sizeof(argument));
	CHECK_EQ(call(fd, DRM_IOWR(_IOC_NR(DRM_IOCTL_HL_MEMORY), char[8]), argument), -EINVAL);
}

/* --- sizes, addresses and handles that wrap around ------------------------------------ */
static const uint64_t nasty[] = {
	0,
	1,
	4095,
	4096,
	4097,
	65535,
	65536,
	65537,
	MIB - 4096,
	MIB,
	MIB + 4096,
	1ull << 31,
	(1ull << 31) - 1,
	1ull << 32,
	(1ull << 32) + 1,
	(1ull << 32) - 4096,
	(1ull << 44) - 65536,
	1ull << 44,
	(1ull << 44) + 4096,
	(1ull << 44) + MIB,
	1ull << 63,
	(1ull << 63) - 4096,
	(1ull << 63) + 4096,
	0 - MIB,
	0 - 65536ull,
	0 - 8192ull,
	0 - 4096ull,
	0 - 4095ull,
	UINT64_MAX,
};
#define NASTY (sizeof(nasty) / sizeof(nasty[0]))

/* Every address x offset x size; what is given is inside what was mapped. */
TEST(export_gives_no_byte_outside_the_mapping, .driver = EMULATED)
{
	unsigned int i, j, k, given = 0;
	struct card_buffer buffer;

	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < NASTY; i++) {
		for (j = 0; j < NASTY; j++) {
			for (k = 0; k < NASTY; k++) {
				int fd = card_export(buffer.fd, nasty[i], nasty[j], nasty[k]);

				if (fd < 0) {
					CHECK_EQ(fd, -EINVAL);
					continue;
				}
				CHECK_EQ(nasty[i], buffer.va);
				CHECK(nasty[j] < MIB && nasty[k] && nasty[k] <= MIB - nasty[j]);
				CHECK_EQ(lseek(fd, 0, SEEK_END), nasty[k]);
				close(fd);
				given++;
			}
		}
	}
	CHECK(given > 0);
}

TEST(allocations_and_mappings_with_wild_numbers_cost_nothing, .driver = EMULATED)
{
	uint64_t size = host_card_size(0), handle, va;
	int fd = card_open(0, 0);
	unsigned int i, j;

	CHECK(fd >= 0);
	CHECK_EQ(card_alloc(fd, MIB, 0, &handle), 0);
	for (i = 0; i < NASTY; i++) {
		union hl_mem_args args;
		int r;

		for (j = 0; j < NASTY; j++) {
			/* Wanted address, without and with force. */
			args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP,
							    .flags = i % 2 ? HL_MEM_FORCE_HINT : 0,
							    .map_device = { .hint_addr = nasty[j],
									    .handle = nasty[i] } } };
			r = call(fd, DRM_IOCTL_HL_MEMORY, &args);
			if (nasty[i] != handle)
				CHECK_EQ(r, -EINVAL);
			else if (!r)
				CHECK_EQ(card_unmap(fd, args.out.device_virt_addr), 0);
			else
				CHECK_EQ(r, -ENOMEM);
			args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_ALLOC,
							    .alloc = { .mem_size = nasty[i],
								       .page_size = nasty[j] } } };
			r = call(fd, DRM_IOCTL_HL_MEMORY, &args);
			if (!r)
				CHECK_EQ(card_free(fd, args.out.handle), 0);
			else
				CHECK(r == -EINVAL || r == -ENOMEM);
		}
		CHECK_EQ(card_unmap(fd, nasty[i]), -EINVAL);
		if (nasty[i] != handle)
			CHECK_EQ(card_free(fd, nasty[i]), -EINVAL);
	}
	CHECK_EQ(card_map(fd, handle, &va), 0);
	CHECK_EQ(card_unmap(fd, va), 0);
	CHECK_EQ(card_free(fd, handle), 0);
	/* Every byte is there again. */
	CHECK_EQ(card_alloc(fd, size, 0, &handle), 0);
}

TEST(answers_do_not_reach_beyond_what_the_caller_gave, .driver = EMULATED)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = card_open(0, 0), control = card_open_control(0), op;
	unsigned int size;

	CHECK(fd >= 0 && control >= 0 && page != MAP_FAILED);
	CHECK_EQ(munmap(page + 4096, 4096), 0);
	for (op = 0; op < 64; op++) {
		for (size = 1; size <= 256; size <<= 1) {
			int r;

			memset(page, 0xee, 4096);
			r = card_info(op % 2 ? fd : control, op, page + 4096 - size, size);
			CHECK(r == 0 || r == -EINVAL);
			CHECK_EQ(page[4095 - size], 0xee);
		}
		/* Where nothing is mapped, where the kernel is. */
		CHECK(card_info(fd, op, page + 4096, 64) < 0);
		CHECK(card_info(fd, op, (void *)0xffff888000000000ull, 64) < 0);
		CHECK(card_info(fd, op, (void *)(0 - 8ull), UINT32_MAX) < 0);
	}
}
