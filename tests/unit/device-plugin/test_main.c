// SPDX-License-Identifier: Apache-2.0
/* The program as a user calls it: what it prints where, and how it ends. */
#include "../unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../fakefs.h"
#include "base/cleanup.h"

int program_main(int argc, char **argv);
#define main program_main
#include "../../../device-plugin/main.c"
#undef main

#define LAB "tests/unit/sysfs/trees/lab.tree"
#define LIMIT_S 20

struct fixture {
	struct fakefs *fs;
	pid_t child;
	char sysroot[128];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	f->child = -1;
	fakefs_load(f->fs, LAB);
	(void)snprintf(f->sysroot, sizeof(f->sysroot), "--sysroot=%s", fakefs_path(f->fs));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		(void)kill(f->child, SIGKILL);
		(void)waitpid(f->child, NULL, 0);
	}
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* Starts the program with its output in the files "out" and "err". */
static void start(struct fixture *f, const char *const *words)
{
	char *argv[8] = { (char *)"gaudi-device-plugin" };
	int argc = 1, out, err;

	for (; words[argc - 1]; argc++)
		argv[argc] = (char *)words[argc - 1];
	fakefs_put(f->fs, "out", "");
	fakefs_put(f->fs, "err", "");
	out = open(fakefs_join(f->fs, "out"), O_WRONLY | O_APPEND | O_CLOEXEC);
	err = open(fakefs_join(f->fs, "err"), O_WRONLY | O_APPEND | O_CLOEXEC);
	(void)fflush(NULL);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		(void)dup2(out, STDOUT_FILENO);
		(void)dup2(err, STDERR_FILENO);
		(void)alarm(LIMIT_S);
		_exit((program_main(argc, argv) & 0xff) | (fflush(stdout) == 0 ? 0 : 0x80));
	}
	(void)close(out);
	(void)close(err);
}

static int finish(struct fixture *f)
{
	int status;

	assert_int_equal(waitpid(f->child, &status, 0), f->child);
	f->child = -1;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define RUN(f, ...) (start(f, (const char *const[]){ __VA_ARGS__, NULL }), finish(f))

static const char *said(struct fixture *f, const char *file)
{
	return fakefs_get(f->fs, file);
}

static void help_and_version_go_to_standard_output(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, "--help"), 0);
	assert_non_null(strstr(said(f, "out"), "--exclude-nic=PATTERN"));
	assert_string_equal(said(f, "err"), "");
	assert_int_equal(RUN(f, "--version"), 0);
	assert_string_equal(said(f, "out"), "gaudi-device-plugin " VERSION "\n");
}

static void a_wrong_option_ends_it_with_2_and_one_line(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, "--pairing=piared", "--once"), 2);
	assert_string_equal(said(f, "out"), "");
	assert_string_equal(said(f, "err"),
			    "gaudi-device-plugin: error: --pairing: 'piared' is none of paired, "
			    "paired-strict, separate, none; did you mean paired? "
			    "(--help shows all options)\n");
	assert_int_equal(RUN(f, "--log-format=json", "--nonsense"), 2);
	assert_non_null(strstr(said(f, "err"), "{\"time\":"));
}

static void once_prints_and_logs_nothing(void **state)
{
	struct fixture *f = *state;
	json_t *value;

	assert_int_equal(RUN(f, f->sysroot, "--once"), 0);
	assert_non_null(strstr(said(f, "out"), "0000:07:00.0  accel1"));
	assert_string_equal(said(f, "err"), "");
	assert_int_equal(RUN(f, f->sysroot, "--once=json"), 0);
	value = json_loads(said(f, "out"), 0, NULL);
	assert_non_null(value);
	json_decref(value);
	assert_string_equal(said(f, "err"), "");
}

static void what_cannot_work_ends_it_with_1_and_the_remedy(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, f->sysroot, "--once", "--sysfs-root=/nonexistent"), 1);
	assert_non_null(strstr(said(f, "err"), "/nonexistent: cannot open sysfs (--sysfs-root)"));
	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "{\"version\":99}");
	assert_int_equal(RUN(f, f->sysroot), 1);
	assert_non_null(strstr(said(f, "err"), "upgrade this one"));
}

static void what_is_left_is_told_by_the_exit_status(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, f->sysroot, "--uninstall=look"), 0);
	assert_string_equal(said(f, "err"), "");
	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "{}");
	assert_int_equal(RUN(f, f->sysroot, "--uninstall=look"), 5);
	assert_non_null(strstr(said(f, "err"), "/var/lib/gaudi-p2p/pairs.json is still there\n"));
	assert_int_equal(RUN(f, f->sysroot, "--uninstall"), 4);
	assert_non_null(strstr(said(f, "err"), "--pod-resources=none"));
	assert_int_equal(RUN(f, f->sysroot, "--uninstall", "--pod-resources=none"), 0);
	assert_non_null(strstr(said(f, "err"), "uninstall=now\n"));
	assert_non_null(strstr(said(f, "err"), "removed "));
	assert_int_equal(RUN(f, f->sysroot, "--uninstall=look"), 0);
	assert_int_equal(RUN(f, "--once", "--uninstall"), 2);
	assert_non_null(strstr(said(f, "err"), "--once and --uninstall: say one of them"));
}

static void it_stays_until_a_signal_and_takes_what_comes(void **state)
{
	struct fixture *f = *state;

	start(f, (const char *const[]){ f->sysroot, "--uninstall=stay", "--pod-resources=none", "--rescan=50",
					NULL });
	for (unsigned i = 0; i < LIMIT_S * 100 && !strstr(said(f, "err"), "nothing of the device plugin");
	     i++)
		(void)usleep(10000);
	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "{}");
	for (unsigned i = 0; i < LIMIT_S * 100 && !strstr(said(f, "err"), "removed "); i++)
		(void)usleep(10000);
	assert_int_equal(kill(f->child, SIGTERM), 0);
	assert_int_equal(finish(f), 0);
	assert_int_equal(RUN(f, f->sysroot, "--uninstall=look"), 0);
}

static void a_signal_ends_it_with_0(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, "dev");
	start(f, (const char *const[]){ f->sysroot, "--exclude-nic=eno1", NULL });
	for (unsigned i = 0; i < LIMIT_S * 100 && !strstr(said(f, "err"), "the kubelet is not there yet");
	     i++)
		(void)usleep(10000);
	assert_int_equal(kill(f->child, SIGTERM), 0);
	assert_int_equal(finish(f), 0);
	assert_non_null(strstr(said(f, "err"), "version " VERSION ", with exclude-nic=eno1 sysroot="));
	assert_non_null(strstr(said(f, "err"), "ending on signal 15"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(help_and_version_go_to_standard_output),
	test(a_wrong_option_ends_it_with_2_and_one_line),
	test(once_prints_and_logs_nothing),
	test(what_cannot_work_ends_it_with_1_and_the_remedy),
	test(what_is_left_is_told_by_the_exit_status),
	test(it_stays_until_a_signal_and_takes_what_comes),
	test(a_signal_ends_it_with_0),
};

UNIT_MAIN(tests)
