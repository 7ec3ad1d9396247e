/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy as a user runs it by hand in two pods: `recv` waits, `send` writes
 * its device memory into recv's. Over TCP they exchange only addresses.
 */
#ifndef P2P_COPY_COPY_H
#define P2P_COPY_COPY_H

#include <stdint.h>

struct copy_options {
	unsigned index; /* which of the pod's Gaudis */
	uint64_t size;	/* bytes, a multiple of 4096; recv takes the sender's */
	const char *host;
	const char *port;
};

/* Both print what they do, say on standard error why they fail, and return 0 or -errno. */
int copy_send(const struct copy_options *options);
int copy_recv(const struct copy_options *options);

#endif
