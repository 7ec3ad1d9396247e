/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's device events. They only say "look again": what is true is read
 * from sysfs, so a lost event costs time and nothing else.
 *
 * Events of accel devices reach every network namespace; those of RDMA and
 * network devices only their own. The slow rescan finds the rest.
 */
#ifndef DEVICE_PLUGIN_WATCH_H
#define DEVICE_PLUGIN_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

struct watch;

/*
 * Calls fn once for each round of the loop in which events of interest came.
 * 0, -ENOMEM, or an error of socket and bind: then there are no events here.
 */
int watch_new(struct loop *loop, void (*fn)(void *data), void *data, struct watch **ret);
void watch_free(struct watch *watch);
DEFINE_CLEANUP(struct watch *, watch_free)

/* Whether an event (the kernel's text, len bytes with zero bytes between the lines) is of interest. */
bool watch_event_matters(const char *event, size_t len);

#endif
