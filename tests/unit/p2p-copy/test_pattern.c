// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../../../deploy/examples/p2p-copy/pattern.h"
#include "base/cleanup.h"
#include "p2p/touch.h"

static void pattern_is_told_from_any_other(void **state)
{
	static uint8_t memory[131072 + 8];
	size_t first = 7;

	(void)state;
	assert_int_equal(p2p_find_nonzero(memory, sizeof(memory), &first), 0);
	assert_int_equal(first, sizeof(memory));
	assert_int_equal(pattern_fill(memory, sizeof(memory), 5), 0);
	/* The first word of splitmix64 after seed 5: known to the outside witness too. */
	assert_int_equal(pattern_compare(memory, sizeof(memory), 5, &first), 0);
	assert_int_equal(first, sizeof(memory));
	assert_int_equal(pattern_compare(memory, sizeof(memory), 6, &first), 0);
	assert_int_equal(first, 0);
	memory[131072] ^= 1;
	assert_int_equal(pattern_compare(memory, sizeof(memory), 5, &first), 0);
	assert_int_equal(first, 131072);
	assert_int_equal(pattern_zero(memory, sizeof(memory)), 0);
	memory[70001] = 1;
	assert_int_equal(p2p_find_nonzero(memory, sizeof(memory), &first), 0);
	assert_int_equal(first, 70001);
}

static void memory_that_is_gone_is_an_error_and_no_end(void **state)
{
	_cleanup_close_ int fd = memfd_create("gone", MFD_CLOEXEC);
	size_t first = 7;
	void *map;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(pattern_fill(map, 8192, 1), 0);
	/* As a revoke does: the pages go, touching them raises SIGBUS. */
	assert_int_equal(ftruncate(fd, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pattern_compare(map, 8192, 1, &first), -EFAULT);
		assert_int_equal(p2p_find_nonzero(map, 8192, &first), -EFAULT);
		assert_int_equal(pattern_fill(map, 8192, 1), -EFAULT);
		assert_int_equal(pattern_zero(map, 8192), -EFAULT);
	}
	assert_int_equal(first, 7);
	(void)munmap(map, 8192);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(pattern_is_told_from_any_other),
	cmocka_unit_test(memory_that_is_gone_is_an_error_and_no_end),
};

UNIT_MAIN(tests)
