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

#define INSTALL_TEXT_MAX 1024
#define INSTALL_PROGRAM "cni-rdma"
#define INSTALL_ENTRY "cni-rdma.json"
#define INSTALL_MODPROBE "gaudi-p2p.conf"
/* Below the root. */
#define INSTALL_BIN "opt/cni/bin"
#define INSTALL_CONF "etc/cni/net.d"
#define INSTALL_MODPROBE_D "etc/modprobe.d"
#define INSTALL_RECORDS "var/lib/cni/cni-rdma-install"

/* Also the exit status of the program; 2 is for a wrong command line. */
enum install_outcome {
	INSTALL_DONE = 0,
	INSTALL_FAILED = 1,  /* somebody has to do something */
	INSTALL_REBOOT = 3,  /* all that can be done before a reboot is done */
	INSTALL_WAIT = 4,    /* something that others do is missing: the pod network, RDMA */
	INSTALL_MISSING = 5, /* install_look(): there is something to do */
	INSTALL_IN_USE = 6,  /* install_remove(): pods hold NICs */
};

struct install {
	int root;	 /* the node's file system */
	int source;	 /* the folder with our three files */
	const char *bin; /* folders of the node, below root */
	const char *conf;
	/* mode.h, or a test's */
	int (*is_shared)(bool *ret_shared);
	int (*set_exclusive)(void);
	bool look; /* only look, write nothing */
};

/* What came out of it, in words for an administrator, with the next step where there is one. */
struct install_report {
	enum install_outcome outcome;
	char text[INSTALL_TEXT_MAX];
};

void install_put(const struct install *in, struct install_report *report);
void install_remove(const struct install *in, struct install_report *report);

#endif
