// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/socket.h>

#include "nlchan.h"

#define NLCHAN_TIMEOUT_S 30

struct nlchan {
	struct nl_sock *sock;
	char text[NLCHAN_TEXT_MAX];
};

struct exchange {
	struct nlchan *chan;
	nl_recvmsg_msg_cb_t parse;
	void *arg;
	bool done;
	int error; /* 0 or -errno, from the kernel or from parse */
};

int nlchan_open(int protocol, struct nlchan **ret)
{
	struct timeval timeout = { .tv_sec = NLCHAN_TIMEOUT_S };
	_cleanup_(nlchan_closep) struct nlchan *chan = NULL;
	int one = 1, fd, r;

	chan = calloc(1, sizeof(*chan));
	if (!chan)
		return -ENOMEM;
	chan->sock = nl_socket_alloc();
	if (!chan->sock)
		return -ENOMEM;
	r = nl_connect(chan->sock, protocol);
	if (r < 0)
		return r == -NLE_NOMEM ? -ENOMEM : negative_errno();
	fd = nl_socket_get_fd(chan->sock);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return negative_errno();
	/* Both only make errors readable; a kernel without them still works. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = TAKE_PTR(chan);
	return 0;
}

void nlchan_close(struct nlchan *chan)
{
	if (chan->sock)
		nl_socket_free(chan->sock);
	free(chan);
}

const char *nlchan_error_text(const struct nlchan *chan)
{
	return chan->text;
}

struct nl_msg *nlchan_request(int type, int flags)
{
	return nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);
}

static int on_valid(struct nl_msg *msg, void *data)
{
	struct exchange *x = data;
	int r;

	if (!x->parse)
		return NL_OK;
	r = x->parse(msg, x->arg);
	if (r < 0 && !x->error)
		x->error = r;
	return NL_OK;
}

static int on_done(struct nl_msg *msg, void *data)
{
	struct exchange *x = data;

	(void)msg;
	x->done = true;
	return NL_STOP;
}

/* The text stands in attributes behind the error header, and behind the request's echo unless it was capped.
 */
static void copy_ext_ack(struct nlchan *chan, const struct nlmsgerr *err)
{
	static struct nla_policy policy[NLMSGERR_ATTR_MAX + 1] = {
		[NLMSGERR_ATTR_MSG] = { .type = NLA_STRING },
	};
	const struct nlmsghdr *hdr = (const struct nlmsghdr *)((const char *)err - NLMSG_HDRLEN);
	struct nlattr *tb[NLMSGERR_ATTR_MAX + 1];
	size_t offset = sizeof(*err), len = hdr->nlmsg_len;

	if (!(hdr->nlmsg_flags & NLM_F_ACK_TLVS) || len < NLMSG_HDRLEN + sizeof(*err))
		return;
	len -= NLMSG_HDRLEN;
	if (!(hdr->nlmsg_flags & NLM_F_CAPPED)) {
		if (err->msg.nlmsg_len < NLMSG_HDRLEN || err->msg.nlmsg_len > len)
			return;
		offset += NLMSG_ALIGN(err->msg.nlmsg_len) - NLMSG_HDRLEN;
	}
	if (offset >= len)
		return;
	if (nla_parse(tb, NLMSGERR_ATTR_MAX, (struct nlattr *)((char *)err + offset), (int)(len - offset),
		      policy) < 0)
		return;
	if (tb[NLMSGERR_ATTR_MSG])
		nla_strlcpy(chan->text, tb[NLMSGERR_ATTR_MSG], sizeof(chan->text));
}

static int on_error(struct sockaddr_nl *peer, struct nlmsgerr *err, void *data)
{
	struct exchange *x = data;

	(void)peer;
	if (!x->error)
		x->error = err->error < 0 ? err->error : -EPROTO;
	copy_ext_ack(x->chan, err);
	x->done = true;
	return NL_STOP;
}

/* libnl's own failures; those of the kernel arrive through on_error(). */
static int library_error(int nle)
{
	switch (-nle) {
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_AGAIN:
		return -ETIMEDOUT;
	case NLE_DUMP_INTR:
		return -EAGAIN;
	case NLE_PERM:
		return -EPERM;
	default:
		return -EPROTO;
	}
}

int nlchan_talk(struct nlchan *chan, struct nl_msg *msg, nl_recvmsg_msg_cb_t parse, void *arg)
{
	struct exchange x = { .chan = chan, .parse = parse, .arg = arg };
	struct nl_cb *cb;
	int r;

	chan->text[0] = '\0';
	cb = nl_cb_alloc(NL_CB_DEFAULT);
	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &x);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_done, &x);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_done, &x);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &x);

	r = nl_send_auto(chan->sock, msg); /* asks for the acknowledgement by itself */
	while (r >= 0 && !x.done)
		r = nl_recvmsgs(chan->sock, cb);
	nl_cb_put(cb);
	if (x.error)
		return x.error;
	return r < 0 && r != -NLE_DUMP_INTR && x.done ? 0 : r < 0 ? library_error(r) : 0;
}
