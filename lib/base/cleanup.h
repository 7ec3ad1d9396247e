/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup. A function uses either these or goto, never both:
 * a goto over a variable with a cleanup would run it uninitialised.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((__cleanup__(f)))

/* Take a value out of a variable, so that its cleanup finds nothing. */
#define TAKE(var, null)                                \
	({                                             \
		__typeof__(var) *taken_from_ = &(var); \
		__typeof__(var) taken_ = *taken_from_; \
		*taken_from_ = (null);                 \
		taken_;                                \
	})
#define TAKE_PTR(p) TAKE(p, NULL)
#define TAKE_FD(fd) TAKE(fd, -EBADF)

/*
 * Defines FNp(), the cleanup of a variable of pointer type TYPE. It stands
 * right after the prototype of FN.
 */
#define DEFINE_CLEANUP(type, fn)          \
	static inline void fn##p(type *p) \
	{                                 \
		if (*p)                   \
			fn(*p);           \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Keeps errno, so that it can stand between a failure and its report. */
static inline void closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd); /* never retried: the descriptor is gone even after EINTR */
		errno = saved;
	}
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

/*
 * errno of a call that just failed, as a negative number that the compiler
 * and the caller may rely on: never 0, even when the call forgot to set it.
 */
static inline int negative_errno(void)
{
	return errno > 0 ? -errno : -EIO;
}

/* Memory, descriptors or processes were short: what was looked for may well be there, and a later try may find it. */
static inline bool is_shortage(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -EAGAIN;
}

/* What to report of two results: the first failure, but before all others a shortage, which calls for another try. */
static inline int worse(int r, int r2)
{
	return is_shortage(r) || (r < 0 && !is_shortage(r2)) ? r : r2 < 0 ? r2 : r;
}

/* The value of a call that returns -1 and errno on failure, or -errno. */
#define RET_NERRNO(call)                                     \
	({                                                   \
		__typeof__(call) value_ = (call);            \
		value_ < 0 ? negative_errno() : (int)value_; \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
