/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps one resource registered with the kubelet, in one of two ways.
 *
 * Register: waits for the kubelet, serves a fresh socket in its device-plugins
 * folder, calls it, and begins anew when the stream ends, the kubelet's socket
 * is replaced, or ours is deleted. The old socket is closed before the new
 * registration: older kubelets otherwise drop the new endpoint when they notice
 * the end of the old one.
 *
 * Watcher: serves a fresh socket in plugins_registry, where a kubelet that starts finds
 * it by itself. The kubelet keeps plugins of one resource apart by their sockets: in an
 * upgrade the new one is registered beside the old one, and when that one ends, the kubelet
 * takes away its socket only. A stream that ends for another reason than the kubelet's own
 * end is not opened again until the socket is made anew.
 *
 * Automatic: Register if there is a device-plugins folder, Watcher if there is
 * only the other. Not by the kubelet's socket, which is away each time that
 * the kubelet restarts: the kubelet would then find both. Once registered, the way stays.
 */
#ifndef DEVICE_PLUGIN_REGISTRAR_H
#define DEVICE_PLUGIN_REGISTRAR_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "options.h"
#include "service.h"

#define REGISTRAR_PREFIX "gaudi-p2p-"

struct registrar;

struct registrar_options {
	const char *kubelet_dir;  /* device-plugins */
	const char *registry_dir; /* plugins_registry */
	enum options_registration registration;
	const char *resource; /* "habana.ai/gaudi" */
	struct service *service;
};

/* Starts with the next round of the loop. What options points to must outlive it. 0 or -ENOMEM. */
int registrar_new(struct loop *loop, const struct registrar_options *options, struct registrar **ret);
void registrar_free(struct registrar *registrar);
DEFINE_CLEANUP(struct registrar *, registrar_free)

/* Sends the present devices to the kubelet, if it is there. After every change of the core. */
void registrar_publish(struct registrar *registrar);

/*
 * Something happened in the kubelet's directories (or time has passed): compares
 * the sockets there with those that the registration was made with.
 */
void registrar_check(struct registrar *registrar);

/* Whether the kubelet has accepted the registration and not gone since. */
bool registrar_is_registered(const struct registrar *registrar);

/*
 * Removes sockets of former plugins (REGISTRAR_PREFIX) that nobody serves any
 * more; a kubelet would try them. Errors are logged at debug level.
 */
void registrar_sweep(const char *kubelet_dir);

#endif
