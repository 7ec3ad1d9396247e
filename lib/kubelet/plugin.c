// SPDX-License-Identifier: Apache-2.0
#include "kubelet/plugin.h"

#include <string.h>

#include "base/list.h"

/* A stream of ListAndWatch. */
struct watcher {
	struct list node;
	struct kubelet_plugin *plugin;
	struct grpc_call *call;
};

struct kubelet_plugin {
	const struct kubelet_plugin_ops *ops;
	void *data;
	bool pre_start_required;
	bool preferred_available;
	const char *watched_as;
	struct grpc_service services[2];
	struct grpc_server *server;
	struct list watchers;
	unsigned n_watchers;
	struct loop_source *changed; /* timer: tells ops->watchers outside of the server */
	bool ending;
	uint8_t *devices; /* the packed list; NULL: none published */
	size_t devices_len;
};

static void watchers_changed(struct kubelet_plugin *plugin)
{
	if (!plugin->ending && plugin->ops->watchers)
		loop_timer_set(plugin->changed, 0);
}

static int on_changed(void *data)
{
	struct kubelet_plugin *plugin = data;

	if (!plugin->ending)
		plugin->ops->watchers(plugin->n_watchers, plugin->data);
	return 0;
}

static void watcher_free(struct watcher *watcher)
{
	list_unlink(&watcher->node);
	watcher->plugin->n_watchers--;
	free(watcher);
}

static void on_watcher_gone(struct grpc_call *call, void *data)
{
	struct watcher *watcher = data;
	struct kubelet_plugin *plugin = watcher->plugin;

	(void)call;
	watcher_free(watcher);
	watchers_changed(plugin);
}

/* --- methods ---------------------------------------------------------------- */

/* Unpacks the request; a call whose bytes are not such a message is ended. */
static ProtobufCMessage *take_request(struct grpc_call *call, const ProtobufCMessageDescriptor *type,
				      const uint8_t *bytes, size_t len)
{
	ProtobufCMessage *request = NULL;
	int r = kubelet_message_unpack(type, bytes, len, &request);

	if (r == -ENOMEM)
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the request");
	else if (r < 0)
		grpc_call_fail(call, GRPC_INVALID_ARGUMENT, "the request is no %s", type->name);
	return request;
}

static void get_options(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	struct kubelet_plugin *plugin = data;
	V1beta1__DevicePluginOptions options = V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;

	(void)bytes;
	(void)len;
	options.pre_start_required = plugin->pre_start_required;
	options.get_preferred_allocation_available = plugin->preferred_available;
	kubelet_call_reply(call, &options.base);
}

static void list_and_watch(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	struct kubelet_plugin *plugin = data;
	struct watcher *watcher;

	(void)bytes;
	(void)len;
	if (plugin->ending) {
		grpc_call_fail(call, GRPC_UNAVAILABLE, "the plugin is shutting down");
		return;
	}
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher ||
	    (plugin->devices && grpc_call_send_latest(call, plugin->devices, plugin->devices_len) < 0)) {
		free(watcher);
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	watcher->plugin = plugin;
	watcher->call = call;
	list_append(&plugin->watchers, &watcher->node);
	plugin->n_watchers++;
	grpc_call_set_gone(call, on_watcher_gone, watcher);
	watchers_changed(plugin);
}

static void get_preferred(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	_cleanup_message_ ProtobufCMessage *request = NULL;
	struct kubelet_plugin *plugin = data;

	if (!plugin->ops->preferred) {
		grpc_call_fail(call, GRPC_UNIMPLEMENTED, "this plugin has no preferences");
		return;
	}
	request = take_request(call, &v1beta1__preferred_allocation_request__descriptor, bytes, len);
	if (request)
		plugin->ops->preferred(call, (V1beta1__PreferredAllocationRequest *)request, plugin->data);
}

static void allocate(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	_cleanup_message_ ProtobufCMessage *request = NULL;
	struct kubelet_plugin *plugin = data;

	request = take_request(call, &v1beta1__allocate_request__descriptor, bytes, len);
	if (request)
		plugin->ops->allocate(call, (V1beta1__AllocateRequest *)request, plugin->data);
}

static void pre_start(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	_cleanup_message_ ProtobufCMessage *request = NULL;
	struct kubelet_plugin *plugin = data;

	if (!plugin->ops->pre_start) {
		grpc_call_fail(call, GRPC_UNIMPLEMENTED, "this plugin has nothing to do before a start");
		return;
	}
	request = take_request(call, &v1beta1__pre_start_container_request__descriptor, bytes, len);
	if (request)
		plugin->ops->pre_start(call, (V1beta1__PreStartContainerRequest *)request, plugin->data);
}

static const struct grpc_method methods[] = {
	{ "/v1beta1.DevicePlugin/GetDevicePluginOptions", get_options },
	{ "/v1beta1.DevicePlugin/ListAndWatch", list_and_watch },
	{ "/v1beta1.DevicePlugin/GetPreferredAllocation", get_preferred },
	{ "/v1beta1.DevicePlugin/Allocate", allocate },
	{ "/v1beta1.DevicePlugin/PreStartContainer", pre_start },
};

/* --- the plugin watcher's methods -------------------------------------------- */

static void get_info(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	struct kubelet_plugin *plugin = data;
	Pluginregistration__PluginInfo info = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
	char *versions[] = { (char *)KUBELET_PLUGIN_VERSION };

	(void)bytes;
	(void)len;
	info.type = (char *)"DevicePlugin";
	info.name = (char *)plugin->watched_as;
	/*
	 * No endpoint: the kubelet then takes the socket that it called, by the path
	 * that it knows it under, which in a container need not be ours.
	 */
	info.supported_versions = versions;
	info.n_supported_versions = ARRAY_SIZE(versions);
	kubelet_call_reply(call, &info.base);
}

static void notify_status(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	_cleanup_message_ ProtobufCMessage *request = NULL;
	Pluginregistration__RegistrationStatusResponse response =
		PLUGINREGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;
	const Pluginregistration__RegistrationStatus *status;
	struct kubelet_plugin *plugin = data;

	request = take_request(call, &pluginregistration__registration_status__descriptor, bytes, len);
	if (!request)
		return;
	status = (const Pluginregistration__RegistrationStatus *)request;
	kubelet_call_reply(call, &response.base);
	if (plugin->ops->notified && !plugin->ending)
		plugin->ops->notified(status->plugin_registered, status->error, plugin->data);
}

static const struct grpc_method watched_methods[] = {
	{ "/pluginregistration.Registration/GetInfo", get_info },
	{ "/pluginregistration.Registration/NotifyRegistrationStatus", notify_status },
};

/* --- life ------------------------------------------------------------------- */

int kubelet_plugin_new(struct loop *loop, const struct kubelet_plugin_options *options,
		       struct kubelet_plugin **ret)
{
	_cleanup_(kubelet_plugin_freep) struct kubelet_plugin *plugin = calloc(1, sizeof(*plugin));
	struct grpc_server_options server = { .path = options->socket };
	int r;

	if (!plugin)
		return -ENOMEM;
	plugin->ops = options->ops;
	plugin->data = options->data;
	plugin->pre_start_required = options->pre_start_required;
	plugin->preferred_available = options->preferred_available;
	list_init(&plugin->watchers);
	plugin->watched_as = options->watched_as;
	plugin->services[0] = (struct grpc_service){ methods, ARRAY_SIZE(methods), plugin };
	plugin->services[1] = (struct grpc_service){ watched_methods, ARRAY_SIZE(watched_methods), plugin };
	r = loop_add_timer(loop, on_changed, plugin, &plugin->changed);
	if (r < 0)
		return r;
	server.services = plugin->services;
	server.n_services = options->watched_as ? 2 : 1;
	r = grpc_server_new(loop, &server, &plugin->server);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(plugin);
	return 0;
}

int kubelet_plugin_publish(struct kubelet_plugin *plugin, const V1beta1__ListAndWatchResponse *devices)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct list *node, *tmp;
	size_t len;
	int r;

	r = kubelet_message_pack(&devices->base, &bytes, &len);
	if (r < 0)
		return r;
	if (plugin->devices && plugin->devices_len == len && memcmp(plugin->devices, bytes, len) == 0)
		return 0;
	free(plugin->devices);
	plugin->devices = TAKE_PTR(bytes);
	plugin->devices_len = len;
	list_for_each_safe(node, tmp, &plugin->watchers) {
		struct watcher *watcher = list_entry(node, struct watcher, node);
		struct grpc_call *call = watcher->call;

		if (grpc_call_send_latest(call, plugin->devices, len) == 0)
			continue;
		/* A stream that would miss a list ends: the kubelet and we start over. */
		watcher_free(watcher);
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		watchers_changed(plugin);
	}
	return 0;
}

bool kubelet_plugin_has_peer(const struct kubelet_plugin *plugin)
{
	return grpc_server_n_connections(plugin->server) > 0;
}

void kubelet_plugin_shutdown(struct kubelet_plugin *plugin, unsigned grace_ms, void (*done)(void *data),
			     void *data)
{
	struct list *node, *tmp;

	plugin->ending = true;
	loop_timer_cancel(plugin->changed);
	grpc_server_shutdown(plugin->server, grace_ms, done, data);
	list_for_each_safe(node, tmp, &plugin->watchers) {
		struct watcher *watcher = list_entry(node, struct watcher, node);
		struct grpc_call *call = watcher->call;

		watcher_free(watcher);
		grpc_call_fail(call, GRPC_UNAVAILABLE, "the plugin is shutting down");
	}
}

void kubelet_plugin_free(struct kubelet_plugin *plugin)
{
	if (!plugin)
		return;
	plugin->ending = true;
	grpc_server_free(plugin->server); /* its gone handlers free the watchers */
	loop_source_free(plugin->changed);
	free(plugin->devices);
	free(plugin);
}
