// SPDX-License-Identifier: Apache-2.0
/*
 * PID 1 of the test guest. Loads modules, then runs what the host asks for over the
 * virtio-serial port "gaudi.control", one line each:
 *
 *	host				guest
 *	insmod PATH [PARAMETERS]	done STATUS	(0 or an errno)
 *	run PROGRAM TEST		out TEXT ...	what the test says
 *					done STATUS	its exit status, 128 + n: killed by signal n
 *	mark TEXT			done 0		TEXT is then in the kernel log
 *	poweroff
 *
 * After a test every process it left behind is killed, so that nothing of it is
 * in the way of the next.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ports.h"

static FILE *control;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(control, format, args);
	va_end(args);
	fputc('\n', control);
	fflush(control);
}

static void die(const char *what)
{
	fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void mount_one(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, MS_NOSUID | MS_NOEXEC, options))
		die(where);
}

static void mount_all(void)
{
	mount_one("devtmpfs", "/dev", "mode=0755");
	mount_one("proc", "/proc", "");
	mount_one("sysfs", "/sys", "");
	mount_one("debugfs", "/sys/kernel/debug", "");
	mount_one("cgroup2", "/sys/fs/cgroup", "");
	mount_one("tmpfs", "/tmp", "mode=1777");
	mount_one("tmpfs", "/run", "mode=0755");
	mkdir("/run/netns", 0755);
	mkdir("/dev/shm", 01777);
}

static void console_open(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int insmod(char *arguments)
{
	const char *path = strsep(&arguments, " ");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, arguments ? arguments : "", 0) && errno != EEXIST)
		r = errno;
	close(fd);
	return r;
}

/* Into the kernel log, so that the host can cut the console at tests. */
static int mark(const char *text)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno;
	r = dprintf(fd, "<6>gaudi-mark %s\n", text) < 0 ? errno : 0;
	close(fd);
	return r;
}

/* Passes whole lines on; returns false at the end of the file. */
static int pass_on(int fd, char *line, size_t size, size_t *used)
{
	ssize_t n = read(fd, line + *used, size - 1 - *used);
	char *newline;

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	*used += n;
	line[*used] = 0;
	while ((newline = strchr(line, '\n'))) {
		*newline = 0;
		say("out %s", line);
		*used -= newline + 1 - line;
		memmove(line, newline + 1, *used + 1);
	}
	if (*used == size - 1) {
		say("out %s", line);
		*used = 0;
	}
	return 1;
}

/* Kills what the test left behind and waits until it is gone: until its files are closed. */
static void reap_all(void)
{
	do {
		kill(-1, SIGKILL);
	} while (waitpid(-1, NULL, 0) > 0);
}

static int run(char *arguments)
{
	const char *program = strsep(&arguments, " ");
	char line[1024];
	size_t used = 0;
	int pipefd[2], status = 0;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK))
		return 127;
	pid = fork();
	if (pid < 0)
		return 127;
	if (!pid) {
		setsid();
		dup2(pipefd[1], STDOUT_FILENO);
		dup2(pipefd[1], STDERR_FILENO);
		execl(program, program, arguments, (char *)NULL);
		printf("cannot run %s: %s\n", program, strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	close(pipefd[1]);
	for (;;) {
		struct pollfd pfd = { .fd = pipefd[0], .events = POLLIN };
		pid_t ended = waitpid(pid, &status, WNOHANG);

		if (ended != pid)
			poll(&pfd, 1, 50);
		while (poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLIN) &&
		       pass_on(pipefd[0], line, sizeof(line), &used) > 0)
			;
		if (ended == pid)
			break;
		if (pfd.revents & POLLHUP)
			usleep(10000);
	}
	if (used)
		say("out %s", line);
	close(pipefd[0]);
	reap_all();
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void obey(char *line)
{
	char *arguments = line;
	const char *verb = strsep(&arguments, " ");

	if (!strcmp(verb, "poweroff")) {
		sync();
		reboot(RB_POWER_OFF);
	} else if (!arguments) {
		say("done %d", EINVAL);
	} else if (!strcmp(verb, "insmod")) {
		say("done %d", insmod(arguments));
	} else if (!strcmp(verb, "mark")) {
		say("done %d", mark(arguments));
	} else if (!strcmp(verb, "run")) {
		say("done %d", run(arguments));
	} else {
		say("done %d", ENOSYS);
	}
}

int main(void)
{
	char line[4096];
	int fd;

	mount_all();
	console_open();
	setenv("PATH", "/bin:/usr/bin:/sbin:/usr/sbin", 1);
	setenv("HOME", "/", 1);
	signal(SIGPIPE, SIG_IGN);
	fd = port_open("gaudi.control");
	if (fd < 0)
		die("no port called gaudi.control");
	control = fdopen(fd, "r+");
	if (!control)
		die("gaudi.control");
	say("ready");
	while (port_read_line(fd, line, sizeof(line)) >= 0)
		obey(line);
	die("the host closed gaudi.control");
	return 1;
}
