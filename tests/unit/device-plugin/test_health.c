// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <string.h>

#include "../../../device-plugin/health.h"

static struct gaudi in_state(enum lease_state state, const char *reason)
{
	return (struct gaudi){ .has_lease = true, .state = state, .reason = reason };
}

static bool probe(struct health *h, enum lease_state state, const char *reason, uint64_t now_ms)
{
	struct gaudi gaudi = in_state(state, reason);

	return health_probe(h, &(struct health_input){ .gaudi = &gaudi }, now_ms);
}

static bool probe_gone(struct health *h, uint64_t now_ms)
{
	return health_probe(h, &(struct health_input){}, now_ms);
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
	assert_true(probe_gone(&h, 100));
	assert_false(h.healthy);
	assert_non_null(strstr(h.reason, "gone"));
	assert_false(probe_gone(&h, 200));
	assert_int_equal(health_next_ms(&h, 200), HEALTH_VANISHED_MS - 100);
	assert_false(health_is_forgotten(&h, 99 + HEALTH_VANISHED_MS));
	assert_true(health_is_forgotten(&h, 100 + HEALTH_VANISHED_MS));
	/* It comes back while it is being read for the first time. */
	assert_true(probe(&h, LEASE_SCRUBBING, "", 300));
	assert_true(h.healthy);
	assert_int_equal(health_next_ms(&h, 300), HEALTH_TRANSIENT_MS);
	assert_false(health_is_forgotten(&h, 100 + HEALTH_VANISHED_MS));
}

static void a_strangers_lease_shows_until_it_ends(void **state)
{
	struct gaudi owned = in_state(LEASE_OWNED, ""), draining = in_state(LEASE_DRAINING, "");
	struct health_input input = { .gaudi = &owned, .stranger = "process 77" };
	struct health h;

	(void)state;
	health_init(&h);
	(void)probe(&h, LEASE_OWNED, "", 0);
	assert_true(h.healthy);
	assert_true(health_probe(&h, &input, 10));
	assert_false(h.healthy);
	assert_int_equal(h.cause, HEALTH_FOREIGN);
	assert_non_null(strstr(h.reason, "process 77"));
	assert_non_null(strstr(h.reason, "kubelet"));
	assert_false(health_probe(&h, &input, 20));
	/* It ends: what follows passes by itself. */
	input.gaudi = &draining;
	assert_true(health_probe(&h, &input, 30));
	assert_true(h.healthy);
	/* And the kubelet may hear of it after all. */
	input.gaudi = &owned;
	(void)health_probe(&h, &input, 40);
	assert_true(probe(&h, LEASE_OWNED, "", 50));
	assert_true(h.healthy);
}

static void the_worse_of_two_causes_is_named(void **state)
{
	struct gaudi lost = in_state(LEASE_LOST, "all ones"), owned = in_state(LEASE_OWNED, ""),
		     stuck = in_state(LEASE_DRAINING, "mlx5_0 holds 1 mapping"),
		     free_one = in_state(LEASE_FREE, "");
	const struct {
		const struct gaudi *gaudi;
		const char *stranger;
		enum health_cause cause;
	} cases[] = {
		{ &lost, NULL, HEALTH_LOST },	 { &owned, "somebody", HEALTH_FOREIGN },
		{ &owned, NULL, HEALTH_NO_NIC }, { &free_one, "somebody", HEALTH_NO_NIC },
		{ &stuck, NULL, HEALTH_NO_NIC }, { NULL, NULL, HEALTH_GONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct health_input input = { .gaudi = cases[i].gaudi,
					      .stranger = cases[i].stranger,
					      .lacks_nic = true };
		struct health h;

		health_init(&h);
		(void)health_probe(&h, &input, 0);
		assert_false(h.healthy);
		assert_int_equal(h.cause, cases[i].cause);
		assert_true(h.reason[0] && health_recovery(&h)[0]);
		if (cases[i].gaudi != &stuck)
			continue;
		(void)health_probe(&h, &input, HEALTH_TRANSIENT_MS);
		assert_int_equal(h.cause, HEALTH_STUCK);
		assert_non_null(strstr(h.reason, "mlx5_0"));
	}
}

static void a_drain_is_looked_at_in_time_whatever_else_is_wrong(void **state)
{
	struct gaudi draining = in_state(LEASE_DRAINING, "");
	struct health_input input = { .gaudi = &draining, .lacks_nic = true };
	struct health h;

	(void)state;
	health_init(&h);
	(void)health_probe(&h, &input, 1000);
	assert_int_equal(health_next_ms(&h, 1000), HEALTH_TRANSIENT_MS);
	(void)health_probe(&h, &input, 1000 + HEALTH_TRANSIENT_MS);
	assert_true(health_next_ms(&h, 1000 + HEALTH_TRANSIENT_MS) == UINT64_MAX);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_strangers_lease_shows_until_it_ends),
	cmocka_unit_test(the_worse_of_two_causes_is_named),
	cmocka_unit_test(a_drain_is_looked_at_in_time_whatever_else_is_wrong),
	cmocka_unit_test(a_new_device_is_unhealthy_until_it_was_read),
	cmocka_unit_test(a_short_drain_does_not_show),
	cmocka_unit_test(a_long_drain_shows_with_its_reason_and_ends),
	cmocka_unit_test(lost_is_unhealthy_at_once_and_left_by_a_reset),
	cmocka_unit_test(a_failed_probe_says_nothing_for_a_while),
	cmocka_unit_test(a_vanished_device_is_unhealthy_then_forgotten),
};

UNIT_MAIN(tests)
