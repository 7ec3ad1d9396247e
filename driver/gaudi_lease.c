// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lease: a device changes hands only when no one can reach the old owner's memory and that memory is zero.
 *
 * Ending a lease only flips the state, refuses new attachments and mappings, and invalidates what can be revoked. The
 * worker does the rest, and waits for nobody either: it looks whether the last hold is gone, and whoever drops the last
 * hold starts it again.
 */
#include <linux/device.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "gaudi_device.h"
#include "gaudi_trace.h"

/* Wake who waits for a state or for scrubbed memory; gdev->lock held. */
void gaudi_lease_changed(struct gaudi_device *gdev)
{
	lockdep_assert_held(&gdev->lock);
	WRITE_ONCE(gdev->changes, gdev->changes + 1);
	wake_up_all(&gdev->wait);
}

/* The only place where the state changes, by the table of gaudi_state.h; gdev->lock held. */
void gaudi_lease_event(struct gaudi_device *gdev, enum gaudi_event event, const char *reason)
{
	int next = gaudi_state_next(gdev->state, event);

	lockdep_assert_held(&gdev->lock);
	if (WARN_ONCE(next < 0, "gaudi_p2p: event \"%s\" while %s\n", gaudi_event_name(event),
		      gaudi_state_name(gdev->state)))
		return;
	strscpy(gdev->reason, reason, sizeof(gdev->reason));
	if (gdev->state == next)
		return;
	trace_gaudi_lease(gdev, gdev->state, next, event, reason);
	WRITE_ONCE(gdev->state, next);
	gaudi_lease_changed(gdev);
	gaudi_sysfs_uevent(gdev);
}

static void gaudi_lease_release(struct kref *ref)
{
	struct gaudi_lease *lease = container_of(ref, struct gaudi_lease, ref);

	xa_destroy(&lease->allocs);
	xa_destroy(&lease->maps);
	kfree(lease);
}

void gaudi_lease_put(struct gaudi_lease *lease)
{
	kref_put(&lease->ref, gaudi_lease_release);
}

/* 0 if the caller may use the lease; -ENODEV when it has ended, for whom ever; -EPERM for a stranger. */
int gaudi_lease_check(struct gaudi_lease *lease)
{
	if (READ_ONCE(lease->ended) || READ_ONCE(lease->owner.dead))
		return -ENODEV;
	if (!gaudi_owner_is_current(&lease->owner))
		return -EPERM;
	return 0;
}

/* gdev->lock held; nothing to do without a living lease. */
void gaudi_lease_end_locked(struct gaudi_device *gdev)
{
	struct gaudi_lease *lease = gdev->lease;

	lockdep_assert_held(&gdev->lock);
	if (!lease)
		return;

	WRITE_ONCE(lease->ended, true);
	gdev->lease = NULL;
	gaudi_owner_done(&lease->owner);
	gdev->last_open_ms = ktime_ms_delta(ktime_get(), lease->opened);
	gaudi_lease_event(gdev, GAUDI_EVENT_END, "");

	gaudi_revoke_lease(lease);
	gaudi_va_done(lease);
	gaudi_mem_free_all(lease);
	queue_work(gaudi_wq, &gdev->work);
	gaudi_lease_put(lease);
}

/* In the cleanup of a namespace, under a spinlock. */
static void gaudi_lease_owner_died(struct gaudi_owner *owner)
{
	struct gaudi_lease *lease = container_of(owner, struct gaudi_lease, owner);

	queue_work(gaudi_wq, &lease->gdev->owner_died);
}

/* Returns 0; -EAGAIN when the device is about to become free; or what open() answers. */
static int gaudi_lease_take(struct gaudi_device *gdev, struct gaudi_lease *lease)
{
	int ret;

	lockdep_assert_held(&gdev->lock);
	if (gaudi_device_is_gone(gdev))
		return -ENODEV;

	switch (gdev->state) {
	case GAUDI_STATE_LOST:
		return -EIO;
	case GAUDI_STATE_OWNED:
		if (!gaudi_owner_is_idle(&gdev->lease->owner))
			return -EBUSY;
		gaudi_lease_end_locked(gdev);
		return -EAGAIN;
	case GAUDI_STATE_DRAINING:
	case GAUDI_STATE_SCRUBBING:
		return -EAGAIN;
	default:
		break;
	}

	/* A task that is inside open() has its namespaces. */
	ret = gaudi_owner_init(&lease->owner, current, gaudi_lease_owner_died);
	if (ret)
		return ret;
	gaudi_va_init(lease);
	kref_get(&lease->ref);
	lease->opened = ktime_get();
	gdev->lease = lease;
	gdev->opens++;
	gaudi_lease_event(gdev, GAUDI_EVENT_OPEN, "");
	return 0;
}

static int gaudi_lease_wait_and_take(struct gaudi_device *gdev, struct gaudi_lease *lease, bool nonblock)
{
	unsigned long deadline = jiffies + min(READ_ONCE(gaudi_open_wait_s), 86400u) * HZ;
	unsigned int seen;
	long left;
	int ret;

	for (;;) {
		ret = mutex_lock_killable(&gdev->lock);
		if (ret)
			return ret;
		ret = gaudi_lease_take(gdev, lease);
		seen = gdev->changes;
		mutex_unlock(&gdev->lock);
		if (ret != -EAGAIN)
			return ret;

		left = deadline - jiffies;
		if (nonblock || left <= 0)
			return -EBUSY;
		left = wait_event_killable_timeout(gdev->wait,
						   READ_ONCE(gdev->changes) != seen ||
						   gaudi_device_is_gone(gdev), left);
		if (left < 0)
			return left;
	}
}

/**
 * gaudi_lease_open - make the caller the owner
 * @gdev: device
 * @gf: file that gets the lease
 * @nonblock: do not wait for a device that drains or scrubs
 *
 * Returns 0, -EBUSY (owned, or not free in time), -EIO (lost; sysfs says why), -ENODEV (removed).
 */
int gaudi_lease_open(struct gaudi_device *gdev, struct gaudi_file *gf, bool nonblock)
{
	struct gaudi_lease *lease;
	int ret;

	lease = kzalloc_obj(*lease, GFP_KERNEL_ACCOUNT);
	if (!lease)
		return -ENOMEM;
	kref_init(&lease->ref);
	lease->gdev = gdev;
	xa_init_flags(&lease->allocs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&lease->maps, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&lease->exports);

	ret = gaudi_lease_wait_and_take(gdev, lease, nonblock);
	if (ret) {
		gaudi_lease_put(lease);
		return ret;
	}
	gf->lease = lease;
	return 0;
}

/* The last close of the owner's file. */
void gaudi_lease_close(struct gaudi_device *gdev, struct gaudi_lease *lease)
{
	mutex_lock(&gdev->lock);
	if (gdev->lease == lease)
		gaudi_lease_end_locked(gdev);
	mutex_unlock(&gdev->lock);
	gaudi_hostmem_flush(lease);
	gaudi_lease_put(lease);
}

/* The scrub's answer: -EIO when memory is not zero. Meanwhile the lease may have ended. */
static void gaudi_lease_scrub(struct gaudi_device *gdev)
{
	int ret = gaudi_mem_scrub(gdev);

	/* A card that goes away or is reset may read as anything. */
	if (ret != -EIO || gdev->resetting || gaudi_device_is_gone(gdev))
		return;
	dev_err(gdev->drm.dev, "memory cannot be proven to be zero: device is lost until it is reset or bound again\n");
	gaudi_lease_end_locked(gdev);
	gaudi_lease_event(gdev, GAUDI_EVENT_NOT_ZERO, "memory did not read back as zero after the scrub");
}

/*
 * Returns whether there may be more to do. While the card is reset, and once it is removed, the state is not the
 * worker's to change. In the owned state it scrubs what the owner freed (which nobody maps: a mapped or exported block
 * cannot be freed), so that its memory comes back zero to him as well.
 */
static bool gaudi_lease_step(struct gaudi_device *gdev)
{
	lockdep_assert_held(&gdev->lock);
	if (gdev->resetting || gaudi_device_is_gone(gdev))
		return false;

	switch (gdev->state) {
	case GAUDI_STATE_DRAINING:
		/* The lease's end was written before; pairs with atomic_dec_and_test() in gaudi_hold_put(). */
		smp_mb();
		if (atomic_read(&gdev->holds) || gaudi_device_has_ghost(gdev))
			return false;
		gaudi_lease_event(gdev, GAUDI_EVENT_LET_GO, "");
		return true;
	case GAUDI_STATE_OWNED:
	case GAUDI_STATE_SCRUBBING:
		if (gdev->fresh || !list_empty(&gdev->dirty)) {
			gaudi_lease_scrub(gdev);
			return true;
		}
		if (gdev->state == GAUDI_STATE_SCRUBBING)
			gaudi_lease_event(gdev, GAUDI_EVENT_SCRUBBED, "");
		return false;
	default:
		return false;
	}
}

/* Only one instance runs per device. */
void gaudi_lease_work(struct work_struct *work)
{
	struct gaudi_device *gdev = container_of(work, struct gaudi_device, work);

	mutex_lock(&gdev->lock);
	while (gaudi_lease_step(gdev))
		;
	mutex_unlock(&gdev->lock);
}

/* Apart from the worker, which may be in the middle of a long scrub. */
void gaudi_lease_owner_died_work(struct work_struct *work)
{
	struct gaudi_device *gdev = container_of(work, struct gaudi_device, owner_died);

	mutex_lock(&gdev->lock);
	if (gdev->lease && READ_ONCE(gdev->lease->owner.dead))
		gaudi_lease_end_locked(gdev);
	mutex_unlock(&gdev->lock);
}
