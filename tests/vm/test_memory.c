// SPDX-License-Identifier: Apache-2.0
/*
 * Memory: zero when handed out, whatever it was before; allocation, mapping and export as
 * programs know them from habanalabs_accel.h, and what they must not do with it.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ull << 20)

static const char secret[] = "the owner's secret";

static int mem_ioctl(int fd, union hl_mem_args *args)
{
	return ioctl(fd, DRM_IOCTL_HL_MEMORY, args) ? -errno : 0;
}

/* --- zero ----------------------------------------------------------------------- */
TEST(pattern_from_before_the_driver_is_gone_at_first_open)
{
	int fd;

	host_plant(0, 0, 0, 0xa5);
	CHECK_EQ(host_peek(0, 12345), 0xa5);
	CHECK_EQ(vm_insmod("gaudi_p2p", "emulated=1"), 0);
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "open: %s", strerror(-fd));
	CHECK_MSG(host_is_zero(0, 0, 0), "open returned before the card was zero");
	close(fd);
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 20);
}

TEST(memory_is_zero_when_the_next_open_returns, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer, fd, i;

	for (i = 0; i < 3; i++) {
		card_buffer_make(&buffer, 0, 16 * MIB);
		peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
		CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
		CHECK_EQ(peer_write(peer, 16 * MIB - 64, secret, sizeof(secret)), 0);
		CHECK(host_find(0, secret) >= 0);
		close(peer);
		close(buffer.dmabuf);
		close(buffer.fd);
		fd = card_open(0, 0);
		CHECK(fd >= 0);
		CHECK_MSG(host_is_zero(0, 0, 0), "open returned before the old owner's memory was zero");
		close(fd);
	}
}

TEST(freed_memory_comes_back_zero_to_the_same_owner, .driver = EMULATED)
{
	uint64_t size = host_card_size(0), handle, va;
	struct card_buffer buffer;
	int peer, fd;

	/* All of it, so that the second allocation must get the first one's memory. */
	card_buffer_make(&buffer, 0, size);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 5 * MIB, secret, sizeof(secret)), 0);
	close(peer);
	close(buffer.dmabuf);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), 0);
	CHECK_EQ(card_alloc(buffer.fd, size, 0, &handle), 0);
	CHECK_MSG(host_is_zero(0, 0, 0), "allocated memory is not zero");
	CHECK_EQ(card_map(buffer.fd, handle, &va), 0);
	fd = card_export(buffer.fd, va, 0, size);
	CHECK(fd >= 0);
}

TEST(only_what_was_used_is_scrubbed, .driver = EMULATED)
{
	struct card_buffer buffer;
	char before[32], after[32];

	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(card_attribute(0, "scrubbed_bytes", before, sizeof(before)) > 0);
	card_buffer_make(&buffer, 0, 2 * MIB);
	close(buffer.dmabuf);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(card_attribute(0, "scrubbed_bytes", after, sizeof(after)) > 0);
	CHECK_EQ(strtoull(after, NULL, 10) - strtoull(before, NULL, 10), 2 * MIB);
}

/* --- ALLOC, MAP, EXPORT as programs use them --------------------------------------- */
TEST(a_whole_life_as_perftest_lives_it, .driver = EMULATED)
{
	struct hl_info_dram_usage usage;
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(card_info(buffer.fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	CHECK_EQ(usage.ctx_dram_mem, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED_REVOCABLE, 0);
	/* perftest closes the dma-buf at once and goes on with its region. */
	close(buffer.dmabuf);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), -EINVAL);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), -EINVAL);
	close(peer);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), -EINVAL);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), 0);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), -EINVAL);
	CHECK_EQ(close(buffer.fd), 0);
}

TEST(export_of_a_part_reaches_only_that_part, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint64_t half = 4 * CARD_PAGE;
	int64_t first, second;
	int part, peer_all, peer_part;

	card_buffer_make(&buffer, 0, 2 * half);
	part = card_export(buffer.fd, buffer.va, half, half);
	CHECK(part >= 0);
	peer_all = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	peer_part = peer_of(part, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer_all, 0, "first half", 11), 0);
	CHECK_EQ(peer_write(peer_part, 0, "second half", 12), 0);
	first = host_find(0, "first half");
	second = host_find(0, "second half");
	CHECK_EQ(second - first, half);
	CHECK_EQ(peer_write(peer_part, half, "x", 1), -EINVAL);
	/* An unaligned part, one that ends beyond the mapping, one that begins there. */
	CHECK_EQ(card_export(buffer.fd, buffer.va, half, half + 4096), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 2 * half, 4096), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 100, half), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 0, 100), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va + half, 0, half), -EINVAL);
}

TEST(sizes_that_overflow_are_refused, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint64_t handle = 0;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(card_export(buffer.fd, buffer.va, UINT64_MAX - 4095, 8192), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 4096, UINT64_MAX - 4095), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 1ull << 63, 1ull << 63), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, UINT64_MAX - 4095, 0, 4096), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, 0, 0, 4096), -EINVAL);
	CHECK_EQ(card_export(buffer.fd, buffer.va, 0, 0), -EINVAL);
	CHECK_EQ(card_alloc(buffer.fd, 0, 0, &handle), -EINVAL);
	CHECK_EQ(card_alloc(buffer.fd, UINT64_MAX, 0, &handle), -ENOMEM);
	CHECK_EQ(card_alloc(buffer.fd, UINT64_MAX - CARD_PAGE + 2, 0, &handle), -ENOMEM);
	CHECK_EQ(card_alloc(buffer.fd, host_card_size(0), 0, &handle), -ENOMEM);
	CHECK_EQ(handle, 0);
	CHECK_EQ(card_free(buffer.fd, 0), -EINVAL);
	CHECK_EQ(card_free(buffer.fd, 1ull << 32 | buffer.handle), -EINVAL);
	CHECK_EQ(card_map(buffer.fd, 1ull << 32 | buffer.handle, &handle), -EINVAL);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va + 4096), -EINVAL);
	CHECK_EQ(card_unmap(buffer.fd, 0), -EINVAL);
}

TEST(unknown_flags_and_operations_are_refused, .driver = EMULATED)
{
	struct card_buffer buffer;
	union hl_mem_args args;
	unsigned int bit;

	card_buffer_make(&buffer, 0, MIB);
	for (bit = 0; bit < 32; bit++) {
		args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,
						    .flags = 1u << bit,
						    .export_dmabuf_fd = { .addr = buffer.va,
									  .mem_size = MIB } } };
		if (args.in.flags != O_RDWR && args.in.flags != O_CLOEXEC)
			CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
		args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_ALLOC,
						    .flags = 1u << bit,
						    .alloc = { .mem_size = CARD_PAGE } } };
		if (!(args.in.flags & (HL_MEM_CONTIGUOUS | HL_MEM_SHARED)))
			CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
		args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_FREE,
						    .flags = 1u << bit,
						    .free = { .handle = buffer.handle } } };
		CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
	}
	for (bit = HL_MEM_OP_EXPORT_DMABUF_FD + 1; bit < 64; bit++) {
		args = (union hl_mem_args){ .in = { .op = bit, .alloc = { .mem_size = CARD_PAGE } } };
		CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
	}
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP,
					    .flags = HL_MEM_USERPTR,
					    .map_host = { .host_virt_addr = (uintptr_t)&args,
							  .mem_size = 4096 } } };
	CHECK_EQ(mem_ioctl(buffer.fd, &args), -EOPNOTSUPP);
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP_BLOCK } };
	CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
	args = (union hl_mem_args){
		.in = { .op = HL_MEM_OP_ALLOC, .ctx_id = 7, .alloc = { .mem_size = CARD_PAGE } }
	};
	CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_ALLOC,
					    .alloc = { .mem_size = CARD_PAGE, .page_size = 12345 } } };
	CHECK_EQ(mem_ioctl(buffer.fd, &args), -EINVAL);
	/* Nothing of that took memory. */
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_ALLOC,
					    .alloc = { .mem_size = host_card_size(0) - MIB } } };
	CHECK_EQ(mem_ioctl(buffer.fd, &args), 0);
}

TEST(revoke_refuses_what_it_does_not_know, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct gaudi_p2p_revoke args;
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);

	card_buffer_make(&buffer, 0, MIB);
#define REVOKE(...)                                                               \
	({                                                                        \
		args = (struct gaudi_p2p_revoke){ __VA_ARGS__ };                  \
		ioctl(buffer.fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &args) ? -errno : 0; \
	})
	CHECK_EQ(REVOKE(.flags = 0), -EINVAL);
	CHECK_EQ(REVOKE(.flags = 8), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ALL | GAUDI_P2P_REVOKE_FD), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ALL, .reserved = { 0, 1 }), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ALL, .pad = 1), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ALL, .addr = 1), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_FD, .fd = other), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_FD, .fd = 9999), -EBADF);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_FD, .fd = -1), -EBADF);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ADDR, .addr = 4096), -EINVAL);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_ADDR, .addr = buffer.va), 0);
	CHECK_EQ(args.revoked, 1);
	CHECK_EQ(REVOKE(.flags = GAUDI_P2P_REVOKE_FD, .fd = buffer.dmabuf), 0);
	CHECK_EQ(args.revoked, 0);
#undef REVOKE
}

TEST(hint_is_used_if_free_and_forced_hint_fails_if_not, .driver = EMULATED)
{
	struct card_buffer buffer;
	union hl_mem_args args;
	uint64_t hint;

	card_buffer_make(&buffer, 0, MIB);
	hint = buffer.va + 64 * MIB;
#define MAP_AT(address, how)                                                                       \
	({                                                                                         \
		args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP,                           \
						    .flags = (how),                                \
						    .map_device = { .hint_addr = (address),        \
								    .handle = buffer.handle } } }; \
		mem_ioctl(buffer.fd, &args);                                                       \
	})
	CHECK_EQ(MAP_AT(hint, 0), 0);
	CHECK_EQ(args.out.device_virt_addr, hint);
	CHECK_EQ(MAP_AT(hint, 0), 0);
	CHECK(args.out.device_virt_addr != hint);
	CHECK_EQ(MAP_AT(hint, HL_MEM_FORCE_HINT), -ENOMEM);
	CHECK_EQ(MAP_AT(hint + CARD_PAGE, HL_MEM_FORCE_HINT), -ENOMEM);
	CHECK_EQ(MAP_AT(UINT64_MAX - CARD_PAGE + 1, HL_MEM_FORCE_HINT), -ENOMEM);
	CHECK_EQ(MAP_AT(CARD_PAGE, HL_MEM_FORCE_HINT), -ENOMEM);
#undef MAP_AT
}

TEST(export_without_free_descriptors_loses_nothing, .driver = EMULATED)
{
	struct rlimit limit = { .rlim_cur = 16, .rlim_max = 16 };
	struct card_buffer buffer;
	int fd;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((fd = dup(0)) >= 0)
		;
	CHECK_EQ(card_export(buffer.fd, buffer.va, 0, MIB), -EMFILE);
	close(buffer.dmabuf);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
}

TEST(fragmented_memory_is_exported_in_pieces_that_fit_together, .driver = EMULATED)
{
	uint64_t size = host_card_size(0), handles[64], va, big;
	uint64_t piece = size / 64;
	unsigned int i;
	char text[32], back[32];
	int fd = card_open(0, 0), dmabuf, peer;

	CHECK(fd >= 0);
	for (i = 0; i < 64; i++)
		CHECK_EQ(card_alloc(fd, piece, 0, &handles[i]), 0);
	for (i = 0; i < 64; i += 2)
		CHECK_EQ(card_free(fd, handles[i]), 0);
	CHECK_EQ(card_alloc(fd, 32 * piece, HL_MEM_CONTIGUOUS, &big), -ENOMEM);
	CHECK_EQ(card_alloc(fd, 32 * piece, 0, &big), 0);
	CHECK_EQ(card_map(fd, big, &va), 0);
	dmabuf = card_export(fd, va, 0, 32 * piece);
	CHECK_MSG(dmabuf >= 0, "export: %s", strerror(-dmabuf));
	peer = peer_of(dmabuf, EDU_PEER_DYNAMIC, 0);
	for (i = 0; i < 32; i += 5) {
		snprintf(text, sizeof(text), "piece %u", i);
		CHECK_EQ(peer_write(peer, i * piece, text, sizeof(text)), 0);
		CHECK_EQ(host_find(0, text) % (int64_t)piece, 0);
	}
	for (i = 0; i < 32; i += 5) {
		snprintf(text, sizeof(text), "piece %u", i);
		CHECK_EQ(peer_read(peer, i * piece, back, sizeof(back)), 0);
		CHECK_EQ(strcmp(back, text), 0);
	}
}

/* --- INFO ------------------------------------------------------------------------ */
static int info_raw(int fd, uint32_t op, uint64_t pointer, uint32_t size, uint32_t pad)
{
	struct hl_info_args args = { .return_pointer = pointer, .return_size = size, .op = op, .pad = pad };

	return ioctl(fd, DRM_IOCTL_HL_INFO, &args) ? -errno : 0;
}

static void check_info_rules(int fd)
{
	uint8_t answer[1024];
	uint32_t op;

	memset(answer, 0xee, sizeof(answer));
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, (uintptr_t)answer, sizeof(answer), 1), -EINVAL);
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, (uintptr_t)answer, 0, 0), -EINVAL);
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, 0, sizeof(answer), 0), -EINVAL);
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, 16, sizeof(answer), 0), -EFAULT);
	CHECK_EQ(info_raw(fd, 999, (uintptr_t)answer, sizeof(answer), 0), -EINVAL);
	CHECK_EQ(answer[0], 0xee);
	/* A short buffer gets a short answer and nothing behind it. */
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, (uintptr_t)answer, 24, 0), 0);
	CHECK(answer[23] != 0xee && answer[24] == 0xee);
	CHECK_EQ(info_raw(fd, HL_INFO_HW_IP_INFO, (uintptr_t)answer, sizeof(answer), 0), 0);
	CHECK_EQ(answer[sizeof(struct hl_info_hw_ip_info)], 0xee);
	for (op = 0; op < 64; op++) {
		int r = info_raw(fd, op, (uintptr_t)answer, sizeof(answer), 0);

		CHECK_MSG(r == 0 || r == -EINVAL, "INFO %u: %s", op, strerror(-r));
	}
}

TEST(info_answers_what_programs_ask, .driver = EMULATED)
{
	struct hl_info_dev_memalloc_page_sizes sizes = { .page_order_bitmask = 1 };
	struct hl_info_device_status status = { 0 };
	struct hl_open_stats_info stats = { 0 };
	struct hl_info_hw_ip_info ip = { 0 };
	struct hl_info_dram_usage usage;
	struct hl_info_hw_idle idle = { 0 };
	int fd = card_open(0, 0);
	uint64_t size = host_card_size(0), handle;

	CHECK(fd >= 0);
	CHECK_EQ(card_info(fd, HL_INFO_HW_IP_INFO, &ip, sizeof(ip)), 0);
	CHECK_EQ(ip.device_id, 0x1020);
	CHECK_EQ(ip.dram_enabled, 1);
	CHECK_EQ(ip.dram_size, size);
	CHECK_EQ(ip.dram_size % ip.dram_page_size, 0);
	CHECK_EQ(ip.dram_page_size, CARD_PAGE);
	CHECK_EQ(ip.device_mem_alloc_default_page_size, CARD_PAGE);
	CHECK(ip.card_name[0]);
	CHECK_EQ(card_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	CHECK_EQ(usage.dram_free_mem, size);
	CHECK_EQ(usage.ctx_dram_mem, 0);
	CHECK_EQ(card_alloc(fd, 100, 0, &handle), 0);
	CHECK_EQ(card_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	CHECK_EQ(usage.dram_free_mem, size - CARD_PAGE);
	CHECK_EQ(usage.ctx_dram_mem, CARD_PAGE);
	CHECK_EQ(card_info(fd, HL_INFO_HW_IDLE, &idle, sizeof(idle)), 0);
	CHECK_EQ(idle.is_idle, 1);
	CHECK_EQ(card_info(fd, HL_INFO_DEVICE_STATUS, &status, sizeof(status)), 0);
	CHECK_EQ(status.status, HL_DEVICE_STATUS_OPERATIONAL);
	CHECK_EQ(card_info(fd, HL_INFO_OPEN_STATS, &stats, sizeof(stats)), 0);
	CHECK_EQ(stats.open_counter, 1);
	CHECK_EQ(stats.is_compute_ctx_active, 1);
	CHECK_EQ(card_info(fd, HL_INFO_DEV_MEM_ALLOC_PAGE_SIZES, &sizes, sizeof(sizes)), 0);
	CHECK_EQ(sizes.page_order_bitmask, 0);
	check_info_rules(fd);
}

TEST(control_node_answers_info_to_many_and_nothing_else, .driver = EMULATED)
{
	struct hl_open_stats_info stats = { 0 };
	int one = card_open_control(0), two = card_open_control(0), owner = card_open(0, 0);
	uint64_t handle;

	CHECK(one >= 0 && two >= 0 && owner >= 0);
	check_info_rules(one);
	CHECK_EQ(card_info(two, HL_INFO_OPEN_STATS, &stats, sizeof(stats)), 0);
	CHECK_EQ(stats.is_compute_ctx_active, 1);
	CHECK_EQ(card_alloc(one, MIB, 0, &handle), -ENOTTY);
	CHECK_EQ(card_export(one, 1ull << 44, 0, MIB), -ENOTTY);
	CHECK_EQ(card_revoke_all(one), -ENOTTY);
	close(owner);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(card_info(two, HL_INFO_OPEN_STATS, &stats, sizeof(stats)), 0);
	CHECK_EQ(stats.is_compute_ctx_active, 0);
	CHECK_EQ(stats.open_counter, 1);
}
