/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the plugin: environment and configuration, checked and taken apart. */
#ifndef CNI_RDMA_REQUEST_H
#define CNI_RDMA_REQUEST_H

#include <jansson.h>
#include <net/if.h>

#include "base/cleanup.h"
#include "cni.h"

#define REQUEST_MAX_BYTES (4u << 20) /* of standard input; a prevResult is some kilobytes */
#define REQUEST_ID_MAX 200	     /* a container ID is 64 characters; it becomes part of a file name */

enum request_command {
	REQUEST_ADD,
	REQUEST_DEL,
	REQUEST_CHECK,
	REQUEST_STATUS,
	REQUEST_GC,
	REQUEST_VERSION,
};

/* The environment as the caller gave it; NULL: not set. */
struct request_env {
	const char *command, *container, *netns, *ifname, *args, *path;
	const char *trusted_paths; /* folders, with colons between them */
};

/*
 * Strings point into root or into the environment, except those of CNI_ARGS.
 * NULL where the comment says "or NULL".
 */
struct request {
	enum request_command command;
	enum cni_version version;
	const char *version_text; /* as asked; "" when the input named none */

	const char *container; /* a valid file name */
	const char *netns;     /* or NULL */
	const char *ifname;
	const char *path;			/* or NULL */
	char pod_namespace[256], pod_name[256]; /* of CNI_ARGS; "" when not given */

	json_t *root;	       /* the whole configuration; owned */
	const char *network;   /* its name */
	json_t *prev_result;   /* object or NULL */
	json_t *ipam;	       /* object with a valid type, or NULL */
	const char *device_id; /* that the runtime or Multus picked, or NULL */
	json_t *attachments;   /* GC: array, or NULL for "no information" */

	bool soft; /* mode: a link on the pod's interface, no NIC */
	bool allow_shared;
	bool names_resource;			       /* resourceName is in the configuration */
	const char *resource;			       /* resourceName */
	const char *pod_ifname;			       /* ifName: a name with one %d */
	const char *pod_resources, *pairs, *state_dir; /* absolute paths */
	unsigned lock_timeout_ms, gid_timeout_ms, lease_timeout_ms;
};

/*
 * Fills *req; on failure error says what is wrong and req->version_text is
 * still right for the error document. The caller calls request_done() always.
 */
int request_parse(struct request *req, const struct request_env *env, const char *input, size_t len,
		  struct cni_error *error);
void request_done(struct request *req);

/* Whether CNI_ARGS name a pod, as the runtime of a kubelet has it. */
bool request_is_for_pod(const struct request *req);

/* For file names: letters, digits, '_', '.', '-', the first a letter or digit, at most REQUEST_ID_MAX. */
bool request_id_is_valid(const char *id);

/* An interface name that the kernel would take. */
bool request_ifname_is_valid(const char *name);

#endif
