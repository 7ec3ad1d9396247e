// SPDX-License-Identifier: Apache-2.0
#include "rc.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/num.h"
#include "lines/words.h"

#define DEPTH 16
/* Numbers of other requests are their lengths, which have 32 bits. */
#define RECEIVE_ID UINT64_MAX
#define STALL_SECONDS 60.0
/* 4.096 us * 2^17 = 0.5 s a try, 6 more tries: a dead peer shows within some seconds, a slow emulated one does
 * not. Soft-RoCE takes 7 for "for ever"; for a receiver that is not ready that is what everyone means by it. */
#define ACK_TIMEOUT 17
#define RETRIES 6
#define NOT_READY_RETRIES 7

double rc_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

const char *rc_status_name(enum ibv_wc_status status)
{
	static const char *const names[] = {
		[IBV_WC_SUCCESS] = "SUCCESS",
		[IBV_WC_LOC_LEN_ERR] = "LOC_LEN_ERR",
		[IBV_WC_LOC_QP_OP_ERR] = "LOC_QP_OP_ERR",
		[IBV_WC_LOC_PROT_ERR] = "LOC_PROT_ERR",
		[IBV_WC_WR_FLUSH_ERR] = "WR_FLUSH_ERR",
		[IBV_WC_MW_BIND_ERR] = "MW_BIND_ERR",
		[IBV_WC_BAD_RESP_ERR] = "BAD_RESP_ERR",
		[IBV_WC_LOC_ACCESS_ERR] = "LOC_ACCESS_ERR",
		[IBV_WC_REM_INV_REQ_ERR] = "REM_INV_REQ_ERR",
		[IBV_WC_REM_ACCESS_ERR] = "REM_ACCESS_ERR",
		[IBV_WC_REM_OP_ERR] = "REM_OP_ERR",
		[IBV_WC_RETRY_EXC_ERR] = "RETRY_EXC_ERR",
		[IBV_WC_RNR_RETRY_EXC_ERR] = "RNR_RETRY_EXC_ERR",
		[IBV_WC_REM_ABORT_ERR] = "REM_ABORT_ERR",
		[IBV_WC_FATAL_ERR] = "FATAL_ERR",
		[IBV_WC_GENERAL_ERR] = "GENERAL_ERR",
	};

	if ((unsigned)status >= ARRAY_SIZE(names) || !names[status])
		return "OTHER_ERR";
	return names[status];
}

static int qp_init(struct ibv_qp *qp, uint8_t port)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = port,
		.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
	};

	/* An errno value, not -1. */
	return -ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

int rc_open(struct p2p_nic *nic, unsigned receives, struct rc **ret)
{
	_cleanup_(rc_closep) struct rc *rc = NULL;
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = DEPTH,
			 .max_recv_wr = receives + 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	int r;

	rc = calloc(1, sizeof(*rc));
	if (!rc)
		return -ENOMEM;
	r = p2p_nic_gid(nic, &rc->local);
	if (r < 0)
		return r;
	if (getrandom(&rc->psn, sizeof(rc->psn), 0) != sizeof(rc->psn))
		return negative_errno();
	rc->psn &= 0xffffff;
	errno = 0;
	rc->cq = ibv_create_cq(p2p_nic_context(nic), (int)(DEPTH + receives + 1), NULL, NULL, 0);
	if (!rc->cq)
		return negative_errno();
	attr.send_cq = rc->cq;
	attr.recv_cq = rc->cq;
	errno = 0;
	rc->qp = ibv_create_qp(p2p_nic_pd(nic), &attr);
	if (!rc->qp)
		return negative_errno();
	r = qp_init(rc->qp, rc->local.port);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(rc);
	return 0;
}

void rc_close(struct rc *rc)
{
	if (rc->qp)
		(void)ibv_destroy_qp(rc->qp);
	if (rc->cq)
		(void)ibv_destroy_cq(rc->cq);
	free(rc);
}

void rc_address(const struct rc *rc, struct rc_address *ret)
{
	*ret = (struct rc_address){
		.qpn = rc->qp->qp_num,
		.psn = rc->psn,
		.mtu = rc->local.mtu,
		.gid = rc->local.gid,
	};
}

int rc_connect(struct rc *rc, const struct rc_address *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = peer->mtu < rc->local.mtu ? peer->mtu : rc->local.mtu,
		.dest_qp_num = peer->qpn,
		.rq_psn = peer->psn,
		.max_dest_rd_atomic = 4,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = rc->local.port,
			.grh = { .dgid = peer->gid, .sgid_index = rc->local.index, .hop_limit = 64 },
		},
	};
	int error;

	error = ibv_modify_qp(rc->qp, &attr,
			      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
	if (error)
		return -error;
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS,
		.sq_psn = rc->psn,
		.timeout = ACK_TIMEOUT,
		.retry_cnt = RETRIES,
		.rnr_retry = NOT_READY_RETRIES,
		.max_rd_atomic = 4,
	};
	return -ibv_modify_qp(rc->qp, &attr,
			      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
				      IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC);
}

void rc_address_format(const struct rc_address *address, char text[RC_ADDRESS_TEXT])
{
	char gid[33];

	for (unsigned i = 0; i < 16; i++)
		(void)snprintf(gid + 2 * i, 3, "%02x", address->gid.raw[i]);
	(void)snprintf(text, RC_ADDRESS_TEXT, "qpn=%u psn=%u mtu=%u gid=%s", address->qpn, address->psn,
		       address->mtu, gid);
}

int rc_address_parse(const struct words *w, struct rc_address *ret)
{
	struct rc_address address = { 0 };
	const char *gid = words_get(w, "gid");
	uint64_t qpn, psn, mtu;

	if (words_u64(w, "qpn", 1, 0xffffff, &qpn) < 0 || words_u64(w, "psn", 0, 0xffffff, &psn) < 0 ||
	    words_u64(w, "mtu", IBV_MTU_256, IBV_MTU_4096, &mtu) < 0 || !gid || strlen(gid) != 32)
		return -EINVAL;
	for (unsigned i = 0; i < 16; i++) {
		char byte[3] = { gid[2 * i], gid[2 * i + 1], '\0' };
		uint64_t value;

		/* "0x" would pass for a number. */
		if (byte[1] == 'x' || num_parse_hex(byte, 0xff, &value) < 0)
			return -EINVAL;
		address.gid.raw[i] = (uint8_t)value;
	}
	address.qpn = (uint32_t)qpn;
	address.psn = (uint32_t)psn;
	address.mtu = (uint8_t)mtu;
	*ret = address;
	return 0;
}

int rc_post(struct rc *rc, const struct rc_transfer *transfer)
{
	struct ibv_sge sge = {
		.addr = transfer->local,
		.length = transfer->length < transfer->chunk ? (uint32_t)transfer->length : transfer->chunk,
		.lkey = transfer->lkey,
	};
	struct ibv_send_wr wr = {
		.wr_id = sge.length,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = transfer->opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.imm_data = htonl(transfer->imm),
		.wr.rdma = { .remote_addr = transfer->remote, .rkey = transfer->rkey },
	};
	struct ibv_send_wr *bad;

	return -ibv_post_send(rc->qp, &wr, &bad);
}

static int poll_one(struct rc *rc, struct ibv_wc *wc)
{
	int n = ibv_poll_cq(rc->cq, 1, wc);

	return n < 0 ? -EIO : n;
}

int rc_poll(struct rc *rc, struct rc_completion *ret)
{
	struct ibv_wc wc;
	int n = poll_one(rc, &wc);

	if (n != 1)
		return n;
	/* Of a request that failed, only number and status are valid: ours tells the two kinds apart. */
	*ret = (struct rc_completion){ .status = wc.status, .is_receive = wc.wr_id == RECEIVE_ID };
	if (ret->is_receive && wc.status == IBV_WC_SUCCESS)
		ret->imm = ntohl(wc.imm_data);
	return 1;
}

int rc_receive(struct rc *rc)
{
	struct ibv_recv_wr wr = { .wr_id = RECEIVE_ID };
	struct ibv_recv_wr *bad;

	return -ibv_post_recv(rc->qp, &wr, &bad);
}

/* Takes one completion, waiting for it. */
static int reap(struct rc *rc, struct rc_outcome *outcome)
{
	/* The software NIC of the lab needs the processor that a busy loop would take. */
	const struct timespec pause = { .tv_nsec = 50000 };
	double deadline = rc_now() + STALL_SECONDS;
	struct ibv_wc wc;

	for (;;) {
		int n = poll_one(rc, &wc);

		if (n < 0)
			return n;
		if (n == 1)
			break;
		if (rc_now() > deadline)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
	if (wc.status == IBV_WC_SUCCESS)
		outcome->bytes += wc.wr_id;
	else if (outcome->status == IBV_WC_SUCCESS)
		outcome->status = wc.status;
	return 0;
}

int rc_transfer(struct rc *rc, const struct rc_transfer *transfer, struct rc_outcome *ret)
{
	struct rc_outcome outcome = { .status = IBV_WC_SUCCESS };
	struct rc_transfer rest = *transfer;
	double start = rc_now();
	unsigned under_way = 0;
	int r;

	while (rest.length > 0 || under_way > 0) {
		/* After a failure nothing new is posted; what is under way is flushed. */
		if (rest.length > 0 && under_way < DEPTH && outcome.status == IBV_WC_SUCCESS) {
			uint64_t step = rest.length < rest.chunk ? rest.length : rest.chunk;

			r = rc_post(rc, &rest);
			if (r < 0)
				return r;
			rest.local += step;
			rest.remote += step;
			rest.length -= step;
			under_way++;
			continue;
		}
		if (under_way == 0)
			break;
		r = reap(rc, &outcome);
		if (r < 0)
			return r;
		under_way--;
	}
	outcome.seconds = rc_now() - start;
	*ret = outcome;
	return 0;
}
