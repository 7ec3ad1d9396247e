// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../../../device-plugin/core.h"
#include "../../../device-plugin/grant.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "base/log.h"

#define TREES "tests/unit/sysfs/trees/"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"

struct fixture {
	struct fakefs *fs;
	struct core core;
	char why[256];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fs = fakefs_new();
	fake_plugin_core(&f->core, "paired");
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static int scan(struct fixture *f, uint64_t now_ms)
{
	return fake_plugin_scan(&f->core, f->fs, now_ms);
}

static int load(struct fixture *f, const char *tree)
{
	fakefs_load(f->fs, tree);
	return scan(f, 1000);
}

/* --- over time --------------------------------------------------------------- */

static void readiness_follows_the_lease(void **state)
{
	static const struct {
		const char *text;
		enum core_ready ready;
	} cases[] = {
		{ "free\n", CORE_READY },     { "owned\n", CORE_WAIT },	   { "draining\n", CORE_WAIT },
		{ "scrubbing\n", CORE_WAIT }, { "nonsense\n", CORE_WAIT }, { "lost\n", CORE_NEVER },
	};
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fakefs_put(f->fs, LAB_GAUDI0 "/state", cases[i].text);
		(void)scan(f, 2000);
		assert_int_equal(core_is_ready(&f->core, "0000:03:00.0", f->why, sizeof(f->why)),
				 cases[i].ready);
	}
	assert_int_equal(core_is_ready(&f->core, "nobody", f->why, sizeof(f->why)), CORE_NEVER);
}

static void a_vanished_device_stays_listed_for_a_while(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	(void)scan(f, 5000);
	assert_int_equal(f->core.n_device, 2);
	assert_false(core_find(&f->core, "0000:03:00.0")->health.healthy);
	assert_non_null(core_nic_of(&f->core, "0000:03:00.0"));
	assert_int_equal(core_next_ms(&f->core, 5000), HEALTH_VANISHED_MS);
	(void)scan(f, 5000 + HEALTH_VANISHED_MS);
	assert_int_equal(f->core.n_device, 1);
	(void)scan(f, 5001 + HEALTH_VANISHED_MS);
	assert_null(core_nic_of(&f->core, "0000:03:00.0"));
}

static void move_link_0_away(struct fixture *f, bool into_pod)
{
	fakefs_remove(f->fs, "sys/class/infiniband/rxe0");
	fakefs_remove(f->fs, "sys/class/net/enp4s0");
	if (!into_pod)
		fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs0");
}

static void a_link_made_anew_by_a_move_keeps_its_pair(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	move_link_0_away(f, false); /* the moment between delete and add */
	assert_false(scan(f, 2000) & CORE_PAIRS);
	fakefs_put(f->fs, "sys/class/infiniband_verbs/uverbs0/ibdev", "rxe0\n"); /* now in the pod */
	assert_false(scan(f, 3000) & CORE_PAIRS);
	assert_false(scan(f, 3000 + 10 * CORE_NIC_MISSING_MS) & CORE_PAIRS);
	assert_string_equal(core_nic_of(&f->core, "0000:03:00.0")->uverbs, "uverbs0");
}

static void a_link_in_the_middle_of_a_move_is_nobody_elses_nic(void **state)
{
	struct fixture *f = *state;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/infiniband/rxe1");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs1");
	(void)scan(f, 1000);
	assert_null(core_nic_of(&f->core, "0000:07:00.0"));
	/* Made in the pod, where its interface is called as another one is called here. */
	fakefs_put(f->fs, "sys/devices/virtual/infiniband/rxe0/parent", "enp0s2\n");
	assert_false(scan(f, 2000) & CORE_PAIRS);
	assert_null(core_nic_of(&f->core, "0000:07:00.0"));
	assert_string_equal(core_nic_of(&f->core, "0000:03:00.0")->pci, "0000:04:00.0");
	assert_int_equal(f->core.n_nic, 0);
}

static void a_nic_that_stays_away_loses_its_place_unless_in_use(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	move_link_0_away(f, false);
	(void)scan(f, 2000);
	assert_false(scan(f, 2000 + CORE_NIC_MISSING_MS) & CORE_PAIRS);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	assert_true(scan(f, 2001 + CORE_NIC_MISSING_MS) & CORE_PAIRS);
	assert_null(core_nic_of(&f->core, "0000:03:00.0"));
}

static void after_a_restart_pairs_wait_for_late_devices(void **state)
{
	struct fixture *f = *state;
	struct pairs *old = pairs_new("paired");
	struct pairs_nic nic = { .pci = "0000:08:00.0", .rdma = "rxe1", .uverbs = "uverbs1" };
	struct core_options options = { .mode = "paired" };

	/* Crossed on purpose: only what was persisted explains it. */
	assert_int_equal(pairs_add(old, "0000:03:00.0", &nic), 0);
	core_done(&f->core);
	core_init(&f->core, &options, old, 1000);
	fakefs_mkdir(f->fs, "sys");
	(void)scan(f, 1000);
	assert_string_equal(core_nic_of(&f->core, "0000:03:00.0")->rdma, "rxe1");
	fakefs_load(f->fs, TREES "lab.tree");
	(void)scan(f, 2000);
	assert_string_equal(core_nic_of(&f->core, "0000:03:00.0")->rdma, "rxe1");
	assert_string_equal(core_nic_of(&f->core, "0000:07:00.0")->rdma, "rxe0");
}

static void an_allocated_device_keeps_its_pair_until_it_was_used(void **state)
{
	struct fixture *f = *state;
	struct device *device;

	(void)load(f, TREES "lab.tree");
	device = core_find(&f->core, "0000:03:00.0");
	device->is_allocated = true;
	(void)scan(f, 2000);
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated); /* not opened yet */
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 3000);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "scrubbing\n");
	(void)scan(f, 4000);
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	(void)scan(f, 5000);
	assert_false(core_find(&f->core, "0000:03:00.0")->is_allocated);
}

/* --- leases that the kubelet knows nothing of ----------------------------------- */

static bool account(struct fixture *f, const char *id, size_t n_pods, uint64_t now_ms)
{
	return core_account(&f->core, &id, id ? 1 : 0, n_pods, now_ms, now_ms);
}

static const struct health *health_of(const struct fixture *f, const char *id)
{
	return &core_find(&f->core, id)->health;
}

static void a_lease_without_an_allocation_is_a_strangers(void **state)
{
	struct fixture *f = *state;

	assert_true(core_ask_ms(&f->core, 1000) == UINT64_MAX); /* about what? */
	(void)load(f, TREES "lab.tree");
	assert_int_equal(core_ask_ms(&f->core, 1000), 0); /* once, after each start */
	assert_false(account(f, NULL, 3, 1000));
	assert_true(core_ask_ms(&f->core, 1000) == UINT64_MAX);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 10000);
	assert_int_equal(core_ask_ms(&f->core, 10000), 0);
	assert_false(account(f, "0000:07:00.0", 3, 10000));
	assert_int_equal(core_ask_ms(&f->core, 10200), CORE_ASK_DOUBT_MS - 200);
	assert_false(account(f, "0000:07:00.0", 3, 9999 + CORE_STRANGER_MS));
	assert_true(health_of(f, "0000:03:00.0")->healthy);
	assert_true(account(f, "0000:07:00.0", 3, 10000 + CORE_STRANGER_MS));
	assert_int_equal(health_of(f, "0000:03:00.0")->cause, HEALTH_FOREIGN);
	assert_true(health_of(f, "0000:07:00.0")->healthy);
	/* A pod that was given it meanwhile waits, and is told for whom. */
	assert_int_equal(core_is_ready(&f->core, "0000:03:00.0", f->why, sizeof(f->why)), CORE_WAIT);
	assert_non_null(strstr(f->why, "kubelet knows nothing"));
	/* Asked less often now, and without an answer nothing changes. */
	assert_int_equal(core_ask_ms(&f->core, 10000 + CORE_STRANGER_MS), CORE_ASK_STRANGER_MS);
	(void)scan(f, 90000);
	assert_false(health_of(f, "0000:03:00.0")->healthy);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	(void)scan(f, 90001);
	assert_true(health_of(f, "0000:03:00.0")->healthy);
}

static void a_kubelet_that_lists_no_pod_is_not_believed_soon(void **state)
{
	struct fixture *f = *state;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 1000);
	(void)account(f, NULL, 0, 1000);
	assert_false(account(f, NULL, 0, 999 + CORE_STRANGER_EMPTY_MS));
	assert_true(account(f, NULL, 0, 1000 + CORE_STRANGER_EMPTY_MS));
	/* Then it has read its pods. */
	assert_true(account(f, "0000:03:00.0", 2, 2000 + CORE_STRANGER_EMPTY_MS));
	assert_true(health_of(f, "0000:03:00.0")->healthy);
}

static void a_pods_lease_stays_a_pods_whatever_is_listed_later(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	core_allocate(&f->core, "0000:03:00.0", 1000);
	core_allocate(&f->core, "nobody", 1000);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 2000);
	/* The kubelet restarts and lists other pods first. */
	(void)account(f, NULL, 5, 100000);
	assert_false(account(f, NULL, 5, 100000 + 10 * CORE_STRANGER_MS));
	assert_true(health_of(f, "0000:03:00.0")->healthy);
	assert_true(core_ask_ms(&f->core, 900000) == UINT64_MAX);
}

static void after_a_restart_the_kubelets_list_says_whose_a_lease_is(void **state)
{
	struct fixture *f = *state;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 1000);
	assert_false(account(f, "0000:03:00.0", 1, 1000));
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated);
	assert_false(account(f, NULL, 1, 1000 + 10 * CORE_STRANGER_MS));
	assert_true(health_of(f, "0000:03:00.0")->healthy);
}

static void a_strangers_lease_is_not_made_good_by_an_allocation(void **state)
{
	struct fixture *f = *state;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 1000);
	(void)account(f, NULL, 1, 1000);
	core_allocate(&f->core, "0000:03:00.0", 2000);
	(void)account(f, "0000:03:00.0", 1, 2500);
	assert_true(account(f, "0000:03:00.0", 1, 1000 + CORE_STRANGER_MS));
	assert_int_equal(health_of(f, "0000:03:00.0")->cause, HEALTH_FOREIGN);
	/* The next lease is the pod's. */
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	(void)scan(f, 20000);
	core_allocate(&f->core, "0000:03:00.0", 20000);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	(void)scan(f, 21000);
	assert_false(account(f, "0000:03:00.0", 1, 40000));
	assert_true(health_of(f, "0000:03:00.0")->healthy);
}

static void an_allocation_that_was_never_used_ends_with_its_pod(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "lab.tree");
	(void)account(f, NULL, 1, 1000);
	core_allocate(&f->core, "0000:03:00.0", 1000);
	assert_int_equal(core_ask_ms(&f->core, 1000), CORE_ASK_UNUSED_MS);
	(void)account(f, NULL, 1, 2000); /* not in the list yet */
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated);
	(void)account(f, "0000:03:00.0", 1, 70000);
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated);
	(void)account(f, NULL, 0, 130000); /* a kubelet that has not read its pods */
	assert_true(core_find(&f->core, "0000:03:00.0")->is_allocated);
	(void)account(f, NULL, 1, 190000);
	assert_false(core_find(&f->core, "0000:03:00.0")->is_allocated);
}

static void the_mainline_driver_is_never_suspected(void **state)
{
	struct fixture *f = *state;

	(void)load(f, TREES "mainline.tree");
	(void)account(f, NULL, 1, 1000);
	assert_true(core_ask_ms(&f->core, 100000) == UINT64_MAX);
	/* But what is allocated is known, and let go with its pod. */
	(void)account(f, "0000:02:00.0", 1, 100000);
	assert_true(core_find(&f->core, "0000:02:00.0")->is_allocated);
	(void)account(f, NULL, 1, 200000);
	assert_false(core_find(&f->core, "0000:02:00.0")->is_allocated);
}

/* --- paired-strict -------------------------------------------------------------- */

static void strictly_paired_a_gaudi_without_a_nic_is_not_handed_out(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	const char *alone = "AM00000003";
	unsigned healthy = 0;

	fake_plugin_core(&f->core, "paired-strict");
	(void)load(f, TREES "eight-four.tree");
	assert_string_equal(f->core.pairs->mode, "paired"); /* an older cni-rdma reads it too */
	for (size_t i = 0; i < f->core.n_device; i++) {
		const struct device *device = &f->core.device[i];

		assert_int_equal(device->health.healthy, core_nic_of(&f->core, device->gaudi->id) != NULL);
		healthy += device->health.healthy;
	}
	assert_int_equal(healthy, 4);
	assert_null(core_nic_of(&f->core, alone));
	assert_int_equal(health_of(f, alone)->cause, HEALTH_NO_NIC);
	assert_int_equal(grant_build(&f->core, NULL, &alone, 1, &grant, f->why, sizeof(f->why)), -ENODEV);
	assert_non_null(strstr(f->why, "NIC"));
}

static void strictly_paired_a_nic_that_comes_makes_its_gaudi_healthy(void **state)
{
	struct fixture *f = *state;

	fake_plugin_core(&f->core, "paired-strict");
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs");
	(void)scan(f, 1000);
	assert_false(health_of(f, "0000:03:00.0")->healthy || health_of(f, "0000:07:00.0")->healthy);
	fakefs_load(f->fs, TREES "lab.tree");
	(void)scan(f, 2000);
	assert_true(health_of(f, "0000:03:00.0")->healthy && health_of(f, "0000:07:00.0")->healthy);
	/* A link that is made anew does not show, one that stays away does. */
	move_link_0_away(f, false);
	(void)scan(f, 3000);
	assert_true(health_of(f, "0000:03:00.0")->healthy);
	(void)scan(f, 3000 + CORE_NIC_MISSING_MS);
	assert_int_equal(health_of(f, "0000:03:00.0")->cause, HEALTH_NO_NIC);
	assert_true(health_of(f, "0000:07:00.0")->healthy);
}

static void left_over_nics_are_handed_out_by_themselves(void **state)
{
	struct fixture *f = *state;
	_cleanup_(grant_done) struct grant grant = {};
	const char *ids[] = { "0000:08:00.0" };

	(void)load(f, TREES "lab.tree");
	assert_int_equal(f->core.n_nic, 0);
	fake_plugin_core(&f->core, "separate");
	(void)scan(f, 2000);
	assert_int_equal(f->core.n_nic, 2);
	assert_null(core_nic_of(&f->core, "0000:03:00.0"));
	assert_int_equal(grant_build_nics(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), 0);
	assert_int_equal(grant.n_node, 2);
	assert_string_equal(grant_find_env(&grant, "GAUDI_P2P_RDMA"), "/dev/infiniband/uverbs1");
	/* Inside a pod it stays listed and healthy. */
	move_link_0_away(f, true);
	(void)scan(f, 3000);
	assert_int_equal(f->core.n_nic, 2);
	assert_int_equal(core_find_nic(&f->core, "0000:04:00.0")->missing_ms, 0);
	ids[0] = "0000:03:00.0";
	assert_int_equal(grant_build_nics(&f->core, NULL, ids, 1, &grant, f->why, sizeof(f->why)), -ENOENT);
}

static void the_node_keeps_a_nic_whose_virtual_functions_are_handed_out(void **state)
{
	struct fixture *f = *state;

	fake_plugin_core(&f->core, "separate");
	(void)load(f, TREES "vfs.tree");
	assert_int_equal(f->core.n_nic, 4);
	assert_null(core_find_nic(&f->core, "0000:1b:00.0"));
	assert_true(core_find_nic(&f->core, "0000:1b:00.2")->is_offered);
}

static void a_nic_is_offered_only_when_no_gaudi_came_for_it(void **state)
{
	struct fixture *f = *state;
	struct pairs *pairs;

	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/accel/accel1");
	(void)scan(f, 1000);
	assert_int_equal(f->core.n_nic, 1);
	assert_false(core_offers_nics(&f->core));
	assert_int_equal(core_next_ms(&f->core, 2000), CORE_NIC_SINGLE_MS - 1000);
	(void)scan(f, 999 + CORE_NIC_SINGLE_MS);
	assert_false(core_offers_nics(&f->core));
	(void)scan(f, 1000 + CORE_NIC_SINGLE_MS);
	assert_true(core_find_nic(&f->core, "0000:08:00.0")->is_offered);
	/* After a restart it is left over as before, and the kubelet does not miss it. */
	pairs = TAKE_PTR(f->core.pairs);
	core_done(&f->core);
	core_init(&f->core, &(struct core_options){ .mode = "paired" }, pairs, 200000);
	(void)scan(f, 200000);
	assert_true(core_find_nic(&f->core, "0000:08:00.0")->is_offered);
	/* But not after a reboot in which a Gaudi is late. */
	pairs = TAKE_PTR(f->core.pairs);
	core_done(&f->core);
	core_init(&f->core, &(struct core_options){ .mode = "paired" }, pairs, 200000);
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	fakefs_remove(f->fs, "sys/class/accel/accel1");
	(void)scan(f, 200000);
	assert_false(core_offers_nics(&f->core));
	/* Before the driver of the Gaudis is there, no NIC is left over. */
	fakefs_remove(f->fs, "sys/class/accel");
	fake_plugin_core(&f->core, "paired");
	(void)scan(f, 1000);
	(void)scan(f, 1000 + 10 * CORE_NIC_SINGLE_MS);
	assert_int_equal(f->core.n_nic, 2);
	assert_false(core_offers_nics(&f->core));
}

static void preference_is_never_an_error(void **state)
{
	struct fixture *f = *state;
	const char *available[] = { "nobody", "AM00000007", "AM00000000", "AM00000006", "AM00000006" },
		   *must[] = { "AM00000007" };
	const char *chosen[5];

	(void)load(f, TREES "eight-four.tree");
	assert_int_equal(core_prefer(&f->core, available, 5, NULL, 0, 2, chosen), 2);
	assert_string_equal(chosen[0], "AM00000006");
	assert_string_equal(chosen[1], "AM00000007");
	assert_int_equal(core_prefer(&f->core, available, 5, must, 1, 1, chosen), 1);
	assert_string_equal(chosen[0], "AM00000007");
	assert_int_equal(core_prefer(&f->core, available, 5, NULL, 0, 9, chosen), 4);
	assert_int_equal(core_prefer(&f->core, available, 0, NULL, 0, 2, chosen), 0);
	assert_int_equal(core_prefer(&f->core, available, 5, NULL, 0, 0, chosen), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(readiness_follows_the_lease, setup, teardown),
	cmocka_unit_test_setup_teardown(a_vanished_device_stays_listed_for_a_while, setup, teardown),
	cmocka_unit_test_setup_teardown(a_link_made_anew_by_a_move_keeps_its_pair, setup, teardown),
	cmocka_unit_test_setup_teardown(a_link_in_the_middle_of_a_move_is_nobody_elses_nic, setup, teardown),
	cmocka_unit_test_setup_teardown(a_nic_that_stays_away_loses_its_place_unless_in_use, setup, teardown),
	cmocka_unit_test_setup_teardown(after_a_restart_pairs_wait_for_late_devices, setup, teardown),
	cmocka_unit_test_setup_teardown(an_allocated_device_keeps_its_pair_until_it_was_used, setup,
					teardown),
	cmocka_unit_test_setup_teardown(a_lease_without_an_allocation_is_a_strangers, setup, teardown),
	cmocka_unit_test_setup_teardown(a_kubelet_that_lists_no_pod_is_not_believed_soon, setup, teardown),
	cmocka_unit_test_setup_teardown(a_pods_lease_stays_a_pods_whatever_is_listed_later, setup, teardown),
	cmocka_unit_test_setup_teardown(after_a_restart_the_kubelets_list_says_whose_a_lease_is, setup,
					teardown),
	cmocka_unit_test_setup_teardown(a_strangers_lease_is_not_made_good_by_an_allocation, setup, teardown),
	cmocka_unit_test_setup_teardown(an_allocation_that_was_never_used_ends_with_its_pod, setup, teardown),
	cmocka_unit_test_setup_teardown(the_mainline_driver_is_never_suspected, setup, teardown),
	cmocka_unit_test_setup_teardown(strictly_paired_a_gaudi_without_a_nic_is_not_handed_out, setup,
					teardown),
	cmocka_unit_test_setup_teardown(strictly_paired_a_nic_that_comes_makes_its_gaudi_healthy, setup,
					teardown),
	cmocka_unit_test_setup_teardown(left_over_nics_are_handed_out_by_themselves, setup, teardown),
	cmocka_unit_test_setup_teardown(the_node_keeps_a_nic_whose_virtual_functions_are_handed_out, setup,
					teardown),
	cmocka_unit_test_setup_teardown(a_nic_is_offered_only_when_no_gaudi_came_for_it, setup, teardown),
	cmocka_unit_test_setup_teardown(preference_is_never_an_error, setup, teardown),
};

UNIT_MAIN(tests)
