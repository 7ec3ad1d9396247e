// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../../../deploy/examples/ring-allreduce/options.h"
#include "base/cleanup.h"

#define ARGS(...) ((char *[]){ (char *)(uintptr_t) "ring-allreduce", __VA_ARGS__, NULL })
#define NONE ((char *[]){ NULL })

static char why[OPTIONS_WHY_SIZE];

static int parse(char **argv, char **environment, const char *hostname, struct options *ret)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	why[0] = '\0';
	return options_parse(argc, argv, environment, hostname, ret, why);
}

static void an_indexed_job_needs_no_rank_and_no_address(void **state)
{
	char *environment[] = { "JOB_COMPLETION_INDEX=2", "RING_ALLREDUCE_JOB=5c1f-uid", "PATH=/bin", NULL };
	struct options options;

	(void)state;
	assert_int_equal(parse(ARGS("--world=4", "--service", "ring"), environment, "my-job-2", &options), 0);
	assert_int_equal(options.rank, 2);
	assert_int_equal(options.world, 4);
	assert_string_equal(options.host, "my-job-0.ring");
	assert_string_equal(options.port_text, "7475");
	assert_string_equal(options.job, "5c1f-uid");
	assert_true(options.device);
}

static void a_list_of_peers_says_how_many_and_where(void **state)
{
	struct options options;

	(void)state;
	assert_int_equal(parse(ARGS("--rank=1", "--peers=10.0.0.7:99,b,[fd00::1]:5"), NONE, "h", &options),
			 0);
	assert_int_equal(options.world, 3);
	assert_string_equal(options.host, "10.0.0.7");
	assert_string_equal(options.port_text, "99");
	assert_int_equal(parse(ARGS("--rank=1", "--port=8", "--peers=[fd00::1],b"), NONE, "h", &options), 0);
	assert_string_equal(options.host, "fd00::1");
	assert_string_equal(options.port_text, "8");
}

static void the_command_line_wins_over_the_environment(void **state)
{
	char *environment[] = { "RING_ALLREDUCE_STEPS=7", "RING_ALLREDUCE_CHECKPOINT_EVERY=3",
				"RING_ALLREDUCE_RATE=0.5", "RING_ALLREDUCE_HIDDEN=", NULL };
	struct options options;

	(void)state;
	assert_int_equal(parse(ARGS("--world=1", "--device=none", "--steps=9"), environment, "h", &options),
			 0);
	assert_int_equal(options.steps, 9);
	assert_int_equal(options.every, 3);
	assert_int_equal(options.hidden, 256);
	assert_true(options.rate == 0.5F);
}

static void what_kubernetes_sets_for_a_service_of_our_name_is_passed_over(void **state)
{
	char *environment[] = { "RING_ALLREDUCE_SERVICE_HOST=10.0.0.1",
				"RING_ALLREDUCE_SERVICE_PORT_MEET=7475",
				"RING_ALLREDUCE_PORT=tcp://10.0.0.1:7475", "RING_ALLREDUCE_PORT_7475_TCP=x",
				NULL };
	struct options options;

	(void)state;
	assert_int_equal(parse(ARGS("--world=1", "--device=none"), environment, "h", &options), 0);
	assert_int_equal(options.port, 7475);
}

static void wrong(char **argv, const char *variable, const char *word)
{
	char *environment[] = { (char *)(uintptr_t)variable, NULL };
	struct options options;

	if (parse(argv, environment, "my-job-2", &options) != -EINVAL)
		fail_msg("%s %s was taken", argv[1], variable ? variable : "");
	if (!strstr(why, word))
		fail_msg("'%s' does not say '%s'", why, word);
}

static void wrong_options_are_told(void **state)
{
	(void)state;
	wrong(ARGS("--word=1"), NULL, "no such option");
	wrong(ARGS("world"), NULL, "no such option");
	wrong(ARGS("--steps"), NULL, "--steps needs a value");
	wrong(ARGS("--steps=0"), NULL, "from 1 to");
	wrong(ARGS("--steps=-1"), NULL, "from 1 to");
	wrong(ARGS("--world=257"), NULL, "from 1 to 256");
	wrong(ARGS("--help=1"), NULL, "takes no value");
	wrong(ARGS("--rate=nan"), NULL, "--rate");
	wrong(ARGS("--rate=0"), NULL, "--rate");
	wrong(ARGS("--rate=1e30"), NULL, "--rate");
	wrong(ARGS("--rate=0.1x"), NULL, "--rate");
	wrong(ARGS("--device=tpu"), NULL, "neither gaudi nor none");
	wrong(ARGS("--job="), NULL, "needs a value");
	wrong(ARGS("--seed=1"), NULL, "how many ranks");
	wrong(ARGS("--world=2"), NULL, "which rank");
	wrong(ARGS("--world=2", "--rank=2"), NULL, "from 0 to 1");
	wrong(ARGS("--world=2"), "JOB_COMPLETION_INDEX=x", "from 0 to 1");
	wrong(ARGS("--world=2", "--rank=1"), NULL, "where is rank 0");
	wrong(ARGS("--world=1"), NULL, "--device=none");
	wrong(ARGS("--world=2", "--rank=1", "--peers=a,b", "--device=none"), NULL, "--world=1");
	wrong(ARGS("--world=3", "--rank=1", "--peers=a,b"), NULL, "names 2 ranks");
	wrong(ARGS("--rank=1", "--peers=a,b", "--service=s"), NULL, "give one");
	wrong(ARGS("--rank=1", "--peers=a,,b"), NULL, "empty");
	wrong(ARGS("--rank=1", "--peers=a:0,b"), NULL, "HOST:PORT");
	wrong(ARGS("--rank=1", "--peers=a,b:70000"), NULL, "HOST:PORT");
	wrong(ARGS("--rank=1", "--peers=fd00::1,b"), NULL, "brackets");
	wrong(ARGS("--rank=1", "--peers=[fd00::1,b"), NULL, "[ADDRESS]:PORT");
	wrong(ARGS("--rank=1", "--world=4", "--service=s"), NULL, "is called 'my-job-2', and not JOB-1");
	wrong(ARGS("--rank=1", "--peers=a,b", "--job=a b"), NULL, "--job may have");
	wrong(ARGS("--rank=1", "--peers=a,b",
		   "--job=0123456789012345678901234567890123456789012345678901234567890123"),
	      NULL, "longer than 63");
	wrong(ARGS("--world=1"), "RING_ALLREDUCE_STEP=1", "RING_ALLREDUCE_STEP in the environment");
	wrong(ARGS("--world=1"), "RING_ALLREDUCE_STEPS=x", "RING_ALLREDUCE_STEPS: 'x'");
	wrong(ARGS("--world=1"), "RING_ALLREDUCE_HELP=1", "no such option");
}

static void help_tells_of_every_option(void **state)
{
	static const char *const names[] = {
		"rank",	  "world", "peers",	     "service",		 "port",	 "job",
		"device", "steps", "batch",	     "hidden",		 "rate",	 "seed",
		"pace",	  "help",  "checkpoint-dir", "checkpoint-every", "join-timeout", "step-timeout"
	};
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct options options;

	(void)state;
	assert_non_null(out);
	options_help(out);
	(void)fclose(out);
	for (size_t i = 0; i < ARRAY_SIZE(names) - 1; i++) {
		char option[32];

		(void)snprintf(option, sizeof(option), "--%s", names[i]);
		if (strcmp(names[i], "help") != 0 && !strstr(text, option))
			fail_msg("--help does not tell of %s", option);
	}
	assert_int_equal(parse(ARGS("--help"), NONE, "h", &options), 0);
	assert_true(options.help);
	assert_int_equal(parse(ARGS("-h"), NONE, "h", &options), 0);
	assert_true(options.help);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_indexed_job_needs_no_rank_and_no_address),
	cmocka_unit_test(a_list_of_peers_says_how_many_and_where),
	cmocka_unit_test(the_command_line_wins_over_the_environment),
	cmocka_unit_test(what_kubernetes_sets_for_a_service_of_our_name_is_passed_over),
	cmocka_unit_test(wrong_options_are_told),
	cmocka_unit_test(help_tells_of_every_option),
};

UNIT_MAIN(tests)
