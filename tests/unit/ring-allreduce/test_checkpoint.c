// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../../../deploy/examples/ring-allreduce/checkpoint.h"
#include "../fakefs.h"
#include "base/cleanup.h"
#include "base/fileio.h"

#define CONFIG 0x1234
#define COUNT 10

static float weights[COUNT] = { 1, -2.5F, 3, 0, 1e-20F, 6, 7, 8, 9, 10 };

static int setup(void **state)
{
	*state = fakefs_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	fakefs_free(*state);
	return 0;
}

static int folder(void **state)
{
	int fd = open(fakefs_path(*state), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void write_one(int dirfd, unsigned rank, uint64_t step)
{
	assert_int_equal(checkpoint_write(dirfd, rank, CONFIG, step, weights, COUNT), 0);
}

static bool is_there(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, 0) == 0;
}

static void what_was_written_is_read(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	struct checkpoint_set set;
	float got[COUNT] = { 0 };
	struct stat st;

	write_one(dirfd, 3, 40);
	assert_int_equal(fstatat(dirfd, "rank-0003-step-000000000040.ckpt", &st, 0), 0);
	assert_int_equal(st.st_size, CHECKPOINT_HEADER + sizeof(weights));
	/* Any rank may read it. */
	assert_int_equal(checkpoint_scan(dirfd, 0, CONFIG, COUNT, &set), 0);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.item[0].step, 40);
	assert_int_equal(set.item[0].digest, checkpoint_digest(weights, COUNT));
	assert_int_equal(checkpoint_read(dirfd, CONFIG, &set.item[0], got, COUNT), 0);
	assert_memory_equal(got, weights, sizeof(got));
}

static void each_rank_keeps_its_newest_two(void **state)
{
	_cleanup_close_ int dirfd = folder(state);

	write_one(dirfd, 1, 10);
	for (uint64_t step = 10; step <= 50; step += 10)
		write_one(dirfd, 0, step);
	assert_true(is_there(dirfd, "rank-0001-step-000000000010.ckpt"));
	assert_false(is_there(dirfd, "rank-0000-step-000000000010.ckpt"));
	assert_false(is_there(dirfd, "rank-0000-step-000000000030.ckpt"));
	assert_true(is_there(dirfd, "rank-0000-step-000000000040.ckpt"));
	assert_true(is_there(dirfd, "rank-0000-step-000000000050.ckpt"));
}

static void the_newest_steps_come_first_and_once(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	struct checkpoint_set set;

	for (unsigned rank = 0; rank < 7; rank++) {
		write_one(dirfd, rank, 5 + rank);
		write_one(dirfd, rank, 6 + rank * 2);
	}
	assert_int_equal(checkpoint_scan(dirfd, 0, CONFIG, COUNT, &set), 0);
	assert_int_equal(set.n, CHECKPOINT_OFFER);
	assert_int_equal(set.item[0].step, 18);
	for (size_t i = 1; i < set.n; i++)
		assert_true(set.item[i].step < set.item[i - 1].step);
}

static void file_of(int dirfd, const char *name, uint8_t *bytes, size_t *size)
{
	_cleanup_free_ char *got = NULL;

	assert_int_equal(fileio_read(dirfd, name, 4096, &got, size), 0);
	memcpy(bytes, got, *size);
}

static int parse(const uint8_t *bytes, size_t size, const char *word)
{
	struct checkpoint unused;
	float untouched[COUNT] = { 77 };
	char why[CHECKPOINT_WHY_SIZE] = "";
	int r = checkpoint_parse(bytes, size, CONFIG, COUNT, &unused, untouched, why);

	if (r < 0 && !strstr(why, word))
		fail_msg("'%s' does not say '%s'", why, word);
	if (r < 0)
		assert_true(untouched[0] == 77);
	return r;
}

static void torn_files_are_refused_wherever_they_end(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	uint8_t bytes[256];
	size_t size;

	write_one(dirfd, 0, 40);
	file_of(dirfd, "rank-0000-step-000000000040.ckpt", bytes, &size);
	assert_int_equal(parse(bytes, size, ""), 0);
	for (size_t n = 0; n < size; n++)
		assert_int_equal(parse(bytes, n, "torn"), -EBADMSG);
	bytes[size] = 0;
	assert_int_equal(parse(bytes, size + 1, "torn"), -EBADMSG);
}

static void every_bit_that_flips_is_noticed(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	uint8_t bytes[256];
	size_t size;

	write_one(dirfd, 0, 40);
	file_of(dirfd, "rank-0000-step-000000000040.ckpt", bytes, &size);
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= 1 << bit % 8;
		assert_true(parse(bytes, size, "it") < 0);
		bytes[bit / 8] ^= 1 << bit % 8;
	}
}

static void files_of_others_and_of_later_versions_are_refused(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	uint8_t bytes[256];
	size_t size;

	assert_int_equal(checkpoint_write(dirfd, 0, CONFIG + 1, 40, weights, COUNT), 0);
	file_of(dirfd, "rank-0000-step-000000000040.ckpt", bytes, &size);
	assert_int_equal(parse(bytes, size, "another training"), -EXDEV);
	assert_int_equal(checkpoint_write(dirfd, 0, CONFIG, 40, weights, COUNT - 1), 0);
	file_of(dirfd, "rank-0000-step-000000000040.ckpt", bytes, &size);
	assert_int_equal(parse(bytes, size, "another training"), -EXDEV);
	write_one(dirfd, 0, 50);
	file_of(dirfd, "rank-0000-step-000000000050.ckpt", bytes, &size);
	bytes[8] = 2;
	assert_int_equal(parse(bytes, size, "version 2"), -EPROTONOSUPPORT);
	bytes[0] = 'g';
	assert_int_equal(parse(bytes, size, "no checkpoint"), -EXDEV);
}

static void a_scan_passes_over_what_is_not_good(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	struct checkpoint_set set;
	uint8_t bytes[256] = { 0 };
	size_t size;
	struct checkpoint gone = { .step = 60, .digest = 1 };
	float unused[COUNT];

	write_one(dirfd, 0, 40);
	file_of(dirfd, "rank-0000-step-000000000040.ckpt", bytes, &size);
	/* Torn; too long; of a step that its name does not say; a folder; other names; a link that leads nowhere. */
	assert_int_equal(
		fileio_write_atomic(dirfd, "rank-0000-step-000000000060.ckpt", bytes, size - 1, 0600), 0);
	assert_int_equal(fileio_write_atomic(dirfd, "rank-0000-step-000000000070.ckpt", bytes, size, 0600),
			 0);
	assert_int_equal(fileio_write_atomic(dirfd, "rank-0001-step-000000000080.ckpt", bytes, 256, 0600), 0);
	assert_int_equal(mkdirat(dirfd, "rank-0001-step-000000000090.ckpt", 0700), 0);
	assert_int_equal(fileio_write_atomic(dirfd, "rank-0-step-000000000090.ckpt", bytes, size, 0600), 0);
	assert_int_equal(fileio_write_atomic(dirfd, "rank-0000-step-+00000000040.ckpt", bytes, size, 0600),
			 0);
	assert_int_equal(symlinkat("nowhere", dirfd, "rank-0001-step-000000000091.ckpt"), 0);
	assert_int_equal(checkpoint_scan(dirfd, 0, CONFIG, COUNT, &set), 0);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.item[0].step, 40);
	assert_int_equal(checkpoint_read(dirfd, CONFIG, &gone, unused, COUNT), -ENOENT);
	gone.step = 40;
	assert_int_equal(checkpoint_read(dirfd, CONFIG, &gone, unused, COUNT), -ENOENT);
}

static void half_written_files_are_removed_by_their_own_rank(void **state)
{
	_cleanup_close_ int dirfd = folder(state);
	struct checkpoint_set set;

	fakefs_put(*state, ".rank-0000-step-000000000040.ckpt.0123456789abcdef", "half");
	fakefs_put(*state, ".rank-0001-step-000000000040.ckpt.0123456789abcdef", "being written");
	assert_int_equal(checkpoint_scan(dirfd, 0, CONFIG, COUNT, &set), 0);
	assert_int_equal(set.n, 0);
	assert_false(is_there(dirfd, ".rank-0000-step-000000000040.ckpt.0123456789abcdef"));
	assert_true(is_there(dirfd, ".rank-0001-step-000000000040.ckpt.0123456789abcdef"));
}

static void a_folder_that_is_gone_is_an_error(void **state)
{
	struct checkpoint_set set;

	(void)state;
	assert_true(checkpoint_scan(-EBADF, 0, CONFIG, COUNT, &set) < 0);
	assert_true(checkpoint_write(-EBADF, 0, CONFIG, 1, weights, COUNT) < 0);
}

static void the_common_ones_are_those_that_all_have_alike(void **state)
{
	struct checkpoint_set a = { .item = { { 50, 5 }, { 40, 4 }, { 30, 3 }, { 20, 2 } }, .n = 4 };
	const struct checkpoint_set b = { .item = { { 60, 6 }, { 40, 9 }, { 30, 3 }, { 20, 2 } }, .n = 4 };
	const struct checkpoint_set c = { .item = { { 20, 2 } }, .n = 1 }, none = { .n = 0 };

	(void)state;
	checkpoint_set_cut(&a, &b);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.item[0].step, 30);
	checkpoint_set_cut(&a, &c);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.item[0].step, 20);
	checkpoint_set_cut(&a, &none);
	assert_int_equal(a.n, 0);
}

#define ON_FILES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	ON_FILES(what_was_written_is_read),
	ON_FILES(each_rank_keeps_its_newest_two),
	ON_FILES(the_newest_steps_come_first_and_once),
	ON_FILES(torn_files_are_refused_wherever_they_end),
	ON_FILES(every_bit_that_flips_is_noticed),
	ON_FILES(files_of_others_and_of_later_versions_are_refused),
	ON_FILES(a_scan_passes_over_what_is_not_good),
	ON_FILES(half_written_files_are_removed_by_their_own_rank),
	cmocka_unit_test(a_folder_that_is_gone_is_an_error),
	cmocka_unit_test(the_common_ones_are_those_that_all_have_alike),
};

UNIT_MAIN(tests)
