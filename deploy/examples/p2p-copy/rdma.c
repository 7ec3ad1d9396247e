// SPDX-License-Identifier: Apache-2.0
/* Commands on the NIC: regions, connections, transfers. */
#include <inttypes.h>
#include <string.h>

#include "pattern.h"
#include "p2p/touch.h"
#include "state.h"

#define CHUNK (1U << 20)
#define WATCH_LIMIT (1U << 20)
#define WATCH_PAUSE 0.02 /* seconds between reads */

static int fail_p2p(struct reply *reply, enum p2p_action action, int r, const char *doing)
{
	return reply_fail(reply, r, doing, p2p_describe(action, r));
}

static int command_nic(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const char *path = words_get(w, "path");
	struct rc_address address = { 0 };
	char text[RC_ADDRESS_TEXT];
	struct p2p_gid gid;
	int r;

	(void)fd;
	if (s->nic)
		return reply_fail(reply, -EBUSY, "nic", "this program has its NIC open already");
	if (!path)
		path = s->pair.uverbs;
	r = p2p_nic_open(path, &s->nic);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_NIC, r, "nic");
	r = p2p_nic_gid(s->nic, &gid);
	if (r < 0) {
		p2p_nic_close(TAKE_PTR(s->nic));
		return fail_p2p(reply, P2P_ACTION_GID, r, "gid");
	}
	address.gid = gid.gid;
	rc_address_format(&address, text);
	reply_add(reply, "ok uverbs=%s %s index=%u ipv4=%d", path, strstr(text, "gid="), gid.index,
		  gid.is_ipv4);
	return 0;
}

static int command_nic_close(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)w;
	(void)fd;
	if (!s->nic)
		return reply_fail(reply, -ENODEV, "nic", "no NIC is open");
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slot[i].mr)
			return reply_fail(reply, -EBUSY, "nic", "there are regions on it; drop them first");
	for (unsigned i = 0; i < LINKS; i++)
		if (s->link[i].rc)
			return reply_fail(reply, -EBUSY, "nic",
					  "there are connections on it; disconnect first");
	p2p_nic_close(TAKE_PTR(s->nic));
	reply_add(reply, "ok");
	return 0;
}

static int command_register(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = state_slot(s, words_name(w, "name"));
	int r;

	(void)fd;
	if (!slot || slot->mr)
		return reply_bad(reply, "name");
	if (!s->nic)
		return reply_fail(reply, -ENODEV, "register", "no NIC is open; say nic first");
	r = p2p_register(s->nic, slot->dmabuf, 0, slot->size, slot->iova,
			 IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
			 &slot->mr);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_REGISTER, r, "register");
	reply_add(reply, "ok rkey=0x%x addr=0x%" PRIx64 " length=%" PRIu64, slot->mr->rkey, slot->iova,
		  slot->size);
	return 0;
}

static int command_unregister(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = state_slot(s, words_name(w, "name"));
	int r;

	(void)fd;
	if (!slot || !slot->mr)
		return reply_bad(reply, "name");
	r = p2p_unregister(slot->mr);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_REGISTER, r, "unregister");
	slot->mr = NULL;
	reply_add(reply, "ok");
	return 0;
}

static int command_qp(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct link *link;
	struct rc_address address;
	char text[RC_ADDRESS_TEXT];
	int r;

	(void)fd;
	if (!s->nic)
		return reply_fail(reply, -ENODEV, "qp", "no NIC is open; say nic first");
	link = state_link_new(s, words_name(w, "name"));
	if (!link)
		return reply_bad(reply, "name");
	r = rc_open(s->nic, 0, &link->rc);
	if (r < 0) {
		link->name[0] = '\0';
		return fail_p2p(reply, P2P_ACTION_GID, r, "qp");
	}
	rc_address(link->rc, &address);
	rc_address_format(&address, text);
	reply_add(reply, "ok %s", text);
	return 0;
}

static int command_connect(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct link *link = state_link(s, words_name(w, "name"));
	struct rc_address peer;
	int r;

	(void)fd;
	if (!link)
		return reply_bad(reply, "name");
	if (rc_address_parse(w, &peer) < 0)
		return reply_bad(reply, "qpn, psn, mtu, gid");
	r = rc_connect(link->rc, &peer);
	if (r < 0)
		return reply_fail(reply, r, "connect", "the queue pair does not take the peer's address");
	reply_add(reply, "ok");
	return 0;
}

static int command_disconnect(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct link *link = state_link(s, words_name(w, "name"));

	(void)fd;
	if (!link)
		return reply_bad(reply, "name");
	if (s->watch.rc == link->rc)
		s->watch.active = false;
	rc_close(TAKE_PTR(link->rc));
	link->name[0] = '\0';
	reply_add(reply, "ok");
	return 0;
}

/* The keys that write, read and watch share. */
static int transfer_parse(struct state *s, const struct words *w, struct rc_transfer *ret,
			  struct slot **ret_slot, struct rc **ret_rc, struct reply *reply)
{
	struct link *link = state_link(s, words_name(w, "qp"));
	struct slot *slot = state_slot(s, words_name(w, "name"));
	uint64_t rkey, remote, length, offset = 0, chunk = CHUNK;
	int r;

	if (!link)
		return reply_bad(reply, "qp");
	if (!slot || !slot->mr)
		return reply_bad(reply, "name (of registered memory)");
	if (words_u64(w, "rkey", 0, UINT32_MAX, &rkey) < 0)
		return reply_bad(reply, "rkey");
	if (words_u64(w, "addr", 0, UINT64_MAX, &remote) < 0)
		return reply_bad(reply, "addr");
	r = words_u64(w, "offset", 0, slot->size - 1, &offset);
	if (r < 0 && r != -ENOENT)
		return reply_bad(reply, "offset");
	length = slot->size - offset;
	r = words_u64(w, "length", 1, slot->size - offset, &length);
	if (r < 0 && r != -ENOENT)
		return reply_bad(reply, "length");
	r = words_u64(w, "chunk", 64, 8U << 20, &chunk);
	if (r < 0 && r != -ENOENT)
		return reply_bad(reply, "chunk");
	*ret = (struct rc_transfer){
		.local = slot->iova + offset,
		.lkey = slot->mr->lkey,
		.remote = remote,
		.rkey = (uint32_t)rkey,
		.length = length,
		.chunk = (uint32_t)chunk,
	};
	*ret_slot = slot;
	*ret_rc = link->rc;
	return 0;
}

static int transfer_run(struct state *s, const struct words *w, enum ibv_wr_opcode opcode,
			struct reply *reply)
{
	struct rc_transfer transfer;
	struct rc_outcome outcome;
	struct slot *slot;
	struct rc *rc;
	int r;

	r = transfer_parse(s, w, &transfer, &slot, &rc, reply);
	if (r < 0)
		return r;
	if (s->watch.active && s->watch.rc == rc)
		return reply_fail(reply, -EBUSY, "transfer", "the background reading uses this connection");
	transfer.opcode = opcode;
	r = rc_transfer(rc, &transfer, &outcome);
	if (r < 0)
		return reply_fail(reply, r, "transfer", "the queue pair takes no work or does not answer");
	reply_add(reply, "ok status=%s bytes=%" PRIu64 " seconds=%.6f mib_per_s=%.1f",
		  rc_status_name(outcome.status), outcome.bytes, outcome.seconds,
		  outcome.seconds > 0 ? (double)outcome.bytes / 1048576 / outcome.seconds : 0);
	return 0;
}

static int command_write(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)fd;
	return transfer_run(s, w, IBV_WR_RDMA_WRITE, reply);
}

static int command_read(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)fd;
	return transfer_run(s, w, IBV_WR_RDMA_READ, reply);
}

static int command_watch(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct watch watch = { .active = true };
	int r;

	(void)fd;
	if (s->watch.active)
		return reply_fail(reply, -EBUSY, "watch", "already reading; say watch-stop first");
	r = transfer_parse(s, w, &watch.transfer, &watch.into, &watch.rc, reply);
	if (r < 0)
		return r;
	if (watch.transfer.length > WATCH_LIMIT || watch.transfer.length % 8 || !watch.into->map)
		return reply_bad(reply, "length (up to 1 MiB, multiple of 8)");
	if (words_u64(w, "seed", 0, UINT64_MAX, &watch.seed) < 0)
		return reply_bad(reply, "seed");
	watch.transfer.opcode = IBV_WR_RDMA_READ;
	watch.transfer.chunk = (uint32_t)watch.transfer.length;
	s->watch = watch;
	reply_add(reply, "ok");
	return 0;
}

static int command_watch_status(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const struct watch *watch = &s->watch;

	(void)w;
	(void)fd;
	reply_add(reply, "ok active=%d reads=%" PRIu64 " matching=%" PRIu64 " last_read=%.3f failed=%d",
		  watch->active, watch->reads, watch->matching, watch->last_read, watch->failed);
	if (watch->failed)
		reply_add(reply, " status=%s failed_at=%.3f leaked=%d", rc_status_name(watch->status),
			  watch->failed_at, watch->leaked);
	return 0;
}

static int command_watch_stop(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	int r = command_watch_status(s, w, fd, reply);

	s->watch.active = false;
	return r;
}

static void watch_failed(struct watch *watch, enum ibv_wc_status status)
{
	watch->active = false;
	watch->failed = true;
	watch->status = status;
	watch->failed_at = rc_now();
}

bool watch_step(struct watch *watch)
{
	struct rc_completion done;
	uint8_t *into;
	size_t first = 0;
	int r;

	if (!watch->active)
		return false;
	/* Paced, so that the software NIC leaves the processor to what is being watched. */
	if (!watch->posted && rc_now() < watch->last_read + WATCH_PAUSE)
		return true;
	into = (uint8_t *)watch->into->map + (watch->transfer.local - watch->into->iova);
	if (!watch->posted) {
		/* From zero each time, so that what a read brought can be told from what was there. */
		if (pattern_zero(into, watch->transfer.length) < 0 ||
		    rc_post(watch->rc, &watch->transfer) < 0) {
			watch_failed(watch, IBV_WC_GENERAL_ERR);
			return false;
		}
		watch->posted = true;
	}
	r = rc_poll(watch->rc, &done);
	if (r == 0)
		return true;
	watch->posted = false;
	if (r < 0 || done.status != IBV_WC_SUCCESS) {
		watch_failed(watch, r < 0 ? IBV_WC_GENERAL_ERR : done.status);
		watch->leaked = p2p_find_nonzero(into, watch->transfer.length, &first) < 0 ||
				first != watch->transfer.length;
		return false;
	}
	watch->reads++;
	watch->last_read = rc_now();
	r = pattern_compare(into, watch->transfer.length, watch->seed, &first);
	if (r == 0 && first == watch->transfer.length)
		watch->matching++;
	return true;
}

const struct command commands_rdma[] = {
	{ "nic", "[path=NODE]", "open the NIC that is paired with the Gaudi", command_nic },
	{ "nic-close", "", "close it", command_nic_close },
	{ "register", "name=M", "register memory with the NIC", command_register },
	{ "unregister", "name=M", "undo that", command_unregister },
	{ "qp", "name=Q", "make a queue pair; says its address", command_qp },
	{ "connect", "name=Q qpn= psn= mtu= gid=", "connect it to a peer's", command_connect },
	{ "disconnect", "name=Q", "destroy it", command_disconnect },
	{ "write", "qp=Q name=M rkey= addr= [offset= length= chunk=]", "RDMA write from M", command_write },
	{ "read", "qp=Q name=M rkey= addr= [offset= length= chunk=]", "RDMA read into M", command_read },
	{ "watch", "qp=Q name=M rkey= addr= length= seed=", "keep reading until it fails", command_watch },
	{ "watch-status", "", "how that goes", command_watch_status },
	{ "watch-stop", "", "end it", command_watch_stop },
	{ NULL, NULL, NULL, NULL },
};
