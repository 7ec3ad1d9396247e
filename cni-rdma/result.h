/* SPDX-License-Identifier: Apache-2.0 */
/* The result of ADD: what the chain before us said, and our interfaces. Pure. */
#ifndef CNI_RDMA_RESULT_H
#define CNI_RDMA_RESULT_H

#include <jansson.h>
#include <stddef.h>

#include "cni.h"
#include "request.h"
#include "rtlink.h"

/* One interface in the pod. */
struct result_interface {
	const char *name, *mac, *pci;
	unsigned mtu;
};

/*
 * A new result: prevResult as it came, or an empty one, with cniVersion set.
 * NULL: error is filled (code 6: a prevResult that is no result).
 */
json_t *result_new(const struct request *req, struct cni_error *error);

/* Appends an interface in the namespace req->netns. Returns its index, or -ENOMEM. */
int result_add_interface(json_t *result, const struct request *req, const struct result_interface *interface);

/* Appends the ips, routes and dns of an IPAM result, its addresses bound to the interface of that index. */
int result_add_ipam(json_t *result, const json_t *ipam, int interface, struct cni_error *error);

/*
 * The index of the interface of that name in the pod, and itself (ret may be NULL); -1: the result, which may be
 * NULL, does not name it.
 */
int result_find_interface(const json_t *result, const char *name, const json_t **ret);

/* The addresses that the result gives to the interface of that name, at most max. Returns how many, or -EINVAL. */
int result_addresses(const json_t *result, const char *name, struct rtlink_address *addresses, size_t max);

#endif
