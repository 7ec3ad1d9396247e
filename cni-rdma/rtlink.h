/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces, their addresses and routes, through rtnetlink, as seen from the namespace in which
 * the channel was opened. All return 0 or -errno; nlchan_error_text() may have
 * the kernel's words.
 */
#ifndef CNI_RDMA_RTLINK_H
#define CNI_RDMA_RTLINK_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "nlchan.h"

struct rtlink {
	unsigned index;
	unsigned mtu; /* bytes */
	bool up;      /* administratively */
	char name[IFNAMSIZ];
	unsigned parent; /* index of the netdev that it sits on, in the same namespace; 0: none */
	char mac[64];	 /* "52:54:00:12:34:56", "" when it has none that fits */
};

struct rtlink_address {
	int family;	 /* AF_INET or AF_INET6 */
	unsigned prefix; /* bits */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	};
};

/* A route through one interface. 0 in a number: the kernel's default. */
struct rtlink_route {
	struct rtlink_address dst; /* what is beyond the prefix does not count */
	struct rtlink_address gw;  /* of dst's family, if has_gw; its prefix does not count */
	bool has_gw, has_scope;
	unsigned scope; /* RT_SCOPE_*, if has_scope */
	unsigned table, priority, mtu, advmss;
};

/*
 * -ENODEV: not in this namespace. Before it answers, the kernel (since 6.8) acts on a carrier that has come: a netdev
 * that was just brought up has its link-local address by then (linkwatch_sync_dev() in net/core/rtnetlink.c).
 */
int rtlink_get(struct nlchan *chan, const char *name, struct rtlink *ret);

/* A netdev that sits on that of index, as a VLAN's or a P_Key's does. -ENODEV: there is none. */
int rtlink_find_child(struct nlchan *chan, unsigned index, struct rtlink *ret);

/*
 * Moves the interface into the namespace netns_fd under a new name. A move closes
 * the interface: it arrives down. -EEXIST: the name is taken there. With a '%d' in name the kernel picks
 * the number when the present name is taken.
 */
int rtlink_move(struct nlchan *chan, unsigned index, int netns_fd, const char *name);

int rtlink_rename(struct nlchan *chan, unsigned index, const char *name);
int rtlink_set_up(struct nlchan *chan, unsigned index, bool up);
int rtlink_set_mtu(struct nlchan *chan, unsigned index, unsigned mtu);
/* Sets the MTU and brings it up, in one request. */
int rtlink_bring_up(struct nlchan *chan, const char *name, unsigned mtu);

/* An interface that goes nowhere. */
int rtlink_add_dummy(struct nlchan *chan, const char *name);
int rtlink_delete(struct nlchan *chan, const char *name);

/* IPv6 addresses skip duplicate detection: IPAM has given them to nobody else. 0 also when it is there. */
int rtlink_add_address(struct nlchan *chan, unsigned index, const struct rtlink_address *address);

/* -ENODEV: the interface does not have the address. */
int rtlink_find_address(struct nlchan *chan, unsigned index, const struct rtlink_address *address);

/* -EEXIST: another route to that destination, of the same priority, is there. */
int rtlink_add_route(struct nlchan *chan, unsigned index, const struct rtlink_route *route);

/* -ENODEV: no interface of this namespace has a route to that destination (in route's table, if it names one). */
int rtlink_find_route(struct nlchan *chan, const struct rtlink_route *route);

#endif
