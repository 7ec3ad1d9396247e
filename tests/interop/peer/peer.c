// SPDX-License-Identifier: Apache-2.0
/*
 * Our side of the tests against grpc-go (*_test.go are the other):
 *   peer plugin DIR                       a device plugin, registered both ways
 *   peer pods SOCKET NAMESPACE NAME RES   asks PodResources, prints the devices
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "kubelet/plugin.h"
#include "kubelet/podresources.h"
#include "kubelet/registration.h"

#define RESOURCE "habana.ai/gaudi"

struct peer {
	struct loop *loop;
	struct kubelet_plugin *plugin;
	struct kubelet_plugin *watched; /* the same plugin in plugins_registry */
	struct grpc_client_call *registration;
	struct grpc_call *starting; /* PreStartContainer that is answered later */
	struct loop_source *timer;
	unsigned n_lists;
};

static int publish(struct peer *peer)
{
	V1beta1__Device device = V1BETA1__DEVICE__INIT;
	V1beta1__ListAndWatchResponse list = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
	V1beta1__TopologyInfo topology = V1BETA1__TOPOLOGY_INFO__INIT;
	V1beta1__NUMANode node = V1BETA1__NUMANODE__INIT, *nodes = &node;
	V1beta1__Device *devices = &device;
	char id[32];

	(void)snprintf(id, sizeof(id), "list-%u", peer->n_lists++);
	node.id = 1;
	topology.nodes = &nodes;
	topology.n_nodes = 1;
	device.id = id;
	device.health = (char *)KUBELET_HEALTHY;
	device.topology = &topology;
	list.devices = &devices;
	list.n_devices = 1;
	return kubelet_plugin_publish(peer->plugin, &list);
}

/* The id asked for says what to answer: "fail", "big" (3 MiB), "huge" (5 MiB), or anything. */
static void allocate(struct grpc_call *call, const V1beta1__AllocateRequest *request, void *data)
{
	V1beta1__ContainerAllocateResponse container = V1BETA1__CONTAINER_ALLOCATE_RESPONSE__INIT;
	V1beta1__ContainerAllocateResponse *containers = &container;
	V1beta1__AllocateResponse response = V1BETA1__ALLOCATE_RESPONSE__INIT;
	V1beta1__ContainerAllocateResponse__EnvsEntry env =
		V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ENVS_ENTRY__INIT;
	V1beta1__ContainerAllocateResponse__EnvsEntry *envs = &env;
	V1beta1__DeviceSpec spec = V1BETA1__DEVICE_SPEC__INIT, *specs = &spec;
	_cleanup_free_ char *value = NULL;
	struct peer *peer = data;
	const char *id;
	size_t len;

	if (request->n_container_requests != 1 || request->container_requests[0]->n_devices_ids != 1) {
		grpc_call_fail(call, GRPC_INVALID_ARGUMENT, "one device, please");
		return;
	}
	id = request->container_requests[0]->devices_ids[0];
	if (strcmp(id, "fail") == 0) {
		grpc_call_fail(call, GRPC_FAILED_PRECONDITION, "100%% of %s is gone: größer\n", id);
		return;
	}
	len = strcmp(id, "big") == 0 ? 3u << 20 : strcmp(id, "huge") == 0 ? 5u << 20 : strlen(id);
	value = malloc(len + 1);
	if (!value) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	memset(value, 'v', len);
	if (len < 1000)
		memcpy(value, id, len);
	value[len] = '\0';
	env.key = (char *)"ID";
	env.value = value;
	spec.container_path = (char *)"/dev/accel/accel0";
	spec.host_path = (char *)"/dev/gaudi/by-id/x/accel";
	spec.permissions = (char *)"rw";
	container.n_envs = container.n_devices = 1;
	container.envs = &envs;
	container.devices = &specs;
	container.envs = &envs;
	response.n_container_responses = 1;
	response.container_responses = &containers;
	kubelet_call_reply(call, &response.base);
	(void)publish(peer);
}

static void preferred(struct grpc_call *call, const V1beta1__PreferredAllocationRequest *request, void *data)
{
	V1beta1__ContainerPreferredAllocationResponse container =
		V1BETA1__CONTAINER_PREFERRED_ALLOCATION_RESPONSE__INIT;
	V1beta1__ContainerPreferredAllocationResponse *containers = &container;
	V1beta1__PreferredAllocationResponse response = V1BETA1__PREFERRED_ALLOCATION_RESPONSE__INIT;
	const V1beta1__ContainerPreferredAllocationRequest *asked;

	(void)data;
	if (request->n_container_requests != 1 || request->container_requests[0]->allocation_size < 0) {
		grpc_call_fail(call, GRPC_INVALID_ARGUMENT, "one container, please");
		return;
	}
	asked = request->container_requests[0];
	container.deviceids = asked->available_deviceids;
	container.n_deviceids = (size_t)asked->allocation_size;
	if (container.n_deviceids > asked->n_available_deviceids)
		container.n_deviceids = asked->n_available_deviceids;
	response.n_container_responses = 1;
	response.container_responses = &containers;
	kubelet_call_reply(call, &response.base);
}

static void on_start_gone(struct grpc_call *call, void *data)
{
	struct peer *peer = data;

	(void)call;
	peer->starting = NULL;
	loop_timer_cancel(peer->timer);
	puts("prestart gone");
}

static int on_timer(void *data)
{
	V1beta1__PreStartContainerResponse response = V1BETA1__PRE_START_CONTAINER_RESPONSE__INIT;
	struct peer *peer = data;

	kubelet_call_reply(TAKE_PTR(peer->starting), &response.base);
	return 0;
}

static void pre_start(struct grpc_call *call, const V1beta1__PreStartContainerRequest *request, void *data)
{
	struct peer *peer = data;

	(void)request;
	if (peer->starting) {
		grpc_call_fail(call, GRPC_ABORTED, "one at a time");
		return;
	}
	printf("prestart %lld\n", (long long)grpc_call_time_left_ms(call));
	peer->starting = call;
	grpc_call_set_gone(call, on_start_gone, peer);
	loop_timer_set(peer->timer, 300);
}

static void watchers(unsigned n, void *data)
{
	(void)data;
	printf("watchers %u\n", n);
}

static void on_notified(bool registered, const char *error, void *data)
{
	(void)data;
	printf("notified %d %s\n", registered, error);
}

static const struct kubelet_plugin_ops ops = { allocate, preferred, pre_start, watchers, on_notified };

static void on_registered(const struct grpc_result *result, void *data)
{
	(void)data;
	printf("registered %d %s\n", result->r, result->error.text);
}

static void on_ended(void *data)
{
	struct peer *peer = data;

	loop_exit(peer->loop, 0);
}

static int on_term(const struct signalfd_siginfo *info, void *data)
{
	struct peer *peer = data;

	(void)info;
	kubelet_plugin_shutdown(peer->plugin, 2000, on_ended, peer);
	return 0;
}

static int run_plugin(const char *dir)
{
	struct kubelet_plugin_options watched;
	struct kubelet_plugin_options options = { .pre_start_required = true,
						  .preferred_available = true,
						  .ops = &ops };
	struct kubelet_registration registration = {
		.endpoint = "plugin.sock",
		.resource = RESOURCE,
		.pre_start_required = true,
		.preferred_available = true,
		.timeout_ms = 10000,
	};
	char socket[108], kubelet[108], reg[108];
	struct loop_source *term;
	struct peer peer = { 0 };
	int r;

	(void)snprintf(socket, sizeof(socket), "%.80s/plugin.sock", dir);
	(void)snprintf(kubelet, sizeof(kubelet), "%.80s/kubelet.sock", dir);
	(void)snprintf(reg, sizeof(reg), "%.80s/gaudi-reg.sock", dir);
	options.socket = socket;
	options.data = &peer;
	watched = options;
	watched.socket = reg;
	watched.watched_as = RESOURCE;
	registration.kubelet_socket = kubelet;
	if ((r = loop_new(&peer.loop)) < 0 ||
	    (r = kubelet_plugin_new(peer.loop, &options, &peer.plugin)) < 0 ||
	    (r = kubelet_plugin_new(peer.loop, &watched, &peer.watched)) < 0 ||
	    (r = loop_add_timer(peer.loop, on_timer, &peer, &peer.timer)) < 0 ||
	    (r = loop_add_signal(peer.loop, SIGTERM, on_term, &peer, &term)) < 0 ||
	    (r = publish(&peer)) < 0 ||
	    (r = kubelet_register(peer.loop, &registration, on_registered, &peer, &peer.registration)) < 0)
		return log_error_errno(r, "cannot serve");
	r = loop_run(peer.loop);
	grpc_client_call_free(peer.registration);
	kubelet_plugin_free(peer.watched);
	kubelet_plugin_free(peer.plugin);
	loop_source_free(peer.timer);
	loop_source_free(term);
	loop_free(peer.loop);
	return r;
}

static int run_pods(char **argv)
{
	_cleanup_(podresources_devices_done) struct podresources_devices devices = { 0 };
	struct grpc_error error;
	int r;

	r = podresources_find_pod(argv[0], 5000, argv[1], argv[2], argv[3], &devices, &error);
	if (r < 0) {
		printf("%s: %s (%s)\n", grpc_status_name(error.status), error.text, strerrorname_np(-r));
		return r;
	}
	for (size_t i = 0; i < devices.n; i++)
		puts(devices.ids[i]);
	return 0;
}

int main(int argc, char **argv)
{
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_init(NULL, LOG_LEVEL_DEBUG, LOG_TEXT);
	if (argc == 3 && strcmp(argv[1], "plugin") == 0)
		return run_plugin(argv[2]) < 0 ? 1 : 0;
	if (argc == 6 && strcmp(argv[1], "pods") == 0)
		return run_pods(argv + 2) < 0 ? 1 : 0;
	log_error("usage: peer plugin DIR | peer pods SOCKET NAMESPACE NAME RESOURCE");
	return 2;
}
