// SPDX-License-Identifier: Apache-2.0
#include "test_grant_pod.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

struct order {
	int op;
	uint32_t a;
	uint32_t b;
};

/* What the pod's process has. */
struct self {
	int sock;
	int fds[2]; /* the last is what it attaches to */
	int peer;
	uint8_t *memory;
	size_t size;
	int child; /* socket */
};

/*
 * The sockets are of the test's namespace: a socket keeps the namespace alive in which it was made.
 */
struct start {
	int sock;
	int child;
	int dmabuf;
};

/* false: the other end is closed. */
static bool receive(int sock, void *data, size_t size)
{
	return recv(sock, data, size, MSG_WAITALL) == (ssize_t)size;
}

static void say(int sock, const void *data, size_t size)
{
	CHECK_EQ(send(sock, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

static int child_fork(struct self *self, bool unshares)
{
	uint32_t offset;
	int answer;

	if (fork())
		return 0;
	close(self->sock);
	if (unshares)
		CHECK_EQ(unshare(CLONE_NEWNET), 0);
	while (receive(self->child, &offset, sizeof(offset))) {
		answer = raises_sigbus(self->memory + offset);
		say(self->child, &answer, sizeof(answer));
	}
	_exit(0);
}

static int map_memory(struct self *self, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fds[1], 0);

	if (memory == MAP_FAILED)
		return -errno;
	self->memory = memory;
	self->size = size;
	return 0;
}

static int reshape(struct self *self)
{
	uint8_t *elsewhere;

	/* A hole in the middle makes two of it; the first then loses its tail and moves. */
	if (munmap(self->memory + self->size / 2, 4096) || munmap(self->memory + 8192, self->size / 2 - 8192))
		return -errno;
	elsewhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	self->memory = mremap(self->memory, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
	return self->memory == MAP_FAILED ? -errno : 0;
}

static int attach(struct self *self, uint32_t kind, uint32_t delay_ms)
{
	if (self->peer >= 0)
		close(self->peer);
	self->peer = peer_open();
	return peer_attach(self->peer, self->fds[1], kind, delay_ms);
}

static int reads_text(struct self *self, uint32_t offset)
{
	char back[sizeof(POD_TEXT)] = "";
	int r = peer_read(self->peer, offset, back, sizeof(back));

	return r ? r : !memcmp(back, POD_TEXT, sizeof(back));
}

static int enter_cgroup(const char *name)
{
	char path[64], pid[32];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", name);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", name);
	snprintf(pid, sizeof(pid), "%d", getpid());
	return vm_write(path, pid);
}

static int with_accel(struct self *self, const struct order *order)
{
	int accel = self->fds[0], pidfd = pod_pidfd(getpid(), 0), r;
	uint64_t handle;

	switch (order->op) {
	case POD_GRANT:
		r = card_grant(accel, self->fds[1], pidfd);
		break;
	case POD_TAKE_BACK:
		r = card_take_back(accel, self->fds[1], pidfd);
		break;
	case POD_REVOKE:
		r = card_revoke_all(accel);
		break;
	case POD_EXPORT:
		r = card_export(accel, (uint64_t)order->a << 20, 0, 4096);
		break;
	case POD_LIST:
		r = card_list(accel, NULL, 0);
		break;
	default:
		r = card_alloc(accel, 4096, 0, &handle);
	}
	close(pidfd);
	return r;
}

static int obey(struct self *self, const struct order *order)
{
	char name[16];

	switch (order->op) {
	case POD_ATTACH:
		return attach(self, order->a, order->b);
	case POD_MAP:
		return peer_map(self->peer);
	case POD_WRITE:
		return peer_write(self->peer, order->a, POD_TEXT, sizeof(POD_TEXT));
	case POD_READS:
		return reads_text(self, order->a);
	case POD_MMAP:
		return map_memory(self, order->a);
	case POD_SIGBUS:
		return raises_sigbus(self->memory + order->a);
	case POD_FORK:
		return child_fork(self, order->a);
	case POD_RESHAPE:
		return reshape(self);
	case POD_GIVE_PEER:
		vm_send_fd(self->sock, self->peer);
		/* Only the receiver has it from here on. */
		close(self->peer);
		self->peer = -1;
		return 0;
	case POD_TAKE:
		self->fds[0] = self->fds[1];
		self->fds[1] = vm_recv_fd(self->sock);
		return 0;
	case POD_UNSHARE:
		return unshare(CLONE_NEWNET) ? -errno : 0;
	case POD_CGROUP:
		snprintf(name, sizeof(name), "pod%u", order->a);
		return enter_cgroup(name);
	case POD_CGROUP_ROOT:
		return enter_cgroup(".");
	case POD_MAKE_SOCKET:
		self->peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		return self->peer < 0 ? -errno : 0;
	default:
		return with_accel(self, order);
	}
}

static void pod_main(void *argument)
{
	const struct start *start = argument;
	struct self self = {
		.sock = start->sock, .fds = { -1, start->dmabuf }, .peer = -1, .child = start->child
	};
	struct order order;
	int answer = 0, fd;

	/* Not the owner's files, which came with the fork. */
	for (fd = 3; fd < 1024; fd++)
		if (fd != start->sock && fd != start->child && fd != start->dmabuf)
			close(fd);
	/* The namespace is there. */
	say(self.sock, &answer, sizeof(answer));
	while (receive(self.sock, &order, sizeof(order))) {
		answer = obey(&self, &order);
		say(self.sock, &answer, sizeof(answer));
	}
}

int pod_pidfd(pid_t pid, unsigned int flags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	CHECK_MSG(fd >= 0, "no pidfd: %s", strerror(errno));
	return fd;
}

void pod_start(struct pod *pod, bool netns, int dmabuf)
{
	struct start start = { .dmabuf = dmabuf };
	int pair[2], child[2], answer = -1;

	vm_pair(pair);
	vm_pair(child);
	start.sock = pair[1];
	start.child = child[1];
	pod->pid = vm_child(netns, pod_main, &start);
	close(pair[1]);
	close(child[1]);
	pod->sock = pair[0];
	pod->child = child[0];
	pod->pidfd = pod_pidfd(pod->pid, 0);
	CHECK(receive(pod->sock, &answer, sizeof(answer)));
}

static int pod_answer(struct pod *pod)
{
	int answer;

	CHECK_MSG(receive(pod->sock, &answer, sizeof(answer)), "the pod is gone");
	return answer;
}

int pod_do(struct pod *pod, enum pod_op op, uint32_t a, uint32_t b)
{
	struct order order = { .op = (int)op, .a = a, .b = b };

	say(pod->sock, &order, sizeof(order));
	return pod_answer(pod);
}

void pod_give(struct pod *pod, int fd)
{
	struct order order = { .op = POD_TAKE };

	say(pod->sock, &order, sizeof(order));
	vm_send_fd(pod->sock, fd);
	CHECK_EQ(pod_answer(pod), 0);
}

int pod_receive(struct pod *pod)
{
	struct order order = { .op = POD_GIVE_PEER };
	int fd;

	say(pod->sock, &order, sizeof(order));
	fd = vm_recv_fd(pod->sock);
	CHECK_EQ(pod_answer(pod), 0);
	return fd;
}

int pod_child_sigbus(struct pod *pod, uint32_t offset)
{
	int answer;

	say(pod->child, &offset, sizeof(offset));
	CHECK_MSG(receive(pod->child, &answer, sizeof(answer)), "the pod's child is gone");
	return answer;
}

void pod_end(struct pod *pod)
{
	int status;

	close(pod->sock);
	kill(pod->pid, SIGKILL);
	CHECK_EQ(waitpid(pod->pid, &status, 0), pod->pid);
}
