// SPDX-License-Identifier: Apache-2.0
#include "grant.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "links.h"
#include "nodes.h"

void grant_done(struct grant *grant)
{
	for (size_t i = 0; i < grant->n_node; i++) {
		free(grant->node[i].host_path);
		free(grant->node[i].container_path);
	}
	free(grant->node);
	for (size_t i = 0; i < grant->n_env; i++)
		free(grant->env[i].value);
	for (size_t i = 0; i < grant->n_cdi; i++)
		free(grant->cdi[i]);
	free(grant->cdi);
	*grant = (struct grant){};
}

const char *grant_find_env(const struct grant *grant, const char *name)
{
	for (size_t i = 0; i < grant->n_env; i++)
		if (strcmp(grant->env[i].name, name) == 0)
			return grant->env[i].value;
	return NULL;
}

/* Makes room for one more, in steps that double: a request may be for hundreds of devices. */
static void *grow(void *array, size_t n, size_t element)
{
	/* A power of two, or none: the room is used up. */
	return (n & (n - 1)) == 0 ? reallocarray(array, n ? 2 * n : 1, element) : array;
}

static int add_node(struct grant *grant, const char *host, const char *container)
{
	struct grant_node *grown = grow(grant->node, grant->n_node, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grant->node = grown;
	grown = &grant->node[grant->n_node++];
	grown->host_path = strdup(host);
	grown->container_path = strdup(container);
	return grown->host_path && grown->container_path ? 0 : -ENOMEM;
}

static bool has_node(const struct grant *grant, const char *container)
{
	for (size_t i = 0; i < grant->n_node; i++)
		if (strcmp(grant->node[i].container_path, container) == 0)
			return true;
	return false;
}

static int add_cdi(struct grant *grant, char *name)
{
	char **grown = name ? grow(grant->cdi, grant->n_cdi, sizeof(*grown)) : NULL;

	if (!grown) {
		free(name);
		return -ENOMEM;
	}
	grant->cdi = grown;
	grant->cdi[grant->n_cdi++] = name;
	return 0;
}

/* A device's nodes, or its CDI name, or both. */
static int add_device(struct grant *grant, const struct core *core, const struct grant_options *options,
		      const char *id, const struct node *nodes, size_t n)
{
	bool linked = !options || !options->links || options->links->is_true;
	bool named = options && options->cdi && cdi_has(options->cdi, core, id);
	int r = named ? add_cdi(grant, cdi_name(options->cdi, core, id)) : 0;

	for (size_t i = 0; r == 0 && i < n && (!named || options->both); i++) {
		char link[LINKS_PATH_MAX];

		/* rdma_cm is there once, however many devices come with it. */
		if (!nodes[i].link && has_node(grant, nodes[i].path))
			continue;
		if (nodes[i].link)
			links_path(link, id, nodes[i].link);
		r = add_node(grant, linked && nodes[i].link ? link : nodes[i].path, nodes[i].path);
	}
	return r;
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
	char item[256], *grown;
	va_list args;
	size_t n;

	va_start(args, format);
	n = (size_t)vsnprintf(item, sizeof(item), format, args);
	va_end(args);
	if (n >= sizeof(item))
		return -ENAMETOOLONG;
	if (env->len + n + 2 > env->size) {
		grown = realloc(env->value, 2 * (env->len + n + 2));
		if (!grown)
			return -ENOMEM;
		env->value = grown;
		env->size = 2 * (env->len + n + 2);
	}
	if (env->len > 0)
		env->value[env->len++] = ',';
	memcpy(env->value + env->len, item, n + 1);
	env->len += n;
	return 0;
}

static int add_gaudi(const struct core *core, const struct grant_options *options,
		     const struct device *device, struct grant *grant)
{
	const struct gaudi *gaudi = device->gaudi;
	struct node nodes[NODES_MAX];
	size_t n = nodes_of_gaudi(core, gaudi, nodes);
	const char *accel = nodes[0].path;
	int r = add_device(grant, core, options, gaudi->id, nodes, n);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (nodes[i].link && strcmp(nodes[i].link, LINKS_UVERBS) == 0)
			r = env_append(grant, "GAUDI_P2P_PAIRS", "%s=%s", accel, nodes[i].path);
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
		if (devices[i]->gaudi->module_id < 0)
			return 0;
	for (size_t i = 0; i < n; i++) {
		int r = env_append(grant, "HABANA_VISIBLE_MODULES", "%d", devices[i]->gaudi->module_id);

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

static int id_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_ids(const char *const *ids, size_t n, char *why, size_t size)
{
	_cleanup_free_ const char **sorted = calloc(n + 1, sizeof(*sorted));

	if (!sorted)
		return refuse(why, size, -ENOMEM, "", strerror(ENOMEM));
	if (n == 0)
		return refuse(why, size, -EINVAL, "", "no device was asked for");
	memcpy(sorted, ids, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), id_compare);
	for (size_t i = 1; i < n; i++)
		if (strcmp(sorted[i - 1], sorted[i]) == 0)
			return refuse(why, size, -EINVAL, sorted[i], "asked for twice");
	return 0;
}

static int check_device(const struct device *device, const char *id, char *why, size_t size)
{
	if (!device)
		return refuse(why, size, -ENOENT, id, "this node has no such Gaudi");
	/* A lease that drains or scrubs is no reason to refuse: PreStartContainer waits for it. */
	if (device->health.vanished || device->gaudi->state == LEASE_LOST ||
	    device->health.cause == HEALTH_NO_NIC)
		return refuse(why, size, -ENODEV, id, device->health.reason);
	return 0;
}

static int device_pointer_compare(const void *a, const void *b)
{
	return strcmp((*(const struct device *const *)a)->gaudi->id,
		      (*(const struct device *const *)b)->gaudi->id);
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
	if (r < 0)
		return refuse(why, size, r, "", strerror(-r));
	*grant = made;
	made = (struct grant){};
	return 0;
}

int grant_build_nics(const struct core *core, const struct grant_options *options, const char *const *ids,
		     size_t n, struct grant *grant, char *why, size_t size)
{
	_cleanup_(grant_done) struct grant made = {};
	int r = check_ids(ids, n, why, size);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct core_nic *nic = core_find_nic(core, ids[i]);
		struct node nodes[NODES_MAX];
		size_t n_node;

		if (!nic || !nic->is_offered)
			return refuse(why, size, -ENOENT, ids[i],
				      "this node has no such NIC function to hand out");
		n_node = nodes_of_nic(core, &nic->name, nodes);
		if (n_node == 0)
			return refuse(why, size, -ENODEV, ids[i],
				      "it has no verbs node: is the module ib_uverbs loaded?");
		r = add_device(&made, core, options, ids[i], nodes, n_node);
		if (r == 0)
			r = env_append(&made, "GAUDI_P2P_RDMA", "%s", nodes[0].path);
		if (r < 0)
			(void)refuse(why, size, r, "", strerror(-r));
	}
	if (r < 0)
		return r;
	*grant = made;
	made = (struct grant){};
	return 0;
}
