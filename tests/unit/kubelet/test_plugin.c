// SPDX-License-Identifier: Apache-2.0
/* The plugin's side against the fake kubelet, in one loop and thread. */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../fake_kubelet.h"
#include "../fakefs.h"
#include "kubelet/plugin.h"
#include "kubelet/registration.h"

struct world {
	struct fakefs *fs;
	struct loop *loop;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	struct kubelet_plugin *plugin;
	struct grpc_client_call *registration;
	struct loop_source *timer;
	struct grpc_call *starting;
	unsigned n_registered; /* answers to Register */
	int r;
	struct grpc_error error;
	unsigned n_watchers_calls;
	unsigned n_watchers;
	unsigned n_gone;
	unsigned n_ended;
	/* The plugin watcher's part. */
	const char *watched_as;
	unsigned n_notified;
	bool notified;
	char notified_error[64];
	unsigned n_called;
	Pluginregistration__PluginInfo *info;
};

static void allocate(struct grpc_call *call, const V1beta1__AllocateRequest *request, void *data)
{
	V1beta1__AllocateResponse response = V1BETA1__ALLOCATE_RESPONSE__INIT;
	V1beta1__ContainerAllocateResponse container = V1BETA1__CONTAINER_ALLOCATE_RESPONSE__INIT;
	V1beta1__ContainerAllocateResponse__EnvsEntry env =
		V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ENVS_ENTRY__INIT;
	V1beta1__ContainerAllocateResponse__EnvsEntry *envs = &env;
	V1beta1__ContainerAllocateResponse *containers = &container;

	(void)data;
	if (request->n_container_requests != 1) {
		grpc_call_fail(call, GRPC_INVALID_ARGUMENT, "%zu containers", request->n_container_requests);
		return;
	}
	env.key = (char *)"DEVICE";
	env.value = request->container_requests[0]->devices_ids[0];
	container.n_envs = 1;
	container.envs = &envs;
	response.n_container_responses = 1;
	response.container_responses = &containers;
	kubelet_call_reply(call, &response.base);
}

static void on_start_gone(struct grpc_call *call, void *data)
{
	struct world *w = data;

	(void)call;
	w->starting = NULL;
	w->n_gone++;
}

static void pre_start(struct grpc_call *call, const V1beta1__PreStartContainerRequest *request, void *data)
{
	struct world *w = data;

	(void)request;
	w->starting = call;
	grpc_call_set_gone(call, on_start_gone, w);
	loop_timer_set(w->timer, 60);
}

static int on_timer(void *data)
{
	V1beta1__PreStartContainerResponse response = V1BETA1__PRE_START_CONTAINER_RESPONSE__INIT;
	struct world *w = data;

	if (w->starting)
		kubelet_call_reply(TAKE_PTR(w->starting), &response.base);
	return 0;
}

static void watchers(unsigned n, void *data)
{
	struct world *w = data;

	w->n_watchers = n;
	w->n_watchers_calls++;
}

static void on_notified(bool registered, const char *error, void *data)
{
	struct world *w = data;

	w->n_notified++;
	w->notified = registered;
	(void)snprintf(w->notified_error, sizeof(w->notified_error), "%s", error);
}

static const struct kubelet_plugin_ops ops = { .allocate = allocate,
					       .pre_start = pre_start,
					       .watchers = watchers,
					       .notified = on_notified };

static int serve(struct world *w)
{
	const struct kubelet_plugin_options options = {
		.socket = fakefs_join(w->fs, "plugin.sock"),
		.pre_start_required = true,
		.watched_as = w->watched_as,
		.ops = &ops,
		.data = w,
	};

	return kubelet_plugin_new(w->loop, &options, &w->plugin);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fs = fakefs_new();
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(loop_add_timer(w->loop, on_timer, w, &w->timer), 0);
	w->kubelet = fake_kubelet_new(w->loop, fakefs_path(w->fs));
	w->view = fake_kubelet_view(w->kubelet);
	assert_int_equal(serve(w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	grpc_client_call_free(w->registration);
	fake_kubelet_free(w->kubelet);
	kubelet_plugin_free(w->plugin);
	kubelet_message_free((ProtobufCMessage *)w->info);
	loop_source_free(w->timer);
	loop_free(w->loop);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

static void on_registered(const struct grpc_result *result, void *data)
{
	struct world *w = data;

	w->r = result->r;
	w->error = result->error;
	w->n_registered++;
	grpc_client_call_free(TAKE_PTR(w->registration));
}

static int begin_register(struct world *w)
{
	const struct kubelet_registration registration = {
		.kubelet_socket = fakefs_join(w->fs, "kubelet.sock"),
		.endpoint = "plugin.sock",
		.resource = "habana.ai/gaudi",
		.pre_start_required = true,
		.timeout_ms = 5000,
	};

	return kubelet_register(w->loop, &registration, on_registered, w, &w->registration);
}

static void be_registered(struct world *w)
{
	assert_int_equal(begin_register(w), 0);
	fake_kubelet_run_until(w->kubelet, &w->n_registered, 1);
	assert_int_equal(w->r, 0);
}

static int publish(struct world *w, const char *id, const char *health)
{
	V1beta1__ListAndWatchResponse list = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
	V1beta1__Device device = V1BETA1__DEVICE__INIT, *devices = &device;

	device.id = (char *)id;
	device.health = (char *)health;
	list.devices = &devices;
	list.n_devices = 1;
	return kubelet_plugin_publish(w->plugin, &list);
}

static void run_for(struct world *w, unsigned ms)
{
	uint64_t end = loop_now_ms() + ms;

	for (uint64_t now = loop_now_ms(); now < end; now = loop_now_ms())
		assert_true(loop_step(w->loop, (int)(end - now)) >= 0);
}

static void registration_serves_the_call_back(void **state)
{
	struct world *w = *state;

	be_registered(w);
	assert_int_equal(w->view->n_registered, 1);
	assert_string_equal(w->view->endpoint, "plugin.sock");
	assert_string_equal(w->view->resource, "habana.ai/gaudi");
	assert_true(w->view->pre_start_required);
	assert_false(w->view->preferred_available);
}

static void registration_without_a_kubelet_fails_at_once(void **state)
{
	struct world *w = *state;

	fake_kubelet_free(TAKE_PTR(w->kubelet));
	assert_int_equal(begin_register(w), -ENOENT);
	fakefs_put(w->fs, "kubelet.sock", "");
	assert_int_equal(begin_register(w), -ECONNREFUSED);
}

static void a_refused_registration_says_why(void **state)
{
	struct world *w = *state;

	fake_kubelet_refuse(w->kubelet, GRPC_INVALID_ARGUMENT, "the resource name is bad");
	assert_int_equal(begin_register(w), 0);
	fake_kubelet_run_until(w->kubelet, &w->n_registered, 1);
	assert_int_equal(w->r, -EINVAL);
	assert_string_equal(w->error.text, "the resource name is bad");
}

static void the_latest_list_reaches_the_kubelet(void **state)
{
	struct world *w = *state;

	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->n_watchers, 1);
	run_for(w, 20);
	assert_int_equal(w->view->n_lists, 0); /* nothing was published: no empty list */
	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0);
	fake_kubelet_run_until(w->kubelet, &w->view->n_lists, 1);
	assert_string_equal(w->view->devices->devices[0]->id, "a");
	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0); /* the same: not sent again */
	run_for(w, 20);
	assert_int_equal(w->view->n_lists, 1);
	assert_int_equal(publish(w, "a", KUBELET_UNHEALTHY), 0);
	fake_kubelet_run_until(w->kubelet, &w->view->n_lists, 2);
	assert_string_equal(w->view->devices->devices[0]->health, KUBELET_UNHEALTHY);
}

static void a_new_stream_begins_with_the_latest_list(void **state)
{
	struct world *w = *state;

	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0);
	assert_int_equal(publish(w, "b", KUBELET_HEALTHY), 0);
	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->view->n_lists, 1);
	assert_string_equal(w->view->devices->devices[0]->id, "b");
}

static void the_end_of_the_stream_is_told(void **state)
{
	struct world *w = *state;
	unsigned calls;

	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->n_watchers, 1);
	calls = w->n_watchers_calls;
	fake_kubelet_stop_watching(w->kubelet);
	fake_kubelet_run_until(w->kubelet, &w->n_watchers_calls, calls + 1);
	assert_int_equal(w->n_watchers, 0);
}

static int call_allocate(struct world *w, const char *id, V1beta1__AllocateResponse **ret,
			 struct grpc_error *error)
{
	V1beta1__AllocateRequest request = V1BETA1__ALLOCATE_REQUEST__INIT;
	V1beta1__ContainerAllocateRequest container = V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT;
	V1beta1__ContainerAllocateRequest *containers = &container;
	char *ids[] = { (char *)id };

	if (id) {
		container.devices_ids = ids;
		container.n_devices_ids = 1;
		request.container_requests = &containers;
		request.n_container_requests = 1;
	}
	return fake_kubelet_call(w->kubelet, "Allocate", &request.base,
				 &v1beta1__allocate_response__descriptor, 5000, (ProtobufCMessage **)ret,
				 error);
}

static void allocate_is_answered(void **state)
{
	_cleanup_message_ V1beta1__AllocateResponse *response = NULL;
	struct world *w = *state;
	struct grpc_error error;

	be_registered(w);
	assert_int_equal(call_allocate(w, "AM12345678", &response, NULL), 0);
	assert_int_equal(response->n_container_responses, 1);
	assert_string_equal(response->container_responses[0]->envs[0]->value, "AM12345678");
	assert_int_equal(call_allocate(w, NULL, NULL, &error), -EINVAL);
	assert_string_equal(error.text, "0 containers");
}

static void a_request_that_cannot_be_parsed_is_refused(void **state)
{
	struct world *w = *state;
	const struct grpc_client_options options = {
		.socket = fakefs_join(w->fs, "plugin.sock"),
		.method = "/v1beta1.DevicePlugin/Allocate",
		.message = (const uint8_t *)"\x0a\xff\xff\xff\xff\x0f",
		.len = 6,
		.timeout_ms = 5000,
	};

	assert_int_equal(grpc_client_start(w->loop, &options, on_registered, w, &w->registration), 0);
	fake_kubelet_run_until(w->kubelet, &w->n_registered, 1);
	assert_int_equal(w->error.status, GRPC_INVALID_ARGUMENT);
}

static void pre_start_is_answered_later(void **state)
{
	V1beta1__PreStartContainerRequest request = V1BETA1__PRE_START_CONTAINER_REQUEST__INIT;
	_cleanup_message_ V1beta1__PreStartContainerResponse *response = NULL;
	struct world *w = *state;
	uint64_t begin = loop_now_ms();

	be_registered(w);
	assert_int_equal(fake_kubelet_call(w->kubelet, "PreStartContainer", &request.base,
					   &v1beta1__pre_start_container_response__descriptor, 5000,
					   (ProtobufCMessage **)&response, NULL),
			 0);
	assert_true(loop_now_ms() - begin >= 60);
	/* One that the kubelet gives up first. */
	assert_int_equal(fake_kubelet_call(w->kubelet, "PreStartContainer", &request.base,
					   &v1beta1__pre_start_container_response__descriptor, 20, NULL,
					   NULL),
			 -ETIMEDOUT);
	fake_kubelet_run_until(w->kubelet, &w->n_gone, 1);
	run_for(w, 80);
}

static void methods_that_the_plugin_lacks_are_unimplemented(void **state)
{
	V1beta1__PreferredAllocationRequest request = V1BETA1__PREFERRED_ALLOCATION_REQUEST__INIT;
	struct world *w = *state;

	be_registered(w);
	assert_int_equal(fake_kubelet_call(w->kubelet, "GetPreferredAllocation", &request.base,
					   &v1beta1__preferred_allocation_response__descriptor, 5000, NULL,
					   NULL),
			 -EOPNOTSUPP);
}

static void on_ended(void *data)
{
	struct world *w = data;

	w->n_ended++;
	kubelet_plugin_free(TAKE_PTR(w->plugin));
}

static void shutdown_ends_the_stream_without_an_empty_list(void **state)
{
	struct world *w = *state;
	unsigned calls;

	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0);
	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->view->n_lists, 1);
	calls = w->n_watchers_calls;
	kubelet_plugin_shutdown(w->plugin, 5000, on_ended, w);
	fake_kubelet_run_until(w->kubelet, &w->n_ended, 1);
	fake_kubelet_run_until(w->kubelet, &w->view->n_streams_ended, 1);
	assert_int_equal(w->view->stream_error.status, GRPC_UNAVAILABLE);
	assert_int_equal(w->view->n_lists, 1);
	assert_int_equal(w->n_watchers_calls, calls);
}

static void a_kubelet_that_restarts_is_registered_with_again(void **state)
{
	struct world *w = *state;
	unsigned calls;

	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0);
	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->n_watchers, 1);
	calls = w->n_watchers_calls;
	fake_kubelet_free(TAKE_PTR(w->kubelet));
	while (w->n_watchers_calls == calls)
		assert_true(loop_step(w->loop, 100) >= 0);
	assert_int_equal(w->n_watchers, 0);
	/* Its successor removes the plugin's socket first, so a new one is needed. */
	fakefs_remove(w->fs, "plugin.sock");
	w->kubelet = fake_kubelet_new(w->loop, fakefs_path(w->fs));
	w->view = fake_kubelet_view(w->kubelet);
	kubelet_plugin_free(TAKE_PTR(w->plugin));
	assert_int_equal(serve(w), 0);
	assert_int_equal(publish(w, "a", KUBELET_HEALTHY), 0);
	w->n_registered = 0;
	be_registered(w);
	fake_kubelet_run_until(w->kubelet, &w->view->n_lists, 1);
}

/* --- plugin watcher --------------------------------------------------------- */

static void on_called(const struct grpc_result *result, void *data)
{
	struct world *w = data;

	w->n_called++;
	w->error = result->error;
	if (result->r == 0 && result->len > 0) {
		kubelet_message_free((ProtobufCMessage *)w->info);
		w->info = pluginregistration__plugin_info__unpack(NULL, result->len, result->message);
		assert_non_null(w->info);
	}
}

/* Calls a method of the plugin watcher's and waits for the answer. */
static void call_watched(struct world *w, const char *method, const void *message, size_t len)
{
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = NULL;
	const struct grpc_client_options options = {
		.socket = fakefs_join(w->fs, "plugin.sock"),
		.method = method,
		.message = message,
		.len = len,
		.timeout_ms = 5000,
	};

	w->n_called = 0;
	assert_int_equal(grpc_client_start(w->loop, &options, on_called, w, &call), 0);
	fake_kubelet_run_until(w->kubelet, &w->n_called, 1);
}

#define GET_INFO "/pluginregistration.Registration/GetInfo"
#define NOTIFY "/pluginregistration.Registration/NotifyRegistrationStatus"

static void the_plugin_watcher_is_answered(void **state)
{
	struct world *w = *state;

	kubelet_plugin_free(TAKE_PTR(w->plugin));
	w->watched_as = "habana.ai/gaudi";
	assert_int_equal(serve(w), 0);
	assert_false(kubelet_plugin_has_peer(w->plugin));
	call_watched(w, GET_INFO, NULL, 0);
	assert_int_equal(w->error.status, GRPC_OK);
	assert_string_equal(w->info->type, "DevicePlugin");
	assert_string_equal(w->info->name, "habana.ai/gaudi");
	assert_string_equal(w->info->endpoint, ""); /* the socket that was called */
	assert_int_equal(w->info->n_supported_versions, 1);
	assert_string_equal(w->info->supported_versions[0], "v1beta1");
	call_watched(w, NOTIFY, "\x12\x07no room", 9);
	assert_int_equal(w->error.status, GRPC_OK);
	assert_int_equal(w->n_notified, 1);
	assert_false(w->notified);
	assert_string_equal(w->notified_error, "no room");
	call_watched(w, NOTIFY, "\x08\x01", 2);
	assert_int_equal(w->n_notified, 2);
	assert_true(w->notified);
	assert_string_equal(w->notified_error, "");
	call_watched(w, NOTIFY, "\x08", 1);
	assert_int_equal(w->error.status, GRPC_INVALID_ARGUMENT);
	assert_int_equal(w->n_notified, 2);
	/* And the plugin's own methods are at the same socket. */
	call_watched(w, "/v1beta1.DevicePlugin/Allocate", "\x0a\xff", 2);
	assert_int_equal(w->error.status, GRPC_INVALID_ARGUMENT);
}

static void a_plugin_that_is_not_watched_has_no_info(void **state)
{
	struct world *w = *state;

	call_watched(w, GET_INFO, NULL, 0);
	assert_int_equal(w->error.status, GRPC_UNIMPLEMENTED);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(registration_serves_the_call_back),
	test(registration_without_a_kubelet_fails_at_once),
	test(a_refused_registration_says_why),
	test(the_latest_list_reaches_the_kubelet),
	test(a_new_stream_begins_with_the_latest_list),
	test(the_end_of_the_stream_is_told),
	test(allocate_is_answered),
	test(a_request_that_cannot_be_parsed_is_refused),
	test(pre_start_is_answered_later),
	test(methods_that_the_plugin_lacks_are_unimplemented),
	test(shutdown_ends_the_stream_without_an_empty_list),
	test(a_kubelet_that_restarts_is_registered_with_again),
	test(the_plugin_watcher_is_answered),
	test(a_plugin_that_is_not_watched_has_no_info),
};

UNIT_MAIN(tests)
