/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver says of a Gaudi's lease: once its NIC is out of the pod nothing keeps it from
 * ending, and how long that took is worth a line in the log.
 */
#ifndef CNI_RDMA_LEASE_H
#define CNI_RDMA_LEASE_H

#include <stdint.h>

#include "sysfs/inventory.h"

struct lease_end {
	enum lease_state state; /* LEASE_UNKNOWN: its driver has no leases, or it is gone */
	uint64_t ms;		/* that were waited for it */
	char reason[SYSFS_LINE_MAX];
};

/*
 * Waits until the lease of that Gaudi (a Device ID of the device plugin) neither drains nor scrubs, at most
 * timeout_ms. sys_fd: the root of the host's sysfs.
 */
void lease_await(int sys_fd, const char *gaudi, unsigned timeout_ms, struct lease_end *ret);

/* The same, for the log, with who in front. Silent about LEASE_UNKNOWN. */
void lease_report(int sys_fd, const char *who, const char *gaudi, unsigned timeout_ms);

#endif
