// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a device: made by a backend's probe, gone with its remove, freed with the last file or dma-buf.
 */
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/pci.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_managed.h>

#include "gaudi_device.h"

/* Every device that is not freed yet, also removed ones that an importer still maps. */
static LIST_HEAD(gaudi_device_list);
static DEFINE_SPINLOCK(gaudi_device_list_lock);
static DEFINE_IDA(gaudi_module_ids);

/*
 * Removed, or about to be. Unlike drm_dev_enter() this may be asked anywhere, and the answer may be old: it only
 * shortens waits.
 */
bool gaudi_device_is_gone(struct gaudi_device *gdev)
{
	return drm_dev_is_unplugged(&gdev->drm);
}

static bool gaudi_device_same_memory(const struct gaudi_device *a, const struct gaudi_device *b)
{
	return a->phys && b->phys && a->phys < b->phys + b->size && b->phys < a->phys + a->size;
}

/*
 * Start the worker of @gdev and of every device on the same memory: when the last importer of a removed device lets go,
 * it is the one bound later to the same card that waits for it. For a removed device its own work is disabled.
 */
void gaudi_device_kick(struct gaudi_device *gdev)
{
	struct gaudi_device *other;

	spin_lock(&gaudi_device_list_lock);
	queue_work(gaudi_wq, &gdev->work);
	list_for_each_entry(other, &gaudi_device_list, node)
		if (other != gdev && gaudi_device_same_memory(gdev, other))
			queue_work(gaudi_wq, &other->work);
	spin_unlock(&gaudi_device_list_lock);
}

/* Whether an importer still maps this card's memory on behalf of a device that was removed. */
bool gaudi_device_has_ghost(struct gaudi_device *gdev)
{
	struct gaudi_device *other;
	bool found = false;

	spin_lock(&gaudi_device_list_lock);
	list_for_each_entry(other, &gaudi_device_list, node)
		if (other != gdev && gaudi_device_same_memory(gdev, other) && atomic_read(&other->holds))
			found = true;
	spin_unlock(&gaudi_device_list_lock);
	return found;
}

/* drmm actions run last in, first out, when the last reference to the drm device is gone. */
static void gaudi_device_release(struct drm_device *drm, void *data)
{
	struct gaudi_device *gdev = data;

	spin_lock(&gaudi_device_list_lock);
	list_del(&gdev->node);
	spin_unlock(&gaudi_device_list_lock);
}

/*
 * With the binding, not with the last reference: a forgotten file shall not change the number by which programs know
 * the card.
 */
static void gaudi_device_put_id(void *data)
{
	struct gaudi_device *gdev = data;

	ida_free(&gaudi_module_ids, gdev->module_id);
}

/**
 * gaudi_device_create - first step of a backend's probe
 * @dev: parent
 * @backend: operations
 * @backend_size: size of the backend's structure, which begins with struct gaudi_device
 *
 * Returns the device, freed by devres and references, or an error pointer.
 */
struct gaudi_device *gaudi_device_create(struct device *dev, const struct gaudi_backend *backend,
					 size_t backend_size)
{
	struct gaudi_device *gdev;
	int ret;

	gdev = __devm_drm_dev_alloc(dev, &gaudi_drm_driver, backend_size, offsetof(struct gaudi_device, drm));
	if (IS_ERR(gdev))
		return gdev;

	gdev->backend = backend;
	gdev->state = gaudi_state_first();
	gdev->fresh = true;
	INIT_LIST_HEAD(&gdev->exports);
	INIT_LIST_HEAD(&gdev->dirty);
	init_waitqueue_head(&gdev->wait);
	INIT_WORK(&gdev->work, gaudi_lease_work);
	/* Others may kick it as soon as it is on the list; nothing runs before register enables it. */
	disable_work(&gdev->work);
	INIT_WORK(&gdev->owner_died, gaudi_lease_owner_died_work);
	ret = drmm_mutex_init(&gdev->drm, &gdev->lock);
	if (ret)
		return ERR_PTR(ret);

	ret = ida_alloc(&gaudi_module_ids, GFP_KERNEL);
	if (ret < 0)
		return ERR_PTR(ret);
	gdev->module_id = ret;
	ret = devm_add_action_or_reset(dev, gaudi_device_put_id, gdev);
	if (ret)
		return ERR_PTR(ret);
	spin_lock(&gaudi_device_list_lock);
	list_add(&gdev->node, &gaudi_device_list);
	spin_unlock(&gaudi_device_list_lock);
	ret = drmm_add_action_or_reset(&gdev->drm, gaudi_device_release, gdev);
	if (ret)
		return ERR_PTR(ret);
	return gdev;
}

/**
 * gaudi_device_register - last step of a backend's probe
 * @gdev: with @pdev, @provider and @phys set when there are such
 * @size: bytes of device memory
 *
 * From here on user space can come in; all memory counts as dirty and the worker begins to scrub it.
 */
int gaudi_device_register(struct gaudi_device *gdev, u64 size)
{
	struct device *dev = gdev->drm.dev;
	int ret;

	gdev->size = round_down(size, GAUDI_PAGE_SIZE);
	if (!gdev->size)
		return dev_err_probe(dev, -ENODEV, "no device memory\n");
	atomic64_set(&gdev->dirty_bytes, gdev->size);
	ret = gaudi_mem_init(gdev);
	if (ret)
		return ret;

	dev_set_drvdata(dev, gdev);
	ret = devm_device_add_group(dev, &gaudi_sysfs_device_group);
	if (ret)
		return ret;
	gdev->drm.accel->kdev->groups = gaudi_sysfs_class_groups;
	mutex_lock(&gdev->lock);
	if (!gaudi_device_has_ghost(gdev))
		gaudi_lease_event(gdev, GAUDI_EVENT_LET_GO, "");
	mutex_unlock(&gdev->lock);
	gaudi_debugfs_add(gdev);
	ret = drm_dev_register(&gdev->drm, 0);
	if (ret)
		return ret;
	ret = gaudi_control_add(gdev);
	if (ret) {
		gaudi_device_remove(gdev);
		return dev_err_probe(dev, ret, "no control node\n");
	}
	enable_and_queue_work(gaudi_wq, &gdev->work);
	return 0;
}

/**
 * gaudi_device_remove - first step of a backend's remove
 *
 * Waits for ioctls in flight and for the scrub's current step, never for an importer. What importers still map then is
 * remembered (gaudi_device_has_ghost()), so that a new binding of the card waits for it before it scrubs.
 */
void gaudi_device_remove(struct gaudi_device *gdev)
{
	drm_dev_unplug(&gdev->drm);
	gaudi_control_remove(gdev);

	mutex_lock(&gdev->lock);
	gaudi_lease_end_locked(gdev);
	gaudi_lease_event(gdev, GAUDI_EVENT_REMOVE, "device was removed");
	mutex_unlock(&gdev->lock);

	wake_up_all(&gdev->wait);
	disable_work_sync(&gdev->owner_died);
	disable_work_sync(&gdev->work);
}

/**
 * gaudi_device_reset_prepare - what the card's memory holds is about to become unknown: reset, bus error, suspend
 * @gdev: device
 * @reason: for sysfs
 *
 * Ends the lease. Returns when the worker no longer touches the memory; importers that hold are not waited for. May be
 * called again before gaudi_device_reset_done().
 */
void gaudi_device_reset_prepare(struct gaudi_device *gdev, const char *reason)
{
	bool again;

	mutex_lock(&gdev->lock);
	again = gdev->resetting;
	gaudi_lease_end_locked(gdev);
	gdev->resets++;
	gdev->fresh = true;
	atomic64_set(&gdev->dirty_bytes, gdev->size);
	WRITE_ONCE(gdev->resetting, true);
	gaudi_lease_event(gdev, GAUDI_EVENT_RESET, reason);
	mutex_unlock(&gdev->lock);
	/* It counts how often it was disabled. */
	if (!again)
		disable_work_sync(&gdev->work);
}

/**
 * gaudi_device_reset_failed - the card did not come back; only another reset or a new binding leads out
 * @gdev: device
 * @reason: for sysfs
 */
void gaudi_device_reset_failed(struct gaudi_device *gdev, const char *reason)
{
	gaudi_device_reset_prepare(gdev, reason);
	mutex_lock(&gdev->lock);
	gaudi_lease_event(gdev, GAUDI_EVENT_NOT_ZERO, reason);
	mutex_unlock(&gdev->lock);
}

/**
 * gaudi_device_reset_done - the card answers again
 * @gdev: device
 *
 * Everything is scrubbed before the next owner comes. Leads out of "lost" too. Nothing to do if nothing was prepared.
 */
void gaudi_device_reset_done(struct gaudi_device *gdev)
{
	bool resetting;

	mutex_lock(&gdev->lock);
	resetting = gdev->resetting;
	WRITE_ONCE(gdev->resetting, false);
	if (resetting)
		gdev->reason[0] = '\0';
	mutex_unlock(&gdev->lock);
	if (resetting)
		enable_and_queue_work(gaudi_wq, &gdev->work);
}
