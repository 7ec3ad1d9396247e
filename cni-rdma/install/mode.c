// SPDX-License-Identifier: Apache-2.0
#include "mode.h"

#include <linux/netlink.h>

#include "../nlchan.h"
#include "../rdmanl.h"

int mode_is_shared(bool *ret_shared)
{
	_cleanup_(nlchan_closep) struct nlchan *chan = NULL;
	int r = nlchan_open(NETLINK_RDMA, &chan);

	return r < 0 ? r : rdmanl_is_shared(chan, ret_shared);
}

int mode_set_exclusive(void)
{
	_cleanup_(nlchan_closep) struct nlchan *chan = NULL;
	int r = nlchan_open(NETLINK_RDMA, &chan);

	return r < 0 ? r : rdmanl_set_exclusive(chan);
}
