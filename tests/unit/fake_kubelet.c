// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "fake_kubelet.h"

#include <dirent.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "grpc/client.h"
#include "grpc/conn.h"
#include "grpc/server.h"

struct fake_kubelet {
	struct loop *loop;
	char dir[80];
	struct fake_kubelet_view view;
	struct grpc_service registration;
	struct grpc_service pods;
	struct grpc_server *registration_server;
	struct grpc_server *pods_server;
	enum grpc_status refusal;
	const char *refusal_text;
	struct grpc_call *registering; /* waits for the plugin's options */
	struct grpc_client_call *options;
	struct grpc_conn *watch;
	bool watch_over;
	struct loop_source *timer; /* frees a watch that is over; begins one */
	uint8_t *list;
	size_t list_len;
	uint8_t *allocatable; /* NULL: not implemented */
	size_t allocatable_len;
	unsigned n_busy;
};

const struct fake_kubelet_view *fake_kubelet_view(const struct fake_kubelet *kubelet)
{
	return &kubelet->view;
}

/* The registered plugin's socket: a name in our folder, or a path. */
static const char *plugin_path(const struct fake_kubelet *k, const char *endpoint, char path[200])
{
	if (endpoint[0] == '/')
		(void)snprintf(path, 200, "%s", endpoint);
	else
		(void)snprintf(path, 200, "%s/%s", k->dir, endpoint);
	return path;
}

/* --- ListAndWatch ----------------------------------------------------------- */

static void on_list(struct grpc_request *request, const uint8_t *message, size_t len, void *data)
{
	struct fake_kubelet *k = data;

	(void)request;
	kubelet_message_free((ProtobufCMessage *)k->view.devices);
	k->view.devices = v1beta1__list_and_watch_response__unpack(NULL, len, message);
	assert_non_null(k->view.devices);
	k->view.n_lists++;
}

static void on_watch_done(struct grpc_request *request, const struct grpc_error *error, void *data)
{
	struct fake_kubelet *k = data;

	(void)request;
	k->view.n_streams_ended++;
	k->view.stream_error = *error;
	k->watch_over = true;
	loop_timer_set(k->timer, 0);
}

static void on_watch_closed(struct grpc_conn *conn, int r, void *data)
{
	struct fake_kubelet *k = data;

	(void)r;
	k->watch = NULL;
	grpc_conn_free(conn);
}

static const struct grpc_reply_handler watch_handler = { on_list, on_watch_done };

static void watch(struct fake_kubelet *k)
{
	const struct grpc_session_options session = { 0 };
	struct sockaddr_un address;
	char path[200];
	int fd;

	fd = grpc_conn_socket(plugin_path(k, k->view.endpoint, path), &address);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return; /* the plugin has gone meanwhile */
	}
	assert_int_equal(grpc_conn_new(k->loop, fd, &session, on_watch_closed, k, &k->watch), 0);
	assert_int_equal(grpc_session_request(grpc_conn_session(k->watch),
					      "/v1beta1.DevicePlugin/ListAndWatch", NULL, 0, 0,
					      &watch_handler, k, NULL),
			 0);
}

void fake_kubelet_stop_watching(struct fake_kubelet *kubelet)
{
	grpc_conn_free(TAKE_PTR(kubelet->watch));
}

static int on_timer(void *data)
{
	struct fake_kubelet *k = data;

	if (k->watch_over) {
		k->watch_over = false;
		fake_kubelet_stop_watching(k);
	} else if (!k->watch) {
		watch(k);
	}
	return 0;
}

/* --- Registration ----------------------------------------------------------- */

static void on_options(const struct grpc_result *result, void *data)
{
	_cleanup_message_ V1beta1__DevicePluginOptions *options = NULL;
	V1beta1__Empty empty = V1BETA1__EMPTY__INIT;
	struct fake_kubelet *k = data;

	if (result->r < 0) {
		if (k->registering)
			grpc_call_fail(TAKE_PTR(k->registering), GRPC_UNKNOWN, "no options: %s",
				       result->error.text);
		grpc_client_call_free(TAKE_PTR(k->options));
		return;
	}
	options = v1beta1__device_plugin_options__unpack(NULL, result->len, result->message);
	assert_non_null(options);
	k->view.pre_start_required = options->pre_start_required;
	k->view.preferred_available = options->get_preferred_allocation_available;
	grpc_client_call_free(TAKE_PTR(k->options));
	if (!k->registering)
		return;
	k->view.n_registered++;
	kubelet_call_reply(TAKE_PTR(k->registering), &empty.base);
	fake_kubelet_stop_watching(k);
	loop_timer_set(k->timer, 0);
}

static void on_registering_gone(struct grpc_call *call, void *data)
{
	struct fake_kubelet *k = data;

	(void)call;
	k->registering = NULL;
}

static void on_register(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	_cleanup_message_ V1beta1__RegisterRequest *request =
		v1beta1__register_request__unpack(NULL, len, message);
	struct fake_kubelet *k = data;
	struct grpc_client_options options = { .method = "/v1beta1.DevicePlugin/GetDevicePluginOptions" };
	char path[200];
	int r;

	assert_non_null(request);
	assert_string_equal(request->version, "v1beta1");
	assert_null(strchr(request->endpoint, '/'));
	if (k->refusal != GRPC_OK) {
		grpc_call_fail(call, k->refusal, "%s", k->refusal_text);
		return;
	}
	assert_null(k->registering);
	(void)snprintf(k->view.endpoint, sizeof(k->view.endpoint), "%s", request->endpoint);
	(void)snprintf(k->view.resource, sizeof(k->view.resource), "%s", request->resource_name);
	options.socket = plugin_path(k, request->endpoint, path);
	options.timeout_ms = 10000;
	k->registering = call;
	grpc_call_set_gone(call, on_registering_gone, k);
	r = grpc_client_start(k->loop, &options, on_options, k, &k->options);
	if (r < 0)
		grpc_call_fail(TAKE_PTR(k->registering), GRPC_UNKNOWN, "cannot dial %s: %s", path,
			       strerror(-r));
}

void fake_kubelet_refuse(struct fake_kubelet *kubelet, enum grpc_status status, const char *text)
{
	kubelet->refusal = status;
	kubelet->refusal_text = text;
}

/* --- PodResources ----------------------------------------------------------- */

static void on_pods(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct fake_kubelet *k = data;

	(void)message;
	(void)len;
	k->view.n_listed++;
	if (k->n_busy > 0) {
		k->n_busy--;
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "rejected by rate limit");
		return;
	}
	grpc_call_reply(call, k->list, k->list_len);
}

unsigned fake_kubelet_offers(const char *registry, const char *what, char *path, size_t size)
{
	_cleanup_closedir_ DIR *dir = opendir(registry);
	struct dirent *entry;
	char prefix[64];
	unsigned n = 0;

	(void)snprintf(prefix, sizeof(prefix), "gaudi-p2p-%s-", what);
	if (path)
		path[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		if (path)
			(void)snprintf(path, size, "%s/%s", registry, entry->d_name);
		n++;
	}
	return n;
}

void fake_kubelet_set_pods(struct fake_kubelet *kubelet, const V1__ListPodResourcesResponse *list,
			   unsigned n_busy)
{
	free(kubelet->list);
	kubelet->n_busy = n_busy;
	assert_int_equal(kubelet_message_pack(&list->base, &kubelet->list, &kubelet->list_len), 0);
}

static void on_allocatable(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct fake_kubelet *k = data;

	(void)message;
	(void)len;
	k->view.n_allocatable++;
	if (k->allocatable)
		grpc_call_reply(call, k->allocatable, k->allocatable_len);
	else
		grpc_call_fail(call, GRPC_UNIMPLEMENTED, "unknown method");
}

void fake_kubelet_set_allocatable(struct fake_kubelet *kubelet,
				  const V1__AllocatableResourcesResponse *answer)
{
	free(kubelet->allocatable);
	assert_int_equal(
		kubelet_message_pack(&answer->base, &kubelet->allocatable, &kubelet->allocatable_len), 0);
}

/* --- life ------------------------------------------------------------------- */

static const struct grpc_method registration_methods[] = { { "/v1beta1.Registration/Register",
							     on_register } };
static const struct grpc_method pods_methods[] = {
	{ "/v1.PodResourcesLister/List", on_pods },
	{ "/v1.PodResourcesLister/GetAllocatableResources", on_allocatable },
};

struct fake_kubelet *fake_kubelet_new(struct loop *loop, const char *dir)
{
	struct fake_kubelet *k = calloc(1, sizeof(*k));
	struct grpc_server_options options = { .n_services = 1 };
	char path[200];

	assert_non_null(k);
	assert_true(strlen(dir) < sizeof(k->dir));
	k->loop = loop;
	(void)snprintf(k->dir, sizeof(k->dir), "%s", dir);
	k->registration = (struct grpc_service){ registration_methods, ARRAY_SIZE(registration_methods), k };
	k->pods = (struct grpc_service){ pods_methods, ARRAY_SIZE(pods_methods), k };
	assert_int_equal(loop_add_timer(loop, on_timer, k, &k->timer), 0);
	options.path = path;
	(void)snprintf(path, sizeof(path), "%s/kubelet.sock", dir);
	options.services = &k->registration;
	assert_int_equal(grpc_server_new(loop, &options, &k->registration_server), 0);
	(void)snprintf(path, sizeof(path), "%s/pods.sock", dir);
	options.services = &k->pods;
	assert_int_equal(grpc_server_new(loop, &options, &k->pods_server), 0);
	return k;
}

void fake_kubelet_free(struct fake_kubelet *kubelet)
{
	if (!kubelet)
		return;
	grpc_client_call_free(kubelet->options);
	grpc_server_free(kubelet->registration_server);
	grpc_server_free(kubelet->pods_server);
	fake_kubelet_stop_watching(kubelet);
	loop_source_free(kubelet->timer);
	kubelet_message_free((ProtobufCMessage *)kubelet->view.devices);
	free(kubelet->list);
	free(kubelet->allocatable);
	free(kubelet);
}

/* --- calls ------------------------------------------------------------------ */

struct waiting {
	unsigned over;
	int r;
	const ProtobufCMessageDescriptor *type;
	ProtobufCMessage *answer;
	struct grpc_error error;
};

static void on_answer(const struct grpc_result *result, void *data)
{
	struct waiting *w = data;

	w->over = 1;
	w->r = result->r;
	w->error = result->error;
	if (result->r == 0)
		assert_int_equal(kubelet_message_unpack(w->type, result->message, result->len, &w->answer),
				 0);
}

void fake_kubelet_run_until(struct fake_kubelet *kubelet, const unsigned *what, unsigned n)
{
	uint64_t end = loop_now_ms() + 10000;

	while (*what < n) {
		if (loop_now_ms() >= end)
			fail_msg("%u of %u after 10 s", *what, n);
		assert_true(loop_step(kubelet->loop, 100) >= 0);
	}
}

/* Calls a method of the socket, runs the loop until it is answered. */
static int call_socket(struct fake_kubelet *kubelet, const char *socket, const char *method,
		       const ProtobufCMessage *request, struct waiting *w, unsigned timeout_ms)
{
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = NULL;
	struct grpc_client_options options = {
		.socket = socket,
		.method = method,
		.timeout_ms = timeout_ms,
	};
	_cleanup_free_ uint8_t *bytes = NULL;

	assert_int_equal(kubelet_message_pack(request, &bytes, &options.len), 0);
	options.message = bytes;
	assert_int_equal(grpc_client_start(kubelet->loop, &options, on_answer, w, &call), 0);
	fake_kubelet_run_until(kubelet, &w->over, 1);
	return w->r;
}

int fake_kubelet_call(struct fake_kubelet *kubelet, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *type, unsigned timeout_ms, ProtobufCMessage **ret,
		      struct grpc_error *ret_error)
{
	struct waiting w = { .type = type };
	char path[200], full[100];

	(void)snprintf(full, sizeof(full), "/v1beta1.DevicePlugin/%s", method);
	(void)call_socket(kubelet, plugin_path(kubelet, kubelet->view.endpoint, path), full, request, &w,
			  timeout_ms);
	if (ret_error)
		*ret_error = w.error;
	if (w.r == 0)
		*ret = w.answer;
	return w.r;
}

static void notify(struct fake_kubelet *kubelet, const char *socket, const char *refusal)
{
	Pluginregistration__RegistrationStatus status = PLUGINREGISTRATION__REGISTRATION_STATUS__INIT;
	struct waiting w = { .type = &pluginregistration__registration_status_response__descriptor };

	status.plugin_registered = !refusal;
	if (refusal)
		status.error = (char *)refusal;
	assert_int_equal(call_socket(kubelet, socket,
				     "/pluginregistration.Registration/NotifyRegistrationStatus",
				     &status.base, &w, 5000),
			 0);
	kubelet_message_free(w.answer);
}

void fake_kubelet_find(struct fake_kubelet *kubelet, const char *socket, const char *refusal)
{
	Pluginregistration__InfoRequest request = PLUGINREGISTRATION__INFO_REQUEST__INIT;
	V1beta1__Empty empty = V1BETA1__EMPTY__INIT;
	struct waiting w = { .type = &pluginregistration__plugin_info__descriptor },
		       options = { .type = &v1beta1__device_plugin_options__descriptor };
	const Pluginregistration__PluginInfo *info;
	const V1beta1__DevicePluginOptions *o;

	assert_int_equal(call_socket(kubelet, socket, "/pluginregistration.Registration/GetInfo",
				     &request.base, &w, 1000),
			 0);
	info = (const Pluginregistration__PluginInfo *)w.answer;
	assert_string_equal(info->type, "DevicePlugin");
	assert_int_equal(info->n_supported_versions, 1);
	assert_string_equal(info->supported_versions[0], "v1beta1");
	(void)snprintf(kubelet->view.resource, sizeof(kubelet->view.resource), "%s", info->name);
	(void)snprintf(kubelet->view.endpoint, sizeof(kubelet->view.endpoint), "%s",
		       info->endpoint[0] ? info->endpoint : socket);
	kubelet_message_free(w.answer);
	if (refusal) {
		notify(kubelet, socket, refusal);
		return;
	}
	assert_int_equal(call_socket(kubelet, kubelet->view.endpoint,
				     "/v1beta1.DevicePlugin/GetDevicePluginOptions", &empty.base, &options,
				     5000),
			 0);
	o = (const V1beta1__DevicePluginOptions *)options.answer;
	kubelet->view.pre_start_required = o->pre_start_required;
	kubelet->view.preferred_available = o->get_preferred_allocation_available;
	kubelet_message_free(options.answer);
	fake_kubelet_stop_watching(kubelet);
	kubelet->watch_over = false; /* that was the one before */
	watch(kubelet);
	notify(kubelet, socket, NULL);
}
