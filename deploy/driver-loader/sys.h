/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel and the kubelet of this machine. */
#ifndef DRIVER_LOADER_SYS_H
#define DRIVER_LOADER_SYS_H

#include "kubelet/message.h"
#include "loader.h"

extern const struct loader_sys sys_real;

/* Who has which device, of all resources, out of the kubelet's list. 0 or -ENOMEM. */
int sys_grants(const V1__ListPodResourcesResponse *list, struct loader_grants *ret);

#endif
