// SPDX-License-Identifier: Apache-2.0
/* No memory: importers, and the CPU's view. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_fault_nth.h"
#include "vm.h"

#define HOLD "emulated=1 nonrevocable=hold"
#define MIB (1ul << 20)

struct importing {
	struct card_buffer buffer;
	uint32_t kind;
	int peer;
	int first; /* an importer that is there already, or -1: the export has room for one attachment in itself */
	uint8_t *memory;
};

static long call_attach(void *context)
{
	struct importing *i = context;

	return peer_attach(i->peer, i->buffer.dmabuf, i->kind, 0);
}

static void after_attach(void *context, long r)
{
	struct importing *i = context;
	struct edu_peer_state state;

	peer_state(i->peer, &state);
	CHECK_EQ(state.attached, r >= 0);
	if (r >= 0)
		CHECK_EQ(peer_detach(i->peer), 0);
}

static long call_map(void *context)
{
	struct importing *i = context;

	return peer_map(i->peer);
}

static void after_map(void *context, long r)
{
	struct importing *i = context;
	struct edu_peer_state state;

	peer_state(i->peer, &state);
	if (r >= 0) {
		CHECK_EQ(peer_write(i->peer, i->buffer.size - 8, "mapped", 7), 0);
		CHECK_EQ(peer_unmap(i->peer), 0);
		return;
	}
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(state.pinned, 0);
}

/* Attach, map and unmap by every kind of importer; at the end nobody holds anything. */
static void import_every_way(struct importing *i)
{
	static const char *const names[EDU_PEER_KINDS] = { "dynamic", "pinned and revocable",
							   "pinned",  "refaulting",
							   "kernel",  "kernel without pin",
							   "fence" };
	char what[64];
	int r;

	/* The core warns when an exporter's vmap fails, for whatever reason. */
	host_allow_log("WARNING: .*dma_buf_vmap|Modules linked in:");
	for (i->kind = 0; i->kind < EDU_PEER_KINDS; i->kind++) {
		i->peer = peer_open();
		r = peer_attach(i->peer, i->buffer.dmabuf, i->kind, 0);
		if (r) {
			/* Pieces in one kernel mapping need CONFIG_VMAP_PFN. */
			CHECK(i->kind == EDU_PEER_KERNEL || i->kind == EDU_PEER_KERNEL_UNPINNED);
			vm_note("%s: %s", names[i->kind], strerror(-r));
			close(i->peer);
			continue;
		}
		CHECK_EQ(peer_detach(i->peer), 0);
		snprintf(what, sizeof(what), "attach, %s", names[i->kind]);
		CHECK(fail_each(what, call_attach, after_attach, i) >= 1);
		CHECK_EQ(peer_attach(i->peer, i->buffer.dmabuf, i->kind, 0), 0);
		snprintf(what, sizeof(what), "map, %s", names[i->kind]);
		CHECK(fail_each(what, call_map, after_map, i) >= 1);
		close(i->peer);
	}
	if (i->first >= 0)
		close(i->first);
	close(i->buffer.dmabuf);
	CHECK_EQ(card_unmap(i->buffer.fd, i->buffer.va), 0);
}

TEST(imports_without_memory_hold_nothing, .driver = HOLD, .seconds = 120)
{
	struct importing i = { .first = -1 };

	faults_begin();
	card_buffer_make(&i.buffer, 0, MIB);
	import_every_way(&i);
	close(i.buffer.fd);
	check_whole();
}

/* Memory in pieces: of what is left, every other granule is taken. And somebody is attached already. */
TEST(imports_of_scattered_memory_without_memory_hold_nothing, .driver = HOLD, .seconds = 180)
{
	enum { LEFT = 32 };
	struct importing i = { .buffer = { .size = 8 * CARD_PAGE } };
	uint64_t most, handle[LEFT];
	unsigned int n;

	faults_begin();
	i.buffer.fd = card_open(0, 0);
	CHECK(i.buffer.fd >= 0);
	CHECK_EQ(card_alloc(i.buffer.fd, host_card_size(0) - LEFT * CARD_PAGE, 0, &most), 0);
	for (n = 0; n < LEFT; n++)
		CHECK_EQ(card_alloc(i.buffer.fd, CARD_PAGE, 0, &handle[n]), 0);
	for (n = 0; n < LEFT; n += 2)
		CHECK_EQ(card_free(i.buffer.fd, handle[n]), 0);
	CHECK_EQ(card_alloc(i.buffer.fd, i.buffer.size, 0, &i.buffer.handle), 0);
	CHECK_EQ(card_map(i.buffer.fd, i.buffer.handle, &i.buffer.va), 0);
	i.buffer.dmabuf = card_export(i.buffer.fd, i.buffer.va, 0, i.buffer.size);
	CHECK(i.buffer.dmabuf >= 0);
	i.first = peer_of(i.buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	import_every_way(&i);
	close(i.buffer.fd);
	check_whole();
}

/* --- the CPU -------------------------------------------------------------------------------------- */
static long call_mmap(void *context)
{
	struct importing *i = context;

	i->memory = mmap(NULL, i->buffer.size, PROT_READ | PROT_WRITE, MAP_SHARED, i->buffer.dmabuf, 0);
	return i->memory == MAP_FAILED ? -errno : 0;
}

static void after_mmap(void *context, long r)
{
	struct importing *i = context;

	if (r >= 0)
		CHECK_EQ(munmap(i->memory, i->buffer.size), 0);
}

/* By the kernel, which gives up where a program would try for ever. */
static long call_fault(void *context)
{
	struct importing *i = context;
	long n = read(i->peer, i->memory, 4 * CARD_PAGE);

	return n == 4 * CARD_PAGE ? 0 : n < 0 ? -errno : -EFAULT;
}

static void after_fault(void *context, long r)
{
	struct importing *i = context;

	(void)r;
	/* Page tables and all: the next fault finds nothing. */
	CHECK_EQ(munmap(i->memory, i->buffer.size), 0);
	CHECK_EQ(call_mmap(i), 0);
}

TEST(mappings_without_memory_leave_nothing_behind, .driver = HOLD, .seconds = 120)
{
	struct importing i;

	faults_begin();
	card_buffer_make(&i.buffer, 0, 4 * MIB);
	CHECK(fail_each("mmap", call_mmap, after_mmap, &i) >= 1);
	i.peer = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(call_mmap(&i), 0);
	CHECK(fail_each("page faults", call_fault, after_fault, &i) >= 1);
	CHECK_EQ(card_revoke_all(i.buffer.fd), 1);
	CHECK(raises_sigbus(i.memory));
	CHECK_EQ(munmap(i.memory, i.buffer.size), 0);
	close(i.buffer.dmabuf);
	close(i.buffer.fd);
	check_whole();
}
