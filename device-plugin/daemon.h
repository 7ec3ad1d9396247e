/* SPDX-License-Identifier: Apache-2.0 */
/* Everything put together: scans, links, pairing file, registrations, in one loop. */
#ifndef DEVICE_PLUGIN_DAEMON_H
#define DEVICE_PLUGIN_DAEMON_H

#include "base/loop.h"
#include "core.h"
#include "options.h"

struct daemon;

/*
 * Loads the pairing, scans, and starts serving in loop. options must outlive
 * the daemon. 0 or -errno, after a log line that says what to do.
 */
int daemon_new(struct loop *loop, const struct options *options, struct daemon **ret);
void daemon_free(struct daemon *daemon);
DEFINE_CLEANUP(struct daemon *, daemon_free)

/* Scans sysfs and acts on what is found, at once. */
void daemon_scan(struct daemon *daemon);

/* Whether the Gaudis are registered with the kubelet. */
bool daemon_is_registered(const struct daemon *daemon);

const struct core *daemon_core(const struct daemon *daemon);

/* Runs until SIGTERM or SIGINT. 0, or -errno after a log line. */
int daemon_run(const struct options *options);

/* Scans once and prints what is there to out, as options->once says. 0, or -errno after a log line. */
int daemon_print(const struct options *options, FILE *out);

#endif
