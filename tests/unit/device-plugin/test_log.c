// SPDX-License-Identifier: Apache-2.0
/* Every change of a device is logged once, with its reason, for people and for programs. */
#include "../unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "../../../device-plugin/core.h"
#include "../fake_scan.h"
#include "../fakefs.h"
#include "base/log.h"

#define GAUDI0 "0000:03:00.0"
#define DEVICE "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"

struct fixture {
	struct fakefs *fs;
	struct core core;
	int stderr_fd;
	uint64_t now_ms;
};

static void begin(struct fixture *f, const char *mode)
{
	struct core_options options = { .mode = mode };

	core_init(&f->core, &options, NULL, 0);
	f->now_ms = 100000;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	fakefs_load(f->fs, "tests/unit/sysfs/trees/lab.tree");
	f->stderr_fd = dup(STDERR_FILENO);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	(void)close(f->stderr_fd);
	log_init(NULL, LOG_LEVEL_INFO, LOG_TEXT);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* What a scan logs, after so many milliseconds. */
static const char *scan(struct fixture *f, enum log_format format, uint64_t after_ms)
{
	struct inventory *inv = fake_scan(f->fs);
	int fd, r;

	fakefs_put(f->fs, "log", "");
	fd = open(fakefs_join(f->fs, "log"), O_WRONLY | O_APPEND | O_CLOEXEC);
	f->now_ms += after_ms;
	log_init("test", LOG_LEVEL_INFO, format);
	(void)dup2(fd, STDERR_FILENO);
	r = core_update(&f->core, inv, f->now_ms);
	(void)dup2(f->stderr_fd, STDERR_FILENO);
	(void)close(fd);
	assert_true(r >= 0);
	return fakefs_get(f->fs, "log");
}

/* The last line, which must be JSON, as all before it. */
static json_t *last_line(const char *text)
{
	json_t *value = NULL;

	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		json_decref(value);
		value = json_loadb(line, (size_t)(strchr(line, '\n') - line), JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(value);
		assert_non_null(json_object_get(value, "msg"));
	}
	return value;
}

static void assert_field(const json_t *line, const char *key, const char *value)
{
	const char *found = json_string_value(json_object_get(line, key));

	if (!value && found)
		fail_msg("%s is \"%s\" and should not be there", key, found);
	if (value && (!found || !strstr(found, value)))
		fail_msg("%s is \"%s\" and does not say \"%s\"", key, found ? found : "not there", value);
}

static void each_change_of_a_gaudi_has_a_line_with_its_reason(void **state)
{
	static const struct {
		const char *state, *reason;
		uint64_t after_ms;
		/* The last line's fields; health NULL: nothing is logged of it. */
		const char *lease, *health, *why;
	} steps[] = {
		{ "owned", "", 10, "owned", NULL, NULL },
		{ "draining", "2 imports are held by mlx5_0", 10, "draining", NULL, "2 imports" },
		{ "draining", "2 imports are held by mlx5_0", 10, NULL, NULL, NULL },
		{ "draining", "2 imports are held by mlx5_0", 20000, NULL, "unhealthy", "2 imports" },
		{ "draining", "1 import is held by mlx5_0", 10, NULL, "unhealthy", "1 import" },
		{ "free", "", 10, NULL, "healthy", NULL },
		{ "lost", "reads return all ones", 10, NULL, "unhealthy", "all ones" },
		{ "lost", "reads return all ones", 10, NULL, NULL, NULL },
		{ "free", "", 10, NULL, "healthy", NULL },
	};
	struct fixture *f = *state;

	begin(f, "paired");
	(void)scan(f, LOG_JSON, 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		char text[128];
		json_t *line;

		(void)snprintf(text, sizeof(text), "%s\n", steps[i].state);
		fakefs_put(f->fs, DEVICE "/state", text);
		(void)snprintf(text, sizeof(text), "%s\n", steps[i].reason);
		fakefs_put(f->fs, DEVICE "/reason", text);
		line = last_line(scan(f, LOG_JSON, steps[i].after_ms));
		if (!steps[i].lease && !steps[i].health) {
			if (line)
				fail_msg("step %zu: logged again", i);
			continue;
		}
		if (!line)
			fail_msg("step %zu: nothing was logged", i);
		assert_field(line, "device", GAUDI0);
		assert_field(line, "lease", steps[i].lease);
		assert_field(line, "health", steps[i].health);
		assert_field(line, "reason", steps[i].why);
		if (steps[i].health && strcmp(steps[i].health, "unhealthy") == 0)
			assert_field(line, "recovery", "");
		json_decref(line);
	}
}

static void a_gaudi_that_leaves_and_is_forgotten_has_a_line_for_both(void **state)
{
	struct fixture *f = *state;
	json_t *line;

	begin(f, "paired");
	(void)scan(f, LOG_JSON, 0);
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	line = last_line(scan(f, LOG_JSON, 10));
	assert_field(line, "health", "unhealthy");
	assert_field(line, "reason", "gone");
	json_decref(line);
	line = last_line(scan(f, LOG_JSON, 61000));
	assert_field(line, "device", GAUDI0);
	assert_field(line, "health", "forgotten");
	json_decref(line);
}

static void a_single_nic_that_leaves_and_comes_back_has_a_line_for_each(void **state)
{
	struct fixture *f = *state;
	json_t *line;

	begin(f, "separate");
	assert_non_null(strstr(scan(f, LOG_TEXT, 0), "0000:04:00.0 (rxe0): handed out by itself"));
	assert_null(last_line(scan(f, LOG_JSON, 10)));
	fakefs_remove(f->fs, "sys/class/infiniband/rxe0");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs0");
	line = last_line(scan(f, LOG_JSON, 10));
	assert_field(line, "nic", "0000:04:00.0");
	assert_field(line, "health", "unhealthy");
	assert_field(line, "reason", "gone");
	json_decref(line);
	assert_null(last_line(scan(f, LOG_JSON, 10)));
	fakefs_link(f->fs, "sys/class/infiniband/rxe0", "../../devices/virtual/infiniband/rxe0");
	fakefs_link(f->fs, "sys/class/infiniband_verbs/uverbs0",
		    "../../devices/virtual/infiniband_verbs/uverbs0");
	line = last_line(scan(f, LOG_JSON, 10));
	assert_field(line, "nic", "0000:04:00.0");
	assert_field(line, "health", "healthy");
	json_decref(line);
}

static void people_read_the_same_in_words(void **state)
{
	struct fixture *f = *state;
	const char *text;

	begin(f, "paired");
	text = scan(f, LOG_TEXT, 0);
	assert_non_null(strstr(text, "test: " GAUDI0 ": found as accel0 (driver gaudi_p2p, "));
	assert_non_null(
		strstr(text, "test: " GAUDI0 ": paired with NIC 0000:04:00.0 (rxe0, enp4s0, uverbs0)\n"));
	fakefs_put(f->fs, DEVICE "/state", "lost\n");
	fakefs_put(f->fs, DEVICE "/reason", "reads return all ones\n");
	assert_non_null(strstr(scan(f, LOG_TEXT, 10), "test: warning: " GAUDI0
						      " (accel0): unhealthy: lost: reads return all ones ("));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(each_change_of_a_gaudi_has_a_line_with_its_reason),
	test(a_gaudi_that_leaves_and_is_forgotten_has_a_line_for_both),
	test(a_single_nic_that_leaves_and_comes_back_has_a_line_for_each),
	test(people_read_the_same_in_words),
};

UNIT_MAIN(tests)
