// SPDX-License-Identifier: Apache-2.0
#include <infiniband/verbs.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cni_verbs.h"
#include "vm.h"

#define SIZE 65536

struct address {
	uint32_t qpn, rkey;
	uint64_t memory;
	union ibv_gid gid;
};

struct side {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	struct ibv_mr *mr;
	int gid_index;
	struct address mine, peer;
	uint8_t memory[SIZE];
};

static void open_side(struct side *s)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1 }
	};
	static const union ibv_gid zero;
	struct ibv_device **list;
	int n = 0;

	list = ibv_get_device_list(&n);
	CHECK_EQ(n, 1); /* the pod's own, and no other */
	s->context = ibv_open_device(list[0]);
	CHECK(s->context);
	s->pd = ibv_alloc_pd(s->context);
	CHECK(s->pd);
	s->cq = ibv_create_cq(s->context, 8, NULL, NULL, 0);
	CHECK(s->cq);
	init.send_cq = init.recv_cq = s->cq;
	s->qp = ibv_create_qp(s->pd, &init);
	CHECK(s->qp);
	s->mr = ibv_reg_mr(s->pd, s->memory, SIZE, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	CHECK(s->mr);
	/* The plugin waited for it: the first program in the container finds it. */
	CHECK_EQ(ibv_query_gid(s->context, 1, s->gid_index, &s->mine.gid), 0);
	CHECK(memcmp(&s->mine.gid, &zero, sizeof(zero)) != 0);
	s->mine.qpn = s->qp->qp_num;
	s->mine.rkey = s->mr->rkey;
	s->mine.memory = (uintptr_t)s->memory;
}

static void connect_side(struct side *s)
{
	struct ibv_qp_attr init = { .qp_state = IBV_QPS_INIT,
				    .port_num = 1,
				    .qp_access_flags = IBV_ACCESS_REMOTE_WRITE };
	struct ibv_qp_attr rtr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = s->peer.qpn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .is_global = 1,
			     .port_num = 1,
			     .grh = { .dgid = s->peer.gid,
				      .sgid_index = (uint8_t)s->gid_index,
				      .hop_limit = 1 } },
	};
	struct ibv_qp_attr rts = {
		.qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 1
	};

	CHECK_EQ(ibv_modify_qp(s->qp, &init,
			       IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
		 0);
	CHECK_EQ(ibv_modify_qp(s->qp, &rtr,
			       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
		 0);
	CHECK_EQ(ibv_modify_qp(s->qp, &rts,
			       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				       IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC),
		 0);
}

static void write_once(struct side *s)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->memory, .length = SIZE, .lkey = s->mr->lkey };
	struct ibv_send_wr wr = { .sg_list = &sge,
				  .num_sge = 1,
				  .opcode = IBV_WR_RDMA_WRITE,
				  .send_flags = IBV_SEND_SIGNALED,
				  .wr.rdma = { .remote_addr = s->peer.memory, .rkey = s->peer.rkey } };
	struct ibv_send_wr *bad;
	double start = vm_now();
	struct ibv_wc wc;
	int n = 0;

	memset(s->memory, 0x5a, SIZE);
	CHECK_EQ(ibv_post_send(s->qp, &wr, &bad), 0);
	WAIT_FOR((n = ibv_poll_cq(s->cq, 1, &wc)) != 0, 30);
	CHECK_EQ(n, 1);
	CHECK_MSG(wc.status == IBV_WC_SUCCESS, "the write ended with %s", ibv_wc_status_str(wc.status));
	vm_note("RDMA write of %d bytes after %.0f ms", SIZE, (vm_now() - start) * 1000);
}

void verbs_exchange(struct verbs_side *v)
{
	static struct side s;

	s.gid_index = v->gid_index;
	open_side(&s);
	CHECK_EQ(send(v->sock, &s.mine, sizeof(s.mine), 0), (long long)sizeof(s.mine));
	CHECK_EQ(recv(v->sock, &s.peer, sizeof(s.peer), MSG_WAITALL), (long long)sizeof(s.peer));
	connect_side(&s);
	vm_signal(v->sock);
	vm_await(v->sock);
	if (v->writes) {
		write_once(&s);
		vm_signal(v->sock);
	} else {
		vm_await(v->sock);
		for (int i = 0; i < SIZE; i++)
			CHECK_EQ(s.memory[i], 0x5a);
	}
}

void verbs_hold_region(int sock)
{
	static char memory[65536];
	struct ibv_device **list;
	struct ibv_context *context;
	struct ibv_pd *pd;
	int n = 0;

	list = ibv_get_device_list(&n);
	CHECK_EQ(n, 1);
	context = ibv_open_device(list[0]);
	CHECK(context);
	pd = ibv_alloc_pd(context);
	CHECK(pd);
	CHECK(ibv_reg_mr(pd, memory, sizeof(memory), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ));
	vm_send_fd(sock, context->cmd_fd);
	vm_await(sock);
	/* The region, its protection domain and the context are gone. */
	CHECK(!ibv_reg_mr(pd, memory, sizeof(memory), IBV_ACCESS_LOCAL_WRITE));
	CHECK_EQ(errno, EIO);
	vm_signal(sock);
}
