/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cni-rdma onto a node, and away from it again. Every step leaves the node as it was or
 * as it shall be, may be repeated, and is left out when there is nothing to do.
 *
 * In this order: the program, the file for modprobe, the mode, and last the entry in the pod
 * network, so that a network never names a program that is not there or could not work.
 *
 * What it changed stands in RECORDS, one file for each, written before the change:
 *   LIST.record    the configuration list's folder, its text before and after
 *   modprobe.ours  the file for modprobe was made by us
 */
#ifndef CNI_INSTALL_INSTALL_H
#define CNI_INSTALL_INSTALL_H

#include <stdbool.h>
#include <stddef.h>

#include "node/report.h"

#define INSTALL_PROGRAM "cni-rdma"
#define INSTALL_ENTRY "cni-rdma.json"
#define INSTALL_MODPROBE "gaudi-p2p.conf"
/* Below the root. */
#define INSTALL_BIN "opt/cni/bin"
#define INSTALL_CONF "etc/cni/net.d"
#define INSTALL_MODPROBE_D "etc/modprobe.d"
#define INSTALL_RECORDS "var/lib/cni/cni-rdma-install"

struct install {
	int root;	 /* the node's file system */
	int source;	 /* the folder with our three files */
	const char *bin; /* folders of the node, below root */
	const char *conf;
	/* mode.h, or a test's */
	int (*is_shared)(bool *ret_shared);
	int (*set_exclusive)(void);
	bool no_chain; /* networks that pods name bring cni-rdma, and not the pod network (Multus) */
	bool look;     /* only look, write nothing */
};

/*
 * REPORT_REBOOT: the mode; REPORT_WAIT: no pod network or no RDMA yet; REPORT_IN_USE: pods hold NICs;
 * REPORT_MISSING, when only looking: there is something to do.
 * Removing takes the folders that are ours by name too; others that the DaemonSet made are found on every node that has pods.
 */
void install_put(const struct install *in, struct report *report);
void install_remove(const struct install *in, struct report *report);

/*
 * Only our entry out of every list that we put it into, as install_remove() does it. False: the report says why; records
 * may be -EBADF where there is no such folder.
 */
bool install_take_entries(const struct install *in, int records, struct report *report);

#endif
