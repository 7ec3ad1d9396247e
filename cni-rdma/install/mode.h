/* SPDX-License-Identifier: Apache-2.0 */
/* Whether RDMA devices belong to one network namespace each, as cni-rdma needs it. */
#ifndef CNI_INSTALL_MODE_H
#define CNI_INSTALL_MODE_H

#include <stdbool.h>

/* -EPROTONOSUPPORT: the kernel has no RDMA (yet); -EOPNOTSUPP: one before 5.3, which has no such mode. */
int mode_is_shared(bool *ret_shared);

/*
 * -EBUSY: there is a network namespace besides the first; -EPERM: it needs CAP_NET_ADMIN. In the moment in which the last
 * of them ends it is the kernel that is not safe; see "Limits" in README.md.
 */
int mode_set_exclusive(void);

#endif
