// SPDX-License-Identifier: Apache-2.0
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include <netlink/attr.h>

#include "nldump.h"
#include "rtlink.h"

static struct nla_policy policy[IFLA_MAX + 1] = {
	[IFLA_IFNAME] = { .type = NLA_STRING, .maxlen = IFNAMSIZ },
	[IFLA_MTU] = { .type = NLA_U32 },
	[IFLA_LINK] = { .type = NLA_U32 },
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

/* Six bytes, or InfiniBand's twenty. */
static void format_mac(const struct nlattr *attr, char *buf, size_t size)
{
	const uint8_t *mac = nla_data(attr);
	size_t len = (size_t)nla_len(attr);

	buf[0] = '\0';
	for (size_t i = 0; i < len && 3 * len <= size; i++)
		snprintf(buf + 3 * i, size - 3 * i, "%02x%s", mac[i], i + 1 < len ? ":" : "");
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
	/* In another namespace the number would be another's. */
	if (tb[IFLA_LINK] && !tb[IFLA_LINK_NETNSID])
		link->parent = nla_get_u32(tb[IFLA_LINK]);
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

/* For nldump_read(), of a search that begins with whether it has found. */
static void forget(void *arg)
{
	bool *found = arg;

	*found = false;
}

struct find_child {
	bool found;
	unsigned parent;
	struct rtlink link;
};

static int match_child(struct nl_msg *msg, void *arg)
{
	struct find_child *find = arg;
	struct rtlink link = { 0 };
	int r = parse_link(msg, &link);

	if (r < 0 || link.parent != find->parent || link.index == find->parent)
		return r;
	find->found = true;
	find->link = link;
	return NL_OK;
}

int rtlink_find_child(struct nlchan *chan, unsigned index, struct rtlink *ret)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_GETLINK, NLM_F_DUMP, 0, 0, 0);
	struct find_child find = { .parent = index };
	int r;

	if (!msg)
		return -ENOMEM;
	r = nldump_read(chan, msg, match_child, forget, &find);
	if (r < 0)
		return r;
	if (!find.found)
		return -ENODEV;
	*ret = find.link;
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

int rtlink_bring_up(struct nlchan *chan, const char *name, unsigned mtu)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RTM_NEWLINK, 0, 0, IFF_UP, IFF_UP);

	if (!msg || nla_put_string(msg, IFLA_IFNAME, name) < 0 || nla_put_u32(msg, IFLA_MTU, mtu) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
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

static int address_len(const struct rtlink_address *address)
{
	return address->family == AF_INET6 ? 16 : 4;
}

int rtlink_add_address(struct nlchan *chan, unsigned index, const struct rtlink_address *address)
{
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = (uint8_t)address->prefix,
		.ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = index,
	};
	int len = address_len(address);
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, len, &address->v6) < 0 ||
	    nla_put(msg, IFA_ADDRESS, len, &address->v6) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

struct find_address {
	bool found;
	const struct rtlink_address *address;
	unsigned index;
};

static int match_address(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct find_address *find = arg;
	struct nlattr *tb[IFA_MAX + 1], *local;
	const struct ifaddrmsg *info;

	if (hdr->nlmsg_type != RTM_NEWADDR)
		return NL_OK;
	if (!nlmsg_valid_hdr(hdr, sizeof(*info)) || nlmsg_parse(hdr, sizeof(*info), tb, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	info = nlmsg_data(hdr);
	local = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]; /* IPv6 has only the second */
	if (info->ifa_index == find->index && info->ifa_family == find->address->family &&
	    info->ifa_prefixlen == find->address->prefix && local &&
	    nla_len(local) == address_len(find->address) &&
	    memcmp(nla_data(local), &find->address->v6, (size_t)nla_len(local)) == 0)
		find->found = true;
	return NL_OK;
}

int rtlink_find_address(struct nlchan *chan, unsigned index, const struct rtlink_address *address)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg info = { .ifa_family = (uint8_t)address->family };
	struct find_address find = { .address = address, .index = index };
	int r;

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	r = nldump_read(chan, msg, match_address, forget, &find);
	return r < 0 ? r : find.found ? 0 : -ENODEV;
}

/* The network of an address: what is beyond its prefix is zero, or the kernel refuses it. */
static void network_of(const struct rtlink_address *address, uint8_t network[16])
{
	memset(network, 0, 16);
	memcpy(network, &address->v6, (size_t)address_len(address));
	for (unsigned bit = address->prefix; bit < 8u * (unsigned)address_len(address); bit++)
		network[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

static int put_metrics(struct nl_msg *msg, const struct rtlink_route *route)
{
	struct nlattr *metrics;

	if (!route->mtu && !route->advmss)
		return 0;
	metrics = nla_nest_start(msg, RTA_METRICS);
	if (!metrics || (route->mtu && nla_put_u32(msg, RTAX_MTU, route->mtu) < 0) ||
	    (route->advmss && nla_put_u32(msg, RTAX_ADVMSS, route->advmss) < 0))
		return -ENOMEM;
	nla_nest_end(msg, metrics);
	return 0;
}

int rtlink_add_route(struct nlchan *chan, unsigned index, const struct rtlink_route *route)
{
	unsigned scope = route->has_scope ? route->scope : route->has_gw ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	struct rtmsg info = {
		.rtm_family = (uint8_t)route->dst.family,
		.rtm_dst_len = (uint8_t)route->dst.prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = (uint8_t)scope,
		.rtm_type = RTN_UNICAST,
	};
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	int len = address_len(&route->dst);
	uint8_t network[16];

	network_of(&route->dst, network);
	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
	    (route->dst.prefix && nla_put(msg, RTA_DST, len, network) < 0) ||
	    (route->has_gw && nla_put(msg, RTA_GATEWAY, len, &route->gw.v6) < 0) ||
	    (route->table && nla_put_u32(msg, RTA_TABLE, route->table) < 0) ||
	    (route->priority && nla_put_u32(msg, RTA_PRIORITY, route->priority) < 0) ||
	    nla_put_u32(msg, RTA_OIF, index) < 0 || put_metrics(msg, route) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

struct find_route {
	bool found;
	const struct rtlink_route *route;
	uint8_t network[16];
};

static int match_route(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	struct find_route *find = arg;
	const struct rtlink_route *route = find->route;
	static struct nla_policy numbers[RTA_MAX + 1] = { [RTA_TABLE] = { .type = NLA_U32 } };
	struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *info;
	unsigned table;

	if (hdr->nlmsg_type != RTM_NEWROUTE)
		return NL_OK;
	if (!nlmsg_valid_hdr(hdr, sizeof(*info)) || nlmsg_parse(hdr, sizeof(*info), tb, RTA_MAX, numbers) < 0)
		return -EBADMSG;
	info = nlmsg_data(hdr);
	table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : info->rtm_table;
	if (info->rtm_family != route->dst.family || info->rtm_dst_len != route->dst.prefix ||
	    info->rtm_type != RTN_UNICAST || table != (route->table ? route->table : RT_TABLE_MAIN))
		return NL_OK;
	if (!route->dst.prefix ||
	    (tb[RTA_DST] && nla_len(tb[RTA_DST]) == address_len(&route->dst) &&
	     memcmp(nla_data(tb[RTA_DST]), find->network, (size_t)nla_len(tb[RTA_DST])) == 0))
		find->found = true;
	return NL_OK;
}

int rtlink_find_route(struct nlchan *chan, const struct rtlink_route *route)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = nlchan_request(RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg info = { .rtm_family = (uint8_t)route->dst.family };
	struct find_route find = { .route = route };
	int r;

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	network_of(&route->dst, find.network);
	r = nldump_read(chan, msg, match_route, forget, &find);
	return r < 0 ? r : find.found ? 0 : -ENODEV;
}
