// SPDX-License-Identifier: Apache-2.0
#include "vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIP 77

static struct vm_test *tests;
static unsigned int resets;

void vm_test_register(struct vm_test *test)
{
	struct vm_test **end = &tests;

	while (*end)
		end = &(*end)->next;
	*end = test;
}

void vm_fail(const char *file, int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printf("%s:%d: %s\n", file, line, text);
	fflush(stdout);
	_exit(1);
}

void vm_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("skipped: ");
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	_exit(EXIT_SKIP);
}

void vm_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static void (*at_end)(void);

void vm_at_end(void (*check)(void))
{
	at_end = check;
}

/* The host passes it as a word that the kernel does not know, and the kernel hands those to init as environment. */
bool vm_long(void)
{
	const char *value = getenv("LONG");

	return value && !strcmp(value, "1");
}

unsigned int vm_resets(void)
{
	return resets;
}

double vm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void vm_sleep(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

int vm_read(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buffer, size - 1);
	if (n < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	close(fd);
	if (n && buffer[n - 1] == '\n')
		n--;
	buffer[n] = 0;
	return (int)n;
}

int vm_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

int vm_insmod(const char *module, const char *parameters)
{
	char path[256];
	int fd, r = 0;

	snprintf(path, sizeof(path), "/modules/%s.ko", module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters ? parameters : "", 0))
		r = -errno;
	close(fd);
	return r;
}

int vm_rmmod(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* --- processes ---------------------------------------------------------- */
pid_t vm_child(bool netns, void (*function)(void *), void *argument)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (netns && unshare(CLONE_NEWNET))
		vm_fail(__FILE__, __LINE__, "no network namespace: %s", strerror(errno));
	function(argument);
	fflush(stdout);
	_exit(0);
}

void vm_child_end(pid_t pid)
{
	int status = -1;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_MSG(WIFEXITED(status), "the child was killed by signal %d", WTERMSIG(status));
	CHECK_MSG(WEXITSTATUS(status) == 0, "the child failed");
}

void vm_send_fd(int sock, int fd)
{
	char byte = 'f', space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(int));
	CHECK_EQ(sendmsg(sock, &message, 0), 1);
}

int vm_recv_fd(int sock)
{
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *head;
	int fd;

	CHECK_EQ(recvmsg(sock, &message, MSG_CMSG_CLOEXEC), 1);
	head = CMSG_FIRSTHDR(&message);
	CHECK(head && head->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(head), sizeof(int));
	return fd;
}

void vm_signal(int sock)
{
	CHECK_EQ(send(sock, "s", 1, MSG_NOSIGNAL), 1);
}

void vm_await(int sock)
{
	char byte;

	CHECK_MSG(recv(sock, &byte, 1, 0) == 1, "the other process is gone");
}

void vm_pair(int sock[2])
{
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
}

/* --- the runner ----------------------------------------------------------- */
static int driver_unload(void)
{
	double end = vm_now() + 20;
	int r;

	for (;;) {
		/* Never loaded, or unloaded by the test itself: fine. */
		r = vm_rmmod("gaudi_p2p");
		if (!r || r == -ENOENT)
			return 0;
		if (vm_now() > end)
			break;
		vm_sleep(0.05);
	}
	printf("gaudi_p2p cannot be unloaded after the test: %s: something still holds it\n", strerror(-r));
	return 1;
}

static int run_test(const struct vm_test *test)
{
	int status = 0, r;
	pid_t pid;

	if (test->driver) {
		r = vm_insmod("gaudi_p2p", test->driver);
		if (r) {
			printf("gaudi_p2p cannot be loaded with %s: %s\n", test->driver, strerror(-r));
			return 1;
		}
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		if (!test->initial_netns && unshare(CLONE_NEWNET))
			vm_fail(__FILE__, __LINE__, "no network namespace: %s", strerror(errno));
		test->run();
		if (at_end)
			at_end();
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	/* What the test started and left behind holds files. */
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status)) {
		printf("killed by signal %d\n", WTERMSIG(status));
		status = 1;
	} else {
		status = WEXITSTATUS(status);
	}
	if (test->driver && driver_unload())
		return 1;
	return status;
}

int main(int argc, char **argv)
{
	struct vm_test *test;
	char *part;

	if (argc != 2) {
		fprintf(stderr, "usage: %s --list | TEST\n", argv[0]);
		return 2;
	}
	/* NAME:N is the part of the test after the machine's Nth reset. */
	part = strchr(argv[1], ':');
	if (part) {
		*part = 0;
		resets = (unsigned int)strtoul(part + 1, NULL, 10);
	}
	for (test = tests; test; test = test->next) {
		unsigned int seconds = test->seconds ? test->seconds : 60;

		if (!strcmp(argv[1], "--list"))
			printf("%s %u %u %s %d\n", test->name, seconds,
			       test->long_seconds ? test->long_seconds : seconds,
			       test->topology ? test->topology : "-", test->only_long);
		else if (!strcmp(argv[1], test->name))
			return run_test(test);
	}
	return strcmp(argv[1], "--list") ? 2 : 0;
}
