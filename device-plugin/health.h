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
 *   owned by a stranger	unhealthy until the stranger is gone (the caller knows who is one)
 *   without its NIC		unhealthy until it has one (where the caller wants one for each)
 *
 * When several apply, the cause is the one that stands first in the enum.
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

enum health_cause {
	HEALTH_GONE,
	HEALTH_UNREADABLE,
	HEALTH_LOST,
	HEALTH_STUCK,	/* drains or scrubs for too long */
	HEALTH_FOREIGN, /* its lease is held by somebody the kubelet knows nothing of */
	HEALTH_NO_NIC,
	HEALTH_FINE,
};

struct health {
	enum health_cause cause;
	bool healthy; /* cause is HEALTH_FINE */
	bool vanished;
	char reason[160];	/* "" when healthy; a longer one is cut off */
	enum lease_state state; /* last one that was read */
	uint64_t since_ms;	/* when the transient state or the absence began */
	unsigned failed;	/* probes in a row */
	uint64_t failed_ms;	/* when the last of them was counted */
};

/* What is known of a device at one moment. */
struct health_input {
	const struct gaudi *gaudi; /* NULL: it is not there */
	const char *stranger;	   /* who holds its lease without the kubelet's knowledge; NULL: nobody */
	bool lacks_nic;		   /* there is no NIC for it, and there must be one */
};

/* A device that has not been probed yet: unhealthy, because nothing is known of it. */
void health_init(struct health *h);

/*
 * Takes what was seen. now_ms is a monotonic clock. Returns true when healthy
 * or the reason changed.
 */
bool health_probe(struct health *h, const struct health_input *input, uint64_t now_ms);

/* What makes it healthy again, in words for people; "" when it is. */
const char *health_recovery(const struct health *h);

/* In how many milliseconds the verdict may change without any event; UINT64_MAX: never. */
uint64_t health_next_ms(const struct health *h, uint64_t now_ms);

/* True when the device has been gone for so long that it is to be forgotten. */
bool health_is_forgotten(const struct health *h, uint64_t now_ms);

#endif
