// SPDX-License-Identifier: Apache-2.0
/* What GRANT refuses, and what a grantee gets by trickery. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gaudi_p2p.h>
#include <linux/udmabuf.h>

#include "card.h"
#include "test_grant_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define MIB (1u << 20)
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static int grant(int fd, struct gaudi_p2p_grant args)
{
	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_GRANT, &args) ? -errno : 0;
}

TEST(grant_refuses_what_it_does_not_know, .driver = EMULATED)
{
	struct gaudi_p2p_grant good, bad;
	struct card_buffer buffer;
	struct pod pod;
	int file = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	card_buffer_make(&buffer, 0, MIB);
	pod_start(&pod, true, buffer.dmabuf);
	good = (struct gaudi_p2p_grant){ .fd = buffer.dmabuf, .pidfd = pod.pidfd };
#define BAD(field, value) (bad = good, bad.field = (value), grant(buffer.fd, bad))
	CHECK_EQ(BAD(flags, 2), -EINVAL);
	CHECK_EQ(BAD(flags, 1u << 31), -EINVAL);
	CHECK_EQ(BAD(reserved[0], 1), -EINVAL);
	CHECK_EQ(BAD(reserved[1], 1), -EINVAL);
	CHECK_EQ(BAD(fd, -1), -EBADF);
	CHECK_EQ(BAD(fd, 9999), -EBADF);
	CHECK_EQ(BAD(fd, buffer.fd), -EINVAL);
	CHECK_EQ(BAD(pidfd, -1), -EBADF);
	CHECK_EQ(BAD(pidfd, 9999), -EBADF);
	CHECK_EQ(BAD(pidfd, file), -EBADF);
	CHECK_EQ(BAD(pidfd, buffer.fd), -EBADF);
	CHECK_EQ(BAD(pidfd, buffer.dmabuf), -EBADF);
	CHECK_EQ(BAD(pidfd, pod.sock), -EBADF);
	/* Nothing was given yet. */
	CHECK_EQ(BAD(flags, GAUDI_P2P_GRANT_TAKE_BACK), -ENOENT);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	/* An answer from before does no harm. */
	CHECK_EQ(BAD(held, 7), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	/* Granting twice is one grant. */
	CHECK_EQ(grant(buffer.fd, good), 0);
	CHECK_EQ(BAD(flags, GAUDI_P2P_GRANT_TAKE_BACK), 0);
	CHECK_EQ(BAD(flags, GAUDI_P2P_GRANT_TAKE_BACK), -ENOENT);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	/* Revoked: there is nothing to grant. */
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	CHECK_EQ(grant(buffer.fd, good), -ENODEV);
#undef BAD
	pod_end(&pod);
}

static int udmabuf_make(void)
{
	struct udmabuf_create args = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = 4096 };
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), dmabuf;

	CHECK(device >= 0);
	args.memfd = (uint32_t)memfd_create("grant", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK_EQ(ftruncate((int)args.memfd, 4096), 0);
	CHECK_EQ(fcntl((int)args.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dmabuf = ioctl(device, UDMABUF_CREATE, &args);
	CHECK(dmabuf >= 0);
	close((int)args.memfd);
	close(device);
	return dmabuf;
}

TEST(grant_is_for_exports_of_the_callers_lease_only, .driver = EMULATED)
{
	struct card_buffer buffer, other;
	struct pod pod;
	int former, mine;

	card_buffer_make(&buffer, 0, MIB);
	card_buffer_make(&other, 1, MIB);
	pod_start(&pod, true, other.dmabuf);
	CHECK_EQ(card_grant(buffer.fd, udmabuf_make(), pod.pidfd), -EINVAL);
	CHECK_EQ(card_take_back(buffer.fd, udmabuf_make(), pod.pidfd), -EINVAL);
	CHECK_EQ(card_grant(buffer.fd, other.dmabuf, pod.pidfd), -EINVAL);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	/* Of a former lease of the same card, by the same owner. */
	former = buffer.dmabuf;
	close(buffer.fd);
	mine = card_open(0, 0);
	CHECK(mine >= 0);
	CHECK_EQ(card_grant(mine, former, pod.pidfd), -EINVAL);
	pod_end(&pod);
}

static void *thread_pidfd(void *argument)
{
	*(int *)argument = (int)syscall(SYS_pidfd_open, syscall(SYS_gettid), PIDFD_THREAD);
	vm_sleep(2);
	return NULL;
}

static void exits(void *argument)
{
	(void)argument;
}

TEST(grant_takes_threads_and_no_dead_processes, .driver = EMULATED)
{
	struct card_buffer buffer;
	pthread_t thread;
	volatile int pidfd = -1;
	siginfo_t info;
	pid_t child;
	int dead, status;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(pthread_create(&thread, NULL, thread_pidfd, (void *)&pidfd), 0);
	WAIT_FOR(pidfd >= 0, 5);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pidfd), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pidfd), 0);

	child = vm_child(true, exits, NULL);
	dead = pod_pidfd(child, 0);
	/* A zombie has left its namespaces. */
	CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, dead), -ESRCH);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, dead), -ESRCH);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, dead), -ESRCH);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, dead), -ESRCH);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	/* It is joined some moments before it is gone. */
	WAIT_FOR(card_grant(buffer.fd, buffer.dmabuf, pidfd) == -ESRCH, 10);
}

TEST(an_export_has_at_most_64_grants, .driver = EMULATED, .seconds = 120)
{
	struct pod pods[GAUDI_P2P_GRANTS_MAX + 1];
	struct card_buffer buffer;
	int i, other;

	card_buffer_make(&buffer, 0, MIB);
	other = card_export(buffer.fd, buffer.va, 0, MIB);
	for (i = 0; i <= GAUDI_P2P_GRANTS_MAX; i++) {
		pod_start(&pods[i], true, buffer.dmabuf);
		CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pods[i].pidfd),
			 i < GAUDI_P2P_GRANTS_MAX ? 0 : -ENOSPC);
	}
	/* Again is no other; another export has its own; one that is taken back or dead makes room. */
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pods[0].pidfd), 0);
	CHECK_EQ(card_grant(buffer.fd, other, pods[GAUDI_P2P_GRANTS_MAX].pidfd), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pods[7].pidfd), 0);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pods[GAUDI_P2P_GRANTS_MAX].pidfd), 0);
	CHECK_EQ(pod_do(&pods[GAUDI_P2P_GRANTS_MAX], POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pods[7].pidfd), -ENOSPC);
	pod_end(&pods[9]);
	WAIT_FOR(card_grant(buffer.fd, buffer.dmabuf, pods[7].pidfd) == 0, 10);
	for (i = 0; i <= GAUDI_P2P_GRANTS_MAX; i++)
		if (i != 9)
			pod_end(&pods[i]);
}

/* --- the host network ------------------------------------------------------------------- */
static void enter(const char *cgroup)
{
	char path[64], pid[32];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", cgroup);
	snprintf(pid, sizeof(pid), "%d", getpid());
	CHECK_EQ(vm_write(path, pid), 0);
}

TEST(in_the_initial_namespace_a_grant_is_for_a_cgroup, .driver = EMULATED, .initial_netns = true)
{
	struct card_buffer buffer;
	struct pod root, pod, other;

	pod_start(&root, false, -1);
	CHECK_EQ(pod_do(&root, POD_CGROUP, 1, 0), 0);
	enter("pod1");
	card_buffer_make(&buffer, 0, MIB);
	pod_end(&root);

	pod_start(&root, false, buffer.dmabuf);
	pod_start(&pod, false, buffer.dmabuf);
	pod_start(&other, false, buffer.dmabuf);
	CHECK_EQ(pod_do(&pod, POD_CGROUP, 2, 0), 0);
	CHECK_EQ(pod_do(&other, POD_CGROUP, 3, 0), 0);
	CHECK_EQ(pod_do(&root, POD_CGROUP_ROOT, 0, 0), 0);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, root.pidfd), -EPERM);
	CHECK_EQ(pod_do(&root, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(pod_do(&other, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, other.pidfd), -ENOENT);
	/* Whoever moves into the cgroup is of the pod. */
	CHECK_EQ(pod_do(&other, POD_CGROUP, 2, 0), 0);
	CHECK_EQ(pod_do(&other, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, other.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	pod_end(&root);
	pod_end(&pod);
	pod_end(&other);
	enter(".");
}

/* A cgroup's end is announced to nobody, and this one is not even removed. */
TEST(grant_ends_when_no_task_is_left_in_the_cgroup, .driver = EMULATED, .initial_netns = true)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	struct pod maker, pod;
	int peer;

	pod_start(&maker, false, -1);
	CHECK_EQ(pod_do(&maker, POD_CGROUP, 1, 0), 0);
	enter("pod1");
	card_buffer_make(&buffer, 0, MIB);
	pod_end(&maker);
	pod_start(&pod, false, buffer.dmabuf);
	CHECK_EQ(pod_do(&pod, POD_CGROUP, 2, 0), 0);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	peer = pod_receive(&pod);
	vm_sleep(1.5);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 1);
	pod_end(&pod);
	WAIT_FOR((peer_state(peer, &state), !state.mapped), 20);
	CHECK_EQ(peer_map(peer), -ENODEV);
	CHECK(card_state_is(0, "owned"));
	enter(".");
}

/* --- trickery ------------------------------------------------------------------------------ */
TEST(grant_does_not_open_what_policy_closes, .driver = EMULATED " cpu_mmap=0")
{
	struct card_buffer buffer;
	struct pod pod;

	card_buffer_make(&buffer, 0, MIB);
	pod_start(&pod, true, buffer.dmabuf);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED, 0), -EOPNOTSUPP);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -EACCES);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED_REVOCABLE, 0), 0);
	pod_end(&pod);
}

TEST(kernel_mapping_ends_when_the_grant_is_taken_back, .driver = EMULATED)
{
	static const uint32_t kinds[] = { EDU_PEER_KERNEL, EDU_PEER_KERNEL_UNPINNED };
	struct card_buffer buffer;
	struct pod pod;
	unsigned int i;

	card_buffer_make(&buffer, 0, MIB);
	pod_start(&pod, true, buffer.dmabuf);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
		CHECK_EQ(pod_do(&pod, POD_ATTACH, kinds[i], 0), 0);
		CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
		CHECK_EQ(pod_do(&pod, POD_WRITE, i * 4096, 0), 0);
		CHECK_EQ(pod_do(&pod, POD_READS, i * 4096, 0), 1);
		CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
		CHECK_EQ(pod_do(&pod, POD_READS, i * 4096, 0), -ENXIO);
		/* Who does not pin gets a mapping of nothing. */
		CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), kinds[i] == EDU_PEER_KERNEL ? -ENODEV : 0);
		CHECK(pod_do(&pod, POD_READS, i * 4096, 0) != 1);
	}
	pod_end(&pod);
}

TEST(importer_that_maps_again_at_once_cannot_after_take_back, .driver = EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	struct pod pod;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	pod_start(&pod, true, buffer.dmabuf);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_REFAULTING, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	peer = pod_receive(&pod);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	WAIT_FOR((peer_state(peer, &state), state.refault_error), 5);
	CHECK_EQ(state.refault_error, -ENODEV);
	CHECK_EQ(state.mapped, 0);
	pod_end(&pod);
}

/* The pod's last process is gone, but a socket that it made lives elsewhere. */
TEST(a_socket_does_not_keep_a_grant_alive, .driver = EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	int peer, sock;
	struct pod pod;

	card_buffer_make(&buffer, 0, MIB);
	pod_start(&pod, true, buffer.dmabuf);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	peer = pod_receive(&pod);
	CHECK_EQ(pod_do(&pod, POD_MAKE_SOCKET, 0, 0), 0);
	sock = pod_receive(&pod);
	pod_end(&pod);
	WAIT_FOR((peer_state(peer, &state), !state.mapped), 20);
	CHECK_EQ(peer_map(peer), -ENODEV);
	CHECK(card_state_is(0, "owned"));
	close(sock);
}

struct race {
	int dmabuf;
	int sock;
};

static void attaches_until_told(void *argument)
{
	const struct race *race = argument;
	int peer = -1, r = -EPERM, mapped = 0;
	char byte;

	vm_signal(race->sock);
	while (recv(race->sock, &byte, 1, MSG_DONTWAIT) < 0) {
		close(peer);
		peer = peer_open();
		r = peer_attach(peer, race->dmabuf, mapped % 2 ? EDU_PEER_DYNAMIC : EDU_PEER_PINNED_REVOCABLE,
				0);
		CHECK_MSG(!r || r == -EPERM, "attach: %s", strerror(-r));
		if (r)
			continue;
		r = peer_map(peer);
		CHECK_MSG(!r || r == -ENODEV, "map: %s", strerror(-r));
		mapped++;
	}
	CHECK_MSG(mapped, "never mapped");
	CHECK_EQ(send(race->sock, &peer, sizeof(peer), MSG_NOSIGNAL), (ssize_t)sizeof(peer));
	/* Taken back for good. */
	CHECK_EQ(peer_map(peer), r == -EPERM ? -EINVAL : -ENODEV);
}

TEST(attach_in_the_moment_of_take_back_does_not_survive_it, .driver = EMULATED)
{
	struct gaudi_p2p_export entries[8];
	struct card_buffer buffer;
	struct race race;
	int sock[2], pidfd, i, n, answer;
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	vm_pair(sock);
	race = (struct race){ .dmabuf = buffer.dmabuf, .sock = sock[1] };
	child = vm_child(true, attaches_until_told, &race);
	vm_await(sock[0]);
	pidfd = pod_pidfd(child, 0);
	for (i = 0; i < 100; i++) {
		CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pidfd), 0);
		vm_sleep(0.0005 * (i % 10));
		CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pidfd), 0);
		n = card_list(buffer.fd, entries, 8);
		CHECK(n >= 1);
		while (n--)
			CHECK_MSG(!entries[n].holds, "an importer maps after the grant was taken back");
	}
	vm_signal(sock[0]);
	CHECK_EQ(recv(sock[0], &answer, sizeof(answer), MSG_WAITALL), (ssize_t)sizeof(answer));
	vm_child_end(child);
}

enum { RACE_MAPPINGS = 64 };

static void maps_until_told(void *argument)
{
	const struct race *race = argument;
	uint8_t *mapping[RACE_MAPPINGS] = { NULL }, *memory;
	unsigned int n = 0, i;
	char byte;

	vm_signal(race->sock);
	while (recv(race->sock, &byte, 1, MSG_DONTWAIT) < 0) {
		memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, race->dmabuf, 0);
		CHECK_MSG(memory != MAP_FAILED || errno == EPERM, "mmap: %s", strerror(errno));
		if (memory == MAP_FAILED)
			continue;
		/* Before, in, or after the moment: it may be there or not. */
		raises_sigbus(memory);
		if (mapping[n % RACE_MAPPINGS])
			CHECK_EQ(munmap(mapping[n % RACE_MAPPINGS], 65536), 0);
		mapping[n++ % RACE_MAPPINGS] = memory;
	}
	CHECK_MSG(n, "never mapped");
	for (i = 0; i < RACE_MAPPINGS && mapping[i]; i++)
		CHECK_MSG(raises_sigbus(mapping[i] + 4096), "a mapping survives the end of its grant");
	vm_note("%u mappings", n);
}

TEST(mmap_in_the_moment_of_take_back_does_not_survive_it, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct race race;
	int sock[2], pidfd, i;
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	vm_pair(sock);
	race = (struct race){ .dmabuf = buffer.dmabuf, .sock = sock[1] };
	child = vm_child(true, maps_until_told, &race);
	vm_await(sock[0]);
	pidfd = pod_pidfd(child, 0);
	for (i = 0; i < 100; i++) {
		CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pidfd), 0);
		vm_sleep(0.0005 * (i % 10));
		CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pidfd), 0);
	}
	vm_signal(sock[0]);
	vm_child_end(child);
}
