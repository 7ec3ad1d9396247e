/* SPDX-License-Identifier: Apache-2.0 */
/* SIGTERM: the kubelet's word that the pod ends soon. */
#ifndef RING_ALLREDUCE_STOP_H
#define RING_ALLREDUCE_STOP_H

#include <stdbool.h>

/* What a program says that ended because it was told to: 128 + SIGTERM. */
#define STOP_STATUS 143

/* From here on SIGTERM and SIGINT are noticed and end nothing. 0 or -errno. */
int stop_init(void);

bool stop_asked(void);

/* Around calls that cannot be interrupted and that hold nothing: there a signal ends the process. */
void stop_at_once(bool at_once);

#endif
