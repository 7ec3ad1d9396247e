// SPDX-License-Identifier: Apache-2.0
/*
 * The process of a side, and how it is steered.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soft_roce.h"

struct request {
	side_fn *fn; /* valid on both ends: the side is a fork */
	long args[8];
};

struct answer {
	long r;
	long ret[4];
};

const struct side *this_side;

/* sysfs shows the RDMA devices of the namespace in which it was mounted. */
static int enter(const char *netns)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		return -errno;
	close(fd);
	return 0;
}

static void serve(int fd)
{
	static struct world world = { .card = -1 };
	struct request request;
	struct answer answer = { .r = enter(this_side->netns) };

	if (answer.r == 0)
		answer.r = do_open(&world, request.args, answer.ret);
	while (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer) &&
	       recv(fd, &request, sizeof(request), 0) == sizeof(request)) {
		answer = (struct answer){ 0 };
		answer.r = request.fn(&world, request.args, answer.ret);
	}
	_exit(0);
}

int side_start(struct side *s)
{
	struct answer answer;
	int fds[2];

	if (!s->traffic) {
		s->traffic = mmap(NULL, sizeof(*s->traffic), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (s->traffic == MAP_FAILED)
			return -ENOMEM;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		this_side = s;
		serve(fds[1]);
	}
	close(fds[1]);
	s->fd = fds[0];
	if (s->pid < 0)
		return -errno;
	if (recv(s->fd, &answer, sizeof(answer), 0) != sizeof(answer))
		return -EPIPE;
	return answer.r;
}

void side_stop(struct side *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->fd);
	s->pid = 0;
}

long side_post(struct side *s, side_fn *fn, const long *args)
{
	struct request request = { .fn = fn };

	for (int i = 0; i < 8; i++)
		request.args[i] = args[i];
	return send(s->fd, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) ? 0 : -EPIPE;
}

long side_wait(struct side *s)
{
	struct answer answer;

	if (recv(s->fd, &answer, sizeof(answer), 0) != sizeof(answer))
		return -EPIPE;
	for (int i = 0; i < 4; i++)
		s->ret[i] = answer.ret[i];
	return answer.r;
}

long side_call(struct side *s, side_fn *fn, const long *args)
{
	long r = side_post(s, fn, args);

	return r < 0 ? r : side_wait(s);
}
