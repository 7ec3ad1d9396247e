// SPDX-License-Identifier: Apache-2.0
/* The RDMA NIC: found by its uverbs node, and regions on device memory. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "edge.h"
#include "p2p.h"

#define PORT 1
#define GIDS_MAX 64

struct p2p_nic {
	struct ibv_context *context;
	struct ibv_pd *pd;
};

/* libibverbs returns NULL and sets errno, but not in every path. */
static int open_by_name(const char *name, struct ibv_context **ret)
{
	struct ibv_device **list;
	int n = 0;
	int r = -ENOENT;

	list = p2p_edge_get_device_list(&n);
	if (!list)
		return negative_errno();
	for (int i = 0; i < n; i++) {
		struct ibv_context *context;

		if (strcmp(list[i]->dev_name, name) != 0)
			continue;
		errno = 0;
		context = p2p_edge_open_device(list[i]);
		r = context ? 0 : negative_errno();
		if (context)
			*ret = context;
		break;
	}
	p2p_edge_free_device_list(list);
	return r;
}

int p2p_nic_open(const char *uverbs, struct p2p_nic **ret)
{
	const char *slash = strrchr(uverbs, '/');
	const char *name = slash ? slash + 1 : uverbs;
	_cleanup_free_ struct p2p_nic *nic = NULL;
	unsigned number;
	int r;

	if (num_parse_suffix(name, "uverbs", &number) < 0)
		return -EINVAL;
	nic = calloc(1, sizeof(*nic));
	if (!nic)
		return -ENOMEM;
	r = open_by_name(name, &nic->context);
	if (r < 0)
		return r;
	errno = 0;
	nic->pd = p2p_edge_alloc_pd(nic->context);
	if (!nic->pd) {
		r = negative_errno();
		(void)p2p_edge_close_device(nic->context);
		return r;
	}
	*ret = TAKE_PTR(nic);
	return 0;
}

void p2p_nic_close(struct p2p_nic *nic)
{
	/* After the device left the namespace both fail with EIO; their memory is freed all the same. */
	(void)p2p_edge_dealloc_pd(nic->pd);
	(void)p2p_edge_close_device(nic->context);
	free(nic);
}

struct ibv_context *p2p_nic_context(struct p2p_nic *nic)
{
	return nic->context;
}

struct ibv_pd *p2p_nic_pd(struct p2p_nic *nic)
{
	return nic->pd;
}

int p2p_register(struct p2p_nic *nic, int fd, uint64_t offset, size_t length, uint64_t iova, int access,
		 struct ibv_mr **ret)
{
	struct p2p_dmabuf_info info;
	struct ibv_mr *mr;
	int r;

	r = p2p_dmabuf_info(fd, &info);
	if (r < 0)
		return r;
	if (!info.is_gaudi)
		return -EXDEV;
	if (length == 0 || offset > info.size || length > info.size - offset)
		return -EINVAL;
	errno = 0;
	mr = p2p_edge_reg_dmabuf_mr(nic->pd, offset, length, iova, fd, access);
	if (!mr)
		return negative_errno();
	*ret = mr;
	return 0;
}

int p2p_unregister(struct ibv_mr *mr)
{
	/* Returns an errno value, not -1. */
	int error = p2p_edge_dereg_mr(mr);

	return error > 0 ? -error : error;
}

/* 0: not usable with RoCE v2; the higher the better. */
static unsigned gid_rank(const struct ibv_gid_entry *entry)
{
	static const uint8_t ipv4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const uint8_t *raw = entry->gid.raw;

	if (entry->gid_type != IBV_GID_TYPE_ROCE_V2 || entry->gid_index > UINT8_MAX)
		return 0;
	if (memcmp(raw, ipv4_mapped, sizeof(ipv4_mapped)) == 0)
		return 3;
	if (raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80)
		return 1;
	return 2;
}

int p2p_nic_gid(struct p2p_nic *nic, struct p2p_gid *ret)
{
	struct ibv_gid_entry entries[GIDS_MAX];
	const struct ibv_gid_entry *best = NULL;
	struct ibv_port_attr attr = { 0 };
	unsigned best_rank = 0;
	ssize_t n;
	int error;

	error = p2p_edge_query_port(nic->context, PORT, &attr);
	if (error)
		return error > 0 ? -error : -EIO;
	if (attr.state != IBV_PORT_ACTIVE)
		return -ENETDOWN;
	n = p2p_edge_query_gid_table(nic->context, entries, GIDS_MAX);
	if (n < 0)
		return (int)n;
	for (ssize_t i = 0; i < n; i++) {
		unsigned rank = entries[i].port_num == PORT ? gid_rank(&entries[i]) : 0;

		if (rank > best_rank) {
			best = &entries[i];
			best_rank = rank;
		}
	}
	if (!best)
		return -EADDRNOTAVAIL;
	*ret = (struct p2p_gid){
		.gid = best->gid,
		.index = (uint8_t)best->gid_index,
		.port = PORT,
		.mtu = (uint8_t)attr.active_mtu,
		.is_ipv4 = best_rank == 3,
	};
	return 0;
}
