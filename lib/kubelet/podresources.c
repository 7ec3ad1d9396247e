// SPDX-License-Identifier: Apache-2.0
#include "kubelet/podresources.h"

#include <string.h>
#include <time.h>

#define LIST_METHOD "/v1.PodResourcesLister/List"
#define ALLOCATABLE_METHOD "/v1.PodResourcesLister/GetAllocatableResources"
#define RATE_LIMIT_PAUSE_MS 100

void podresources_devices_done(struct podresources_devices *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		free(devices->ids[i]);
	free(devices->ids);
	*devices = (struct podresources_devices){ 0 };
}

/* --- find ------------------------------------------------------------------- */

static int add_id(struct podresources_devices *devices, const char *id)
{
	char **bigger;

	for (size_t i = 0; i < devices->n; i++)
		if (strcmp(devices->ids[i], id) == 0)
			return 0;
	bigger = realloc(devices->ids, (devices->n + 1) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	devices->ids = bigger;
	bigger[devices->n] = strdup(id);
	if (!bigger[devices->n])
		return -ENOMEM;
	devices->n++;
	return 0;
}

static int add_pod(struct podresources_devices *devices, const V1__PodResources *pod, const char *resource)
{
	for (size_t c = 0; c < pod->n_containers; c++) {
		const V1__ContainerResources *container = pod->containers[c];

		for (size_t d = 0; d < container->n_devices; d++) {
			const V1__ContainerDevices *entry = container->devices[d];

			if (resource && strcmp(entry->resource_name, resource) != 0)
				continue;
			for (size_t i = 0; i < entry->n_device_ids; i++) {
				int r = add_id(devices, entry->device_ids[i]);

				if (r < 0)
					return r;
			}
		}
	}
	return 0;
}

int podresources_find(const V1__ListPodResourcesResponse *list, const char *namespace, const char *name,
		      const char *resource, struct podresources_devices *ret)
{
	_cleanup_(podresources_devices_done) struct podresources_devices devices = { 0 };
	size_t found = 0;
	int r;

	for (size_t i = 0; i < list->n_pod_resources; i++) {
		const V1__PodResources *pod = list->pod_resources[i];

		if (strcmp(pod->namespace_, namespace) != 0 || strcmp(pod->name, name) != 0)
			continue;
		r = add_pod(&devices, pod, resource);
		if (r < 0)
			return r;
		found++;
	}
	if (found == 0)
		return -ENOENT;
	*ret = devices;
	devices = (struct podresources_devices){ 0 };
	return found > 1 ? -ENOTUNIQ : 0;
}

/* --- list, blocking --------------------------------------------------------- */

static int list_once(const char *socket, unsigned timeout_ms, V1__ListPodResourcesResponse **ret,
		     struct grpc_error *error)
{
	const struct grpc_client_options options = {
		.socket = socket,
		.method = LIST_METHOD,
		.message_max = PODRESOURCES_MESSAGE_MAX,
		.timeout_ms = timeout_ms,
	};
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int r;

	r = grpc_client_call(&options, &bytes, &len, error);
	if (r < 0)
		return r;
	r = kubelet_message_unpack(&v1__list_pod_resources_response__descriptor, bytes, len,
				   (ProtobufCMessage **)ret);
	if (r == -ENOMEM)
		grpc_error_set(error, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer of %s", socket);
	else if (r < 0)
		grpc_error_set(error, GRPC_INTERNAL, "the answer of %s is no ListPodResourcesResponse",
			       socket);
	return r;
}

int podresources_list(const char *socket, unsigned timeout_ms, V1__ListPodResourcesResponse **ret,
		      struct grpc_error *ret_error)
{
	const struct timespec pause = { .tv_nsec = RATE_LIMIT_PAUSE_MS * 1000000L };
	struct grpc_error error = { .status = GRPC_OK }, busy = { .status = GRPC_OK };
	uint64_t end, now;
	int r;

	end = loop_now_ms() + (timeout_ms ? timeout_ms : PODRESOURCES_TIMEOUT_MS);
	for (;;) {
		now = loop_now_ms();
		r = list_once(socket, now < end ? (unsigned)(end - now) : 1, ret, &error);
		if (r != -EBUSY || loop_now_ms() + RATE_LIMIT_PAUSE_MS >= end)
			break;
		busy = error;
		(void)nanosleep(&pause, NULL);
	}
	/* The last try had what little time was left. */
	if (r == -ETIMEDOUT && busy.status != GRPC_OK) {
		r = -EBUSY;
		error = busy;
	}
	if (r < 0 && ret_error)
		*ret_error = error;
	return r;
}

int podresources_find_pod(const char *socket, unsigned timeout_ms, const char *namespace, const char *name,
			  const char *resource, struct podresources_devices *ret,
			  struct grpc_error *ret_error)
{
	_cleanup_message_ V1__ListPodResourcesResponse *list = NULL;
	struct grpc_error ignored;
	int r;

	if (!ret_error)
		ret_error = &ignored;
	r = podresources_list(socket, timeout_ms, &list, ret_error);
	if (r < 0)
		return r;
	r = podresources_find(list, namespace, name, resource, ret);
	if (r == -ENOENT)
		grpc_error_set(ret_error, GRPC_NOT_FOUND, "the kubelet does not list a pod %s/%s", namespace,
			       name);
	else if (r == -ENOTUNIQ)
		grpc_error_set(ret_error, GRPC_UNAVAILABLE,
			       "the kubelet lists two pods %s/%s: one of them is still being deleted",
			       namespace, name);
	else if (r < 0)
		grpc_error_set(ret_error, GRPC_RESOURCE_EXHAUSTED, "out of memory");
	return r;
}

/* --- list, in a loop -------------------------------------------------------- */

struct podresources_query {
	struct grpc_client_call *call;
	const ProtobufCMessageDescriptor *type; /* of the answer */
	/* One of them, by type. */
	void (*listed)(int r, const V1__ListPodResourcesResponse *list, const struct grpc_error *error,
		       void *data);
	void (*allocatable)(int r, const V1__AllocatableResourcesResponse *answer,
			    const struct grpc_error *error, void *data);
	void *data;
};

static void on_answer(const struct grpc_result *result, void *data)
{
	_cleanup_message_ ProtobufCMessage *answer = NULL;
	struct podresources_query *query = data;
	struct grpc_error error = result->error;
	int r = result->r;

	if (r == 0) {
		r = kubelet_message_unpack(query->type, result->message, result->len, &answer);
		if (r < 0)
			grpc_error_set(&error, GRPC_INTERNAL, "the answer is no %s", query->type->short_name);
	}
	/* The query may be freed in there. */
	if (query->listed)
		query->listed(r, (const V1__ListPodResourcesResponse *)answer, &error, query->data);
	else
		query->allocatable(r, (const V1__AllocatableResourcesResponse *)answer, &error, query->data);
}

/* Starts a copy of query. */
static int query_start(struct loop *loop, const char *socket, const char *method, unsigned timeout_ms,
		       const struct podresources_query *query, struct podresources_query **ret)
{
	const struct grpc_client_options options = {
		.socket = socket,
		.method = method,
		.message_max = PODRESOURCES_MESSAGE_MAX,
		.timeout_ms = timeout_ms ? timeout_ms : PODRESOURCES_TIMEOUT_MS,
	};
	_cleanup_(podresources_query_freep) struct podresources_query *started = malloc(sizeof(*started));
	int r;

	if (!started)
		return -ENOMEM;
	*started = *query;
	r = grpc_client_start(loop, &options, on_answer, started, &started->call);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(started);
	return 0;
}

int podresources_query(struct loop *loop, const char *socket, unsigned timeout_ms,
		       void (*done)(int r, const V1__ListPodResourcesResponse *list,
				    const struct grpc_error *error, void *data),
		       void *data, struct podresources_query **ret)
{
	const struct podresources_query query = { .type = &v1__list_pod_resources_response__descriptor,
						  .listed = done,
						  .data = data };

	return query_start(loop, socket, LIST_METHOD, timeout_ms, &query, ret);
}

int podresources_query_allocatable(struct loop *loop, const char *socket, unsigned timeout_ms,
				   void (*done)(int r, const V1__AllocatableResourcesResponse *answer,
						const struct grpc_error *error, void *data),
				   void *data, struct podresources_query **ret)
{
	const struct podresources_query query = { .type = &v1__allocatable_resources_response__descriptor,
						  .allocatable = done,
						  .data = data };

	return query_start(loop, socket, ALLOCATABLE_METHOD, timeout_ms, &query, ret);
}

void podresources_query_free(struct podresources_query *query)
{
	if (!query)
		return;
	grpc_client_call_free(query->call);
	free(query);
}
