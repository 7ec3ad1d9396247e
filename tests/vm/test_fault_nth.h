/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail: the n-th that the calling thread makes.
 */
#ifndef TEST_FAULT_NTH_H
#define TEST_FAULT_NTH_H

#include "card.h"

/* First in every test, and in every child: the count is of the thread that opened it. */
void faults_begin(void);
/* From here on; 0: no more. */
void nth_set(unsigned int n);
/* Ends it. What is left of the count: 0 when the failure has happened. */
unsigned int nth_left(void);

/* A call that may fail: 0 or more, or -errno. It is made with its n-th allocation failing. */
typedef long call_fn(void *context);
/* What must be so after a call that gave @r, before the next is made. */
typedef void after_fn(void *context, long r);

/*
 * Makes the call with its first allocation failing, then with its second, until it comes through without. Returns how
 * many there are. fail_some begins with the @first and leaves out all but every @step-th.
 */
unsigned int fail_each(const char *what, call_fn *call, after_fn *after, void *context);
unsigned int fail_some(const char *what, unsigned int first, unsigned int step, call_fn *call,
		       after_fn *after, void *context);
/* How many allocations a call makes. */
unsigned int count_allocations(call_fn *call, void *context);

/* A number in sysfs of card 0. */
long card_number(const char *attribute);
/* Card 0 becomes free, is zero, and good for everything. */
void check_whole(void);

#endif
