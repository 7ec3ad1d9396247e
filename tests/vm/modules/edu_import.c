// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attachment to a dma-buf, well-behaved or not.
 */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "edu.h"

/* --- work that is announced --------------------------------------------------- */
static const char *edu_fence_name(struct dma_fence *fence)
{
	return "edu_peer";
}

static const struct dma_fence_ops edu_fence_ops = {
	.get_driver_name = edu_fence_name,
	.get_timeline_name = edu_fence_name,
};

static int edu_import_announce(struct edu_import *imp)
{
	struct dma_resv *resv = imp->peer->dmabuf->resv;
	struct dma_fence *fence;
	int ret;

	ret = dma_resv_reserve_fences(resv, 1);
	if (ret)
		return ret;
	fence = kzalloc_obj(*fence);
	if (!fence)
		return -ENOMEM;
	dma_fence_init(fence, &edu_fence_ops, NULL, dma_fence_context_alloc(1), 1);
	dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	imp->fence = fence;
	return 0;
}

void edu_import_signal_locked(struct edu_import *imp)
{
	dma_resv_assert_held(imp->peer->dmabuf->resv);
	if (!imp->fence)
		return;
	dma_fence_signal(imp->fence);
	dma_fence_put(imp->fence);
	imp->fence = NULL;
}

/* --- mappings ------------------------------------------------------------------- */
static bool edu_is_kernel(const struct edu_import *imp)
{
	return imp->peer->kind == EDU_PEER_KERNEL || imp->peer->kind == EDU_PEER_KERNEL_UNPINNED;
}

static bool edu_pins(const struct edu_import *imp)
{
	return imp->peer->kind == EDU_PEER_PINNED || imp->peer->kind == EDU_PEER_PINNED_REVOCABLE ||
	       imp->peer->kind == EDU_PEER_KERNEL;
}

void edu_import_unmap_locked(struct edu_import *imp)
{
	dma_resv_assert_held(imp->peer->dmabuf->resv);
	if (imp->sgt)
		dma_buf_unmap_attachment(imp->attach, imp->sgt, DMA_BIDIRECTIONAL);
	imp->sgt = NULL;
	if (!iosys_map_is_null(&imp->vmap))
		dma_buf_vunmap(imp->attach->dmabuf, &imp->vmap);
	iosys_map_clear(&imp->vmap);
	if (imp->pinned)
		dma_buf_unpin(imp->attach);
	imp->pinned = false;
}

/* Where the first attachment's memory is, for edu_peer_dma. */
static int edu_import_remember(struct edu_import *imp)
{
	struct edu_peer *peer = imp->peer;
	struct scatterlist *sg;
	unsigned int i;

	if (imp != peer->imports)
		return 0;
	if (imp->sgt->nents > peer->max_segments) {
		struct edu_segment *more = kvmalloc_array(imp->sgt->nents, sizeof(*more), GFP_KERNEL);

		if (!more)
			return -ENOMEM;
		kvfree(peer->segments);
		peer->segments = more;
		peer->max_segments = imp->sgt->nents;
	}
	for_each_sgtable_dma_sg(imp->sgt, sg, i)
		peer->segments[i] = (struct edu_segment){ .addr = sg_dma_address(sg), .len = sg_dma_len(sg) };
	peer->nr_segments = i;
	return 0;
}

static int edu_import_map_device(struct edu_import *imp)
{
	struct sg_table *sgt = dma_buf_map_attachment(imp->attach, DMA_BIDIRECTIONAL);

	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	imp->sgt = sgt;
	return edu_import_remember(imp);
}

int edu_import_map_locked(struct edu_import *imp)
{
	int ret;

	dma_resv_assert_held(imp->peer->dmabuf->resv);
	if (imp->closing)
		return -ENODEV;
	if (imp->sgt || !iosys_map_is_null(&imp->vmap))
		return -EBUSY;
	if (edu_pins(imp)) {
		ret = dma_buf_pin(imp->attach);
		if (ret)
			return ret;
		imp->pinned = true;
	}
	if (edu_is_kernel(imp))
		ret = dma_buf_vmap(imp->attach->dmabuf, &imp->vmap);
	else
		ret = edu_import_map_device(imp);
	if (!ret && imp->peer->kind == EDU_PEER_FENCE && !imp->fence)
		ret = edu_import_announce(imp);
	if (ret)
		edu_import_unmap_locked(imp);
	return ret;
}

static void edu_import_refault(struct edu_import *imp)
{
	int ret = edu_import_map_locked(imp);

	if (!ret)
		imp->refaults++;
	else if (ret != -EBUSY)
		imp->refault_error = ret;
}

/* --- being told to let go --------------------------------------------------------- */
static void edu_import_late(struct work_struct *work)
{
	struct edu_import *imp = container_of(to_delayed_work(work), struct edu_import, late);

	dma_resv_lock(imp->peer->dmabuf->resv, NULL);
	edu_import_unmap_locked(imp);
	dma_resv_unlock(imp->peer->dmabuf->resv);
}

static void edu_import_again(struct work_struct *work)
{
	struct edu_import *imp = container_of(work, struct edu_import, again);

	dma_resv_lock(imp->peer->dmabuf->resv, NULL);
	edu_import_refault(imp);
	dma_resv_unlock(imp->peer->dmabuf->resv);
}

static void edu_import_invalidate(struct dma_buf_attachment *attach)
{
	struct edu_import *imp = attach->importer_priv;
	u32 delay = imp->peer->delay_ms;

	/* It may come before edu_import_attach() knows the attachment. */
	imp->attach = attach;
	imp->invalidations++;
	if (delay == EDU_PEER_NEVER)
		return;
	if (delay) {
		schedule_delayed_work(&imp->late, msecs_to_jiffies(delay));
		return;
	}
	edu_import_unmap_locked(imp);
	if (imp->peer->kind == EDU_PEER_REFAULTING) {
		/* Both while the exporter still holds the dma-resv and as a fault that was waiting for it. */
		edu_import_refault(imp);
		schedule_work(&imp->again);
	}
}

static const struct dma_buf_attach_ops edu_revocable_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = edu_import_invalidate,
};

static const struct dma_buf_attach_ops edu_pinned_ops = {
	.allow_peer2peer = true,
};

/* --- attach and detach -------------------------------------------------------------- */
int edu_import_attach(struct edu_peer *peer, struct edu_import *imp)
{
	struct edu_dev *edu = peer->edu;
	struct dma_buf_attachment *attach;

	imp->peer = peer;
	INIT_DELAYED_WORK(&imp->late, edu_import_late);
	INIT_WORK(&imp->again, edu_import_again);
	attach = dma_buf_dynamic_attach(peer->dmabuf,
					edu_is_kernel(imp) ? edu->misc.this_device : &edu->pdev->dev,
					peer->kind == EDU_PEER_PINNED ? &edu_pinned_ops : &edu_revocable_ops, imp);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	imp->attach = attach;
	return 0;
}

void edu_import_detach(struct edu_import *imp)
{
	struct dma_buf *dmabuf = imp->peer->dmabuf;

	dma_resv_lock(dmabuf->resv, NULL);
	imp->closing = true;
	edu_import_unmap_locked(imp);
	edu_import_signal_locked(imp);
	dma_resv_unlock(dmabuf->resv);
	dma_buf_detach(dmabuf, imp->attach);
	/* No invalidation starts them any more, and they find nothing to do. */
	cancel_delayed_work_sync(&imp->late);
	cancel_work_sync(&imp->again);
}
