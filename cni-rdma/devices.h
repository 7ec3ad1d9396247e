/* SPDX-License-Identifier: Apache-2.0 */
/* Which NIC functions a pod has been given, learnt from whoever decided it. */
#ifndef CNI_RDMA_DEVICES_H
#define CNI_RDMA_DEVICES_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "cni.h"
#include "request.h"
#include "sysfs/pairs.h"

struct devices_nic {
	char pci[24];
	char gaudi[64];	       /* "" when the NIC was given by itself */
	char netdev[IFNAMSIZ]; /* as the device plugin saw it; a hint, perhaps "" */
};

struct devices {
	struct devices_nic *nics; /* owned; sorted by PCI address, each once */
	size_t n;		  /* 0: the pod has none of ours */
};

void devices_done(struct devices *devices);

/*
 * In this order: the device ID of the runtime or of Multus, pciID of the
 * previous result, the kubelet's PodResources. The first that says something decides;
 * for a pod of Kubernetes only what the kubelet lists for it, under whatever resource, is taken: itself or the Gaudi
 * that it is paired with. Codes 4, 5, 7, 11, 101, 106. The caller frees by devices_done().
 */
int devices_learn(const struct request *req, struct devices *ret, struct cni_error *error);

/*
 * Whether the pod has any device of resourceName, whatever it is. A device ID is taken at its word: nothing is moved for
 * it. Codes 4 and 11.
 */
int devices_are_held(const struct request *req, bool *ret, struct cni_error *error);

/* "0000:06:00.0" and nothing else. */
bool devices_is_pci(const char *text);

/*
 * One ID: of a Gaudi in pairs (then its NIC, if it has one), of a NIC in pairs,
 * or a bare PCI address. pairs may be NULL. Appends; -ENOENT: none of these; -ENOMEM.
 */
int devices_resolve(struct devices *devices, const struct pairs *pairs, const char *id);

#endif
