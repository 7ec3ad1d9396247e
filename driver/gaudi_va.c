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
	drm_mm_init(&lease->host_va, GAUDI_VA_HOST_BASE, GAUDI_VA_HOST_SIZE);
	gaudi_hostmem_init(lease);
}

/* What the program was told. Host memory keeps its offset in the page. */
static u64 gaudi_va_of(const struct gaudi_map *map)
{
	return map->node.start + (map->host ? map->host->offset : 0);
}

/* Returns the host memory behind @map, if that was it: the caller lets go of it after gdev->lock. */
static struct gaudi_hostmem *gaudi_va_drop(struct gaudi_lease *lease, struct gaudi_map *map)
{
	struct gaudi_hostmem *host = map->host;

	xa_erase(&lease->maps, map->node.start >> PAGE_SHIFT);
	if (host)
		lease->host_bytes -= map->node.size;
	else
		map->alloc->maps--;
	gaudi_export_forget_map(map);
	drm_mm_remove_node(&map->node);
	kfree(map);
	return host;
}

/* All mappings of an ended lease. */
void gaudi_va_done(struct gaudi_lease *lease)
{
	struct gaudi_map *map;
	unsigned long index;

	lockdep_assert_held(&lease->gdev->lock);
	xa_for_each(&lease->maps, index, map) {
		struct gaudi_hostmem *host = gaudi_va_drop(lease, map);

		if (host)
			list_add_tail(&host->node, &lease->hostmem_dead);
	}
	drm_mm_takedown(&lease->va);
	drm_mm_takedown(&lease->host_va);
	gaudi_hostmem_end(lease);
}

/* The mapping that starts at @va exactly. */
struct gaudi_map *gaudi_va_find(struct gaudi_lease *lease, u64 va)
{
	struct gaudi_map *map;

	lockdep_assert_held(&lease->gdev->lock);
	map = xa_load(&lease->maps, va >> PAGE_SHIFT);
	return map && gaudi_va_of(map) == va ? map : NULL;
}

/* An address range for @map, at @hint if that is free and aligned to @align. Returns 0 or -ENOMEM. */
static int gaudi_va_place(struct gaudi_lease *lease, struct gaudi_map *map, u64 hint, bool force)
{
	struct drm_mm *va = map->host ? &lease->host_va : &lease->va;
	u64 size = map->host ? (u64)map->host->nr_pages << PAGE_SHIFT : map->alloc->size;
	u64 align = map->host ? PAGE_SIZE : GAUDI_PAGE_SIZE;

	if (hint && IS_ALIGNED(hint, align)) {
		map->node.start = hint;
		map->node.size = size;
		if (!drm_mm_reserve_node(va, &map->node))
			return 0;
		memset(&map->node, 0, sizeof(map->node));
	}
	if (force || drm_mm_insert_node_generic(va, &map->node, size, align, 0, DRM_MM_INSERT_BEST))
		return -ENOMEM;
	return 0;
}

/* Gives @map, which has its memory, an address; gdev->lock held. Returns 0 or -ENOMEM. */
static int gaudi_va_insert(struct gaudi_lease *lease, struct gaudi_map *map, u64 hint, bool force)
{
	int ret;

	ret = gaudi_va_place(lease, map, hint, force);
	if (ret)
		return ret;
	ret = xa_insert(&lease->maps, map->node.start >> PAGE_SHIFT, map, GFP_KERNEL);
	if (ret) {
		drm_mm_remove_node(&map->node);
		return ret;
	}
	if (map->host)
		lease->host_bytes += map->node.size;
	else
		map->alloc->maps++;
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
	map->alloc = xa_load(&lease->allocs, handle);
	if (lease->ended)
		ret = -ENODEV;
	else if (!map->alloc)
		ret = -EINVAL;
	else
		ret = gaudi_va_insert(lease, map, hint, force);
	if (!ret)
		*va = gaudi_va_of(map);
	mutex_unlock(&lease->gdev->lock);
	if (ret)
		kfree(map);
	return ret;
}

/**
 * gaudi_va_map_host - give memory of the calling process a device address
 * @lease: owner
 * @addr: of the memory
 * @size: of the memory
 * @hint: wanted address of the page that @addr is in, or 0
 * @force: fail with -ENOMEM if the hint cannot be used
 * @va: result, with the offset of @addr in its page
 *
 * Returns 0, what gaudi_hostmem_pin() returns, -ENOMEM, -ENODEV (lease ended).
 */
int gaudi_va_map_host(struct gaudi_lease *lease, u64 addr, u64 size, u64 hint, bool force, u64 *va)
{
	struct gaudi_hostmem *host;
	struct gaudi_map *map;
	int ret;

	map = kzalloc_obj(*map, GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;
	host = gaudi_hostmem_pin(addr, size);
	if (IS_ERR(host)) {
		kfree(map);
		return PTR_ERR(host);
	}
	INIT_LIST_HEAD(&map->exports);
	map->host = host;

	mutex_lock(&lease->gdev->lock);
	ret = lease->ended ? -ENODEV : gaudi_va_insert(lease, map, hint, force);
	if (!ret)
		*va = gaudi_va_of(map);
	mutex_unlock(&lease->gdev->lock);
	if (ret) {
		gaudi_hostmem_unpin(host);
		kfree(map);
	}
	return ret;
}

/* Returns 0, -EINVAL (no mapping starts at @va, or an export of it lives), -ENODEV (lease ended). */
int gaudi_va_unmap(struct gaudi_lease *lease, u64 va)
{
	struct gaudi_hostmem *host = NULL;
	struct gaudi_map *map;
	int ret = 0;

	mutex_lock(&lease->gdev->lock);
	map = gaudi_va_find(lease, va);
	if (lease->ended)
		ret = -ENODEV;
	else if (!map || gaudi_export_busy(map))
		ret = -EINVAL;
	else
		host = gaudi_va_drop(lease, map);
	mutex_unlock(&lease->gdev->lock);
	if (host)
		gaudi_hostmem_unpin(host);
	return ret;
}
