// SPDX-License-Identifier: Apache-2.0
/* The configuration file, the environment, and the schema that describes the file. */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../../device-plugin/nearest.h"
#include "../../../device-plugin/options_table.h"
#include "../fakefs.h"
#include "../schema.h"
#include "base/cleanup.h"

#define SCHEMA "deploy/device-plugin.schema.json"
#define EXAMPLE "deploy/device-plugin.json"
#define ENV "GAUDI_DEVICE_PLUGIN_"

struct fixture {
	struct fakefs *fs;
	struct options options;
	char why[640];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (char **entry = environ; *entry;) {
		char name[128];

		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(*entry, "="), *entry);
		/* The entries behind it move up. */
		if (strncmp(name, ENV, strlen(ENV)) != 0 || unsetenv(name) < 0)
			entry++;
	}
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* Parses a command line; NULL words are left out. */
static int parse(struct fixture *f, const char *one, const char *two)
{
	char *argv[4] = { (char *)"test" };
	int argc = 1;

	if (one)
		argv[argc++] = (char *)one;
	if (two)
		argv[argc++] = (char *)two;
	strcpy(f->why, "");
	return options_parse(argc, argv, &f->options, f->why, sizeof(f->why));
}

static int parse_file(struct fixture *f, const char *text, const char *flag)
{
	char config[OPTIONS_PATH_MAX + 16];

	if (text)
		fakefs_put(f->fs, "config.json", text);
	(void)snprintf(config, sizeof(config), "--config=%s", fakefs_join(f->fs, "config.json"));
	return parse(f, config, flag);
}

static void assert_says(const struct fixture *f, const char *what, const char *part)
{
	if (!strstr(f->why, part))
		fail_msg("%s: \"%s\" does not say \"%s\"", what, f->why, part);
}

static void a_file_sets_every_option(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	assert_int_equal(parse_file(f,
				    "{\"version\":1, \"$schema\":\"x\", \"pairing\":\"separate\","
				    "\"exclude-nic\":[\"eno1\",\"mlx5_*\"], \"resource\":\"a.b/c\","
				    "\"rdma-resource\":\"a.b/d\", \"inject\":\"both\","
				    "\"registration\":\"watcher\", \"kubelet-dir\":\"/k\","
				    "\"registry-dir\":\"/r\", \"pod-resources\":\"/p\", \"cdi-dir\":\"/c\","
				    "\"state-dir\":\"/s\", \"dev-dir\":\"/d\", \"sysfs-root\":\"/y\","
				    "\"rescan\":100, \"log-level\":\"debug\", \"log-format\":\"json\"}",
				    NULL),
			 0);
	assert_string_equal(o->pairing, "separate");
	assert_int_equal(o->n_exclude, 2);
	assert_string_equal(o->exclude[1], "mlx5_*");
	assert_string_equal(o->resource_gaudi, "a.b/c");
	assert_string_equal(o->resource_nic, "a.b/d");
	assert_int_equal(o->inject, INJECT_BOTH);
	assert_int_equal(o->registration, REGISTRATION_WATCHER);
	assert_string_equal(o->kubelet_dir, "/k");
	assert_string_equal(o->registry_dir, "/r");
	assert_string_equal(o->podresources, "/p");
	assert_string_equal(o->cdi_dir, "/c");
	assert_string_equal(o->state_dir, "/s");
	assert_string_equal(o->dev_dir, "/d");
	assert_string_equal(o->sysfs_root, "/y");
	assert_int_equal(o->rescan_ms, 100);
	assert_int_equal(o->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(o->log_format, LOG_JSON);
}

static void the_command_line_wins_over_the_environment_and_that_over_the_file(void **state)
{
	static const char text[] = "{\"version\":1,\"rescan\":100,\"pairing\":\"none\",\"inject\":\"cdi\"}";
	struct fixture *f = *state;

	assert_int_equal(setenv(ENV "RESCAN", "200", 1), 0);
	assert_int_equal(setenv(ENV "PAIRING", "separate", 1), 0);
	assert_int_equal(parse_file(f, text, "--rescan=300"), 0);
	assert_int_equal(f->options.rescan_ms, 300);
	assert_string_equal(f->options.pairing, "separate");
	assert_int_equal(f->options.inject, INJECT_CDI);
	/* An empty variable is one that a template left out. */
	assert_int_equal(setenv(ENV "PAIRING", "", 1), 0);
	assert_int_equal(parse_file(f, text, NULL), 0);
	assert_string_equal(f->options.pairing, "none");
	assert_int_equal(f->options.rescan_ms, 200);
}

static void a_list_replaces_the_list_before_it(void **state)
{
	static const char text[] = "{\"version\":1,\"exclude-nic\":[\"a\",\"b,c\"]}";
	struct fixture *f = *state;

	assert_int_equal(parse_file(f, text, NULL), 0);
	assert_int_equal(f->options.n_exclude, 2);
	assert_string_equal(f->options.exclude[1], "b,c");
	assert_int_equal(setenv(ENV "EXCLUDE_NIC", "d,e,f", 1), 0);
	assert_int_equal(parse_file(f, text, NULL), 0);
	assert_int_equal(f->options.n_exclude, 3);
	assert_string_equal(f->options.exclude[2], "f");
	assert_int_equal(parse(f, "--exclude-nic=g", "--exclude-nic=h,i"), 0);
	assert_int_equal(f->options.n_exclude, 3);
	assert_string_equal(f->options.exclude[0], "g");
	assert_string_equal(f->options.exclude[2], "i");
}

static void the_environment_names_the_file(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, "a.json", "{\"version\":1,\"rescan\":100}");
	fakefs_put(f->fs, "config.json", "{\"version\":1,\"rescan\":200}");
	assert_int_equal(setenv(ENV "CONFIG", fakefs_join(f->fs, "a.json"), 1), 0);
	assert_int_equal(parse(f, NULL, NULL), 0);
	assert_int_equal(f->options.rescan_ms, 100);
	assert_int_equal(parse_file(f, NULL, NULL), 0);
	assert_int_equal(f->options.rescan_ms, 200);
}

static void wrong_variables_are_refused_by_name(void **state)
{
	static const char *const cases[][3] = {
		{ ENV "LOGLEVEL", "info", "did you mean " ENV "LOG_LEVEL?" },
		{ ENV "EXCLUDE_NICS", "a", "did you mean " ENV "EXCLUDE_NIC?" },
		{ ENV "NOTHING_LIKE_IT", "a", ENV "NOTHING_LIKE_IT: no such option" },
		{ ENV "HELP", "1", "no such option" },
		{ ENV "ONCE", "1", "no such option" },
		{ ENV "RESCAN", "soon", ENV "RESCAN: 'soon' is not a number from 50 to 3600000" },
		{ ENV "PAIRING", "pair", "did you mean paired?" },
		{ ENV "EXCLUDE_NIC", "a,,b", "needs a value" },
		{ ENV "CONFIG", "/nonexistent/config.json", "/nonexistent/config.json: cannot read" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(setenv(cases[i][0], cases[i][1], 1), 0);
		assert_int_equal(parse(f, NULL, NULL), -EINVAL);
		assert_says(f, cases[i][0], cases[i][2]);
		assert_int_equal(unsetenv(cases[i][0]), 0);
	}
}

static void variables_that_kubernetes_makes_for_a_service_are_no_options(void **state)
{
	static const char *const names[] = { ENV "SERVICE_HOST", ENV "SERVICE_PORT_METRICS", ENV "PORT",
					     ENV "PORT_9090_TCP_ADDR" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(setenv(names[i], "tcp://10.0.0.1:9090", 1), 0);
	assert_int_equal(parse(f, NULL, NULL), 0);
}

static void a_file_that_is_not_understood_is_refused_with_the_place(void **state)
{
	static const char *const cases[][2] = {
		{ "", "line 1" },
		{ "{\n \"version\": 1,\n \"rescan\" 5\n}", "line 3, column" },
		{ "[]", "must be a JSON object, not a list" },
		{ "{}", "\"version\" is missing" },
		{ "{\"version\": 2}", "\"version\" must be 1" },
		{ "{\"version\": \"1\"}", "\"version\" must be 1" },
		/* Of a later version nothing else is judged. */
		{ "{\"version\": 2, \"new\": 1}", "\"version\" must be 1" },
		{ "{\"version\": 1, \"rescan\": 100, \"rescan\": 200}", "duplicate" },
		{ "{\"version\": 1, \"paring\": \"none\"}",
		  "\"paring\": no such option; did you mean pairing?" },
		{ "{\"version\": 1, \"excludeNic\": []}", "did you mean exclude-nic?" },
		{ "{\"version\": 1, \"Rescan\": 100}", "did you mean rescan?" },
		{ "{\"version\": 1, \"once\": true}", "\"once\": no such option" },
		{ "{\"version\": 1, \"sysroot\": \"/\"}", "\"sysroot\": no such option" },
		{ "{\"version\": 1, \"config\": \"/\"}", "\"config\": no such option" },
		{ "{\"version\": 1, \"rescan\": \"100\"}", "must be a whole number, not a string" },
		{ "{\"version\": 1, \"rescan\": 100.5}", "not one with a fraction" },
		{ "{\"version\": 1, \"rescan\": 0}", "'0' is not a number from" },
		{ "{\"version\": 1, \"rescan\": -100}", "'-100' is not a number from" },
		{ "{\"version\": 1, \"pairing\": null}", "must be a string, not null" },
		{ "{\"version\": 1, \"pairing\": true}", "must be a string, not true or false" },
		{ "{\"version\": 1, \"pairing\": \"paired_strict\"}", "did you mean paired-strict?" },
		{ "{\"version\": 1, \"exclude-nic\": \"eno1\"}", "must be a list of strings, not a string" },
		{ "{\"version\": 1, \"exclude-nic\": [1]}", "must be a string, not a number" },
		{ "{\"version\": 1, \"exclude-nic\": [\"\"]}", "needs a value" },
		{ "{\"version\": 1, \"cdi-dir\": {}}", "must be a string, not an object" },
		{ "{\"version\": 1, \"cdi-dir\": \"\"}", "needs a value" },
		{ "{\"version\": 1, \"resource\": \"habana.ai/rdma\"}", "are the same" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse_file(f, cases[i][0], NULL), -EINVAL);
		assert_says(f, cases[i][0], cases[i][1]);
	}
}

static void a_file_that_cannot_be_read_is_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *big = calloc(1, 70001);

	assert_int_equal(parse_file(f, NULL, NULL), -EINVAL);
	assert_says(f, "missing", "config.json: cannot read the configuration: No such file");
	fakefs_mkdir(f->fs, "config.json");
	assert_int_equal(parse_file(f, NULL, NULL), -EINVAL);
	assert_says(f, "directory", "Is a directory");
	fakefs_remove(f->fs, "config.json");
	assert_int_equal(mkfifo(fakefs_join(f->fs, "config.json"), 0600), 0);
	assert_int_equal(parse_file(f, NULL, NULL), -EINVAL);
	fakefs_remove(f->fs, "config.json");
	memset(big, ' ', 70000);
	assert_int_equal(parse_file(f, big, NULL), -EINVAL);
	assert_says(f, "big", "larger than");
}

/* As the kubelet mounts a ConfigMap: links, one of which is exchanged for a new version. */
static void a_file_of_a_config_map_is_read(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, ".2026_11/config.json", "{\"version\":1,\"rescan\":700}");
	fakefs_link(f->fs, ".data", ".2026_11");
	fakefs_link(f->fs, "config.json", ".data/config.json");
	assert_int_equal(parse_file(f, NULL, NULL), 0);
	assert_int_equal(f->options.rescan_ms, 700);
}

static void what_was_chosen_can_be_told(void **state)
{
	struct fixture *f = *state;
	char text[640];

	assert_int_equal(parse(f, NULL, NULL), 0);
	options_describe(&f->options, text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(setenv(ENV "INJECT", "both", 1), 0);
	assert_int_equal(setenv(ENV "RESCAN", "100", 1), 0);
	assert_int_equal(parse(f, "--exclude-nic=a,b", "--pairing=none"), 0);
	options_describe(&f->options, text, sizeof(text));
	assert_string_equal(text, "pairing=none exclude-nic=a exclude-nic=b inject=both rescan=100");
	for (size_t size = 1; size < 64; size++)
		options_describe(&f->options, text, size);
}

static void a_wrong_option_is_told_in_the_format_that_was_asked_for(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, "config.json", "{\"version\":1,\"nothing\":1}");
	assert_int_equal(parse_file(f, NULL, "--log-format=json"), -EINVAL);
	assert_int_equal(f->options.log_format, LOG_JSON);
}

static void help_is_given_whatever_else_is_wrong(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setenv(ENV "RESCAN", "soon", 1), 0);
	assert_int_equal(parse(f, "--config=/nonexistent", "--help"), 0);
	assert_true(f->options.help);
	assert_int_equal(parse(f, "-h", NULL), 0);
	assert_int_equal(parse(f, "--version", NULL), 0);
	assert_true(f->options.version);
}

/* --- the schema ---------------------------------------------------------------- */

/* What the schema says is right, the plugin takes, and the other way round. */
static void schema_and_plugin_agree(void **state)
{
	static const struct {
		const char *text;
		bool right;
	} cases[] = {
		{ "{\"version\":1}", true },
		{ "{}", false },
		{ "[]", false },
		{ "{\"version\":2}", false },
		{ "{\"version\":1,\"rescan\":50}", true },
		{ "{\"version\":1,\"rescan\":49}", false },
		{ "{\"version\":1,\"rescan\":3600000}", true },
		{ "{\"version\":1,\"rescan\":3600001}", false },
		{ "{\"version\":1,\"rescan\":\"100\"}", false },
		{ "{\"version\":1,\"unknown\":1}", false },
		{ "{\"version\":1,\"once\":\"json\"}", false },
		{ "{\"version\":1,\"$schema\":\"x\"}", true },
		{ "{\"version\":1,\"exclude-nic\":[]}", true },
		{ "{\"version\":1,\"exclude-nic\":[\"\"]}", false },
		{ "{\"version\":1,\"exclude-nic\":\"a\"}", false },
		{ "{\"version\":1,\"exclude-nic\":[1]}", false },
		{ "{\"version\":1,\"cdi-dir\":\"\"}", false },
		{ "{\"version\":1,\"resource\":\"gaudi\"}", false },
		{ "{\"version\":1,\"resource\":\"/gaudi\"}", false },
		{ "{\"version\":1,\"resource\":\"a/b/c\"}", false },
		{ "{\"version\":1,\"resource\":\"A.b/c\"}", false },
		{ "{\"version\":1,\"resource\":\"a..b/c\"}", false },
		{ "{\"version\":1,\"resource\":\"a-.b/c\"}", false },
		{ "{\"version\":1,\"resource\":\".a/c\"}", false },
		{ "{\"version\":1,\"resource\":\"a/-c\"}", false },
		{ "{\"version\":1,\"resource\":\"a.b-c.d/E_f.g-h\"}", true },
		{ "{\"version\":1,\"resource\":\"kubernetes.io/gaudi\"}", false },
		{ "{\"version\":1,\"resource\":\"x.kubernetes.io/gaudi\"}", false },
		{ "{\"version\":1,\"resource\":\"requests.x/gaudi\"}", false },
		{ "{\"version\":1,\"rdma-resource\":\"a b/c\"}", false },
		{ "{\"version\":1,\"log-level\":\"trace\"}", false },
	};
	struct fixture *f = *state;
	json_auto_t *schema = schema_load(SCHEMA);
	char why[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *value = json_loads(cases[i].text, 0, NULL);
		bool allowed, taken;

		strcpy(why, "");
		allowed = schema_allows(schema, value, why, sizeof(why));
		taken = parse_file(f, cases[i].text, NULL) == 0;
		if (allowed != cases[i].right)
			fail_msg("%s: the schema says %s (%s)", cases[i].text, allowed ? "yes" : "no", why);
		if (taken != cases[i].right)
			fail_msg("%s: the plugin says %s (%s)", cases[i].text, taken ? "yes" : "no", f->why);
	}
}

static json_t *config_with(const char *key, json_t *value)
{
	json_t *config = json_pack("{s:i, s:o}", "version", 1, key, value);

	assert_non_null(config);
	return config;
}

static void assert_verdict(struct fixture *f, const json_t *schema, const char *key, json_t *value,
			   bool right)
{
	json_auto_t *config = config_with(key, value);
	_cleanup_free_ char *text = json_dumps(config, 0);
	char why[256] = "";

	if (schema_allows(schema, config, why, sizeof(why)) != right)
		fail_msg("%s: the schema is of another mind (%s)", text, why);
	if ((parse_file(f, text, NULL) == 0) != right)
		fail_msg("%s: the plugin is of another mind (%s)", text, f->why);
}

static json_t *text_of(size_t n, const char *before)
{
	char text[512] = "";

	strcpy(text, before);
	memset(text + strlen(before), 'x', n - strlen(before));
	return json_string(text);
}

static void the_schema_describes_every_option_and_its_limits(void **state)
{
	struct fixture *f = *state;
	json_auto_t *schema = schema_load(SCHEMA);
	const json_t *properties = json_object_get(schema, "properties");
	size_t n = 0;

	for (size_t i = 0; i < options_n; i++) {
		const struct option_def *def = &options_table[i];

		if (!(def->places & PLACE_FILE))
			continue;
		n++;
		if (!json_object_get(properties, def->name))
			fail_msg("%s is not in the schema", def->name);
		for (size_t j = 0; def->words && def->words[j]; j++)
			assert_verdict(f, schema, def->name, json_string(def->words[j]), true);
		if (def->kind == OPTION_PATH) {
			assert_verdict(f, schema, def->name, text_of(255, "/"), true);
			assert_verdict(f, schema, def->name, text_of(256, "/"), false);
		}
		if (def->kind == OPTION_RESOURCE) {
			assert_verdict(f, schema, def->name, text_of(2 + 64, "a/"), false);
			assert_verdict(f, schema, def->name, text_of(2 + 63, "a/"), true);
		}
	}
	assert_int_equal(json_object_size(properties), n + 2); /* $schema and version */
	assert_verdict(f, schema, "exclude-nic", json_pack("[o]", text_of(63, "")), true);
	assert_verdict(f, schema, "exclude-nic", json_pack("[o]", text_of(64, "")), false);
	for (size_t size = 32; size <= 33; size++) {
		json_t *list = json_array();

		for (size_t i = 0; i < size; i++)
			assert_int_equal(json_array_append_new(list, json_string("x")), 0);
		assert_verdict(f, schema, "exclude-nic", list, size == 32);
	}
}

static void the_defaults_in_the_schema_are_those_of_the_plugin(void **state)
{
	struct fixture *f = *state;
	json_auto_t *schema = schema_load(SCHEMA);
	json_auto_t *config = json_pack("{s:i}", "version", 1);
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ struct options *before = calloc(1, sizeof(*before));
	const char *key;
	json_t *rule;

	json_object_foreach(json_object_get(schema, "properties"), key, rule) {
		json_t *value = json_object_get(rule, "default");

		if (value)
			assert_int_equal(json_object_set(config, key, value), 0);
	}
	assert_int_equal(json_object_size(config),
			 json_object_size(json_object_get(schema, "properties")) - 1);
	text = json_dumps(config, 0);
	assert_int_equal(parse(f, NULL, NULL), 0);
	memcpy(before, &f->options, sizeof(*before));
	assert_int_equal(parse_file(f, text, NULL), 0);
	memset(f->options.config, 0, sizeof(f->options.config));
	f->options.given = 0;
	assert_memory_equal(before, &f->options, sizeof(*before));
}

static void the_example_is_right(void **state)
{
	struct fixture *f = *state;
	json_auto_t *schema = schema_load(SCHEMA);
	json_auto_t *example = json_load_file(EXAMPLE, 0, NULL);
	char why[256] = "";

	assert_non_null(example);
	if (!schema_allows(schema, example, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(parse(f, "--config", EXAMPLE), 0);
	assert_int_equal(f->options.n_exclude, 2);
}

/* --- words ---------------------------------------------------------------------- */

static void the_nearest_word_is_found_and_no_far_one(void **state)
{
	static const char *const words[] = { "paired", "paired-strict", "separate", "none" };
	static const char *const cases[][2] = {
		{ "paird", "paired" },
		{ "PAIRED", "paired" },
		{ "piared", "paired" },
		{ "seperate", "separate" },
		{ "non", "none" },
		{ "paired_strict", "paired-strict" },
		{ "", NULL },
		{ "x", NULL },
		{ "quite different", NULL },
	};
	char endless[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *found = nearest_word(cases[i][0], words, ARRAY_SIZE(words));

		if (!found != !cases[i][1] || (found && strcmp(found, cases[i][1]) != 0))
			fail_msg("%s: %s", cases[i][0], found ? found : "none found");
	}
	memset(endless, 'n', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_null(nearest_word(endless, words, ARRAY_SIZE(words)));
	assert_null(nearest_word("none", words, 0));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(a_file_sets_every_option),
	test(the_command_line_wins_over_the_environment_and_that_over_the_file),
	test(a_list_replaces_the_list_before_it),
	test(the_environment_names_the_file),
	test(wrong_variables_are_refused_by_name),
	test(variables_that_kubernetes_makes_for_a_service_are_no_options),
	test(a_file_that_is_not_understood_is_refused_with_the_place),
	test(a_file_that_cannot_be_read_is_refused),
	test(a_file_of_a_config_map_is_read),
	test(what_was_chosen_can_be_told),
	test(a_wrong_option_is_told_in_the_format_that_was_asked_for),
	test(help_is_given_whatever_else_is_wrong),
	test(schema_and_plugin_agree),
	test(the_schema_describes_every_option_and_its_limits),
	test(the_defaults_in_the_schema_are_those_of_the_plugin),
	test(the_example_is_right),
	cmocka_unit_test(the_nearest_word_is_found_and_no_far_one),
};

UNIT_MAIN(tests)
