// SPDX-License-Identifier: Apache-2.0
/* The whole daemon in a recorded node, with a kubelet on a real socket. */
#include "../unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../device-plugin/daemon.h"
#include "../../../device-plugin/registrar.h"
#include "../../../device-plugin/service.h"
#include "../fake_kubelet.h"
#include "../fake_plugin.h"
#include "../fake_scan.h"
#include "../fakefs.h"
#include "grpc/client.h"
#include "kubelet/message.h"

#define TREES "tests/unit/sysfs/trees/"
#define LAB_GAUDI0 "sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/0000:02:00.0/0000:03:00.0"
#define GAUDI0 "0000:03:00.0"
#define GAUDI1 "0000:07:00.0"
#define KUBELET_DIR "var/lib/kubelet/device-plugins"
/* Far beyond what anything here takes, also under sanitizers on a busy machine. */
#define LIMIT_MS 10000

/* A call of the plugin that is under way or over. */
struct call {
	struct grpc_client_call *call;
	bool is_done;
	struct grpc_error error;
	uint8_t message[16384];
	size_t len;
};

struct fixture {
	struct fakefs *fs;
	char kubelet_dir[128];
	struct loop *loop;
	struct options options;
	struct daemon *daemon;
	struct fake_kubelet *kubelet;
	const struct fake_kubelet_view *view;
	struct call call;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fake_plugin_options(f->fs, 50, &f->options);
	fakefs_load(f->fs, TREES "lab.tree");
	fakefs_mkdir(f->fs, "dev");
	fakefs_mkdir(f->fs, KUBELET_DIR);
	(void)snprintf(f->kubelet_dir, sizeof(f->kubelet_dir), "%.120s", fakefs_join(f->fs, KUBELET_DIR));
	assert_int_equal(loop_new(&f->loop), 0);
	*state = f;
	return 0;
}

static void stop_kubelet(struct fixture *f)
{
	fake_kubelet_free(TAKE_PTR(f->kubelet));
	f->view = NULL;
}

/* As a kubelet that starts: whatever is in its directory is deleted first. */
static void start_kubelet(struct fixture *f)
{
	_cleanup_closedir_ DIR *dir = opendir(f->kubelet_dir);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	f->kubelet = fake_kubelet_new(f->loop, f->kubelet_dir);
	f->view = fake_kubelet_view(f->kubelet);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	grpc_client_call_free(f->call.call);
	stop_kubelet(f);
	daemon_free(f->daemon);
	loop_free(f->loop);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static void start_daemon(struct fixture *f)
{
	assert_int_equal(daemon_new(f->loop, &f->options, &f->daemon), 0);
}

static void step(struct fixture *f, unsigned n)
{
	for (; n > 0; n--)
		assert_true(loop_step(f->loop, 50) >= 0);
}

/* Runs the loop until what is waited for has come. */
#define WAIT_FOR(f, condition)                                                             \
	do {                                                                               \
		uint64_t end_ = loop_now_ms() + LIMIT_MS;                                  \
                                                                                           \
		while (!(condition)) {                                                     \
			step(f, 1);                                                        \
			if (loop_now_ms() > end_)                                          \
				fail_msg("line %d: never came: %s", __LINE__, #condition); \
		}                                                                          \
	} while (0)

static bool listed(const struct fixture *f, const char *id, const char *health)
{
	const V1beta1__ListAndWatchResponse *list = f->view->devices;

	for (size_t i = 0; list && i < list->n_devices; i++)
		if (strcmp(list->devices[i]->id, id) == 0)
			return strcmp(list->devices[i]->health, health) == 0;
	return false;
}

static void start_both(struct fixture *f)
{
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon) && listed(f, GAUDI0, KUBELET_HEALTHY));
}

static void on_answer(const struct grpc_result *result, void *data)
{
	struct call *call = data;

	call->is_done = true;
	call->error = result->error;
	assert_true(result->len <= sizeof(call->message));
	if (result->r == 0)
		memcpy(call->message, result->message, result->len);
	call->len = result->r == 0 ? result->len : 0;
}

static void call_start(struct fixture *f, const char *method, const ProtobufCMessage *message)
{
	struct grpc_client_options options = { .method = method };
	_cleanup_free_ uint8_t *bytes = NULL;
	char path[256];

	grpc_client_call_free(TAKE_PTR(f->call.call));
	f->call = (struct call){};
	(void)snprintf(path, sizeof(path), "%s/%s", f->kubelet_dir, f->view->endpoint);
	assert_int_equal(kubelet_message_pack(message, &bytes, &options.len), 0);
	options.socket = path;
	options.message = bytes;
	assert_int_equal(grpc_client_start(f->loop, &options, on_answer, &f->call, &f->call.call), 0);
}

/* Unpacks the answer; the caller frees. */
static void *call_answer(const struct fixture *f, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message = NULL;

	assert_int_equal(f->call.error.status, GRPC_OK);
	assert_int_equal(kubelet_message_unpack(type, f->call.message, f->call.len, &message), 0);
	return message;
}

static void call_allocate(struct fixture *f, const char *id)
{
	char *ids[] = { (char *)id };
	V1beta1__ContainerAllocateRequest container = V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT;
	V1beta1__ContainerAllocateRequest *containers[] = { &container };
	V1beta1__AllocateRequest request = V1BETA1__ALLOCATE_REQUEST__INIT;

	container.n_devices_ids = 1;
	container.devices_ids = ids;
	request.n_container_requests = 1;
	request.container_requests = containers;
	call_start(f, "/v1beta1.DevicePlugin/Allocate", &request.base);
	WAIT_FOR(f, f->call.is_done);
}

static void call_pre_start(struct fixture *f, const char *id)
{
	char *ids[] = { (char *)id };
	V1beta1__PreStartContainerRequest request = V1BETA1__PRE_START_CONTAINER_REQUEST__INIT;

	request.n_devices_ids = 1;
	request.devices_ids = ids;
	call_start(f, "/v1beta1.DevicePlugin/PreStartContainer", &request.base);
}

/* A driver that was unloaded, or a card unplugged, is back. */
static void restore_devices(struct fixture *f)
{
	fakefs_remove(f->fs, "sys/class");
	fakefs_remove(f->fs, "sys/bus");
	fakefs_remove(f->fs, "sys/devices");
	fakefs_load(f->fs, TREES "lab.tree");
}

static void it_registers_and_lists_the_devices(void **state)
{
	struct fixture *f = *state;
	const V1beta1__ListAndWatchResponse *list;

	start_both(f);
	assert_string_equal(f->view->resource, "habana.ai/gaudi");
	assert_int_equal(f->view->n_registered, 1);
	assert_true(f->view->pre_start_required && f->view->preferred_available);
	list = f->view->devices;
	assert_int_equal(list->n_devices, 2);
	assert_string_equal(list->devices[0]->id, GAUDI0);
	assert_null(list->devices[0]->topology); /* this node knows no NUMA nodes */
	assert_true(listed(f, GAUDI1, KUBELET_HEALTHY));
	/* The pairing for the CNI plugin, and the links, are there before the kubelet knows of anything. */
	assert_non_null(strstr(fakefs_get(f->fs, "var/lib/gaudi-p2p/pairs.json"), "\"rxe1\""));
	fakefs_put(f->fs, "dev/infiniband/uverbs1", "the node");
	assert_string_equal(fakefs_get(f->fs, "dev/gaudi/by-id/" GAUDI1 "/uverbs"), "the node");
}

static void numa_nodes_are_told(void **state)
{
	struct fixture *f = *state;
	const V1beta1__ListAndWatchResponse *list;

	fakefs_remove(f->fs, "sys");
	fakefs_load(f->fs, TREES "eight-eight.tree");
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, f->view->devices);
	list = f->view->devices;
	assert_int_equal(list->n_devices, 8);
	assert_int_equal(list->devices[0]->topology->n_nodes, 1);
	assert_int_equal(list->devices[0]->topology->nodes[0]->id, 0);
	assert_int_equal(list->devices[7]->topology->nodes[0]->id, 1);
}

static void allocate_answers_with_nodes_and_environment(void **state)
{
	struct fixture *f = *state;
	_cleanup_message_ V1beta1__AllocateResponse *response = NULL;
	V1beta1__ContainerAllocateResponse *container;
	bool has_pairs = false;

	start_both(f);
	call_allocate(f, GAUDI1);
	response = call_answer(f, &v1beta1__allocate_response__descriptor);
	assert_int_equal(response->n_container_responses, 1);
	container = response->container_responses[0];
	assert_int_equal(container->n_devices, 4);
	assert_string_equal(container->devices[0]->container_path, "/dev/accel/accel1");
	assert_string_equal(container->devices[0]->host_path, "/dev/gaudi/by-id/" GAUDI1 "/accel");
	assert_string_equal(container->devices[0]->permissions, "rw");
	for (size_t i = 0; i < container->n_envs; i++)
		if (strcmp(container->envs[i]->key, "GAUDI_P2P_PAIRS") == 0)
			has_pairs = strcmp(container->envs[i]->value,
					   "/dev/accel/accel1=/dev/infiniband/uverbs1") == 0;
	assert_true(has_pairs);
	call_allocate(f, "nobody");
	assert_int_equal(f->call.error.status, GRPC_NOT_FOUND);
	assert_non_null(strstr(f->call.error.text, "nobody"));
}

static void preference_answers_every_container(void **state)
{
	struct fixture *f = *state;
	_cleanup_message_ V1beta1__PreferredAllocationResponse *response = NULL;
	char *ids[] = { (char *)"nobody", (char *)GAUDI1, (char *)GAUDI0 };
	V1beta1__ContainerPreferredAllocationRequest container =
		V1BETA1__CONTAINER_PREFERRED_ALLOCATION_REQUEST__INIT;
	V1beta1__ContainerPreferredAllocationRequest negative =
		V1BETA1__CONTAINER_PREFERRED_ALLOCATION_REQUEST__INIT;
	V1beta1__ContainerPreferredAllocationRequest *containers[] = { &container, &negative };
	V1beta1__PreferredAllocationRequest request = V1BETA1__PREFERRED_ALLOCATION_REQUEST__INIT;

	start_both(f);
	container.available_deviceids = ids;
	container.n_available_deviceids = 3;
	container.allocation_size = 1;
	negative.available_deviceids = ids;
	negative.n_available_deviceids = 3;
	negative.allocation_size = -1;
	request.container_requests = containers;
	request.n_container_requests = 2;
	call_start(f, "/v1beta1.DevicePlugin/GetPreferredAllocation", &request.base);
	WAIT_FOR(f, f->call.is_done);
	response = call_answer(f, &v1beta1__preferred_allocation_response__descriptor);
	assert_int_equal(response->n_container_responses, 2);
	assert_int_equal(response->container_responses[0]->n_deviceids, 1);
	assert_string_equal(response->container_responses[0]->deviceids[0], GAUDI0);
	assert_int_equal(response->container_responses[1]->n_deviceids, 0);
}

static void a_lost_or_vanished_device_becomes_unhealthy_and_recovers(void **state)
{
	struct fixture *f = *state;

	start_both(f);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "lost\n");
	WAIT_FOR(f, listed(f, GAUDI0, KUBELET_UNHEALTHY));
	assert_true(listed(f, GAUDI1, KUBELET_HEALTHY));
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	WAIT_FOR(f, listed(f, GAUDI0, KUBELET_HEALTHY));
	fakefs_remove(f->fs, "sys/class/accel/accel1");
	WAIT_FOR(f, listed(f, GAUDI1, KUBELET_UNHEALTHY));
	call_allocate(f, GAUDI1);
	assert_int_equal(f->call.error.status, GRPC_FAILED_PRECONDITION);
	restore_devices(f);
	WAIT_FOR(f, listed(f, GAUDI1, KUBELET_HEALTHY));
	assert_int_equal(f->view->n_registered, 1);
}

static void transient_states_send_nothing(void **state)
{
	static const char *const states[] = { "owned\n", "draining\n", "scrubbing\n", "free\n" };
	struct fixture *f = *state;
	unsigned before;

	start_both(f);
	before = f->view->n_lists;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		fakefs_put(f->fs, LAB_GAUDI0 "/state", states[i]);
		daemon_scan(f->daemon);
		step(f, 3);
	}
	assert_int_equal(f->view->n_lists, before);
}

static void a_start_waits_for_the_lease(void **state)
{
	struct fixture *f = *state;

	start_both(f);
	call_pre_start(f, GAUDI0);
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_OK);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	call_pre_start(f, GAUDI0);
	step(f, 10);
	assert_false(f->call.is_done);
	/* The kubelet's admission goes on meanwhile. */
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "scrubbing\n");
	step(f, 10);
	assert_false(f->call.is_done);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_OK);
}

/* A kubelet that waits less than 25 s gets the reason too, and not only its own deadline. */
static void a_start_is_answered_before_the_kubelet_gives_up(void **state)
{
	struct fixture *f = *state;
	char *ids[] = { (char *)GAUDI0 };
	V1beta1__PreStartContainerRequest request = V1BETA1__PRE_START_CONTAINER_REQUEST__INIT;
	struct grpc_error error;

	start_both(f);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	request.n_devices_ids = 1;
	request.devices_ids = ids;
	assert_int_equal(fake_kubelet_call(f->kubelet, "PreStartContainer", &request.base,
					   &v1beta1__pre_start_container_response__descriptor, 3000, NULL,
					   &error),
			 -ECONNRESET);
	assert_int_equal(error.status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(error.text, "draining"));
}

static void a_start_on_a_lost_device_fails_with_the_reason(void **state)
{
	struct fixture *f = *state;

	start_both(f);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	call_pre_start(f, GAUDI0);
	step(f, 3);
	fakefs_put(f->fs, LAB_GAUDI0 "/reason", "reads return all ones\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "lost\n");
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_FAILED_PRECONDITION);
	assert_non_null(strstr(f->call.error.text, "all ones"));
	call_pre_start(f, "nobody");
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_FAILED_PRECONDITION);
}

static void a_waiting_start_survives_the_kubelets_death(void **state)
{
	struct fixture *f = *state;

	start_both(f);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	call_pre_start(f, GAUDI0);
	step(f, 3);
	stop_kubelet(f);
	step(f, 5);
	fakefs_put(f->fs, LAB_GAUDI0 "/state", "free\n");
	start_kubelet(f);
	WAIT_FOR(f, f->view->n_registered == 1);
}

/* A kubelet that was killed leaves its socket, and nobody behind it. */
static void leave_dead_socket(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/kubelet.sock", f->kubelet_dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void it_survives_kubelet_restarts(void **state)
{
	struct fixture *f = *state;
	char before[128];

	start_both(f);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t begin;

		strcpy(before, f->view->endpoint);
		stop_kubelet(f);
		if (i % 2)
			leave_dead_socket(f);
		if (i % 3 == 0)
			step(f, 5);
		start_kubelet(f);
		begin = loop_now_ms();
		WAIT_FOR(f, f->view->n_registered == 1 && listed(f, GAUDI0, KUBELET_HEALTHY));
		assert_true(loop_now_ms() - begin < 2000);
		assert_string_not_equal(before, f->view->endpoint); /* a fresh name each time */
	}
}

static void it_registers_again_when_the_stream_ends(void **state)
{
	struct fixture *f = *state;

	start_both(f);
	fake_kubelet_stop_watching(f->kubelet);
	WAIT_FOR(f, f->view->n_registered == 2 && listed(f, GAUDI0, KUBELET_HEALTHY));
}

static void it_registers_again_when_its_socket_is_deleted(void **state)
{
	struct fixture *f = *state;
	char path[512];

	start_both(f);
	(void)snprintf(path, sizeof(path), "%s/%s", f->kubelet_dir, f->view->endpoint);
	assert_int_equal(unlink(path), 0);
	WAIT_FOR(f, f->view->n_registered == 2);
}

static void it_waits_for_a_kubelet_that_is_not_there_yet(void **state)
{
	struct fixture *f = *state;

	fakefs_remove(f->fs, "var/lib/kubelet");
	start_daemon(f);
	step(f, 10);
	fakefs_mkdir(f->fs, KUBELET_DIR);
	step(f, 10);
	start_kubelet(f);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
	/* And when its directory is replaced. */
	stop_kubelet(f);
	fakefs_remove(f->fs, "var/lib/kubelet");
	step(f, 5);
	fakefs_mkdir(f->fs, KUBELET_DIR);
	start_kubelet(f);
	WAIT_FOR(f, f->view->n_registered == 1);
}

static void it_tries_again_when_registration_is_refused(void **state)
{
	struct fixture *f = *state;

	start_kubelet(f);
	fake_kubelet_refuse(f->kubelet, GRPC_UNAVAILABLE, "not today");
	start_daemon(f);
	step(f, 10);
	assert_false(daemon_is_registered(f->daemon));
	fake_kubelet_refuse(f->kubelet, GRPC_OK, NULL);
	WAIT_FOR(f, daemon_is_registered(f->daemon));
}

static void a_driver_loaded_later_is_found(void **state)
{
	struct fixture *f = *state;

	fakefs_remove(f->fs, "sys/class/accel");
	start_kubelet(f);
	start_daemon(f);
	WAIT_FOR(f, f->view->n_lists > 0);
	assert_false(listed(f, GAUDI0, KUBELET_HEALTHY));
	restore_devices(f);
	WAIT_FOR(f, listed(f, GAUDI0, KUBELET_HEALTHY) && listed(f, GAUDI1, KUBELET_HEALTHY));
}

static int start_registrar(struct fixture *f, const char *resource, struct service *service,
			   struct registrar **ret)
{
	const struct registrar_options options = {
		.kubelet_dir = f->kubelet_dir,
		.registry_dir = f->options.registry_dir,
		.resource = resource,
		.service = service,
	};

	return registrar_new(f->loop, &options, ret);
}

/* Without the daemon: the fake kubelet keeps one plugin's stream at a time. */
static void nics_by_themselves_are_a_second_resource(void **state)
{
	struct fixture *f = *state;
	_cleanup_message_ V1beta1__AllocateResponse *response = NULL;
	struct core_options options = { .mode = "separate" };
	struct core core;
	struct service service = { .loop = f->loop, .core = &core, .kind = SERVICE_NIC };
	struct registrar *registrar = NULL;

	core_init(&core, &options, NULL, 1000);
	assert_true(core_update(&core, fake_scan(f->fs), 1000) >= 0);
	service_init(&service);
	start_kubelet(f);
	assert_int_equal(start_registrar(f, "habana.ai/rdma", &service, &registrar), 0);
	WAIT_FOR(f, listed(f, "0000:04:00.0", KUBELET_HEALTHY));
	assert_string_equal(f->view->resource, "habana.ai/rdma");
	call_allocate(f, "0000:08:00.0");
	response = call_answer(f, &v1beta1__allocate_response__descriptor);
	assert_int_equal(response->container_responses[0]->n_devices, 2);
	assert_string_equal(response->container_responses[0]->devices[0]->host_path,
			    "/dev/gaudi/by-id/0000:08:00.0/uverbs");
	call_pre_start(f, "0000:08:00.0");
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_OK);
	registrar_free(registrar);
	core_done(&core);
}

/* The limit is the service's own, so that the kubelet's 30 s are never reached. */
static void a_start_that_waited_too_long_fails_with_the_reason(void **state)
{
	struct fixture *f = *state;
	struct core_options options = { .mode = "paired" };
	struct core core;
	struct service service = { .loop = f->loop, .core = &core, .kind = SERVICE_GAUDI, .wait_ms = 100 };
	struct registrar *registrar = NULL;

	fakefs_put(f->fs, LAB_GAUDI0 "/state", "draining\n");
	fakefs_put(f->fs, LAB_GAUDI0 "/reason", "1 mapping held by mlx5_0\n");
	core_init(&core, &options, NULL, 1000);
	assert_true(core_update(&core, fake_scan(f->fs), 1000) >= 0);
	service_init(&service);
	start_kubelet(f);
	assert_int_equal(start_registrar(f, "habana.ai/gaudi", &service, &registrar), 0);
	WAIT_FOR(f, listed(f, GAUDI0, KUBELET_HEALTHY));
	call_pre_start(f, GAUDI0);
	WAIT_FOR(f, f->call.is_done);
	assert_int_equal(f->call.error.status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(f->call.error.text, "draining"));
	assert_non_null(strstr(f->call.error.text, "mlx5_0"));
	assert_true(list_is_empty(&service.waits));
	/* A kubelet that gives up leaves nothing behind either. */
	call_pre_start(f, GAUDI0);
	WAIT_FOR(f, !list_is_empty(&service.waits));
	grpc_client_call_free(TAKE_PTR(f->call.call));
	WAIT_FOR(f, list_is_empty(&service.waits));
	registrar_free(registrar);
	core_done(&core);
}

/* The runtime follows them when the container starts, and starts again, for which there is no other Allocate. */
static void links_that_went_missing_are_back_before_the_container_starts(void **state)
{
	static const char *const missing[] = { "dev/gaudi/by-id/" GAUDI1 "/accel", "dev/gaudi/by-id/" GAUDI1,
					       "dev/gaudi" };
	struct fixture *f = *state;

	start_both(f);
	fakefs_put(f->fs, "dev/accel/accel1", "the node");
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		fakefs_remove(f->fs, missing[i]);
		call_pre_start(f, GAUDI1);
		WAIT_FOR(f, f->call.is_done);
		assert_int_equal(f->call.error.status, GRPC_OK);
		assert_string_equal(fakefs_get(f->fs, "dev/gaudi/by-id/" GAUDI1 "/accel"), "the node");
	}
}

static void a_pairing_of_a_later_version_stops_it(void **state)
{
	struct fixture *f = *state;
	struct daemon *daemon = NULL;

	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "{\"version\":2}");
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	assert_int_equal(daemon_new(f->loop, &f->options, &daemon), -EPROTONOSUPPORT);
	assert_string_equal(fakefs_get(f->fs, "var/lib/gaudi-p2p/pairs.json"), "{\"version\":2}");
}

static void a_broken_pairing_is_kept_aside(void **state)
{
	struct fixture *f = *state;

	fakefs_put(f->fs, "var/lib/gaudi-p2p/pairs.json", "{\"version\":1,\"mo");
	start_daemon(f);
	assert_string_equal(fakefs_get(f->fs, "var/lib/gaudi-p2p/pairs.json.bad"), "{\"version\":1,\"mo");
	assert_non_null(strstr(fakefs_get(f->fs, "var/lib/gaudi-p2p/pairs.json"), "rxe0"));
}

static void dead_sockets_of_former_plugins_are_swept(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    alive = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/gaudi-p2p-dead.sock",
		       f->kubelet_dir);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/gaudi-p2p-alive.sock",
		       f->kubelet_dir);
	assert_int_equal(bind(alive, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(alive, 1), 0);
	fakefs_put(f->fs, KUBELET_DIR "/other.sock", "");
	(void)close(dead);
	registrar_sweep(f->kubelet_dir);
	assert_int_equal(access(fakefs_join(f->fs, KUBELET_DIR "/gaudi-p2p-dead.sock"), F_OK), -1);
	assert_int_equal(access(fakefs_join(f->fs, KUBELET_DIR "/gaudi-p2p-alive.sock"), F_OK), 0);
	assert_int_equal(access(fakefs_join(f->fs, KUBELET_DIR "/other.sock"), F_OK), 0);
	(void)close(alive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(it_registers_and_lists_the_devices),
	TEST(numa_nodes_are_told),
	TEST(allocate_answers_with_nodes_and_environment),
	TEST(preference_answers_every_container),
	TEST(a_lost_or_vanished_device_becomes_unhealthy_and_recovers),
	TEST(transient_states_send_nothing),
	TEST(a_start_waits_for_the_lease),
	TEST(a_start_that_waited_too_long_fails_with_the_reason),
	TEST(a_start_is_answered_before_the_kubelet_gives_up),
	TEST(a_start_on_a_lost_device_fails_with_the_reason),
	TEST(a_waiting_start_survives_the_kubelets_death),
	TEST(it_survives_kubelet_restarts),
	TEST(it_registers_again_when_the_stream_ends),
	TEST(it_registers_again_when_its_socket_is_deleted),
	TEST(it_waits_for_a_kubelet_that_is_not_there_yet),
	TEST(it_tries_again_when_registration_is_refused),
	TEST(a_driver_loaded_later_is_found),
	TEST(nics_by_themselves_are_a_second_resource),
	TEST(links_that_went_missing_are_back_before_the_container_starts),
	TEST(a_pairing_of_a_later_version_stops_it),
	TEST(a_broken_pairing_is_kept_aside),
	TEST(dead_sockets_of_former_plugins_are_swept),
};

UNIT_MAIN(tests)
