/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test includes first. One program per module; the names of
 * its tests state the behaviour. An argument picks tests by a pattern:
 *   build/tests/unit/grpc/test_frame '*split*'
 * The programs run in the project's folder.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* main() of a test program, around an array of struct CMUnitTest. */
#define UNIT_MAIN(tests) UNIT_MAIN_WITH(tests, NULL, NULL)

/* The same with functions that are run once before and after all tests. */
#define UNIT_MAIN_WITH(tests, setup, teardown)                                 \
	int main(int argc, char **argv)                                        \
	{                                                                      \
		/* The runner takes the time of each test from its lines. */   \
		(void)setvbuf(stdout, NULL, _IOLBF, 0);                        \
		if (argc > 1)                                                  \
			cmocka_set_test_filter(argv[1]);                       \
		return cmocka_run_group_tests(tests, setup, teardown) ? 1 : 0; \
	}

#endif
