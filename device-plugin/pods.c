// SPDX-License-Identifier: Apache-2.0
#include "pods.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "kubelet/podresources.h"

struct pods {
	struct loop *loop;
	struct pods_options options;
	struct loop_source *timer;
	struct podresources_query *query; /* under way */
	uint64_t asked_ms;		  /* when it was started */
	uint64_t not_before_ms;		  /* the next one */
	uint64_t rivals_ms;		  /* when other plugins are to be looked at again */
	int said;			  /* failure that was said; 0: none */
	bool was_looked;
	size_t n_rival;
	char **rival; /* what was said of other plugins' devices */
};

/* A failure that lasts is said once, and its end too. */
static void say(struct pods *pods, int r, const struct grpc_error *error)
{
	const char *text = error && error->text[0] ? error->text : strerror(-r);

	if (r < 0 && pods->said == 0)
		log_warning(
			"%s: cannot ask the kubelet who holds which device (%s); until it answers, leases "
			"held by others than pods and devices that another plugin offers too go unnoticed",
			pods->options.socket, text);
	else if (r >= 0 && pods->said < 0)
		log_info("%s: the kubelet answers", pods->options.socket);
	pods->said = r < 0 ? r : 0;
}

/* --- who holds what ------------------------------------------------------------ */

/* The devices of our Gaudi resource that pods hold; the ids belong to list. */
static int collect(const V1__ListPodResourcesResponse *list, const char *resource, const char ***ret,
		   size_t *ret_n)
{
	_cleanup_free_ const char **ids = NULL;
	size_t n = 0;

	for (size_t p = 0; p < list->n_pod_resources; p++) {
		const V1__PodResources *pod = list->pod_resources[p];

		for (size_t c = 0; c < pod->n_containers; c++) {
			for (size_t d = 0; d < pod->containers[c]->n_devices; d++) {
				const V1__ContainerDevices *devices = pod->containers[c]->devices[d];
				const char **grown;

				if (strcmp(devices->resource_name, resource) != 0 || !devices->n_device_ids)
					continue;
				grown = reallocarray(ids, n + devices->n_device_ids, sizeof(*ids));
				if (!grown)
					return -ENOMEM;
				ids = grown;
				for (size_t i = 0; i < devices->n_device_ids; i++)
					ids[n++] = devices->device_ids[i];
			}
		}
	}
	*ret = TAKE_PTR(ids);
	*ret_n = n;
	return 0;
}

static void name_holders(struct pods *pods)
{
	for (size_t i = 0; i < pods->options.core->n_device; i++) {
		struct device *device = &pods->options.core->device[i];
		char holder[128];

		if (!core_is_doubtful(device) || device->holder)
			continue;
		inventory_read_holder(pods->options.sysfs, device->gaudi, holder, sizeof(holder));
		if (holder[0])
			device->holder = strdup(holder);
	}
}

/* Ends a query; false when it failed. */
static bool finish(struct pods *pods, int r, const struct grpc_error *error)
{
	uint64_t now_ms = loop_now_ms();

	podresources_query_free(TAKE_PTR(pods->query));
	say(pods, r, error);
	pods->not_before_ms = now_ms + (r < 0 ? PODS_RETRY_MS : PODS_INTERVAL_MS);
	return r >= 0;
}

static void on_list(int r, const V1__ListPodResourcesResponse *list, const struct grpc_error *error,
		    void *data)
{
	_cleanup_free_ const char **ids = NULL;
	struct pods *pods = data;
	size_t n = 0;

	if (r == 0)
		r = collect(list, pods->options.resource_gaudi, &ids, &n);
	if (finish(pods, r, error)) {
		name_holders(pods);
		if (core_account(pods->options.core, ids, n, list->n_pod_resources, pods->asked_ms,
				 loop_now_ms()) &&
		    pods->options.changed)
			pods->options.changed(pods->options.data);
	}
	pods_check(pods);
}

/* --- other plugins -------------------------------------------------------------- */

static bool nic_is_called(const struct pairs_nic *nic, const char *id)
{
	return strcmp(nic->pci, id) == 0 || strcmp(nic->rdma, id) == 0 ||
	       (nic->netdev[0] && strcmp(nic->netdev, id) == 0) ||
	       (nic->uverbs[0] && strcmp(nic->uverbs, id) == 0);
}

/* What we hand out under that name, in words; NULL: nothing. */
static const char *ours(const struct core *core, const char *id)
{
	for (size_t i = 0; i < core->n_device; i++)
		if (strcmp(core->device[i].gaudi->id, id) == 0 || strcmp(core->device[i].gaudi->pci, id) == 0)
			return "Gaudi";
	for (size_t i = 0; core->pairs && i < core->pairs->n; i++)
		if (core->pairs->pair[i].has_nic && nic_is_called(&core->pairs->pair[i].nic, id))
			return "NIC";
	for (size_t i = 0; i < core->n_nic; i++)
		if (core->nic[i].is_offered && nic_is_called(&core->nic[i].name, id))
			return "NIC";
	return NULL;
}

static void rivals_free(char **rival, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(rival[i]);
	free(rival);
}

static bool rivals_have(char *const *rival, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rival[i], text) == 0)
			return true;
	return false;
}

struct rivals {
	char **text;
	size_t n;
};

static int rivals_add(struct rivals *found, const struct core *core, const V1__ContainerDevices *devices)
{
	for (size_t i = 0; i < devices->n_device_ids; i++) {
		const char *what = ours(core, devices->device_ids[i]);
		_cleanup_free_ char *text = NULL;
		char **grown;

		if (!what)
			continue;
		if (asprintf(&text, "%s %s: resource %s of another plugin", what, devices->device_ids[i],
			     devices->resource_name) < 0) {
			text = NULL;
			return -ENOMEM;
		}
		if (rivals_have(found->text, found->n, text))
			continue;
		grown = reallocarray(found->text, found->n + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		found->text = grown;
		found->text[found->n++] = TAKE_PTR(text);
	}
	return 0;
}

/* Says what is new since the last time, and what has passed. */
static void rivals_say(struct pods *pods, const struct rivals *found)
{
	for (size_t i = 0; i < found->n; i++)
		if (!rivals_have(pods->rival, pods->n_rival, found->text[i]))
			log_warning(
				"%s offers it too: two pods may be given it at once; exclude it there or here "
				"(--exclude-nic)",
				found->text[i]);
	for (size_t i = 0; i < pods->n_rival; i++)
		if (!rivals_have(found->text, found->n, pods->rival[i]))
			log_info("%s no longer offers it", pods->rival[i]);
}

static void on_allocatable(int r, const V1__AllocatableResourcesResponse *answer,
			   const struct grpc_error *error, void *data)
{
	struct pods *pods = data;
	struct rivals found = {};

	bool cannot = r < 0 && error->status == GRPC_UNIMPLEMENTED; /* an old kubelet, and none the worse */

	for (size_t i = 0; r == 0 && i < answer->n_devices; i++) {
		const char *resource = answer->devices[i]->resource_name;

		if (strcmp(resource, pods->options.resource_gaudi) != 0 &&
		    strcmp(resource, pods->options.resource_nic) != 0)
			r = rivals_add(&found, pods->options.core, answer->devices[i]);
	}
	if (finish(pods, cannot ? 0 : r, error) && r == 0) {
		rivals_say(pods, &found);
		rivals_free(pods->rival, pods->n_rival);
		pods->rival = TAKE_PTR(found.text);
		pods->n_rival = TAKE(found.n, 0);
		pods->was_looked = true;
	}
	pods->rivals_ms = loop_now_ms() + PODS_RIVALS_MS;
	rivals_free(found.text, found.n);
	pods_check(pods);
}

size_t pods_rivals(const struct pods *pods)
{
	return pods->was_looked ? pods->n_rival : SIZE_MAX;
}

/* --- asking --------------------------------------------------------------------- */

static uint64_t until(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms > now_ms ? then_ms - now_ms : 0;
}

static void ask(struct pods *pods, bool rivals, uint64_t now_ms)
{
	const char *socket = pods->options.socket;
	int r;

	pods->asked_ms = now_ms;
	if (rivals)
		r = podresources_query_allocatable(pods->loop, socket, 0, on_allocatable, pods, &pods->query);
	else
		r = podresources_query(pods->loop, socket, 0, on_list, pods, &pods->query);
	if (r < 0) {
		(void)finish(pods, r, NULL);
		loop_timer_set(pods->timer, PODS_RETRY_MS);
	}
}

void pods_check(struct pods *pods)
{
	uint64_t now_ms = loop_now_ms(), wait = until(pods->not_before_ms, now_ms);
	uint64_t list = core_ask_ms(pods->options.core, now_ms), rivals = UINT64_MAX, next;

	if (pods->query)
		return;
	if (pods->options.core->n_device > 0 || pods->options.core->n_nic > 0)
		rivals = until(pods->rivals_ms, now_ms);
	next = list < rivals ? list : rivals;
	if (next == UINT64_MAX) {
		loop_timer_cancel(pods->timer);
		return;
	}
	if (next > 0 || wait > 0) {
		loop_timer_set(pods->timer, next > wait ? next : wait);
		return;
	}
	ask(pods, list > 0, now_ms);
}

static int on_timer(void *data)
{
	pods_check(data);
	return 0;
}

/* --- life ------------------------------------------------------------------------ */

int pods_new(struct loop *loop, const struct pods_options *options, struct pods **ret)
{
	_cleanup_(pods_freep) struct pods *pods = calloc(1, sizeof(*pods));
	int r;

	if (!pods)
		return -ENOMEM;
	pods->loop = loop;
	pods->options = *options;
	r = loop_add_timer(loop, on_timer, pods, &pods->timer);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pods);
	return 0;
}

void pods_free(struct pods *pods)
{
	if (!pods)
		return;
	podresources_query_free(pods->query);
	loop_source_free(pods->timer);
	rivals_free(pods->rival, pods->n_rival);
	free(pods);
}
