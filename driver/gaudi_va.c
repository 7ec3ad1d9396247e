// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device virtual addresses. The emulated card has no MMU; addresses name mappings for export, as programs expect.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "gaudi_device.h"

static u64 gaudi_va_size(struct gaudi_device *gdev)
{
	/* Room for several mappings of everything. */
	return max(roundup_pow_of_two(gdev->size) * 16, GAUDI_VA_MIN_SIZE);
}

void gaudi_va_init(struct gaudi_lease *lease)
{
	drm_mm_init(&lease->va, GAUDI_VA_BASE, gaudi_va_size(lease->gdev));
}

static void gaudi_va_drop(struct gaudi_lease *lease, struct gaudi_map *map)
{
	xa_erase(&lease->maps, map->node.start >> PAGE_SHIFT);
	drm_mm_remove_node(&map->node);
	gaudi_export_forget_map(map);
	map->alloc->maps--;
	kfree(map);
}

/* All mappings of an ended lease. */
void gaudi_va_done(struct gaudi_lease *lease)
{
	struct gaudi_map *map;
	unsigned long index;

	lockdep_assert_held(&lease->gdev->lock);
	xa_for_each(&lease->maps, index, map)
		gaudi_va_drop(lease, map);
	drm_mm_takedown(&lease->va);
}

/* The mapping that starts at @va exactly. */
struct gaudi_map *gaudi_va_find(struct gaudi_lease *lease, u64 va)
{
	lockdep_assert_held(&lease->gdev->lock);
	if (!PAGE_ALIGNED(va))
		return NULL;
	return xa_load(&lease->maps, va >> PAGE_SHIFT);
}

static int gaudi_va_place(struct gaudi_lease *lease, struct gaudi_map *map, u64 hint, bool force)
{
	if (hint && IS_ALIGNED(hint, GAUDI_PAGE_SIZE)) {
		map->node.start = hint;
		map->node.size = map->alloc->size;
		if (hint >= GAUDI_VA_BASE && !drm_mm_reserve_node(&lease->va, &map->node))
			return 0;
		memset(&map->node, 0, sizeof(map->node));
	}
	if (force)
		return -ENOMEM;
	if (drm_mm_insert_node_generic(&lease->va, &map->node, map->alloc->size, GAUDI_PAGE_SIZE, 0,
				       DRM_MM_INSERT_BEST))
		return -ENOMEM;
	return 0;
}

/**
 * gaudi_va_map - give an allocation a device address
 * @lease: owner
 * @handle: of the allocation, which may be mapped more than once
 * @hint: wanted address or 0; used if it is free and aligned
 * @force: fail with -ENOMEM if the hint cannot be used
 * @va: result
 *
 * Returns 0, -EINVAL (unknown handle), -ENOMEM, -ENODEV (lease ended).
 */
int gaudi_va_map(struct gaudi_lease *lease, u64 handle, u64 hint, bool force, u64 *va)
{
	struct gaudi_map *map;
	int ret;

	if (handle > INT_MAX)
		return -EINVAL;
	map = kzalloc_obj(*map, GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;
	INIT_LIST_HEAD(&map->exports);

	mutex_lock(&lease->gdev->lock);
	if (lease->ended) {
		ret = -ENODEV;
		goto err_free;
	}
	map->alloc = xa_load(&lease->allocs, handle);
	if (!map->alloc) {
		ret = -EINVAL;
		goto err_free;
	}
	ret = gaudi_va_place(lease, map, hint, force);
	if (ret)
		goto err_free;
	ret = xa_insert(&lease->maps, map->node.start >> PAGE_SHIFT, map, GFP_KERNEL);
	if (ret)
		goto err_node;
	map->alloc->maps++;
	*va = map->node.start;
	mutex_unlock(&lease->gdev->lock);
	return 0;

err_node:
	drm_mm_remove_node(&map->node);
err_free:
	mutex_unlock(&lease->gdev->lock);
	kfree(map);
	return ret;
}

/* Returns 0, -EINVAL (no mapping starts at @va, or an export of it lives), -ENODEV (lease ended). */
int gaudi_va_unmap(struct gaudi_lease *lease, u64 va)
{
	struct gaudi_map *map;

	guard(mutex)(&lease->gdev->lock);
	if (lease->ended)
		return -ENODEV;
	map = gaudi_va_find(lease, va);
	if (!map || gaudi_export_busy(map))
		return -EINVAL;
	gaudi_va_drop(lease, map);
	return 0;
}
