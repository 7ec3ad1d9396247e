// SPDX-License-Identifier: Apache-2.0
/*
 * Who may use a card, and when it changes hands.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

TEST(second_opener_is_refused_at_once, .driver = EMULATED)
{
	int fd = card_open(0, 0), other;
	double start = vm_now();

	CHECK(fd >= 0);
	CHECK_EQ(card_open(0, 0), -EBUSY);
	CHECK_EQ(card_open(0, O_NONBLOCK), -EBUSY);
	CHECK(vm_now() - start < 1);
	/* The other card is its own. */
	other = card_open(1, 0);
	CHECK(other >= 0);
	close(fd);
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "after the close it is free: %s", strerror(-fd));
}

TEST(duplicated_file_keeps_the_lease_until_the_last_close, .driver = EMULATED)
{
	int fd = card_open(0, 0), copy = dup(fd);
	uint64_t handle;

	CHECK(fd >= 0 && copy >= 0);
	close(fd);
	CHECK(card_state_is(0, "owned"));
	CHECK_EQ(card_alloc(copy, MIB, 0, &handle), 0);
	close(copy);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

/* --- strangers ----------------------------------------------------------------- */
struct stranger {
	int sock;
	uint64_t va;
	uint64_t handle;
};

static void stranger_tries_everything(void *argument)
{
	struct stranger *s = argument;
	int accel = vm_recv_fd(s->sock), dmabuf = vm_recv_fd(s->sock);
	struct hl_info_hw_idle idle;
	uint64_t handle;
	int peer;

	CHECK_EQ(card_info(accel, HL_INFO_HW_IDLE, &idle, sizeof(idle)), -EPERM);
	CHECK_EQ(card_alloc(accel, MIB, 0, &handle), -EPERM);
	CHECK_EQ(card_free(accel, s->handle), -EPERM);
	CHECK_EQ(card_unmap(accel, s->va), -EPERM);
	CHECK_EQ(card_export(accel, s->va, 0, MIB), -EPERM);
	CHECK_EQ(card_revoke_all(accel), -EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, accel, 0) == MAP_FAILED);
	CHECK_EQ(errno, EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, EPERM);
	peer = peer_open();
	CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_PINNED_REVOCABLE, 0), -EPERM);
	CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_PINNED, 0), -EPERM);
	vm_signal(s->sock);

	/* The owner goes on; then he is gone. */
	vm_await(s->sock);
	CHECK_EQ(card_alloc(accel, MIB, 0, &handle), -ENODEV);
	CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_DYNAMIC, 0), -ENODEV);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
	vm_signal(s->sock);
}

/* The owner lives in a pod of his own, gives both files away, and dies when told to. */
struct giver {
	int to_stranger;
	int to_test;
};

static void giver_gives_and_waits(void *argument)
{
	struct giver *g = argument;
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	close(peer);
	vm_send_fd(g->to_stranger, buffer.fd);
	vm_send_fd(g->to_stranger, buffer.dmabuf);
	vm_signal(g->to_test);
	vm_await(g->to_test);
}

TEST(stranger_with_both_files_gets_nothing_and_holds_up_nothing, .driver = EMULATED)
{
	int gift[2], owner_sock[2], stranger_sock[2];
	struct stranger s = { 0 };
	struct giver g;
	pid_t owner, other;
	int fd;

	vm_pair(gift);
	vm_pair(owner_sock);
	vm_pair(stranger_sock);
	g = (struct giver){ .to_stranger = gift[0], .to_test = owner_sock[1] };
	owner = vm_child(true, giver_gives_and_waits, &g);
	s = (struct stranger){ .sock = gift[1], .va = 1ULL << 44, .handle = 1 };
	other = vm_child(true, stranger_tries_everything, &s);
	close(gift[1]);
	vm_await(owner_sock[0]);

	/* The stranger answers over the gift socket, whose other end we hold. */
	vm_await(gift[0]);
	CHECK(card_state_is(0, "owned"));
	CHECK(host_find(0, secret) >= 0);
	vm_signal(owner_sock[0]);
	vm_child_end(owner);
	/* Only the owner's namespace has died: his file lives on in the stranger. */
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	fd = card_open(0, O_NONBLOCK);
	CHECK_MSG(fd >= 0, "the next owner cannot open: %s", strerror(-fd));
	vm_signal(gift[0]);
	vm_await(gift[0]);
	vm_child_end(other);
	CHECK(card_state_is(0, "owned"));
}

static void flight_owner(void *argument)
{
	struct giver *g = argument;
	struct card_buffer buffer;

	card_buffer_make(&buffer, 0, MIB);
	vm_send_fd(g->to_stranger, buffer.fd);
	vm_send_fd(g->to_stranger, buffer.dmabuf);
	vm_signal(g->to_test);
	vm_await(g->to_test);
}

TEST(files_in_flight_do_not_hold_the_device, .driver = EMULATED)
{
	int flight[2], sock[2], fd;
	struct giver g;
	uint64_t handle;
	pid_t owner;

	/* Nobody receives: the files exist in the socket only. */
	vm_pair(flight);
	vm_pair(sock);
	g = (struct giver){ .to_stranger = flight[0], .to_test = sock[1] };
	owner = vm_child(true, flight_owner, &g);
	vm_await(sock[0]);
	CHECK(card_state_is(0, "owned"));
	vm_signal(sock[0]);
	vm_child_end(owner);
	WAIT_FOR(card_state_is(0, "free"), 30);
	fd = vm_recv_fd(flight[1]);
	CHECK_EQ(card_alloc(fd, MIB, 0, &handle), -ENODEV);
}

static void killed_owner(void *argument)
{
	struct giver *g = argument;
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	vm_signal(g->to_test);
	for (;;)
		CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
}

TEST(killed_owner_leaves_zero_memory_and_a_free_device, .driver = EMULATED)
{
	struct giver g;
	int sock[2], status;
	pid_t owner;

	vm_pair(sock);
	g = (struct giver){ .to_test = sock[1] };
	owner = vm_child(true, killed_owner, &g);
	vm_await(sock[0]);
	vm_sleep(0.3);
	CHECK_EQ(kill(owner, SIGKILL), 0);
	CHECK_EQ(waitpid(owner, &status, 0), owner);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

static void shares_owner_namespace(void *argument)
{
	const int *fds = argument;
	uint64_t handle;
	int peer;

	CHECK_EQ(card_alloc(fds[0], MIB, 0, &handle), 0);
	peer = peer_of(fds[1], EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, "y", 1), 0);
}

TEST(processes_of_one_pod_share_its_card, .driver = EMULATED)
{
	struct card_buffer buffer;
	int fds[2];

	card_buffer_make(&buffer, 0, MIB);
	fds[0] = buffer.fd;
	fds[1] = buffer.dmabuf;
	vm_child_end(vm_child(false, shares_owner_namespace, fds));
	CHECK(card_state_is(0, "owned"));
}

/* --- races ---------------------------------------------------------------------- */
static void attaches_all_the_time(void *argument)
{
	const struct card_buffer *buffer = argument;
	unsigned int mapped = 0;
	int r = 0;

	while (r != -ENODEV) {
		int peer = peer_open();

		r = peer_attach(peer, buffer->dmabuf,
				mapped % 2 ? EDU_PEER_DYNAMIC : EDU_PEER_PINNED_REVOCABLE, 0);
		if (!r)
			r = peer_map(peer);
		CHECK_MSG(!r || r == -ENODEV, "attach or map: %s", strerror(-r));
		mapped += !r;
		close(peer);
	}
}

TEST(imports_in_the_moment_of_revoke_do_not_survive_it, .driver = EMULATED, .seconds = 120)
{
	struct card_buffer buffer;
	pid_t child[2];
	int i;

	for (i = 0; i < 15; i++) {
		card_buffer_make(&buffer, 0, MIB);
		child[0] = vm_child(false, attaches_all_the_time, &buffer);
		child[1] = vm_child(false, attaches_all_the_time, &buffer);
		vm_sleep(0.02 * i);
		CHECK_EQ(card_revoke_all(buffer.fd), 1);
		CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
		vm_child_end(child[0]);
		vm_child_end(child[1]);
		close(buffer.dmabuf);
		close(buffer.fd);
	}
	WAIT_FOR(card_state_is(0, "free"), 30);
}

static void opens_and_waits(void *argument)
{
	(void)argument;
	card_open(0, 0);
}

TEST(open_that_waits_can_be_killed, .driver = EMULATED " open_wait_s=600")
{
	struct card_buffer buffer;
	int peer, status;
	pid_t child;
	double start;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	close(buffer.fd);
	child = vm_child(true, opens_and_waits, NULL);
	vm_sleep(1);
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	start = vm_now();
	CHECK_EQ(kill(child, SIGKILL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_MSG(vm_now() - start < 5, "it took %.1f s to die", vm_now() - start);
	CHECK_EQ(peer_unmap(peer), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

TEST(of_many_waiting_openers_one_gets_the_card, .driver = EMULATED, .seconds = 120)
{
	struct card_buffer buffer;
	int peer, i, status, got = 0;
	pid_t child[4];

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	close(buffer.fd);
	for (i = 0; i < 4; i++) {
		child[i] = fork();
		CHECK(child[i] >= 0);
		if (!child[i]) {
			int fd = card_open(0, 0);

			/* 0: had it; 1: another was faster and still has it. */
			if (fd >= 0)
				vm_sleep(1);
			_exit(fd >= 0 ? 0 : fd == -EBUSY ? 1 : 2);
		}
	}
	vm_sleep(0.5);
	CHECK_EQ(peer_unmap(peer), 0);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(waitpid(child[i], &status, 0), child[i]);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		got += WEXITSTATUS(status) == 0;
	}
	CHECK_EQ(got, 1);
}

/* --- the host network ---------------------------------------------------------- */
TEST(root_cgroup_may_open_but_not_export, .driver = EMULATED, .initial_netns = true)
{
	int fd = card_open(0, 0);
	uint64_t handle, va;

	CHECK(fd >= 0);
	CHECK_EQ(card_alloc(fd, MIB, 0, &handle), 0);
	CHECK_EQ(card_map(fd, handle, &va), 0);
	CHECK_EQ(card_export(fd, va, 0, MIB), -EPERM);
}

static void enter_cgroup(const char *name)
{
	char path[128], pid[32];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", name);
	snprintf(pid, sizeof(pid), "%d", getpid());
	CHECK_EQ(vm_write(path, pid), 0);
}

static void cgroup_stranger(void *argument)
{
	const struct card_buffer *buffer = argument;
	int peer = peer_open();
	uint64_t handle;

	/* Same cgroup as the owner's: welcome. */
	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &handle), 0);
	enter_cgroup("stranger");
	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &handle), -EPERM);
	CHECK_EQ(peer_attach(peer, buffer->dmabuf, EDU_PEER_DYNAMIC, 0), -EPERM);
}

TEST(on_the_host_network_the_cgroup_is_the_owner, .driver = EMULATED, .initial_netns = true)
{
	struct card_buffer buffer;
	char owner[128];
	int peer;

	enter_cgroup("owner");
	card_buffer_make(&buffer, 0, MIB);
	CHECK(card_attribute(0, "owner", owner, sizeof(owner)) > 0);
	CHECK_EQ(strcmp(owner, "cgroup:/owner"), 0);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, "z", 1), 0);
	vm_child_end(vm_child(false, cgroup_stranger, &buffer));
	enter_cgroup(".");
}

/* --- what user space sees ---------------------------------------------------------- */
static bool attribute_is(const char *name, const char *value)
{
	char buffer[128];

	return card_attribute(0, name, buffer, sizeof(buffer)) >= 0 && !strcmp(buffer, value);
}

static unsigned int attribute_mode(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/%s", card_index(0), name);
	CHECK_EQ(stat(path, &st), 0);
	return st.st_mode & 0777;
}

TEST(sysfs_tells_the_state_to_all_and_the_owner_to_root, .driver = EMULATED)
{
	char buffer[128], expected[128], path[128], info[1024];
	struct card_buffer card;
	struct stat st;

	CHECK_EQ(attribute_mode("state"), 0444);
	CHECK_EQ(attribute_mode("reason"), 0444);
	CHECK_EQ(attribute_mode("owner"), 0400);
	CHECK_EQ(attribute_mode("owner_pid"), 0400);
	card_pci(0, expected, sizeof(expected));
	CHECK(attribute_is("pci_addr", expected));
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/pci_addr", card_index(0));
	CHECK(vm_read(path, buffer, sizeof(buffer)) > 0);
	CHECK_EQ(strcmp(buffer, expected), 0);

	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(attribute_is("owner", ""));
	CHECK(attribute_is("owner_pid", ""));
	CHECK(attribute_is("status", "Operational"));
	card_buffer_make(&card, 0, MIB);
	CHECK(attribute_is("state", "owned"));
	CHECK(attribute_is("allocated_bytes", "1048576"));
	CHECK(attribute_is("exported_bytes", "1048576"));
	CHECK_EQ(stat("/proc/self/ns/net", &st), 0);
	snprintf(expected, sizeof(expected), "netns:[%lu]", (unsigned long)st.st_ino);
	CHECK(attribute_is("owner", expected));
	snprintf(expected, sizeof(expected), "%d", getpid());
	CHECK(attribute_is("owner_pid", expected));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", card.fd);
	CHECK(vm_read(path, info, sizeof(info)) > 0);
	CHECK_MSG(strstr(info, "drm-total-vram:\t1 MiB"), "fdinfo says: %s", info);
	CHECK_MSG(strstr(info, "drm-shared-vram:\t1 MiB"), "fdinfo says: %s", info);
	close(card.dmabuf);
	close(card.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(attribute_is("allocated_bytes", "0"));
	CHECK(attribute_is("exported_bytes", "0"));
	CHECK(attribute_is("dirty_bytes", "0"));
	CHECK(card_attribute(0, "scrubbed_bytes", buffer, sizeof(buffer)) > 0);
	CHECK_EQ(strtoull(buffer, NULL, 10), host_card_size(0) + MIB);
}
