// SPDX-License-Identifier: Apache-2.0
/*
 * Owners killed in the middle of each call, and calls that race with the close of the file they go through. What is left
 * is a free device with zero memory, every time.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "test_attack_pod.h"
#include "vm.h"

#define HOLD "emulated=1 nonrevocable=hold"
#define MIB (1ul << 20)
#define THREADS 4

/* What every thread of an owner sees. */
struct work {
	struct card_buffer buffer;
	unsigned int kind; /* KINDS: each thread another */
};

static void work_alloc(const struct work *w)
{
	uint64_t handle;

	if (!card_alloc(w->buffer.fd, 3 * CARD_PAGE, 0, &handle))
		card_free(w->buffer.fd, handle);
}

static void work_map(const struct work *w)
{
	uint64_t handle, va;

	if (card_alloc(w->buffer.fd, CARD_PAGE, HL_MEM_CONTIGUOUS, &handle))
		return;
	if (!card_map(w->buffer.fd, handle, &va) && !card_map(w->buffer.fd, w->buffer.handle, &va))
		card_unmap(w->buffer.fd, va);
	/* Handle and first address stay behind: for the end of the lease. */
}

static void work_export(const struct work *w)
{
	int fd = card_export(w->buffer.fd, w->buffer.va, 0, MIB);

	if (fd >= 0)
		close(fd);
}

static void work_import(const struct work *w)
{
	static unsigned int kind;
	int fd = card_export(w->buffer.fd, w->buffer.va, 0, MIB), peer = peer_open();

	/* No DMA: another thread may have revoked it meanwhile, and the IOMMU would tell. */
	if (fd >= 0 &&
	    !peer_attach(peer, fd, __atomic_fetch_add(&kind, 1, __ATOMIC_RELAXED) % EDU_PEER_KINDS, 0))
		peer_map(peer);
	close(peer);
	if (fd >= 0)
		close(fd);
}

static void work_mmap(const struct work *w)
{
	int fd = card_export(w->buffer.fd, w->buffer.va, 0, MIB);
	uint8_t *memory = fd < 0 ? MAP_FAILED : mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (memory == MAP_FAILED)
		return;
	/* Not by the processor, which a revoke by another thread would stop: by the kernel, which gives up. */
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	(void)!read(fd, memory, 8 * CARD_PAGE);
	close(fd);
	munmap(memory, MIB);
}

static void work_revoke(const struct work *w)
{
	int fd = card_export(w->buffer.fd, w->buffer.va, 0, CARD_PAGE);

	card_revoke_all(w->buffer.fd);
	if (fd >= 0)
		close(fd);
}

/* Waits, for what never comes: the buffer's own importer cannot revoke. */
static void work_revoke_wait(const struct work *w)
{
	int peer = peer_open();

	if (!peer_attach(peer, w->buffer.dmabuf, EDU_PEER_PINNED, 0))
		peer_map(peer);
	card_revoke_wait(w->buffer.fd, 30);
	close(peer);
}

/* To a pod of the thread's own making, which dies at once, or to itself. */
static void work_grant(const struct work *w)
{
	int fd = card_export(w->buffer.fd, w->buffer.va, 0, CARD_PAGE), pidfd;
	pid_t pid = fork();

	if (!pid) {
		if (!unshare(CLONE_NEWNET))
			usleep(1000);
		_exit(0);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd >= 0 && pidfd >= 0) {
		card_grant(w->buffer.fd, fd, pidfd);
		usleep(500);
		card_grant(w->buffer.fd, fd, pidfd);
		card_take_back(w->buffer.fd, fd, pidfd);
	}
	waitpid(pid, NULL, 0);
	if (pidfd >= 0)
		close(pidfd);
	if (fd >= 0)
		close(fd);
}

static void work_list(const struct work *w)
{
	struct gaudi_p2p_export entries[16];

	card_list(w->buffer.fd, entries, 16);
}

static void work_info(const struct work *w)
{
	struct hl_info_dram_usage usage;
	char path[64], text[1024];

	card_info(w->buffer.fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", w->buffer.fd);
	vm_read(path, text, sizeof(text));
	card_attribute(0, "reason", text, sizeof(text));
}

static void work_open(const struct work *w)
{
	int fd = card_open(0, O_NONBLOCK);

	(void)w;
	if (fd >= 0)
		close(fd);
	fd = card_open_control(0);
	if (fd >= 0)
		close(fd);
}

static void (*const works[])(const struct work *w) = {
	work_alloc,	  work_map,   work_export, work_import, work_mmap, work_revoke,
	work_revoke_wait, work_grant, work_list,   work_info,	work_open,
};
#define KINDS (sizeof(works) / sizeof(works[0]))

static void *works_for_ever(void *argument)
{
	const struct work *w = argument;
	static unsigned int threads;
	unsigned int kind = w->kind;

	if (kind == KINDS)
		kind = __atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED) % KINDS;
	for (;;)
		works[kind](w);
	return NULL;
}

static void owner_works(void *argument)
{
	struct work w = { .kind = *(unsigned int *)argument };
	unsigned int i, n = w.kind == KINDS ? KINDS : THREADS;
	pthread_t thread;
	uint8_t *memory;

	card_buffer_make(&w.buffer, 0, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, w.buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memset(memory, 0x5a, MIB);
	for (i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&thread, NULL, works_for_ever, &w), 0);
	pause();
}

static bool attribute_is_zero(const char *name)
{
	char text[32];

	return card_attribute(0, name, text, sizeof(text)) > 0 && !strcmp(text, "0");
}

static void check_nothing_left(void)
{
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(attribute_is_zero("allocated_bytes"));
	CHECK(attribute_is_zero("exported_bytes"));
	CHECK(attribute_is_zero("dirty_bytes"));
	CHECK_MSG(host_is_zero(0, 0, 0), "the dead owner's memory is not zero");
}

static void kill_in_the_middle(unsigned int kind, unsigned int rounds)
{
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		pid_t owner = vm_child(true, owner_works, &kind);

		WAIT_FOR(card_state_is(0, "owned"), 30);
		vm_sleep(0.02 + (double)random() / RAND_MAX * 0.1);
		kill_and_wait(owner);
		check_nothing_left();
	}
}

TEST(owner_killed_in_the_middle_of_each_call_leaves_nothing, .driver = HOLD, .seconds = 180)
{
	unsigned int kind;

	for (kind = 0; kind < KINDS; kind++)
		kill_in_the_middle(kind, vm_long() ? 40 : 2);
}

TEST(owner_killed_in_the_middle_of_everything_leaves_nothing, .driver = HOLD, .seconds = 180)
{
	kill_in_the_middle(KINDS, vm_long() ? 100 : 6);
}

/* --- open and close ------------------------------------------------------------------------- */
static void opens_for_ever(void *argument)
{
	uint64_t handle;

	(void)argument;
	for (;;) {
		int fd = card_open(0, 0);

		if (fd >= 0 && random() % 2)
			card_alloc(fd, MIB, 0, &handle);
		if (fd >= 0)
			close(fd);
	}
}

TEST(openers_that_race_and_die_leave_nothing, .driver = HOLD, .seconds = 120)
{
	unsigned int i, rounds = vm_long() ? 500 : 25;
	pid_t child[4];

	for (i = 0; i < 4; i++)
		child[i] = vm_child(true, opens_for_ever, NULL);
	for (i = 0; i < rounds; i++) {
		vm_sleep((double)random() / RAND_MAX * 0.1);
		kill_and_wait(child[i % 4]);
		child[i % 4] = vm_child(true, opens_for_ever, NULL);
	}
	for (i = 0; i < 4; i++)
		kill_and_wait(child[i]);
	check_nothing_left();
}

struct closer {
	struct work w;
	volatile bool stop;
	unsigned int kind;
};

static void *works_until_told(void *argument)
{
	struct closer *c = argument;
	unsigned int kind = __atomic_fetch_add(&c->kind, 1, __ATOMIC_RELAXED) % KINDS;

	while (!c->stop)
		if (works[kind] != work_open)
			works[kind](&c->w);
	return NULL;
}

/* The number of the file stays; what is behind it comes and goes while eight threads call through it. */
TEST(calls_race_with_the_close_of_their_file, .driver = HOLD, .seconds = 120)
{
	enum { NUMBER = 200 };
	struct closer c = { 0 };
	pthread_t thread[KINDS];
	unsigned int i, opened = 0;
	double end;

	c.w.buffer.fd = NUMBER;
	c.w.buffer.va = 1ul << 44;
	c.w.buffer.handle = 1;
	for (i = 0; i < KINDS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, works_until_told, &c), 0);
	end = vm_now() + (vm_long() ? 90 : 4);
	/* A slow kernel may need longer until there was a race at all. */
	while (vm_now() < end || (opened <= 5 && vm_now() < end + 90)) {
		uint64_t handle, va;
		int fd = card_open(0, 0);

		if (fd < 0) {
			CHECK_EQ(fd, -EBUSY);
			continue;
		}
		opened++;
		CHECK_EQ(dup2(fd, NUMBER), NUMBER);
		close(fd);
		if (!card_alloc(NUMBER, MIB, 0, &handle) && !card_map(NUMBER, handle, &va))
			vm_sleep(0.005);
		close(NUMBER);
	}
	c.stop = true;
	for (i = 0; i < KINDS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	vm_note("opened and closed %u times", opened);
	CHECK(opened > 5);
	check_nothing_left();
}

/* As imports_in_the_moment_of_revoke_do_not_survive_it, but what ends is the lease. */
static void *imports_until_refused(void *argument)
{
	const struct card_buffer *buffer = argument;
	unsigned int n = 0;
	long r;

	do {
		r = pod_import_try((const long[6]){ buffer->dmabuf, n++ % 3 });
		CHECK_MSG(!r || r == -ENODEV, "attach or map: %s", strerror((int)-r));
	} while (!r);
	return NULL;
}

TEST(imports_in_the_moment_of_close_do_not_survive_it, .driver = HOLD, .seconds = 120)
{
	unsigned int i, rounds = vm_long() ? 500 : 25;

	for (i = 0; i < rounds; i++) {
		struct card_buffer buffer;
		pthread_t thread[2];

		card_buffer_make(&buffer, 0, MIB);
		CHECK_EQ(pthread_create(&thread[0], NULL, imports_until_refused, &buffer), 0);
		CHECK_EQ(pthread_create(&thread[1], NULL, imports_until_refused, &buffer), 0);
		vm_sleep(0.001 * (i % 20));
		close(buffer.fd);
		CHECK_EQ(pthread_join(thread[0], NULL), 0);
		CHECK_EQ(pthread_join(thread[1], NULL), 0);
		close(buffer.dmabuf);
	}
	check_nothing_left();
}
