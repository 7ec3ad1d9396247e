// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMA devices as RoCE cards have them: each below the PCI function of a netdev, with character devices and a GID
 * table that ib_core fills, and alive when the netdev changes its namespace, which Soft-RoCE's are not. They carry no
 * traffic: a context, a protection domain and a region can be had, and how many regions there are is told. For tests.
 */
#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <net/addrconf.h>
#include <net/net_namespace.h>
#include <rdma/ib_addr.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_verbs.h>

#define ROCE_CARDS 4
#define ROCE_GIDS 32

static char *netdevs[ROCE_CARDS];
static int n_netdevs;
module_param_array(netdevs, charp, &n_netdevs, 0444);
MODULE_PARM_DESC(netdevs, "names of the netdevs whose cards get an RDMA device, roce0 and on");

static bool movable = true;
module_param(movable, bool, 0444);
MODULE_PARM_DESC(movable, "0: as drivers that cannot take a device from those who have it open");

static bool infiniband;
module_param(infiniband, bool, 0444);
MODULE_PARM_DESC(infiniband, "1: the link layer is InfiniBand");

static atomic_t regions = ATOMIC_INIT(0);

static int roce_card_get_regions(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&regions));
}

static const struct kernel_param_ops roce_card_regions_ops = { .get = roce_card_get_regions };
module_param_cb(regions, &roce_card_regions_ops, NULL, 0444);
MODULE_PARM_DESC(regions, "how many regions are registered");

struct roce_card {
	struct ib_device ib;
	struct list_head entry;
};

struct roce_context {
	struct ib_ucontext ib;
};

struct roce_domain {
	struct ib_pd ib;
};

static LIST_HEAD(roce_cards);

static int roce_card_query_device(struct ib_device *ib, struct ib_device_attr *attr, struct ib_udata *udata)
{
	attr->max_mr_size = U32_MAX;
	attr->page_size_cap = PAGE_SIZE;
	attr->max_mr = 1024;
	attr->max_pd = 1024;
	attr->max_pkeys = 1;
	return 0;
}

static int roce_card_query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	struct net_device *netdev = ib_device_get_netdev(ib, port);
	bool up = netdev && netif_running(netdev) && netif_carrier_ok(netdev);

	attr->state = up ? IB_PORT_ACTIVE : IB_PORT_DOWN;
	attr->phys_state = up ? IB_PORT_PHYS_STATE_LINK_UP : IB_PORT_PHYS_STATE_DISABLED;
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = netdev ? iboe_get_mtu(READ_ONCE(netdev->mtu)) : IB_MTU_1024;
	attr->gid_tbl_len = ROCE_GIDS;
	attr->pkey_tbl_len = 1;
	attr->max_msg_sz = U32_MAX;
	attr->active_width = IB_WIDTH_4X;
	attr->active_speed = IB_SPEED_EDR;
	dev_put(netdev);
	return 0;
}

static int roce_card_get_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable)
{
	immutable->gid_tbl_len = ROCE_GIDS;
	immutable->pkey_tbl_len = 1;
	immutable->core_cap_flags = infiniband ? RDMA_CORE_PORT_IBA_IB : RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

static enum rdma_link_layer roce_card_get_link_layer(struct ib_device *ib, u32 port)
{
	return infiniband ? IB_LINK_LAYER_INFINIBAND : IB_LINK_LAYER_ETHERNET;
}

static int roce_card_query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey)
{
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

static int roce_card_query_gid(struct ib_device *ib, u32 port, int index, union ib_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	return 0;
}

static int roce_card_add_gid(const struct ib_gid_attr *attr, void **context)
{
	return 0;
}

static int roce_card_del_gid(const struct ib_gid_attr *attr, void **context)
{
	return 0;
}

static int roce_card_alloc_context(struct ib_ucontext *context, struct ib_udata *udata)
{
	return 0;
}

static void roce_card_dealloc_context(struct ib_ucontext *context)
{
}

/* A driver with it takes the device from whoever has it open when it moves; the core does the rest. */
static void roce_card_disassociate(struct ib_ucontext *context)
{
}

static int roce_card_alloc_domain(struct ib_pd *domain, struct ib_udata *udata)
{
	return 0;
}

static int roce_card_dealloc_domain(struct ib_pd *domain, struct ib_udata *udata)
{
	return 0;
}

static struct ib_mr *roce_card_reg_mr(struct ib_pd *domain, u64 start, u64 length, u64 virt, int access,
				      struct ib_dmah *dmah, struct ib_udata *udata)
{
	struct ib_mr *mr = kzalloc(sizeof(*mr), GFP_KERNEL);

	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->lkey = atomic_inc_return(&regions);
	mr->rkey = mr->lkey;
	return mr;
}

static int roce_card_dereg_mr(struct ib_mr *mr, struct ib_udata *udata)
{
	kfree(mr);
	atomic_dec(&regions);
	return 0;
}

static const struct ib_device_ops roce_card_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.uverbs_abi_ver = 1,
	.query_device = roce_card_query_device,
	.query_port = roce_card_query_port,
	.get_port_immutable = roce_card_get_port_immutable,
	.get_link_layer = roce_card_get_link_layer,
	.query_pkey = roce_card_query_pkey,
	.query_gid = roce_card_query_gid,
	.add_gid = roce_card_add_gid,
	.del_gid = roce_card_del_gid,
	.alloc_ucontext = roce_card_alloc_context,
	.dealloc_ucontext = roce_card_dealloc_context,
	.alloc_pd = roce_card_alloc_domain,
	.dealloc_pd = roce_card_dealloc_domain,
	.reg_user_mr = roce_card_reg_mr,
	.dereg_mr = roce_card_dereg_mr,
	INIT_RDMA_OBJ_SIZE(ib_ucontext, roce_context, ib),
	INIT_RDMA_OBJ_SIZE(ib_pd, roce_domain, ib),
};

static const struct ib_device_ops roce_card_movable_ops = {
	.disassociate_ucontext = roce_card_disassociate,
};

static int roce_card_register(struct net_device *netdev, struct device *pci)
{
	struct roce_card *card = ib_alloc_device(roce_card, ib);
	int ret;

	if (!card)
		return -ENOMEM;
	card->ib.dev.parent = pci;
	card->ib.node_type = RDMA_NODE_IB_CA;
	card->ib.phys_port_cnt = 1;
	card->ib.num_comp_vectors = 1;
	addrconf_addr_eui48((u8 *)&card->ib.node_guid, (const char *)netdev->dev_addr);
	ib_set_device_ops(&card->ib, &roce_card_ops);
	if (movable)
		ib_set_device_ops(&card->ib, &roce_card_movable_ops);
	ret = ib_device_set_netdev(&card->ib, netdev, 1);
	if (!ret)
		ret = ib_register_device(&card->ib, "roce%d", pci);
	if (ret)
		ib_dealloc_device(&card->ib);
	else
		list_add_tail(&card->entry, &roce_cards);
	return ret;
}

static int roce_card_create(const char *name)
{
	struct net_device *netdev = dev_get_by_name(&init_net, name);
	struct device *pci;
	int ret = -ENODEV;

	if (!netdev)
		return -ENODEV;
	/* Below a virtio NIC's PCI function lies a virtio device, and below that the netdev. */
	for (pci = netdev->dev.parent; pci && !dev_is_pci(pci); pci = pci->parent)
		;
	if (pci)
		ret = roce_card_register(netdev, pci);
	dev_put(netdev);
	return ret;
}

static void roce_card_destroy_all(void)
{
	struct roce_card *card, *next;

	list_for_each_entry_safe(card, next, &roce_cards, entry) {
		list_del(&card->entry);
		ib_unregister_device(&card->ib);
		ib_dealloc_device(&card->ib);
	}
}

static int __init roce_card_init(void)
{
	int ret = 0;

	for (int i = 0; i < n_netdevs && !ret; i++)
		ret = roce_card_create(netdevs[i]);
	if (ret)
		roce_card_destroy_all();
	return ret;
}

static void __exit roce_card_exit(void)
{
	roce_card_destroy_all();
}

module_init(roce_card_init);
module_exit(roce_card_exit);
MODULE_DESCRIPTION("RDMA devices of RoCE cards without traffic, for tests");
MODULE_LICENSE("GPL");
