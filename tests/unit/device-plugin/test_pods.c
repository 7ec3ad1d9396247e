// SPDX-License-Identifier: Apache-2.0
/* What the kubelet's lists of pods and devices lead to. */
#include "../unit.h"

#include <string.h>

#include "../../../device-plugin/daemon.h"
#include "../../../device-plugin/pods.h"
#include "../fake_kubelet.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "base/log.h"

#define TREES "tests/unit/sysfs/trees/"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"
#define GAUDI0 "0000:03:00.0"
#define GAUDI1 "0000:07:00.0"
#define NIC0 "0000:04:00.0"
#define LIMIT_MS 20000

struct fixture {
	struct fakefs *fs;
	struct sysfs_root sysfs;
	struct core core;
	struct loop *loop;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	char socket[128];
	struct pods *pods;
	unsigned n_changed;
};

static void on_changed(void *data)
{
	((struct fixture *)data)->n_changed++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct core_options options = { .mode = "paired" };

	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_mkdir(f->fs, "kubelet");
	assert_int_equal(sysfs_root_open(&f->sysfs, fakefs_join(f->fs, "sys")), 0);
	core_init(&f->core, &options, NULL, loop_now_ms());
	assert_int_equal(loop_new(&f->loop), 0);
	(void)snprintf(f->socket, sizeof(f->socket), "%.100s/pods.sock", fakefs_join(f->fs, "kubelet"));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pods_free(f->pods);
	fake_kubelet_free(f->kubelet);
	loop_free(f->loop);
	core_done(&f->core);
	sysfs_root_done(&f->sysfs);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static void scan(struct fixture *f)
{
	struct inventory *inv = NULL;

	assert_int_equal(inventory_scan(&f->sysfs, &inv), 0);
	assert_true(core_update(&f->core, inv, loop_now_ms()) >= 0);
}

static void start_kubelet(struct fixture *f)
{
	f->kubelet = fake_kubelet_new(f->loop, fakefs_join(f->fs, "kubelet"));
	f->view = fake_kubelet_view(f->kubelet);
}

static void start(struct fixture *f)
{
	const struct pods_options options = {
		.socket = f->socket,
		.resource_gaudi = "habana.ai/gaudi",
		.resource_nic = "habana.ai/rdma",
		.sysfs = &f->sysfs,
		.core = &f->core,
		.changed = on_changed,
		.data = f,
	};

	assert_int_equal(pods_new(f->loop, &options, &f->pods), 0);
	pods_check(f->pods);
}

#define WAIT_FOR(f, condition)                                              \
	do {                                                                \
		uint64_t end_ = loop_now_ms() + LIMIT_MS;                   \
                                                                            \
		while (!(condition)) {                                      \
			assert_true(loop_step((f)->loop, 50) >= 0);         \
			if (loop_now_ms() > end_)                           \
				fail_msg("waited in vain: %s", #condition); \
		}                                                           \
	} while (0)

/* A list of one pod with one device, and one of another resource. */
static void list_pod(struct fixture *f, const char *resource, const char *id, unsigned n_busy)
{
	V1__ListPodResourcesResponse list = V1__LIST_POD_RESOURCES_RESPONSE__INIT;
	V1__ContainerDevices devices = V1__CONTAINER_DEVICES__INIT, other = V1__CONTAINER_DEVICES__INIT;
	V1__ContainerDevices *both[] = { &other, &devices };
	V1__ContainerResources container = V1__CONTAINER_RESOURCES__INIT, *containers[] = { &container };
	V1__PodResources pod = V1__POD_RESOURCES__INIT, *pods[] = { &pod };
	char *ids[] = { (char *)id };

	other.resource_name = (char *)"example.com/gaudi";
	other.n_device_ids = 1;
	other.device_ids = ids;
	devices.resource_name = (char *)resource;
	devices.n_device_ids = 1;
	devices.device_ids = ids;
	container.n_devices = 2;
	container.devices = both;
	pod.name = (char *)"p";
	pod.namespace_ = (char *)"default";
	pod.n_containers = 1;
	pod.containers = containers;
	list.n_pod_resources = 1;
	list.pod_resources = pods;
	fake_kubelet_set_pods(f->kubelet, &list, n_busy);
}

static const struct device *gaudi0(const struct fixture *f)
{
	return core_find(&f->core, GAUDI0);
}

static void a_pods_device_is_known_after_a_restart(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	scan(f);
	start_kubelet(f);
	list_pod(f, "habana.ai/gaudi", GAUDI0, 0);
	start(f);
	WAIT_FOR(f, gaudi0(f)->is_allocated);
	assert_true(gaudi0(f)->is_accounted);
	assert_false(core_find(&f->core, GAUDI1)->is_allocated);
	assert_int_equal(f->view->n_listed, 1);
	assert_int_equal(f->n_changed, 0);
}

static void devices_of_other_resources_are_not_ours(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/owner", "netns:[4026532001]\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/owner_pid", "77\n");
	scan(f);
	start_kubelet(f);
	list_pod(f, "example.com/gaudis", GAUDI0, 0);
	start(f);
	WAIT_FOR(f, gaudi0(f)->doubtful_ms);
	assert_string_equal(gaudi0(f)->holder, "process 77 in netns:[4026532001]");
	/* In doubt it is asked again, and by then the kubelet knows. */
	list_pod(f, "habana.ai/gaudi", GAUDI0, 0);
	WAIT_FOR(f, gaudi0(f)->is_accounted);
	assert_int_equal(gaudi0(f)->doubtful_ms, 0);
	assert_true(f->view->n_listed >= 2);
	assert_true(gaudi0(f)->health.healthy);
}

static void a_busy_kubelet_is_asked_again(void **state)
{
	struct fixture *f = *state;

	scan(f);
	start_kubelet(f);
	list_pod(f, "habana.ai/gaudi", GAUDI0, 1);
	start(f);
	WAIT_FOR(f, gaudi0(f)->is_allocated);
	assert_int_equal(f->view->n_listed, 2);
}

static void without_a_kubelet_nothing_changes_until_it_is_there(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	scan(f);
	start(f);
	for (unsigned i = 0; i < 20; i++) {
		pods_check(f->pods);
		assert_true(loop_step(f->loop, 10) >= 0);
	}
	assert_true(gaudi0(f)->health.healthy);
	assert_int_equal(gaudi0(f)->doubtful_ms, 0);
	assert_true(pods_rivals(f->pods) == SIZE_MAX);
	start_kubelet(f);
	list_pod(f, "habana.ai/gaudi", GAUDI0, 0);
	WAIT_FOR(f, gaudi0(f)->is_accounted);
}

static void with_nothing_to_decide_the_kubelet_is_left_alone(void **state)
{
	struct fixture *f = *state;

	start_kubelet(f);
	start(f); /* not even a device is known */
	for (unsigned i = 0; i < 10; i++)
		(void)loop_step(f->loop, 10);
	assert_int_equal(f->view->n_listed + f->view->n_allocatable, 0);
	scan(f);
	pods_check(f->pods);
	WAIT_FOR(f, f->view->n_listed == 1 && f->view->n_allocatable == 1);
	for (unsigned i = 0; i < 150; i++) {
		(void)loop_step(f->loop, 10);
		pods_check(f->pods);
	}
	assert_int_equal(f->view->n_listed, 1);
	assert_int_equal(f->view->n_allocatable, 1); /* an old kubelet: also left alone */
}

static void offer(struct fixture *f, const char *const *resources, const char *const *ids, size_t n)
{
	V1__AllocatableResourcesResponse answer = V1__ALLOCATABLE_RESOURCES_RESPONSE__INIT;
	V1__ContainerDevices devices[8], *pointers[8];
	char *id[8];

	assert_true(n <= ARRAY_SIZE(devices));
	for (size_t i = 0; i < n; i++) {
		v1__container_devices__init(&devices[i]);
		id[i] = (char *)ids[i];
		devices[i].resource_name = (char *)resources[i];
		devices[i].n_device_ids = 1;
		devices[i].device_ids = &id[i];
		pointers[i] = &devices[i];
	}
	answer.n_devices = n;
	answer.devices = pointers;
	fake_kubelet_set_allocatable(f->kubelet, &answer);
}

static void devices_that_another_plugin_offers_too_are_noticed(void **state)
{
	static const char *const resources[] = { "habana.ai/gaudi",    "habana.ai/rdma",
						 "nvidia.com/rdma_vf", "nvidia.com/rdma_vf",
						 "example.com/roce",   "example.com/gaudi",
						 "example.com/roce",   "example.com/other" };
	static const char *const ids[] = { GAUDI0, NIC0, NIC0, "0000:99:00.0", "rxe1", GAUDI1, "rxe1", "0" };
	struct fixture *f = *state;

	scan(f);
	start_kubelet(f);
	list_pod(f, "habana.ai/gaudi", GAUDI0, 0);
	offer(f, resources, ids, ARRAY_SIZE(ids));
	start(f);
	WAIT_FOR(f, pods_rivals(f->pods) != SIZE_MAX);
	/* The NIC by its address, the other by its RDMA device (twice the same), and the Gaudi. */
	assert_int_equal(pods_rivals(f->pods), 3);
	/* It is a warning, no verdict. */
	assert_true(gaudi0(f)->health.healthy && core_find(&f->core, GAUDI1)->health.healthy);
}

/* --- the whole daemon ------------------------------------------------------------- */

static bool is_listed(const struct fixture *f, const char *id, const char *health)
{
	const V1beta1__ListAndWatchResponse *devices = f->view->devices;

	for (size_t i = 0; devices && i < devices->n_devices; i++)
		if (strcmp(devices->devices[i]->id, id) == 0)
			return strcmp(devices->devices[i]->health, health) == 0;
	return false;
}

static void a_strangers_lease_reaches_the_kubelet_and_passes(void **state)
{
	struct fixture *f = *state;
	struct options options;
	struct daemon *daemon = NULL;
	uint64_t begun;

	fakefs_mkdir(f->fs, "dev");
	fake_plugin_options(f->fs, 50, &options);
	(void)snprintf(options.kubelet_dir, sizeof(options.kubelet_dir), "%s", fakefs_join(f->fs, "kubelet"));
	(void)snprintf(options.podresources, sizeof(options.podresources), "%s", f->socket);
	start_kubelet(f);
	list_pod(f, "habana.ai/gaudi", GAUDI1, 0);
	assert_int_equal(daemon_new(f->loop, &options, &daemon), 0);
	WAIT_FOR(f, is_listed(f, GAUDI0, "Healthy"));
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "owned\n");
	begun = loop_now_ms();
	WAIT_FOR(f, is_listed(f, GAUDI0, "Unhealthy"));
	assert_true(loop_now_ms() - begun >= CORE_STRANGER_MS);
	assert_true(is_listed(f, GAUDI1, "Healthy"));
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	WAIT_FOR(f, is_listed(f, GAUDI0, "Healthy"));
	daemon_free(daemon);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(a_pods_device_is_known_after_a_restart, setup, teardown),
	cmocka_unit_test_setup_teardown(devices_of_other_resources_are_not_ours, setup, teardown),
	cmocka_unit_test_setup_teardown(a_busy_kubelet_is_asked_again, setup, teardown),
	cmocka_unit_test_setup_teardown(without_a_kubelet_nothing_changes_until_it_is_there, setup, teardown),
	cmocka_unit_test_setup_teardown(with_nothing_to_decide_the_kubelet_is_left_alone, setup, teardown),
	cmocka_unit_test_setup_teardown(devices_that_another_plugin_offers_too_are_noticed, setup, teardown),
	cmocka_unit_test_setup_teardown(a_strangers_lease_reaches_the_kubelet_and_passes, setup, teardown),
};

UNIT_MAIN(tests)
