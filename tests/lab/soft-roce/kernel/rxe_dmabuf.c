// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma-buf import for Soft-RoCE.
 *
 * Soft-RoCE moves data with the CPU, so a region is one kernel mapping of the
 * whole dma-buf (vmap) and never a DMA mapping. The attachment is pinned: it
 * lives as long as the region, and when the exporter invalidates it, the
 * region is dead for good. A dead region stays a valid object whose every
 * access fails, so that its key is not given to another region before it is
 * deregistered.
 *
 * With revocable=0 the attachment has no invalidate callback. That is what
 * hardware looks like whose registrations cannot be taken back: the exporter's
 * dma_buf_attach_revocable() is false, and memory stays reachable until the
 * region is deregistered.
 *
 * Locks: the dma-buf's reservation, then rxe_dmabuf.lock. Accesses take only
 * the second one, for reading and for one packet at a time, so the exporter
 * waits for at most one packet.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/rwsem.h>

#include "rxe.h"
#include "rxe_loc.h"

static bool revocable = true;
module_param(revocable, bool, 0644);
MODULE_PARM_DESC(revocable,
		 "Exporters can take dma-buf regions back (default Y); read when a region is registered");

MODULE_IMPORT_NS("DMA_BUF");

/* What a dma-buf region may allow; the rest needs pages or persistent memory. */
#define RXE_DMABUF_ACCESS                                                                                   \
	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC | \
	 IB_ACCESS_MW_BIND | IB_ACCESS_OPTIONAL)

/**
 * struct rxe_dmabuf - the memory of one region
 * @lock: readers access the memory, the writer takes it away
 * @dead: no access any more; written under the reservation and @lock
 * @mapped: pinned and mapped; under the reservation
 * @dmabuf: one reference
 * @attach: ours until release; its importer_priv is this struct
 * @map: the whole dma-buf; valid while not @dead
 * @offset: of the region's first byte in the dma-buf
 */
struct rxe_dmabuf {
	struct rw_semaphore lock;
	bool dead;
	bool mapped;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct iosys_map map;
	u64 offset;
};

static void rxe_dmabuf_unmap_locked(struct rxe_dmabuf *db)
{
	dma_resv_assert_held(db->dmabuf->resv);

	if (!db->mapped)
		return;
	db->mapped = false;
	dma_buf_vunmap(db->dmabuf, &db->map);
	dma_buf_unpin(db->attach);
}

/*
 * The exporter takes its memory back. When this returns, no access is under
 * way and none will come; the kernel mapping and the pin are gone too. It may
 * come between attach and pin, when there is nothing to unmap yet.
 */
static void rxe_dmabuf_invalidate(struct dma_buf_attachment *attach)
{
	struct rxe_dmabuf *db = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	down_write(&db->lock);
	db->dead = true;
	up_write(&db->lock);
	rxe_dmabuf_unmap_locked(db);
}

static const struct dma_buf_attach_ops rxe_dmabuf_revocable_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = rxe_dmabuf_invalidate,
};

static const struct dma_buf_attach_ops rxe_dmabuf_pinned_ops = {
	.allow_peer2peer = true,
};

/*
 * Pin first: an exporter can refuse that quietly, while a failing vmap leaves
 * a warning, and a cached one would be handed out without asking the exporter.
 */
static int rxe_dmabuf_map(struct rxe_dmabuf *db)
{
	struct dma_resv *resv = db->dmabuf->resv;
	long left;
	int err;

	err = dma_resv_lock_interruptible(resv, NULL);
	if (err)
		return err;

	if (db->dead) {
		err = -ENODEV;
		goto unlock;
	}
	err = dma_buf_pin(db->attach);
	if (err)
		goto unlock;
	left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT);
	err = left < 0 ? left : dma_buf_vmap(db->dmabuf, &db->map);
	if (err)
		dma_buf_unpin(db->attach);
	else
		db->mapped = true;
unlock:
	dma_resv_unlock(resv);
	return err;
}

static void rxe_dmabuf_free(struct rxe_dmabuf *db)
{
	if (db->attach) {
		dma_resv_lock(db->dmabuf->resv, NULL);
		rxe_dmabuf_unmap_locked(db);
		dma_resv_unlock(db->dmabuf->resv);
		dma_buf_detach(db->dmabuf, db->attach);
	}
	dma_buf_put(db->dmabuf);
	kfree(db);
}

/* What nobody else checks: the range, and that the file allows what is asked for. */
static int rxe_dmabuf_check(struct dma_buf *dmabuf, u64 end, int access)
{
	if (end > dmabuf->size)
		return -EINVAL;
	if (!(dmabuf->file->f_mode & FMODE_READ))
		return -EACCES;
	if (ib_access_writable(access) && !(dmabuf->file->f_mode & FMODE_WRITE))
		return -EACCES;
	if (!dmabuf->ops->vmap)
		return -EOPNOTSUPP;
	return 0;
}

static struct rxe_dmabuf *rxe_dmabuf_new(struct rxe_dev *rxe, int fd, u64 offset, u64 end, int access)
{
	const struct dma_buf_attach_ops *ops =
		READ_ONCE(revocable) ? &rxe_dmabuf_revocable_ops : &rxe_dmabuf_pinned_ops;
	struct dma_buf_attachment *attach;
	struct rxe_dmabuf *db;
	int err;

	db = kzalloc_obj(*db);
	if (!db)
		return ERR_PTR(-ENOMEM);
	init_rwsem(&db->lock);
	db->offset = offset;

	db->dmabuf = dma_buf_get(fd);
	if (IS_ERR(db->dmabuf)) {
		err = PTR_ERR(db->dmabuf);
		kfree(db);
		return ERR_PTR(err);
	}

	err = rxe_dmabuf_check(db->dmabuf, end, access);
	if (err)
		goto free;
	attach = dma_buf_dynamic_attach(db->dmabuf, &rxe->ib_dev.dev, ops, db);
	if (IS_ERR(attach)) {
		err = PTR_ERR(attach);
		goto free;
	}
	db->attach = attach;
	err = rxe_dmabuf_map(db);
	if (err)
		goto free;
	return db;
free:
	rxe_dmabuf_free(db);
	return ERR_PTR(err);
}

struct ib_mr *rxe_reg_user_mr_dmabuf(struct ib_pd *ibpd, u64 offset, u64 length, u64 iova, int fd, int access,
				     struct ib_dmah *dmah, struct uverbs_attr_bundle *attrs)
{
	struct rxe_dev *rxe = to_rdev(ibpd->device);
	struct rxe_pd *pd = to_rpd(ibpd);
	struct rxe_dmabuf *db;
	struct rxe_mr *mr;
	u64 end, last;
	int err;

	if (dmah || access & ~RXE_DMABUF_ACCESS)
		return ERR_PTR(-EOPNOTSUPP);
	if (!length || check_add_overflow(offset, length, &end) ||
	    check_add_overflow(iova, length - 1, &last))
		return ERR_PTR(-EINVAL);

	mr = kzalloc_obj(*mr);
	if (!mr)
		return ERR_PTR(-ENOMEM);

	db = rxe_dmabuf_new(rxe, fd, offset, end, access);
	if (IS_ERR(db)) {
		err = PTR_ERR(db);
		goto free_mr;
	}
	err = rxe_add_to_pool(&rxe->mr_pool, mr);
	if (err)
		goto free_db;

	rxe_get(pd);
	rxe_mr_init(access, mr);
	mr->ibmr.pd = ibpd;
	mr->ibmr.device = ibpd->device;
	mr->ibmr.iova = iova;
	mr->ibmr.length = length;
	mr->ibmr.type = IB_MR_TYPE_USER;
	mr->dmabuf = db;
	mr->state = RXE_MR_STATE_VALID;

	rxe_finalize(mr);
	return &mr->ibmr;

free_db:
	rxe_dmabuf_free(db);
free_mr:
	kfree(mr);
	rxe_dbg_pd(pd, "cannot import dma-buf, err = %d\n", err);
	return ERR_PTR(err);
}

void rxe_dmabuf_release(struct rxe_mr *mr)
{
	if (mr->dmabuf)
		rxe_dmabuf_free(mr->dmabuf);
	mr->dmabuf = NULL;
}

static size_t rxe_dmabuf_at(const struct rxe_mr *mr, u64 iova)
{
	return mr->dmabuf->offset + (iova - mr->ibmr.iova);
}

int rxe_dmabuf_copy(struct rxe_mr *mr, u64 iova, void *addr, unsigned int length, enum rxe_mr_copy_dir dir)
{
	struct rxe_dmabuf *db = mr->dmabuf;
	size_t at = rxe_dmabuf_at(mr, iova);

	guard(rwsem_read)(&db->lock);
	if (db->dead)
		return -EFAULT;
	if (dir == RXE_TO_MR_OBJ)
		iosys_map_memcpy_to(&db->map, at, addr, length);
	else
		iosys_map_memcpy_from(addr, &db->map, at, length);
	return 0;
}

/* The checks that atomics share; the caller holds the region's lock. */
static enum resp_states rxe_dmabuf_check_atomic(struct rxe_mr *mr, u64 iova)
{
	lockdep_assert_held_read(&mr->dmabuf->lock);

	if (mr->state != RXE_MR_STATE_VALID || mr_check_range(mr, iova, sizeof(u64)) || mr->dmabuf->dead)
		return RESPST_ERR_RKEY_VIOLATION;
	if (rxe_dmabuf_at(mr, iova) & (sizeof(u64) - 1))
		return RESPST_ERR_MISALIGNED_ATOMIC;
	return RESPST_NONE;
}

enum resp_states rxe_dmabuf_atomic_op(struct rxe_mr *mr, u64 iova, int opcode, u64 compare, u64 swap_add,
				      u64 *orig_val)
{
	struct rxe_dmabuf *db = mr->dmabuf;
	enum resp_states state;
	size_t at;
	u64 value;

	guard(rwsem_read)(&db->lock);
	state = rxe_dmabuf_check_atomic(mr, iova);
	if (state != RESPST_NONE)
		return state;

	at = rxe_dmabuf_at(mr, iova);
	/* One lock for all regions: two of them may lie over the same memory. */
	guard(spinlock_bh)(&atomic_ops_lock);
	value = iosys_map_rd(&db->map, at, u64);
	*orig_val = value;
	if (opcode != IB_OPCODE_RC_COMPARE_SWAP)
		iosys_map_wr(&db->map, at, u64, value + swap_add);
	else if (value == compare)
		iosys_map_wr(&db->map, at, u64, swap_add);
	return RESPST_NONE;
}

enum resp_states rxe_dmabuf_atomic_write(struct rxe_mr *mr, u64 iova, u64 value)
{
	struct rxe_dmabuf *db = mr->dmabuf;
	enum resp_states state;

	guard(rwsem_read)(&db->lock);
	state = rxe_dmabuf_check_atomic(mr, iova);
	if (state != RESPST_NONE)
		return state;

	/* Visible only after everything that came before it. */
	wmb();
	iosys_map_wr(&db->map, rxe_dmabuf_at(mr, iova), u64, value);
	return RESPST_NONE;
}

void rxe_dmabuf_flush_status(struct rxe_qp *qp, struct rxe_send_wqe *wqe, struct rxe_cqe *cqe)
{
	/* The queue is shared with user space: look once. */
	enum ib_wc_status status = READ_ONCE(wqe->status);

	if (READ_ONCE(wqe->state) != wqe_state_error || status == IB_WC_SUCCESS)
		return;
	if (qp->is_user)
		cqe->uibwc.status = status;
	else
		cqe->ibwc.status = status;
}

void rxe_dmabuf_forget_gsi(struct rxe_qp *qp)
{
	struct rxe_port *port = &to_rdev(qp->ibqp.device)->port;

	if (qp_type(qp) == IB_QPT_GSI && port->qp_gsi_index == qp->elem.index)
		WRITE_ONCE(port->qp_gsi_index, 0);
}
