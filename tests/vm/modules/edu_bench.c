// SPDX-License-Identifier: GPL-2.0-only
/*
 * Timed loops, so that what is measured is the exporter and not the way into the kernel.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/ktime.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "edu.h"

static void edu_bench_invalidate(struct dma_buf_attachment *attach)
{
	/* Maps and unmaps in one hold of the dma-resv: there is nothing to let go of. */
}

static const struct dma_buf_attach_ops edu_bench_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = edu_bench_invalidate,
};

static int edu_bench_once(struct edu_dev *edu, struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	int ret = 0;

	attach = dma_buf_dynamic_attach(dmabuf, &edu->pdev->dev, &edu_bench_ops, edu);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	dma_resv_lock(dmabuf->resv, NULL);
	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		ret = PTR_ERR(sgt);
	else
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
	dma_resv_unlock(dmabuf->resv);
	dma_buf_detach(dmabuf, attach);
	return ret;
}

/* Attach, map, unmap, detach: one after another on every file of the list, again and again. */
int edu_bench_import(struct edu_peer *peer, void __user *arg)
{
	struct dma_buf *dmabuf[EDU_PEER_BENCH_FILES];
	struct edu_peer_bench args;
	unsigned int i, n = 0;
	u64 start;
	int ret = 0;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (!args.files || args.files > EDU_PEER_BENCH_FILES || args.rounds > EDU_PEER_BENCH_ROUNDS)
		return -EINVAL;
	while (!ret && n < args.files) {
		dmabuf[n] = dma_buf_get(args.fd[n]);
		if (IS_ERR(dmabuf[n]))
			ret = PTR_ERR(dmabuf[n]);
		else
			n++;
	}
	start = ktime_get_ns();
	while (!ret && args.rounds-- && !fatal_signal_pending(current))
		for (i = 0; !ret && i < n; i++)
			ret = edu_bench_once(peer->edu, dmabuf[i]);
	args.ns = ktime_get_ns() - start;
	while (n)
		dma_buf_put(dmabuf[--n]);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		ret = -EFAULT;
	return ret;
}

/* What filling the memory takes when nothing is proven: memset_io() by the first attachment's vmap. */
int edu_bench_fill(struct edu_peer *peer, void __user *arg)
{
	struct iosys_map *vmap;
	u64 ns;

	if (!peer->dmabuf)
		return -ENXIO;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	vmap = &peer->imports[0].vmap;
	if (iosys_map_is_null(vmap)) {
		dma_resv_unlock(peer->dmabuf->resv);
		return -ENXIO;
	}
	ns = ktime_get_ns();
	iosys_map_memset(vmap, 0, 0, peer->dmabuf->size);
	mb();	/* the stores are out */
	ns = ktime_get_ns() - ns;
	dma_resv_unlock(peer->dmabuf->resv);
	return copy_to_user(arg, &ns, sizeof(ns)) ? -EFAULT : 0;
}
