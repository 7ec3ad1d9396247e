// SPDX-License-Identifier: Apache-2.0
/*
 * Attempts to keep a CPU mapping of device memory past its revoke, to grow it, to pin what is in it, or to look into it
 * from elsewhere.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ul << 20)
#define PAGE 4096ul

static uint8_t *map_with(int dmabuf, int flags)
{
	uint8_t *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | flags, dmabuf, 0);

	CHECK_MSG(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	return memory;
}

/* Every page of [memory, memory + size) is out of reach. */
static void check_gone(uint8_t *memory, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += PAGE)
		CHECK_MSG(raises_sigbus(memory + i), "byte %#zx is within reach after revoke", i);
}

TEST(mremap_moves_but_never_grows_and_revoke_follows, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory, *moved;

	card_buffer_make(&buffer, 0, 2 * MIB);
	memory = map_with(buffer.dmabuf, 0);
	memory[0] = 1;
	memory[MIB - 1] = 2;
	/* Neither beyond the mapping nor into what the export has behind it, nor a second one by the back door. */
	CHECK(mremap(memory, MIB, 2 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(memory, MIB, MIB + PAGE, 0) == MAP_FAILED);
	CHECK(mremap(memory, 0, MIB, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(memory, MIB, MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) == MAP_FAILED);

	moved = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(moved != MAP_FAILED);
	CHECK(mremap(memory, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == moved);
	CHECK_EQ(moved[0], 1);
	CHECK_EQ(moved[MIB - 1], 2);
	CHECK(mremap(moved, MIB, MIB / 2, 0) == moved);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	check_gone(moved, MIB / 2);
}

TEST(mapping_with_a_hole_is_revoked_on_both_sides_of_it, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	size_t i;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	for (i = 0; i < MIB; i += PAGE)
		memory[i] = (uint8_t)(i / PAGE);
	CHECK_EQ(munmap(memory + MIB / 4, MIB / 4), 0);
	CHECK_EQ(munmap(memory + MIB - PAGE, PAGE), 0);
	CHECK_EQ(munmap(memory, PAGE), 0);
	for (i = PAGE; i < MIB - PAGE; i += PAGE)
		if (i < MIB / 4 || i >= MIB / 2)
			CHECK_EQ(memory[i], (uint8_t)(i / PAGE));
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	check_gone(memory + PAGE, MIB / 4 - PAGE);
	check_gone(memory + MIB / 2, MIB / 2 - PAGE);
}

TEST(locked_and_populated_mappings_are_revoked, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *locked, *populated, *born_locked, *protected;

	card_buffer_make(&buffer, 0, MIB);
	locked = map_with(buffer.dmabuf, 0);
	locked[0] = 1;
	CHECK_EQ(mlock(locked, MIB), 0);
	populated = map_with(buffer.dmabuf, MAP_POPULATE);
	born_locked = map_with(buffer.dmabuf, MAP_LOCKED);
	CHECK_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
	protected = map_with(buffer.dmabuf, 0);
	CHECK_EQ(protected[5], 0);
	CHECK_EQ(mprotect(protected, MIB, PROT_NONE), 0);
	CHECK_EQ(mprotect(protected + MIB / 2, MIB / 2, PROT_READ), 0);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	check_gone(locked, MIB);
	check_gone(populated, MIB);
	check_gone(born_locked, MIB);
	CHECK_EQ(mprotect(protected, MIB, PROT_READ | PROT_WRITE), 0);
	check_gone(protected, MIB);
	CHECK_EQ(munlockall(), 0);
	check_gone(locked, MIB);
}

TEST(madvise_changes_nothing_about_a_mapping, .driver = EMULATED)
{
	static const char text[] = "before any advice";
	static const struct {
		int advice;
		bool refused;
	} all[] = {
		{ MADV_NORMAL, false },
		{ MADV_RANDOM, false },
		{ MADV_SEQUENTIAL, false },
		{ MADV_WILLNEED, false },
		{ MADV_DONTNEED, true },
		{ MADV_FREE, true },
		{ MADV_REMOVE, true },
		{ MADV_DONTFORK, false },
		{ MADV_DOFORK, true },
		{ MADV_DODUMP, true },
		{ MADV_WIPEONFORK, true },
		{ MADV_COLD, true },
		{ MADV_PAGEOUT, true },
		{ MADV_POPULATE_READ, true },
		{ MADV_POPULATE_WRITE, true },
		{ 24 /* DONTNEED_LOCKED */, true },
		{ 102 /* GUARD_INSTALL */, true },
	};
	struct card_buffer buffer;
	uint8_t *memory;
	unsigned int i;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	memcpy(memory, text, sizeof(text));
	memory[MIB / 2] = 0xa5;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int r = madvise(memory, MIB, all[i].advice) ? errno : 0;

		vm_note("madvise %d: %s", all[i].advice, r ? strerror(r) : "taken");
		if (all[i].refused)
			CHECK_MSG(r, "madvise(%d) was taken", all[i].advice);
		CHECK_EQ(memcmp(memory, text, sizeof(text)), 0);
		CHECK_EQ(memory[MIB / 2], 0xa5);
	}
	CHECK(host_find(0, text) >= 0);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	check_gone(memory, MIB);
}

/* --- nobody gets hold of the pages behind it --------------------------------------------- */
TEST(direct_io_into_a_mapping_is_refused, .driver = EMULATED)
{
	int disk = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	struct card_buffer buffer;
	uint8_t *memory;

	CHECK_MSG(disk >= 0, "/dev/ram0: %s", strerror(errno));
	card_buffer_make(&buffer, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	memory[0] = 1;
	CHECK_EQ(pread(disk, memory, PAGE, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(pwrite(disk, memory, PAGE, 0), -1);
	CHECK_EQ(errno, EFAULT);
	/* Pages that nobody has touched yet, and a run that begins in memory that would do. */
	CHECK_EQ(pread(disk, memory + MIB / 2, 8 * PAGE, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(memory[0], 1);
}

/* Memory of a virtual card is the system's own, with struct pages behind it: the mapping must not show them. */
TEST(pages_of_a_virtual_card_cannot_be_pinned_either, .driver = "virtual=1 virtual_mb=8")
{
	int disk = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC), pipes[2];
	struct iovec iov, local;
	struct card_buffer buffer;
	uint8_t *memory;
	char byte[8];

	WAIT_FOR((buffer.fd = open("/dev/accel/accel0", O_RDWR | O_CLOEXEC)) >= 0, 10);
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &buffer.handle), 0);
	CHECK_EQ(card_map(buffer.fd, buffer.handle, &buffer.va), 0);
	buffer.dmabuf = card_export(buffer.fd, buffer.va, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	memory[0] = 1;
	CHECK(disk >= 0);
	CHECK_EQ(pread(disk, memory, PAGE, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(pwrite(disk, memory, PAGE, 0), -1);
	CHECK_EQ(errno, EFAULT);
	iov = (struct iovec){ .iov_base = memory, .iov_len = PAGE };
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	CHECK_EQ(vmsplice(pipes[1], &iov, 1, SPLICE_F_GIFT), -1);
	CHECK_EQ(errno, EFAULT);
	local = (struct iovec){ .iov_base = byte, .iov_len = sizeof(byte) };
	iov.iov_len = sizeof(byte);
	CHECK_EQ(process_vm_readv(getpid(), &local, 1, &iov, 1, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(memory[0], 1);
	close(buffer.fd);
	check_gone(memory, MIB);
}

TEST(pages_of_a_mapping_cannot_be_spliced_registered_or_waited_for, .driver = EMULATED)
{
	struct io_uring_params ring = { 0 };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct card_buffer buffer;
	uint8_t *memory;
	struct iovec iov;
	int pipes[2], fd;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	memory[0] = 1;
	iov = (struct iovec){ .iov_base = memory, .iov_len = PAGE };
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	CHECK_EQ(vmsplice(pipes[1], &iov, 1, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(vmsplice(pipes[1], &iov, 1, SPLICE_F_GIFT), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(syscall(SYS_futex, memory, FUTEX_WAIT, 1, &(struct timespec){ .tv_nsec = 1 }, NULL, 0), -1);
	CHECK_EQ(errno, EFAULT);

	fd = (int)syscall(SYS_io_uring_setup, 4, &ring);
	if (fd >= 0) {
		/* IORING_REGISTER_BUFFERS */
		CHECK_EQ(syscall(SYS_io_uring_register, fd, 0, &iov, 1), -1);
		CHECK(errno == EFAULT || errno == EOPNOTSUPP);
		close(fd);
	} else {
		vm_note("this kernel has no io_uring: %s", strerror(errno));
	}
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd >= 0) {
		CHECK_EQ(ioctl(fd, UFFDIO_API, &api), 0);
		area.range.start = (uintptr_t)memory;
		area.range.len = MIB;
		CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &area), -1);
		area.mode = UFFDIO_REGISTER_MODE_WP;
		CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &area), -1);
		area.mode = UFFDIO_REGISTER_MODE_MINOR;
		CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &area), -1);
		close(fd);
	} else {
		vm_note("this kernel has no userfaultfd: %s", strerror(errno));
	}
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	check_gone(memory, MIB);
}

/* --- nobody looks into it from elsewhere --------------------------------------------------- */
static void looks_into(pid_t pid, uint8_t *memory)
{
	struct iovec local = { .iov_len = 8 }, remote = { .iov_base = memory, .iov_len = 8 };
	char path[64], byte[8];
	int fd, status;

	local.iov_base = byte;
	CHECK_EQ(process_vm_readv(pid, &local, 1, &remote, 1, 0), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(process_vm_writev(pid, &local, 1, &remote, 1, 0), -1);
	CHECK_EQ(errno, EFAULT);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, byte, 8, (off_t)(uintptr_t)memory), -1);
	CHECK_EQ(pwrite(fd, byte, 8, (off_t)(uintptr_t)memory), -1);
	close(fd);
	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	errno = 0;
	CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, memory, 0), -1);
	CHECK_EQ(errno, EIO);
	CHECK_EQ(ptrace(PTRACE_POKEDATA, pid, memory, 0), -1);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
}

struct looked_at {
	uint8_t *memory;
	int sock;
};

static void is_looked_at(void *argument)
{
	struct looked_at *l = argument;

	l->memory[0] = 0x77;
	vm_signal(l->sock);
	vm_await(l->sock);
	CHECK_EQ(l->memory[0], 0x77);
}

/* Not even by a debugger with every right: it can make the process look for itself. */
TEST(mapping_is_visible_to_its_own_process_only, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct looked_at l;
	int sock[2];
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	l.memory = map_with(buffer.dmabuf, 0);
	vm_pair(sock);
	l.sock = sock[1];
	child = vm_child(false, is_looked_at, &l);
	vm_await(sock[0]);
	looks_into(child, l.memory);
	vm_signal(sock[0]);
	vm_child_end(child);
}

static uint8_t scrambled(size_t i)
{
	return (uint8_t)((i + 1) * 0x9e3779b97f4a7c15ull >> 56);
}

static void dumps_core(void *argument)
{
	struct looked_at *l = argument;
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	size_t i;

	CHECK_EQ(chdir("/tmp"), 0);
	CHECK_EQ(setrlimit(RLIMIT_CORE, &all), 0);
	for (i = 0; i < MIB; i++)
		l->memory[i] = scrambled(i);
	abort();
}

TEST(core_dump_holds_no_device_memory, .driver = EMULATED)
{
	uint8_t *core, needle[32];
	struct card_buffer buffer;
	struct looked_at l;
	int status, fd;
	size_t i;
	off_t size;
	pid_t child;

	if (access("/proc/sys/kernel/core_pattern", F_OK)) {
		vm_note("this kernel makes no core dumps");
		return;
	}
	CHECK_EQ(vm_write("/proc/sys/kernel/core_pattern", "/tmp/core"), 0);
	card_buffer_make(&buffer, 0, MIB);
	l.memory = map_with(buffer.dmabuf, 0);
	child = vm_child(false, dumps_core, &l);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK_EQ(l.memory[4711], scrambled(4711));
	fd = open("/tmp/core", O_RDONLY | O_CLOEXEC);
	CHECK_MSG(fd >= 0, "no core dump: %s", strerror(errno));
	size = lseek(fd, 0, SEEK_END);
	CHECK(size > 0);
	vm_note("the core dump has %lld bytes", (long long)size);
	core = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(core != MAP_FAILED);
	for (i = 0; i < sizeof(needle); i++)
		needle[i] = scrambled(i);
	CHECK_MSG(!memmem(core, size, needle, sizeof(needle)), "the core dump holds device memory");
	unlink("/tmp/core");
}

/* The kernel's own accesses on behalf of a program fail as the program's would. */
TEST(system_calls_on_a_revoked_mapping_fail, .driver = EMULATED)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), pipes[2];
	struct card_buffer buffer;
	uint8_t *memory;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_with(buffer.dmabuf, 0);
	CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
	CHECK_EQ(write(pipes[1], memory, 64), 64);
	CHECK_EQ(read(zero, memory, 64), 64);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	CHECK_EQ(write(pipes[1], memory, 64), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK(read(zero, memory, 64) <= 0);
}

/* --- races ------------------------------------------------------------------------------------ */
struct mover {
	uint8_t *volatile now;
	uint8_t *place[2];
	volatile bool stop;
};

static void *moves_all_the_time(void *argument)
{
	struct mover *m = argument;
	unsigned int i = 0;

	while (!m->stop) {
		uint8_t *to = m->place[++i % 2];

		CHECK(mremap(m->now, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		m->now = to;
	}
	return NULL;
}

TEST(mapping_moved_in_the_moment_of_revoke_does_not_survive_it, .driver = EMULATED, .seconds = 120)
{
	unsigned int rounds = vm_long() ? 500 : 25, i;

	for (i = 0; i < rounds; i++) {
		struct card_buffer buffer;
		struct mover m = { 0 };
		pthread_t thread;
		size_t at;

		card_buffer_make(&buffer, 0, MIB);
		m.place[0] = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(m.place[0] != MAP_FAILED);
		m.place[1] = m.place[0] + MIB;
		m.now = map_with(buffer.dmabuf, 0);
		for (at = 0; at < MIB; at += PAGE)
			m.now[at] = 1;
		CHECK_EQ(pthread_create(&thread, NULL, moves_all_the_time, &m), 0);
		vm_sleep(0.001 * (i % 10));
		CHECK_EQ(card_revoke_all(buffer.fd), 1);
		m.stop = true;
		CHECK_EQ(pthread_join(thread, NULL), 0);
		check_gone(m.now, MIB);
		CHECK_EQ(munmap(m.place[0], 2 * MIB), 0);
		close(buffer.dmabuf);
		close(buffer.fd);
	}
	WAIT_FOR(card_state_is(0, "free"), 30);
}

struct forker {
	uint8_t *memory;
	int go[2];
	volatile bool stop;
	pid_t child[32];
	unsigned int n;
};

static void *forks_all_the_time(void *argument)
{
	struct forker *f = argument;
	char byte;

	while (!f->stop && f->n < 32) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			/* Until the parent closes its end: the revoke is over. */
			close(f->go[1]);
			(void)!read(f->go[0], &byte, 1);
			check_gone(f->memory, MIB);
			_exit(0);
		}
		f->child[f->n++] = pid;
	}
	return NULL;
}

TEST(mapping_inherited_in_the_moment_of_revoke_does_not_survive_it, .driver = EMULATED, .seconds = 120)
{
	unsigned int i, j;

	for (i = 0; i < 4; i++) {
		struct card_buffer buffer;
		struct forker f = { 0 };
		pthread_t thread;
		size_t at;

		card_buffer_make(&buffer, 0, MIB);
		f.memory = map_with(buffer.dmabuf, 0);
		for (at = 0; at < MIB; at += PAGE)
			f.memory[at] = 1;
		CHECK_EQ(pipe2(f.go, O_CLOEXEC), 0);
		CHECK_EQ(pthread_create(&thread, NULL, forks_all_the_time, &f), 0);
		vm_sleep(0.005 * (i + 1));
		CHECK_EQ(card_revoke_all(buffer.fd), 1);
		f.stop = true;
		CHECK_EQ(pthread_join(thread, NULL), 0);
		check_gone(f.memory, MIB);
		close(f.go[0]);
		close(f.go[1]);
		for (j = 0; j < f.n; j++)
			vm_child_end(f.child[j]);
		munmap(f.memory, MIB);
		close(buffer.dmabuf);
		close(buffer.fd);
	}
}

/* --- from another pod ------------------------------------------------------------------------- */
static void inherits_and_leaves(void *argument)
{
	struct looked_at *l = argument;
	uint8_t *memory = l->memory;

	/* It got the mapping by fork from the owner, and keeps it until revoke; it gets no more than that. */
	CHECK_EQ(memory[0], 1);
	CHECK_EQ(mprotect(memory, MIB, PROT_READ), 0);
	CHECK(mremap(memory, 0, MIB, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK_EQ(syscall(SYS_remap_file_pages, memory, PAGE, 0, MIB / 2 / PAGE, 0), -1);
	vm_signal(l->sock);
	vm_await(l->sock);
	check_gone(memory + PAGE, MIB - PAGE);
}

TEST(heir_in_another_namespace_gets_no_second_mapping, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct looked_at l;
	int sock[2];
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	l.memory = map_with(buffer.dmabuf, 0);
	l.memory[0] = 1;
	vm_pair(sock);
	l.sock = sock[1];
	child = vm_child(true, inherits_and_leaves, &l);
	vm_await(sock[0]);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	vm_signal(sock[0]);
	vm_child_end(child);
}
