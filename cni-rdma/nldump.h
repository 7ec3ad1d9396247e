/* SPDX-License-Identifier: Apache-2.0 */
/* A list of the kernel's, read whole: one that changes while it is read is read again. */
#ifndef CNI_RDMA_NLDUMP_H
#define CNI_RDMA_NLDUMP_H

#include "nlchan.h"

/* How often a list is asked for that changes each time while it is read. */
#define NLDUMP_TRIES 5

/*
 * nlchan_talk() with a request of NLM_F_DUMP. When the list changed meanwhile, forget() undoes what parse has made of
 * its part, and it is asked for again; -EAGAIN when it changed every time. After any error arg is as forget() leaves it.
 */
int nldump_read(struct nlchan *chan, struct nl_msg *msg, nl_recvmsg_msg_cb_t parse, void (*forget)(void *arg),
		void *arg);

#endif
