/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps one resource registered with the kubelet: waits for it, serves a fresh
 * socket, registers, and begins anew when the stream ends, the kubelet's
 * socket is replaced, or ours is deleted.
 *
 * The old socket is closed before the new registration: older kubelets
 * otherwise drop the new endpoint when they notice the end of the old one.
 */
#ifndef DEVICE_PLUGIN_REGISTRAR_H
#define DEVICE_PLUGIN_REGISTRAR_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "service.h"

#define REGISTRAR_PREFIX "gaudi-p2p-"

struct registrar;

/*
 * Starts with the next round of the loop. kubelet_dir and resource
 * ("habana.ai/gaudi") must outlive it, as must service. 0 or -ENOMEM.
 */
int registrar_new(struct loop *loop, const char *kubelet_dir, const char *resource, struct service *service,
		  struct registrar **ret);
void registrar_free(struct registrar *registrar);
DEFINE_CLEANUP(struct registrar *, registrar_free)

/* Sends the present devices to the kubelet, if it is there. After every change of the core. */
void registrar_publish(struct registrar *registrar);

/*
 * Something happened in the kubelet's directory (or time has passed): compares
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
