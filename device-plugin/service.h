/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of one resource to the kubelet's calls. Where they come from is the core. */
#ifndef DEVICE_PLUGIN_SERVICE_H
#define DEVICE_PLUGIN_SERVICE_H

#include "base/list.h"
#include "base/loop.h"
#include "core.h"
#include "grant.h"
#include "kubelet/plugin.h"

/* The kubelet gives PreStartContainer 30 s; an answer with the reason has to be there before. */
#define SERVICE_WAIT_MS 25000

enum service_kind {
	SERVICE_GAUDI, /* Gaudis, with the NICs they are paired with */
	SERVICE_NIC,   /* NIC functions by themselves */
};

struct service {
	struct loop *loop;
	struct core *core;
	enum service_kind kind;
	struct grant_options grant;
	/* Scans at once, so that an answer rests on what is true now; may be NULL. */
	void (*rescan)(void *data);
	/* Takes in what the kernel has told meanwhile, which costs next to nothing; may be NULL. */
	void (*catch_up)(void *data);
	void *data;
	/* Streams of ListAndWatch that are open, on every change; may be NULL. */
	void (*watchers)(unsigned n, void *data);
	/* The plugin watcher's verdict; may be NULL. */
	void (*notified)(bool registered, const char *error, void *data);
	void *registrar;   /* data of both */
	unsigned wait_ms;  /* for PreStartContainer; 0: SERVICE_WAIT_MS */
	struct list waits; /* calls of PreStartContainer that wait for a lease */
};

/* Sets up the list of waits; the other fields are the caller's. */
void service_init(struct service *service);

/* To be given to kubelet_plugin_new() with the service as data. */
extern const struct kubelet_plugin_ops service_ops;

/* Publishes the present devices. 0 or -ENOMEM. */
int service_publish(const struct service *service, struct kubelet_plugin *plugin);

/* Answers the waiting calls that can be answered now. After every change of the core. */
void service_check_waits(struct service *service);

#endif
