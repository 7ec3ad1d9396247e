/* SPDX-License-Identifier: Apache-2.0 */
/* Which pod holds which devices: the kubelet's PodResources API, as its client. */
#ifndef KUBELET_PODRESOURCES_H
#define KUBELET_PODRESOURCES_H

#include "base/loop.h"
#include "grpc/client.h"
#include "kubelet/message.h"

#define PODRESOURCES_MESSAGE_MAX (16u << 20)
#define PODRESOURCES_TIMEOUT_MS 10000

/* Device IDs in the order in which they were listed, each once. */
struct podresources_devices {
	char **ids;
	size_t n;
};

void podresources_devices_done(struct podresources_devices *devices);

/*
 * The devices of one resource, or of all (resource is NULL), that all containers of a pod hold, out of a
 * list. Pure. 0 (also for a pod that is listed and holds none: n is 0), or
 *   -ENOENT    no such pod
 *   -ENOTUNIQ  the pod is listed more than once: one of them is a namesake that is
 *              being deleted, and nothing tells which. *ret has the devices of all. Ask again later.
 *   -ENOMEM
 * On success, and after -ENOTUNIQ, the caller frees *ret's content by podresources_devices_done().
 */
int podresources_find(const V1__ListPodResourcesResponse *list, const char *namespace, const char *name,
		      const char *resource, struct podresources_devices *ret);

/*
 * List, blocking. timeout_ms 0: PODRESOURCES_TIMEOUT_MS. 0, or an error of
 * grpc_client_call(), -EBADMSG for an answer that cannot be parsed. RESOURCE_EXHAUSTED (-EBUSY) of
 * the kubelet's rate limit is tried again within the time. The caller frees *ret (_cleanup_message_).
 */
int podresources_list(const char *socket, unsigned timeout_ms, V1__ListPodResourcesResponse **ret,
		      struct grpc_error *ret_error);

/* podresources_list() and podresources_find(); ret_error is filled on every failure. */
int podresources_find_pod(const char *socket, unsigned timeout_ms, const char *namespace, const char *name,
			  const char *resource, struct podresources_devices *ret,
			  struct grpc_error *ret_error);

/*
 * List inside a loop. done gets 0 and the list (freed after it returns), or
 * -errno, NULL and error. Starting fails as grpc_client_start(). *ret is freed by
 * podresources_query_free(), also from done; NULL is accepted.
 */
struct podresources_query;
int podresources_query(struct loop *loop, const char *socket, unsigned timeout_ms,
		       void (*done)(int r, const V1__ListPodResourcesResponse *list,
				    const struct grpc_error *error, void *data),
		       void *data, struct podresources_query **ret);

/* The same for GetAllocatableResources: all devices of all plugins, whoever has them. */
int podresources_query_allocatable(struct loop *loop, const char *socket, unsigned timeout_ms,
				   void (*done)(int r, const V1__AllocatableResourcesResponse *answer,
						const struct grpc_error *error, void *data),
				   void *data, struct podresources_query **ret);
void podresources_query_free(struct podresources_query *query);
DEFINE_CLEANUP(struct podresources_query *, podresources_query_free)

#endif
