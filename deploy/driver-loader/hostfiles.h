/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of ours below /etc. One that is there and not from here stays, and so does one of ours that was edited since; the
 * record (see loader.h) tells. /etc/modprobe.d/gaudi-p2p.conf is not among them: that is cni-rdma-install's.
 */
#ifndef DRIVER_LOADER_HOSTFILES_H
#define DRIVER_LOADER_HOSTFILES_H

#include "loader.h"

/* by_dkms: the host's own module is wanted, and so it loads that at boot. False: the report says why. */
bool hostfiles_put(const struct loader *loader, int records, bool by_dkms, struct report *report);
/* Whether the host loads the driver at boot because we told it to. */
bool hostfiles_load_at_boot(int records);

bool hostfiles_take(const struct loader *loader, int records, struct report *report);

#endif
