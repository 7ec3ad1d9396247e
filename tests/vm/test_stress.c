// SPDX-License-Identifier: Apache-2.0
/*
 * Everything at once: two owners, eight threads each, over alloc, map, export, attach, revoke, mmap and close, killed at
 * random. The kernel's checks are the judge while it runs; afterwards the cards must be free, zero and whole.
 *
 * vm-modules: edu_peer
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "card.h"
#include "vm.h"

#define CARDS 2
#define SLOTS 12

struct slot {
	pthread_mutex_t lock; /* of who makes and unmakes it; all others use it as they find it */
	uint64_t handle;
	_Atomic uint64_t va;
	atomic_int dmabuf; /* -1: none */
	uint64_t size;
};

static struct {
	unsigned int card;
	atomic_int fd;
	struct slot slot[SLOTS];
} owner;

/* Counted over all lives of the owners. */
static struct counters {
	atomic_ulong allocs, exports, maps, revokes, touches, leases;
} * count;

static __thread unsigned int seed;
static __thread sigjmp_buf sigbus_return;

static unsigned int below(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

/* What an owner may be told when everything changes under his hands, also what file a number stands for. */
static bool fair(int r)
{
	return r >= 0 || r == -EINVAL || r == -ENOMEM || r == -ENODEV || r == -EBADF || r == -ENOTTY ||
	       r == -EBUSY || r == -EOPNOTSUPP;
}

#define FAIR(call)                                                                                  \
	({                                                                                          \
		int result_ = (call);                                                               \
                                                                                                    \
		CHECK_MSG(fair(result_), "%s answers %d (%s)", #call, result_, strerror(-result_)); \
		result_;                                                                            \
	})

static void make(struct slot *slot)
{
	uint64_t va;
	int fd = atomic_load(&owner.fd), dmabuf;

	slot->size = (1 + below(32)) * (uint64_t)CARD_PAGE;
	if (FAIR(card_alloc(fd, slot->size, below(2), &slot->handle)))
		return;
	atomic_fetch_add(&count->allocs, 1);
	if (FAIR(card_map(fd, slot->handle, &va)))
		return;
	atomic_store(&slot->va, va);
	dmabuf = FAIR(card_export(fd, va, 0, slot->size));
	if (dmabuf < 0)
		return;
	atomic_fetch_add(&count->exports, 1);
	atomic_store(&slot->dmabuf, dmabuf);
}

static void *maker(void *unused)
{
	(void)unused;
	for (;;) {
		struct slot *slot = &owner.slot[below(SLOTS)];
		int fd = atomic_load(&owner.fd), dmabuf;

		pthread_mutex_lock(&slot->lock);
		dmabuf = atomic_load(&slot->dmabuf);
		if (dmabuf < 0) {
			make(slot);
		} else {
			atomic_store(&slot->dmabuf, -1);
			close(dmabuf);
			FAIR(card_unmap(fd, atomic_load(&slot->va)));
			FAIR(card_free(fd, slot->handle));
		}
		pthread_mutex_unlock(&slot->lock);
	}
	return NULL;
}

static void *importer(void *unused)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC,    EDU_PEER_PINNED_REVOCABLE, EDU_PEER_DYNAMIC,
					  EDU_PEER_REFAULTING, EDU_PEER_KERNEL,		  EDU_PEER_FENCE };
	int peer = peer_open();

	(void)unused;
	for (;;) {
		struct edu_peer_attach args = { .fd = atomic_load(&owner.slot[below(SLOTS)].dmabuf),
						.kind = kinds[below(6)],
						.delay_ms = below(4) ? 0 : below(8),
						.count = 1 + below(8) };

		if (args.fd < 0 || ioctl(peer, EDU_PEER_ATTACH, &args)) {
			CHECK_MSG(args.fd < 0 || fair(-errno) || errno == EPERM, "attach: %s",
				  strerror(errno));
			continue;
		}
		if (!FAIR(peer_map(peer)))
			atomic_fetch_add(&count->maps, 1);
		if (below(2))
			usleep(below(2000));
		FAIR(peer_detach(peer));
	}
	return NULL;
}

static void *revoker(void *unused)
{
	(void)unused;
	for (;;) {
		struct slot *slot = &owner.slot[below(SLOTS)];
		struct gaudi_p2p_revoke args = { .timeout_ms = below(2) ? 0 : below(10) };

		switch (below(8)) {
		case 0:
			args.flags = GAUDI_P2P_REVOKE_ALL;
			break;
		case 1 ... 3:
			args.flags = GAUDI_P2P_REVOKE_ADDR;
			args.addr = atomic_load(&slot->va);
			break;
		default:
			args.flags = GAUDI_P2P_REVOKE_FD;
			args.fd = atomic_load(&slot->dmabuf);
		}
		if (!FAIR(ioctl(atomic_load(&owner.fd), DRM_IOCTL_GAUDI_P2P_REVOKE, &args) ? -errno : 0))
			atomic_fetch_add(&count->revokes, args.revoked);
		usleep(below(3000));
	}
	return NULL;
}

static void on_sigbus(int number)
{
	(void)number;
	siglongjmp(sigbus_return, 1);
}

static void *toucher(void *unused)
{
	(void)unused;
	for (;;) {
		int dmabuf = atomic_load(&owner.slot[below(SLOTS)].dmabuf);
		size_t size = CARD_PAGE;
		volatile uint8_t *at;

		if (dmabuf < 0)
			continue;
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		if (at == MAP_FAILED)
			continue;
		if (!sigsetjmp(sigbus_return, 1)) {
			unsigned int i;

			for (i = 0; i < 16; i++)
				at[below(CARD_PAGE)] = 0x5a;
			atomic_fetch_add(&count->touches, 1);
		}
		munmap((void *)at, size);
	}
	return NULL;
}

static void *watcher(void *unused)
{
	static struct gaudi_p2p_export entries[64];
	char path[64], text[4096];

	(void)unused;
	for (;;) {
		struct gaudi_p2p_list args = { .entries = (uintptr_t)entries,
					       .entry_size = sizeof(entries[0]),
					       .count = below(65) };
		int fd = atomic_load(&owner.fd);

		FAIR(ioctl(fd, DRM_IOCTL_GAUDI_P2P_LIST, &args) ? -errno : 0);
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		vm_read(path, text, sizeof(text));
		card_attribute(owner.card, "reason", text, sizeof(text));
		usleep(below(5000));
	}
	return NULL;
}

/* The last close of the accel file, while seven others use it; and the next lease. */
static void closer(void)
{
	for (;;) {
		int fd = card_open(owner.card, O_NONBLOCK), old;

		CHECK_MSG(fd >= 0 || fd == -EBUSY, "open: %s", strerror(-fd));
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		atomic_fetch_add(&count->leases, 1);
		old = atomic_exchange(&owner.fd, fd);
		if (old >= 0)
			close(old);
		usleep(20000 + below(200000));
		atomic_store(&owner.fd, -1);
		close(fd);
	}
}

static void *with_seed(void *start)
{
	static atomic_uint next;

	seed = (unsigned int)getpid() * 97 + atomic_fetch_add(&next, 1);
	((void *(*)(void *))start)(NULL);
	return NULL;
}

static void live(void *card)
{
	void *(*const threads[])(void *) = { maker, maker, importer, importer, revoker, toucher, watcher };
	struct sigaction action = { .sa_handler = on_sigbus };
	pthread_t thread;
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	owner.card = (unsigned int)(uintptr_t)card;
	atomic_store(&owner.fd, -1);
	for (i = 0; i < SLOTS; i++) {
		pthread_mutex_init(&owner.slot[i].lock, NULL);
		atomic_store(&owner.slot[i].dmabuf, -1);
	}
	for (i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
		CHECK_EQ(pthread_create(&thread, NULL, with_seed, (void *)threads[i]), 0);
	seed = (unsigned int)getpid();
	closer();
}

static void check_whole(unsigned int card)
{
	struct hl_info_dram_usage usage = { 0 };
	int fd;

	WAIT_FOR(card_state_is(card, "free"), 60);
	CHECK_MSG(host_is_zero(card, 0, 0), "card %u is free and not zero", card);
	fd = card_open(card, O_NONBLOCK);
	CHECK(fd >= 0);
	CHECK_EQ(card_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	CHECK_EQ(usage.dram_free_mem, host_card_size(card));
	close(fd);
}

static bool is_debug_kernel(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

TEST(sixteen_threads_over_everything_leave_two_whole_cards, .driver = "emulated=1", .seconds = 300)
{
	double start = vm_now(), end = start + (vm_long() || is_debug_kernel() ? 180 : 12),
	       report = start + 10;
	unsigned int kills = 0, card;
	pid_t pid[CARDS];

	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(count != MAP_FAILED);
	seed = 1;
	for (card = 0; card < CARDS; card++)
		pid[card] = vm_child(true, live, (void *)(uintptr_t)card);
	while (vm_now() < end) {
		int status;

		usleep(100000 + below(900000));
		card = below(CARDS);
		kill(pid[card], SIGKILL);
		CHECK_EQ(waitpid(pid[card], &status, 0), pid[card]);
		CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the owner of card %u failed",
			  card);
		kills++;
		pid[card] = vm_child(true, live, (void *)(uintptr_t)card);
		if (vm_now() > report) {
			report = vm_now() + 10;
			vm_note("%.0f s: %lu leases, %lu allocations, %lu exports", vm_now() - start,
				atomic_load(&count->leases), atomic_load(&count->allocs),
				atomic_load(&count->exports));
		}
	}
	for (card = 0; card < CARDS; card++) {
		kill(pid[card], SIGKILL);
		CHECK_EQ(waitpid(pid[card], NULL, 0), pid[card]);
	}
	vm_note("%u kills, %lu leases, %lu allocations, %lu exports, %lu mapped, %lu revoked, %lu touched",
		kills, atomic_load(&count->leases), atomic_load(&count->allocs), atomic_load(&count->exports),
		atomic_load(&count->maps), atomic_load(&count->revokes), atomic_load(&count->touches));
	for (card = 0; card < CARDS; card++)
		check_whole(card);
	/* What never got anywhere was no stress. */
	CHECK(count->leases > 5 && count->exports > 20 && count->maps > 5 && count->revokes > 5 &&
	      count->touches > 5);
}
