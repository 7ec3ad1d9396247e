/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses from an IPAM plugin: another program of CNI_PATH, spoken to in the same protocol. */
#ifndef CNI_RDMA_IPAM_H
#define CNI_RDMA_IPAM_H

#include <jansson.h>
#include <stddef.h>

#include "cni.h"
#include "request.h"
#include "rtlink.h"

#define IPAM_TIMEOUT_MS 60000
#define IPAM_MAX_BYTES (1u << 20)
#define IPAM_MAX_ADDRESSES 32
#define IPAM_MAX_ROUTES 64

/* One call of an IPAM plugin. NULL: the word is not in its environment. */
struct ipam_call {
	const char *command; /* ADD, DEL, CHECK, STATUS, GC */
	const char *container, *netns, *ifname;
	const json_t *config; /* its standard input */
};

/*
 * Runs req->ipam's plugin. *ret (may be NULL) is its result, the caller's. On failure error
 * carries the plugin's own code and words.
 */
int ipam_call(const struct request *req, const struct ipam_call *call, json_t **ret, struct cni_error *error);

/* The same for this request's attachment, with the interface ifname and the whole configuration. */
int ipam_run(const struct request *req, const char *command, const char *ifname, json_t **ret,
	     struct cni_error *error);

/* "10.1.2.3/24" or "fd00::1/64". 0 or -EINVAL. */
int ipam_parse_address(const char *text, struct rtlink_address *ret);

/* The addresses of a result's ips, at most max. Returns how many, or -EINVAL. */
int ipam_addresses(const json_t *result, struct rtlink_address *addresses, size_t max);

/*
 * The routes of a result, at most max; one without a gateway of its own has that of the first of ips in its
 * family, if that says one. Returns how many, or -EINVAL.
 */
int ipam_routes(const json_t *result, struct rtlink_route *routes, size_t max);

/* The first file "type" in the colon-separated path that may be executed. 0 or -ENOENT. */
int ipam_find(const char *path, const char *type, char *buf, size_t size);

#endif
