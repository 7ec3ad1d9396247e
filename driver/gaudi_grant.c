// SPDX-License-Identifier: GPL-2.0-only
/*
 * Grants: the owner lets another pod import one export, and takes that back from this pod alone.
 *
 * Everything about a grant is decided under the dma-resv of its export, where map, pin and page faults look at it too.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include <drm/drm_file.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"
#include "gaudi_trace.h"

static void gaudi_grant_release(struct kref *ref)
{
	struct gaudi_grant *grant = container_of(ref, struct gaudi_grant, ref);

	gaudi_owner_done(&grant->owner);
	put_pid(grant->pid);
	gaudi_export_put(grant->exp);
	kfree(grant);
}

void gaudi_grant_get(struct gaudi_grant *grant)
{
	kref_get(&grant->ref);
}

/* Never the export's last reference, but for the work: whoever else has a grant has the dma-buf's file too. */
void gaudi_grant_put(struct gaudi_grant *grant)
{
	if (grant)
		kref_put(&grant->ref, gaudi_grant_release);
}

/* Whether what began under @grant (NULL: as the owner) must not go on; dma-resv held. */
bool gaudi_grant_is_over(struct gaudi_export *exp, const struct gaudi_grant *grant)
{
	dma_resv_assert_held(exp->dmabuf->resv);
	return exp->revoked || (grant && grant->ended);
}

/**
 * gaudi_grant_check - whether the caller may import
 * @exp: export whose file the caller holds
 * @ret_grant: the grant that allows it, referenced; NULL for the owner
 *
 * Returns 0, -ENODEV (lease ended), -EPERM (stranger). Takes the dma-resv.
 */
int gaudi_grant_check(struct gaudi_export *exp, struct gaudi_grant **ret_grant)
{
	struct dma_resv *resv = exp->dmabuf->resv;
	struct gaudi_grant *grant;
	int ret;

	*ret_grant = NULL;
	ret = gaudi_lease_check(exp->lease);
	if (ret != -EPERM)
		return ret;

	dma_resv_lock(resv, NULL);
	list_for_each_entry(grant, &exp->grants, node) {
		if (!gaudi_owner_is_current(&grant->owner))
			continue;
		kref_get(&grant->ref);
		*ret_grant = grant;
		ret = 0;
		break;
	}
	dma_resv_unlock(resv);
	return ret;
}

/*
 * The first half of the end: nothing new, and importers are told to let go. The caller zaps CPU mappings after it has
 * dropped the dma-resv. Returns false if the grant had ended before.
 */
static bool gaudi_grant_end(struct gaudi_grant *grant, struct dma_buf *dmabuf, const char *why)
{
	struct dma_buf_attachment *attach;

	dma_resv_assert_held(dmabuf->resv);
	if (grant->ended)
		return false;
	grant->ended = true;
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct gaudi_attachment *att = attach->priv;

		if (att->grant == grant && dma_buf_attach_revocable(attach))
			attach->importer_ops->invalidate_mappings(attach);
	}
	trace_gaudi_grant(grant->exp, &grant->owner, why);
	if (!list_empty(&grant->node)) {
		list_del_init(&grant->node);
		grant->exp->nr_grants--;
		gaudi_grant_put(grant);
	}
	return true;
}

/* All CPU mappings: there is no way to name one pod's. The others fault theirs in again. */
static void gaudi_grant_zap(struct dma_buf *dmabuf)
{
	unmap_mapping_range(dmabuf->file->f_mapping, 0, 0, 1);
}

static void gaudi_grant_work(struct work_struct *work)
{
	struct gaudi_grant *grant = container_of(work, struct gaudi_grant, work);
	struct gaudi_export *exp = grant->exp;
	struct file *file;

	mutex_lock(&exp->gdev->lock);
	file = exp->dmabuf ? get_file_active(&exp->dmabuf->file) : NULL;
	mutex_unlock(&exp->gdev->lock);
	/* Without a file there is nothing left that the grant could allow. */
	if (file) {
		struct dma_buf *dmabuf = exp->dmabuf;
		bool ended;

		dma_resv_lock(dmabuf->resv, NULL);
		ended = gaudi_grant_end(grant, dmabuf, "pod-died");
		dma_resv_unlock(dmabuf->resv);
		if (ended)
			gaudi_grant_zap(dmabuf);
		fput(file);
	}
	gaudi_grant_put(grant);
}

/* In the cleanup of a namespace, under a spinlock. */
static void gaudi_grant_owner_died(struct gaudi_owner *owner)
{
	struct gaudi_grant *grant = container_of(owner, struct gaudi_grant, owner);

	/* The last reference may just be on its way out, to gaudi_owner_done(). */
	if (kref_get_unless_zero(&grant->ref))
		queue_work(gaudi_wq, &grant->work);
}

/* The dma-buf is being released: nobody can be attached, nothing mapped. */
void gaudi_grant_drop_all(struct gaudi_export *exp, struct dma_buf *dmabuf)
{
	struct gaudi_grant *grant, *next;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry_safe(grant, next, &exp->grants, node)
		gaudi_grant_end(grant, dmabuf, "release");
	dma_resv_unlock(dmabuf->resv);
}

/* The pid behind a pidfd, referenced, or -EBADF. */
static struct pid *gaudi_grant_pid(int pidfd)
{
	struct pid *pid = NULL;
	struct file *file;

	file = fget(pidfd);
	if (!file)
		return ERR_PTR(-EBADF);
	/* What pidfd_pid() does, which is not exported to modules. */
	if (file_inode(file)->i_sb->s_magic == PID_FS_MAGIC)
		pid = get_pid(file_inode(file)->i_private);
	fput(file);
	return pid ?: ERR_PTR(-EBADF);
}

/* A grant to the pod of @pid that is on no list yet. */
static struct gaudi_grant *gaudi_grant_new(struct gaudi_export *exp, struct pid *pid)
{
	struct task_struct *task;
	struct gaudi_grant *grant;
	int ret = -ESRCH;

	grant = kzalloc_obj(*grant, GFP_KERNEL_ACCOUNT);
	if (!grant)
		return ERR_PTR(-ENOMEM);
	kref_init(&grant->ref);
	INIT_LIST_HEAD(&grant->node);
	INIT_WORK(&grant->work, gaudi_grant_work);
	grant->exp = exp;
	grant->owner.grantee = true;
	/* A pidfd may name a thread: then it is that thread's namespace. */
	task = get_pid_task(pid, PIDTYPE_PID);
	if (task) {
		ret = gaudi_owner_init(&grant->owner, task, gaudi_grant_owner_died);
		put_task_struct(task);
	}
	if (ret) {
		kfree(grant);
		return ERR_PTR(ret);
	}
	grant->pid = get_pid(pid);
	kref_get(&exp->ref);
	return grant;
}

static int gaudi_grant_give(struct gaudi_export *exp, struct pid *pid)
{
	struct dma_resv *resv = exp->dmabuf->resv;
	struct gaudi_grant *grant, *old;
	int ret = 0;

	grant = gaudi_grant_new(exp, pid);
	if (IS_ERR(grant))
		return PTR_ERR(grant);
	if (grant->owner.cgroup_root) {
		gaudi_grant_put(grant);
		return -EPERM;
	}

	dma_resv_lock(resv, NULL);
	list_for_each_entry(old, &exp->grants, node) {
		if (gaudi_owner_is_same(&old->owner, &grant->owner)) {
			swap(old->pid, grant->pid);
			goto unlock;
		}
	}
	if (exp->revoked) {
		ret = -ENODEV;
	} else if (grant->ended || READ_ONCE(grant->owner.dead)) {
		ret = -ESRCH;
	} else if (exp->nr_grants >= GAUDI_P2P_GRANTS_MAX) {
		ret = -ENOSPC;
	} else {
		kref_get(&grant->ref);
		list_add_tail(&grant->node, &exp->grants);
		exp->nr_grants++;
		trace_gaudi_grant(exp, &grant->owner, "give");
	}
unlock:
	dma_resv_unlock(resv);
	gaudi_grant_put(grant);
	return ret;
}

/* Whether @grant was given by way of @pid, or to the pod of @who (NULL: not known any more). */
static bool gaudi_grant_is_for(const struct gaudi_grant *grant, const struct pid *pid, const struct gaudi_owner *who)
{
	return grant->pid == pid || (who && gaudi_owner_is_same(&grant->owner, who));
}

/* Ends what there is for the pod. Returns whether there was a grant, or still is an importer that holds. */
static bool gaudi_grant_end_for(struct gaudi_export *exp, const struct pid *pid, const struct gaudi_owner *who,
				u32 *held)
{
	struct dma_buf *dmabuf = exp->dmabuf;
	struct gaudi_grant *grant, *next;
	struct dma_buf_attachment *attach;
	bool ended = false;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry_safe(grant, next, &exp->grants, node)
		if (gaudi_grant_is_for(grant, pid, who))
			ended |= gaudi_grant_end(grant, dmabuf, "take-back");
	*held = 0;
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		struct gaudi_attachment *att = attach->priv;

		if (att->grant && att->grant->ended && att->holds && gaudi_grant_is_for(att->grant, pid, who))
			++*held;
	}
	dma_resv_unlock(dmabuf->resv);
	if (ended)
		gaudi_grant_zap(dmabuf);
	return ended || *held;
}

static int gaudi_grant_take_back(struct gaudi_export *exp, struct pid *pid, u32 *held)
{
	struct gaudi_owner who = { .grantee = true };
	struct task_struct *task;
	bool known = false, found;

	task = get_pid_task(pid, PIDTYPE_PID);
	if (task) {
		known = !gaudi_owner_init(&who, task, NULL);
		put_task_struct(task);
	}
	found = gaudi_grant_end_for(exp, pid, known ? &who : NULL, held);
	if (known)
		gaudi_owner_done(&who);
	if (found)
		return 0;
	return known ? -ENOENT : -ESRCH;
}

int gaudi_grant_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct gaudi_file *gf = file->driver_priv;
	struct gaudi_p2p_grant *args = data;
	struct gaudi_export *exp;
	struct dma_buf *dmabuf;
	struct pid *pid;
	int ret;

	if (args->flags & ~GAUDI_P2P_GRANT_TAKE_BACK || args->reserved[0] || args->reserved[1])
		return -EINVAL;
	args->held = 0;

	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	exp = gaudi_export_from_dmabuf(dmabuf);
	if (!exp || exp->lease != gf->lease) {
		ret = -EINVAL;
		goto put_dmabuf;
	}
	pid = gaudi_grant_pid(args->pidfd);
	if (IS_ERR(pid)) {
		ret = PTR_ERR(pid);
		goto put_dmabuf;
	}
	if (args->flags & GAUDI_P2P_GRANT_TAKE_BACK)
		ret = gaudi_grant_take_back(exp, pid, &args->held);
	else
		ret = gaudi_grant_give(exp, pid);
	put_pid(pid);
put_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}
