// SPDX-License-Identifier: GPL-2.0-only
/*
 * Export of device memory as a dma-buf, and what importers do with it.
 *
 * An export keeps two structures in memory, the device's and the lease's, and nothing busy. What an importer can reach
 * is counted as holds: device mappings, pins, kernel mappings. They can only begin while the export is not revoked,
 * which is decided under its dma-resv.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/hash.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"
#include "gaudi_trace.h"

static atomic64_t gaudi_export_ids;

static void gaudi_export_release_ref(struct kref *ref)
{
	struct gaudi_export *exp = container_of(ref, struct gaudi_export, ref);

	mutex_lock(&exp->gdev->lock);
	list_del(&exp->node);
	list_del(&exp->lease_node);
	list_del(&exp->map_node);
	mutex_unlock(&exp->gdev->lock);
	gaudi_lease_put(exp->lease);
	drm_dev_put(&exp->gdev->drm);
	kfree(exp);
}

/* May free the device: not in atomic context, not under any lock of ours. */
void gaudi_export_put(struct gaudi_export *exp)
{
	kref_put(&exp->ref, gaudi_export_release_ref);
}

/*
 * Something begins to reach the memory; dma-resv held, and not revoked, or the caller has a hold. What it costs is paid
 * by importers for each mapping, so one export's holds become the device's only when it is revoked: nobody asks before.
 */
void gaudi_hold_get(struct gaudi_export *exp)
{
	atomic_inc(&exp->holds);
}

/*
 * The caller's access has ended, for hardware too. With the dma-resv held, or after the export was revoked: else the
 * revocation might be missed.
 */
void gaudi_hold_put(struct gaudi_export *exp)
{
	struct gaudi_device *gdev = exp->gdev;

	if (!atomic_dec_and_test(&exp->holds) || !READ_ONCE(exp->revoked))
		return;
	wake_up_all(&gdev->wait);
	/* Either this sees the end of the lease, or the worker that the end starts sees no hold. */
	if (atomic_dec_and_test(&gdev->holds) && READ_ONCE(exp->lease->ended))
		gaudi_device_kick(gdev);
}

/*
 * Whether the importer's DMA can reach the card. Finding out reads the configuration of every bridge between them, so
 * what was found is kept, for as long and by the same number as p2pdma keeps it for map. Two importers that share a
 * place only find out again.
 */
static int gaudi_export_reaches(struct gaudi_device *gdev, struct pci_dev *importer)
{
	u64 number = GAUDI_PEER_KNOWN | (u64)pci_domain_nr(importer->bus) << 16 | pci_dev_id(importer);
	u64 *known = &gdev->peers[hash_64(number, GAUDI_PEERS_BITS)];
	int idx, ret;

	if (READ_ONCE(*known) == number)
		return 0;
	if (!drm_dev_enter(&gdev->drm, &idx))
		return -ENODEV;
	ret = pci_p2pdma_distance(gdev->pdev, &importer->dev, false);
	drm_dev_exit(idx);
	if (ret < 0)
		return -EOPNOTSUPP;
	WRITE_ONCE(*known, number);
	return 0;
}

/* Whether the importer is of a kind, and in a place, that can be served: the same for owners and grantees. */
static int gaudi_export_admits(struct gaudi_export *exp, struct dma_buf_attachment *attach)
{
	struct gaudi_device *gdev = exp->gdev;

	if (!dma_buf_attach_revocable(attach) && !READ_ONCE(gaudi_hold_nonrevocable))
		return -EOPNOTSUPP;
	/*
	 * Others, such as software RDMA, may attach for vmap; map will fail for them. What vmap cannot do is refused
	 * here, for a failing vmap leaves a splat.
	 */
	if (!dev_is_pci(attach->dev))
		return gdev->pdev && exp->nr_ranges > 1 && !IS_ENABLED(CONFIG_VMAP_PFN) ? -EOPNOTSUPP : 0;
	if (!gdev->pdev || !attach->peer2peer)
		return -EOPNOTSUPP;
	return gaudi_export_reaches(gdev, to_pci_dev(attach->dev));
}

/* Most exports have one importer at a time, which then needs no memory of its own. Attach and detach hold no lock. */
static struct gaudi_attachment *gaudi_attachment_new(struct gaudi_export *exp)
{
	if (test_and_set_bit_lock(0, &exp->first_taken))
		return kzalloc_obj(struct gaudi_attachment);
	exp->first = (struct gaudi_attachment){};
	return &exp->first;
}

static void gaudi_attachment_free(struct gaudi_export *exp, struct gaudi_attachment *att)
{
	if (att == &exp->first)
		clear_bit_unlock(0, &exp->first_taken);
	else
		kfree(att);
}

static int gaudi_export_attach_as(struct gaudi_export *exp, struct dma_buf_attachment *attach,
				  struct gaudi_grant *grant)
{
	struct gaudi_attachment *att;
	int ret;

	if (READ_ONCE(exp->revoked))
		return -ENODEV;
	ret = gaudi_export_admits(exp, attach);
	if (ret)
		return ret;
	att = gaudi_attachment_new(exp);
	if (!att)
		return -ENOMEM;
	att->grant = grant;
	attach->priv = att;
	return 0;
}

/*
 * Runs in the task that imports: its identity is checked here and nowhere later, since importers map from workers too.
 * A revoke or the end of a grant may come at any time after; map and pin decide.
 */
static int gaudi_export_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct gaudi_export *exp = dmabuf->priv;
	struct gaudi_grant *grant;
	int ret;

	ret = gaudi_grant_check(exp, &grant);
	if (!ret)
		ret = gaudi_export_attach_as(exp, attach, grant);
	if (trace_gaudi_attach_enabled())
		trace_gaudi_attach(exp, dev_name(attach->dev), dma_buf_attach_revocable(attach) ?
				   GAUDI_P2P_IMPORTER_DYNAMIC : GAUDI_P2P_IMPORTER_PINNED, grant, ret);
	if (ret)
		gaudi_grant_put(grant);
	return ret;
}

static void gaudi_export_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct gaudi_attachment *att = attach->priv;

	gaudi_grant_put(att->grant);
	gaudi_attachment_free(dmabuf->priv, att);
}

static void gaudi_export_hold(struct dma_buf_attachment *attach)
{
	struct gaudi_attachment *att = attach->priv;

	att->holds++;
	gaudi_hold_get(attach->dmabuf->priv);
}

static void gaudi_export_unhold(struct dma_buf_attachment *attach)
{
	struct gaudi_attachment *att = attach->priv;

	att->holds--;
	gaudi_hold_put(attach->dmabuf->priv);
}

static int gaudi_export_pin(struct dma_buf_attachment *attach)
{
	struct gaudi_export *exp = attach->dmabuf->priv;
	struct gaudi_attachment *att = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (gaudi_grant_is_over(exp, att->grant))
		return -ENODEV;
	att->pinned = true;
	gaudi_export_hold(attach);
	return 0;
}

static void gaudi_export_unpin(struct dma_buf_attachment *attach)
{
	dma_resv_assert_held(attach->dmabuf->resv);
	gaudi_export_unhold(attach);
}

static struct sg_table *gaudi_export_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct gaudi_export *exp = attach->dmabuf->priv;
	struct gaudi_attachment *att = attach->priv;
	struct sg_table *sgt;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (gaudi_grant_is_over(exp, att->grant))
		return ERR_PTR(-ENODEV);
	if (!exp->gdev->pdev || !dev_is_pci(attach->dev) || !attach->peer2peer)
		return ERR_PTR(-EOPNOTSUPP);

	/*
	 * The provider lives as long as the driver is bound, and remove cannot get past the revocation of this export,
	 * which needs the dma-resv. No drm_dev_enter(): it would say nothing more.
	 */
	sgt = gaudi_sgt_map(exp, attach, dir);
	if (!IS_ERR(sgt))
		gaudi_export_hold(attach);
	return sgt;
}

static void gaudi_export_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			       enum dma_data_direction dir)
{
	dma_resv_assert_held(attach->dmabuf->resv);
	gaudi_sgt_unmap(attach->dmabuf->priv, attach, sgt, dir);
	gaudi_export_unhold(attach);
}

static int gaudi_export_begin_cpu(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	struct gaudi_export *exp = dmabuf->priv;

	return READ_ONCE(exp->revoked) ? -ENODEV : 0;
}

static int gaudi_export_end_cpu(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	/* Drain write-combining buffers before another device reads. */
	wmb();
	return 0;
}

/* The file is gone, and with it every attachment, mapping and vmap; a fence may still be waited for. */
static void gaudi_export_release(struct dma_buf *dmabuf)
{
	struct gaudi_export *exp = dmabuf->priv;

	trace_gaudi_release(exp);
	mutex_lock(&exp->gdev->lock);
	exp->dmabuf = NULL;
	if (!exp->revoked)
		exp->gdev->exported -= exp->size;
	mutex_unlock(&exp->gdev->lock);
	gaudi_grant_drop_all(exp, dmabuf);
	gaudi_export_put(exp);
}

static const struct dma_buf_ops gaudi_export_ops = {
	.attach = gaudi_export_attach,
	.detach = gaudi_export_detach,
	.pin = gaudi_export_pin,
	.unpin = gaudi_export_unpin,
	.map_dma_buf = gaudi_export_map,
	.unmap_dma_buf = gaudi_export_unmap,
	.begin_cpu_access = gaudi_export_begin_cpu,
	.end_cpu_access = gaudi_export_end_cpu,
	.mmap = gaudi_mmap,
	.vmap = gaudi_vmap,
	.vunmap = gaudi_vunmap,
	.release = gaudi_export_release,
};

/* NULL if the dma-buf is of another driver. */
struct gaudi_export *gaudi_export_from_dmabuf(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &gaudi_export_ops ? dmabuf->priv : NULL;
}

/*
 * Device ranges of @size bytes at @offset of @alloc, neighbours joined. With @ranges NULL only counts. @offset + @size
 * is within the allocation.
 */
unsigned int gaudi_export_ranges(struct gaudi_device *gdev, struct gaudi_alloc *alloc, u64 offset, u64 size,
				 struct gaudi_range *ranges)
{
	struct gpu_buddy_block *block;
	unsigned int n = 0;
	u64 end = 0, done = 0;

	list_for_each_entry(block, &alloc->blocks, link) {
		u64 start = gpu_buddy_block_offset(block);
		u64 len = gpu_buddy_block_size(&gdev->buddy, block);

		if (offset >= len) {
			offset -= len;
			continue;
		}
		start += offset;
		len = min(len - offset, size);
		offset = 0;
		size -= len;
		if (n && start == end) {
			if (ranges)
				ranges[n - 1].len += len;
		} else {
			if (ranges)
				ranges[n] = (struct gaudi_range){ .start = done, .offset = start, .len = len };
			n++;
		}
		end = start + len;
		done += len;
		if (!size)
			break;
	}
	return n;
}

/* The export with its dma-buf, on all lists; gdev->lock held, and size checked. */
static struct gaudi_export *gaudi_export_new(struct gaudi_lease *lease, struct gaudi_map *map, u64 offset, u64 size,
					     int mode)
{
	struct gaudi_device *gdev = lease->gdev;
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct gaudi_export *exp;
	struct dma_buf *dmabuf;
	unsigned int n;

	lockdep_assert_held(&gdev->lock);
	n = gaudi_export_ranges(gdev, map->alloc, offset, size, NULL);
	exp = kzalloc_flex(*exp, ranges, n, GFP_KERNEL_ACCOUNT);
	if (!exp)
		return ERR_PTR(-ENOMEM);
	kref_init(&exp->ref);
	exp->nr_ranges = n;
	gaudi_export_ranges(gdev, map->alloc, offset, size, exp->ranges);
	exp->id = atomic64_inc_return(&gaudi_export_ids);
	exp->va = map->node.start;
	exp->offset = offset;
	exp->size = size;
	INIT_LIST_HEAD(&exp->grants);
	INIT_DELAYED_WORK(&exp->fence_work, gaudi_revoke_fence_work);
	exp->gdev = gdev;
	drm_dev_get(&gdev->drm);
	exp->lease = lease;
	kref_get(&lease->ref);

	info.ops = &gaudi_export_ops;
	info.size = size;
	info.flags = mode;
	info.priv = exp;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		/* Not their last references: the caller has its file open. */
		gaudi_lease_put(lease);
		drm_dev_put(&gdev->drm);
		kfree(exp);
		return ERR_CAST(dmabuf);
	}
	exp->dmabuf = dmabuf;
	list_add_tail(&exp->node, &gdev->exports);
	list_add_tail(&exp->lease_node, &lease->exports);
	list_add_tail(&exp->map_node, &map->exports);
	gdev->exported += size;
	trace_gaudi_export(exp);
	return exp;
}

/* What a program may ask for: 0, and in @end the end of the part; or -EINVAL. */
int gaudi_export_check(u64 va, u64 offset, u64 size, u32 flags, u64 *end)
{
	int mode = flags & O_ACCMODE;

	if (flags & ~(O_ACCMODE | O_CLOEXEC) || (mode != O_RDONLY && mode != O_RDWR))
		return -EINVAL;
	if (!size || !PAGE_ALIGNED(va | offset | size) || check_add_overflow(offset, size, end))
		return -EINVAL;
	return 0;
}

/**
 * gaudi_export_fd - export a part of a mapping
 * @lease: owner
 * @va: start of the mapping, as gaudi_va_map() gave it
 * @offset: of the part, page-aligned
 * @size: of the part, page-aligned
 * @flags: O_RDONLY or O_RDWR, O_CLOEXEC
 *
 * Returns a file descriptor, -EINVAL, -EPERM (owner is the root cgroup: nobody could tell its users apart), -ENOMEM,
 * -EMFILE, -ENODEV (lease ended).
 */
int gaudi_export_fd(struct gaudi_lease *lease, u64 va, u64 offset, u64 size, u32 flags)
{
	struct gaudi_export *exp;
	struct dma_buf *dmabuf;
	struct gaudi_map *map;
	u64 end;
	int fd;

	fd = gaudi_export_check(va, offset, size, flags, &end);
	if (fd)
		return fd;
	if (lease->owner.cgroup_root)
		return -EPERM;

	mutex_lock(&lease->gdev->lock);
	if (lease->ended) {
		exp = ERR_PTR(-ENODEV);
	} else {
		map = gaudi_va_find(lease, va);
		if (map && map->alloc && end <= map->alloc->size)
			exp = gaudi_export_new(lease, map, offset, size, flags & O_ACCMODE);
		else
			exp = ERR_PTR(-EINVAL);
	}
	if (IS_ERR(exp)) {
		mutex_unlock(&lease->gdev->lock);
		return PTR_ERR(exp);
	}
	/* The dma-buf's reference is ours until the file descriptor gets it: release cannot run yet. */
	dmabuf = exp->dmabuf;
	mutex_unlock(&lease->gdev->lock);

	fd = dma_buf_fd(dmabuf, flags & O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

/* Whether somebody can reach, or could still map, an export of the mapping. */
bool gaudi_export_busy(struct gaudi_map *map)
{
	struct gaudi_export *exp;

	list_for_each_entry(exp, &map->exports, map_node) {
		struct file *file;

		lockdep_assert_held(&exp->gdev->lock);
		if (atomic_read(&exp->holds))
			return true;
		if (exp->revoked || !exp->dmabuf)
			continue;
		/* A file without references is on its way to release and admits nobody. */
		file = get_file_active(&exp->dmabuf->file);
		if (file) {
			fput(file);
			return true;
		}
	}
	return false;
}

/* The mapping goes; exports of it that are not freed yet no longer belong to any. */
void gaudi_export_forget_map(struct gaudi_map *map)
{
	struct gaudi_export *exp, *next;

	list_for_each_entry_safe(exp, next, &map->exports, map_node) {
		lockdep_assert_held(&exp->gdev->lock);
		list_del_init(&exp->map_node);
	}
}

/*
 * What fdinfo shows of a lease's allocations: shared if an export of them lives, active if an importer holds one. Each
 * counts once and as a whole, however often and in whatever parts it is exported.
 */
void gaudi_export_stats(struct gaudi_lease *lease, struct drm_memory_stats *stats)
{
	struct gaudi_alloc *alloc;
	struct gaudi_export *exp;
	struct gaudi_map *map;
	unsigned long index;

	lockdep_assert_held(&lease->gdev->lock);
	xa_for_each(&lease->allocs, index, alloc) {
		alloc->shared = false;
		alloc->active = false;
	}
	xa_for_each(&lease->maps, index, map) {
		list_for_each_entry(exp, &map->exports, map_node) {
			if (!exp->dmabuf)
				continue;
			map->alloc->shared |= !exp->revoked;
			map->alloc->active |= atomic_read(&exp->holds) > 0;
		}
	}
	xa_for_each(&lease->allocs, index, alloc) {
		if (alloc->shared)
			stats->shared += alloc->size;
		else
			stats->private += alloc->size;
		if (alloc->active)
			stats->active += alloc->size;
		stats->resident += alloc->size;
	}
}
