/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's device events. They only say "look again": what is true is read
 * from sysfs, so a lost event costs time and nothing else.
 *
 * Events of accel devices, PCI functions and verbs nodes reach every network
 * namespace (a NIC that moves gets a new node, perhaps with another number);
 * those of RDMA devices and interfaces only their own. The slow rescan finds the
 * rest.
 */
#ifndef DEVICE_PLUGIN_WATCH_H
#define DEVICE_PLUGIN_WATCH_H

#include <stddef.h>

#include "base/loop.h"

struct watch;

enum watch_news {
	WATCH_NOTHING, /* of interest */
	WATCH_STATES,  /* devices say that they changed; none came or went */
	WATCH_DEVICES, /* look at everything */
};

/*
 * Calls fn once for each round of the loop in which events of interest came,
 * with the most that one of them said. 0, -ENOMEM, or an error of socket and
 * bind: then there are no events here.
 */
int watch_new(struct loop *loop, void (*fn)(enum watch_news news, void *data), void *data,
	      struct watch **ret);
void watch_free(struct watch *watch);
DEFINE_CLEANUP(struct watch *, watch_free)

/* Takes the events that are there, without waiting for the loop; calls fn as above. */
void watch_look(struct watch *watch);

/* What an event says: the kernel's text, len bytes with zero bytes between the lines. */
enum watch_news watch_event_news(const char *event, size_t len);

#endif
