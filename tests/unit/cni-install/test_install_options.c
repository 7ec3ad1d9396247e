// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../cni-rdma/install/options.h"

static int parse(struct options *options, char *why, const char *a, const char *b, const char *c)
{
	const char *argv[] = { "cni-rdma-install", a, b, c, NULL };
	int argc = 1;

	while (argv[argc])
		argc++;
	return options_parse(argc, (char **)argv, options, why, 256);
}

static void a_verb_and_its_options_are_understood(void **state)
{
	struct options options;
	char why[256];

	(void)state;
	assert_int_equal(parse(&options, why, "install", NULL, NULL), 0);
	assert_int_equal(options.node.verb, VERB_INSTALL);
	assert_string_equal(options.node.root, "/");
	assert_string_equal(options.bin, "opt/cni/bin");
	assert_string_equal(options.conf, "etc/cni/net.d");
	assert_null(options.node.source);
	assert_false(options.node.wait || options.node.stay || options.no_chain);
	assert_int_equal(parse(&options, why, "install", "--no-chain", NULL), 0);
	assert_true(options.no_chain);
	assert_int_equal(parse(&options, why, "--stay", "uninstall", "--interval=1"), 0);
	assert_int_equal(options.node.verb, VERB_UNINSTALL);
	assert_true(options.node.wait && options.node.stay);
	assert_int_equal(options.node.interval, 1);
	assert_int_equal(parse(&options, why, "status", "--conf=//k3s/net.d", "--bin=/b"), 0);
	assert_int_equal(options.node.verb, VERB_STATUS);
	assert_string_equal(options.conf, "k3s/net.d");
	assert_string_equal(options.bin, "b");
	assert_true(nodeopts_looks(&options.node));
	assert_int_equal(parse(&options, why, "absent", NULL, NULL), 0);
	assert_int_equal(options.node.verb, VERB_ABSENT);
	assert_true(nodeopts_looks(&options.node));
	assert_int_equal(parse(&options, why, "uninstall", NULL, NULL), 0);
	assert_false(nodeopts_looks(&options.node));
	assert_int_equal(parse(&options, why, "--help", NULL, NULL), 0);
	assert_true(options.node.help);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *a, *b, *words;
	} cases[] = {
		{ NULL, NULL, "nothing to do" },
		{ "remove", NULL, "remove is no verb" },
		{ "install", "status", "no verb" },
		{ "install", "--rot=/", "--rot=/: no such option" },
		{ "install", "--root", "--root: no such option, or its value is missing" },
		{ "install", "--interval=0", "--interval=0: seconds" },
		{ "install", "--interval=3601", "seconds" },
		{ "install", "--bin=/", "--bin and --conf" },
		{ "install", "--conf=", "--bin and --conf" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options = { .node.interval = 77 };
		char why[256] = "";

		assert_int_equal(parse(&options, why, cases[i].a, cases[i].b, NULL), -EINVAL);
		if (!strstr(why, cases[i].words))
			fail_msg("case %zu: %s", i, why);
		assert_int_equal(options.node.interval, 77);
	}
}

static void help_names_every_option(void **state)
{
	static const char *const words[] = { "install",	 "uninstall", "status",	    "absent",
					     "--wait",	 "--stay",    "--interval", "--root",
					     "--source", "--bin",     "--conf",	    "--no-chain" };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	options_help(out);
	(void)fclose(out);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_non_null(strstr(text, words[i]));
	free(text);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_verb_and_its_options_are_understood),
	cmocka_unit_test(what_is_wrong_is_named),
	cmocka_unit_test(help_names_every_option),
};

UNIT_MAIN(tests)
