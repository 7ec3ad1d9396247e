// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../fake_scan.h"
#include "../fakefs.h"
#include "sysfs/pairing.h"
#include "sysfs/pci.h"

#define TREES "tests/unit/sysfs/trees/"

static int setup(void **state)
{
	*state = fakefs_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	fakefs_free(*state);
	return 0;
}

static struct pairs *update(const struct inventory *inv, const struct pairs *old)
{
	struct pairing_options options = { .mode = "paired", .old = old };
	struct pairs *p = NULL;

	assert_int_equal(pairing_update(inv, &options, &p), 0);
	return p;
}

static unsigned distance_of(const struct inventory *inv, const struct pairs_pair *pair)
{
	const struct gaudi *gaudi = inventory_find_gaudi(inv, pair->gaudi);
	const struct nic *nic = inventory_find_nic(inv, pair->nic.pci);

	return pci_distance(gaudi->path, gaudi->numa_node, nic->path, nic->numa_node);
}

static void the_lab_pairs_below_each_switch(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL;

	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	assert_int_equal(p->n, 2);
	assert_string_equal(p->mode, "paired");
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.rdma, "rxe0");
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.pci, "0000:04:00.0");
	assert_string_equal(pairs_find(p, "0000:07:00.0")->nic.rdma, "rxe1");
	assert_string_equal(pairs_find(p, "0000:07:00.0")->nic.uverbs, "uverbs1");
}

static void eight_find_eight_on_their_switches(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL, *again = NULL;

	fakefs_load(*state, TREES "eight-eight.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	assert_int_equal(p->n, 8);
	for (size_t i = 0; i < p->n; i++) {
		assert_true(p->pair[i].has_nic);
		assert_string_equal(pci_distance_name(distance_of(inv, &p->pair[i])), "same switch");
	}
	again = update(inv, NULL);
	assert_true(pairs_equal(p, again));
}

static void with_four_nics_one_of_each_switch_stays_alone(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL;

	fakefs_load(*state, TREES "eight-four.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	assert_int_equal(p->n, 8);
	for (size_t i = 0; i < p->n; i++) {
		/* Serials count up along the switches: the first of each gets the NIC. */
		assert_int_equal(p->pair[i].has_nic, i % 2 == 0);
		if (p->pair[i].has_nic)
			assert_string_equal(pci_distance_name(distance_of(inv, &p->pair[i])), "same switch");
	}
}

static void without_numa_the_bus_decides(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL;

	fakefs_load(*state, TREES "no-numa.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	for (size_t i = 0; i < p->n; i++)
		assert_string_equal(pci_distance_name(distance_of(inv, &p->pair[i])), "same switch");
}

static void move_rxe0_into_a_pod(struct fakefs *fs)
{
	fakefs_remove(fs, "sys/class/infiniband/rxe0");
	fakefs_remove(fs, "sys/class/net/enp4s0");
	fakefs_remove(
		fs, "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:01.0/0000:04:00.0/virtio1/net");
}

static void a_nic_inside_a_pod_keeps_its_pair(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL, *moved = NULL, *renumbered = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL, *q = NULL, *r = NULL;

	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	move_rxe0_into_a_pod(*state);
	moved = fake_scan(*state);
	assert_int_equal(moved->n_hidden, 1);
	q = update(moved, p);
	assert_true(pairs_equal(p, q));
	/* Its verbs node can still be seen under another number. */
	fakefs_remove(*state, "sys/class/infiniband_verbs/uverbs0");
	fakefs_put(*state, "sys/class/infiniband_verbs/uverbs7/ibdev", "rxe0\n");
	renumbered = fake_scan(*state);
	r = update(renumbered, q);
	assert_string_equal(pairs_find(r, "0000:03:00.0")->nic.pci, "0000:04:00.0");
	assert_string_equal(pairs_find(r, "0000:03:00.0")->nic.uverbs, "uverbs7");
	assert_string_equal(pairs_find(r, "0000:03:00.0")->nic.netdev, "enp4s0");
}

static void hardware_inside_a_pod_keeps_its_host_names(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *old = pairs_new("paired"), *p = NULL;
	struct pairs_nic nic = {
		.pci = "0000:03:00.0", .rdma = "mlx5_7", .netdev = "ens3", .uverbs = "uverbs9"
	};

	assert_int_equal(pairs_add(old, "0000:01:00.0", &nic), 0);
	fakefs_load(*state, TREES "in-pod.tree");
	inv = fake_scan(*state);
	p = update(inv, old);
	assert_string_equal(pairs_find(p, "0000:01:00.0")->nic.rdma, "mlx5_7");
	assert_string_equal(pairs_find(p, "0000:01:00.0")->nic.netdev, "ens3");
	assert_string_equal(pairs_find(p, "0000:01:00.0")->nic.uverbs, "uverbs0");
	/* What is inside somebody's pod and in no pair of ours is not ours to give. */
	assert_false(pairs_find(p, "0000:02:00.0")->has_nic);
}

static void a_pair_stays_when_a_nearer_nic_comes(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *old = pairs_new("paired"), *p = NULL;
	struct pairs_nic far = { .pci = "0000:08:00.0", .rdma = "rxe1", .uverbs = "uverbs1" };

	assert_int_equal(pairs_add(old, "0000:03:00.0", &far), 0);
	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	p = update(inv, old);
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.rdma, "rxe1");
	assert_string_equal(pairs_find(p, "0000:07:00.0")->nic.rdma, "rxe0");
}

static void virtual_functions_stand_for_their_physical_one(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL;

	fakefs_load(*state, TREES "vfs.tree");
	inv = fake_scan(*state);
	assert_int_equal(inv->n_nic, 6);
	assert_true(inventory_find_nic(inv, "0000:1b:00.0")->has_vfs);
	assert_false(inventory_find_nic(inv, "0000:1b:00.2")->has_vfs);
	assert_string_equal(inventory_find_nic(inv, "0000:1b:00.3")->physfn, "0000:1b:00.0");
	p = update(inv, NULL);
	assert_int_equal(p->n, 4);
	for (size_t i = 0; i < p->n; i++) {
		assert_true(p->pair[i].has_nic);
		assert_true(inventory_find_nic(inv, p->pair[i].nic.pci)->physfn[0]);
		assert_string_equal(pci_distance_name(distance_of(inv, &p->pair[i])), "same switch");
	}
}

static void virtual_functions_are_taken_from_every_port(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL;

	fakefs_load(*state, TREES "vfs-two-ports.tree");
	inv = fake_scan(*state);
	p = update(inv, NULL);
	assert_string_equal(pairs_find(p, "0000:19:00.0")->nic.pci, "0000:1b:01.0");
	assert_string_equal(pairs_find(p, "0000:1a:00.0")->nic.pci, "0000:1b:02.0");
}

static bool held(const char *id, void *data);

static void a_physical_function_goes_when_its_virtual_ones_come(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *old = NULL, *p = NULL;
	struct pairing_options options = { .mode = "paired",
					   .is_held = held,
					   .data = (void *)"0000:9b:00.0" };

	fakefs_load(*state, TREES "vfs.tree");
	for (unsigned i = 0; i < 6; i++)
		if (i % 3 != 0) {
			char path[64];

			(void)snprintf(path, sizeof(path), "sys/class/infiniband_verbs/uverbs%u", i);
			fakefs_remove(*state, path);
		}
	inv = fake_scan(*state);
	assert_int_equal(inv->n_nic, 2);
	/* A physical function without any is a NIC like others. */
	old = update(inv, NULL);
	assert_string_equal(pairs_find(old, "0000:19:00.0")->nic.pci, "0000:1b:00.0");
	assert_string_equal(pairs_find(old, "0000:9b:00.0")->nic.pci, "0000:9d:00.0");
	inventory_free(inv);
	fakefs_load(*state, TREES "vfs.tree");
	inv = fake_scan(*state);
	options.old = old;
	assert_int_equal(pairing_update(inv, &options, &p), 0);
	assert_string_equal(pairs_find(p, "0000:19:00.0")->nic.pci, "0000:1b:00.2");
	/* But not from under a pod. */
	assert_string_equal(pairs_find(p, "0000:9b:00.0")->nic.pci, "0000:9d:00.0");
}

static bool held(const char *id, void *data)
{
	return strcmp(id, data) == 0;
}

static void a_held_pair_does_not_change_whatever_is_gone(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *old = NULL, *p = NULL;
	struct pairing_options options = { .mode = "paired",
					   .is_held = held,
					   .data = (void *)"0000:03:00.0" };

	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	old = update(inv, NULL);
	inventory_free(inv);
	fakefs_remove(*state, "sys/class/infiniband_verbs/uverbs0");
	fakefs_remove(*state, "sys/class/infiniband/rxe0");
	inv = fake_scan(*state);
	options.old = old;
	assert_int_equal(pairing_update(inv, &options, &p), 0);
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.rdma, "rxe0");
	/* Also when the Gaudi is away itself. */
	fakefs_remove(*state, "sys/class/accel");
	inventory_free(inv);
	inv = fake_scan(*state);
	pairs_free(TAKE_PTR(p));
	assert_int_equal(pairing_update(inv, &options, &p), 0);
	assert_int_equal(p->n, 1);
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.rdma, "rxe0");
	/* No longer held: nothing of it is left. */
	options.is_held = NULL;
	pairs_free(TAKE_PTR(p));
	assert_int_equal(pairing_update(inv, &options, &p), 0);
	assert_int_equal(p->n, 0);
}

static void a_gaudi_without_partner_gets_one_that_comes(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *old = pairs_new("paired"), *p = NULL;

	assert_int_equal(pairs_add(old, "0000:03:00.0", NULL), 0);
	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	p = update(inv, old);
	assert_string_equal(pairs_find(p, "0000:03:00.0")->nic.rdma, "rxe0");
}

static void excluded_nics_and_other_modes_make_no_pairs(void **state)
{
	static const char *const patterns[] = { "rxe0", "enp8*", "0000:99:*" };
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *p = NULL, *q = NULL;
	struct pairing_options options = { .mode = "paired", .exclude = patterns, .n_exclude = 1 };

	fakefs_load(*state, TREES "lab.tree");
	inv = fake_scan(*state);
	assert_int_equal(pairing_update(inv, &options, &p), 0);
	assert_string_equal(pairs_find(p, "0000:07:00.0")->nic.rdma, "rxe1");
	assert_false(pairs_find(p, "0000:03:00.0")->has_nic);
	options.n_exclude = 3;
	options.old = p; /* an exclusion also ends a pair */
	assert_int_equal(pairing_update(inv, &options, &q), 0);
	assert_false(pairs_find(q, "0000:07:00.0")->has_nic);
	options = (struct pairing_options){ .mode = "separate" };
	pairs_free(TAKE_PTR(q));
	assert_int_equal(pairing_update(inv, &options, &q), 0);
	assert_int_equal(q->n, 2);
	assert_false(q->pair[0].has_nic || q->pair[1].has_nic);
	options.mode = "strict";
	assert_int_equal(pairing_update(inv, &options, &q), -EINVAL);
}

/* The least sum over all ways to give rows different columns. */
static long long cheapest(size_t n, size_t m, const long long *cost, size_t row, unsigned used)
{
	long long best = LLONG_MAX;

	if (row == n)
		return 0;
	for (size_t j = 0; j < m; j++) {
		long long sum;

		if (used & (1u << j))
			continue;
		sum = cost[row * m + j] + cheapest(n, m, cost, row + 1, used | 1u << j);
		best = sum < best ? sum : best;
	}
	return best;
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

static void assignments_cost_as_little_as_any(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		size_t n = next_random(&seed) % 7 + 1, m = n + next_random(&seed) % (8 - n), column[8];
		long long cost[64], sum = 0;
		unsigned used = 0;

		for (size_t i = 0; i < n * m; i++)
			cost[i] = next_random(&seed) % (round % 2 ? 5 : 4000);
		assert_int_equal(pairing_assign(n, m, cost, column), 0);
		for (size_t i = 0; i < n; i++) {
			assert_true(column[i] < m);
			assert_false(used & (1u << column[i]));
			used |= 1u << column[i];
			sum += cost[i * m + column[i]];
		}
		assert_int_equal(sum, cheapest(n, m, cost, 0, 0));
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(the_lab_pairs_below_each_switch, setup, teardown),
	cmocka_unit_test_setup_teardown(eight_find_eight_on_their_switches, setup, teardown),
	cmocka_unit_test_setup_teardown(with_four_nics_one_of_each_switch_stays_alone, setup, teardown),
	cmocka_unit_test_setup_teardown(without_numa_the_bus_decides, setup, teardown),
	cmocka_unit_test_setup_teardown(a_nic_inside_a_pod_keeps_its_pair, setup, teardown),
	cmocka_unit_test_setup_teardown(hardware_inside_a_pod_keeps_its_host_names, setup, teardown),
	cmocka_unit_test_setup_teardown(virtual_functions_stand_for_their_physical_one, setup, teardown),
	cmocka_unit_test_setup_teardown(virtual_functions_are_taken_from_every_port, setup, teardown),
	cmocka_unit_test_setup_teardown(a_physical_function_goes_when_its_virtual_ones_come, setup, teardown),
	cmocka_unit_test_setup_teardown(a_pair_stays_when_a_nearer_nic_comes, setup, teardown),
	cmocka_unit_test_setup_teardown(a_held_pair_does_not_change_whatever_is_gone, setup, teardown),
	cmocka_unit_test_setup_teardown(a_gaudi_without_partner_gets_one_that_comes, setup, teardown),
	cmocka_unit_test_setup_teardown(excluded_nics_and_other_modes_make_no_pairs, setup, teardown),
	cmocka_unit_test(assignments_cost_as_little_as_any),
};

UNIT_MAIN(tests)
