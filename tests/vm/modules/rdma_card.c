// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMA devices as cards have them. Those of RoCE lie below the PCI function of a netdev, with character devices and
 * a GID table that ib_core fills, and stay alive when the netdev changes its namespace, which Soft-RoCE's do not.
 * Those of InfiniBand lie below PCI functions without a netdev: ib_ipoib makes theirs, and makes them anew at each
 * move. They carry no traffic: a context, a protection domain and a region can be had, and how many regions there
 * are is told. For tests.
 */
#include <linux/atomic.h>
#include <linux/etherdevice.h>
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

#define CARDS_MAX 4
#define CARD_GIDS 32
#define CARD_RECEIVES 1024

static char *netdevs[CARDS_MAX];
static int n_netdevs;
module_param_array(netdevs, charp, &n_netdevs, 0444);
MODULE_PARM_DESC(netdevs, "names of the netdevs whose cards get an RDMA device, card0 and on");

static bool movable = true;
module_param(movable, bool, 0444);
MODULE_PARM_DESC(movable, "0: as drivers that cannot take a device from those who have it open");

static int ports = 1;
module_param(ports, int, 0444);
MODULE_PARM_DESC(ports, "how many ports a device of InfiniBand has");

static bool make_netdevs;
module_param(make_netdevs, bool, 0444);
MODULE_PARM_DESC(make_netdevs, "1: make the netdevs of InfiniBand's, in the first namespace, when there is no ib_ipoib");

static char *functions[CARDS_MAX];
static int n_functions;
module_param_array(functions, charp, &n_functions, 0444);
MODULE_PARM_DESC(functions, "PCI functions that get a device of InfiniBand, card0 and on");

static atomic_t regions = ATOMIC_INIT(0);

static int rdma_card_get_regions(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&regions));
}

static const struct kernel_param_ops rdma_card_regions_ops = { .get = rdma_card_get_regions };
module_param_cb(regions, &rdma_card_regions_ops, NULL, 0444);
MODULE_PARM_DESC(regions, "how many regions are registered");

struct rdma_card {
	struct ib_device ib;
	struct list_head entry;
	bool infiniband;
};

struct card_context {
	struct ib_ucontext ib;
};

struct card_domain {
	struct ib_pd ib;
};

/* What it was given to receive into, until it is told to give that back. */
struct card_qp {
	struct ib_qp ib;
	spinlock_t lock; /* of all that follows */
	bool is_flushed;
	unsigned int n;
	u64 receives[CARD_RECEIVES];
};

struct card_cq {
	struct ib_cq ib;
	struct card_qp *qp; /* that receives into it */
};

static atomic_t qp_numbers = ATOMIC_INIT(1); /* 0 and 1 are for the management of a subnet */
static LIST_HEAD(rdma_cards);
static struct ib_client rdma_card_client;

static bool is_infiniband(struct ib_device *ib)
{
	return container_of(ib, struct rdma_card, ib)->infiniband;
}

static int rdma_card_query_device(struct ib_device *ib, struct ib_device_attr *attr, struct ib_udata *udata)
{
	attr->max_mr_size = U32_MAX;
	attr->page_size_cap = PAGE_SIZE;
	attr->max_mr = 1024;
	attr->max_pd = 1024;
	attr->max_pkeys = 1;
	attr->max_qp_wr = CARD_RECEIVES;
	attr->max_send_sge = 4;
	attr->max_recv_sge = 4;
	attr->kernel_cap_flags = IBK_LOCAL_DMA_LKEY;
	return 0;
}

static int rdma_card_query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	struct net_device *netdev = ib_device_get_netdev(ib, port);
	bool up = netdev && netif_running(netdev) && netif_carrier_ok(netdev);

	attr->state = up ? IB_PORT_ACTIVE : IB_PORT_DOWN;
	attr->phys_state = up ? IB_PORT_PHYS_STATE_LINK_UP : IB_PORT_PHYS_STATE_DISABLED;
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = netdev ? iboe_get_mtu(READ_ONCE(netdev->mtu)) : IB_MTU_1024;
	attr->gid_tbl_len = CARD_GIDS;
	attr->pkey_tbl_len = 1;
	attr->max_msg_sz = U32_MAX;
	attr->active_width = IB_WIDTH_4X;
	attr->active_speed = IB_SPEED_EDR;
	dev_put(netdev);
	return 0;
}

static int rdma_card_get_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable)
{
	immutable->gid_tbl_len = CARD_GIDS;
	immutable->pkey_tbl_len = 1;
	if (is_infiniband(ib)) {
		/* Nobody manages its subnet: it has no queue pairs for that. */
		immutable->core_cap_flags = RDMA_CORE_CAP_PROT_IB;
		return 0;
	}
	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

static enum rdma_link_layer rdma_card_get_link_layer(struct ib_device *ib, u32 port)
{
	return is_infiniband(ib) ? IB_LINK_LAYER_INFINIBAND : IB_LINK_LAYER_ETHERNET;
}

static int rdma_card_query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey)
{
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

static int rdma_card_query_gid(struct ib_device *ib, u32 port, int index, union ib_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	if (index == 0) {
		gid->global.subnet_prefix = cpu_to_be64(0xfe80000000000000ULL);
		gid->global.interface_id = ib->node_guid;
	}
	return 0;
}

static int rdma_card_add_gid(const struct ib_gid_attr *attr, void **context)
{
	return 0;
}

static int rdma_card_del_gid(const struct ib_gid_attr *attr, void **context)
{
	return 0;
}

static int rdma_card_alloc_context(struct ib_ucontext *context, struct ib_udata *udata)
{
	return 0;
}

static void rdma_card_dealloc_context(struct ib_ucontext *context)
{
}

/* A driver with it takes the device from whoever has it open when it moves; the core does the rest. */
static void rdma_card_disassociate(struct ib_ucontext *context)
{
}

static int rdma_card_alloc_domain(struct ib_pd *domain, struct ib_udata *udata)
{
	return 0;
}

static int rdma_card_dealloc_domain(struct ib_pd *domain, struct ib_udata *udata)
{
	return 0;
}

static struct ib_mr *rdma_card_reg_mr(struct ib_pd *domain, u64 start, u64 length, u64 virt, int access,
				      struct ib_dmah *dmah, struct ib_udata *udata)
{
	struct ib_mr *mr = kzalloc(sizeof(*mr), GFP_KERNEL);

	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->lkey = atomic_inc_return(&regions);
	mr->rkey = mr->lkey;
	return mr;
}

static int rdma_card_dereg_mr(struct ib_mr *mr, struct ib_udata *udata)
{
	kfree(mr);
	atomic_dec(&regions);
	return 0;
}

/* --- what ib_ipoib asks of a device ----------------------------------------- */
static struct ib_mr *rdma_card_get_dma_mr(struct ib_pd *domain, int access)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static int rdma_card_create_cq(struct ib_cq *cq, const struct ib_cq_init_attr *attr, struct uverbs_attr_bundle *attrs)
{
	return attrs ? -EOPNOTSUPP : 0;
}

static int rdma_card_destroy_cq(struct ib_cq *cq, struct ib_udata *udata)
{
	return 0;
}

static int rdma_card_notify_cq(struct ib_cq *cq, enum ib_cq_notify_flags flags)
{
	return 0;
}

/* Nothing ever arrives: there is only what comes back unused. */
static int rdma_card_poll_cq(struct ib_cq *cq, int max, struct ib_wc *wc)
{
	struct card_qp *qp = READ_ONCE(container_of(cq, struct card_cq, ib)->qp);
	unsigned long flags;
	int n = 0;

	if (!qp)
		return 0;
	spin_lock_irqsave(&qp->lock, flags);
	for (; qp->is_flushed && qp->n && n < max; n++) {
		wc[n] = (struct ib_wc){
			.wr_id = qp->receives[--qp->n],
			.status = IB_WC_WR_FLUSH_ERR,
			.opcode = IB_WC_RECV,
			.qp = &qp->ib,
		};
	}
	spin_unlock_irqrestore(&qp->lock, flags);
	return n;
}

static int rdma_card_create_qp(struct ib_qp *ib, struct ib_qp_init_attr *attr, struct ib_udata *udata)
{
	struct card_qp *qp = container_of(ib, struct card_qp, ib);

	if (udata || attr->qp_type != IB_QPT_UD)
		return -EOPNOTSUPP;
	spin_lock_init(&qp->lock);
	ib->qp_num = atomic_inc_return(&qp_numbers) & 0xffffff;
	WRITE_ONCE(container_of(attr->recv_cq, struct card_cq, ib)->qp, qp);
	return 0;
}

static int rdma_card_modify_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask, struct ib_udata *udata)
{
	struct card_qp *qp = container_of(ib, struct card_qp, ib);
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	if (mask & IB_QP_STATE)
		qp->is_flushed = attr->qp_state == IB_QPS_ERR;
	spin_unlock_irqrestore(&qp->lock, flags);
	return 0;
}

static int rdma_card_query_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask, struct ib_qp_init_attr *init)
{
	attr->qp_state = IB_QPS_RTS;
	return 0;
}

static int rdma_card_destroy_qp(struct ib_qp *ib, struct ib_udata *udata)
{
	WRITE_ONCE(container_of(ib->recv_cq, struct card_cq, ib)->qp, NULL);
	return 0;
}

static int rdma_card_post_send(struct ib_qp *ib, const struct ib_send_wr *wr, const struct ib_send_wr **bad)
{
	*bad = wr;
	return -ENETDOWN;
}

static int rdma_card_post_recv(struct ib_qp *ib, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad)
{
	struct card_qp *qp = container_of(ib, struct card_qp, ib);
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	for (; wr && qp->n < CARD_RECEIVES; wr = wr->next)
		qp->receives[qp->n++] = wr->wr_id;
	spin_unlock_irqrestore(&qp->lock, flags);
	*bad = wr;
	return wr ? -ENOMEM : 0;
}

static const struct ib_device_ops rdma_card_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.uverbs_abi_ver = 1,
	.query_device = rdma_card_query_device,
	.query_port = rdma_card_query_port,
	.get_port_immutable = rdma_card_get_port_immutable,
	.get_link_layer = rdma_card_get_link_layer,
	.query_pkey = rdma_card_query_pkey,
	.query_gid = rdma_card_query_gid,
	.add_gid = rdma_card_add_gid,
	.del_gid = rdma_card_del_gid,
	.alloc_ucontext = rdma_card_alloc_context,
	.dealloc_ucontext = rdma_card_dealloc_context,
	.alloc_pd = rdma_card_alloc_domain,
	.dealloc_pd = rdma_card_dealloc_domain,
	.reg_user_mr = rdma_card_reg_mr,
	.dereg_mr = rdma_card_dereg_mr,
	INIT_RDMA_OBJ_SIZE(ib_ucontext, card_context, ib),
	INIT_RDMA_OBJ_SIZE(ib_pd, card_domain, ib),
};

static const struct ib_device_ops rdma_card_infiniband_ops = {
	.get_dma_mr = rdma_card_get_dma_mr,
	.create_cq = rdma_card_create_cq,
	.destroy_cq = rdma_card_destroy_cq,
	.req_notify_cq = rdma_card_notify_cq,
	.poll_cq = rdma_card_poll_cq,
	.create_qp = rdma_card_create_qp,
	.modify_qp = rdma_card_modify_qp,
	.query_qp = rdma_card_query_qp,
	.destroy_qp = rdma_card_destroy_qp,
	.post_send = rdma_card_post_send,
	.post_recv = rdma_card_post_recv,
	INIT_RDMA_OBJ_SIZE(ib_cq, card_cq, ib),
	INIT_RDMA_OBJ_SIZE(ib_qp, card_qp, ib),
};

static const struct ib_device_ops rdma_card_movable_ops = {
	.disassociate_ucontext = rdma_card_disassociate,
};

/* Without a netdev it is one of InfiniBand. */
static int rdma_card_register(struct net_device *netdev, struct device *pci)
{
	struct rdma_card *card = ib_alloc_device(rdma_card, ib);
	int ret = 0;

	if (!card)
		return -ENOMEM;
	card->ib.dev.parent = pci;
	card->ib.node_type = RDMA_NODE_IB_CA;
	card->ib.phys_port_cnt = 1;
	card->ib.num_comp_vectors = 1;
	ib_set_device_ops(&card->ib, &rdma_card_ops);
	if (movable)
		ib_set_device_ops(&card->ib, &rdma_card_movable_ops);
	if (netdev) {
		addrconf_addr_eui48((u8 *)&card->ib.node_guid, (const char *)netdev->dev_addr);
		ret = ib_device_set_netdev(&card->ib, netdev, 1);
	} else {
		card->infiniband = true;
		card->ib.phys_port_cnt = ports;
		card->ib.node_guid = cpu_to_be64(0x0200000000000000ULL | pci_dev_id(to_pci_dev(pci)));
		ib_set_device_ops(&card->ib, &rdma_card_infiniband_ops);
	}
	if (!ret)
		ret = ib_register_device(&card->ib, "card%d", pci);
	if (ret)
		ib_dealloc_device(&card->ib);
	else
		list_add_tail(&card->entry, &rdma_cards);
	return ret;
}

static int rdma_card_create(const char *name)
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
		ret = rdma_card_register(netdev, pci);
	dev_put(netdev);
	return ret;
}

/* --- netdevs as ib_ipoib made them before it knew namespaces: in the first -------- */
static netdev_tx_t rdma_card_drop(struct sk_buff *skb, struct net_device *netdev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops rdma_card_netdev_ops = { .ndo_start_xmit = rdma_card_drop };

static int rdma_card_add_netdev(struct ib_device *ib)
{
	struct net_device *netdev;
	int ret;

	if (!rdma_protocol_ib(ib, 1))
		return -EOPNOTSUPP;
	netdev = alloc_netdev(0, "ib%d", NET_NAME_ENUM, ether_setup);
	if (!netdev)
		return -ENOMEM;
	SET_NETDEV_DEV(netdev, ib->dev.parent);
	netdev->netdev_ops = &rdma_card_netdev_ops;
	eth_hw_addr_random(netdev);
	ret = register_netdev(netdev);
	if (ret)
		free_netdev(netdev);
	else
		ib_set_client_data(ib, &rdma_card_client, netdev);
	return ret;
}

static void rdma_card_remove_netdev(struct ib_device *ib, void *netdev)
{
	unregister_netdev(netdev);
	free_netdev(netdev);
}

static struct ib_client rdma_card_client = {
	.name = "rdma_card",
	.add = rdma_card_add_netdev,
	.remove = rdma_card_remove_netdev,
};

static int rdma_card_create_infiniband(const char *function)
{
	struct device *pci = bus_find_device_by_name(&pci_bus_type, NULL, function);
	int ret;

	if (!pci)
		return -ENODEV;
	ret = rdma_card_register(NULL, pci);
	put_device(pci);
	return ret;
}

static void rdma_card_destroy_all(void)
{
	struct rdma_card *card, *next;

	list_for_each_entry_safe(card, next, &rdma_cards, entry) {
		list_del(&card->entry);
		ib_unregister_device(&card->ib);
		ib_dealloc_device(&card->ib);
	}
}

static void rdma_card_exit(void)
{
	rdma_card_destroy_all();
	if (make_netdevs)
		ib_unregister_client(&rdma_card_client);
}

static int __init rdma_card_init(void)
{
	int ret = make_netdevs ? ib_register_client(&rdma_card_client) : 0;

	if (ret)
		return ret;
	for (int i = 0; i < n_netdevs && !ret; i++)
		ret = rdma_card_create(netdevs[i]);
	for (int i = 0; i < n_functions && !ret; i++)
		ret = rdma_card_create_infiniband(functions[i]);
	if (ret)
		rdma_card_exit();
	return ret;
}

module_init(rdma_card_init);
module_exit(rdma_card_exit);
MODULE_DESCRIPTION("RDMA devices of cards without traffic, for tests");
MODULE_LICENSE("GPL");
