// SPDX-License-Identifier: Apache-2.0
/*
 * Prints what the kubelet's PodResources API says, as one line of JSON:
 *
 *   podresources list         [{"namespace", "name", "containers": [{"name", "devices": {RESOURCE: [ID,
 * ...]}}]}] podresources allocatable  {RESOURCE: [ID, ...]}
 *
 * The socket is the kubelet's usual one, or the second argument.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/client.h"
#include "kubelet/message.h"
#include "kubelet/podresources.h"

/* Devices by resource; a resource that is listed several times is one list. */
static json_t *devices_json(V1__ContainerDevices *const *devices, size_t n)
{
	json_t *out = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *ids = json_object_get(out, devices[i]->resource_name);

		if (!ids) {
			ids = json_array();
			json_object_set_new(out, devices[i]->resource_name, ids);
		}
		for (size_t j = 0; j < devices[i]->n_device_ids; j++)
			json_array_append_new(ids, json_string(devices[i]->device_ids[j]));
	}
	return out;
}

static int list(const char *socket, json_t **ret, struct grpc_error *error)
{
	_cleanup_message_ V1__ListPodResourcesResponse *list = NULL;
	int r = podresources_list(socket, 0, &list, error);

	if (r)
		return r;
	*ret = json_array();
	for (size_t i = 0; i < list->n_pod_resources; i++) {
		const V1__PodResources *pod = list->pod_resources[i];
		json_t *containers = json_array();

		for (size_t j = 0; j < pod->n_containers; j++) {
			const V1__ContainerResources *container = pod->containers[j];

			json_array_append_new(
				containers,
				json_pack("{s:s, s:o}", "name", container->name, "devices",
					  devices_json(container->devices, container->n_devices)));
		}
		json_array_append_new(*ret, json_pack("{s:s, s:s, s:o}", "namespace", pod->namespace_, "name",
						      pod->name, "containers", containers));
	}
	return 0;
}

static int allocatable(const char *socket, json_t **ret, struct grpc_error *error)
{
	const struct grpc_client_options options = {
		.socket = socket,
		.method = "/v1.PodResourcesLister/GetAllocatableResources",
		.message_max = PODRESOURCES_MESSAGE_MAX,
		.timeout_ms = PODRESOURCES_TIMEOUT_MS,
	};
	_cleanup_message_ V1__AllocatableResourcesResponse *answer = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int r = grpc_client_call(&options, &bytes, &len, error);

	if (r)
		return r;
	answer = v1__allocatable_resources_response__unpack(NULL, len, bytes);
	if (!answer)
		return -EBADMSG;
	*ret = devices_json(answer->devices, answer->n_devices);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(json_decrefp) json_t *out = NULL;
	struct grpc_error error = { 0 };
	const char *socket = argc > 2 ? argv[2] : KUBELET_POD_RESOURCES_SOCKET;
	int r;

	if (argc >= 2 && argc <= 3 && !strcmp(argv[1], "list")) {
		r = list(socket, &out, &error);
	} else if (argc >= 2 && argc <= 3 && !strcmp(argv[1], "allocatable")) {
		r = allocatable(socket, &out, &error);
	} else {
		fputs("usage: podresources list|allocatable [SOCKET]\n", stderr);
		return 2;
	}
	if (r) {
		fprintf(stderr, "podresources: %s: %s\n", socket, error.text[0] ? error.text : strerror(-r));
		return 1;
	}
	if (json_dumpf(out, stdout, JSON_COMPACT) || putchar('\n') == EOF || fflush(stdout))
		return 1;
	return 0;
}
