// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "../fakefs.h"
#include "sysfs/pairs.h"

#define NIC(p)          \
	"{\"pci\":\"" p \
	"\",\"rdma\":\"rxe0\",\"netdev\":\"eth0\",\"uverbs\":\"uverbs0\",\"node_guid\":\"0:1:2:3\"}"
#define FILE_OF(pairs) "{\"version\":1,\"mode\":\"paired\",\"pairs\":[" pairs "]}"

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

static void a_pairing_is_read(void **state)
{
	static const char text[] = FILE_OF("{\"gaudi\":\"0000:05:00.0\",\"nic\":" NIC(
		"0000:06:00.0") ",\"later\":1},{\"gaudi\":\"AM1\",\"nic\":null}");
	_cleanup_(pairs_freep) struct pairs *p = NULL;
	const struct pairs_pair *pair;

	(void)state;
	assert_int_equal(pairs_parse(text, strlen(text), &p, NULL, 0), 0);
	assert_int_equal(p->n, 2);
	assert_string_equal(p->mode, "paired");
	pair = pairs_find(p, "0000:05:00.0");
	assert_non_null(pair);
	assert_true(pair->has_nic);
	assert_string_equal(pair->nic.rdma, "rxe0");
	assert_string_equal(pair->nic.uverbs, "uverbs0");
	assert_string_equal(pair->nic.netdev, "eth0");
	assert_string_equal(pair->nic.node_guid, "0:1:2:3");
	assert_ptr_equal(pairs_find_nic(p, "0000:06:00.0"), pair);
	assert_false(pairs_find(p, "AM1")->has_nic);
	assert_null(pairs_find(p, "AM"));
	assert_null(pairs_find_nic(p, ""));
}

static void what_is_not_a_pairing_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text;
		int error;
		const char *why;
	} cases[] = {
		{ "", -EBADMSG, "line" },
		{ "[]", -EBADMSG, "not a JSON object" },
		{ "{", -EBADMSG, "line" },
		{ "{}", -EBADMSG, "version" },
		{ "{\"version\":\"1\"}", -EBADMSG, "version" },
		{ "{\"version\":1.0}", -EBADMSG, "version" },
		{ "{\"version\":2,\"anything\":true}", -EPROTONOSUPPORT, "version 2 is unknown" },
		{ "{\"version\":0}", -EPROTONOSUPPORT, "version 0 is unknown" },
		{ "{\"version\":99999999999999999999}", -EBADMSG, "line" },
		{ "{\"version\":1}", -EBADMSG, "mode" },
		{ "{\"version\":1,\"mode\":\"maybe\",\"pairs\":[]}", -EBADMSG, "mode" },
		{ "{\"version\":1,\"mode\":\"a-mode-that-is-far-too-long\",\"pairs\":[]}", -EBADMSG, "mode" },
		{ "{\"version\":1,\"mode\":\"paired\"}", -EBADMSG, "pairs" },
		{ "{\"version\":1,\"mode\":\"paired\",\"pairs\":{}}", -EBADMSG, "pairs" },
		{ "{\"version\":1,\"mode\":\"paired\",\"pairs\":[],\"pairs\":[]}", -EBADMSG, "duplicate" },
		{ FILE_OF("1"), -EBADMSG, "not an object" },
		{ FILE_OF("{}"), -EBADMSG, "gaudi" },
		{ FILE_OF("{\"gaudi\":\"\",\"nic\":null}"), -EBADMSG, "gaudi" },
		{ FILE_OF("{\"gaudi\":\"..\",\"nic\":null}"), -EBADMSG, "impossible" },
		{ FILE_OF("{\"gaudi\":\"a/b\",\"nic\":null}"), -EBADMSG, "impossible" },
		{ FILE_OF("{\"gaudi\":\"a\\u0000b\",\"nic\":null}"), -EBADMSG, "line" },
		{ FILE_OF("{\"gaudi\":\"a\"}"), -EBADMSG, "nic" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":\"rxe0\"}"), -EBADMSG, "nic" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":{}}"), -EBADMSG, "pci" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":{\"pci\":\"0000:06:00.0\",\"rdma\":\"../x\"}}"), -EBADMSG,
		  "impossible" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":{\"pci\":\"0000:06:00.0\",\"rdma\":7}}"), -EBADMSG,
		  "rdma" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":{\"pci\":\"0000:06:00.0\",\"rdma\":\"r\",\"netdev\":\"0123456789abcdef\"}}"),
		  -EBADMSG, "netdev" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":null},{\"gaudi\":\"a\",\"nic\":null}"), -EBADMSG,
		  "earlier" },
		{ FILE_OF("{\"gaudi\":\"a\",\"nic\":" NIC("0000:06:00.0") "},{\"gaudi\":\"b\",\"nic\":" NIC(
			  "0000:06:00.0") "}"),
		  -EBADMSG, "earlier" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pairs *p = (void *)0x1;
		char why[256] = "";

		if (pairs_parse(cases[i].text, strlen(cases[i].text), &p, why, sizeof(why)) !=
			    cases[i].error ||
		    !strstr(why, cases[i].why))
			fail_msg("%s: %s", cases[i].text, why);
		assert_ptr_equal(p, (void *)0x1);
	}
}

static void every_truncation_is_refused(void **state)
{
	static const char text[] = FILE_OF("{\"gaudi\":\"0000:05:00.0\",\"nic\":" NIC("0000:06:00.0") "}");

	(void)state;
	for (size_t len = 0; len < strlen(text); len++) {
		struct pairs *p = NULL;

		assert_int_equal(pairs_parse(text, len, &p, NULL, 0), -EBADMSG);
		assert_null(p);
	}
}

static void a_file_that_is_too_big_is_refused(void **state)
{
	_cleanup_free_ char *text = malloc(PAIRS_MAX_BYTES + 2);
	struct pairs *p = NULL;
	char why[128];

	assert_non_null(text);
	memset(text, ' ', PAIRS_MAX_BYTES + 1);
	text[PAIRS_MAX_BYTES + 1] = '\0';
	assert_int_equal(pairs_parse(text, PAIRS_MAX_BYTES + 1, &p, why, sizeof(why)), -EFBIG);
	fakefs_put(*state, "pairs.json", text);
	assert_int_equal(pairs_load(fakefs_join(*state, "pairs.json"), &p, why, sizeof(why)), -EFBIG);
	assert_null(p);
}

static void what_is_no_file_is_refused_without_waiting(void **state)
{
	struct pairs *p = NULL;

	assert_int_equal(pairs_load(fakefs_join(*state, "none"), &p, NULL, 0), -ENOENT);
	fakefs_mkdir(*state, "directory");
	assert_int_equal(pairs_load(fakefs_join(*state, "directory"), &p, NULL, 0), -EBADMSG);
	assert_int_equal(mkfifo(fakefs_join(*state, "fifo"), 0600), 0);
	assert_int_equal(pairs_load(fakefs_join(*state, "fifo"), &p, NULL, 0), -EBADMSG);
	assert_null(p);
}

static struct pairs *sample(void)
{
	struct pairs *p = pairs_new("paired");
	struct pairs_nic nic = { .pci = "0000:06:00.0", .rdma = "rxe0", .uverbs = "uverbs0" };

	assert_non_null(p);
	assert_int_equal(pairs_add(p, "0000:05:00.0", &nic), 0);
	assert_int_equal(pairs_add(p, "AM00000001", NULL), 0);
	return p;
}

static void what_was_written_is_read_again(void **state)
{
	_cleanup_(pairs_freep) struct pairs *p = sample(), *q = NULL;
	const char *path = fakefs_join(*state, "pairs.json");
	struct stat st, again;

	assert_int_equal(pairs_save(path, p), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(pairs_load(path, &q, NULL, 0), 0);
	assert_true(pairs_equal(p, q));
	/* The same again is no new file. */
	assert_int_equal(pairs_save(path, p), 0);
	assert_int_equal(stat(path, &again), 0);
	assert_int_equal(st.st_ino, again.st_ino);
	strcpy(p->mode, "none");
	assert_false(pairs_equal(p, q));
	assert_int_equal(pairs_save(path, p), 0);
	assert_non_null(strstr(fakefs_get(*state, "pairs.json"), "none"));
}

static void a_failed_write_leaves_the_old_file(void **state)
{
	_cleanup_(pairs_freep) struct pairs *p = sample();

	assert_int_equal(pairs_save(fakefs_join(*state, "missing/pairs.json"), p), -ENOENT);
	fakefs_mkdir(*state, "pairs.json/x");
	assert_true(pairs_save(fakefs_join(*state, "pairs.json"), p) < 0);
}

static void pairs_are_found_in_whatever_order_they_came(void **state)
{
	static const char *const ids[] = { "m", "c", "z", "a", "n", "b", "y" };
	_cleanup_(pairs_freep) struct pairs *p = pairs_new("paired");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct pairs_nic nic = { .rdma = "r" };

		(void)snprintf(nic.pci, sizeof(nic.pci), "0000:0%zu:00.0", i);
		assert_int_equal(pairs_add(p, ids[i], &nic), 0);
		assert_int_equal(pairs_add(p, ids[i], NULL), -EEXIST);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_string_equal(pairs_find(p, ids[i])->gaudi, ids[i]);
		assert_int_equal(pairs_find(p, ids[i])->nic.pci[6], '0' + i);
		assert_true(i == 0 || strcmp(p->pair[i - 1].gaudi, p->pair[i].gaudi) < 0);
	}
	assert_null(pairs_find(p, "d"));
	assert_null(pairs_find(p, ""));
}

static void impossible_names_are_not_added(void **state)
{
	_cleanup_(pairs_freep) struct pairs *p = sample();
	struct pairs_nic nic = { .pci = "0000:07:00.0", .rdma = "rxe1" };

	(void)state;
	assert_int_equal(pairs_add(p, "", NULL), -EINVAL);
	assert_int_equal(pairs_add(p, "a b", NULL), -EINVAL);
	assert_int_equal(
		pairs_add(p, "0123456789012345678901234567890123456789012345678901234567890123", NULL),
		-EINVAL);
	assert_int_equal(pairs_add(p, "0000:05:00.0", NULL), -EEXIST);
	strcpy(nic.rdma, "r/x");
	assert_int_equal(pairs_add(p, "new", &nic), -EINVAL);
	strcpy(nic.rdma, "rxe1");
	strcpy(nic.pci, "0000:06:00.0");
	assert_int_equal(pairs_add(p, "new", &nic), -EEXIST);
	assert_int_equal(p->n, 2);
	assert_null(pairs_new("strict"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_pairing_is_read),
	cmocka_unit_test(what_is_not_a_pairing_is_refused_with_the_reason),
	cmocka_unit_test(every_truncation_is_refused),
	cmocka_unit_test_setup_teardown(a_file_that_is_too_big_is_refused, setup, teardown),
	cmocka_unit_test_setup_teardown(what_is_no_file_is_refused_without_waiting, setup, teardown),
	cmocka_unit_test_setup_teardown(what_was_written_is_read_again, setup, teardown),
	cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file, setup, teardown),
	cmocka_unit_test(pairs_are_found_in_whatever_order_they_came),
	cmocka_unit_test(impossible_names_are_not_added),
};

UNIT_MAIN(tests)
