// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs: every export that is not freed, and who holds it. For people; the format may change.
 *
 * A reader never waits for an importer: the device's lock is tried for a while, a dma-resv once.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"

/* Whoever revokes holds gaudi_device.lock while an importer may sit on a dma-resv. */
#define GAUDI_DEBUGFS_TRIES	50
#define GAUDI_DEBUGFS_PAUSE_MS	10

static void gaudi_debugfs_pod(struct seq_file *m, const char *what, const struct gaudi_owner *pod)
{
	seq_printf(m, " %s ", what);
	if (pod->cgroup)
		seq_printf(m, "cgroup:%s", pod->path);
	else
		seq_printf(m, "netns:[%u]", pod->net_inum);
}

static const char *gaudi_debugfs_kind(u32 kind)
{
	switch (kind) {
	case GAUDI_P2P_IMPORTER_PINNED:
		return "pinned";
	case GAUDI_P2P_IMPORTER_PINNED_REVOCABLE:
		return "pinned-revocable";
	default:
		return "dynamic";
	}
}

static void gaudi_debugfs_importers(struct seq_file *m, struct gaudi_export *exp, struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attach;
	struct gaudi_grant *grant;

	if (!dma_resv_trylock(dmabuf->resv)) {
		seq_puts(m, "  importers unknown: one of them has the dma-resv\n");
		return;
	}
	list_for_each_entry(grant, &exp->grants, node) {
		seq_puts(m, "  granted");
		gaudi_debugfs_pod(m, "to", &grant->owner);
		seq_putc(m, '\n');
	}
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		const struct gaudi_attachment *att = attach->priv;

		seq_printf(m, "  importer %s %s holds %u", dev_name(attach->dev),
			   gaudi_debugfs_kind(gaudi_list_kind(attach)), att->holds);
		if (att->grant)
			gaudi_debugfs_pod(m, att->grant->ended ? "granted until taken back" : "granted",
					  &att->grant->owner);
		seq_putc(m, '\n');
	}
	if (exp->vmap_holds)
		seq_puts(m, "  kernel mapping\n");
	dma_resv_unlock(dmabuf->resv);
}

static void gaudi_debugfs_export(struct seq_file *m, struct gaudi_export *exp)
{
	struct dma_buf *dmabuf = exp->dmabuf;
	struct file *file = dmabuf ? get_file_active(&dmabuf->file) : NULL;
	unsigned int i;

	lockdep_assert_held(&exp->gdev->lock);
	seq_printf(m, "export %llu size %llu %s holds %d addr 0x%llx offset 0x%llx", exp->id, exp->size,
		   !file ? "closed" : exp->revoked ? "revoked" : "live", atomic_read(&exp->holds), exp->va,
		   exp->offset);
	gaudi_debugfs_pod(m, "lease", &exp->lease->owner);
	seq_printf(m, " pid %d\n", exp->lease->owner.pid);
	for (i = 0; i < exp->nr_ranges; i++)
		seq_printf(m, "  range 0x%llx at 0x%llx size 0x%llx\n", exp->ranges[i].start, exp->ranges[i].offset,
			   exp->ranges[i].len);
	if (!file)
		return;
	gaudi_debugfs_importers(m, exp, dmabuf);
	fput(file);
}

static int gaudi_debugfs_exports_show(struct seq_file *m, void *unused)
{
	struct gaudi_device *gdev = m->private;
	struct gaudi_export *exp;
	unsigned int tries;

	for (tries = 0; !mutex_trylock(&gdev->lock); tries++) {
		if (tries == GAUDI_DEBUGFS_TRIES) {
			seq_puts(m, "busy: perhaps an importer keeps a revoke waiting; read again\n");
			return 0;
		}
		if (msleep_interruptible(GAUDI_DEBUGFS_PAUSE_MS))
			return -EINTR;
	}
	list_for_each_entry(exp, &gdev->exports, node)
		gaudi_debugfs_export(m, exp);
	mutex_unlock(&gdev->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(gaudi_debugfs_exports);

/* Before the device is registered; removed, and readers waited for, when that ends. */
void gaudi_debugfs_add(struct gaudi_device *gdev)
{
	debugfs_create_file("exports", 0400, gdev->drm.debugfs_root, gdev, &gaudi_debugfs_exports_fops);
}
