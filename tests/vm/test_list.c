// SPDX-License-Identifier: Apache-2.0
/*
 * What the owner and root are told of exports and their importers: LIST and debugfs.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gaudi_p2p.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define MIB (1u << 20)

/* --- LIST ------------------------------------------------------------------------------ */
static struct gaudi_p2p_export list_one(const struct card_buffer *buffer)
{
	struct gaudi_p2p_export entry = { 0 };

	CHECK_EQ(card_list(buffer->fd, &entry, 1), 1);
	return entry;
}

static void check_entry(const struct card_buffer *buffer, uint32_t state, uint32_t kind, uint32_t holds)
{
	struct gaudi_p2p_export entry = list_one(buffer);

	CHECK_EQ(entry.state, state);
	CHECK_EQ(entry.kind, kind);
	CHECK_EQ(entry.holds, holds);
	CHECK_EQ(entry.size, buffer->size);
	CHECK_EQ(entry.pad, 0);
}

TEST(list_tells_mapping_offset_size_and_importer, .driver = EMULATED)
{
	struct gaudi_p2p_export entries[3];
	struct card_buffer buffer;
	char device[32];
	int part, peer;

	card_buffer_make(&buffer, 0, MIB);
	part = card_export(buffer.fd, buffer.va, MIB / 2, MIB / 4);
	CHECK(part >= 0);
	peer = peer_of(part, EDU_PEER_DYNAMIC, 0);
	memset(entries, 0x55, sizeof(entries));
	CHECK_EQ(card_list(buffer.fd, entries, 3), 2);
	CHECK_EQ(entries[0].addr, buffer.va);
	CHECK_EQ(entries[0].offset, 0);
	CHECK_EQ(entries[0].size, MIB);
	CHECK_EQ(entries[0].kind, GAUDI_P2P_IMPORTER_NONE);
	CHECK_EQ(entries[0].holds, 0);
	CHECK_EQ(entries[0].importer[0], 0);
	CHECK(entries[1].id > entries[0].id);
	CHECK_EQ(entries[1].addr, buffer.va);
	CHECK_EQ(entries[1].offset, MIB / 2);
	CHECK_EQ(entries[1].size, MIB / 4);
	CHECK_EQ(entries[1].state, GAUDI_P2P_EXPORT_LIVE);
	CHECK_EQ(entries[1].kind, GAUDI_P2P_IMPORTER_DYNAMIC);
	CHECK_EQ(entries[1].holds, 1);
	CHECK_EQ(strncmp(entries[1].importer, "0000:", 5), 0);
	CHECK_EQ(strnlen(entries[1].importer, sizeof(entries[1].importer)), 12);
	card_pci(0, device, sizeof(device));
	CHECK(strcmp(entries[1].importer, device));
	/* Behind the last one nothing was written. */
	CHECK_EQ(entries[2].pad, 0x55555555);
	close(peer);
	close(part);
	WAIT_FOR(card_list(buffer.fd, entries, 3) == 1, 5);
}

TEST(list_names_each_kind_of_importer, .driver = HOLD)
{
	static const struct {
		uint32_t kind, listed, holds;
	} rows[] = {
		{ EDU_PEER_DYNAMIC, GAUDI_P2P_IMPORTER_DYNAMIC, 1 },
		{ EDU_PEER_PINNED_REVOCABLE, GAUDI_P2P_IMPORTER_PINNED_REVOCABLE, 2 },
		{ EDU_PEER_PINNED, GAUDI_P2P_IMPORTER_PINNED, 2 },
	};
	struct card_buffer buffer;
	unsigned int i;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < 3; i++) {
		peer = peer_open();
		CHECK_EQ(peer_attach(peer, buffer.dmabuf, rows[i].kind, 0), 0);
		/* Attached: whether it will pin cannot be known yet. */
		check_entry(&buffer, GAUDI_P2P_EXPORT_LIVE,
			    rows[i].kind == EDU_PEER_PINNED ? GAUDI_P2P_IMPORTER_PINNED
							    : GAUDI_P2P_IMPORTER_DYNAMIC,
			    0);
		CHECK_EQ(peer_map(peer), 0);
		check_entry(&buffer, GAUDI_P2P_EXPORT_LIVE, rows[i].listed, rows[i].holds);
		CHECK_EQ(peer_unmap(peer), 0);
		check_entry(&buffer, GAUDI_P2P_EXPORT_LIVE, rows[i].listed, 0);
		close(peer);
		check_entry(&buffer, GAUDI_P2P_EXPORT_LIVE, GAUDI_P2P_IMPORTER_NONE, 0);
	}
}

TEST(list_shows_kernel_mappings_and_work_announced_by_fences, .driver = EMULATED)
{
	struct gaudi_p2p_export entries[4];
	struct card_buffer buffer;
	int kernel, fence;

	card_buffer_make(&buffer, 0, MIB);
	kernel = peer_of(buffer.dmabuf, EDU_PEER_KERNEL, 0);
	CHECK_EQ(card_list(buffer.fd, entries, 4), 2);
	CHECK_EQ(entries[0].kind, GAUDI_P2P_IMPORTER_PINNED_REVOCABLE);
	CHECK_EQ(entries[0].holds, 1);
	CHECK_EQ(entries[1].kind, GAUDI_P2P_IMPORTER_KERNEL);
	CHECK_EQ(entries[1].holds, 1);
	CHECK_EQ(entries[1].id, entries[0].id);
	close(kernel);

	fence = peer_of(buffer.dmabuf, EDU_PEER_FENCE, 0);
	check_entry(&buffer, GAUDI_P2P_EXPORT_LIVE, GAUDI_P2P_IMPORTER_DYNAMIC, 1);
	CHECK_EQ(card_revoke_wait(buffer.fd, 0), 1);
	CHECK_EQ(card_list(buffer.fd, entries, 4), 2);
	CHECK_EQ(entries[0].state, GAUDI_P2P_EXPORT_REVOKED);
	CHECK_EQ(entries[0].holds, 0);
	CHECK_EQ(entries[1].kind, GAUDI_P2P_IMPORTER_FENCE);
	CHECK_EQ(entries[1].holds, 1);
	CHECK_EQ(entries[1].importer[0], 0);
	/* It outlives the file. */
	close(buffer.dmabuf);
	CHECK_EQ(peer_signal(fence), 0);
	CHECK_EQ(card_revoke_wait(buffer.fd, 5000), 0);
	close(fence);
	WAIT_FOR(card_list(buffer.fd, entries, 4) == 0, 5);
}

TEST(list_counts_beyond_the_room_and_writes_none_there, .driver = EMULATED)
{
	enum { EXPORTS = 200 };
	static struct gaudi_p2p_export entries[EXPORTS + 1];
	struct card_buffer buffer;
	uint64_t last = 0;
	int i;

	card_buffer_make(&buffer, 0, MIB);
	for (i = 1; i < EXPORTS; i++)
		CHECK(card_export(buffer.fd, buffer.va, 0, 4096u * (unsigned int)i) >= 0);
	CHECK_EQ(card_list(buffer.fd, NULL, 0), EXPORTS);
	memset(entries, 0x55, sizeof(entries));
	CHECK_EQ(card_list(buffer.fd, entries, 100), EXPORTS);
	CHECK_EQ(entries[100].pad, 0x55555555);
	CHECK_EQ(card_list(buffer.fd, entries, EXPORTS + 1), EXPORTS);
	for (i = 0; i < EXPORTS; i++) {
		CHECK(entries[i].id > last);
		last = entries[i].id;
		CHECK_EQ(entries[i].size, i ? 4096u * (unsigned int)i : MIB);
	}
	CHECK_EQ(card_revoke_all(buffer.fd), EXPORTS);
	CHECK_EQ(card_list(buffer.fd, entries, EXPORTS), EXPORTS);
	CHECK_EQ(entries[EXPORTS - 1].state, GAUDI_P2P_EXPORT_REVOKED);
}

static void lists_as_stranger(void *argument)
{
	CHECK_EQ(card_list(*(int *)argument, NULL, 0), -EPERM);
}

TEST(list_refuses_what_it_does_not_know, .driver = EMULATED)
{
	struct gaudi_p2p_export *edge;
	struct card_buffer buffer;
	struct gaudi_p2p_list args;
	struct gaudi_p2p_export entry;

	card_buffer_make(&buffer, 0, MIB);
#define LIST(...)                                                                                          \
	({                                                                                                 \
		args = (struct gaudi_p2p_list){                                                            \
			.entries = (uintptr_t)&entry, .entry_size = sizeof(entry), .count = 1, __VA_ARGS__ \
		};                                                                                         \
		ioctl(buffer.fd, DRM_IOCTL_GAUDI_P2P_LIST, &args) ? -errno : 0;                            \
	})
	CHECK_EQ(LIST(), 0);
	CHECK_EQ(args.count, 1);
	CHECK_EQ(LIST(.pad = 1), -EINVAL);
	CHECK_EQ(LIST(.pad2 = 1), -EINVAL);
	CHECK_EQ(LIST(.reserved = { 1 }), -EINVAL);
	CHECK_EQ(LIST(.reserved = { 0, 1 }), -EINVAL);
	args = (struct gaudi_p2p_list){ .entry_size = sizeof(entry) - 8 };
	CHECK_EQ(ioctl(buffer.fd, DRM_IOCTL_GAUDI_P2P_LIST, &args), -1);
	CHECK_EQ(errno, EINVAL);
	args = (struct gaudi_p2p_list){ .entries = 4096, .entry_size = sizeof(entry), .count = 1 };
	CHECK_EQ(ioctl(buffer.fd, DRM_IOCTL_GAUDI_P2P_LIST, &args), -1);
	CHECK_EQ(errno, EFAULT);
	/* An entry that is only half in memory. */
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(munmap((char *)edge + 4096, 4096), 0);
	CHECK_EQ(card_list(buffer.fd, (void *)((char *)edge + 4096 - 40), 1), -EFAULT);
	vm_child_end(vm_child(true, lists_as_stranger, &buffer.fd));
#undef LIST
}

TEST(calls_answer_enodev_after_the_lease, .driver = EMULATED)
{
	struct gaudi_p2p_export entry;
	struct card_buffer buffer;
	char path[96], device[32];
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	card_buffer_make(&buffer, 0, MIB);
	card_pci(0, device, sizeof(device));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", device);
	CHECK_EQ(vm_write(path, "1"), 0);
	CHECK_EQ(card_list(buffer.fd, &entry, 1), -ENODEV);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pidfd), -ENODEV);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pidfd), -ENODEV);
	CHECK_EQ(card_revoke_wait(buffer.fd, 1000), -ENODEV);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

/* The same call as a 32-bit program makes it. */
static int ioctl_32(int fd, unsigned int request, void *argument)
{
	int r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(54), "b"(fd), "c"(request), "d"((uint32_t)(uintptr_t)argument)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static void calls_as_32_bit(void *argument)
{
	const struct card_buffer *buffer = argument;
	struct {
		struct gaudi_p2p_list list;
		struct gaudi_p2p_revoke revoke;
		struct gaudi_p2p_grant grant;
		struct gaudi_p2p_export entry;
	} * low;

	low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		   0);
	CHECK(low != MAP_FAILED);
	low->list = (struct gaudi_p2p_list){ .entries = (uintptr_t)&low->entry,
					     .entry_size = sizeof(low->entry),
					     .count = 1 };
	CHECK_EQ(ioctl_32(buffer->fd, DRM_IOCTL_GAUDI_P2P_LIST, &low->list), 0);
	CHECK_EQ(low->list.count, 1);
	CHECK_EQ(low->entry.addr, buffer->va);
	CHECK_EQ(low->entry.size, MIB);
	low->grant = (struct gaudi_p2p_grant){ .fd = buffer->dmabuf,
					       .pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0) };
	CHECK_EQ(ioctl_32(buffer->fd, DRM_IOCTL_GAUDI_P2P_GRANT, &low->grant), 0);
	low->revoke = (struct gaudi_p2p_revoke){ .flags = GAUDI_P2P_REVOKE_ADDR, .addr = buffer->va };
	CHECK_EQ(ioctl_32(buffer->fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &low->revoke), 0);
	CHECK_EQ(low->revoke.revoked, 1);
	low->revoke.reserved[1] = 1;
	CHECK_EQ(ioctl_32(buffer->fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &low->revoke), -EINVAL);
}

TEST(calls_mean_the_same_for_32_bit_programs, .driver = EMULATED)
{
	struct card_buffer buffer;

	/* The debug kernel is built without that way in. */
	if (access("/proc/sys/abi/vsyscall32", F_OK)) {
		vm_note("this kernel runs no 32-bit programs");
		return;
	}
	card_buffer_make(&buffer, 0, MIB);
	vm_child_end(vm_child(false, calls_as_32_bit, &buffer));
}

static void *sits(void *argument)
{
	CHECK_EQ(peer_sit(*(int *)argument, 3000), 0);
	return NULL;
}

/* An importer of a new buffer that has the dma-resv for 3 seconds from now on; peer must live as long. */
static pthread_t make_sitter(struct card_buffer *buffer, int *peer)
{
	pthread_t sitter;

	card_buffer_make(buffer, 0, MIB);
	*peer = peer_of(buffer->dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(pthread_create(&sitter, NULL, sits, peer), 0);
	vm_sleep(0.3);
	return sitter;
}

static void *lists(void *argument)
{
	CHECK_EQ(card_list(*(int *)argument, NULL, 0), 1);
	return NULL;
}

TEST(list_waits_for_an_importer_without_the_devices_lock, .driver = EMULATED)
{
	struct card_buffer buffer;
	pthread_t sitter, lister;
	uint64_t handle;
	double start;
	int peer;

	sitter = make_sitter(&buffer, &peer);
	start = vm_now();
	CHECK_EQ(pthread_create(&lister, NULL, lists, &buffer.fd), 0);
	vm_sleep(0.3);
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &handle), 0);
	CHECK_MSG(vm_now() - start < 2, "ALLOC waited %.1f s", vm_now() - start);
	CHECK_EQ(pthread_join(lister, NULL), 0);
	CHECK(vm_now() - start > 2);
	CHECK_EQ(pthread_join(sitter, NULL), 0);
}

/* --- debugfs ----------------------------------------------------------------------------- */
static void debugfs_path(char *path, size_t size)
{
	char device[32];

	card_pci(0, device, sizeof(device));
	snprintf(path, size, "/sys/kernel/debug/accel/%s/exports", device);
}

static const char *debugfs_exports(void)
{
	static char text[8192];
	char path[128];

	debugfs_path(path, sizeof(path));
	CHECK(vm_read(path, text, sizeof(text)) >= 0);
	return text;
}

#define CHECK_SAYS(text, words) CHECK_MSG(strstr(text, words), "\"%s\" is missing in: %s", words, text)

static void granted_pod(void *argument)
{
	const int *c = argument;

	vm_signal(c[0]);
	vm_await(c[0]);
	peer_of(c[1], EDU_PEER_PINNED_REVOCABLE, 0);
	vm_signal(c[0]);
	vm_await(c[0]);
}

TEST(debugfs_tells_who_holds_each_export, .driver = EMULATED)
{
	struct card_buffer buffer;
	char wanted[128];
	struct stat st;
	const char *text;
	int sock[2], c[2], peer;
	pid_t pod;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_SAYS(debugfs_exports(), "size 1048576 live holds 0");
	CHECK_EQ(stat("/proc/self/ns/net", &st), 0);
	snprintf(wanted, sizeof(wanted), "lease netns:[%lu] pid %d\n", (unsigned long)st.st_ino, getpid());
	CHECK_SAYS(debugfs_exports(), wanted);
	CHECK_SAYS(debugfs_exports(), "  range 0x0 at 0x");

	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	vm_pair(sock);
	c[0] = sock[1];
	c[1] = buffer.dmabuf;
	pod = vm_child(true, granted_pod, c);
	vm_await(sock[0]);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, (int)syscall(SYS_pidfd_open, pod, 0)), 0);
	snprintf(wanted, sizeof(wanted), "/proc/%d/ns/net", pod);
	CHECK_EQ(stat(wanted, &st), 0);
	vm_signal(sock[0]);
	vm_await(sock[0]);
	text = debugfs_exports();
	CHECK_SAYS(text, "live holds 3");
	CHECK_SAYS(text, " dynamic holds 1");
	snprintf(wanted, sizeof(wanted), "  granted to netns:[%lu]\n", (unsigned long)st.st_ino);
	CHECK_SAYS(text, wanted);
	snprintf(wanted, sizeof(wanted), " pinned-revocable holds 2 granted netns:[%lu]\n",
		 (unsigned long)st.st_ino);
	CHECK_SAYS(text, wanted);
	vm_signal(sock[0]);
	vm_child_end(pod);
	CHECK_EQ(peer_unmap(peer), 0);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	CHECK_SAYS(debugfs_exports(), "revoked holds 0");
	close(peer);
	close(buffer.dmabuf);
	WAIT_FOR(!*debugfs_exports(), 5);
}

static void reads_as_nobody(void *argument)
{
	char text[16];

	CHECK_EQ(setgid(65534), 0);
	CHECK_EQ(setuid(65534), 0);
	CHECK_EQ(vm_read(argument, text, sizeof(text)), -EACCES);
}

TEST(debugfs_is_for_root_only, .driver = EMULATED)
{
	struct card_buffer buffer;
	char path[128];
	struct stat st;

	card_buffer_make(&buffer, 0, MIB);
	debugfs_path(path, sizeof(path));
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0400);
	CHECK_EQ(st.st_uid, 0);
	vm_child_end(vm_child(false, reads_as_nobody, path));
}

static void *revokes(void *argument)
{
	CHECK_EQ(card_revoke_all(*(int *)argument), 1);
	return NULL;
}

TEST(debugfs_does_not_wait_for_an_importer_on_the_dma_resv, .driver = EMULATED)
{
	struct card_buffer buffer;
	pthread_t sitter, revoker;
	double start;
	int peer;

	sitter = make_sitter(&buffer, &peer);
	start = vm_now();
	CHECK_SAYS(debugfs_exports(), "importers unknown: one of them has the dma-resv");
	CHECK(vm_now() - start < 1);
	/* Now somebody waits for the importer with the device's lock. */
	CHECK_EQ(pthread_create(&revoker, NULL, revokes, &buffer.fd), 0);
	vm_sleep(0.3);
	CHECK_SAYS(debugfs_exports(), "busy: perhaps an importer");
	CHECK_MSG(vm_now() - start < 2.2, "debugfs took %.1f s", vm_now() - start);
	CHECK_EQ(pthread_join(sitter, NULL), 0);
	CHECK_EQ(pthread_join(revoker, NULL), 0);
	CHECK_SAYS(debugfs_exports(), "revoked holds 0");
}
