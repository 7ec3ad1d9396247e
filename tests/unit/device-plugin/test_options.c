// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../../../device-plugin/options_table.h"
#include "../../../device-plugin/watch.h"
#include "base/cleanup.h"

static int parse(struct options *options, char *why, size_t size, char *const *words)
{
	char *argv[8] = { (char *)"gaudi-device-plugin" };
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = words[argc - 1];
	return options_parse(argc, argv, options, why, size);
}

#define PARSE(...) parse(&options, why, sizeof(why), (char *[]){ __VA_ARGS__, NULL })

static void without_options_it_runs_on_the_real_node(void **state)
{
	struct options options;
	char why[256];

	(void)state;
	assert_int_equal(PARSE(NULL), 0);
	assert_string_equal(options.sysfs_root, "/sys");
	assert_string_equal(options.dev_dir, "/dev");
	assert_string_equal(options.kubelet_dir, "/var/lib/kubelet/device-plugins");
	assert_string_equal(options.state_dir, "/var/lib/gaudi-p2p");
	assert_string_equal(options.pairing, "paired");
	assert_string_equal(options.resource_gaudi, "habana.ai/gaudi");
	assert_true(options.events);
	assert_false(options.once || options.help || options.version);
}

static void options_are_taken_in_order(void **state)
{
	struct options options;
	char why[256];

	(void)state;
	assert_int_equal(PARSE((char *)"--sysroot=/t", (char *)"--dev-dir", (char *)"/d",
			       (char *)"--pairing=none", (char *)"--exclude-nic=ens*"),
			 0);
	assert_string_equal(options.sysfs_root, "/t/sys");
	assert_string_equal(options.kubelet_dir, "/t/var/lib/kubelet/device-plugins");
	assert_string_equal(options.dev_dir, "/d");
	assert_string_equal(options.pairing, "none");
	assert_false(options.events);
	assert_int_equal(options.n_exclude, 1);
	assert_int_equal(PARSE((char *)"--once", (char *)"--rescan=100", (char *)"--log-level=debug",
			       (char *)"--log-format=json", (char *)"--resource=example.com/card"),
			 0);
	assert_true(options.once);
	assert_int_equal(options.rescan_ms, 100);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(options.log_format, LOG_JSON);
	assert_string_equal(options.resource_gaudi, "example.com/card");
}

static void wrong_ones_are_named(void **state)
{
	static const char *const cases[][2] = {
		{ "--pairing=fast", "fast" },
		{ "--pairing=stritc", "none of" },
		{ "--pairing=paird", "did you mean paired?" },
		{ "--inject=CDI", "did you mean cdi?" },
		{ "--log-leve=info", "did you mean --log-level?" },
		{ "--rdma_resource=a.b/c", "did you mean --rdma-resource?" },
		{ "-once", "did you mean --once?" },
		{ "--pairing", "--pairing needs a value" },
		{ "--nothing", "--nothing" },
		{ "--once=yes", "--once" },
		{ "--uninstall=lok", "did you mean look?" },
		{ "-x", "-x" },
		{ "word", "word" },
		{ "--rescan=10", "--rescan" },
		{ "--rescan=1e3", "--rescan" },
		{ "--log-level=loud", "loud" },
		{ "--log-format=xml", "xml" },
		{ "--resource=gaudi", "--resource" },
		{ "--resource=/gaudi", "--resource" },
		{ "--resource=a/b/c", "--resource" },
		{ "--resource=habana.ai/rdma", "the same" },
		{ "--sysroot=", "--sysroot" },
		{ "--dev-dir=", "--dev-dir" },
	};
	struct options options;
	char why[256], path[400] = "--state-dir=/";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(PARSE((char *)cases[i][0]), -EINVAL);
		if (!strstr(why, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], why);
	}
	memset(path + strlen(path), 'x', 300);
	assert_int_equal(PARSE(path), -EINVAL);
	assert_non_null(strstr(why, "--state-dir"));
}

static void the_help_names_every_option_and_word(void **state)
{
	char text[8192] = "";
	_cleanup_fclose_ FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	options_help(out);
	assert_int_equal(fflush(out), 0);
	for (size_t i = 0; i < options_n; i++) {
		const struct option_def *def = &options_table[i];
		char flag[64];

		(void)snprintf(flag, sizeof(flag), "--%s", def->name);
		if (!strstr(text, flag))
			fail_msg("the help does not name %s", flag);
		for (size_t j = 0; def->words && def->words[j]; j++)
			if (!strstr(text, def->words[j]))
				fail_msg("the help does not name %s of %s", def->words[j], flag);
	}
}

static void events_say_whether_to_look_at_states_or_at_everything(void **state)
{
	static const struct {
		const char *event;
		size_t len;
		enum watch_news news;
	} cases[] = {
#define EVENT(text, news) { text, sizeof(text) - 1, news }
		EVENT("change@/devices/x\0ACTION=change\0SUBSYSTEM=accel\0GAUDI_STATE=free\0", WATCH_STATES),
		EVENT("change@/devices/x\0SUBSYSTEM=pci\0ACTION=change", WATCH_STATES),
		EVENT("add@/devices/x\0ACTION=add\0SUBSYSTEM=accel\0", WATCH_DEVICES),
		EVENT("remove@/devices/x\0ACTION=remove\0SUBSYSTEM=pci\0", WATCH_DEVICES),
		EVENT("change@/devices/x\0ACTION=change\0SUBSYSTEM=net\0", WATCH_DEVICES),
		EVENT("x\0ACTION=changes\0SUBSYSTEM=accel\0", WATCH_DEVICES),
		EVENT("add@/devices/x\0SUBSYSTEM=infiniband_verbs", WATCH_DEVICES),
		EVENT("change@/devices/x\0ACTION=change\0SUBSYSTEM=block\0", WATCH_NOTHING),
		EVENT("add@/devices/x\0SUBSYSTEM=accelerate\0", WATCH_NOTHING),
		EVENT("add@/devices/x\0XSUBSYSTEM=accel\0", WATCH_NOTHING),
		EVENT("SUBSYSTEM=acce", WATCH_NOTHING),
		EVENT("SUBSYSTEM=", WATCH_NOTHING),
		EVENT("", WATCH_NOTHING),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(watch_event_news(cases[i].event, cases[i].len), cases[i].news);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(without_options_it_runs_on_the_real_node),
	cmocka_unit_test(options_are_taken_in_order),
	cmocka_unit_test(wrong_ones_are_named),
	cmocka_unit_test(the_help_names_every_option_and_word),
	cmocka_unit_test(events_say_whether_to_look_at_states_or_at_everything),
};

UNIT_MAIN(tests)
