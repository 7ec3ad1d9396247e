// SPDX-License-Identifier: Apache-2.0
#include "service.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "nodes.h"

/* A call of PreStartContainer that cannot be answered yet. */
struct wait {
	struct list node;
	struct service *service;
	struct grpc_call *call;
	struct loop_source *timer;
	unsigned wait_ms;
	size_t n;
	char **ids;
};

void service_init(struct service *service)
{
	list_init(&service->waits);
	if (!service->wait_ms)
		service->wait_ms = SERVICE_WAIT_MS;
}

static void rescan(struct service *service)
{
	if (service->rescan)
		service->rescan(service->data);
}

/* --- ListAndWatch ---------------------------------------------------------- */

/* A message's device with room for all that it points to. */
struct listed {
	V1beta1__Device device;
	V1beta1__TopologyInfo topology;
	V1beta1__NUMANode node;
	V1beta1__NUMANode *nodes[1];
};

static void listed_set(struct listed *listed, const char *id, bool healthy, int numa_node)
{
	v1beta1__device__init(&listed->device);
	listed->device.id = (char *)id;
	listed->device.health = healthy ? KUBELET_HEALTHY : KUBELET_UNHEALTHY;
	if (numa_node < 0)
		return;
	v1beta1__topology_info__init(&listed->topology);
	v1beta1__numanode__init(&listed->node);
	listed->node.id = numa_node;
	listed->nodes[0] = &listed->node;
	listed->topology.n_nodes = 1;
	listed->topology.nodes = listed->nodes;
	listed->device.topology = &listed->topology;
}

int service_publish(const struct service *service, struct kubelet_plugin *plugin)
{
	const struct core *core = service->core;
	size_t n = service->kind == SERVICE_GAUDI ? core->n_device : core->n_nic, count = 0;
	_cleanup_free_ struct listed *listed = calloc(n + 1, sizeof(*listed));
	_cleanup_free_ V1beta1__Device **devices = calloc(n + 1, sizeof(*devices));
	V1beta1__ListAndWatchResponse response = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;

	if (!listed || !devices)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (service->kind == SERVICE_GAUDI)
			listed_set(&listed[count], core->device[i].gaudi->id, core->device[i].health.healthy,
				   core->device[i].gaudi->numa_node);
		else if (core->nic[i].is_offered)
			listed_set(&listed[count], core->nic[i].name.pci, !core->nic[i].missing_ms,
				   core->nic[i].numa_node);
		else
			continue;
		devices[count] = &listed[count].device;
		count++;
	}
	response.n_devices = count;
	response.devices = devices;
	return kubelet_plugin_publish(plugin, &response);
}

/* --- Allocate -------------------------------------------------------------- */

/* A container's answer with all that it points to; strings belong to the grant. */
struct answer {
	V1beta1__ContainerAllocateResponse response;
	struct grant grant;
	V1beta1__DeviceSpec *specs;
	V1beta1__DeviceSpec **spec_pointers;
	V1beta1__CDIDevice *cdi;
	V1beta1__CDIDevice **cdi_pointers;
	V1beta1__ContainerAllocateResponse__EnvsEntry envs[ARRAY_SIZE(((struct grant *)0)->env)];
	V1beta1__ContainerAllocateResponse__EnvsEntry *env_pointers[ARRAY_SIZE(((struct grant *)0)->env)];
};

static void answer_done(struct answer *answer)
{
	grant_done(&answer->grant);
	free(answer->specs);
	free(answer->spec_pointers);
	free(answer->cdi);
	free(answer->cdi_pointers);
}

static int answer_fill(struct answer *answer)
{
	const struct grant *grant = &answer->grant;

	v1beta1__container_allocate_response__init(&answer->response);
	answer->specs = calloc(grant->n_node + 1, sizeof(*answer->specs));
	answer->spec_pointers = calloc(grant->n_node + 1, sizeof(*answer->spec_pointers));
	answer->cdi = calloc(grant->n_cdi + 1, sizeof(*answer->cdi));
	answer->cdi_pointers = calloc(grant->n_cdi + 1, sizeof(*answer->cdi_pointers));
	if (!answer->specs || !answer->spec_pointers || !answer->cdi || !answer->cdi_pointers)
		return -ENOMEM;
	for (size_t i = 0; i < grant->n_node; i++) {
		v1beta1__device_spec__init(&answer->specs[i]);
		answer->specs[i].host_path = grant->node[i].host_path;
		answer->specs[i].container_path = grant->node[i].container_path;
		answer->specs[i].permissions = NODES_PERMISSIONS;
		answer->spec_pointers[i] = &answer->specs[i];
	}
	for (size_t i = 0; i < grant->n_env; i++) {
		v1beta1__container_allocate_response__envs_entry__init(&answer->envs[i]);
		answer->envs[i].key = (char *)grant->env[i].name;
		answer->envs[i].value = grant->env[i].value;
		answer->env_pointers[i] = &answer->envs[i];
	}
	for (size_t i = 0; i < grant->n_cdi; i++) {
		v1beta1__cdidevice__init(&answer->cdi[i]);
		answer->cdi[i].name = grant->cdi[i];
		answer->cdi_pointers[i] = &answer->cdi[i];
	}
	answer->response.n_cdi_devices = grant->n_cdi;
	answer->response.cdi_devices = answer->cdi_pointers;
	answer->response.n_devices = grant->n_node;
	answer->response.devices = answer->spec_pointers;
	answer->response.n_envs = grant->n_env;
	answer->response.envs = answer->env_pointers;
	return 0;
}

static int answer_build(const struct service *service, const V1beta1__ContainerAllocateRequest *request,
			struct answer *answer, char *why, size_t size)
{
	const char *const *ids = (const char *const *)request->devices_ids;
	int r;

	if (service->kind == SERVICE_GAUDI)
		r = grant_build(service->core, &service->grant, ids, request->n_devices_ids, &answer->grant,
				why, size);
	else
		r = grant_build_nics(service->core, &service->grant, ids, request->n_devices_ids,
				     &answer->grant, why, size);
	if (r < 0)
		return r;
	return answer_fill(answer);
}

static enum grpc_status status_of(int r)
{
	switch (r) {
	case -EINVAL:
		return GRPC_INVALID_ARGUMENT;
	case -ENOENT:
		return GRPC_NOT_FOUND;
	case -ENODEV:
		return GRPC_FAILED_PRECONDITION;
	case -ENOMEM:
		return GRPC_RESOURCE_EXHAUSTED;
	default:
		return GRPC_INTERNAL;
	}
}

static void mark_allocated(struct service *service, const V1beta1__ContainerAllocateRequest *request,
			   const struct grant *grant)
{
	const char *pairs = grant_find_env(grant, "GAUDI_P2P_PAIRS"),
		   *nodes = grant_find_env(grant, "HL_VISIBLE_DEVICES");

	for (size_t i = 0; service->kind == SERVICE_GAUDI && i < request->n_devices_ids; i++)
		core_allocate(service->core, request->devices_ids[i], loop_now_ms());
	log_info("allocated %zu device(s)%s%s", request->n_devices_ids, pairs || nodes ? ": " : "",
		 pairs	 ? pairs
		 : nodes ? nodes
			 : "");
}

static void on_allocate(struct grpc_call *call, const V1beta1__AllocateRequest *request, void *data)
{
	struct service *service = data;
	size_t n = request->n_container_requests;
	struct answer *answers = calloc(n + 1, sizeof(*answers));
	V1beta1__ContainerAllocateResponse **pointers = calloc(n + 1, sizeof(*pointers));
	V1beta1__AllocateResponse response = V1BETA1__ALLOCATE_RESPONSE__INIT;
	char why[SYSFS_LINE_MAX + 128] = "out of memory";
	int r = answers && pointers ? 0 : -ENOMEM;

	if (service->catch_up)
		service->catch_up(service->data);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = answer_build(service, request->container_requests[i], &answers[i], why, sizeof(why));
		pointers[i] = &answers[i].response;
	}
	if (r == 0) {
		for (size_t i = 0; i < n; i++)
			mark_allocated(service, request->container_requests[i], &answers[i].grant);
		response.n_container_responses = n;
		response.container_responses = pointers;
		kubelet_call_reply(call, &response.base);
	} else {
		log_warning("Allocate refused: %s", why);
		grpc_call_fail(call, status_of(r), "%s", why);
	}
	for (size_t i = 0; answers && i < n; i++)
		answer_done(&answers[i]);
	free(answers);
	free(pointers);
}

/* --- GetPreferredAllocation ------------------------------------------------ */

static int preference(const struct service *service,
		      const V1beta1__ContainerPreferredAllocationRequest *request,
		      V1beta1__ContainerPreferredAllocationResponse *response)
{
	size_t size = request->allocation_size > 0 ? (size_t)request->allocation_size : 0;
	const char **chosen;
	int n;

	if (size > request->n_available_deviceids)
		size = request->n_available_deviceids;
	chosen = calloc(size + 1, sizeof(*chosen));
	if (!chosen)
		return -ENOMEM;
	n = core_prefer(service->core, (const char *const *)request->available_deviceids,
			request->n_available_deviceids, (const char *const *)request->must_include_deviceids,
			request->n_must_include_deviceids, size, chosen);
	if (n < 0) {
		free(chosen);
		return n;
	}
	response->n_deviceids = (size_t)n;
	response->deviceids = (char **)chosen;
	return 0;
}

/* Never an error: that would fail the pod. An empty list leaves the choice to the kubelet. */
static void on_preferred(struct grpc_call *call, const V1beta1__PreferredAllocationRequest *request,
			 void *data)
{
	struct service *service = data;
	size_t n = request->n_container_requests;
	V1beta1__PreferredAllocationResponse response = V1BETA1__PREFERRED_ALLOCATION_RESPONSE__INIT;
	V1beta1__ContainerPreferredAllocationResponse *containers = calloc(n + 1, sizeof(*containers));
	V1beta1__ContainerPreferredAllocationResponse **pointers = calloc(n + 1, sizeof(*pointers));

	for (size_t i = 0; containers && pointers && i < n; i++) {
		v1beta1__container_preferred_allocation_response__init(&containers[i]);
		if (preference(service, request->container_requests[i], &containers[i]) < 0)
			log_debug("no preference for want of memory");
		pointers[i] = &containers[i];
	}
	if (containers && pointers) {
		response.n_container_responses = n;
		response.container_responses = pointers;
	}
	kubelet_call_reply(call, &response.base);
	for (size_t i = 0; containers && i < n; i++)
		free(containers[i].deviceids);
	free(containers);
	free(pointers);
}

/* --- PreStartContainer ----------------------------------------------------- */

static void wait_free(struct wait *wait)
{
	if (!wait)
		return;
	list_unlink(&wait->node);
	loop_source_free(wait->timer);
	for (size_t i = 0; i < wait->n; i++)
		free(wait->ids[i]);
	free(wait->ids);
	free(wait);
}
DEFINE_CLEANUP(struct wait *, wait_free)

/* The worst of all devices; reason is that device's. */
static enum core_ready all_ready(const struct service *service, char *const *ids, size_t n, char *reason,
				 size_t size)
{
	enum core_ready worst = CORE_READY;
	char text[SYSFS_LINE_MAX + 128];

	for (size_t i = 0; service->kind == SERVICE_GAUDI && i < n; i++) {
		enum core_ready ready = core_is_ready(service->core, ids[i], text, sizeof(text));

		if (ready > worst) {
			worst = ready;
			(void)snprintf(reason, size, "%s", text);
		}
	}
	return worst;
}

static void reply_started(struct grpc_call *call)
{
	V1beta1__PreStartContainerResponse response = V1BETA1__PRE_START_CONTAINER_RESPONSE__INIT;

	kubelet_call_reply(call, &response.base);
}

/* Answers if there is something to answer; true when call is gone. */
static bool try_answer(const struct service *service, struct grpc_call *call, char *const *ids, size_t n)
{
	char reason[SYSFS_LINE_MAX + 128];

	switch (all_ready(service, ids, n, reason, sizeof(reason))) {
	case CORE_READY:
		reply_started(call);
		return true;
	case CORE_NEVER:
		log_warning("container not started: %s", reason);
		grpc_call_fail(call, GRPC_FAILED_PRECONDITION, "%s", reason);
		return true;
	default:
		return false;
	}
}

static int on_wait_over(void *data)
{
	struct wait *wait = data;
	char reason[SYSFS_LINE_MAX + 128] = "";

	/* Off the list: the scan answers and frees the waits that are on it. */
	list_unlink(&wait->node);
	rescan(wait->service);
	if (!try_answer(wait->service, wait->call, wait->ids, wait->n)) {
		(void)all_ready(wait->service, wait->ids, wait->n, reason, sizeof(reason));
		log_warning("container not started after %u s: %s", wait->wait_ms / 1000, reason);
		grpc_call_fail(wait->call, GRPC_UNAVAILABLE, "%s after a wait of %u s", reason,
			       wait->wait_ms / 1000);
	}
	wait_free(wait);
	return 0;
}

static void on_wait_gone(struct grpc_call *call, void *data)
{
	(void)call;
	wait_free(data);
}

void service_check_waits(struct service *service)
{
	struct list *node, *tmp;

	list_for_each_safe(node, tmp, &service->waits) {
		struct wait *wait = list_entry(node, struct wait, node);

		if (try_answer(service, wait->call, wait->ids, wait->n))
			wait_free(wait);
	}
}

static struct wait *wait_new(struct service *service, char *const *ids, size_t n)
{
	_cleanup_(wait_freep) struct wait *wait = calloc(1, sizeof(*wait));

	if (!wait)
		return NULL;
	list_init(&wait->node);
	wait->service = service;
	wait->ids = calloc(n + 1, sizeof(*wait->ids));
	if (!wait->ids || loop_add_timer(service->loop, on_wait_over, wait, &wait->timer) < 0)
		return NULL;
	for (; wait->n < n; wait->n++) {
		wait->ids[wait->n] = strdup(ids[wait->n]);
		if (!wait->ids[wait->n])
			return NULL;
	}
	return TAKE_PTR(wait);
}

static void on_pre_start(struct grpc_call *call, const V1beta1__PreStartContainerRequest *request, void *data)
{
	struct service *service = data;
	struct wait *wait;
	int64_t left_ms;
	char reason[SYSFS_LINE_MAX + 128] = "";

	rescan(service);
	if (try_answer(service, call, request->devices_ids, request->n_devices_ids))
		return;
	(void)all_ready(service, request->devices_ids, request->n_devices_ids, reason, sizeof(reason));
	log_info("container waits: %s", reason);
	wait = wait_new(service, request->devices_ids, request->n_devices_ids);
	if (!wait) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	wait->call = call;
	grpc_call_set_gone(call, on_wait_gone, wait);
	list_append(&service->waits, &wait->node);
	wait->wait_ms = service->wait_ms;
	left_ms = grpc_call_time_left_ms(call);
	if (left_ms >= 0 && wait->wait_ms > left_ms * 5 / 6)
		wait->wait_ms = (unsigned)(left_ms * 5 / 6); /* the reason is to arrive in time */
	loop_timer_set(wait->timer, wait->wait_ms);
}

static void on_watchers(unsigned n, void *data)
{
	struct service *service = data;

	if (service->watchers)
		service->watchers(n, service->registrar);
}

static void on_notified(bool registered, const char *error, void *data)
{
	struct service *service = data;

	if (service->notified)
		service->notified(registered, error, service->registrar);
}

const struct kubelet_plugin_ops service_ops = {
	.allocate = on_allocate,
	.preferred = on_preferred,
	.pre_start = on_pre_start,
	.watchers = on_watchers,
	.notified = on_notified,
};
