// SPDX-License-Identifier: Apache-2.0
#include "kubelet/registration.h"

#include <string.h>

#define VERSION "v1beta1"

int kubelet_register(struct loop *loop, const struct kubelet_registration *registration,
		     void (*done)(const struct grpc_result *result, void *data), void *data,
		     struct grpc_client_call **ret)
{
	V1beta1__DevicePluginOptions options = V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;
	V1beta1__RegisterRequest request = V1BETA1__REGISTER_REQUEST__INIT;
	struct grpc_client_options call = {
		.socket = registration->kubelet_socket,
		.method = "/v1beta1.Registration/Register",
		.timeout_ms = registration->timeout_ms,
	};
	_cleanup_free_ uint8_t *bytes = NULL;
	int r;

	options.pre_start_required = registration->pre_start_required;
	options.get_preferred_allocation_available = registration->preferred_available;
	request.version = (char *)VERSION;
	request.endpoint = (char *)registration->endpoint;
	request.resource_name = (char *)registration->resource;
	request.options = &options;
	r = kubelet_message_pack(&request.base, &bytes, &call.len);
	if (r < 0)
		return r;
	call.message = bytes;
	return grpc_client_start(loop, &call, done, data, ret);
}

/* --- plugin watcher --------------------------------------------------------- */

struct kubelet_watched {
	char *resource;
	char *endpoint;
	void (*notified)(bool registered, const char *error, void *data);
	void *data;
	struct grpc_service service;
	struct grpc_server *server;
};

static void get_info(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	struct kubelet_watched *watched = data;
	Pluginregistration__PluginInfo info = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
	char *versions[] = { (char *)VERSION };

	(void)bytes;
	(void)len;
	info.type = (char *)"DevicePlugin";
	info.name = watched->resource;
	info.endpoint = watched->endpoint;
	info.supported_versions = versions;
	info.n_supported_versions = ARRAY_SIZE(versions);
	kubelet_call_reply(call, &info.base);
}

static void notify_status(struct grpc_call *call, const uint8_t *bytes, size_t len, void *data)
{
	_cleanup_message_ ProtobufCMessage *message = NULL;
	Pluginregistration__RegistrationStatusResponse response =
		PLUGINREGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;
	const Pluginregistration__RegistrationStatus *status;
	struct kubelet_watched *watched = data;

	if (kubelet_message_unpack(&pluginregistration__registration_status__descriptor, bytes, len,
				   &message) < 0) {
		grpc_call_fail(call, GRPC_INVALID_ARGUMENT, "the request is no RegistrationStatus");
		return;
	}
	status = (const Pluginregistration__RegistrationStatus *)message;
	kubelet_call_reply(call, &response.base);
	if (watched->notified)
		watched->notified(status->plugin_registered, status->error, watched->data);
}

static const struct grpc_method methods[] = {
	{ "/pluginregistration.Registration/GetInfo", get_info },
	{ "/pluginregistration.Registration/NotifyRegistrationStatus", notify_status },
};

int kubelet_watched_new(struct loop *loop, const struct kubelet_watched_options *options,
			struct kubelet_watched **ret)
{
	_cleanup_(kubelet_watched_freep) struct kubelet_watched *watched = calloc(1, sizeof(*watched));
	struct grpc_server_options server = { .path = options->socket, .n_services = 1 };
	int r;

	if (!watched)
		return -ENOMEM;
	watched->resource = strdup(options->resource);
	watched->endpoint = strdup(options->endpoint);
	if (!watched->resource || !watched->endpoint)
		return -ENOMEM;
	watched->notified = options->notified;
	watched->data = options->data;
	watched->service = (struct grpc_service){ methods, ARRAY_SIZE(methods), watched };
	server.services = &watched->service;
	r = grpc_server_new(loop, &server, &watched->server);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(watched);
	return 0;
}

void kubelet_watched_free(struct kubelet_watched *watched)
{
	if (!watched)
		return;
	grpc_server_free(watched->server);
	free(watched->resource);
	free(watched->endpoint);
	free(watched);
}
