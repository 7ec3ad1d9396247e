// SPDX-License-Identifier: Apache-2.0
#include "failalloc.h"

#include <errno.h>
#include <stdlib.h>

/* One thread at a time: what a test counts, it does in one. */
static unsigned long left;
static bool armed, paused, failed;
static long live;

/* What we stand before: the sanitizer's, if there is one, else the C library's. */
#ifdef __SANITIZE_ADDRESS__
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t size);
void REAL(free)(void *p);

static bool fails(void)
{
	if (!armed || paused)
		return false;
	if (left-- > 0)
		return false;
	armed = false;
	failed = true;
	errno = ENOMEM;
	return true;
}

static void *counted(void *p)
{
	live += p != NULL;
	return p;
}

void *malloc(size_t size)
{
	return fails() ? NULL : counted(REAL(malloc)(size));
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : counted(REAL(calloc)(n, size));
}

void *realloc(void *p, size_t size)
{
	if (fails())
		return NULL;
	return p ? REAL(realloc)(p, size) : counted(REAL(realloc)(p, size));
}

void free(void *p)
{
	live -= p != NULL;
	REAL(free)(p);
}

void failalloc_arm(unsigned long n)
{
	left = n;
	failed = false;
	armed = paused = true;
}

bool failalloc_disarm(void)
{
	armed = false;
	return failed;
}

void failalloc_pause(void)
{
	paused = true;
}

void failalloc_resume(void)
{
	paused = false;
}

long failalloc_live(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 0; /* its strdup() and others do not ask us; it has a leak checker itself */
#else
	return live;
#endif
}
