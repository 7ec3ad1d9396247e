// SPDX-License-Identifier: Apache-2.0
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include <netlink/attr.h>

#include "rtlink.h"

static struct nla_policy policy[IFLA_MAX + 1] = {
	[IFLA_IFNAME] = { .type = NLA_STRING, .maxlen = IFNAMSIZ },
	[IFLA_MTU] = { .type = NLA_U32 },
};

static struct nl_msg *request(int type, int flags, unsigned index, unsigned set, unsigned mask)
{
	struct ifinfomsg info = {
		.ifi_family = AF_UNSPEC, .ifi_index = (int)index, .ifi_flags = set, .ifi_change = mask
	};
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(type, flags);

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return NULL;
	return TAKE_PTR(msg);
}

static void format_mac(const struct nlattr *attr, char *buf, size_t size)
{
	const uint8_t *mac = nla_data(attr);

	buf[0] = '\0';
	if (nla_len(attr) == 6)
		snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			 mac[5]);
}

static int parse_link(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct nlattr *tb[IFLA_MAX + 1];
	struct rtlink *link = arg;
	const struct ifinfomsg *info;

	if (hdr->nlmsg_type != RTM_NEWLINK)
		return NL_OK;
	if (!nlmsg_valid_hdr(hdr, sizeof(*info)) ||
	    nlmsg_parse(hdr, sizeof(*info), tb, IFLA_MAX, policy) < 0 || !tb[IFLA_IFNAME])
		return -EBADMSG;
	info = nlmsg_data(hdr);
	*link = (struct rtlink){ .index = (unsigned)info->ifi_index, .up = info->ifi_flags & IFF_UP };
	nla_strlcpy(link->name, tb[IFLA_IFNAME], sizeof(link->name));
	if (tb[IFLA_MTU])
		link->mtu = nla_get_u32(tb[IFLA_MTU]);
	if (tb[IFLA_ADDRESS])
		format_mac(tb[IFLA_ADDRESS], link->mac, sizeof(link->mac));
	return NL_OK;
}

int rtlink_get(struct nlchan *chan, const char *name, struct rtlink *ret)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_GETLINK, 0, 0, 0, 0);
	struct rtlink link = { 0 };
	int r;

	if (!msg || nla_put_string(msg, IFLA_IFNAME, name) < 0)
		return -ENOMEM;
	r = nlchan_talk(chan, msg, parse_link, &link);
	if (r < 0)
		return r;
	if (!link.index)
		return -ENODEV;
	*ret = link;
	return 0;
}

int rtlink_move(struct nlchan *chan, unsigned index, int netns_fd, const char *name)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, 0, index, 0, 0);

	if (!msg || nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)netns_fd) < 0 ||
	    nla_put_string(msg, IFLA_IFNAME, name) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rtlink_rename(struct nlchan *chan, unsigned index, const char *name)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, 0, index, 0, 0);

	if (!msg || nla_put_string(msg, IFLA_IFNAME, name) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rtlink_set_up(struct nlchan *chan, unsigned index, bool up)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, 0, index, up ? IFF_UP : 0, IFF_UP);

	return msg ? nlchan_talk(chan, msg, NULL, NULL) : -ENOMEM;
}

int rtlink_set_mtu(struct nlchan *chan, unsigned index, unsigned mtu)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, 0, index, 0, 0);

	if (!msg || nla_put_u32(msg, IFLA_MTU, mtu) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rtlink_add_dummy(struct nlchan *chan, const char *name)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0, 0);
	struct nlattr *info;

	if (!msg || nla_put_string(msg, IFLA_IFNAME, name) < 0)
		return -ENOMEM;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, "dummy") < 0)
		return -ENOMEM;
	nla_nest_end(msg, info);
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rtlink_delete(struct nlchan *chan, const char *name)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_DELLINK, 0, 0, 0, 0);

	if (!msg || nla_put_string(msg, IFLA_IFNAME, name) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rtlink_add_address(struct nlchan *chan, unsigned index, const struct rtlink_address *address)
{
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = (uint8_t)address->prefix,
		.ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = index,
	};
	int len = address->family == AF_INET6 ? 16 : 4;
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, len, &address->v6) < 0 ||
	    nla_put(msg, IFA_ADDRESS, len, &address->v6) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}
