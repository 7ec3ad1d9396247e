// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the owner is told of his exports and their importers. Entries are gathered under the locks and copied out after.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"

struct gaudi_list {
	struct gaudi_p2p_export *entries;
	u32 room;	/* entries allocated */
	u32 limit;	/* entries that the caller wants */
	u32 count;	/* entries there are, also beyond @limit */
	bool no_memory;
};

/* One of GAUDI_P2P_IMPORTER_*; dma-resv held. */
u32 gaudi_list_kind(struct dma_buf_attachment *attach)
{
	const struct gaudi_attachment *att = attach->priv;

	if (!dma_buf_attach_revocable(attach))
		return GAUDI_P2P_IMPORTER_PINNED;
	return att->pinned ? GAUDI_P2P_IMPORTER_PINNED_REVOCABLE : GAUDI_P2P_IMPORTER_DYNAMIC;
}

static bool gaudi_list_grow(struct gaudi_list *list)
{
	u32 room = min(max(list->room * 2, 64u), list->limit);
	struct gaudi_p2p_export *entries;

	entries = kvrealloc(list->entries, array_size(room, sizeof(*entries)), GFP_KERNEL_ACCOUNT);
	if (!entries)
		return false;
	list->entries = entries;
	list->room = room;
	return true;
}

static void gaudi_list_add(struct gaudi_list *list, struct gaudi_export *exp, u32 kind, u32 holds, const char *importer)
{
	struct gaudi_p2p_export *entry;

	if (list->count++ >= list->limit || list->no_memory)
		return;
	if (list->count > list->room && !gaudi_list_grow(list)) {
		list->no_memory = true;
		return;
	}
	entry = &list->entries[list->count - 1];
	memset(entry, 0, sizeof(*entry));
	entry->id = exp->id;
	entry->addr = exp->va;
	entry->offset = exp->offset;
	entry->size = exp->size;
	entry->state = exp->revoked ? GAUDI_P2P_EXPORT_REVOKED : GAUDI_P2P_EXPORT_LIVE;
	entry->kind = kind;
	entry->holds = holds;
	strscpy(entry->importer, importer);
}

/*
 * The export behind @exp (NULL: the first), referenced, with its file if it still has one; lets go of @exp. An importer
 * may sit on a dma-resv: whoever lists waits for it without the device's lock, so that nobody waits for him.
 */
static struct gaudi_export *gaudi_list_next(struct gaudi_lease *lease, struct gaudi_export *exp, struct file **ret_file)
{
	struct gaudi_export *prev = exp, *next = NULL;

	mutex_lock(&lease->gdev->lock);
	exp = list_prepare_entry(exp, &lease->exports, lease_node);
	list_for_each_entry_continue(exp, &lease->exports, lease_node) {
		if (!kref_get_unless_zero(&exp->ref))
			continue;
		*ret_file = exp->dmabuf ? get_file_active(&exp->dmabuf->file) : NULL;
		next = exp;
		break;
	}
	mutex_unlock(&lease->gdev->lock);
	if (prev)
		gaudi_export_put(prev);
	return next;
}

static void gaudi_list_importers(struct gaudi_list *list, struct gaudi_export *exp, struct dma_buf *dmabuf)
{
	u32 before = list->count, known = 0, all;
	struct dma_buf_attachment *attach;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(attach, &dmabuf->attachments, node) {
		const struct gaudi_attachment *att = attach->priv;

		gaudi_list_add(list, exp, gaudi_list_kind(attach), att->holds, dev_name(attach->dev));
		known += att->holds;
	}
	if (exp->vmap_holds) {
		gaudi_list_add(list, exp, GAUDI_P2P_IMPORTER_KERNEL, 1, "");
		known++;
	}
	/* What is held by none of these is held for fences. */
	all = atomic_read(&exp->holds);
	if (all > known)
		gaudi_list_add(list, exp, GAUDI_P2P_IMPORTER_FENCE, all - known, "");
	if (list->count == before)
		gaudi_list_add(list, exp, GAUDI_P2P_IMPORTER_NONE, 0, "");
	dma_resv_unlock(dmabuf->resv);
}

/* Only fences outlive the file. */
static void gaudi_list_closed(struct gaudi_list *list, struct gaudi_export *exp)
{
	u32 holds = atomic_read(&exp->holds);

	if (holds)
		gaudi_list_add(list, exp, GAUDI_P2P_IMPORTER_FENCE, holds, "");
}

int gaudi_list_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct gaudi_file *gf = file->driver_priv;
	struct gaudi_p2p_list *args = data;
	struct gaudi_list list = { .limit = args->count };
	struct gaudi_export *exp = NULL;
	struct file *dmabuf_file;
	int ret = 0;

	if (args->entry_size != sizeof(*list.entries) || args->pad || args->pad2 || args->reserved[0] ||
	    args->reserved[1])
		return -EINVAL;

	while ((exp = gaudi_list_next(gf->lease, exp, &dmabuf_file))) {
		if (dmabuf_file) {
			gaudi_list_importers(&list, exp, dmabuf_file->private_data);
			fput(dmabuf_file);
		} else {
			gaudi_list_closed(&list, exp);
		}
		cond_resched();
	}

	if (READ_ONCE(gf->lease->ended))
		ret = -ENODEV;
	else if (list.no_memory)
		ret = -ENOMEM;
	else if (copy_to_user(u64_to_user_ptr(args->entries), list.entries,
			      array_size(min(list.count, list.limit), sizeof(*list.entries))))
		ret = -EFAULT;
	kvfree(list.entries);
	args->count = list.count;
	return ret;
}
