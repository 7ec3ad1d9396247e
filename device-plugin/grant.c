// SPDX-License-Identifier: Apache-2.0
#include "grant.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "links.h"

#define RDMA_CM "/dev/infiniband/rdma_cm"

void grant_done(struct grant *grant)
{
	for (size_t i = 0; i < grant->n_node; i++) {
		free(grant->node[i].host_path);
		free(grant->node[i].container_path);
	}
	free(grant->node);
	for (size_t i = 0; i < grant->n_env; i++)
		free(grant->env[i].value);
	*grant = (struct grant){};
}

const char *grant_find_env(const struct grant *grant, const char *name)
{
	for (size_t i = 0; i < grant->n_env; i++)
		if (strcmp(grant->env[i].name, name) == 0)
			return grant->env[i].value;
	return NULL;
}

/* Adds a node; host NULL: the same path on the host. */
static int add_node(struct grant *grant, const char *host, const char *container)
{
	struct grant_node *grown = reallocarray(grant->node, grant->n_node + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grant->node = grown;
	grown = &grant->node[grant->n_node++];
	grown->host_path = strdup(host ? host : container);
	grown->container_path = strdup(container);
	return grown->host_path && grown->container_path ? 0 : -ENOMEM;
}

/* The environment variable of that name, made when it is new. */
static struct grant_env *env_get(struct grant *grant, const char *name)
{
	for (size_t i = 0; i < grant->n_env; i++)
		if (strcmp(grant->env[i].name, name) == 0)
			return &grant->env[i];
	grant->env[grant->n_env] = (struct grant_env){ .name = name };
	return &grant->env[grant->n_env++];
}

static int env_append(struct grant *grant, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends to a list that is separated by commas. */
static int env_append(struct grant *grant, const char *name, const char *format, ...)
{
	struct grant_env *env = env_get(grant, name);
	_cleanup_free_ char *item = NULL;
	char *joined;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&item, format, args);
	va_end(args);
	if (r < 0) {
		item = NULL;
		return -ENOMEM;
	}
	if (asprintf(&joined, "%s%s%s", env->value ? env->value : "", env->value ? "," : "", item) < 0)
		return -ENOMEM;
	free(env->value);
	env->value = joined;
	return 0;
}

/* The host's path of one of a Gaudi's nodes. */
static int add_gaudi_node(struct grant *grant, bool linked, const char *id, const char *link,
			  const char *container)
{
	char host[LINKS_PATH_MAX];

	if (linked)
		links_path(host, id, link);
	return add_node(grant, linked ? host : NULL, container);
}

static int add_gaudi(const struct core *core, const struct grant_options *options,
		     const struct device *device, struct grant *grant)
{
	const struct gaudi *gaudi = &device->gaudi;
	const struct pairs_nic *nic = core_nic_of(core, gaudi->id);
	bool linked = !options || !options->has_links || options->has_links(gaudi->id, options->data);
	char accel[64], other[64];
	int r;

	(void)snprintf(accel, sizeof(accel), "/dev/accel/accel%u", gaudi->minor);
	r = add_gaudi_node(grant, linked, gaudi->id, LINKS_ACCEL, accel);
	if (r == 0 && gaudi->has_control) {
		(void)snprintf(other, sizeof(other), "/dev/accel/accel_controlD%u", gaudi->minor);
		r = add_gaudi_node(grant, linked, gaudi->id, LINKS_CONTROL, other);
	}
	if (r == 0 && nic && nic->uverbs[0]) {
		(void)snprintf(other, sizeof(other), "/dev/infiniband/%s", nic->uverbs);
		r = add_gaudi_node(grant, linked, gaudi->id, LINKS_UVERBS, other);
		if (r == 0)
			r = env_append(grant, "GAUDI_P2P_PAIRS", "%s=%s", accel, other);
	}
	if (r == 0)
		r = env_append(grant, "HABANA_VISIBLE_DEVICES", "%u", gaudi->minor);
	if (r == 0)
		r = env_append(grant, "HL_VISIBLE_DEVICES", "%s", accel);
	if (r == 0)
		r = env_append(grant, "HL_VISIBLE_DEVICES_UUID", "%s",
			       gaudi->serial[0] ? gaudi->serial : gaudi->id);
	return r;
}

/* Module ids mean something to the runtime only when it does not own them all, and only if all are known. */
static int add_modules(const struct device *const *devices, size_t n, size_t n_all, struct grant *grant)
{
	if (n >= n_all)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (devices[i]->gaudi.module_id < 0)
			return 0;
	for (size_t i = 0; i < n; i++) {
		int r = env_append(grant, "HABANA_VISIBLE_MODULES", "%d", devices[i]->gaudi.module_id);

		if (r < 0)
			return r;
	}
	return 0;
}

static int refuse(char *why, size_t size, int error, const char *id, const char *text)
{
	(void)snprintf(why, size, "%s%s%s", id, *id ? ": " : "", text);
	return error;
}

static int check_ids(const char *const *ids, size_t n, char *why, size_t size)
{
	if (n == 0)
		return refuse(why, size, -EINVAL, "", "no device was asked for");
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(ids[i], ids[j]) == 0)
				return refuse(why, size, -EINVAL, ids[i], "asked for twice");
	return 0;
}

static int check_device(const struct device *device, const char *id, char *why, size_t size)
{
	if (!device)
		return refuse(why, size, -ENOENT, id, "this node has no such Gaudi");
	/* A lease that drains or scrubs is no reason to refuse: PreStartContainer waits for it. */
	if (device->health.vanished || device->gaudi.state == LEASE_LOST ||
	    device->health.cause == HEALTH_NO_NIC)
		return refuse(why, size, -ENODEV, id, device->health.reason);
	return 0;
}

static int device_pointer_compare(const void *a, const void *b)
{
	return strcmp((*(const struct device *const *)a)->gaudi.id,
		      (*(const struct device *const *)b)->gaudi.id);
}

int grant_build(const struct core *core, const struct grant_options *options, const char *const *ids,
		size_t n, struct grant *grant, char *why, size_t size)
{
	_cleanup_free_ const struct device **devices = calloc(n + 1, sizeof(*devices));
	_cleanup_(grant_done) struct grant made = {};
	int r;

	if (!devices)
		return refuse(why, size, -ENOMEM, "", strerror(ENOMEM));
	r = check_ids(ids, n, why, size);
	for (size_t i = 0; r == 0 && i < n; i++) {
		devices[i] = core_find(core, ids[i]);
		r = check_device(devices[i], ids[i], why, size);
	}
	if (r < 0)
		return r;
	/* The kubelet's order is random; the same devices give the same answer. */
	qsort(devices, n, sizeof(*devices), device_pointer_compare);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_gaudi(core, options, devices[i], &made);
	if (r == 0)
		r = add_modules(devices, n, core->n_device, &made);
	if (r == 0 && grant_find_env(&made, "GAUDI_P2P_PAIRS") && core->inventory->has_rdma_cm)
		r = add_node(&made, NULL, RDMA_CM);
	if (r < 0)
		return refuse(why, size, r, "", strerror(-r));
	*grant = made;
	made = (struct grant){};
	return 0;
}

int grant_build_nics(const struct core *core, const char *const *ids, size_t n, struct grant *grant,
		     char *why, size_t size)
{
	_cleanup_(grant_done) struct grant made = {};
	int r = check_ids(ids, n, why, size);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct core_nic *nic = core_find_nic(core, ids[i]);
		char path[64];

		if (!nic || !nic->is_offered)
			return refuse(why, size, -ENOENT, ids[i],
				      "this node has no such NIC function to hand out");
		(void)snprintf(path, sizeof(path), "/dev/infiniband/%s", nic->name.uverbs);
		r = add_node(&made, NULL, path);
		if (r == 0)
			r = env_append(&made, "GAUDI_P2P_RDMA", "%s", path);
		if (r < 0)
			(void)refuse(why, size, r, "", strerror(-r));
	}
	if (r == 0 && core->inventory->has_rdma_cm)
		r = add_node(&made, NULL, RDMA_CM);
	if (r < 0)
		return r;
	*grant = made;
	made = (struct grant){};
	return 0;
}
