/* SPDX-License-Identifier: Apache-2.0 */
#ifndef P2P_COPY_SERVE_H
#define P2P_COPY_SERVE_H

#include <stdio.h>

/* Listens at path and does what is asked until told to quit, or SIGTERM. 0 or -errno. */
int serve_run(const char *path);

/* Sends lines to a server, prints its answers. -EREMOTEIO when it answered "err" to the last that was sent.
 */
int serve_ask(const char *path, char *const *lines, int n);

/* The list of commands. */
void serve_help(FILE *out);

#endif
