/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one container gets for its devices: nodes, or names of CDI devices that
 * stand for them, and environment.
 *
 * Host paths of nodes are the stable links (links.h), because the kubelet
 * replays an old answer after a restart, when numbers may have changed; inside
 * the container a node has the name that the programs look for.
 */
#ifndef DEVICE_PLUGIN_GRANT_H
#define DEVICE_PLUGIN_GRANT_H

#include <stddef.h>

#include "base/cleanup.h"
#include "cdi.h"
#include "core.h"

struct links;

struct grant_node {
	char *host_path;
	char *container_path;
};

struct grant_env {
	const char *name; /* constant */
	char *value;
	size_t len, size; /* of the value, and of its memory */
};

struct grant {
	size_t n_node;
	struct grant_node *node;
	size_t n_env;
	struct grant_env env[8];
	size_t n_cdi;
	char **cdi; /* qualified names */
};

void grant_done(struct grant *grant);

struct grant_options {
	/*
	 * The stable links. As long as they are not in place, the host paths are the
	 * plain nodes. NULL: they are. They are not looked at here: PreStartContainer
	 * mends them before the runtime follows them, also when a container is
	 * started again and the kubelet replays an old answer.
	 */
	const struct links *links;
	/*
	 * Where CDI devices are described; NULL: nobody wants their names. A device
	 * that is not described, because the file cannot be written, is given by its nodes.
	 */
	const struct cdi *cdi;
	bool both; /* nodes also when there are names */
};

/*
 * Builds what a container with these Gaudis gets, in the order of the devices'
 * ids whatever the order of ids is. 0, -ENOMEM, or with the reason in why (size bytes):
 *   -EINVAL	no id, or one twice
 *   -ENOENT	an id that this node does not have
 *   -ENODEV	a device that is gone or lost
 * grant is untouched on failure, else freed by grant_done().
 */
int grant_build(const struct core *core, const struct grant_options *options, const char *const *ids,
		size_t n, struct grant *grant, char *why, size_t size);

/* The same for NIC functions of the second resource, by PCI address. */
int grant_build_nics(const struct core *core, const struct grant_options *options, const char *const *ids,
		     size_t n, struct grant *grant, char *why, size_t size);

/* The value of an environment variable, or NULL. */
const char *grant_find_env(const struct grant *grant, const char *name);

#endif
