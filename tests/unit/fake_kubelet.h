/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kubelet for tests, in the test's own loop: serves Registration and
 * PodResources in a folder, and calls a device plugin there. As the real one
 * it calls GetDevicePluginOptions before it answers Register, and then
 * keeps ListAndWatch open. Failures of its own fail the test.
 */
#ifndef FAKE_KUBELET_H
#define FAKE_KUBELET_H

#include "base/loop.h"
#include "kubelet/message.h"

struct fake_kubelet;

/* Read by tests at any time. */
struct fake_kubelet_view {
	unsigned n_registered;
	char endpoint[108]; /* of the last registration; a path when it was found by fake_kubelet_find() */
	char resource[128];
	bool pre_start_required; /* what GetDevicePluginOptions said */
	bool preferred_available;
	unsigned n_lists; /* messages of ListAndWatch, of all streams */
	unsigned n_streams_ended;
	struct grpc_error stream_error;		/* how the last one ended */
	V1beta1__ListAndWatchResponse *devices; /* the latest list, NULL before the first */
	unsigned n_listed;			/* calls of PodResources List */
	unsigned n_allocatable;			/* of GetAllocatableResources */
};

/* Serves dir/kubelet.sock and dir/pods.sock. */
struct fake_kubelet *fake_kubelet_new(struct loop *loop, const char *dir);

/* Closes everything at once, as a kubelet that dies; the sockets go too. Accepts NULL. */
void fake_kubelet_free(struct fake_kubelet *kubelet);

const struct fake_kubelet_view *fake_kubelet_view(const struct fake_kubelet *kubelet);

/* What Register answers from now on; GRPC_OK: it registers. */
void fake_kubelet_refuse(struct fake_kubelet *kubelet, enum grpc_status status, const char *text);

/*
 * What the plugin watcher does with a socket in plugins_registry: asks for its info, connects to
 * the plugin, watches it, and notifies; or with a refusal, only notifies it of that. Fails
 * the test when the plugin does not answer.
 */
void fake_kubelet_find(struct fake_kubelet *kubelet, const char *socket, const char *refusal);

/*
 * How many sockets in registry, a plugins_registry folder, serve the resource that ends in "gaudi" or "rdma".
 * path gets that of one of them, or "". It may be NULL.
 */
unsigned fake_kubelet_offers(const char *registry, const char *what, char *path, size_t size);

/* What List answers: list (only read), after n_busy times RESOURCE_EXHAUSTED. */
void fake_kubelet_set_pods(struct fake_kubelet *kubelet, const V1__ListPodResourcesResponse *list,
			   unsigned n_busy);

/* What GetAllocatableResources answers; without this call it is not implemented, as by an old kubelet. */
void fake_kubelet_set_allocatable(struct fake_kubelet *kubelet,
				  const V1__AllocatableResourcesResponse *answer);

/* Ends the ListAndWatch stream from the kubelet's side. */
void fake_kubelet_stop_watching(struct fake_kubelet *kubelet);

/*
 * Calls a method of the registered plugin ("Allocate") and runs the loop until
 * it is answered, at most timeout_ms. Returns as struct grpc_result does; the
 * answer is unpacked as type, and freed by kubelet_message_free(). ret_error may be NULL.
 */
int fake_kubelet_call(struct fake_kubelet *kubelet, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *type, unsigned timeout_ms, ProtobufCMessage **ret,
		      struct grpc_error *ret_error);

/* Runs the loop until *what is at least n; fails the test after 10 s. */
void fake_kubelet_run_until(struct fake_kubelet *kubelet, const unsigned *what, unsigned n);

#endif
