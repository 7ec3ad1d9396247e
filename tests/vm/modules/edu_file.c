// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/edu_peer
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "edu.h"

struct edu_dev *edu_the_one;
/* edu_the_one, and the list of open files of each device. */
DEFINE_MUTEX(edu_list_lock);

/* --- attachments ------------------------------------------------------------------ */
static void edu_peer_detach(struct edu_peer *peer)
{
	lockdep_assert_held(&peer->lock);
	while (peer->nr_imports)
		edu_import_detach(&peer->imports[--peer->nr_imports]);
	kvfree(peer->imports);
	peer->imports = NULL;
	if (peer->dmabuf)
		dma_buf_put(peer->dmabuf);
	peer->dmabuf = NULL;
}

static int edu_peer_attach(struct edu_peer *peer, void __user *arg)
{
	struct edu_peer_attach in;
	struct dma_buf *dmabuf;
	int ret = 0;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.kind >= EDU_PEER_KINDS || in.count > EDU_PEER_ATTACHMENTS)
		return -EINVAL;
	in.count = in.count ?: 1;
	/* Set before edu_peers_let_go() comes by: what is attached before that, it detaches. */
	if (READ_ONCE(peer->edu->gone))
		return -ENODEV;
	if (peer->dmabuf)
		return -EBUSY;
	dmabuf = dma_buf_get(in.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	peer->kind = in.kind;
	peer->delay_ms = in.delay_ms;
	peer->dmabuf = dmabuf;
	peer->nr_segments = 0;
	peer->imports = kvcalloc(in.count, sizeof(*peer->imports), GFP_KERNEL);
	if (!peer->imports)
		ret = -ENOMEM;
	while (!ret && peer->nr_imports < in.count) {
		ret = edu_import_attach(peer, &peer->imports[peer->nr_imports]);
		if (!ret)
			peer->nr_imports++;
	}
	if (ret)
		edu_peer_detach(peer);
	return ret;
}

static int edu_peer_map(struct edu_peer *peer)
{
	unsigned int i;
	int ret = 0;

	if (!peer->dmabuf)
		return -EINVAL;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	for (i = 0; !ret && i < peer->nr_imports; i++)
		ret = edu_import_map_locked(&peer->imports[i]);
	dma_resv_unlock(peer->dmabuf->resv);
	return ret;
}

static int edu_peer_for_each(struct edu_peer *peer, void (*function)(struct edu_import *imp))
{
	unsigned int i;

	if (!peer->dmabuf)
		return -EINVAL;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	for (i = 0; i < peer->nr_imports; i++)
		function(&peer->imports[i]);
	dma_resv_unlock(peer->dmabuf->resv);
	return 0;
}

/* --- reaching the memory ------------------------------------------------------------ */
static int edu_peer_find(struct edu_peer *peer, u64 offset, u32 len, dma_addr_t *ret_addr)
{
	unsigned int i;

	for (i = 0; i < peer->nr_segments; i++) {
		if (offset < peer->segments[i].len) {
			if (len > peer->segments[i].len - offset)
				return -EINVAL;
			*ret_addr = peer->segments[i].addr + offset;
			return 0;
		}
		offset -= peer->segments[i].len;
	}
	return -EINVAL;
}

static int edu_peer_copy_device(struct edu_peer *peer, const struct edu_peer_dma *in, void *data)
{
	dma_addr_t addr = 0;
	int ret;

	if (peer->dmabuf)
		dma_resv_lock(peer->dmabuf->resv, NULL);
	ret = edu_peer_find(peer, in->offset, in->len, &addr);
	if (peer->dmabuf)
		dma_resv_unlock(peer->dmabuf->resv);
	/* No dma-resv here: a real device does not take it either while its DMA runs. */
	return ret ?: edu_copy(peer->edu, addr, data, in->len, in->write);
}

static int edu_peer_copy_cpu(struct edu_peer *peer, const struct edu_peer_dma *in, void *data)
{
	struct iosys_map *vmap;
	int ret = 0;

	if (!peer->dmabuf)
		return -ENXIO;
	if (in->offset > peer->dmabuf->size || in->len > peer->dmabuf->size - in->offset)
		return -EINVAL;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	vmap = &peer->imports[0].vmap;
	if (iosys_map_is_null(vmap))
		ret = -ENXIO;
	else if (in->write)
		iosys_map_memcpy_to(vmap, in->offset, data, in->len);
	else
		iosys_map_memcpy_from(data, vmap, in->offset, in->len);
	dma_resv_unlock(peer->dmabuf->resv);
	return ret;
}

static int edu_peer_dma(struct edu_peer *peer, void __user *arg)
{
	void *data __free(kfree) = NULL;
	struct edu_peer_dma in;
	int ret;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (!in.len || in.len > EDU_PEER_DMA_MAX || in.write > 1)
		return -EINVAL;
	data = kzalloc(in.len, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	if (in.write && copy_from_user(data, u64_to_user_ptr(in.data), in.len))
		return -EFAULT;
	if (peer->kind == EDU_PEER_KERNEL || peer->kind == EDU_PEER_KERNEL_UNPINNED)
		ret = edu_peer_copy_cpu(peer, &in, data);
	else
		ret = edu_peer_copy_device(peer, &in, data);
	if (!ret && !in.write && copy_to_user(u64_to_user_ptr(in.data), data, in.len))
		ret = -EFAULT;
	return ret;
}

static int edu_peer_state(struct edu_peer *peer, void __user *arg)
{
	struct edu_peer_state out = { .attached = peer->nr_imports };
	unsigned int i;

	if (peer->dmabuf) {
		dma_resv_lock(peer->dmabuf->resv, NULL);
		for (i = 0; i < peer->nr_imports; i++) {
			struct edu_import *imp = &peer->imports[i];

			out.mapped += imp->sgt || !iosys_map_is_null(&imp->vmap);
			out.pinned += imp->pinned;
			out.invalidations += imp->invalidations;
			out.fences += !!imp->fence;
			out.refaults += imp->refaults;
			out.refault_error = imp->refault_error ?: out.refault_error;
		}
		out.size = peer->dmabuf->size;
		out.segments = peer->nr_segments;
		dma_resv_unlock(peer->dmabuf->resv);
	}
	if (peer->nr_segments)
		out.dma_address = peer->segments[0].addr;
	return copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static int edu_peer_sit(struct edu_peer *peer, void __user *arg)
{
	u32 ms;

	if (get_user(ms, (u32 __user *)arg))
		return -EFAULT;
	if (!peer->dmabuf)
		return -ENXIO;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	msleep(ms);
	dma_resv_unlock(peer->dmabuf->resv);
	return 0;
}

/* --- the file ------------------------------------------------------------------------- */
static long edu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct edu_peer *peer = file->private_data;

	guard(mutex)(&peer->lock);
	switch (cmd) {
	case EDU_PEER_ATTACH:
		return edu_peer_attach(peer, (void __user *)arg);
	case EDU_PEER_MAP:
		return READ_ONCE(peer->edu->gone) ? -ENODEV : edu_peer_map(peer);
	case EDU_PEER_UNMAP:
		return edu_peer_for_each(peer, edu_import_unmap_locked);
	case EDU_PEER_SIGNAL:
		return edu_peer_for_each(peer, edu_import_signal_locked);
	case EDU_PEER_DETACH:
		edu_peer_detach(peer);
		return 0;
	case EDU_PEER_SIT:
		return edu_peer_sit(peer, (void __user *)arg);
	case EDU_PEER_DMA:
		return edu_peer_dma(peer, (void __user *)arg);
	case EDU_PEER_BENCH:
		return READ_ONCE(peer->edu->gone) ? -ENODEV : edu_bench_import(peer, (void __user *)arg);
	case EDU_PEER_FILL:
		return edu_bench_fill(peer, (void __user *)arg);
	case EDU_PEER_STATE:
		return edu_peer_state(peer, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int edu_open(struct inode *inode, struct file *file)
{
	struct edu_peer *peer = kzalloc_obj(*peer);

	if (!peer)
		return -ENOMEM;
	mutex_init(&peer->lock);
	scoped_guard(mutex, &edu_list_lock) {
		if (edu_the_one) {
			peer->edu = edu_the_one;
			kref_get(&peer->edu->ref);
			list_add(&peer->node, &peer->edu->peers);
		}
	}
	if (!peer->edu) {
		kfree(peer);
		return -ENODEV;
	}
	file->private_data = peer;
	return 0;
}

static int edu_file_release(struct inode *inode, struct file *file)
{
	struct edu_peer *peer = file->private_data;

	scoped_guard(mutex, &peer->lock)
		edu_peer_detach(peer);
	scoped_guard(mutex, &edu_list_lock)
		list_del(&peer->node);
	edu_put(peer->edu);
	mutex_destroy(&peer->lock);
	kvfree(peer->segments);
	kfree(peer);
	return 0;
}

/* The device goes, and with it every mapping made for it. */
void edu_peers_let_go(struct edu_dev *edu)
{
	struct edu_peer *peer;

	guard(mutex)(&edu_list_lock);
	list_for_each_entry(peer, &edu->peers, node) {
		guard(mutex)(&peer->lock);
		edu_peer_detach(peer);
	}
}

const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_file_release,
	.unlocked_ioctl = edu_ioctl,
};
