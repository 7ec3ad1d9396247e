// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the state table and the owner rule.
 */
#include <kunit/test.h>

#include "gaudi_device.h"
#include "gaudi_kunit.h"

#define EXPECT_NEXT(test, state, event, next) \
	KUNIT_EXPECT_EQ(test, gaudi_state_next(GAUDI_STATE_##state, GAUDI_EVENT_##event), GAUDI_STATE_##next)

static void gaudi_state_first_is_draining(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, gaudi_state_first(), GAUDI_STATE_DRAINING);
}

static void gaudi_state_lease_goes_round(struct kunit *test)
{
	EXPECT_NEXT(test, FREE, OPEN, OWNED);
	EXPECT_NEXT(test, OWNED, END, DRAINING);
	EXPECT_NEXT(test, DRAINING, LET_GO, SCRUBBING);
	EXPECT_NEXT(test, SCRUBBING, SCRUBBED, FREE);
}

/* That @next is reached from @state by @event, and in no other way than by staying there. */
static void gaudi_state_expect_only(struct kunit *test, enum gaudi_state next, enum gaudi_state state,
				    enum gaudi_event event)
{
	int s, e;

	for (s = 0; s < GAUDI_STATE_COUNT; s++)
		for (e = 0; e < GAUDI_EVENT_COUNT; e++)
			if (s != next)
				KUNIT_EXPECT_EQ_MSG(test, gaudi_state_next(s, e) == next, s == state && e == event,
						    "%s, %s", gaudi_state_name(s), gaudi_event_name(e));
}

static void gaudi_state_only_open_leads_to_owned(struct kunit *test)
{
	gaudi_state_expect_only(test, GAUDI_STATE_OWNED, GAUDI_STATE_FREE, GAUDI_EVENT_OPEN);
}

static void gaudi_state_only_a_scrub_leads_to_free(struct kunit *test)
{
	gaudi_state_expect_only(test, GAUDI_STATE_FREE, GAUDI_STATE_SCRUBBING, GAUDI_EVENT_SCRUBBED);
}

static void gaudi_state_only_end_leads_out_of_owned(struct kunit *test)
{
	int e;

	for (e = 0; e < GAUDI_EVENT_COUNT; e++)
		KUNIT_EXPECT_EQ(test, gaudi_state_next(GAUDI_STATE_OWNED, e),
				e == GAUDI_EVENT_END ? GAUDI_STATE_DRAINING : -EINVAL);
}

static void gaudi_state_only_reset_leads_out_of_lost(struct kunit *test)
{
	int e;

	for (e = 0; e < GAUDI_EVENT_COUNT; e++) {
		int next = gaudi_state_next(GAUDI_STATE_LOST, e);

		if (e == GAUDI_EVENT_RESET)
			KUNIT_EXPECT_EQ(test, next, GAUDI_STATE_DRAINING);
		else
			KUNIT_EXPECT_TRUE(test, next == -EINVAL || next == GAUDI_STATE_LOST);
	}
}

static void gaudi_state_failed_scrub_loses(struct kunit *test)
{
	EXPECT_NEXT(test, SCRUBBING, NOT_ZERO, LOST);
	EXPECT_NEXT(test, DRAINING, NOT_ZERO, LOST);
}

static void gaudi_state_reset_drains_whatever_was(struct kunit *test)
{
	EXPECT_NEXT(test, FREE, RESET, DRAINING);
	EXPECT_NEXT(test, DRAINING, RESET, DRAINING);
	EXPECT_NEXT(test, SCRUBBING, RESET, DRAINING);
	EXPECT_NEXT(test, LOST, RESET, DRAINING);
}

static void gaudi_state_remove_loses_whatever_was(struct kunit *test)
{
	EXPECT_NEXT(test, FREE, REMOVE, LOST);
	EXPECT_NEXT(test, DRAINING, REMOVE, LOST);
	EXPECT_NEXT(test, SCRUBBING, REMOVE, LOST);
	EXPECT_NEXT(test, LOST, REMOVE, LOST);
}

static void gaudi_state_all_else_is_refused(struct kunit *test)
{
	int s, e, rows = 0;

	for (s = 0; s < GAUDI_STATE_COUNT; s++)
		for (e = 0; e < GAUDI_EVENT_COUNT; e++) {
			int next = gaudi_state_next(s, e);

			KUNIT_EXPECT_TRUE(test, next == -EINVAL || (next >= 0 && next < GAUDI_STATE_COUNT));
			rows += next >= 0;
		}
	/* The rows that the other cases have named. */
	KUNIT_EXPECT_EQ(test, rows, 14);
}

static void gaudi_state_names_are_the_abi(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, gaudi_state_name(GAUDI_STATE_FREE), "free");
	KUNIT_EXPECT_STREQ(test, gaudi_state_name(GAUDI_STATE_OWNED), "owned");
	KUNIT_EXPECT_STREQ(test, gaudi_state_name(GAUDI_STATE_DRAINING), "draining");
	KUNIT_EXPECT_STREQ(test, gaudi_state_name(GAUDI_STATE_SCRUBBING), "scrubbing");
	KUNIT_EXPECT_STREQ(test, gaudi_state_name(GAUDI_STATE_LOST), "lost");
	KUNIT_EXPECT_EQ(test, GAUDI_STATE_COUNT, 5);
}

/* --- owner: namespaces are compared by address, never looked into --------------------------- */
static struct net *const net_a = (struct net *)0x1000, *const net_b = (struct net *)0x2000;

static void gaudi_owner_namespace_decides(struct kunit *test)
{
	struct gaudi_owner owner = { .net = net_a };

	KUNIT_EXPECT_TRUE(test, gaudi_owner_is_pod(&owner, net_a, 0));
	KUNIT_EXPECT_TRUE(test, gaudi_owner_is_pod(&owner, net_a, 7));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_b, 0));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, NULL, 0));
}

static void gaudi_owner_cgroup_decides_on_the_host_network(struct kunit *test)
{
	struct gaudi_owner owner = { .net = net_a, .cgroup = 7 };

	KUNIT_EXPECT_TRUE(test, gaudi_owner_is_pod(&owner, net_a, 7));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_a, 8));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_a, 0));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_b, 7));
}

static void gaudi_owner_dead_owner_is_nobody(struct kunit *test)
{
	struct gaudi_owner owner = { .net = net_a, .dead = true };

	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_a, 0));
	owner.net = NULL;
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, NULL, 0));
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, net_a, 0));
	owner.dead = false;
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_pod(&owner, NULL, 0));
}

static void gaudi_owner_same_pod_is_the_same(struct kunit *test)
{
	struct gaudi_owner a = { .net = net_a, .cgroup = 7 }, b = a;

	KUNIT_EXPECT_TRUE(test, gaudi_owner_is_same(&a, &b));
	b.cgroup = 8;
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_same(&a, &b));
	b = (struct gaudi_owner){ .net = net_b, .cgroup = 7 };
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_same(&a, &b));
	a.net = NULL;
	b.net = NULL;
	KUNIT_EXPECT_FALSE(test, gaudi_owner_is_same(&a, &b));
}

static struct kunit_case gaudi_state_cases[] = {
	GAUDI_KUNIT_STATE(GAUDI_KUNIT_CASE)
	{ }
};

static struct kunit_case gaudi_owner_cases[] = {
	GAUDI_KUNIT_OWNER(GAUDI_KUNIT_CASE)
	{ }
};

static struct kunit_suite gaudi_state_suite = {
	.name = "gaudi_state",
	.test_cases = gaudi_state_cases,
};

static struct kunit_suite gaudi_owner_suite = {
	.name = "gaudi_owner",
	.test_cases = gaudi_owner_cases,
};

kunit_test_suites(&gaudi_state_suite, &gaudi_owner_suite);

MODULE_DESCRIPTION("KUnit suites of gaudi_p2p");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
