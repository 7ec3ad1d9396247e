/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kubelet says of pods and of other plugins (PodResources).
 *
 * It is asked only when the core wants to know who holds what, and once a
 * minute whether another plugin offers devices that we hand out too. Without
 * its socket nothing is known, so nothing changes; that is said once.
 */
#ifndef DEVICE_PLUGIN_PODS_H
#define DEVICE_PLUGIN_PODS_H

#include "base/cleanup.h"
#include "base/loop.h"
#include "core.h"

/* Never asked more often; after a failure, not for so long. */
#define PODS_INTERVAL_MS 1000
#define PODS_RETRY_MS 2000
/* How often other plugins' devices are looked at. */
#define PODS_RIVALS_MS 60000

struct pods_options {
	const char *socket; /* the kubelet's */
	const char *resource_gaudi;
	const char *resource_nic;
	const struct sysfs_root *sysfs; /* to name the holder of a lease */
	struct core *core;
	void (*changed)(void *data); /* the health of a device changed */
	void *data;
};

struct pods;

/* Everything in options must outlive it. Nothing is asked before pods_check(). 0 or -ENOMEM. */
int pods_new(struct loop *loop, const struct pods_options *options, struct pods **ret);
void pods_free(struct pods *pods);
DEFINE_CLEANUP(struct pods *, pods_free)

/* Asks if there is something to ask. After every change of the core. */
void pods_check(struct pods *pods);

/*
 * Devices of ours that another plugin offers, of resource names that are not
 * ours. For tests: how many were found the last time, SIZE_MAX: not looked yet.
 */
size_t pods_rivals(const struct pods *pods);

#endif
