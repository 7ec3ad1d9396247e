// SPDX-License-Identifier: Apache-2.0
/* What --once prints, as a table and as JSON, and that it changes nothing. */
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../../../device-plugin/table.h"
#include "../fakefs.h"
#include "../schema.h"
#include "base/cleanup.h"

#define TREES "tests/unit/sysfs/trees/"
#define SCHEMA "deploy/device-plugin-inventory.schema.json"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"

struct fixture {
	struct fakefs *fs;
	struct options options;
	char text[65536];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* The program's output for a tree (NULL: what is there), with one more option. */
static const char *print(struct fixture *f, const char *tree, const char *once, const char *option)
{
	char sysroot[512], why[256];
	char *argv[] = { (char *)"test", sysroot, (char *)once, (char *)option, NULL };
	FILE *out = fmemopen(f->text, sizeof(f->text), "w");

	assert_non_null(out);
	memset(f->text, 0, sizeof(f->text));
	if (tree)
		fakefs_load(f->fs, tree);
	(void)snprintf(sysroot, sizeof(sysroot), "--sysroot=%s", fakefs_path(f->fs));
	assert_int_equal(options_parse(option ? 4 : 3, argv, &f->options, why, sizeof(why)), 0);
	assert_int_equal(daemon_print(&f->options, out), 0);
	assert_int_equal(fclose(out), 0);
	return f->text;
}

/* Parsed, and held against the schema. */
static json_t *print_json(struct fixture *f, const char *tree, const char *option)
{
	json_auto_t *schema = schema_load(SCHEMA);
	json_t *value = json_loads(print(f, tree, "--once=json", option), JSON_REJECT_DUPLICATES, NULL);
	char why[512] = "";

	assert_non_null(value);
	if (!schema_allows(schema, value, why, sizeof(why)))
		fail_msg("%s: %s", tree ? tree : "as before", why);
	return value;
}

static const json_t *entry(const json_t *root, const char *list, const char *key, const char *value)
{
	const json_t *items = json_object_get(root, list);

	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		const char *found = json_string_value(json_object_get(item, key));

		if (found && strcmp(found, value) == 0)
			return item;
	}
	fail_msg("%s %s is not in it", list, value);
	return NULL;
}

static void assert_text(const json_t *object, const char *key, const char *value)
{
	const json_t *found = json_object_get(object, key);

	if (!value) {
		assert_true(json_is_null(found));
		return;
	}
	assert_non_null(json_string_value(found));
	assert_string_equal(json_string_value(found), value);
}

static void json_of_every_recorded_node_keeps_the_schema(void **state)
{
	static const char *const trees[] = {
		TREES "lab.tree",	 TREES "one-card.tree", TREES "eight-eight.tree",
		TREES "eight-four.tree", TREES "no-numa.tree",	TREES "twelve.tree",
		TREES "mainline.tree",	 TREES "in-pod.tree",	TREES "broken.tree",
	};

	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		json_auto_t *root = print_json(*state, trees[i], NULL);

		assert_true(json_array_size(json_object_get(root, "gaudis")) > 0);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void json_tells_pairs_and_what_stays_alone(void **state)
{
	struct fixture *f = *state;
	json_auto_t *root = print_json(f, TREES "eight-four.tree", "--exclude-nic=mlx5_3");
	const json_t *gaudi = entry(root, "gaudis", "id", "AM00000002");

	assert_text(root, "pairing", "paired");
	assert_text(gaudi, "nic", "0000:4f:00.0");
	assert_text(gaudi, "distance", "same switch");
	assert_text(gaudi, "serial", "AM00000002");
	assert_text(entry(root, "gaudis", "id", "AM00000003"), "nic", NULL);
	assert_text(entry(root, "nics", "pci", "0000:4f:00.0"), "gaudi", "AM00000002");
	assert_text(entry(root, "nics", "pci", "0000:4f:00.0"), "use", "paired");
	assert_text(entry(root, "nics", "rdma", "mlx5_3"), "use", "excluded");
	assert_text(entry(root, "nics", "rdma", "mlx5_3"), "gaudi", NULL);
}

static void json_tells_why_a_gaudi_is_not_handed_out_and_what_helps(void **state)
{
	struct fixture *f = *state;
	json_auto_t *strict = print_json(f, TREES "eight-four.tree", "--pairing=paired-strict");
	const json_t *alone = entry(strict, "gaudis", "id", "AM00000003");

	assert_true(json_is_false(json_object_get(alone, "healthy")));
	assert_true(json_is_string(json_object_get(alone, "reason")));
	assert_true(json_is_string(json_object_get(alone, "recovery")));
	assert_true(json_is_true(json_object_get(entry(strict, "gaudis", "id", "AM00000002"), "healthy")));
}

static void json_holds_the_drivers_words_whatever_they_are(void **state)
{
	struct fixture *f = *state;
	json_auto_t *root = NULL;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "lost\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/reason", "said \"no\" \\ \xff\x01\n");
	root = print_json(f, NULL, NULL);
	assert_text(entry(root, "gaudis", "id", "0000:03:00.0"), "lease", "lost");
	assert_text(entry(root, "gaudis", "id", "0000:03:00.0"), "lease_reason", "said \"no\" \\ ??");
}

static void json_tells_of_a_nic_inside_a_pod(void **state)
{
	struct fixture *f = *state;
	json_auto_t *root = NULL;
	const json_t *nic;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_put(
		f->fs, "var/lib/gaudi-p2p/pairs.json",
		"{\"version\":1,\"mode\":\"paired\",\"pairs\":[{\"gaudi\":\"0000:03:00.0\",\"nic\":"
		"{\"pci\":\"0000:04:00.0\",\"rdma\":\"rxe0\",\"netdev\":\"enp4s0\",\"uverbs\":\"uverbs0\"}}]}");
	/* Its RDMA device and interface are in another network namespace; its verbs node stays. */
	fakefs_remove(f->fs, "sys/class/infiniband/rxe0");
	fakefs_remove(f->fs, "sys/class/net/enp4s0");
	root = print_json(f, NULL, NULL);
	nic = entry(root, "nics", "pci", "0000:04:00.0");
	assert_text(nic, "where", "pod");
	assert_text(nic, "use", "paired");
	assert_text(entry(root, "gaudis", "id", "0000:03:00.0"), "distance", "in a pod");
}

static void an_empty_node_says_what_to_look_at(void **state)
{
	struct fixture *f = *state;
	json_auto_t *root = NULL;

	fakefs_mkdir(f->fs, "sys/class");
	assert_non_null(strstr(print(f, NULL, "--once", NULL), "is the driver loaded"));
	root = print_json(f, NULL, NULL);
	assert_int_equal(json_array_size(json_object_get(root, "gaudis")), 0);
}

static void the_table_has_a_line_for_each_device(void **state)
{
	struct fixture *f = *state;
	const char *text = print(f, TREES "eight-four.tree", "--once", "--exclude-nic=mlx5_3");
	size_t lines = 0;

	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 1 + 8 + 1);
	assert_non_null(strstr(text, "GAUDI       NODE "));
	assert_non_null(strstr(text, "AM00000002  accel2  "));
	assert_non_null(strstr(text, "0000:cf:00.0  mlx5_3  "));
	assert_non_null(strstr(text, "  excluded\n"));
	/* Columns are as wide as what is in them. */
	text = print(f, NULL, "--once", "--pairing=separate");
	assert_non_null(strstr(text, "  by itself\n"));
}

static void printing_changes_nothing(void **state)
{
	struct fixture *f = *state;

	(void)print(f, TREES "lab.tree", "--once", "--inject=cdi");
	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "not JSON");
	(void)print(f, NULL, "--once=json", NULL);
	assert_string_equal(fakefs_get(f->fs, "var/lib/gaudi-p2p/pairs.json"), "not JSON");
	assert_int_equal(access(fakefs_join(f->fs, "var/lib/gaudi-p2p/pairs.json.bad"), F_OK), -1);
	assert_int_equal(access(fakefs_join(f->fs, "dev"), F_OK), -1);
	assert_int_equal(access(fakefs_join(f->fs, "var/run"), F_OK), -1);
}

static void a_reader_that_is_full_is_an_error(void **state)
{
	struct fixture *f = *state;
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	(void)print(f, TREES "lab.tree", "--once", NULL);
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	assert_int_equal(daemon_print(&f->options, full), -ENOSPC);
	f->options.once = ONCE_JSON;
	assert_true(daemon_print(&f->options, full) < 0);
	(void)fclose(full);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(json_of_every_recorded_node_keeps_the_schema),
	test(json_tells_pairs_and_what_stays_alone),
	test(json_tells_why_a_gaudi_is_not_handed_out_and_what_helps),
	test(json_holds_the_drivers_words_whatever_they_are),
	test(json_tells_of_a_nic_inside_a_pod),
	test(an_empty_node_says_what_to_look_at),
	test(the_table_has_a_line_for_each_device),
	test(printing_changes_nothing),
	test(a_reader_that_is_full_is_an_error),
};

UNIT_MAIN(tests)
