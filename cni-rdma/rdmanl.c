// SPDX-License-Identifier: Apache-2.0
#include <rdma/rdma_netlink.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/attr.h>

#include "nldump.h"
#include "rdmanl.h"

static struct nla_policy policy[RDMA_NLDEV_ATTR_MAX] = {
	[RDMA_NLDEV_ATTR_DEV_INDEX] = { .type = NLA_U32 },
	[RDMA_NLDEV_ATTR_DEV_NAME] = { .type = NLA_STRING, .maxlen = RDMANL_NAME_MAX },
	[RDMA_NLDEV_ATTR_PORT_INDEX] = { .type = NLA_U32 },
	[RDMA_NLDEV_ATTR_NODE_GUID] = { .type = NLA_U64 },
	[RDMA_NLDEV_ATTR_NDEV_INDEX] = { .type = NLA_U32 },
	[RDMA_NLDEV_ATTR_NDEV_NAME] = { .type = NLA_STRING, .maxlen = IFNAMSIZ },
	[RDMA_NLDEV_SYS_ATTR_NETNS_MODE] = { .type = NLA_U8 },
	[RDMA_NLDEV_ATTR_CHARDEV] = { .type = NLA_U64 },
	[RDMA_NLDEV_ATTR_CHARDEV_NAME] = { .type = NLA_STRING, .maxlen = 32 },
};

static struct nl_msg *request(unsigned cmd, int flags)
{
	return nlchan_request(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, cmd), flags);
}

static int parse_attrs(struct nl_msg *msg, struct nlattr **tb)
{
	return nlmsg_parse(nlmsg_hdr(msg), 0, tb, RDMA_NLDEV_ATTR_MAX - 1, policy) < 0 ? -EBADMSG : 0;
}

static int parse_mode(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[RDMA_NLDEV_ATTR_MAX];
	int *mode = arg;
	int r = parse_attrs(msg, tb);

	if (r < 0)
		return r;
	if (tb[RDMA_NLDEV_SYS_ATTR_NETNS_MODE])
		*mode = nla_get_u8(tb[RDMA_NLDEV_SYS_ATTR_NETNS_MODE]);
	return NL_OK;
}

int rdmanl_is_shared(struct nlchan *chan, bool *ret_shared)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_SYS_GET, 0);
	int mode = -1, r;

	if (!msg)
		return -ENOMEM;
	r = nlchan_talk(chan, msg, parse_mode, &mode);
	if (r < 0 && r != -EINVAL)
		return r;
	/* A kernel before 5.3 does not know the difference, or (EINVAL) not even the question. */
	*ret_shared = mode != 0;
	return 0;
}

int rdmanl_set_exclusive(struct nlchan *chan)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_SYS_SET, 0);

	if (!msg || nla_put_u8(msg, RDMA_NLDEV_SYS_ATTR_NETNS_MODE, 0) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

struct device_list {
	struct rdmanl_device *devices;
	size_t n, size;
};

static int parse_device(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[RDMA_NLDEV_ATTR_MAX];
	struct device_list *list = arg;
	struct rdmanl_device *device;
	int r = parse_attrs(msg, tb);

	if (r < 0)
		return r;
	if (!tb[RDMA_NLDEV_ATTR_DEV_INDEX] || !tb[RDMA_NLDEV_ATTR_DEV_NAME])
		return -EBADMSG;
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 8;
		struct rdmanl_device *grown = reallocarray(list->devices, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->devices = grown;
		list->size = size;
	}
	device = &list->devices[list->n++];
	*device = (struct rdmanl_device){ .index = nla_get_u32(tb[RDMA_NLDEV_ATTR_DEV_INDEX]) };
	nla_strlcpy(device->name, tb[RDMA_NLDEV_ATTR_DEV_NAME], sizeof(device->name));
	if (tb[RDMA_NLDEV_ATTR_NODE_GUID])
		device->node_guid = nla_get_u64(tb[RDMA_NLDEV_ATTR_NODE_GUID]);
	return NL_OK;
}

static void forget_devices(void *arg)
{
	struct device_list *list = arg;

	free(list->devices);
	*list = (struct device_list){ 0 };
}

int rdmanl_list(struct nlchan *chan, struct rdmanl_device **ret, size_t *ret_n)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_GET, NLM_F_DUMP);
	struct device_list list = { 0 };
	int r;

	if (!msg)
		return -ENOMEM;
	r = nldump_read(chan, msg, parse_device, forget_devices, &list);
	if (r < 0)
		return r;
	*ret = list.devices;
	*ret_n = list.n;
	return 0;
}

int rdmanl_find(struct nlchan *chan, const char *name, struct rdmanl_device *ret)
{
	_cleanup_free_ struct rdmanl_device *devices = NULL;
	size_t n;
	int r;

	r = rdmanl_list(chan, &devices, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(devices[i].name, name) == 0) {
			*ret = devices[i];
			return 0;
		}
	}
	return -ENODEV;
}

int rdmanl_find_index(struct nlchan *chan, uint32_t index, struct rdmanl_device *ret)
{
	_cleanup_free_ struct rdmanl_device *devices = NULL;
	size_t n;
	int r;

	r = rdmanl_list(chan, &devices, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (devices[i].index == index) {
			*ret = devices[i];
			return 0;
		}
	}
	return -ENODEV;
}

static int parse_port(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[RDMA_NLDEV_ATTR_MAX];
	struct rdmanl_port *port = arg;
	int r = parse_attrs(msg, tb);

	if (r < 0)
		return r;
	if (!tb[RDMA_NLDEV_ATTR_PORT_INDEX] || nla_get_u32(tb[RDMA_NLDEV_ATTR_PORT_INDEX]) != 1)
		return NL_OK;
	if (tb[RDMA_NLDEV_ATTR_NDEV_INDEX])
		port->ndev_index = nla_get_u32(tb[RDMA_NLDEV_ATTR_NDEV_INDEX]);
	if (tb[RDMA_NLDEV_ATTR_NDEV_NAME])
		nla_strlcpy(port->ndev_name, tb[RDMA_NLDEV_ATTR_NDEV_NAME], sizeof(port->ndev_name));
	return NL_OK;
}

static void forget_port(void *arg)
{
	struct rdmanl_port *port = arg;

	*port = (struct rdmanl_port){ 0 };
}

int rdmanl_port(struct nlchan *chan, uint32_t index, struct rdmanl_port *ret)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_PORT_GET, NLM_F_DUMP);
	struct rdmanl_port port = { 0 };
	int r;

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0)
		return -ENOMEM;
	r = nldump_read(chan, msg, parse_port, forget_port, &port);
	if (r >= 0)
		*ret = port;
	return r;
}

int rdmanl_find_ndev(struct nlchan *chan, unsigned ndev_index, struct rdmanl_device *ret)
{
	_cleanup_free_ struct rdmanl_device *devices = NULL;
	size_t n;
	int r;

	r = rdmanl_list(chan, &devices, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct rdmanl_port port;

		r = rdmanl_port(chan, devices[i].index, &port);
		/* a device that vanishes while we look is not the one */
		if (r == -EINVAL || r == -ENODEV || (r == 0 && port.ndev_index != ndev_index))
			continue;
		if (r < 0)
			return r;
		*ret = devices[i];
		return 0;
	}
	return -ENODEV;
}

static int parse_chardev(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[RDMA_NLDEV_ATTR_MAX];
	struct rdmanl_chardev *chardev = arg;
	int r = parse_attrs(msg, tb);

	if (r < 0)
		return r;
	if (!tb[RDMA_NLDEV_ATTR_CHARDEV] || !tb[RDMA_NLDEV_ATTR_CHARDEV_NAME])
		return -EBADMSG;
	chardev->dev = nla_get_u64(tb[RDMA_NLDEV_ATTR_CHARDEV]);
	nla_strlcpy(chardev->name, tb[RDMA_NLDEV_ATTR_CHARDEV_NAME], sizeof(chardev->name));
	return NL_OK;
}

int rdmanl_chardev(struct nlchan *chan, uint32_t index, struct rdmanl_chardev *ret)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_GET_CHARDEV, 0);
	struct rdmanl_chardev chardev = { 0 };
	int r;

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0 ||
	    nla_put_string(msg, RDMA_NLDEV_ATTR_CHARDEV_TYPE, "uverbs") < 0)
		return -ENOMEM;
	r = nlchan_talk(chan, msg, parse_chardev, &chardev);
	if (r < 0)
		return r;
	if (!chardev.name[0])
		return -ENOENT;
	*ret = chardev;
	return 0;
}

int rdmanl_move(struct nlchan *chan, uint32_t index, int netns_fd)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_SET, 0);

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0 ||
	    nla_put_u32(msg, RDMA_NLDEV_NET_NS_FD, (uint32_t)netns_fd) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rdmanl_rename(struct nlchan *chan, uint32_t index, const char *name)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_SET, 0);

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0 ||
	    nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, name) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}

int rdmanl_add_link(struct nlchan *chan, const char *name, const char *type, const char *netdev)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_NEWLINK, 0);
	int r;

	if (!msg || nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, name) < 0 ||
	    nla_put_string(msg, RDMA_NLDEV_ATTR_LINK_TYPE, type) < 0 ||
	    nla_put_string(msg, RDMA_NLDEV_ATTR_NDEV_NAME, netdev) < 0)
		return -ENOMEM;
	r = nlchan_talk(chan, msg, NULL, NULL);
	return r == -ENFILE ? -EEXIST : r; /* the kernel's word for a name that is taken */
}

int rdmanl_del_link(struct nlchan *chan, uint32_t index)
{
	_cleanup_(nlmsg_freep) struct nl_msg *msg = request(RDMA_NLDEV_CMD_DELLINK, 0);

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0)
		return -ENOMEM;
	return nlchan_talk(chan, msg, NULL, NULL);
}
