// SPDX-License-Identifier: Apache-2.0
#include "health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const recoveries[] = {
	[HEALTH_GONE] = "recovers when the device is there again",
	[HEALTH_UNREADABLE] = "recovers when its state can be read again",
	[HEALTH_LOST] = "recovers by a reset (echo 1 to its device/reset) or when its driver is bound again",
	[HEALTH_STUCK] = "recovers when the holder lets go: end it, or take its NIC out of the pod",
	[HEALTH_FOREIGN] = "recovers when that holder closes the device",
	[HEALTH_NO_NIC] =
		"recovers when a NIC function is there for it; pairing \"paired\" would hand it out alone",
	[HEALTH_FINE] = "",
};

const char *health_recovery(const struct health *h)
{
	return recoveries[h->cause];
}

void health_init(struct health *h)
{
	*h = (struct health){ .cause = HEALTH_UNREADABLE,
			      .state = LEASE_UNKNOWN,
			      .reason = "not probed yet" };
}

static bool health_set(struct health *h, enum health_cause cause, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool health_set(struct health *h, enum health_cause cause, const char *format, ...)
{
	char reason[sizeof(h->reason)];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (h->cause == cause && strcmp(h->reason, reason) == 0)
		return false;
	h->cause = cause;
	h->healthy = cause == HEALTH_FINE;
	strcpy(h->reason, reason);
	return true;
}

static bool probe_vanished(struct health *h, uint64_t now_ms)
{
	if (!h->vanished) {
		h->vanished = true;
		h->since_ms = now_ms;
	}
	h->failed = 0;
	return health_set(h, HEALTH_GONE,
			  "gone: its accel device has left sysfs (unplugged, or its driver unloaded)");
}

/* A probe that failed: the state before stands until enough have failed. */
static bool probe_failed(struct health *h, const struct gaudi *gaudi, uint64_t now_ms)
{
	if (h->failed == 0 || now_ms - h->failed_ms >= HEALTH_PROBE_MS) {
		h->failed++;
		h->failed_ms = now_ms;
	}
	if (h->state != LEASE_UNKNOWN && h->failed < HEALTH_PROBES_MAX)
		return false;
	return health_set(h, HEALTH_UNREADABLE, "unknown: %s", gaudi->reason);
}

/* A lease that was read and is not lost: what else stands against the device. */
static bool probe_lease(struct health *h, const struct health_input *input, bool was_transient,
			uint64_t now_ms)
{
	const struct gaudi *gaudi = input->gaudi;

	if (lease_state_is_transient(gaudi->state)) {
		/* Draining goes over into scrubbing: one wait, one clock. */
		if (!was_transient)
			h->since_ms = now_ms;
		if (now_ms - h->since_ms >= HEALTH_TRANSIENT_MS)
			return health_set(h, HEALTH_STUCK, "%s for more than %d s%s%s",
					  lease_state_name(gaudi->state), HEALTH_TRANSIENT_MS / 1000,
					  gaudi->reason[0] ? ": " : "", gaudi->reason);
	} else if (gaudi->state == LEASE_OWNED && input->stranger) {
		return health_set(h, HEALTH_FOREIGN,
				  "its lease is held by %s, of whom the kubelet knows nothing",
				  input->stranger);
	}
	if (input->lacks_nic)
		return health_set(h, HEALTH_NO_NIC, "no NIC function is left to go with it");
	return health_set(h, HEALTH_FINE, "%s", "");
}

bool health_probe(struct health *h, const struct health_input *input, uint64_t now_ms)
{
	bool was_transient = lease_state_is_transient(h->state) && !h->vanished;
	const struct gaudi *gaudi = input->gaudi;

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
	if (gaudi->state == LEASE_LOST)
		return health_set(h, HEALTH_LOST, "lost%s%s", gaudi->reason[0] ? ": " : "", gaudi->reason);
	return probe_lease(h, input, was_transient, now_ms);
}

uint64_t health_next_ms(const struct health *h, uint64_t now_ms)
{
	uint64_t limit, passed = now_ms - h->since_ms;

	if (h->vanished)
		limit = HEALTH_VANISHED_MS;
	else if (h->failed > 0 && h->cause != HEALTH_UNREADABLE)
		return HEALTH_PROBE_MS;
	else if (lease_state_is_transient(h->state) && h->cause != HEALTH_STUCK && h->failed == 0)
		limit = HEALTH_TRANSIENT_MS;
	else
		return UINT64_MAX;
	return passed < limit ? limit - passed : 0;
}

bool health_is_forgotten(const struct health *h, uint64_t now_ms)
{
	return h->vanished && now_ms - h->since_ms >= HEALTH_VANISHED_MS;
}
