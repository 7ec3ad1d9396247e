// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory: handed out only if it is known to be zero.
 *
 * The buddy allocator's free memory is zero by construction. A block that was handed out is dirty for good; when it is
 * freed it goes to gaudi_device.dirty and returns to the allocator only after the worker scrubbed it. At probe
 * everything is dirty, because nobody knows what the last kernel, driver or owner left.
 */
#include <linux/bitmap.h>
#include <linux/list_sort.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>

#include "gaudi_device.h"
#include "gaudi_trace.h"

static void gaudi_mem_release(struct drm_device *drm, void *data)
{
	gaudi_mem_done(data);
}

int gaudi_mem_init(struct gaudi_device *gdev)
{
	int ret;

	ret = gpu_buddy_init(&gdev->buddy, gdev->size, GAUDI_PAGE_SIZE);
	if (ret)
		return ret;
	gpu_buddy_driver_set_lock(&gdev->buddy, &gdev->lock);
	return drmm_add_action_or_reset(&gdev->drm, gaudi_mem_release, gdev);
}

/* The device is gone for good, so that "zero" no longer matters; the allocator wants its blocks back. */
void gaudi_mem_done(struct gaudi_device *gdev)
{
	mutex_lock(&gdev->lock);
	gpu_buddy_free_list(&gdev->buddy, &gdev->dirty, 0);
	gpu_buddy_fini(&gdev->buddy);
	mutex_unlock(&gdev->lock);
}

static int gaudi_mem_cmp_block(void *priv, const struct list_head *a, const struct list_head *b)
{
	u64 oa = gpu_buddy_block_offset(list_entry(a, struct gpu_buddy_block, link));
	u64 ob = gpu_buddy_block_offset(list_entry(b, struct gpu_buddy_block, link));

	return oa > ob ? 1 : -1;
}

static bool gaudi_mem_is_contiguous(struct gaudi_device *gdev, struct list_head *blocks)
{
	struct gpu_buddy_block *block;
	u64 next = 0;

	list_for_each_entry(block, blocks, link) {
		u64 offset = gpu_buddy_block_offset(block);

		if (!list_is_first(&block->link, blocks) && offset != next)
			return false;
		next = offset + gpu_buddy_block_size(&gdev->buddy, block);
	}
	return true;
}

static u64 gaudi_mem_bytes(struct gaudi_device *gdev, struct list_head *blocks)
{
	struct gpu_buddy_block *block;
	u64 sum = 0;

	list_for_each_entry(block, blocks, link)
		sum += gpu_buddy_block_size(&gdev->buddy, block);
	return sum;
}

/* Returns 0, or -ENOSPC when zeroed memory does not suffice now. */
static int gaudi_mem_get_blocks(struct gaudi_device *gdev, u64 size, bool contiguous, struct list_head *blocks)
{
	int ret;

	lockdep_assert_held(&gdev->lock);
	if (size > gdev->buddy.avail)
		return -ENOSPC;
	ret = gpu_buddy_alloc_blocks(&gdev->buddy, 0, gdev->size, size, GAUDI_PAGE_SIZE, blocks,
				     contiguous ? GPU_BUDDY_CONTIGUOUS_ALLOCATION : 0);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		return -ENOSPC;
	/* A run is cut out of a larger one; without memory for that, the allocator gives all of it and says nothing. */
	if (gaudi_mem_bytes(gdev, blocks) != size) {
		gpu_buddy_free_list(&gdev->buddy, blocks, 0);
		return -ENOMEM;
	}
	list_sort(NULL, blocks, gaudi_mem_cmp_block);
	if (contiguous && !gaudi_mem_is_contiguous(gdev, blocks)) {
		gpu_buddy_free_list(&gdev->buddy, blocks, 0);
		return -ENOSPC;
	}
	return 0;
}

static void gaudi_mem_mark_used(struct gaudi_device *gdev, struct list_head *blocks, unsigned long *used)
{
	struct gpu_buddy_block *block;

	list_for_each_entry(block, blocks, link)
		bitmap_set(used, gpu_buddy_block_offset(block) / GAUDI_PAGE_SIZE,
			   gpu_buddy_block_size(&gdev->buddy, block) / GAUDI_PAGE_SIZE);
}

/*
 * The allocator looks for one run only around blocks of the right size, and misses some. This one looks at everything;
 * nothing waits to be scrubbed when it is called. Returns 0, -ENOSPC, -ENOMEM.
 */
static int gaudi_mem_get_run(struct gaudi_lease *lease, u64 size, struct list_head *blocks)
{
	struct gaudi_device *gdev = lease->gdev;
	unsigned long pages = gdev->size / GAUDI_PAGE_SIZE;
	struct gaudi_alloc *alloc;
	unsigned long *used;
	unsigned long handle;
	u64 start;
	int ret;

	lockdep_assert_held(&gdev->lock);
	if (size > gdev->buddy.avail)
		return -ENOSPC;
	used = kvcalloc(BITS_TO_LONGS(pages), sizeof(*used), GFP_KERNEL);
	if (!used)
		return -ENOMEM;
	xa_for_each(&lease->allocs, handle, alloc)
		gaudi_mem_mark_used(gdev, &alloc->blocks, used);
	start = bitmap_find_next_zero_area(used, pages, 0, size / GAUDI_PAGE_SIZE, 0) * (u64)GAUDI_PAGE_SIZE;
	kvfree(used);
	if (start + size > gdev->size)
		return -ENOSPC;
	ret = gpu_buddy_alloc_blocks(&gdev->buddy, start, start + size, size, GAUDI_PAGE_SIZE, blocks, 0);
	if (!ret)
		list_sort(NULL, blocks, gaudi_mem_cmp_block);
	return ret;
}

/*
 * Like the above, but waits for the worker as long as freed memory is still to be scrubbed. Called and returns with
 * gdev->lock held.
 */
static int gaudi_mem_wait_blocks(struct gaudi_lease *lease, u64 size, bool contiguous, struct list_head *blocks)
{
	struct gaudi_device *gdev = lease->gdev;
	unsigned int seen;
	int ret;

	for (;;) {
		if (lease->ended)
			return -ENODEV;
		ret = gaudi_mem_get_blocks(gdev, size, contiguous, blocks);
		if (ret != -ENOSPC)
			return ret;
		if (list_empty(&gdev->dirty) && !gdev->scrubbing) {
			if (!contiguous || gaudi_mem_get_run(lease, size, blocks))
				return -ENOMEM;
			return 0;
		}

		seen = gdev->changes;
		mutex_unlock(&gdev->lock);
		ret = wait_event_killable(gdev->wait, READ_ONCE(gdev->changes) != seen);
		mutex_lock(&gdev->lock);
		if (ret)
			return ret;
	}
}

/**
 * gaudi_mem_alloc - allocate zeroed device memory
 * @lease: owner
 * @size: bytes, rounded up to GAUDI_PAGE_SIZE
 * @contiguous: one run of device memory
 * @handle: result, never 0
 *
 * Returns 0, -EINVAL (size 0), -ENOMEM, -ENODEV (lease ended).
 */
int gaudi_mem_alloc(struct gaudi_lease *lease, u64 size, bool contiguous, u64 *handle)
{
	struct gaudi_device *gdev = lease->gdev;
	struct gaudi_alloc *alloc;
	int ret;

	if (!size)
		return -EINVAL;
	if (size > gdev->size)
		return -ENOMEM;

	alloc = kzalloc_obj(*alloc, GFP_KERNEL_ACCOUNT);
	if (!alloc)
		return -ENOMEM;
	INIT_LIST_HEAD(&alloc->blocks);
	alloc->size = round_up(size, GAUDI_PAGE_SIZE);

	mutex_lock(&gdev->lock);
	ret = gaudi_mem_wait_blocks(lease, alloc->size, contiguous, &alloc->blocks);
	if (ret)
		goto err_free;
	ret = xa_alloc(&lease->allocs, &alloc->handle, alloc, XA_LIMIT(1, INT_MAX), GFP_KERNEL);
	if (ret) {
		/* Nobody has seen the blocks: they are zero still. */
		gpu_buddy_free_list(&gdev->buddy, &alloc->blocks, 0);
		goto err_free;
	}
	lease->allocated += alloc->size;
	*handle = alloc->handle;
	trace_gaudi_alloc(gdev, alloc->handle, alloc->size, contiguous, 0);
	mutex_unlock(&gdev->lock);
	return 0;

err_free:
	trace_gaudi_alloc(gdev, 0, alloc->size, contiguous, ret);
	mutex_unlock(&gdev->lock);
	kfree(alloc);
	return ret;
}

static void gaudi_mem_make_dirty(struct gaudi_lease *lease, struct gaudi_alloc *alloc)
{
	struct gaudi_device *gdev = lease->gdev;

	lockdep_assert_held(&gdev->lock);
	trace_gaudi_free(gdev, alloc->handle, alloc->size);
	atomic64_add(alloc->size, &gdev->dirty_bytes);
	list_splice_tail_init(&alloc->blocks, &gdev->dirty);
	lease->allocated -= alloc->size;
	kfree(alloc);
}

int gaudi_mem_free(struct gaudi_lease *lease, u64 handle)
{
	struct gaudi_device *gdev = lease->gdev;
	struct gaudi_alloc *alloc;

	if (handle > INT_MAX)
		return -EINVAL;

	guard(mutex)(&gdev->lock);
	if (lease->ended)
		return -ENODEV;
	alloc = xa_load(&lease->allocs, handle);
	if (!alloc || alloc->maps)
		return -EINVAL;
	xa_erase(&lease->allocs, handle);
	gaudi_mem_make_dirty(lease, alloc);
	queue_work(gaudi_wq, &gdev->work);
	return 0;
}

/* The lease has ended: everything goes to the worker, which will not touch it before the last hold is gone. */
void gaudi_mem_free_all(struct gaudi_lease *lease)
{
	struct gaudi_alloc *alloc;
	unsigned long handle;

	lockdep_assert_held(&lease->gdev->lock);
	xa_for_each(&lease->allocs, handle, alloc) {
		xa_erase(&lease->allocs, handle);
		gaudi_mem_make_dirty(lease, alloc);
	}
}

/* Adds to @done what became zero. Returns 0, -EIO, or -ENODEV when the device is being removed or reset. */
static int gaudi_mem_scrub_range(struct gaudi_device *gdev, u64 offset, u64 len, u64 *done)
{
	while (len) {
		size_t n = min_t(u64, len, GAUDI_SCRUB_CHUNK);
		u64 start, ns;
		int idx, ret;

		if (READ_ONCE(gdev->resetting) || !drm_dev_enter(&gdev->drm, &idx))
			return -ENODEV;
		start = ktime_get_ns();
		ret = gdev->backend->zero(gdev, offset, n);
		ns = ktime_get_ns() - start;
		atomic64_add(ns, &gdev->scrub_ns);
		trace_gaudi_scrub(gdev, offset, n, ns, ret);
		drm_dev_exit(idx);
		if (ret) {
			atomic64_inc(&gdev->scrub_failures);
			return -EIO;
		}
		atomic64_add(n, &gdev->scrubbed_bytes);
		atomic64_sub(n, &gdev->dirty_bytes);
		*done += n;
		offset += n;
		len -= n;
		cond_resched();
	}
	return 0;
}

/*
 * Scrub what is dirty now. Called by the worker with gdev->lock held; drops it in between. On failure the blocks stay
 * dirty.
 */
int gaudi_mem_scrub(struct gaudi_device *gdev)
{
	unsigned int resets = gdev->resets;
	struct gpu_buddy_block *block;
	bool fresh = gdev->fresh;
	LIST_HEAD(blocks);
	u64 done = 0;
	int ret = 0;

	lockdep_assert_held(&gdev->lock);
	list_splice_init(&gdev->dirty, &blocks);
	gdev->scrubbing = true;
	mutex_unlock(&gdev->lock);

	if (fresh) {
		atomic64_set(&gdev->dirty_bytes, gdev->size);
		ret = gaudi_mem_scrub_range(gdev, 0, gdev->size, &done);
	}
	list_for_each_entry(block, &blocks, link) {
		if (ret || fresh)
			break;
		ret = gaudi_mem_scrub_range(gdev, gpu_buddy_block_offset(block),
					    gpu_buddy_block_size(&gdev->buddy, block), &done);
	}

	mutex_lock(&gdev->lock);
	gdev->scrubbing = false;
	if (ret) {
		list_splice(&blocks, &gdev->dirty);
		if (gdev->fresh)
			atomic64_set(&gdev->dirty_bytes, gdev->size);
		else
			atomic64_add(done, &gdev->dirty_bytes);
		return ret;
	}
	atomic64_inc(&gdev->scrubs);
	if (fresh && gdev->resets == resets)
		gdev->fresh = false;
	gpu_buddy_free_list(&gdev->buddy, &blocks, 0);
	gaudi_lease_changed(gdev);
	return 0;
}
