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

/* --- ALLOC, MAP, EXPORT as programs use them --------------------------------------- */
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
