/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One netlink conversation: send a request, read everything until the kernel
 * says that it is done. Bound for its life to the network namespace in which it was opened.
 */
#ifndef CNI_RDMA_NLCHAN_H
#define CNI_RDMA_NLCHAN_H

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "base/cleanup.h"

#define NLCHAN_TEXT_MAX 160

struct nlchan;

/* protocol: NETLINK_ROUTE or NETLINK_RDMA. 0 or -errno (-EPROTONOSUPPORT: the kernel has no such family). */
int nlchan_open(int protocol, struct nlchan **ret);
void nlchan_close(struct nlchan *chan);
DEFINE_CLEANUP(struct nlchan *, nlchan_close)
DEFINE_CLEANUP(struct nl_msg *, nlmsg_free)

/* A new request of that type and those NLM_F_ flags; NULL: out of memory. Freed by the caller. */
struct nl_msg *nlchan_request(int type, int flags);

/*
 * Sends msg and calls parse (may be NULL) for every message of the answer.
 * parse returns NL_OK, or -errno to end with that. Returns 0, the kernel's
 * -errno, -ETIMEDOUT when no answer came in 30 s, -EAGAIN when the list
 * changed while it was read (ask again).
 */
int nlchan_talk(struct nlchan *chan, struct nl_msg *msg, nl_recvmsg_msg_cb_t parse, void *arg);

/* What the kernel said about the last failure beyond its number; "" when nothing. Valid until the next talk.
 */
const char *nlchan_error_text(const struct nlchan *chan);

#endif
