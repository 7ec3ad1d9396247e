/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of a device plugin: one resource on one socket.
 *
 * Calls come as unpacked messages and are answered through their struct
 * grpc_call, at once or later; the loop never waits. Who answers later sets
 * grpc_call_set_gone() and stops when the kubelet gave up. How to answer:
 *   kubelet_call_reply(call, &response.base)
 *   grpc_call_fail(call, GRPC_UNAVAILABLE, "device %s is still ...", id)
 * Every call is answered exactly once. The kubelet waits without limit for all but
 * PreStartContainer (30 s), and its admission of pods waits with it.
 */
#ifndef KUBELET_PLUGIN_H
#define KUBELET_PLUGIN_H

#include <stdbool.h>

#include "base/loop.h"
#include "grpc/server.h"
#include "kubelet/message.h"

struct kubelet_plugin;

struct kubelet_plugin_ops {
	/*
	 * The request is freed when the function returns. container_requests
	 * may be empty or hold several; an answer has as many
	 * container_responses. NULL: UNIMPLEMENTED (allocate is a must).
	 */
	void (*allocate)(struct grpc_call *call, const V1beta1__AllocateRequest *request, void *data);
	/* An error from here fails the pod: answer empty lists when there is no preference. */
	void (*preferred)(struct grpc_call *call, const V1beta1__PreferredAllocationRequest *request,
			  void *data);
	void (*pre_start)(struct grpc_call *call, const V1beta1__PreStartContainerRequest *request,
			  void *data);
	/*
	 * Streams of ListAndWatch that are open now, after every change. 0 after
	 * more: the kubelet is gone or has dropped us, register again. It is
	 * run from the loop, and may free the plugin. May be NULL.
	 */
	void (*watchers)(unsigned n, void *data);
	/*
	 * The plugin watcher's verdict on a plugin that is watched; error is empty when it
	 * registered. It is run inside of a call and must not free the plugin. May be NULL.
	 */
	void (*notified)(bool registered, const char *error, void *data);
};

struct kubelet_plugin_options {
	const char *socket; /* path to serve at; only read by kubelet_plugin_new() */
	bool pre_start_required;
	bool preferred_available;
	/*
	 * The resource, for a socket in the kubelet's plugins_registry: the plugin
	 * watcher that finds it there is told to use the same socket for all
	 * calls. NULL: the socket is in another folder. Must outlive the plugin.
	 */
	const char *watched_as;
	const struct kubelet_plugin_ops *ops; /* must outlive the plugin */
	void *data;
};

/* Serves from the next round of loop on. Errors as grpc_server_new(). */
int kubelet_plugin_new(struct loop *loop, const struct kubelet_plugin_options *options,
		       struct kubelet_plugin **ret);

/*
 * Sets the list of devices: it goes to every ListAndWatch stream, and later to
 * those that open. A stream that opens before the first list waits for it. A stream
 * gets the latest list only, however slowly it reads; a list equal to the one before is
 * not sent again. devices is only read. 0 or -ENOMEM (then the old list stands).
 */
int kubelet_plugin_publish(struct kubelet_plugin *plugin, const V1beta1__ListAndWatchResponse *devices);

/* Whether anybody is connected: the kubelet, perhaps in the middle of registering. */
bool kubelet_plugin_has_peer(const struct kubelet_plugin *plugin);

/*
 * Polite end: no new calls, ListAndWatch streams end with UNAVAILABLE, calls
 * under way have grace_ms to be answered; done is run from the loop and may free the plugin.
 * watchers is not run any more.
 */
void kubelet_plugin_shutdown(struct kubelet_plugin *plugin, unsigned grace_ms, void (*done)(void *data),
			     void *data);

/*
 * Ends everything at once; gone handlers of calls under way are run, watchers
 * is not. The socket is removed if it is still ours. Not from within ops or gone handlers.
 */
void kubelet_plugin_free(struct kubelet_plugin *plugin);
DEFINE_CLEANUP(struct kubelet_plugin *, kubelet_plugin_free)

#endif
