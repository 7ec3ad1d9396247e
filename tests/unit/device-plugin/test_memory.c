// SPDX-License-Identifier: Apache-2.0
/*
 * The whole daemon without memory: for every call of the kubelet's, each allocation of the daemon's
 * fails in turn. It must answer or drop the connection, be well afterwards, and leak nothing.
 *
 * The daemon has a loop of its own, so that only its allocations fail and not the kubelet's.
 */
#include "../unit.h"

#include <string.h>

#include "../../../device-plugin/daemon.h"
#include "../failalloc.h"
#include "../fake_kubelet.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "grpc/client.h"

#define GAUDI0 "0000:03:00.0"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"
#define KUBELET_DIR "var/lib/kubelet/device-plugins"
#define REGISTRY_DIR "var/lib/kubelet/plugins_registry"
#define LIMIT_MS 20000

struct fixture {
	struct fakefs *fs;
	char kubelet_dir[128];
	struct loop *loop;	   /* the daemon's */
	struct loop *kubelet_loop; /* and all else */
	struct options options;
	struct daemon *daemon;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	unsigned n_done;
	struct grpc_error error;
	size_t len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fake_plugin_options(f->fs, 100000 /* calls scan by themselves */, &f->options);
	fakefs_load(f->fs, "tests/unit/sysfs/trees/lab.tree");
	fakefs_mkdir(f->fs, "dev");
	fakefs_mkdir(f->fs, KUBELET_DIR);
	(void)snprintf(f->kubelet_dir, sizeof(f->kubelet_dir), "%.120s", fakefs_join(f->fs, KUBELET_DIR));
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(loop_new(&f->kubelet_loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_kubelet_free(f->kubelet);
	daemon_free(f->daemon);
	loop_free(f->loop);
	loop_free(f->kubelet_loop);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* A round of both; only the daemon's allocations are counted. */
static void step(struct fixture *f)
{
	failalloc_resume();
	if (f->daemon)
		assert_true(loop_step(f->loop, 0) >= 0);
	failalloc_pause();
	assert_true(loop_step(f->kubelet_loop, 1) >= 0);
}

#define WAIT_FOR(f, condition)                                                             \
	do {                                                                               \
		uint64_t end_ = loop_now_ms() + LIMIT_MS;                                  \
                                                                                           \
		while (!(condition)) {                                                     \
			step(f);                                                           \
			if (loop_now_ms() > end_)                                          \
				fail_msg("line %d: never came: %s", __LINE__, #condition); \
		}                                                                          \
	} while (0)

static void start_kubelet(struct fixture *f)
{
	f->kubelet = fake_kubelet_new(f->kubelet_loop, f->kubelet_dir);
	f->view = fake_kubelet_view(f->kubelet);
}

static bool is_listed(const struct fixture *f)
{
	const V1beta1__ListAndWatchResponse *list = f->view->devices;

	for (size_t i = 0; list && i < list->n_devices; i++)
		if (strcmp(list->devices[i]->id, GAUDI0) == 0)
			return strcmp(list->devices[i]->health, KUBELET_HEALTHY) == 0;
	return false;
}

static void start_both(struct fixture *f)
{
	assert_int_equal(daemon_new(f->loop, &f->options, &f->daemon), 0);
	start_kubelet(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon) && is_listed(f));
}

static void stop_both(struct fixture *f)
{
	daemon_free(TAKE_PTR(f->daemon));
	fake_kubelet_free(TAKE_PTR(f->kubelet));
}

/* What is allocated when neither runs, and whatever is made once for good was made. */
static long live_at_rest(struct fixture *f)
{
	start_both(f);
	stop_both(f);
	return failalloc_live();
}

static void on_done(const struct grpc_result *result, void *data)
{
	struct fixture *f = data;

	f->n_done++;
	f->error = result->error;
	f->len = result->len;
}

/* Calls the plugin where it is registered now, or else is to be found. False when there is nobody: it is registering again. */
static bool call(struct fixture *f, const char *method, const uint8_t *message, size_t len)
{
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *c = NULL;
	char path[256] = "";
	const struct grpc_client_options options = {
		.socket = path,
		.method = method,
		.message = message,
		.len = len,
		.timeout_ms = LIMIT_MS,
	};

	if (f->kubelet)
		(void)snprintf(path, sizeof(path), "%s/%s", f->kubelet_dir, f->view->endpoint);
	else
		(void)fake_kubelet_offers(fakefs_join(f->fs, REGISTRY_DIR), "gaudi", path, sizeof(path));
	f->n_done = 0;
	if (grpc_client_start(f->kubelet_loop, &options, on_done, f, &c) < 0)
		return false;
	WAIT_FOR(f, f->n_done == 1);
	return true;
}

/* It is registered, or gets there, and the call works. */
static void must_work(struct fixture *f, const char *method, const uint8_t *message, size_t len)
{
	uint64_t end = loop_now_ms() + LIMIT_MS;

	while (!call(f, method, message, len) || f->error.status != GRPC_OK) {
		assert_true(loop_now_ms() < end);
		step(f);
	}
}

static void check_errors(const struct fixture *f)
{
	switch (f->error.status) {
	case GRPC_OK:
	case GRPC_RESOURCE_EXHAUSTED:
	case GRPC_UNAVAILABLE: /* the connection was given up */
	case GRPC_INTERNAL:    /* nghttp2 reset the stream */
	case GRPC_CANCELLED:
		break;
	default:
		fail_msg("%s: %s", grpc_status_name(f->error.status), f->error.text);
	}
	if (f->error.status != GRPC_OK)
		assert_true(f->error.text[0]);
}

/* Each allocation that the daemon makes for a call fails once; afterwards the same call works. */
static void fail_each(struct fixture *f, const char *method, const uint8_t *message, size_t len)
{
	unsigned long n = 0;

	must_work(f, method, message, len);
	for (bool failed = true; failed; n++) {
		failalloc_arm(n);
		if (call(f, method, message, len))
			check_errors(f);
		for (unsigned i = 0; i < 3; i++)
			step(f);
		failed = failalloc_disarm();
		must_work(f, method, message, len);
		if (f->kubelet)
			WAIT_FOR(f, daemon_is_registered(f->daemon) && is_listed(f));
	}
	print_message("%s: %lu allocations\n", method, n - 1);
	assert_true(n > 20);
}

static void fail_each_registered(struct fixture *f, const char *method, const uint8_t *message, size_t len)
{
	long live = live_at_rest(f);

	start_both(f);
	fail_each(f, method, message, len);
	stop_both(f);
	assert_int_equal(failalloc_live(), live);
}

static const uint8_t allocate_gaudi0[] = "\x0a\x0e\x0a\x0c" GAUDI0;
static const uint8_t pre_start_gaudi0[] = "\x0a\x0c" GAUDI0;
static const uint8_t preferred_gaudi0[] = "\x0a\x10\x0a\x0c" GAUDI0 "\x18\x01";

static void allocate_survives(void **state)
{
	fail_each_registered(*state, "/v1beta1.DevicePlugin/Allocate", allocate_gaudi0,
			     sizeof(allocate_gaudi0) - 1);
}

static void pre_start_survives(void **state)
{
	fail_each_registered(*state, "/v1beta1.DevicePlugin/PreStartContainer", pre_start_gaudi0,
			     sizeof(pre_start_gaudi0) - 1);
}

static void options_survive(void **state)
{
	fail_each_registered(*state, "/v1beta1.DevicePlugin/GetDevicePluginOptions", NULL, 0);
}

/* Without an error: that would fail the pod. Unless the call itself could not be taken. */
static void preference_survives(void **state)
{
	fail_each_registered(*state, "/v1beta1.DevicePlugin/GetPreferredAllocation", preferred_gaudi0,
			     sizeof(preferred_gaudi0) - 1);
}

/* The plugin watcher's calls. */
static void being_found_survives(void **state)
{
	struct fixture *f = *state;

	fakefs_mkdir(f->fs, REGISTRY_DIR);
	f->options.registration = REGISTRATION_WATCHER;
	assert_int_equal(daemon_new(f->loop, &f->options, &f->daemon), 0);
	step(f);
	fail_each(f, "/pluginregistration.Registration/GetInfo", NULL, 0);
	fail_each(f, "/pluginregistration.Registration/NotifyRegistrationStatus", (const uint8_t *)"\x08\x01",
		  2);
	assert_true(daemon_is_registered(f->daemon));
}

/* A device breaks and is mended; the list must arrive, however often the kubelet has to be found anew. */
static void lists_survive(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0;
	long live;

	live = live_at_rest(f);
	start_both(f);
	for (bool failed = true; failed; n++) {
		fakefs_put(f->fs, LAB_GAUDI0 "/state", "lost\n");
		failalloc_arm(n);
		failalloc_resume();
		daemon_scan(f->daemon);
		failalloc_pause();
		for (unsigned i = 0; i < 5; i++)
			step(f);
		failed = failalloc_disarm();
		/* Without memory it may have been missed; the next look sees it. */
		daemon_scan(f->daemon);
		WAIT_FOR(f, daemon_is_registered(f->daemon) && f->view->devices && !is_listed(f));
		fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
		daemon_scan(f->daemon);
		WAIT_FOR(f, is_listed(f));
	}
	print_message("ListAndWatch: %lu allocations\n", n - 1);
	assert_true(n > 20);
	stop_both(f);
	assert_int_equal(failalloc_live(), live);
}

/* Starting: it says that it cannot, or it can, and then is registered in the end. */
static void starting_survives(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0;
	long live = live_at_rest(f);

	start_kubelet(f);
	for (bool failed = true; failed; n++) {
		int r;

		failalloc_arm(n);
		failalloc_resume();
		r = daemon_new(f->loop, &f->options, &f->daemon);
		for (unsigned i = 0; r == 0 && i < 100 && !daemon_is_registered(f->daemon); i++)
			step(f);
		failed = failalloc_disarm();
		if (r == 0)
			WAIT_FOR(f, daemon_is_registered(f->daemon) && is_listed(f));
		else
			assert_int_equal(r, -ENOMEM);
		assert_true(r == 0 || failed);
		daemon_free(TAKE_PTR(f->daemon));
		for (unsigned i = 0; i < 5; i++)
			step(f);
	}
	print_message("starting: %lu allocations\n", n - 1);
	assert_true(n > 100);
	stop_both(f);
	assert_int_equal(failalloc_live(), live);
}

/* A start that waits holds memory of its own. */
static void waiting_starts_survive(void **state)
{
	struct fixture *f = *state;
	unsigned long n = 0;
	long live;

	live = live_at_rest(f);
	start_both(f);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	for (bool failed = true; failed; n++) {
		_cleanup_(grpc_client_call_freep) struct grpc_client_call *c = NULL;
		char path[256];
		const struct grpc_client_options options = {
			.socket = path,
			.method = "/v1beta1.DevicePlugin/PreStartContainer",
			.message = pre_start_gaudi0,
			.len = sizeof(pre_start_gaudi0) - 1,
		};

		(void)snprintf(path, sizeof(path), "%s/%s", f->kubelet_dir, f->view->endpoint);
		f->n_done = 0;
		failalloc_arm(n);
		assert_int_equal(grpc_client_start(f->kubelet_loop, &options, on_done, f, &c), 0);
		for (unsigned i = 0; i < 8; i++)
			step(f);
		failed = failalloc_disarm();
		fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
		daemon_scan(f->daemon);
		WAIT_FOR(f, f->n_done == 1);
		check_errors(f);
		fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
		must_work(f, "/v1beta1.DevicePlugin/GetDevicePluginOptions", NULL, 0);
	}
	print_message("waiting: %lu allocations\n", n - 1);
	assert_true(n > 20);
	stop_both(f);
	assert_int_equal(failalloc_live(), live);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(allocate_survives),      TEST(pre_start_survives),	  TEST(options_survive),
	TEST(preference_survives),    TEST(being_found_survives), TEST(lists_survive),
	TEST(waiting_starts_survive), TEST(starting_survives),
};

UNIT_MAIN(tests)
