// SPDX-License-Identifier: Apache-2.0
/*
 * The network of the tests: two namespaces, a veth pair between them, a
 * Soft-RoCE link in each. Laid by the stock tools, without a shell.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soft_roce.h"
#include "vm.h"

#define WORDS 32

static int spawn(bool quiet, const char *format, va_list args, pid_t *ret_pid)
{
	char command[512], path[64], *words[WORDS + 1] = { 0 }, *at = command;

	vsnprintf(command, sizeof(command), format, args);
	for (int n = 0; n < WORDS && (words[n] = strsep(&at, " ")); n++)
		;
	/* Not by PATH: the guest's first ip is busybox's. */
	snprintf(path, sizeof(path), "/usr/bin/%s", words[0]);
	*ret_pid = fork();
	if (*ret_pid == 0) {
		if (quiet) {
			int fd = open("/dev/null", O_WRONLY);

			dup2(fd, STDOUT_FILENO);
			dup2(fd, STDERR_FILENO);
		}
		setenv("PATH", "/usr/bin", 1);
		execv(path, words);
		_exit(127);
	}
	return *ret_pid < 0 ? -errno : 0;
}

int net_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int net_run(const char *format, ...)
{
	va_list args;
	pid_t pid;
	int r;

	va_start(args, format);
	r = spawn(false, format, args, &pid);
	va_end(args);
	return r < 0 ? r : net_wait(pid);
}

pid_t net_spawn(const char *format, ...)
{
	va_list args;
	pid_t pid;
	int r;

	va_start(args, format);
	r = spawn(true, format, args, &pid);
	va_end(args);
	return r < 0 ? r : pid;
}

static int net_try(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int net_try(const char *format, ...)
{
	va_list args;
	pid_t pid;
	int r;

	va_start(args, format);
	r = spawn(true, format, args, &pid);
	va_end(args);
	return r < 0 ? r : net_wait(pid);
}

/* RDMA devices of the whole machine: this class knows no namespaces. */
static int rdma_devices(void)
{
	DIR *dir = opendir("/sys/class/infiniband_verbs");
	struct dirent *e;
	int n = 0;

	while (dir && (e = readdir(dir)))
		n += !strncmp(e->d_name, "uverbs", 6);
	if (dir)
		closedir(dir);
	return n;
}

/* A link is made in the namespace of its netdev, appears in the first one and then moves. */
static void link_up(const struct side *s)
{
	CHECK_EQ(
		net_run("ip netns exec %s rdma link add %s type rxe netdev v%s", s->netns, s->rdma, s->netns),
		0);
	CHECK_EQ(net_run("rdma dev set %s netns %s", s->rdma, s->netns), 0);
}

static void namespaces_up(void)
{
	net_try("ip netns del a");
	net_try("ip netns del b");
	/* A namespace takes its netdev with it, and that its link; a moment later. */
	WAIT_FOR(rdma_devices() == 0, 20);
	WAIT_FOR(net_try("rdma system set netns exclusive") == 0, 20);

	/* A name for the first namespace, for moves back. */
	if (access("/run/netns/first", F_OK))
		CHECK_EQ(net_run("ip netns attach first 1"), 0);
	CHECK_EQ(net_run("ip netns add a"), 0);
	CHECK_EQ(net_run("ip netns add b"), 0);
}

/* Of the netdevs va and vb, which are in their namespaces. */
static void links_up(void)
{
	CHECK_EQ(net_run("ip -n a addr add 10.9.0.1/24 dev va"), 0);
	CHECK_EQ(net_run("ip -n b addr add 10.9.0.2/24 dev vb"), 0);
	CHECK_EQ(net_run("ip -n a link set va up"), 0);
	CHECK_EQ(net_run("ip -n b link set vb up"), 0);
	link_up(&side_a);
	link_up(&side_b);
}

void net_up(void)
{
	namespaces_up();
	CHECK_EQ(net_run("ip link add va netns a type veth peer name vb netns b"), 0);
	links_up();
}

/* The netdev of a NIC of the machine, in the first namespace. */
static void nic_move(unsigned int nic, const char *netns)
{
	char path[300], address[32], wanted[32], name[32] = "";
	DIR *dir = opendir("/sys/class/net");
	struct dirent *e;

	CHECK(dir);
	/* As machine.py gives them. */
	snprintf(wanted, sizeof(wanted), "52:54:00:0a:00:%02x", nic);
	while ((e = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/address", e->d_name);
		if (vm_read(path, address, sizeof(address)) > 0 && !strcmp(address, wanted))
			snprintf(name, sizeof(name), "%.31s", e->d_name);
	}
	closedir(dir);
	CHECK_MSG(name[0], "NIC %u has no netdev here", nic);
	CHECK_EQ(net_run("ip link set %s netns %s name v%s", name, netns, netns), 0);
}

void net_up_nics(void)
{
	namespaces_up();
	nic_move(0, "a");
	nic_move(1, "b");
	links_up();
}

long do_unsent(struct world *w, const long *a, long *ret)
{
	char path[96], bytes[32];
	int n;

	(void)w;
	(void)a;
	(void)ret;
	snprintf(path, sizeof(path), "/sys/class/net/v%s/queues/tx-0/byte_queue_limits/inflight",
		 this_side->netns);
	n = vm_read(path, bytes, sizeof(bytes));
	return n < 0 ? n : strtol(bytes, NULL, 10);
}
