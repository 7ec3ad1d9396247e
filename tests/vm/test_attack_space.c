// SPDX-License-Identifier: Apache-2.0
/*
 * Owners that fork, execute, leave their network namespace, come back, or are gone from it while files and mounts keep
 * it: the owner is the tasks that live in the namespace.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_attack_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ul << 20)

static long own_netns(const long *a)
{
	(void)a;
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static long enter_netns(const long *a)
{
	return setns(a[0], CLONE_NEWNET) ? -errno : 0;
}

/* A victim in the test's own namespace, where others live. */
static void victim_start_here(struct victim *v)
{
	pod_start_here(&v->pod);
	v->size = MIB;
	v->fd = POD(&v->pod, pod_open, 0, 0);
	CHECK(v->fd >= 0);
	v->handle = POD(&v->pod, pod_alloc, v->fd, v->size);
	v->va = POD(&v->pod, pod_map, v->fd, v->handle);
	v->dmabuf = POD(&v->pod, pod_export, v->fd, v->va, 0, v->size);
	CHECK(v->dmabuf >= 0);
}

TEST(process_of_the_pod_goes_on_after_the_openers_death, .driver = EMULATED)
{
	struct victim opener;
	struct pod other;
	long fd, dmabuf;

	victim_start_here(&opener);
	pod_start_here(&other);
	fd = pod_pass(&opener.pod, opener.fd, &other);
	dmabuf = pod_pass(&opener.pod, opener.dmabuf, &other);
	pod_stop(&opener.pod);
	/* Longer than the interval at which owners are looked after. */
	vm_sleep(1.5);
	CHECK(card_state_is(0, "owned"));
	CHECK(POD(&other, pod_alloc, fd, MIB) > 0);
	CHECK_EQ(POD(&other, pod_import_try, dmabuf, EDU_PEER_DYNAMIC), 0);
	/* A child that leaves the pod leaves the card. */
	CHECK_EQ(POD(&other, pod_unshare_net, 0), 0);
	stranger_is_refused(&other, fd, dmabuf, -EPERM);
	pod_stop(&other);
	pod_start(&other);
	next_owner_finds_nothing(&other, 0);
}

TEST(owner_that_leaves_its_namespace_may_again_when_it_returns, .driver = EMULATED)
{
	struct victim owner;
	long home;

	victim_start_here(&owner);
	home = POD(&owner.pod, own_netns, 0);
	CHECK(home >= 0);
	CHECK_EQ(POD(&owner.pod, pod_unshare_net, 0), 0);
	stranger_is_refused(&owner.pod, owner.fd, owner.dmabuf, -EPERM);
	CHECK_EQ(POD(&owner.pod, enter_netns, home), 0);
	CHECK(POD(&owner.pod, pod_alloc, owner.fd, MIB) > 0);
	CHECK_EQ(POD(&owner.pod, pod_import_try, owner.dmabuf, EDU_PEER_DYNAMIC), 0);
}

/* Threads of one process in two namespaces: each is what it is. */
static void *leaver(void *argument)
{
	const struct card_buffer *buffer = argument;
	uint64_t handle;

	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &handle), -EPERM);
	CHECK_EQ(pod_import_try((const long[6]){ buffer->dmabuf, EDU_PEER_DYNAMIC }), -EPERM);
	return NULL;
}

TEST(thread_that_leaves_the_namespace_is_a_stranger, .driver = EMULATED)
{
	struct card_buffer buffer;
	pthread_t thread;
	uint64_t handle;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(pthread_create(&thread, NULL, leaver, &buffer), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &handle), 0);
	CHECK_EQ(pod_import_try((const long[6]){ buffer.dmabuf, EDU_PEER_DYNAMIC }), 0);
}

/* The opener itself leaves, and nobody else lives there. */
TEST(card_of_a_deserted_namespace_is_free, .driver = EMULATED)
{
	struct victim owner;
	struct pod next;
	long home;

	victim_start(&owner, 0, MIB);
	home = POD(&owner.pod, own_netns, 0);
	CHECK_EQ(POD(&owner.pod, pod_unshare_net, 0), 0);
	pod_start(&next);
	next_owner_finds_nothing(&next, 0);
	CHECK_EQ(POD(&owner.pod, enter_netns, home), 0);
	stranger_is_refused(&owner.pod, owner.fd, owner.dmabuf, -ENODEV);
}

/* Whoever has a file of the namespace keeps it alive; with the card's file in hand, too, he keeps no card. */
TEST(namespace_file_in_a_strangers_hands_holds_nothing, .driver = EMULATED)
{
	long accel, dmabuf, home;
	struct victim owner;
	struct pod stranger;

	victim_start(&owner, 0, MIB);
	pod_start(&stranger);
	home = pod_pass(&owner.pod, POD(&owner.pod, own_netns, 0), &stranger);
	accel = pod_pass(&owner.pod, owner.fd, &stranger);
	dmabuf = pod_pass(&owner.pod, owner.dmabuf, &stranger);
	stranger_is_refused(&stranger, accel, dmabuf, -EPERM);
	pod_stop(&owner.pod);
	next_owner_finds_nothing(&stranger, 0);
	CHECK_EQ(POD(&stranger, enter_netns, home), 0);
	stranger_is_refused(&stranger, accel, dmabuf, -ENODEV);
}

static long bind_netns(const long *a)
{
	int fd = open("/run/netns/kept", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)a;
	CHECK(fd >= 0);
	close(fd);
	return mount("/proc/self/ns/net", "/run/netns/kept", NULL, MS_BIND, NULL) ? -errno : 0;
}

TEST(namespace_kept_by_a_mount_holds_nothing, .driver = EMULATED)
{
	struct victim owner;
	struct pod stranger;
	long accel, home;

	victim_start(&owner, 0, MIB);
	pod_start(&stranger);
	accel = pod_pass(&owner.pod, owner.fd, &stranger);
	CHECK_EQ(POD(&owner.pod, bind_netns, 0), 0);
	pod_stop(&owner.pod);
	next_owner_finds_nothing(&stranger, 0);
	CHECK_EQ(POD(&stranger, pod_alloc, accel, MIB), -ENODEV);
	/* The namespace is there, and who goes into it finds a card that is not his. */
	home = open("/run/netns/kept", O_RDONLY | O_CLOEXEC);
	CHECK(home >= 0);
	CHECK_EQ(POD(&stranger, enter_netns, pod_give(&stranger, home)), 0);
	CHECK_EQ(POD(&stranger, pod_alloc, accel, MIB), -ENODEV);
	CHECK_EQ(umount2("/run/netns/kept", MNT_DETACH), 0);
	unlink("/run/netns/kept");
}

/* On the host network the owner is a cgroup; its files outlive it as those of a pod do. */
static long enter_cgroup(const long *a)
{
	char path[64], pid[32];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/attack%ld", a[0]);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "/sys/fs/cgroup/attack%ld/cgroup.procs", a[0]);
	snprintf(pid, sizeof(pid), "%d", getpid());
	return vm_write(path, pid);
}

TEST(files_of_a_dead_host_network_pod_hold_nothing, .driver = EMULATED, .initial_netns = true)
{
	long fd, handle, va, dmabuf, accel, theirs;
	struct pod owner, stranger;

	pod_start_here(&owner);
	pod_start_here(&stranger);
	CHECK_EQ(POD(&owner, enter_cgroup, 1), 0);
	CHECK_EQ(POD(&stranger, enter_cgroup, 2), 0);
	fd = POD(&owner, pod_open, 0, 0);
	CHECK(fd >= 0);
	handle = POD(&owner, pod_alloc, fd, MIB);
	va = POD(&owner, pod_map, fd, handle);
	dmabuf = POD(&owner, pod_export, fd, va, 0, MIB);
	accel = pod_pass(&owner, fd, &stranger);
	theirs = pod_pass(&owner, dmabuf, &stranger);
	stranger_is_refused(&stranger, accel, theirs, -EPERM);
	vm_sleep(1.5);
	CHECK(card_state_is(0, "owned"));
	pod_stop(&owner);
	next_owner_finds_nothing(&stranger, 0);
	stranger_is_refused(&stranger, accel, theirs, -ENODEV);
	pod_stop(&stranger);
	rmdir("/sys/fs/cgroup/attack1");
	rmdir("/sys/fs/cgroup/attack2");
}

/* --- exec --------------------------------------------------------------------------------- */
static void sleeps(void *argument)
{
	int *keep = argument, fd = card_open(0, 0);

	CHECK(fd >= 0);
	if (*keep)
		CHECK_EQ(fcntl(fd, F_SETFD, 0), 0);
	execl("/bin/sleep", "sleep", "60", (char *)NULL);
	_exit(1);
}

static bool is_sleeping(pid_t pid)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return vm_read(path, text, sizeof(text)) > 0 && !strcmp(text, "sleep");
}

TEST(exec_ends_the_lease_unless_the_file_is_passed_on, .driver = EMULATED)
{
	int keep = 0;
	pid_t child;

	child = vm_child(true, sleeps, &keep);
	WAIT_FOR(is_sleeping(child), 30);
	WAIT_FOR(card_state_is(0, "free"), 30);
	kill_and_wait(child);

	keep = 1;
	child = vm_child(true, sleeps, &keep);
	WAIT_FOR(is_sleeping(child), 30);
	vm_sleep(1.5);
	CHECK(card_state_is(0, "owned"));
	CHECK_EQ(card_open(0, 0), -EBUSY);
	kill_and_wait(child);
	WAIT_FOR(card_state_is(0, "free"), 30);
}
