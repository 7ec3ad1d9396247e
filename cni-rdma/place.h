/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace with everything open that looks into it: the host's or
 * a pod's. The descriptors stay bound to it, so that the program uses them without going there.
 */
#ifndef CNI_RDMA_PLACE_H
#define CNI_RDMA_PLACE_H

#include <net/if.h>

#include "base/cleanup.h"
#include "nlchan.h"
#include "rdmanl.h"
#include "rtlink.h"

struct place {
	int netns_fd; /* owned, as all of it */
	int sys_fd;   /* the root of a sysfs that shows this namespace's devices */
	struct nlchan *rdma, *rt;
};

/*
 * Opens the namespace behind netns_fd, which it takes over, also on failure. host: that of the program, which must live
 * longer; NULL when it is this one. The caller frees.
 */
int place_open(int netns_fd, const struct place *host, struct place **ret);
void place_free(struct place *place);
DEFINE_CLEANUP(struct place *, place_free)

/*
 * All that look return -errno when they cannot, too, which says nothing about what is there: only -ENODEV and -ENXIO do.
 *
 * The netdev of a PCI function in this namespace. When it has several, hint's
 * (may be ""), else -ENOTUNIQ. -ENODEV: none here; -ENXIO: no such PCI function.
 */
int place_find_netdev(const struct place *place, const char *pci, const char *hint, struct rtlink *ret);

/* 1: the netdev is ib_ipoib's and in another mode than it is made in. 0, or -errno: it cannot be told. */
int place_is_connected(const struct place *place, const char *netdev);

/* All that it has, separated by commas. */
int place_name_netdevs(const struct place *place, const char *pci, char *buf, size_t size);

/* The RDMA device of a PCI function in this namespace: its own, or one that sits on its netdev (0: unknown).
 */
int place_find_rdma(const struct place *place, const char *pci, unsigned netdev_index,
		    struct rdmanl_device *ret);

enum rdma_kind {
	RDMA_ROCE,	 /* of the PCI function itself, and moves by itself */
	RDMA_INFINIBAND, /* so too, but the kernel makes its netdevs anew at each move */
	RDMA_SOFT,	 /* Soft-RoCE: lives and dies with its netdev */
	RDMA_ALIEN,	 /* on the netdev, but none of these */
};

/* Of which kind the RDMA device is that place_find_rdma() found. */
int place_classify(const struct place *place, const char *pci, const char *rdma, enum rdma_kind *ret);

/*
 * Has the interface use its IPv6 addresses at once, without a second of asking whether
 * somebody else has them: until then it answers no neighbour, and a peer's first connection would time out. Its
 * link-local address comes from its MAC address. 0 also when the namespace has no IPv6.
 */
int place_skip_dad(const struct place *host, const struct place *place, const char *netdev);

/*
 * Waits until the first port of rdma has a GID, of address when given, else any. -ETIMEDOUT.
 */
int place_wait_gid(const struct place *place, const char *rdma, const struct rtlink_address *address,
		   unsigned timeout_ms);

#endif
