/* SPDX-License-Identifier: Apache-2.0 */
/* The driver out of the kernel, when nobody has a Gaudi. */
#ifndef DRIVER_LOADER_REPLACE_H
#define DRIVER_LOADER_REPLACE_H

#include "loader.h"

/*
 * Takes the leases of free cards, gives those back that the kubelet has given to a pod meanwhile, and returns true
 * when all have been ours for LOADER_SETTLE_MS. False: not yet, and the report names who is waited for; what for is in why
 * ("the driver is replaced (1 by 2)").
 */
bool replace_wait(struct loader *loader, const char *why, struct report *report);

/* The same, and then unloads the module. */
bool replace_unload(struct loader *loader, const char *why, struct report *report);

#endif
