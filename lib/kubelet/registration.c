// SPDX-License-Identifier: Apache-2.0
#include "kubelet/registration.h"

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
	request.version = (char *)KUBELET_PLUGIN_VERSION;
	request.endpoint = (char *)registration->endpoint;
	request.resource_name = (char *)registration->resource;
	request.options = &options;
	r = kubelet_message_pack(&request.base, &bytes, &call.len);
	if (r < 0)
		return r;
	call.message = bytes;
	return grpc_client_start(loop, &call, done, data, ret);
}
