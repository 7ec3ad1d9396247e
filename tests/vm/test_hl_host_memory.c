// SPDX-License-Identifier: Apache-2.0
/*
 * MAP of host memory: what is pinned, who pays for it, what cannot be mapped, and that it is let go with the lease,
 * whoever still holds something else of it.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define VIRTUAL "virtual=1 virtual_mb=8"
#define PAGE 4096ull
#define MIB (1ull << 20)

/* Bytes that this process has pinned. */
static uint64_t pinned(void)
{
	char text[4096];
	const char *line;

	CHECK(vm_read("/proc/self/status", text, sizeof(text)) > 0);
	line = strstr(text, "VmPin:");
	CHECK(line);
	return strtoull(line + 6, NULL, 10) << 10;
}

static uint8_t *memory(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void without_ipc_lock(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK_EQ(syscall(SYS_capget, &head, data), 0);
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	CHECK_EQ(syscall(SYS_capset, &head, data), 0);
}

static void lock_limit(uint64_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	without_ipc_lock();
}

TEST(host_memory_is_pinned_by_map_and_let_go_by_unmap, .driver = VIRTUAL)
{
	uint8_t *p = memory(8 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va, other;

	CHECK_EQ(pinned(), 0);
	CHECK_EQ(hl_map_host(fd, p, 8 * PAGE, 0, 0, &va), 0);
	CHECK_EQ(pinned(), 8 * PAGE);
	/* The same memory again is another mapping, and counts again. */
	CHECK_EQ(hl_map_host(fd, p, 8 * PAGE, 0, 0, &other), 0);
	CHECK(other != va);
	CHECK_EQ(pinned(), 16 * PAGE);
	CHECK_EQ(hl_unmap(fd, va), 0);
	CHECK_EQ(hl_unmap(fd, va), -EINVAL);
	CHECK_EQ(pinned(), 8 * PAGE);
	/* Memory that the program gave back stays pinned until UNMAP. */
	CHECK_EQ(munmap(p, 8 * PAGE), 0);
	CHECK_EQ(pinned(), 8 * PAGE);
	CHECK_EQ(hl_unmap(fd, other), 0);
	CHECK_EQ(pinned(), 0);
}

TEST(host_memory_keeps_its_offset_in_the_page, .driver = VIRTUAL)
{
	uint8_t *p = memory(4 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va;

	CHECK_EQ(hl_map_host(fd, p + 100, 1, 0, 0, &va), 0);
	CHECK_EQ(va % PAGE, 100);
	CHECK_EQ(pinned(), PAGE);
	/* UNMAP wants exactly what MAP gave. */
	CHECK_EQ(hl_unmap(fd, va - 100), -EINVAL);
	CHECK_EQ(hl_unmap(fd, va + 1), -EINVAL);
	CHECK_EQ(hl_unmap(fd, va + PAGE), -EINVAL);
	CHECK_EQ(hl_unmap(fd, va), 0);
	/* Two bytes on either side of a page's end are two pages. */
	CHECK_EQ(hl_map_host(fd, p + PAGE - 1, 2, 0, 0, &va), 0);
	CHECK_EQ(pinned(), 2 * PAGE);
	CHECK_EQ(hl_unmap(fd, va), 0);
	CHECK_EQ(pinned(), 0);
}

TEST(host_memory_counts_against_the_memory_lock_limit, .driver = VIRTUAL)
{
	uint8_t *p = memory(64 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t one, two;

	lock_limit(16 * PAGE);
	CHECK_EQ(hl_map_host(fd, p, 17 * PAGE, 0, 0, &one), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, 10 * PAGE, 0, 0, &one), 0);
	CHECK_EQ(hl_map_host(fd, p, 7 * PAGE, 0, 0, &two), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p + 1, 6 * PAGE, 0, 0, &two), -ENOMEM);
	CHECK_EQ(pinned(), 10 * PAGE);
	CHECK_EQ(hl_map_host(fd, p, 6 * PAGE, 0, 0, &two), 0);
	CHECK_EQ(hl_unmap(fd, one), 0);
	CHECK_EQ(hl_map_host(fd, p, 10 * PAGE, 0, 0, &one), 0);
	CHECK_EQ(pinned(), 16 * PAGE);
	/* What the last lease pinned is not in the way of the next one. */
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(pinned(), 0);
	fd = hl_open_card(-1);
	CHECK_EQ(hl_map_host(fd, p, 16 * PAGE, 0, 0, &one), 0);
}

TEST(host_memory_limit_does_not_bind_cap_ipc_lock, .driver = VIRTUAL)
{
	struct rlimit none = { 0, 0 };
	uint8_t *p = memory(16 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va;

	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	CHECK_EQ(hl_map_host(fd, p, 16 * PAGE, 0, 0, &va), 0);
	CHECK_EQ(pinned(), 16 * PAGE);
}

TEST(host_memory_of_no_size_or_that_wraps_around_is_refused, .driver = VIRTUAL)
{
	uint8_t *p = memory(PAGE);
	int fd = hl_open_card(-1);
	uint64_t va = 0;

	CHECK_EQ(hl_map_host(fd, p, 0, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map_host(fd, p, UINT64_MAX, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map_host(fd, p, -(uintptr_t)p, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map_host(fd, p, -(uintptr_t)p - 1, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map_host(fd, (void *)UINTPTR_MAX, 1, 0, 0, &va), -EINVAL);
	CHECK_EQ(hl_map_host(fd, (void *)(UINTPTR_MAX - PAGE), 2, 0, 0, &va), -EINVAL);
	CHECK_EQ(va, 0);
	CHECK_EQ(pinned(), 0);
}

TEST(host_memory_that_is_not_there_is_refused, .driver = VIRTUAL)
{
	uint8_t *p = memory(1024 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va;

	CHECK_EQ(hl_map_host(fd, NULL, PAGE, 0, 0, &va), -EFAULT);
	/* A kernel address. */
	CHECK_EQ(hl_map_host(fd, (void *)0xffff888000000000ull, PAGE, 0, 0, &va), -EFAULT);
	/* A hole far behind the beginning: what was pinned before it was found is let go. */
	CHECK_EQ(munmap(p + 1000 * PAGE, PAGE), 0);
	CHECK_EQ(hl_map_host(fd, p, 1024 * PAGE, 0, 0, &va), -EFAULT);
	CHECK_EQ(hl_map_host(fd, p + 999 * PAGE, PAGE + 1, 0, 0, &va), -EFAULT);
	CHECK_EQ(pinned(), 0);
	/* The card might write: what the program itself may not write is not mapped. */
	CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
	CHECK_EQ(hl_map_host(fd, p, PAGE, 0, 0, &va), -EFAULT);
	CHECK_EQ(mprotect(p, PAGE, PROT_NONE), 0);
	CHECK_EQ(hl_map_host(fd, p, PAGE, 0, 0, &va), -EFAULT);
	CHECK_EQ(pinned(), 0);
	CHECK_EQ(hl_map_host(fd, p + PAGE, 999 * PAGE, 0, 0, &va), 0);
}

TEST(host_memory_of_a_huge_size_costs_nothing_before_it_is_seen, .driver = VIRTUAL)
{
	uint8_t *p = memory(MIB);
	int fd = hl_open_card(-1);
	double start = vm_now();
	uint64_t va, size;

	/* With the limit in force by the limit, without it by what is mapped: 64 TiB of page pointers are never asked for. */
	for (size = MIB * 1024; size < 1ull << 62; size *= 4)
		CHECK_EQ(hl_map_host(fd, p, size, 0, 0, &va), -EFAULT);
	lock_limit(MIB);
	for (size = MIB * 2; size < 1ull << 62; size *= 4)
		CHECK_EQ(hl_map_host(fd, p, size, 0, 0, &va), -ENOMEM);
	CHECK(vm_now() - start < 20);
	CHECK_EQ(pinned(), 0);
	CHECK_EQ(hl_map_host(fd, p, MIB, 0, 0, &va), 0);
}

TEST(host_memory_of_many_pages_is_mapped_in_one_piece, .driver = VIRTUAL)
{
	uint64_t size = 96 * MIB + PAGE, va, va2;
	uint8_t *p = memory(size);
	int fd = hl_open_card(-1);

	CHECK_EQ(hl_map_host(fd, p + 7, size - 7, 0, 0, &va), 0);
	CHECK_EQ(pinned(), size);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-memory"), size);
	CHECK_EQ(hl_map_host(fd, p, size, va - 7 + size, HL_MEM_FORCE_HINT, &va2), 0);
	CHECK_EQ(hl_map_host(fd, p, PAGE, va - 7 + size - PAGE, HL_MEM_FORCE_HINT, &va2), -ENOMEM);
	CHECK_EQ(hl_unmap(fd, va), 0);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-memory"), size);
}

TEST(dmabuf_mapping_is_no_host_memory, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), dmabuf;
	uint64_t handle, va;
	uint8_t *p;

	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
	dmabuf = hl_export(fd, va, 0, MIB);
	CHECK(dmabuf >= 0);
	p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	CHECK(p != MAP_FAILED);
	p[0] = 1;
	CHECK_EQ(hl_map_host(fd, p, PAGE, 0, 0, &va), -EFAULT);
	CHECK_EQ(pinned(), 0);
}

TEST(host_memory_hint_is_used_if_free_and_forced_hint_fails_if_not, .driver = VIRTUAL)
{
	uint8_t *p = memory(16 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va, hint, device, handle;

	CHECK_EQ(hl_map_host(fd, p, 4 * PAGE, 0, 0, &va), 0);
	hint = va + MIB;
	CHECK_EQ(hl_map_host(fd, p + 5, 4 * PAGE, hint, 0, &va), 0);
	CHECK_EQ(va, hint + 5);
	/* Taken: another one, or with force none. Five pages are taken. */
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint, 0, &va), 0);
	CHECK(va != hint);
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint + 4 * PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, 2 * PAGE, hint - PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint + 5 * PAGE, HL_MEM_FORCE_HINT, &va), 0);
	CHECK_EQ(va, hint + 5 * PAGE);
	/* Not aligned, none of ours, at the end of the world. */
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint + 100 * PAGE + 1, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, PAGE, hint + 100 * PAGE + 1, 0, &va), 0);
	CHECK_EQ(hl_map_host(fd, p, PAGE, PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, 2 * PAGE, -PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map_host(fd, p, PAGE, -PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	/* Addresses of device memory are for device memory, and the other way round. */
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &device), 0);
	CHECK_EQ(hl_map_host(fd, p, PAGE, device + CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(hl_map(fd, handle, hint + 64 * CARD_PAGE, HL_MEM_FORCE_HINT, &va), -ENOMEM);
	CHECK_EQ(pinned(), (4 + 5 + 1 + 1 + 1) * PAGE);
}

TEST(host_memory_cannot_be_exported, .driver = VIRTUAL)
{
	uint8_t *p = memory(2 * CARD_PAGE);
	int fd = hl_open_card(-1);
	uint64_t va;

	p = (uint8_t *)(((uintptr_t)p + CARD_PAGE - 1) & -(uintptr_t)CARD_PAGE);
	CHECK_EQ(hl_map_host(fd, p, CARD_PAGE, 0, 0, &va), 0);
	CHECK_EQ(hl_export(fd, va, 0, CARD_PAGE), -EINVAL);
	CHECK_EQ(hl_export(fd, va, PAGE, PAGE), -EINVAL);
	CHECK_EQ(hl_free(fd, va), -EINVAL);
	CHECK_EQ(hl_unmap(fd, va), 0);
}

/* --- the lease's end ---------------------------------------------------------------- */
static void keep_dmabuf(void *sock)
{
	int dmabuf = vm_recv_fd(((int *)sock)[1]);

	CHECK(dmabuf >= 0);
	vm_signal(((int *)sock)[1]);
	vm_await(((int *)sock)[1]);
}

TEST(host_memory_is_let_go_although_a_stranger_holds_a_dmabuf, .driver = VIRTUAL)
{
	uint8_t *p = memory(64 * PAGE);
	int fd, sock[2], dmabuf;
	uint64_t handle, va, host;
	pid_t stranger;

	vm_pair(sock);
	stranger = vm_child(true, keep_dmabuf, sock);
	fd = hl_open_card(-1);
	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
	dmabuf = hl_export(fd, va, 0, MIB);
	CHECK(dmabuf >= 0);
	CHECK_EQ(hl_map_host(fd, p, 64 * PAGE, 0, 0, &host), 0);
	vm_send_fd(sock[0], dmabuf);
	vm_await(sock[0]);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(pinned(), 0);
	vm_signal(sock[0]);
	vm_child_end(stranger);
}

TEST(host_memory_is_let_go_although_an_importer_holds, .driver = "emulated=1 nonrevocable=hold")
{
	uint8_t *p = memory(64 * PAGE);
	struct card_buffer buffer;
	uint64_t host;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(hl_map_host(buffer.fd, p, 64 * PAGE, 0, 0, &host), 0);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.dmabuf);
	CHECK_EQ(close(buffer.fd), 0);
	CHECK(card_state_is(0, "draining"));
	CHECK_EQ(pinned(), 0);
	close(peer);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

TEST(host_memory_is_let_go_when_the_owners_namespace_dies, .driver = VIRTUAL)
{
	uint8_t *p = memory(64 * PAGE);
	int fd = hl_open_card(-1);
	uint64_t va;

	CHECK_EQ(hl_map_host(fd, p + 1, 63 * PAGE, 0, 0, &va), 0);
	CHECK_EQ(pinned(), 64 * PAGE);
	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	WAIT_FOR(pinned() == 0, 20);
	CHECK_EQ(hl_unmap(fd, va), -ENODEV);
	CHECK_EQ(hl_map_host(fd, p, PAGE, 0, 0, &va), -ENODEV);
	CHECK_EQ(pinned(), 0);
}

TEST(host_memory_is_let_go_when_the_card_is_pulled, .driver = "emulated=1")
{
	uint8_t *p = memory(64 * PAGE);
	int fd = hl_open_card(0);
	uint64_t va;

	CHECK_EQ(hl_map_host(fd, p, 64 * PAGE, 0, 0, &va), 0);
	host_card_remove(0);
	WAIT_FOR(pinned() == 0, 20);
	CHECK_EQ(hl_unmap(fd, va), -ENODEV);
	host_card_add(0);
	WAIT_FOR(card_is_there(0), 30);
}

static void map_and_die(void *fd)
{
	uint8_t *p = memory(64 * PAGE);
	uint64_t va;

	CHECK_EQ(hl_map_host(*(int *)fd, p, 64 * PAGE, 0, 0, &va), 0);
	CHECK_EQ(pinned(), 64 * PAGE);
}

TEST(host_memory_outlives_the_process_that_mapped_it, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1);
	uint64_t va;

	/* A child with the parent's file pays itself, and is gone before the lease ends. */
	vm_child_end(vm_child(false, map_and_die, &fd));
	CHECK_EQ(pinned(), 0);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-memory"), 64 * PAGE);
	CHECK_EQ(hl_map_host(fd, memory(PAGE), PAGE, 0, 0, &va), 0);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(pinned(), 0);
}
