// SPDX-License-Identifier: Apache-2.0
/*
 * No memory: each allocation that a call makes is failed in turn, until the call gets through without one failing. After
 * each failure nothing is left of the call, and the card works as before.
 *
 * vm-modules: edu_peer fault_knobs
 * vm-kernel: CONFIG_FAULT_INJECTION CONFIG_FAILSLAB CONFIG_FAIL_PAGE_ALLOC
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "test_fault_nth.h"
#include "vm.h"

#define HOLD "emulated=1 nonrevocable=hold"
#define MIB (1ul << 20)

/* --- open, close ------------------------------------------------------------------------------- */
static long open_card(void *context)
{
	int fd = open(context, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void opened(void *context, long r)
{
	(void)context;
	if (r >= 0) {
		CHECK(card_state_is(0, "owned"));
		close((int)r);
	}
	WAIT_FOR(card_state_is(0, "free"), 30);
}

static void node_path(char *path, size_t size, const char *prefix)
{
	int index = card_index(0);

	CHECK(index >= 0);
	snprintf(path, size, "/dev/accel/%s%d", prefix, index);
}

static void opened_control(void *context, long r)
{
	(void)context;
	if (r >= 0)
		close((int)r);
}

TEST(open_without_memory_takes_nothing, .driver = HOLD, .seconds = 120)
{
	char path[64];

	faults_begin();
	WAIT_FOR(card_state_is(0, "free"), 30);
	node_path(path, sizeof(path), "accel");
	CHECK(fail_each("open", open_card, opened, path) >= 3);
	node_path(path, sizeof(path), "accel_controlD");
	fail_each("open of the control node", open_card, opened_control, path);
	check_whole();
}

/* A lease in all its glory: memory in pieces, a mapping, importers that can be revoked and one that cannot. */
struct full {
	struct card_buffer buffer;
	int peer[4];
	uint8_t *memory;
};

static void full_make(struct full *f)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC, EDU_PEER_PINNED_REVOCABLE, EDU_PEER_KERNEL,
					  EDU_PEER_FENCE };
	unsigned int i;

	card_buffer_make(&f->buffer, 0, MIB);
	for (i = 0; i < 4; i++)
		f->peer[i] = peer_of(f->buffer.dmabuf, kinds[i], 0);
	f->memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, f->buffer.dmabuf, 0);
	CHECK(f->memory != MAP_FAILED);
	memset(f->memory, 0x5a, MIB);
}

static void full_end(struct full *f)
{
	unsigned int i;

	CHECK(raises_sigbus(f->memory));
	munmap(f->memory, MIB);
	CHECK_EQ(peer_signal(f->peer[3]), 0);
	for (i = 0; i < 4; i++)
		close(f->peer[i]);
	close(f->buffer.dmabuf);
}

static long close_full(void *context)
{
	struct full *f = context;

	close(f->buffer.fd);
	return 0;
}

static void closed_full(void *context, long r)
{
	struct full *f = context;

	(void)r;
	CHECK(!card_state_is(0, "owned"));
	full_end(f);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	full_make(f);
}

TEST(close_without_memory_ends_the_lease, .driver = HOLD, .seconds = 120)
{
	struct full f;

	faults_begin();
	full_make(&f);
	CHECK(fail_each("close of a lease in full use", close_full, closed_full, &f) >= 1);
	close(f.buffer.fd);
	full_end(&f);
	check_whole();
}

/* The owner dies, and his death finds no memory; the importers are his, too. */
TEST(owner_that_dies_without_memory_leaves_nothing, .driver = HOLD, .seconds = 180)
{
	unsigned int n;

	faults_begin();
	for (n = 1; n <= 16; n++) {
		struct full f;
		pid_t child;

		fflush(stdout);
		child = fork();
		CHECK(child >= 0);
		if (!child) {
			faults_begin();
			full_make(&f);
			nth_set(n);
			_exit(0);
		}
		vm_child_end(child);
		WAIT_FOR(card_state_is(0, "free"), 30);
		CHECK(host_is_zero(0, 0, 0));
	}
	check_whole();
}

/* --- ioctls of the owner ------------------------------------------------------------------------- */
struct owner {
	struct card_buffer buffer;
	long allocated, exported;
	uint32_t flags;
	int pidfd;
};

static void owner_make(struct owner *o)
{
	card_buffer_make(&o->buffer, 0, MIB);
	o->allocated = card_number("allocated_bytes");
	o->exported = card_number("exported_bytes");
	o->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	CHECK(o->pidfd >= 0);
}

static void check_unchanged(const struct owner *o)
{
	CHECK(card_state_is(0, "owned"));
	CHECK_EQ(card_number("allocated_bytes"), o->allocated);
	CHECK_EQ(card_number("exported_bytes"), o->exported);
}

static long call_alloc(void *context)
{
	struct owner *o = context;
	uint64_t handle;
	int r = card_alloc(o->buffer.fd, 5 * CARD_PAGE, o->flags, &handle);

	return r ?: (long)handle;
}

static void after_alloc(void *context, long r)
{
	struct owner *o = context;

	if (r >= 0)
		CHECK_EQ(card_free(o->buffer.fd, r), 0);
	check_unchanged(o);
}

static long call_map(void *context)
{
	struct owner *o = context;
	uint64_t va;
	int r = card_map(o->buffer.fd, o->buffer.handle, &va);

	return r ?: (long)va;
}

static void after_map(void *context, long r)
{
	struct owner *o = context;

	if (r >= 0)
		CHECK_EQ(card_unmap(o->buffer.fd, r), 0);
	check_unchanged(o);
}

static long call_export(void *context)
{
	struct owner *o = context;

	return card_export(o->buffer.fd, o->buffer.va, 0, MIB);
}

static void after_export(void *context, long r)
{
	struct owner *o = context;

	if (r >= 0)
		close((int)r);
	check_unchanged(o);
}

static long call_info(void *context)
{
	struct owner *o = context;
	struct hl_info_hw_ip_info ip;

	return card_info(o->buffer.fd, HL_INFO_HW_IP_INFO, &ip, sizeof(ip));
}

static long call_list(void *context)
{
	struct owner *o = context;
	struct gaudi_p2p_export entries[4];

	return card_list(o->buffer.fd, entries, 4);
}

/* To ourselves: it is a grant as any other. */
static long call_grant(void *context)
{
	struct owner *o = context;

	return card_grant(o->buffer.fd, o->buffer.dmabuf, o->pidfd);
}

static void after_grant(void *context, long r)
{
	struct owner *o = context;

	CHECK_EQ(card_take_back(o->buffer.fd, o->buffer.dmabuf, o->pidfd), r < 0 ? -ENOENT : 0);
	check_unchanged(o);
}

static long call_take_back(void *context)
{
	struct owner *o = context;

	return card_take_back(o->buffer.fd, o->buffer.dmabuf, o->pidfd);
}

static void after_take_back(void *context, long r)
{
	struct owner *o = context;

	CHECK_EQ(r, 0);
	CHECK_EQ(card_grant(o->buffer.fd, o->buffer.dmabuf, o->pidfd), 0);
}

static void after_unchanged(void *context, long r)
{
	(void)r;
	check_unchanged(context);
}

TEST(ioctls_without_memory_change_nothing, .driver = HOLD, .seconds = 120)
{
	struct owner o = { 0 };

	faults_begin();
	owner_make(&o);
	CHECK(fail_each("ALLOC", call_alloc, after_alloc, &o) >= 2);
	o.flags = HL_MEM_CONTIGUOUS;
	CHECK(fail_each("ALLOC contiguous", call_alloc, after_alloc, &o) >= 2);
	CHECK(fail_each("MAP", call_map, after_map, &o) >= 2);
	CHECK(fail_each("EXPORT_DMABUF_FD", call_export, after_export, &o) >= 2);
	CHECK(fail_each("INFO", call_info, after_unchanged, &o) >= 1);
	CHECK(fail_each("LIST", call_list, after_unchanged, &o) >= 1);
	CHECK(fail_each("GRANT", call_grant, after_grant, &o) >= 1);
	close(o.buffer.dmabuf);
	close(o.buffer.fd);
	check_whole();
}

/* What gives back must never need memory. */
struct giving {
	struct owner owner;
	uint64_t handle, va;
	int dmabuf;
};

static void giving_make(struct giving *g)
{
	CHECK_EQ(card_alloc(g->owner.buffer.fd, 3 * CARD_PAGE, 0, &g->handle), 0);
	CHECK_EQ(card_map(g->owner.buffer.fd, g->handle, &g->va), 0);
	g->dmabuf = card_export(g->owner.buffer.fd, g->va, 0, CARD_PAGE);
	CHECK(g->dmabuf >= 0);
}

static long call_give_back(void *context)
{
	struct giving *g = context;
	int fd = g->owner.buffer.fd, r;

	r = close(g->dmabuf);
	if (!r)
		r = card_unmap(fd, g->va);
	if (!r)
		r = card_free(fd, g->handle);
	return r;
}

static void after_give_back(void *context, long r)
{
	struct giving *g = context;

	CHECK_EQ(r, 0);
	check_unchanged(&g->owner);
	giving_make(g);
}

struct revoking {
	struct full full;
	struct gaudi_p2p_revoke args;
	uint32_t flags;
};

static long call_revoke(void *context)
{
	struct revoking *v = context;

	v->args = (struct gaudi_p2p_revoke){
		.flags = v->flags,
		.fd = v->flags == GAUDI_P2P_REVOKE_FD ? v->full.buffer.dmabuf : 0,
		.addr = v->flags == GAUDI_P2P_REVOKE_ADDR ? v->full.buffer.va : 0,
	};
	return ioctl(v->full.buffer.fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &v->args) ? -errno : 0;
}

static void after_revoke(void *context, long r)
{
	struct revoking *v = context;

	CHECK_EQ(r, 0);
	CHECK_EQ(v->args.revoked, 1);
	full_end(&v->full);
	close(v->full.buffer.fd);
	full_make(&v->full);
}

TEST(what_gives_back_needs_no_memory, .driver = HOLD, .seconds = 120)
{
	static const uint32_t flags[] = { GAUDI_P2P_REVOKE_FD, GAUDI_P2P_REVOKE_ADDR, GAUDI_P2P_REVOKE_ALL };
	struct revoking v;
	struct giving g;
	unsigned int i;

	faults_begin();
	owner_make(&g.owner);
	giving_make(&g);
	fail_each("close of a dma-buf, UNMAP, FREE", call_give_back, after_give_back, &g);
	after_take_back(&g.owner, 0);
	fail_each("GRANT taken back", call_take_back, after_take_back, &g.owner);
	close(g.dmabuf);
	close(g.owner.buffer.dmabuf);
	close(g.owner.buffer.fd);
	full_make(&v.full);
	for (i = 0; i < 3; i++) {
		v.flags = flags[i];
		fail_each("REVOKE", call_revoke, after_revoke, &v);
	}
	close(v.full.buffer.fd);
	full_end(&v.full);
	check_whole();
}
