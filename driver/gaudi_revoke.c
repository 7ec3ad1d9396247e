// SPDX-License-Identifier: GPL-2.0-only
/*
 * Revoke: take an export from everybody who can be made to let go, and wait for none.
 *
 * In this order: no new mapping (revoked, under the dma-resv that map, pin and page faults hold); importers' mappings
 * (invalidate); work that importers announced by fences (becomes a hold until it signals); CPU mappings. After that
 * only holds of importers that cannot revoke are left.
 */
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>

#include <drm/drm_file.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"
#include "gaudi_trace.h"

/* How long after an allocation failed it is tried again. */
#define GAUDI_REVOKE_RETRY	(HZ / 10)

static void gaudi_revoke_fence_cb(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct gaudi_export *exp = container_of(cb, struct gaudi_export, fence_cb);

	queue_delayed_work(gaudi_wq, &exp->fence_work, 0);
}

/*
 * Become a waiter for all the work that importers announced until now; what user space announces later does not count.
 * Returns false when there is no memory for it.
 */
static bool gaudi_revoke_arm(struct gaudi_export *exp, struct dma_resv *resv)
{
	dma_resv_assert_held(resv);
	if (dma_resv_get_singleton(resv, DMA_RESV_USAGE_BOOKKEEP, &exp->fence))
		return false;
	if (!exp->fence || dma_fence_add_callback(exp->fence, &exp->fence_cb, gaudi_revoke_fence_cb))
		queue_delayed_work(gaudi_wq, &exp->fence_work, 0);
	return true;
}

/* The announced work is done, or a waiter for it is still to be made. Ends the life of a waiter. */
void gaudi_revoke_fence_work(struct work_struct *work)
{
	struct gaudi_export *exp = container_of(to_delayed_work(work), struct gaudi_export, fence_work);
	struct file *file = exp->fence_file;

	if (file) {
		struct dma_buf *dmabuf = file->private_data;
		bool armed;

		dma_resv_lock(dmabuf->resv, NULL);
		armed = gaudi_revoke_arm(exp, dmabuf->resv);
		dma_resv_unlock(dmabuf->resv);
		if (!armed) {
			queue_delayed_work(gaudi_wq, &exp->fence_work, GAUDI_REVOKE_RETRY);
			return;
		}
		exp->fence_file = NULL;
		fput(file);
		return;
	}
	dma_fence_put(exp->fence);
	gaudi_hold_put(exp);
	gaudi_export_put(exp);
	module_put(THIS_MODULE);
}

/*
 * An importer may go on for a while after invalidate when it has said so by a fence. The fence becomes a hold, so that
 * neither close nor anybody else sits here and waits for it: user space can add fences of its own.
 */
static void gaudi_revoke_watch(struct gaudi_export *exp, struct file *file)
{
	struct dma_resv *resv = exp->dmabuf->resv;

	dma_resv_assert_held(resv);
	if (dma_resv_test_signaled(resv, DMA_RESV_USAGE_BOOKKEEP))
		return;

	gaudi_hold_get(exp);
	kref_get(&exp->ref);
	/* The waiter may outlive the dma-buf, which holds the module otherwise. */
	__module_get(THIS_MODULE);
	if (gaudi_revoke_arm(exp, resv))
		return;
	/* No memory now; not even then does anybody wait here. The file keeps the fences where they can be found. */
	exp->fence_file = get_file(file);
	queue_delayed_work(gaudi_wq, &exp->fence_work, GAUDI_REVOKE_RETRY);
}

/* Returns whether it was this call that revoked. */
static bool gaudi_revoke_export(struct gaudi_export *exp)
{
	struct dma_buf *dmabuf = exp->dmabuf;
	struct file *file;

	lockdep_assert_held(&exp->gdev->lock);
	if (exp->revoked || !dmabuf)
		return false;
	/* On its way to release: no attachment, no mapping, and nobody can make one. */
	file = get_file_active(&dmabuf->file);
	if (!file)
		return false;

	dma_resv_lock(dmabuf->resv, NULL);
	/* A hold of its own, until all that are left are known: the last of them counts, whoever drops it. */
	gaudi_hold_get(exp);
	atomic_inc(&exp->gdev->holds);
	WRITE_ONCE(exp->revoked, true);
	exp->gdev->exported -= exp->size;
	dma_buf_invalidate_mappings(dmabuf);
	gaudi_revoke_watch(exp, file);
	gaudi_hold_put(exp);
	dma_resv_unlock(dmabuf->resv);

	/* Faults see "revoked" from here on. */
	unmap_mapping_range(file->f_mapping, 0, 0, 1);
	fput(file);
	trace_gaudi_revoke(exp);
	return true;
}

/* Every export of the lease, which ends; gdev->lock held. */
void gaudi_revoke_lease(struct gaudi_lease *lease)
{
	struct gaudi_export *exp;

	lockdep_assert_held(&lease->gdev->lock);
	list_for_each_entry(exp, &lease->exports, lease_node)
		gaudi_revoke_export(exp);
}

/* One call of REVOKE. */
struct gaudi_revoke {
	struct gaudi_lease *lease;
	struct gaudi_p2p_revoke *args;
	struct gaudi_export *exp;	/* the one asked for by its file, referenced */
	struct gaudi_export *held;	/* the first one asked for that somebody holds, referenced */
};

/*
 * Calls @fn for each export asked for, with gdev->lock held. They are looked up anew each time, so that a call that
 * waits keeps nothing from being freed. Returns 0, -ENODEV (lease ended), -EINVAL (no mapping at the address).
 */
static int gaudi_revoke_each(struct gaudi_revoke *rev, void (*fn)(struct gaudi_revoke *rev, struct gaudi_export *exp))
{
	struct gaudi_export *exp;
	struct gaudi_map *map;

	guard(mutex)(&rev->lease->gdev->lock);
	if (rev->lease->ended)
		return -ENODEV;

	switch (rev->args->flags) {
	case GAUDI_P2P_REVOKE_FD:
		fn(rev, rev->exp);
		break;
	case GAUDI_P2P_REVOKE_ADDR:
		map = gaudi_va_find(rev->lease, rev->args->addr);
		if (!map)
			return -EINVAL;
		list_for_each_entry(exp, &map->exports, map_node)
			fn(rev, exp);
		break;
	default:
		list_for_each_entry(exp, &rev->lease->exports, lease_node)
			fn(rev, exp);
	}
	return 0;
}

static void gaudi_revoke_one(struct gaudi_revoke *rev, struct gaudi_export *exp)
{
	if (gaudi_revoke_export(exp))
		rev->args->revoked++;
}

/* An export made after the revocation is not asked for. */
static void gaudi_revoke_look(struct gaudi_revoke *rev, struct gaudi_export *exp)
{
	if (!exp->revoked || !atomic_read(&exp->holds))
		return;
	if (!rev->held) {
		/* A fence may just have been its last hold and its last reference. */
		if (!kref_get_unless_zero(&exp->ref))
			return;
		rev->held = exp;
	}
	rev->args->held++;
}

/* Until nobody holds what was revoked (@args->held is 0), the time is over, or a signal comes. */
static int gaudi_revoke_wait(struct gaudi_revoke *rev)
{
	long left = msecs_to_jiffies(rev->args->timeout_ms);
	struct gaudi_lease *lease = rev->lease;
	int ret;

	for (;;) {
		rev->args->held = 0;
		rev->held = NULL;
		ret = gaudi_revoke_each(rev, gaudi_revoke_look);
		if (!rev->held)
			return ret == -EINVAL ? 0 : ret;	/* unmapped meanwhile: held by nobody */
		if (left <= 0)
			break;
		left = wait_event_interruptible_timeout(lease->gdev->wait,
							!atomic_read(&rev->held->holds) || READ_ONCE(lease->ended),
							left);
		gaudi_export_put(rev->held);
	}
	gaudi_export_put(rev->held);
	return 0;
}

static int gaudi_revoke_args(const struct gaudi_p2p_revoke *args)
{
	if (args->pad || args->reserved[0] || args->reserved[1])
		return -EINVAL;

	switch (args->flags) {
	case GAUDI_P2P_REVOKE_FD:
		return args->addr ? -EINVAL : 0;
	case GAUDI_P2P_REVOKE_ADDR:
		return args->fd ? -EINVAL : 0;
	case GAUDI_P2P_REVOKE_ALL:
		return args->fd || args->addr ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

/* The file itself is let go before the wait, so that REVOKE keeps no dma-buf alive. */
static int gaudi_revoke_file(struct gaudi_revoke *rev)
{
	struct dma_buf *dmabuf = dma_buf_get(rev->args->fd);
	struct gaudi_export *exp;
	int ret = -EINVAL;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	exp = gaudi_export_from_dmabuf(dmabuf);
	if (exp && exp->lease == rev->lease) {
		kref_get(&exp->ref);
		rev->exp = exp;
		ret = gaudi_revoke_each(rev, gaudi_revoke_one);
	}
	dma_buf_put(dmabuf);
	return ret;
}

int gaudi_revoke_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct gaudi_file *gf = file->driver_priv;
	struct gaudi_revoke rev = { .lease = gf->lease, .args = data };
	int ret;

	ret = gaudi_revoke_args(rev.args);
	if (ret)
		return ret;
	rev.args->revoked = 0;
	if (rev.args->flags == GAUDI_P2P_REVOKE_FD)
		ret = gaudi_revoke_file(&rev);
	else
		ret = gaudi_revoke_each(&rev, gaudi_revoke_one);
	if (!ret)
		ret = gaudi_revoke_wait(&rev);
	if (rev.exp)
		gaudi_export_put(rev.exp);
	return ret;
}

/* One importer that holds @exp, by the name of its device; false if none can be named now. */
static bool gaudi_revoke_name(struct gaudi_export *exp, char *buf, size_t size)
{
	struct dma_buf *dmabuf = exp->dmabuf;
	struct dma_buf_attachment *attach;
	struct file *file;
	bool found = false;

	file = dmabuf ? get_file_active(&dmabuf->file) : NULL;
	if (!file)
		return false;
	/* An importer may sit on this lock; a reader of sysfs shall not sit with it. */
	if (dma_resv_trylock(dmabuf->resv)) {
		list_for_each_entry(attach, &dmabuf->attachments, node) {
			struct gaudi_attachment *att = attach->priv;

			if (!att->holds)
				continue;
			snprintf(buf, size, "mapped by %s", dev_name(attach->dev));
			found = true;
			break;
		}
		dma_resv_unlock(dmabuf->resv);
	}
	fput(file);
	return found;
}

/* Say in @buf what a draining device waits for; gdev->lock held. */
void gaudi_revoke_holder(struct gaudi_device *gdev, char *buf, size_t size)
{
	struct gaudi_export *exp;

	lockdep_assert_held(&gdev->lock);
	if (gaudi_device_has_ghost(gdev)) {
		strscpy(buf, "mapped by an importer since before the device was bound", size);
		return;
	}
	if (!atomic_read(&gdev->holds))
		return;
	list_for_each_entry(exp, &gdev->exports, node)
		if (atomic_read(&exp->holds) && gaudi_revoke_name(exp, buf, size))
			return;
	strscpy(buf, "waits for an importer's fence or kernel mapping", size);
}
