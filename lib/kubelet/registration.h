/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a plugin makes itself known by calling the kubelet. The other way, a socket in
 * plugins_registry that the kubelet finds, is watched_as of struct kubelet_plugin_options.
 */
#ifndef KUBELET_REGISTRATION_H
#define KUBELET_REGISTRATION_H

#include <stdbool.h>

#include "base/loop.h"
#include "grpc/client.h"
#include "kubelet/message.h"

struct kubelet_registration {
	const char *kubelet_socket; /* path of the kubelet's kubelet.sock */
	const char *endpoint;	    /* name, not path, of our socket in the same folder */
	const char *resource;	    /* "habana.ai/gaudi" */
	bool pre_start_required;    /* the same as in kubelet_plugin_options */
	bool preferred_available;
	unsigned timeout_ms; /* 0: none */
};

/*
 * Calls Register. The kubelet calls GetDevicePluginOptions of our socket
 * before it answers, so the plugin must serve in the same loop by then. done gets r and
 * error of struct grpc_result (the answer itself is empty). Returns, and
 * ret is freed, as for grpc_client_start(): -ENOENT and -ECONNREFUSED mean that the
 * kubelet is not up.
 */
int kubelet_register(struct loop *loop, const struct kubelet_registration *registration,
		     void (*done)(const struct grpc_result *result, void *data), void *data,
		     struct grpc_client_call **ret);

#endif
