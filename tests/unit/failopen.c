// SPDX-License-Identifier: Apache-2.0
#include "failopen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One thread at a time: what a test counts, it does in one. */
static unsigned long left;
static int with; /* 0: not armed */
static bool failed, paused;

/* <fcntl.h> gives this the name of the call with 64-bit offsets, as it does to every caller's. */
int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	if (with && !paused && left-- == 0) {
		errno = with;
		with = 0;
		failed = true;
		return -1;
	}
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

void failopen_arm(unsigned long n, int error)
{
	left = n;
	with = error;
	failed = false;
}

void failopen_pause(bool pause)
{
	paused = pause;
}

bool failopen_disarm(void)
{
	with = 0;
	return failed;
}
