/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the kubelet may give a device out, and why not.
 *
 * The kubelet fails a pod for good when its device is not healthy at the
 * moment of admission, and node status lags behind. So what passes by itself
 * does not change health: a lease that drains or scrubs counts as healthy for a
 * while, and a probe that failed says nothing about the device.
 *
 *   free, owned		healthy
 *   draining, scrubbing	healthy for HEALTH_TRANSIENT_MS in all, then unhealthy until it is free
 *   lost			unhealthy at once, until reset or rebind
 *   not readable		as before, for HEALTH_PROBES_MAX probes, then unhealthy until it can be read
 *   gone from sysfs		unhealthy at once; dropped after HEALTH_VANISHED_MS
 */
#ifndef DEVICE_PLUGIN_HEALTH_H
#define DEVICE_PLUGIN_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "sysfs/inventory.h"

#define HEALTH_TRANSIENT_MS 20000
#define HEALTH_VANISHED_MS 60000
#define HEALTH_PROBES_MAX 5
/* Probes closer together than this count as one: events come in bursts. */
#define HEALTH_PROBE_MS 1000

struct health {
	bool healthy;
	bool vanished;
	char reason[SYSFS_LINE_MAX + 64]; /* "" when healthy and there is nothing to say */
	enum lease_state state;		  /* last one that was read */
	uint64_t since_ms;		  /* when the transient state or the absence began */
	unsigned failed;		  /* probes in a row */
	uint64_t failed_ms;		  /* when the last of them was counted */
};

/* A device that has not been probed yet: unhealthy, because nothing is known of it. */
void health_init(struct health *h);

/*
 * Takes what a scan saw (NULL: the device is not there). now_ms is a monotonic
 * clock. Returns true when healthy or the reason changed.
 */
bool health_probe(struct health *h, const struct gaudi *gaudi, uint64_t now_ms);

/* In how many milliseconds the verdict may change without any event; UINT64_MAX: never. */
uint64_t health_next_ms(const struct health *h, uint64_t now_ms);

/* True when the device has been gone for so long that it is to be forgotten. */
bool health_is_forgotten(const struct health *h, uint64_t now_ms);

#endif
