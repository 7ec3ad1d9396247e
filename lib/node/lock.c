// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "node/lock.h"

#define POLL_MS 10

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void read_holder(int fd, char *holder, size_t size)
{
	ssize_t n = pread(fd, holder, size - 1, 0);

	if (n <= 0) {
		snprintf(holder, size, "an unknown process");
		return;
	}
	holder[n] = '\0';
	holder[strcspn(holder, "\n")] = '\0';
}

/* flock has no time limit of its own; waits are short, so asking again is cheap and needs no signal. */
int lock_take(int dirfd, unsigned timeout_ms, const char *me, int *ret_fd, char *holder, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint64_t deadline = now_ms() + timeout_ms;
	char text[256];

	if (fd < 0)
		return negative_errno();
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

		if (errno != EWOULDBLOCK && errno != EINTR)
			return negative_errno();
		if (now_ms() >= deadline) {
			read_holder(fd, holder, size);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	/* For messages only: a lock is held also when this fails. */
	snprintf(text, sizeof(text), "process %d, %s\n", (int)getpid(), me);
	if (ftruncate(fd, 0) == 0)
		(void)fileio_write_all(fd, text, strlen(text));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
