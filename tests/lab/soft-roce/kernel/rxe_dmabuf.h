/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dma-buf import for Soft-RoCE: what the hooks in rdma_rxe call.
 *
 * Included at the end of rxe_loc.h, so that every file of rdma_rxe sees it and
 * all types of the driver are known here.
 */
#ifndef RXE_DMABUF_H
#define RXE_DMABUF_H

/* True for a region whose memory is a dma-buf; its umem and page_info are NULL. */
static inline bool rxe_mr_is_dmabuf(const struct rxe_mr *mr)
{
	return mr->dmabuf;
}

struct ib_mr *rxe_reg_user_mr_dmabuf(struct ib_pd *ibpd, u64 offset, u64 length, u64 iova, int fd, int access,
				     struct ib_dmah *dmah, struct uverbs_attr_bundle *attrs);

/* Gives the memory back; the last user of the region is gone. Does nothing for other regions. */
void rxe_dmabuf_release(struct rxe_mr *mr);

/*
 * The accesses. The caller holds a reference to @mr and may sleep.
 * rxe_dmabuf_copy() wants a range that mr_check_range() has passed and returns
 * -EFAULT for a revoked region, which the callers turn into a local protection
 * error or a remote access error.
 */
int rxe_dmabuf_copy(struct rxe_mr *mr, u64 iova, void *addr, unsigned int length, enum rxe_mr_copy_dir dir);
enum resp_states rxe_dmabuf_atomic_op(struct rxe_mr *mr, u64 iova, int opcode, u64 compare, u64 swap_add,
				      u64 *orig_val);
enum resp_states rxe_dmabuf_atomic_write(struct rxe_mr *mr, u64 iova, u64 value);

/*
 * A work request that failed on our own side ends as "flushed" in stock
 * rdma_rxe. Puts the reason into @cqe instead, when the requester noted one.
 */
void rxe_dmabuf_flush_status(struct rxe_qp *qp, struct rxe_send_wqe *wqe, struct rxe_cqe *cqe);

/*
 * The port remembers its QP1 and refuses a second one. Forgets it when it
 * goes, so that the device has one again after a move to another namespace.
 */
void rxe_dmabuf_forget_gsi(struct rxe_qp *qp);

#endif /* RXE_DMABUF_H */
