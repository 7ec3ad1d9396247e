// SPDX-License-Identifier: Apache-2.0
/*
 * The verbs of a side, on stock libibverbs.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include "soft_roce.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 }, NULL);
}

const char *status_name(long status)
{
	return status < 0 ? strerror(-status) : ibv_wc_status_str(status);
}

/* RoCE addresses appear a few milliseconds after the IP address. */
static int find_gid(struct world *w)
{
	static const uint8_t v4[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct ibv_gid_entry entries[16];
	double end = now() + 10;

	do {
		ssize_t n = ibv_query_gid_table(w->context, entries, 16, 0);

		for (ssize_t i = 0; i < n; i++)
			if (entries[i].gid_type == IBV_GID_TYPE_ROCE_V2 &&
			    !memcmp(entries[i].gid.raw, v4, 12)) {
				w->gid = entries[i];
				return 0;
			}
		nap();
	} while (now() < end);
	return -EADDRNOTAVAIL;
}

long do_open(struct world *w, const long *a, long *ret)
{
	struct ibv_device **list;
	int n = 0;

	(void)a;
	(void)ret;
	list = ibv_get_device_list(&n);
	for (int i = 0; i < n; i++)
		if (!strcmp(ibv_get_device_name(list[i]), this_side->rdma))
			w->context = ibv_open_device(list[i]);
	ibv_free_device_list(list);
	if (!w->context)
		return -ENODEV;
	w->pd = ibv_alloc_pd(w->context);
	w->cq = ibv_create_cq(w->context, 256, NULL, NULL, 0);
	if (!w->pd || !w->cq)
		return -errno;
	return find_gid(w);
}

static long keep_region(struct world *w, struct ibv_mr *mr, long *ret)
{
	if (!mr)
		return -errno;
	for (int i = 0; i < SIDE_REGIONS; i++)
		if (!w->mr[i]) {
			w->mr[i] = mr;
			ret[0] = mr->lkey;
			ret[1] = mr->rkey;
			return i;
		}
	ibv_dereg_mr(mr);
	return -ENOSPC;
}

long do_reg_fd(struct world *w, const long *a, long *ret)
{
	return keep_region(w, ibv_reg_dmabuf_mr(w->pd, a[1], a[2], a[3], a[0], a[4]), ret);
}

long do_reg(struct world *w, const long *a, long *ret)
{
	struct buffer *b = &w->buffer[a[0]];

	if (b->kind == BUFFER_HOST)
		return keep_region(w, ibv_reg_mr_iova(w->pd, b->map + a[1], a[2], a[3], a[4]), ret);
	return keep_region(w, ibv_reg_dmabuf_mr(w->pd, a[1], a[2], a[3], b->fd, a[4]), ret);
}

long do_dereg(struct world *w, const long *a, long *ret)
{
	int r = ibv_dereg_mr(w->mr[a[0]]);

	(void)ret;
	if (!r)
		w->mr[a[0]] = NULL;
	return -r;
}

/* By hand, because the library has no such call for dma-buf regions; the kernel must refuse it by itself. */
long do_rereg(struct world *w, const long *a, long *ret)
{
	struct ib_uverbs_rereg_mr_resp response;
	struct {
		struct ib_uverbs_cmd_hdr head;
		struct ib_uverbs_rereg_mr body;
	} command = {
		.head = { .command = IB_USER_VERBS_CMD_REREG_MR,
			  .in_words = sizeof(command) / 4,
			  .out_words = sizeof(response) / 4 },
		.body = { .response = (uintptr_t)&response,
			  .mr_handle = w->mr[a[0]]->handle,
			  .flags = IBV_REREG_MR_CHANGE_ACCESS,
			  .access_flags = a[1] },
	};

	(void)ret;
	return write(w->context->cmd_fd, &command, sizeof(command)) < 0 ? -errno : 0;
}

/* By hand, too: the plug-in does not offer it, the kernel does. */
long do_advise(struct world *w, const long *a, long *ret)
{
	struct ib_uverbs_sge sge = { .addr = a[1], .length = a[2], .lkey = w->mr[a[0]]->lkey };
	struct {
		struct ib_uverbs_ioctl_hdr head;
		struct ib_uverbs_attr attrs[4];
	} command = {
		.head = { .length = sizeof(command), .object_id = UVERBS_OBJECT_MR,
			  .method_id = UVERBS_METHOD_ADVISE_MR, .num_attrs = 4,
			  .driver_id = RDMA_DRIVER_RXE },
		.attrs = {
			{ .attr_id = UVERBS_ATTR_ADVISE_MR_PD_HANDLE, .flags = UVERBS_ATTR_F_MANDATORY,
			  .data = w->pd->handle },
			{ .attr_id = UVERBS_ATTR_ADVISE_MR_ADVICE, .flags = UVERBS_ATTR_F_MANDATORY, .len = 8,
			  .data = IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE },
			{ .attr_id = UVERBS_ATTR_ADVISE_MR_FLAGS, .flags = UVERBS_ATTR_F_MANDATORY, .len = 4,
			  .data = a[3] },
			{ .attr_id = UVERBS_ATTR_ADVISE_MR_SGE_LIST, .flags = UVERBS_ATTR_F_MANDATORY,
			  .len = sizeof(sge), .data = (uintptr_t)&sge },
		},
	};

	(void)ret;
	return ioctl(w->context->cmd_fd, RDMA_VERBS_IOCTL, &command) < 0 ? -errno : 0;
}

struct race {
	struct world *w;
	const struct buffer *buffer;
	struct ibv_mr *mr;
	int error;
};

static void *race_register(void *data)
{
	struct race *race = data;

	race->mr = ibv_reg_dmabuf_mr(race->w->pd, 0, race->buffer->size, 0, race->buffer->fd,
				     IBV_ACCESS_LOCAL_WRITE);
	race->error = race->mr ? 0 : errno;
	return NULL;
}

long do_race(struct world *w, const long *a, long *ret)
{
	struct race race = { .w = w, .buffer = &w->buffer[a[0]] };
	struct timespec wait = { .tv_nsec = a[1] };
	long revoked[4], r;
	pthread_t thread;

	if (pthread_create(&thread, NULL, race_register, &race))
		return -EAGAIN;
	nanosleep(&wait, NULL);
	r = do_buffer_revoke(w, a, revoked);
	pthread_join(thread, NULL);
	if (r < 0)
		return r;
	ret[0] = race.error;
	/* Whoever won: the exporter knows of nobody who still reaches the memory. */
	ret[1] = revoked[1];
	return race.mr ? -ibv_dereg_mr(race.mr) : 0;
}

long do_qp_new(struct world *w, const long *a, long *ret)
{
	struct ibv_qp_init_attr_ex init = {
		.send_cq = w->cq,
		.recv_cq = w->cq,
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
		.cap = { .max_send_wr = 64, .max_recv_wr = 64, .max_send_sge = 1, .max_recv_sge = 1 },
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = w->pd,
		/* Atomic writes have no other interface. */
		.send_ops_flags = IBV_QP_EX_WITH_ATOMIC_WRITE,
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags =
			IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC,
	};
	struct ibv_qp *qp = ibv_create_qp_ex(w->context, &init);
	int r;

	if (!qp)
		return -errno;
	w->qp[a[0]] = qp;
	r = ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	if (r)
		return -r;
	memcpy(ret, w->gid.gid.raw, 16);
	return qp->qp_num;
}

long do_qp_connect(struct world *w, const long *a, long *ret)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = a[1],
		.max_dest_rd_atomic = 4,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = 1,
			.grh = { .hop_limit = 64, .sgid_index = w->gid.gid_index },
		},
	};
	int r;

	(void)ret;
	memcpy(attr.ah_attr.grh.dgid.raw, &a[2], 16);
	r = ibv_modify_qp(w->qp[a[0]], &attr,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
	if (r)
		return -r;
	/* Soft-RoCE takes a retry count of 7 for "for ever". A second each: a debug kernel on a busy machine is slow. */
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS, .timeout = 18, .retry_cnt = 6, .rnr_retry = 7, .max_rd_atomic = 4
	};
	return -ibv_modify_qp(w->qp[a[0]], &attr,
			      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

long do_qp_free(struct world *w, const long *a, long *ret)
{
	int r = ibv_destroy_qp(w->qp[a[0]]);

	(void)ret;
	w->qp[a[0]] = NULL;
	return -r;
}

long do_send(struct world *w, const long *a, long *ret)
{
	struct ibv_sge sge = { .addr = a[2], .length = a[3], .lkey = a[4] };
	struct ibv_send_wr wr = { .opcode = a[1], .sg_list = &sge, .num_sge = 1 }, *bad;

	(void)ret;
	if (wr.opcode == IBV_WR_ATOMIC_WRITE) {
		struct ibv_qp_ex *qp = ibv_qp_to_qp_ex(w->qp[a[0]]);

		ibv_wr_start(qp);
		qp->wr_id = 0;
		qp->wr_flags = IBV_SEND_SIGNALED;
		ibv_wr_atomic_write(qp, a[6], a[5], &a[7]);
		return -ibv_wr_complete(qp);
	}
	if (wr.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || wr.opcode == IBV_WR_ATOMIC_CMP_AND_SWP) {
		wr.wr.atomic.remote_addr = a[5];
		wr.wr.atomic.rkey = a[6];
		wr.wr.atomic.compare_add = a[7];
		wr.wr.atomic.swap = ~a[7];
	} else {
		wr.wr.rdma.remote_addr = a[5];
		wr.wr.rdma.rkey = a[6];
	}
	return -ibv_post_send(w->qp[a[0]], &wr, &bad);
}

long do_recv(struct world *w, const long *a, long *ret)
{
	struct ibv_sge sge = { .addr = a[1], .length = a[2], .lkey = a[3] };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;

	(void)ret;
	return -ibv_post_recv(w->qp[a[0]], &wr, &bad);
}

long do_poll(struct world *w, const long *a, long *ret)
{
	double end = now() + a[0] / 1e3;
	struct ibv_wc wc;

	do {
		int n = ibv_poll_cq(w->cq, 1, &wc);

		if (n < 0)
			return -EIO;
		if (n > 0) {
			ret[0] = wc.opcode;
			ret[1] = wc.byte_len;
			return wc.status;
		}
		nap();
	} while (now() < end);
	return -ETIMEDOUT;
}

long do_traffic(struct world *w, const long *a, long *ret)
{
	static const long patience[8] = { 60000 };
	double end = now() + 120;
	long r, ignore[4];

	do {
		r = do_send(w, a, ret);
		if (!r)
			r = do_poll(w, patience, ignore);
		if (!r)
			atomic_fetch_add(this_side->traffic, 1);
	} while (r == 0 && now() < end);
	return r;
}
