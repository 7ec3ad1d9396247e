// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "nldump.h"

int nldump_read(struct nlchan *chan, struct nl_msg *msg, nl_recvmsg_msg_cb_t parse, void (*forget)(void *arg),
		void *arg)
{
	int r = -EAGAIN;

	for (int try = 0; try < NLDUMP_TRIES && r == -EAGAIN; try++) {
		/* libnl gives a message its number when it is sent, unless it has one. */
		nlmsg_hdr(msg)->nlmsg_seq = NL_AUTO_SEQ;
		r = nlchan_talk(chan, msg, parse, arg);
		if (r < 0)
			forget(arg);
	}
	return r;
}
