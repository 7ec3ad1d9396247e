// SPDX-License-Identifier: Apache-2.0
#include "health.h"

#include <stdio.h>
#include <string.h>

void health_init(struct health *h)
{
	*h = (struct health){ .state = LEASE_UNKNOWN, .reason = "not probed yet" };
}

static bool health_set(struct health *h, bool healthy, const char *reason)
{
	if (h->healthy == healthy && strcmp(h->reason, reason) == 0)
		return false;
	h->healthy = healthy;
	(void)snprintf(h->reason, sizeof(h->reason), "%s", reason);
	return true;
}

static bool probe_vanished(struct health *h, uint64_t now_ms)
{
	if (!h->vanished) {
		h->vanished = true;
		h->since_ms = now_ms;
	}
	h->failed = 0;
	return health_set(h, false,
			  "gone: its accel device has left sysfs (unplugged, or its driver unloaded)");
}

/* A probe that failed: the state before stands until enough have failed. */
static bool probe_failed(struct health *h, const struct gaudi *gaudi, uint64_t now_ms)
{
	char reason[sizeof(h->reason)];

	if (h->failed == 0 || now_ms - h->failed_ms >= HEALTH_PROBE_MS) {
		h->failed++;
		h->failed_ms = now_ms;
	}
	if (h->state != LEASE_UNKNOWN && h->failed < HEALTH_PROBES_MAX)
		return false;
	(void)snprintf(reason, sizeof(reason), "unknown: %s", gaudi->reason);
	return health_set(h, false, reason);
}

bool health_probe(struct health *h, const struct gaudi *gaudi, uint64_t now_ms)
{
	char reason[sizeof(h->reason)];
	bool was_transient = lease_state_is_transient(h->state) && !h->vanished;
	const char *colon;

	if (!gaudi)
		return probe_vanished(h, now_ms);
	if (h->vanished) {
		/* What was known of it went with it: a driver reload begins anew. */
		health_init(h);
		was_transient = false;
	}
	if (gaudi->state == LEASE_UNKNOWN)
		return probe_failed(h, gaudi, now_ms);
	h->failed = 0;
	h->state = gaudi->state;
	colon = gaudi->reason[0] ? ": " : "";
	if (gaudi->state == LEASE_LOST) {
		(void)snprintf(reason, sizeof(reason), "lost%s%s", colon, gaudi->reason);
		return health_set(h, false, reason);
	}
	if (!lease_state_is_transient(gaudi->state))
		return health_set(h, true, "");
	/* Draining goes over into scrubbing: one wait, one clock. */
	if (!was_transient)
		h->since_ms = now_ms;
	if (now_ms - h->since_ms < HEALTH_TRANSIENT_MS)
		return health_set(h, true, "");
	(void)snprintf(reason, sizeof(reason), "%s for more than %d s%s%s", lease_state_name(gaudi->state),
		       HEALTH_TRANSIENT_MS / 1000, colon, gaudi->reason);
	return health_set(h, false, reason);
}

uint64_t health_next_ms(const struct health *h, uint64_t now_ms)
{
	uint64_t limit, passed = now_ms - h->since_ms;

	if (h->vanished)
		limit = HEALTH_VANISHED_MS;
	else if (lease_state_is_transient(h->state) && h->healthy)
		limit = HEALTH_TRANSIENT_MS;
	else if (h->failed > 0 && h->healthy)
		return HEALTH_PROBE_MS;
	else
		return UINT64_MAX;
	return passed < limit ? limit - passed : 0;
}

bool health_is_forgotten(const struct health *h, uint64_t now_ms)
{
	return h->vanished && now_ms - h->since_ms >= HEALTH_VANISHED_MS;
}
