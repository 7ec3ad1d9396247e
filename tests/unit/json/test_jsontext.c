// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../failalloc.h"
#include "base/cleanup.h"
#include "json/jsontext.h"

static const char text[] =
	"{\"a name of more than sixteen bytes\":\"and a value of more than two times sixteen bytes\","
	"\"numbers\":[1.5,12345678901234567,-1],\"more\":{\"true\":true,\"null\":null}}";

static void it_reads_what_jansson_reads(void **state)
{
	json_auto_t *root = NULL;
	json_error_t error;

	(void)state;
	assert_int_equal(jsontext_parse(text, strlen(text), 0, &root, &error), 0);
	assert_int_equal(json_array_size(json_object_get(root, "numbers")), 3);
}

static void what_is_no_json_is_said_with_its_place(void **state)
{
	json_t *root;
	json_error_t error;

	(void)state;
	assert_int_equal(jsontext_parse("{\n\"a\":1,\n\"a\":2}", 15, JSON_REJECT_DUPLICATES, &root, &error),
			 -EBADMSG);
	assert_null(root);
	assert_int_equal(error.line, 3);
	assert_non_null(strstr(error.text, "duplicate"));
	assert_int_equal(jsontext_parse("", 0, 0, &root, NULL), -EBADMSG);
}

/* Calls that with each allocation failing in turn, until it has memory enough; it says whether it succeeded. */
static void starve(bool (*run)(const json_t *whole))
{
	json_auto_t *whole = json_loads(text, 0, NULL);
	unsigned long n = 0;

	for (bool more = true; more; n++) {
		long live = failalloc_live();
		bool is_done;

		failalloc_arm(n);
		failalloc_resume();
		is_done = run(whole);
		failalloc_pause();
		more = failalloc_disarm();
		assert_int_equal(is_done, !more);
		assert_int_equal(failalloc_live(), live);
	}
	assert_true(n > 8);
}

static bool parse(const json_t *whole)
{
	json_t *root;
	int r = jsontext_parse(text, strlen(text), 0, &root, NULL);

	failalloc_pause();
	assert_true(r == 0 ? json_equal(root, whole) : r == -ENOMEM && !root);
	json_decref(root);
	return r == 0;
}

/* With plain jansson this reads texts with bytes missing. */
static void it_reads_nothing_that_it_has_no_memory_for(void **state)
{
	(void)state;
	starve(parse);
}

static bool format(const json_t *whole)
{
	_cleanup_free_ char *written = jsontext_format(whole, JSON_INDENT(1));

	failalloc_pause();
	if (written) {
		json_auto_t *again = json_loads(written, 0, NULL);

		assert_true(json_equal(again, whole));
	}
	return written;
}

/* With plain jansson this writes texts with names missing. */
static void it_writes_nothing_that_it_has_no_memory_for(void **state)
{
	(void)state;
	starve(format);
}

static void what_cannot_be_written_is_not(void **state)
{
	json_auto_t *number = json_integer(1);

	(void)state;
	assert_null(jsontext_format(NULL, 0));
	assert_null(jsontext_format(number, 0)); /* without JSON_ENCODE_ANY */
}

static void a_program_keeps_its_own_allocation(void **state)
{
	json_malloc_t before, after;
	json_free_t release_before, release_after;
	json_t *root;

	(void)state;
	json_get_alloc_funcs(&before, &release_before);
	assert_int_equal(jsontext_parse("[", 1, 0, &root, NULL), -EBADMSG);
	json_get_alloc_funcs(&after, &release_after);
	assert_true(before == after && release_before == release_after);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(it_reads_what_jansson_reads),
	cmocka_unit_test(what_is_no_json_is_said_with_its_place),
	cmocka_unit_test(it_reads_nothing_that_it_has_no_memory_for),
	cmocka_unit_test(it_writes_nothing_that_it_has_no_memory_for),
	cmocka_unit_test(what_cannot_be_written_is_not),
	cmocka_unit_test(a_program_keeps_its_own_allocation),
};

UNIT_MAIN(tests)
