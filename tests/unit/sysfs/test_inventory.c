// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "../failopen.h"
#include "../fake_scan.h"
#include "../fakefs.h"
#include "sysfs/inventory.h"
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

static struct inventory *scan_tree(struct fakefs *fs, const char *manifest)
{
	fakefs_load(fs, manifest);
	return fake_scan(fs);
}

static void an_empty_node_has_no_devices(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;

	fakefs_mkdir(*state, "sys");
	inv = fake_scan(*state);
	assert_int_equal(inv->n_gaudi + inv->n_nic + inv->n_hidden, 0);
	assert_false(inv->has_rdma_cm);
}

static void a_missing_sysfs_is_an_error(void **state)
{
	struct sysfs_root root = SYSFS_ROOT_INIT;

	assert_int_equal(sysfs_root_open(&root, fakefs_join(*state, "sys")), -ENOENT);
	fakefs_put(*state, "sys", "");
	assert_int_equal(sysfs_root_open(&root, fakefs_join(*state, "sys")), -ENOTDIR);
	sysfs_root_done(&root);
}

static void one_card_is_found(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "one-card.tree");
	const struct gaudi *gaudi;

	assert_int_equal(inv->n_gaudi, 1);
	assert_int_equal(inv->n_nic, 0);
	gaudi = inventory_find_gaudi(inv, "0000:01:00.0");
	assert_non_null(gaudi);
	assert_int_equal(gaudi->minor, 0);
	assert_true(gaudi->has_control);
	assert_true(gaudi->has_lease);
	assert_string_equal(gaudi->driver, "gaudi_p2p");
	assert_string_equal(gaudi->pci, "0000:01:00.0");
	assert_string_equal(gaudi->serial, "");
	assert_string_equal(gaudi->path, "devices/pci0000:00/0000:00:02.0/0000:01:00.0");
	assert_int_equal(gaudi->numa_node, 0);
	assert_int_equal(gaudi->module_id, 0);
	assert_int_equal(gaudi->state, LEASE_FREE);
	assert_string_equal(gaudi->reason, "");
}

static void eight_cards_and_nics_are_found_on_both_sockets(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "eight-eight.tree");
	const struct nic *nic;

	assert_int_equal(inv->n_gaudi, 8);
	assert_int_equal(inv->n_nic, 8);
	assert_true(inv->has_rdma_cm);
	assert_int_equal(inventory_find_gaudi(inv, "0000:19:00.0")->numa_node, 0);
	assert_int_equal(inventory_find_gaudi(inv, "0000:cd:00.0")->numa_node, 1);
	nic = inventory_find_nic(inv, "0000:1b:00.0");
	assert_non_null(nic);
	assert_true(nic->is_visible);
	assert_false(nic->is_soft);
	assert_string_equal(nic->name.rdma, "mlx5_0");
	assert_string_equal(nic->name.uverbs, "uverbs0");
	assert_string_equal(nic->name.netdev, "ens27");
	assert_string_equal(nic->name.node_guid, "0c42:a103:00aa:0000");
}

static void a_serial_is_the_id(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "eight-four.tree");

	assert_int_equal(inv->n_gaudi, 8);
	assert_int_equal(inv->n_nic, 4);
	assert_string_equal(inventory_find_gaudi(inv, "AM00000007")->serial, "AM00000007");
	assert_null(inventory_find_gaudi(inv, inventory_find_gaudi(inv, "AM00000007")->pci));
}

static void numbers_beyond_nine_are_read_whole(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "twelve.tree");

	assert_int_equal(inv->n_gaudi, 12);
	assert_int_equal(inventory_find_gaudi(inv, "0000:0b:00.0")->minor, 10);
	assert_int_equal(inventory_find_gaudi(inv, "0000:0c:00.0")->minor, 11);
}

static void without_numa_the_node_is_unknown(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "no-numa.tree");

	assert_int_equal(inv->n_gaudi, 2);
	assert_int_equal(inv->gaudi[0]->numa_node, -1);
	assert_int_equal(inv->gaudi[0]->module_id, -1);
	assert_int_equal(inv->nic[1]->numa_node, -1);
}

static void the_mainline_driver_has_no_lease(void **state)
{
	static const struct {
		const char *status;
		enum lease_state state;
	} cases[] = {
		{ "Operational\n", LEASE_FREE },
		{ "In reset\n", LEASE_SCRUBBING },
		{ "Needs reset\n", LEASE_LOST },
		{ "Disabled\n", LEASE_LOST },
		{ "In device creation\n", LEASE_SCRUBBING },
		{ "Singing\n", LEASE_UNKNOWN },
		{ "", LEASE_UNKNOWN },
	};

	fakefs_load(*state, TREES "mainline.tree");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(inventory_freep) struct inventory *inv = NULL;

		fakefs_put(*state, "sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0/status",
			   cases[i].status);
		inv = fake_scan(*state);
		assert_int_equal(inv->n_gaudi, 2); /* the third is another vendor's */
		assert_false(inv->gaudi[0]->has_lease);
		assert_string_equal(inv->gaudi[0]->driver, "habanalabs");
		assert_int_equal(inventory_find_gaudi(inv, "0000:02:00.0")->state, cases[i].state);
	}
}

static void nics_in_pods_are_known_as_far_as_can_be(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "in-pod.tree");

	assert_int_equal(inv->n_nic, 1);
	assert_string_equal(inv->nic[0]->name.pci, "0000:03:00.0");
	assert_false(inv->nic[0]->is_visible);
	assert_string_equal(inv->nic[0]->name.uverbs, "uverbs0");
	assert_string_equal(inv->nic[0]->name.netdev, "");
	assert_int_equal(inv->n_hidden, 1);
	assert_string_equal(inv->hidden[0].uverbs, "uverbs1");
	assert_string_equal(inv->hidden[0].rdma, "rxe0");
	assert_int_equal(inventory_find_gaudi(inv, "0000:01:00.0")->state, LEASE_OWNED);
}

static void soft_links_count_as_their_function(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "lab.tree");
	const struct nic *nic;

	assert_int_equal(inv->n_gaudi, 2);
	assert_int_equal(inv->n_nic, 2);
	assert_int_equal(inv->n_hidden, 0);
	nic = inventory_find_nic(inv, "0000:08:00.0");
	assert_non_null(nic);
	assert_true(nic->is_soft);
	assert_true(nic->is_visible);
	assert_string_equal(nic->name.rdma, "rxe1");
	assert_string_equal(nic->name.netdev, "enp8s0");
	assert_string_equal(nic->name.uverbs, "uverbs1");
	assert_string_equal(nic->path,
			    "devices/pci0000:00/0000:00:04.0/0000:05:00.0/0000:06:01.0/0000:08:00.0");
}

static void a_virtual_device_is_named_by_the_kernel(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;

	fakefs_mkdir(*state, "sys/bus/faux/drivers/faux_driver");
	fakefs_link(*state, "sys/devices/faux/gaudi_p2p.0/driver", "../../../bus/faux/drivers/faux_driver");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/device_type", "GAUDI2\n");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/state", "scrubbing\n");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/reason", "still 12 blocks\n");
	fakefs_link(*state, "sys/devices/faux/gaudi_p2p.0/accel/accel4/device", "../..");
	fakefs_link(*state, "sys/class/accel/accel4", "../../devices/faux/gaudi_p2p.0/accel/accel4");
	inv = fake_scan(*state);
	assert_int_equal(inv->n_gaudi, 1);
	assert_string_equal(inv->gaudi[0]->id, "gaudi_p2p.0");
	assert_string_equal(inv->gaudi[0]->pci, "");
	assert_string_equal(inv->gaudi[0]->path, "");
	assert_false(inv->gaudi[0]->has_control);
	assert_int_equal(inv->gaudi[0]->state, LEASE_SCRUBBING);
	assert_string_equal(inv->gaudi[0]->reason, "still 12 blocks");
}

static void what_is_half_gone_is_skipped_and_the_rest_found(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = scan_tree(*state, TREES "broken.tree");
	const struct gaudi *gaudi;

	assert_int_equal(inv->n_gaudi, 6);
	assert_int_equal(inventory_find_gaudi(inv, "0000:01:00.0")->state, LEASE_FREE);
	gaudi = inventory_find_gaudi(inv, "0000:03:00.0");
	assert_int_equal(gaudi->state, LEASE_UNKNOWN);
	assert_non_null(strstr(gaudi->reason, "cannot be read"));
	assert_int_equal(gaudi->numa_node, -1);
	assert_int_equal(gaudi->module_id, -1);
	gaudi = inventory_find_gaudi(inv, "0000:04:00.0"); /* its serial would leave the directory */
	assert_int_equal(gaudi->state, LEASE_UNKNOWN);
	assert_non_null(strstr(gaudi->reason, "resting"));
	assert_string_equal(gaudi->serial, "");
	/* Two with one serial are told apart by address. */
	assert_null(inventory_find_gaudi(inv, "SAME"));
	assert_non_null(inventory_find_gaudi(inv, "0000:05:00.0"));
	assert_non_null(inventory_find_gaudi(inv, "0000:06:00.0"));
	/* A reason that does not fit is left out; the state stands. */
	gaudi = inventory_find_gaudi(inv, "0000:07:00.0");
	assert_int_equal(gaudi->state, LEASE_FREE);
	assert_string_equal(gaudi->reason, "");
	/* Of the verbs nodes only the hardware NIC is whole; the soft link on it gives way. */
	assert_int_equal(inv->n_nic, 1);
	assert_string_equal(inv->nic[0]->name.rdma, "mlx5_0");
	assert_int_equal(inv->n_hidden, 0);
}

static void a_card_with_two_nodes_counts_once(void **state)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;

	fakefs_load(*state, TREES "one-card.tree");
	fakefs_link(*state, "sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/accel/accel7/device", "../..");
	fakefs_link(*state, "sys/class/accel/accel7",
		    "../../devices/pci0000:00/0000:00:02.0/0000:01:00.0/accel/accel7");
	inv = fake_scan(*state);
	assert_int_equal(inv->n_gaudi, 1);
	assert_int_equal(inv->gaudi[0]->minor, 0);
}

static void every_single_removal_is_survived(void **state)
{
	static const char *const victims[] = {
		"sys/class/net",   "sys/class/infiniband", "sys/class/infiniband_verbs",
		"sys/class/accel", "sys/class/misc",	   "sys/devices/virtual",
		"sys/bus",	   "sys/devices",	   "sys/class",
	};

	for (size_t i = 0; i < ARRAY_SIZE(victims); i++) {
		_cleanup_(inventory_freep) struct inventory *inv = NULL;
		struct fakefs *fs = fakefs_new();

		fakefs_load(fs, TREES "lab.tree");
		fakefs_remove(fs, victims[i]);
		inv = fake_scan(fs);
		assert_true(inv->n_gaudi <= 2 && inv->n_nic <= 2);
		fakefs_free(fs);
	}
	(void)state;
}

static void scans_of_the_same_are_equal(void **state)
{
	_cleanup_(inventory_freep) struct inventory *a = scan_tree(*state, TREES "eight-eight.tree"),
						    *b = fake_scan(*state), *c = NULL;

	assert_true(inventory_equal(a, b));
	fakefs_put(*state, "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:00.0/0000:19:00.0/state",
		   "lost\n");
	c = fake_scan(*state);
	assert_false(inventory_equal(a, c));
}

/* Each file in turn cannot be opened, for a reason that is not the device's: none may be missing because of that. */
static void want_of_descriptors_makes_nothing_vanish(void **state)
{
	static const int shortages[] = { EMFILE, ENFILE, ENOMEM };
	_cleanup_(sysfs_root_done) struct sysfs_root root = SYSFS_ROOT_INIT;

	fakefs_load(*state, TREES "lab.tree");
	assert_int_equal(sysfs_root_open(&root, fakefs_join(*state, "sys")), 0);
	for (size_t i = 0; i < ARRAY_SIZE(shortages); i++) {
		unsigned long n = 0;

		for (bool more = true; more; n++) {
			_cleanup_(inventory_freep) struct inventory *inv = NULL;
			int r;

			failopen_arm(n, shortages[i]);
			r = inventory_scan(&root, &inv);
			more = failopen_disarm();
			assert_int_equal(r, more ? -shortages[i] : 0);
		}
		assert_true(n > 20);
	}
}

static void without_descriptors_nothing_is_scanned(void **state)
{
	_cleanup_(sysfs_root_done) struct sysfs_root root = SYSFS_ROOT_INIT;
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	struct rlimit before, none;
	int r;

	fakefs_load(*state, TREES "lab.tree");
	assert_int_equal(sysfs_root_open(&root, fakefs_join(*state, "sys")), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = inventory_scan(&root, &inv);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(inventory_scan(&root, &inv), 0);
	assert_int_equal(inv->n_gaudi, 2);
}

static void check_refresh(struct fakefs *fs, const char *attribute, const char *text)
{
	_cleanup_(sysfs_root_done) struct sysfs_root root = SYSFS_ROOT_INIT;
	_cleanup_(inventory_freep) struct inventory *before = fake_scan(fs), *after = NULL, *refreshed = NULL;

	fakefs_put(fs, attribute, text);
	after = fake_scan(fs);
	assert_false(inventory_equal(before, after));
	assert_int_equal(sysfs_root_open(&root, fakefs_join(fs, "sys")), 0);
	assert_int_equal(inventory_refresh(&root, before, &refreshed), 0);
	assert_true(inventory_equal(refreshed, after));
}

static void a_refresh_sees_every_state_and_reason(void **state)
{
	fakefs_load(*state, TREES "eight-eight.tree");
	check_refresh(*state,
		      "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:00.0/0000:19:00.0/state",
		      "draining\n");
	check_refresh(*state,
		      "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:00.0/0000:19:00.0/reason",
		      "held by somebody\n");
	check_refresh(*state,
		      "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:00.0/0000:19:00.0/state",
		      "singing\n");
	fakefs_remove(*state, "sys");
	fakefs_load(*state, TREES "mainline.tree");
	check_refresh(*state, "sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0/status", "Disabled\n");
}

static void a_refresh_finds_a_virtual_device(void **state)
{
	fakefs_mkdir(*state, "sys/bus/faux/drivers/faux_driver");
	fakefs_link(*state, "sys/devices/faux/gaudi_p2p.0/driver", "../../../bus/faux/drivers/faux_driver");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/device_type", "GAUDI2\n");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/state", "free\n");
	fakefs_put(*state, "sys/devices/faux/gaudi_p2p.0/reason", "\n");
	fakefs_link(*state, "sys/devices/faux/gaudi_p2p.0/accel/accel4/device", "../..");
	fakefs_link(*state, "sys/class/accel/accel4", "../../devices/faux/gaudi_p2p.0/accel/accel4");
	check_refresh(*state, "sys/devices/faux/gaudi_p2p.0/state", "lost\n");
}

/* A device that its driver made below the function: an auxiliary one, say. */
static void a_refresh_looks_where_the_scan_did(void **state)
{
#define FUNCTION "devices/pci0000:00/0000:00:03.0"
	fakefs_link(*state, "sys/" FUNCTION "/driver", "../../../bus/pci/drivers/gaudi_p2p");
	fakefs_put(*state, "sys/" FUNCTION "/state", "of the function\n");
	fakefs_mkdir(*state, "sys/bus/auxiliary/drivers/gaudi_p2p");
	fakefs_link(*state, "sys/" FUNCTION "/aux.0/driver", "../../../../bus/auxiliary/drivers/gaudi_p2p");
	fakefs_put(*state, "sys/" FUNCTION "/aux.0/state", "free\n");
	fakefs_put(*state, "sys/" FUNCTION "/aux.0/reason", "\n");
	fakefs_mkdir(*state, "sys/" FUNCTION "/aux.0/accel/accel4");
	fakefs_link(*state, "sys/class/accel/accel4", "../../" FUNCTION "/aux.0/accel/accel4");
	check_refresh(*state, "sys/" FUNCTION "/aux.0/state", "lost\n");
#undef FUNCTION
}

static void addresses_are_recognised_whole(void **state)
{
	static const struct {
		const char *path, *addr, *cut;
	} cases[] = {
		{ "devices/pci0000:00/0000:00:03.0/virtio1", "0000:00:03.0",
		  "devices/pci0000:00/0000:00:03.0" },
		{ "devices/pci0000:80/0000:80:05.5/pci10000:00/10000:00:02.0/10000:01:00.0", "10000:01:00.0",
		  "devices/pci0000:80/0000:80:05.5/pci10000:00/10000:00:02.0/10000:01:00.0" },
		{ "devices/pci0000:00/0000:00:03.8", NULL, NULL },
		{ "devices/pci0000:00/0000:00:03.0x", NULL, NULL },
		{ "devices/pci0000:00/000:00:03.0", NULL, NULL },
		{ "devices/virtual/net/lo", NULL, NULL },
		{ "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[SYSFS_PATH_MAX], addr[24] = "untouched";

		strcpy(path, cases[i].path);
		assert_int_equal(pci_function_of_path(path, addr), cases[i].addr != NULL);
		assert_string_equal(addr, cases[i].addr ? cases[i].addr : "untouched");
		assert_string_equal(path, cases[i].cut ? cases[i].cut : cases[i].path);
	}
	assert_true(pci_addr_is_valid("0000:05:00.0"));
	assert_false(pci_addr_is_valid("0000:05:00.0 "));
	assert_false(pci_addr_is_valid("0000:05:00"));
}

static void distances_are_ordered(void **state)
{
	static const char a[] = "devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:00.0/0000:19:00.0";
	static const char same_switch[] =
		"devices/pci0000:16/0000:16:01.0/0000:17:00.0/0000:18:01.0/0000:1a:00.0";
	static const char same_bridge[] = "devices/pci0000:16/0000:16:02.0/0000:27:00.0";
	static const char elsewhere[] = "devices/pci0000:4a/0000:4a:02.0/0000:4b:00.0";
	unsigned d[] = {
		pci_distance(a, 0, a, 0),	    pci_distance(a, 0, same_switch, 0),
		pci_distance(a, 0, same_bridge, 0), pci_distance(a, 0, elsewhere, 0),
		pci_distance(a, -1, elsewhere, 0),  pci_distance(a, 0, elsewhere, 1),
	};

	(void)state;
	for (size_t i = 1; i < ARRAY_SIZE(d); i++)
		assert_true(d[i - 1] < d[i]);
	assert_int_equal(d[1], pci_distance(same_switch, 0, a, 0));
	assert_string_equal(pci_distance_name(d[1]), "same switch");
	assert_string_equal(pci_distance_name(d[5]), "other NUMA node");
	/* Other buses may stand before the host bridge. */
	assert_string_equal(pci_distance_name(pci_distance(
				    "devices/platform/soc/pci0000:00/0000:00:01.0/0000:01:00.0", 0,
				    "devices/platform/soc/pci0001:00/0001:00:01.0/0001:01:00.0", 0)),
			    "same NUMA node");
	assert_int_equal(pci_distance("", -1, "", -1), pci_distance("", -1, a, 0));
	assert_int_equal(pci_switch_len(a), strlen("devices/pci0000:16/0000:16:01.0/0000:17:00.0"));
	assert_int_equal(pci_switch_len(same_bridge), strlen(same_bridge));
}

static void places_are_as_far_apart_as_their_paths(void **state)
{
	enum { N = 24 };
	static char text[N][SYSFS_PATH_MAX];
	const char *paths[N];
	int numa_nodes[N];
	struct pci_place places[N];

	(void)state;
	srandom(5);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < N; i++) {
			size_t len = (size_t)snprintf(text[i], sizeof(text[i]), "%sdevices/pci%04lx:00",
						      random() % 4 ? "" : "platform-x/", random() % 2);

			for (long depth = random() % 6; depth > 0; depth--)
				len += (size_t)snprintf(text[i] + len, sizeof(text[i]) - len,
							"/0000:%02lx:%02lx.0", depth, random() % 2);
			if (random() % 10 == 0)
				text[i][0] = '\0';
			paths[i] = text[i];
			numa_nodes[i] = (int)(random() % 3) - 1;
		}
		assert_int_equal(pci_places(paths, numa_nodes, N, places), 0);
		for (unsigned i = 0; i < N; i++)
			for (unsigned j = 0; j < N; j++) {
				size_t len = pci_switch_len(paths[i]);
				bool together = *paths[i] && len == pci_switch_len(paths[j]) &&
						strncmp(paths[i], paths[j], len) == 0;

				assert_int_equal(
					pci_place_distance(&places[i], &places[j]),
					pci_distance(paths[i], numa_nodes[i], paths[j], numa_nodes[j]));
				assert_int_equal(*paths[i] && places[i].group == places[j].group, together);
			}
	}
	/* Deeper than anything real is nowhere. */
	strcpy(text[0], "devices/pci0000:00");
	for (unsigned i = 0; i < PCI_DEPTH_MAX; i++)
		strcat(text[0], "/0:0");
	assert_int_equal(pci_places(paths, numa_nodes, 1, places), 0);
	assert_int_equal(places[0].depth, 0);
	assert_int_equal(places[0].group, -1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(places_are_as_far_apart_as_their_paths),
	cmocka_unit_test_setup_teardown(an_empty_node_has_no_devices, setup, teardown),
	cmocka_unit_test_setup_teardown(a_missing_sysfs_is_an_error, setup, teardown),
	cmocka_unit_test_setup_teardown(one_card_is_found, setup, teardown),
	cmocka_unit_test_setup_teardown(eight_cards_and_nics_are_found_on_both_sockets, setup, teardown),
	cmocka_unit_test_setup_teardown(a_serial_is_the_id, setup, teardown),
	cmocka_unit_test_setup_teardown(numbers_beyond_nine_are_read_whole, setup, teardown),
	cmocka_unit_test_setup_teardown(without_numa_the_node_is_unknown, setup, teardown),
	cmocka_unit_test_setup_teardown(the_mainline_driver_has_no_lease, setup, teardown),
	cmocka_unit_test_setup_teardown(nics_in_pods_are_known_as_far_as_can_be, setup, teardown),
	cmocka_unit_test_setup_teardown(soft_links_count_as_their_function, setup, teardown),
	cmocka_unit_test_setup_teardown(a_virtual_device_is_named_by_the_kernel, setup, teardown),
	cmocka_unit_test_setup_teardown(a_refresh_sees_every_state_and_reason, setup, teardown),
	cmocka_unit_test_setup_teardown(a_refresh_finds_a_virtual_device, setup, teardown),
	cmocka_unit_test_setup_teardown(a_refresh_looks_where_the_scan_did, setup, teardown),
	cmocka_unit_test_setup_teardown(what_is_half_gone_is_skipped_and_the_rest_found, setup, teardown),
	cmocka_unit_test_setup_teardown(a_card_with_two_nodes_counts_once, setup, teardown),
	cmocka_unit_test(every_single_removal_is_survived),
	cmocka_unit_test_setup_teardown(want_of_descriptors_makes_nothing_vanish, setup, teardown),
	cmocka_unit_test_setup_teardown(without_descriptors_nothing_is_scanned, setup, teardown),
	cmocka_unit_test_setup_teardown(scans_of_the_same_are_equal, setup, teardown),
	cmocka_unit_test(addresses_are_recognised_whole),
	cmocka_unit_test(distances_are_ordered),
};

UNIT_MAIN(tests)
