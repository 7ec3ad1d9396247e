// SPDX-License-Identifier: Apache-2.0
#include "rail.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "p2p/p2p.h"
#include "p2p/touch.h"

struct rail {
	struct p2p_pair pair;
	struct p2p_device *dev;
	struct p2p_nic *nic;
	struct p2p_memory *mem;
	int dmabuf;
	void *window;
	uint64_t size;
	struct ibv_mr *mr;
	struct rc *in, *out; /* from the left neighbour, to the right one */
	struct hello_rail right;
};

static int complain(int r, enum p2p_action action, const char *what, const char *which)
{
	log_error("cannot %s %s: %s", what, which, p2p_describe(action, r));
	return r;
}

int rail_count(unsigned *ret)
{
	struct p2p_pair pairs[P2P_PAIRS_MAX];
	size_t n;
	int r;

	r = p2p_pairs_from_env(pairs, P2P_PAIRS_MAX, &n);
	if (r < 0)
		return complain(r, P2P_ACTION_PAIRS, "find", "this pod's Gaudis");
	if (n > HELLO_RAILS_MAX) {
		log_error("this pod has %zu Gaudis, and %d are the most that are used here", n,
			  HELLO_RAILS_MAX);
		return -E2BIG;
	}
	*ret = (unsigned)n;
	return 0;
}

static int devices_open(struct rail *rail, unsigned index)
{
	int r;

	r = p2p_open_index(index, &rail->dev, &rail->pair);
	if (r == -ENOENT || r == -ERANGE || r == -EINVAL)
		return complain(r, P2P_ACTION_PAIRS, "find", "this pod's Gaudi");
	if (r < 0)
		return complain(r, P2P_ACTION_OPEN, "open", "the Gaudi");
	if (!rail->pair.uverbs[0]) {
		log_error(
			"%s has no RDMA NIC: the node has fewer NICs than Gaudis, or GAUDI_P2P_PAIRS is not set",
			rail->pair.accel);
		return -ENXIO;
	}
	r = p2p_nic_open(rail->pair.uverbs, &rail->nic);
	if (r < 0)
		return complain(r, P2P_ACTION_NIC, "open", rail->pair.uverbs);
	return 0;
}

/*
 * The driver promises zero. Were it not so, somebody's data would be on the
 * card, and every word that this program reads before it wrote it would be suspect: no way to go on.
 */
static int window_is_zero(struct rail *rail)
{
	size_t first;
	int r;

	r = p2p_find_nonzero(rail->window, rail->size, &first);
	if (r < 0)
		return complain(-ENODEV, P2P_ACTION_MAP, "read the memory of", rail->pair.accel);
	if (first == rail->size)
		return 0;
	log_error(
		"memory of %s is NOT ZERO at byte %zu of a new allocation: it holds what somebody left there. The driver "
		"promises that this cannot be: do not use this device, and report it",
		rail->pair.accel, first);
	return -EUCLEAN;
}

static int window_open(struct rail *rail, uint64_t size)
{
	const char *accel = rail->pair.accel;
	struct p2p_info info;
	int r;

	r = p2p_info(rail->dev, &info);
	if (r < 0)
		return complain(r, P2P_ACTION_OPEN, "ask", accel);
	if (info.page_size > 0)
		size = (size + info.page_size - 1) / info.page_size * info.page_size;
	r = p2p_alloc(rail->dev, size, &rail->mem);
	if (r < 0)
		return complain(r, P2P_ACTION_ALLOC, "allocate memory of", accel);
	rail->size = size;
	r = p2p_export(rail->mem, 0, size, &rail->dmabuf);
	if (r < 0)
		return complain(r, P2P_ACTION_EXPORT, "export memory of", accel);
	r = p2p_dmabuf_map(rail->dmabuf, size, true, &rail->window);
	if (r < 0)
		return complain(r, P2P_ACTION_MAP, "map memory of", accel);
	r = window_is_zero(rail);
	if (r < 0)
		return r;
	r = p2p_register(rail->nic, rail->dmabuf, 0, size, p2p_memory_device_address(rail->mem),
			 IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, &rail->mr);
	if (r < 0)
		return complain(r, P2P_ACTION_REGISTER, "register with its NIC the memory of", accel);
	return 0;
}

/* A neighbour may be a step ahead, so twice what he sends in one. */
static int connections_open(struct rail *rail, unsigned world)
{
	const unsigned receives = 2 * 2 * (world - 1);
	int r;

	r = rc_open(rail->nic, receives, &rail->in);
	if (r == 0)
		r = rc_open(rail->nic, 0, &rail->out);
	for (unsigned i = 0; i < receives && r == 0; i++)
		r = rc_receive(rail->in);
	if (r < 0)
		return complain(r, P2P_ACTION_GID, "make connections of", rail->pair.uverbs);
	return 0;
}

int rail_open(unsigned index, unsigned world, size_t count, struct rail **ret)
{
	_cleanup_(rail_closep) struct rail *rail = calloc(1, sizeof(*rail));
	int r;

	if (!rail)
		return log_error_errno(-ENOMEM, "cannot open a Gaudi");
	rail->dmabuf = -EBADF;
	r = devices_open(rail, index);
	if (r == 0)
		r = window_open(rail, ring_window_size(world, count));
	if (r == 0)
		r = connections_open(rail, world);
	if (r < 0)
		return r;
	log_info("%s and %s: %" PRIu64 " bytes of device memory, all zero", rail->pair.accel,
		 rail->pair.uverbs, rail->size);
	*ret = TAKE_PTR(rail);
	return 0;
}

void rail_close(struct rail *rail)
{
	if (rail->out)
		rc_close(rail->out);
	if (rail->in)
		rc_close(rail->in);
	if (rail->mr)
		(void)p2p_unregister(rail->mr);
	if (rail->window)
		p2p_dmabuf_unmap(rail->window, rail->size);
	closep(&rail->dmabuf);
	if (rail->mem)
		(void)p2p_free(rail->mem);
	if (rail->nic)
		p2p_nic_close(rail->nic);
	if (rail->dev)
		p2p_close(rail->dev);
	free(rail);
}

void rail_describe(const struct rail *rail, struct hello_rail *ret)
{
	*ret = (struct hello_rail){
		.address = p2p_memory_device_address(rail->mem),
		.size = rail->size,
		.rkey = rail->mr->rkey,
	};
	rc_address(rail->in, &ret->in);
	rc_address(rail->out, &ret->out);
}

int rail_connect(struct rail *rail, const struct hello_rail *left, const struct hello_rail *right)
{
	int r;

	/* Pages may differ from node to node; what is written lies in the smaller one. */
	if (right->size < rail->size) {
		log_error("the right neighbour has %" PRIu64 " bytes of memory for what has %" PRIu64,
			  right->size, rail->size);
		return -EPROTO;
	}
	rail->right = *right;
	r = rc_connect(rail->in, &left->out);
	if (r == 0)
		r = rc_connect(rail->out, &right->in);
	if (r < 0) {
		log_error_errno(r, "%s does not take a neighbour's address; can the NICs reach each other?",
				rail->pair.uverbs);
		return -EPROTO;
	}
	return 0;
}

uint8_t *rail_window(struct rail *rail)
{
	return rail->window;
}

/* --- the ring's calls ---------------------------------------------------------- */

static int failed(const struct rail *rail, enum ibv_wc_status status, const char *side)
{
	bool ours = status == IBV_WC_LOC_PROT_ERR || status == IBV_WC_LOC_LEN_ERR ||
		    status == IBV_WC_LOC_QP_OP_ERR || status == IBV_WC_LOC_ACCESS_ERR;

	log_error("%s: the connection %s failed with %s: %s", rail->pair.uverbs, side, rc_status_name(status),
		  ours ? "device memory or NIC were taken from this pod"
		       : "the neighbour, its Gaudi or the link is gone");
	return ours ? -EIO : -ECONNRESET;
}

static int io_send(void *data, size_t offset, size_t to_offset, size_t bytes, uint32_t number)
{
	struct rail *rail = data;
	const struct rc_transfer transfer = {
		.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		.imm = number,
		.local = p2p_memory_device_address(rail->mem) + offset,
		.lkey = rail->mr->lkey,
		.remote = rail->right.address + to_offset,
		.rkey = rail->right.rkey,
		.length = bytes,
		.chunk = UINT32_MAX,
	};
	int r;

	if (bytes > rail->right.size || to_offset > rail->right.size - bytes)
		return -EINVAL;
	r = rc_post(rail->out, &transfer);
	if (r < 0) {
		log_error_errno(r, "%s takes no more work", rail->pair.uverbs);
		return -EIO;
	}
	return 0;
}

static int io_sent(void *data)
{
	struct rail *rail = data;
	struct rc_completion done;
	int r = rc_poll(rail->out, &done);

	if (r == 1 && done.status != IBV_WC_SUCCESS)
		return failed(rail, done.status, "to the right");
	return r;
}

static int io_arrived(void *data, uint32_t *ret_number)
{
	struct rail *rail = data;
	struct rc_completion done;
	int r = rc_poll(rail->in, &done);

	if (r != 1)
		return r;
	if (done.status != IBV_WC_SUCCESS || !done.is_receive)
		return failed(rail, done.status, "from the left");
	r = rc_receive(rail->in);
	if (r < 0) {
		log_error_errno(r, "%s takes no more work", rail->pair.uverbs);
		return -EIO;
	}
	*ret_number = done.imm;
	return 1;
}

struct ring_io rail_io(struct rail *rail)
{
	return (struct ring_io){ .data = rail, .send = io_send, .sent = io_sent, .arrived = io_arrived };
}
