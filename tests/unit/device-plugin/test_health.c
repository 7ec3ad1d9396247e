// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <string.h>

#include "../../../device-plugin/health.h"

static struct gaudi in_state(enum lease_state state, const char *reason)
{
	struct gaudi gaudi = { .has_lease = true, .state = state };

	strcpy(gaudi.reason, reason);
	return gaudi;
}

static bool probe(struct health *h, enum lease_state state, const char *reason, uint64_t now_ms)
{
	struct gaudi gaudi = in_state(state, reason);

	return health_probe(h, &gaudi, now_ms);
}

static void a_new_device_is_unhealthy_until_it_was_read(void **state)
{
	struct health h;

	(void)state;
	health_init(&h);
	assert_false(h.healthy);
	assert_true(probe(&h, LEASE_UNKNOWN, "state cannot be read", 0));
	assert_false(h.healthy);
	assert_true(probe(&h, LEASE_FREE, "", 10));
	assert_true(h.healthy);
	assert_string_equal(h.reason, "");
	assert_false(probe(&h, LEASE_OWNED, "", 20));
	assert_true(h.healthy);
	assert_true(health_next_ms(&h, 20) == UINT64_MAX);
}

static void a_short_drain_does_not_show(void **state)
{
	struct health h;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_OWNED, "", 1000);
	assert_false(probe(&h, LEASE_DRAINING, "1 mapping held by mlx5_0", 2000));
	assert_int_equal(health_next_ms(&h, 2000), HEALTH_TRANSIENT_MS);
	assert_false(probe(&h, LEASE_SCRUBBING, "", 15000));
	assert_int_equal(health_next_ms(&h, 15000), 2000 + HEALTH_TRANSIENT_MS - 15000);
	assert_false(probe(&h, LEASE_FREE, "", 21999));
	assert_true(h.healthy);
}

static void a_long_drain_shows_with_its_reason_and_ends(void **state)
{
	struct health h;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_OWNED, "", 0);
	(void)probe(&h, LEASE_DRAINING, "1 mapping held by mlx5_0", 1000);
	/* Draining and scrubbing share one clock. */
	assert_false(probe(&h, LEASE_SCRUBBING, "", 20999));
	assert_true(probe(&h, LEASE_DRAINING, "1 mapping held by mlx5_0", 21000));
	assert_false(h.healthy);
	assert_non_null(strstr(h.reason, "draining"));
	assert_non_null(strstr(h.reason, "mlx5_0"));
	assert_false(probe(&h, LEASE_DRAINING, "1 mapping held by mlx5_0", 25000));
	assert_true(probe(&h, LEASE_FREE, "", 26000));
	assert_true(h.healthy);
	/* The next drain has its whole time again. */
	(void)probe(&h, LEASE_DRAINING, "", 30000);
	assert_false(probe(&h, LEASE_DRAINING, "", 49999));
	assert_true(h.healthy);
}

static void lost_is_unhealthy_at_once_and_left_by_a_reset(void **state)
{
	struct health h;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_FREE, "", 0);
	assert_true(probe(&h, LEASE_LOST, "reads return all ones", 1));
	assert_false(h.healthy);
	assert_string_equal(h.reason, "lost: reads return all ones");
	assert_true(probe(&h, LEASE_SCRUBBING, "", 2));
	assert_true(h.healthy);
}

static void a_failed_probe_says_nothing_for_a_while(void **state)
{
	struct health h;
	uint64_t now = 0;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_FREE, "", now);
	/* A burst of failures counts once. */
	for (unsigned i = 0; i < 50; i++)
		assert_false(probe(&h, LEASE_UNKNOWN, "state cannot be read: Input/output error", now + i));
	for (unsigned i = 1; i < HEALTH_PROBES_MAX - 1; i++)
		assert_false(probe(&h, LEASE_UNKNOWN, "state cannot be read: Input/output error",
				   now += HEALTH_PROBE_MS));
	assert_true(h.healthy);
	assert_int_equal(health_next_ms(&h, now), HEALTH_PROBE_MS);
	assert_true(
		probe(&h, LEASE_UNKNOWN, "state cannot be read: Input/output error", now += HEALTH_PROBE_MS));
	assert_false(h.healthy);
	assert_non_null(strstr(h.reason, "Input/output error"));
	assert_true(probe(&h, LEASE_OWNED, "", now + 1));
	assert_true(h.healthy);
	/* One good probe forgives all. */
	assert_false(probe(&h, LEASE_UNKNOWN, "", now += HEALTH_PROBE_MS));
	assert_true(h.healthy);
}

static void a_vanished_device_is_unhealthy_then_forgotten(void **state)
{
	struct health h;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_FREE, "", 0);
	assert_true(health_probe(&h, NULL, 100));
	assert_false(h.healthy);
	assert_non_null(strstr(h.reason, "gone"));
	assert_false(health_probe(&h, NULL, 200));
	assert_int_equal(health_next_ms(&h, 200), HEALTH_VANISHED_MS - 100);
	assert_false(health_is_forgotten(&h, 99 + HEALTH_VANISHED_MS));
	assert_true(health_is_forgotten(&h, 100 + HEALTH_VANISHED_MS));
	/* It comes back while it is being read for the first time. */
	assert_true(probe(&h, LEASE_SCRUBBING, "", 300));
	assert_true(h.healthy);
	assert_int_equal(health_next_ms(&h, 300), HEALTH_TRANSIENT_MS);
	assert_false(health_is_forgotten(&h, 100 + HEALTH_VANISHED_MS));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_new_device_is_unhealthy_until_it_was_read),
	cmocka_unit_test(a_short_drain_does_not_show),
	cmocka_unit_test(a_long_drain_shows_with_its_reason_and_ends),
	cmocka_unit_test(lost_is_unhealthy_at_once_and_left_by_a_reset),
	cmocka_unit_test(a_failed_probe_says_nothing_for_a_while),
	cmocka_unit_test(a_vanished_device_is_unhealthy_then_forgotten),
};

UNIT_MAIN(tests)
