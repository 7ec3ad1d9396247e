// SPDX-License-Identifier: Apache-2.0
/*
 * Files of an owner in the hands of others, by every way that Linux has to hand on a file.
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>

#include "test_attack_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ul << 20)

static int reopen(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

/* --- by another process --------------------------------------------------------------- */
static long steal(const long *a)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)a[0], 0), fd;

	CHECK(pidfd >= 0);
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)a[1], 0);
	close(pidfd);
	return fd < 0 ? -errno : fd;
}

TEST(files_stolen_by_pidfd_are_of_no_use, .driver = EMULATED)
{
	struct victim owner;
	struct pod thief;
	long accel, dmabuf;

	victim_start(&owner, 0, MIB);
	pod_start(&thief);
	accel = POD(&thief, steal, owner.pod.pid, owner.fd);
	dmabuf = POD(&thief, steal, owner.pod.pid, owner.dmabuf);
	CHECK(accel >= 0 && dmabuf >= 0);
	stranger_is_refused(&thief, accel, dmabuf, -EPERM);
	CHECK(POD(&owner.pod, pod_alloc, owner.fd, MIB) > 0);
	pod_stop(&owner.pod);
	next_owner_finds_nothing(&thief, 0);
	stranger_is_refused(&thief, accel, dmabuf, -ENODEV);
}

/* The arguments of a call that a debugger makes another process make: at the same place in both, a fork. */
static union hl_mem_args traced;

static long traced_prepare(const long *a)
{
	(void)a;
	traced = (union hl_mem_args){ .in = { .op = HL_MEM_OP_ALLOC, .alloc = { .mem_size = CARD_PAGE } } };
	return 0;
}

/* Has a process that waits in a system call make an ioctl. */
static long inject_ioctl(pid_t pid, long fd)
{
	struct user_regs_struct before, now;
	int status;

	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSTOPPED(status));
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &before), 0);
	now = before;
	now.rip -= 2; /* the instruction that took it into the kernel */
	now.orig_rax = (unsigned long)-1;
	now.rax = SYS_ioctl;
	now.rdi = fd;
	now.rsi = DRM_IOCTL_HL_MEMORY;
	now.rdx = (unsigned long)&traced;
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &now), 0);
	CHECK_EQ(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSTOPPED(status));
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &now), 0);
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &before), 0);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	return (long)now.rax;
}

/* What counts is the namespace of the task that makes the call, not of the one that makes it do so. */
TEST(traced_call_counts_as_the_traced_process_does_not_the_debugger, .driver = EMULATED)
{
	struct victim owner;
	struct pod stranger;
	int accel;

	victim_start(&owner, 0, MIB);
	CHECK_EQ(POD(&owner.pod, traced_prepare, 0), 0);
	CHECK_EQ(inject_ioctl(owner.pod.pid, owner.fd), 0);
	/* It goes on as if nothing had been. */
	CHECK(POD(&owner.pod, pod_alloc, owner.fd, MIB) > 0);

	/* The other way round: who may do so has a stranger do it. */
	pod_start(&stranger);
	accel = pod_pass(&owner.pod, owner.fd, &stranger);
	CHECK_EQ(POD(&stranger, traced_prepare, 0), 0);
	CHECK_EQ(inject_ioctl(stranger.pid, accel), -EPERM);
}

/* --- in flight ---------------------------------------------------------------------------- */
/* Sends both files into a socket, its ends into another, and gives back an end of the last. */
static long nest(const long *a)
{
	int inner[2], outer[2];

	vm_pair(inner);
	vm_pair(outer);
	vm_send_fd(inner[0], a[0]);
	vm_send_fd(inner[0], a[1]);
	vm_send_fd(outer[0], inner[1]);
	vm_send_fd(outer[0], inner[0]);
	close(inner[0]);
	close(inner[1]);
	close(outer[0]);
	return outer[1];
}

static long receive(const long *a)
{
	return vm_recv_fd(a[0]);
}

/* The sockets are of the owner's namespace and keep it from dying; who has them lives elsewhere and never looks. */
TEST(files_in_flight_in_a_socket_in_flight_hold_nothing, .driver = EMULATED)
{
	long accel, dmabuf, outer, inner;
	struct victim owner;
	struct pod stranger;

	victim_start(&owner, 0, MIB);
	outer = POD(&owner.pod, nest, owner.fd, owner.dmabuf);
	CHECK(outer >= 0);
	pod_start(&stranger);
	outer = pod_pass(&owner.pod, outer, &stranger);
	CHECK_EQ(POD(&owner.pod, pod_close, owner.fd), 0);
	CHECK_MSG(card_state_is(0, "owned"), "what is in flight is still open while its owner lives");
	pod_stop(&owner.pod);
	next_owner_finds_nothing(&stranger, 0);

	inner = POD(&stranger, receive, outer);
	accel = POD(&stranger, receive, inner);
	dmabuf = POD(&stranger, receive, inner);
	stranger_is_refused(&stranger, accel, dmabuf, -ENODEV);
}

/* A socket that holds itself: only the kernel's garbage collector can close what is in it. */
static long cycle(const long *a)
{
	int sock[2];

	vm_pair(sock);
	vm_send_fd(sock[0], a[0]);
	vm_send_fd(sock[0], a[1]);
	vm_send_fd(sock[0], sock[0]);
	vm_send_fd(sock[0], sock[1]);
	close(sock[0]);
	close(sock[1]);
	return 0;
}

TEST(files_in_a_socket_that_holds_itself_hold_nothing, .driver = EMULATED)
{
	struct victim owner;
	struct pod next;

	victim_start(&owner, 0, MIB);
	CHECK_EQ(POD(&owner.pod, cycle, owner.fd, owner.dmabuf), 0);
	pod_stop(&owner.pod);
	pod_start(&next);
	next_owner_finds_nothing(&next, 0);
}

TEST(importer_in_flight_is_revoked_as_any_other, .driver = EMULATED)
{
	struct victim owner;
	struct pod next;
	long outer, peer;
	int keep;

	victim_start(&owner, 0, MIB);
	peer = POD(&owner.pod, pod_import, owner.dmabuf, EDU_PEER_PINNED_REVOCABLE, 0);
	CHECK(peer >= 0);
	outer = POD(&owner.pod, nest, peer, owner.dmabuf);
	keep = pod_take(&owner.pod, outer);
	pod_stop(&owner.pod);
	pod_start(&next);
	next_owner_finds_nothing(&next, 0);
	close(keep);
}

/* --- other ways to a file ----------------------------------------------------------------- */
TEST(accel_file_opened_again_is_a_second_opener, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint64_t handle;
	char path[64];
	int fd;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(reopen(buffer.fd, O_RDWR), -EBUSY);
	CHECK_EQ(reopen(buffer.fd, O_RDONLY | O_NONBLOCK), -EBUSY);
	/* A place in the file system is no opener, and not more than that. */
	snprintf(path, sizeof(path), "/dev/accel/accel%d", card_index(0));
	fd = open(path, O_PATH | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(card_alloc(fd, MIB, 0, &handle), -EBADF);
	CHECK_EQ(reopen(fd, O_RDWR), -EBUSY);
	close(buffer.dmabuf);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	/* A node of one's own making is the same device. */
	CHECK_EQ(mknod("/tmp/accel", S_IFCHR | 0600, ({
			       struct stat st;
			       fstat(fd, &st);
			       st.st_rdev;
		       })),
		 0);
	buffer.fd = open("/tmp/accel", O_RDWR | O_CLOEXEC);
	CHECK(buffer.fd >= 0);
	CHECK_EQ(card_open(0, 0), -EBUSY);
	unlink("/tmp/accel");
}

TEST(copies_of_a_file_end_with_the_last_of_them, .driver = EMULATED)
{
	int fd = card_open(0, 0), i, copies[32];
	uint64_t handle;

	CHECK(fd >= 0);
	for (i = 0; i < 32; i++) {
		copies[i] = fcntl(fd, i % 2 ? F_DUPFD : F_DUPFD_CLOEXEC, 10);
		CHECK(copies[i] >= 0);
	}
	close(fd);
	for (i = 0; i < 31; i++)
		close(copies[i]);
	CHECK(card_state_is(0, "owned"));
	CHECK_EQ(card_alloc(copies[31], MIB, 0, &handle), 0);
	close(copies[31]);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

static int read_only_export(const struct card_buffer *buffer)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,
					   .flags = O_RDONLY | O_CLOEXEC,
					   .export_dmabuf_fd = { .addr = buffer->va, .mem_size = MIB } } };

	CHECK_EQ(ioctl(buffer->fd, DRM_IOCTL_HL_MEMORY, &args), 0);
	return (int)args.out.fd;
}

TEST(read_only_dmabuf_cannot_be_made_writable, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	int fd;

	card_buffer_make(&buffer, 0, MIB);
	fd = read_only_export(&buffer);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK_EQ(reopen(fd, O_RDWR), -ENXIO);
	CHECK_EQ(reopen(fd, O_RDONLY), -ENXIO);
	CHECK(fcntl(fd, F_SETFL, O_RDWR | O_APPEND | O_NONBLOCK | O_DIRECT) == 0 || errno == EINVAL);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK_EQ(errno, EACCES);
	CHECK(mmap(NULL, MIB, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK_EQ(errno, EACCES);
	memory = mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(memory != MAP_FAILED);
	CHECK_EQ(memory[0], 0);
	CHECK_EQ(mprotect(memory, MIB, PROT_READ | PROT_WRITE), -1);
	CHECK_EQ(errno, EACCES);
	CHECK_EQ(mprotect(memory, MIB, PROT_WRITE), -1);
	CHECK_EQ(errno, EACCES);
	/* Writing to it as to a file was never possible. */
	CHECK_EQ(write(fd, "x", 1), -1);
	CHECK_EQ(write(buffer.dmabuf, "x", 1), -1);
	CHECK_EQ(read(buffer.dmabuf, memory, 1), -1);
	CHECK_EQ(ftruncate(buffer.dmabuf, 4096), -1);
	CHECK_EQ(fallocate(buffer.dmabuf, 0, 0, 4096), -1);
	CHECK(host_is_zero(0, 0, 0));
}

/* What the dma-buf core does for everybody who has the file: it tells the size, and reaches no memory. */
static long stranger_syncs(const long *a)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_RW, .fd = -1 };
	struct dma_buf_import_sync_file in = { .flags = DMA_BUF_SYNC_WRITE };
	int fd = (int)a[0], alive = a[1] == 0;

	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0, a[1]);
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync), 0);
	sync.flags = 0xff00;
	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0, -EINVAL);
	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out), 0);
	in.fd = out.fd;
	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in), 0);
	in.fd = fd;
	CHECK_EQ(ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in) ? -errno : 0, -EINVAL);
	CHECK_EQ(ioctl(fd, DMA_BUF_SET_NAME, "a stranger's name") ? -errno : 0, 0);
	close(out.fd);
	CHECK_EQ(lseek(fd, 0, SEEK_END), (long)MIB);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(lseek(fd, 4096, SEEK_SET), -1);
	CHECK_EQ(pod_mmap((const long[6]){ fd, MIB, PROT_READ }), alive ? -EPERM : -ENODEV);
	return 0;
}

TEST(stranger_can_synchronise_and_gets_nothing_by_it, .driver = EMULATED)
{
	struct victim owner;
	struct pod stranger;
	int dmabuf;

	victim_start(&owner, 0, MIB);
	pod_start(&stranger);
	dmabuf = pod_pass(&owner.pod, owner.dmabuf, &stranger);
	CHECK_EQ(POD(&stranger, stranger_syncs, dmabuf, 0), 0);
	pod_stop(&owner.pod);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(POD(&stranger, stranger_syncs, dmabuf, -ENODEV), 0);
	next_owner_finds_nothing(&stranger, 0);
}

TEST(accel_file_is_no_file_of_memory, .driver = EMULATED)
{
	struct card_buffer buffer;
	int prot, i;
	char byte;

	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < 3; i++) {
		static const off_t offsets[] = { 0, 1l << 44, 4096 };

		for (prot = 0; prot < 8; prot++) {
			CHECK(mmap(NULL, 4096, prot, MAP_SHARED, buffer.fd, offsets[i]) == MAP_FAILED);
			CHECK_EQ(errno, prot & PROT_EXEC ? EPERM : EINVAL);
			CHECK(mmap(NULL, 4096, prot, MAP_PRIVATE, buffer.fd, offsets[i]) == MAP_FAILED);
		}
	}
	CHECK_EQ(pread(buffer.fd, &byte, 1, 0), -1);
	CHECK_EQ(pwrite(buffer.fd, "x", 1, 0), -1);
	CHECK_EQ(ftruncate(buffer.fd, 0), -1);
	lseek(buffer.fd, 1 << 20, SEEK_SET);
	CHECK_EQ(read(buffer.fd, &byte, 1), -1);
}
