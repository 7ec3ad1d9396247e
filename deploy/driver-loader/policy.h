/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether importers that cannot revoke may have device memory (the driver's parameter nonrevocable): only where something
 * ends what they hold, which is cni-rdma in the pod network with exclusive RDMA namespaces.
 */
#ifndef DRIVER_LOADER_POLICY_H
#define DRIVER_LOADER_POLICY_H

#include "loader.h"

/* "hold" or "refuse", as the node is now. */
const char *policy_word(const struct loader *loader);

/* Makes the driver that is loaded follow it, and remembers how it was. False: the report says why not. */
bool policy_apply(const struct loader *loader, int records, struct report *report);

/* Whether anything of that is remembered. */
bool policy_is_changed(int records);

/* Makes a driver that stays as it was before us. */
bool policy_restore(const struct loader *loader, int records, struct report *report);

/* Forgets that. 0 or -errno. */
int policy_forget(int records);

#endif
