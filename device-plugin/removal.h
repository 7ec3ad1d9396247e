/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the device plugin has left on a node, and away with it: --uninstall.
 *
 * It is refused while it would be missed: by a plugin that still runs (and would make it anew), by pods that have our
 * devices (a container of theirs that starts again finds its nodes by the links and specs), and by cni-rdma while a NIC
 * is with a pod (it finds one whose record is lost by the pairing file).
 */
#ifndef DEVICE_PLUGIN_REMOVAL_H
#define DEVICE_PLUGIN_REMOVAL_H

#include <stdbool.h>

#include "kubelet/message.h"
#include "node/report.h"
#include "options.h"

/* In place of the kubelet's socket: this node has no kubelet. */
#define REMOVAL_NO_KUBELET "none"

struct removal {
	const struct options *options;
	bool look; /* only look, remove nothing */
	/* The kubelet's list of pods and their devices, or a test's. 0, or -errno with why (size bytes). */
	int (*list)(const char *socket, V1__ListPodResourcesResponse **ret, char *why, size_t size);
};

/*
 * One look, and what is to be done; data is a struct removal. REPORT_IN_USE: as said above; REPORT_WAIT: the kubelet does
 * not answer; REPORT_MISSING, when only looking: there is something.
 */
void removal_step(void *data, struct report *report);

/* As options->uninstall says. The program's exit status. */
int removal_run(const struct options *options);

#endif
