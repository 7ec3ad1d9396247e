// SPDX-License-Identifier: Apache-2.0
#include "rail.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "p2p/p2p.h"
#include "p2p/touch.h"
#include "p2p/window.h"

struct rail {
	struct p2p_window window;
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

/*
 * The driver promises zero. Were it not so, somebody's data would be on the
 * card, and every word that this program reads before it wrote it would be suspect: no way to go on.
 */
static int window_is_zero(const struct p2p_window *window)
{
	size_t first;
	int r;

	r = p2p_find_nonzero(window->map, window->size, &first);
	if (r < 0)
		return complain(-ENODEV, P2P_ACTION_MAP, "read the memory of", window->pair.accel);
	if (first == window->size)
		return 0;
	log_error(
		"memory of %s is NOT ZERO at byte %zu of a new allocation: it holds what somebody left there. The driver "
		"promises that this cannot be: do not use this device, and report it",
		window->pair.accel, first);
	return -EUCLEAN;
}

static int window_open(struct rail *rail, unsigned index, uint64_t size)
{
	char why[P2P_WHY_SIZE];
	int r;

	r = p2p_window_open(&rail->window, index, why, sizeof(why));
	if (r == 0)
		r = p2p_window_alloc(&rail->window, size, why, sizeof(why));
	if (r < 0) {
		log_error("%s", why);
		return r;
	}
	return window_is_zero(&rail->window);
}

/* A neighbour may be a step ahead, so twice what he sends in one. */
static int connections_open(struct rail *rail, unsigned world)
{
	const unsigned receives = 2 * 2 * (world - 1);
	int r;

	r = rc_open(rail->window.nic, receives, &rail->in);
	if (r == 0)
		r = rc_open(rail->window.nic, 0, &rail->out);
	for (unsigned i = 0; i < receives && r == 0; i++)
		r = rc_receive(rail->in);
	if (r < 0)
		return complain(r, P2P_ACTION_GID, "make connections of", rail->window.pair.uverbs);
	return 0;
}

int rail_open(unsigned index, unsigned world, size_t count, struct rail **ret)
{
	_cleanup_(rail_closep) struct rail *rail = calloc(1, sizeof(*rail));
	int r;

	if (!rail)
		return log_error_errno(-ENOMEM, "cannot open a Gaudi");
	rail->window = (struct p2p_window)P2P_WINDOW_INIT;
	r = window_open(rail, index, ring_window_size(world, count));
	if (r == 0)
		r = connections_open(rail, world);
	if (r < 0)
		return r;
	log_info("%s and %s: %" PRIu64 " bytes of device memory, all zero", rail->window.pair.accel,
		 rail->window.pair.uverbs, rail->window.size);
	*ret = TAKE_PTR(rail);
	return 0;
}

void rail_close(struct rail *rail)
{
	if (rail->out)
		rc_close(rail->out);
	if (rail->in)
		rc_close(rail->in);
	p2p_window_done(&rail->window);
	free(rail);
}

void rail_describe(const struct rail *rail, struct hello_rail *ret)
{
	*ret = (struct hello_rail){
		.address = p2p_memory_device_address(rail->window.mem),
		.size = rail->window.size,
		.rkey = rail->window.mr->rkey,
	};
	rc_address(rail->in, &ret->in);
	rc_address(rail->out, &ret->out);
}

int rail_connect(struct rail *rail, const struct hello_rail *left, const struct hello_rail *right)
{
	int r;

	/* Pages may differ from node to node; what is written lies in the smaller one. */
	if (right->size < rail->window.size) {
		log_error("the right neighbour has %" PRIu64 " bytes of memory for what has %" PRIu64,
			  right->size, rail->window.size);
		return -EPROTO;
	}
	rail->right = *right;
	r = rc_connect(rail->in, &left->out);
	if (r == 0)
		r = rc_connect(rail->out, &right->in);
	if (r < 0) {
		log_error_errno(r, "%s does not take a neighbour's address; can the NICs reach each other?",
				rail->window.pair.uverbs);
		return -EPROTO;
	}
	return 0;
}

uint8_t *rail_window(struct rail *rail)
{
	return rail->window.map;
}

/* --- the ring's calls ---------------------------------------------------------- */

static int failed(const struct rail *rail, enum ibv_wc_status status, const char *side)
{
	bool ours = status == IBV_WC_LOC_PROT_ERR || status == IBV_WC_LOC_LEN_ERR ||
		    status == IBV_WC_LOC_QP_OP_ERR || status == IBV_WC_LOC_ACCESS_ERR;

	log_error("%s: the connection %s failed with %s: %s", rail->window.pair.uverbs, side,
		  rc_status_name(status),
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
		.local = p2p_memory_device_address(rail->window.mem) + offset,
		.lkey = rail->window.mr->lkey,
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
		log_error_errno(r, "%s takes no more work", rail->window.pair.uverbs);
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
		log_error_errno(r, "%s takes no more work", rail->window.pair.uverbs);
		return -EIO;
	}
	*ret_number = done.imm;
	return 1;
}

struct ring_io rail_io(struct rail *rail)
{
	return (struct ring_io){ .data = rail, .send = io_send, .sent = io_sent, .arrived = io_arrived };
}
