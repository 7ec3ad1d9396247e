// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's edu device as a dma-buf importer that does real DMA, for tests only: it can
 * also misbehave (slow to unmap, never unmaps, uses an address after unmap).
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "edu_peer.h"

#define EDU_ID 0x00
#define EDU_DMA_SRC 0x80
#define EDU_DMA_DST 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_CMD 0x98
#define EDU_DMA_START BIT(0)
#define EDU_DMA_OUT BIT(1) /* from the device's buffer to memory */
#define EDU_BUFFER 0x40000
#define EDU_SEGMENTS 64

struct edu_dev {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct mutex dma_lock; /* the engine and the bounce page */
	void *bounce;
	dma_addr_t bounce_addr;
	struct miscdevice misc;
};

struct edu_segment {
	dma_addr_t addr;
	u64 len;
};

struct edu_peer {
	struct edu_dev *edu;
	struct mutex lock; /* attach, detach; before dma-resv */
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	u32 kind;
	u32 delay_ms;
	struct delayed_work late;
	/* dma-resv of dmabuf: */
	struct sg_table *sgt;
	bool pinned;
	u32 invalidations;
	unsigned int nr_segments;
	struct edu_segment segments[EDU_SEGMENTS];
};

static struct edu_dev *edu_the_one;

/* --- the engine ------------------------------------------------------------ */
static int edu_dma(struct edu_dev *edu, u64 src, u64 dst, u32 len, u64 direction)
{
	u64 cmd;

	lockdep_assert_held(&edu->dma_lock);
	writeq(src, edu->regs + EDU_DMA_SRC);
	writeq(dst, edu->regs + EDU_DMA_DST);
	writeq(len, edu->regs + EDU_DMA_COUNT);
	writeq(EDU_DMA_START | direction, edu->regs + EDU_DMA_CMD);
	return readq_poll_timeout(edu->regs + EDU_DMA_CMD, cmd, !(cmd & EDU_DMA_START), 1000,
				  10 * USEC_PER_SEC);
}

/* bounce page <-> the device's own buffer <-> addr */
static int edu_copy(struct edu_dev *edu, dma_addr_t addr, u32 len, bool write)
{
	u64 from = write ? edu->bounce_addr : addr;
	u64 to = write ? addr : edu->bounce_addr;
	int ret;

	ret = edu_dma(edu, from, EDU_BUFFER, len, 0);
	if (ret)
		return ret;
	return edu_dma(edu, EDU_BUFFER, to, len, EDU_DMA_OUT);
}

/* --- the importer ---------------------------------------------------------- */
static void edu_peer_unmap_locked(struct edu_peer *peer)
{
	dma_resv_assert_held(peer->dmabuf->resv);
	if (peer->sgt)
		dma_buf_unmap_attachment(peer->attach, peer->sgt, DMA_BIDIRECTIONAL);
	peer->sgt = NULL;
	if (peer->pinned)
		dma_buf_unpin(peer->attach);
	peer->pinned = false;
}

static void edu_peer_late(struct work_struct *work)
{
	struct edu_peer *peer = container_of(to_delayed_work(work), struct edu_peer, late);

	dma_resv_lock(peer->dmabuf->resv, NULL);
	edu_peer_unmap_locked(peer);
	dma_resv_unlock(peer->dmabuf->resv);
}

static void edu_peer_invalidate(struct dma_buf_attachment *attach)
{
	struct edu_peer *peer = attach->importer_priv;

	peer->invalidations++;
	if (!peer->delay_ms)
		edu_peer_unmap_locked(peer);
	else if (peer->delay_ms != EDU_PEER_NEVER)
		schedule_delayed_work(&peer->late, msecs_to_jiffies(peer->delay_ms));
}

static const struct dma_buf_attach_ops edu_revocable_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = edu_peer_invalidate,
};

static const struct dma_buf_attach_ops edu_pinned_ops = {
	.allow_peer2peer = true,
};

static int edu_peer_map_locked(struct edu_peer *peer)
{
	struct scatterlist *sg;
	struct sg_table *sgt;
	unsigned int i;
	int ret;

	dma_resv_assert_held(peer->dmabuf->resv);
	if (peer->sgt)
		return -EBUSY;
	if (peer->kind != EDU_PEER_DYNAMIC) {
		ret = dma_buf_pin(peer->attach);
		if (ret)
			return ret;
		peer->pinned = true;
	}
	sgt = dma_buf_map_attachment(peer->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		edu_peer_unmap_locked(peer);
		return ret;
	}
	peer->sgt = sgt;
	peer->nr_segments = 0;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (i >= EDU_SEGMENTS) {
			edu_peer_unmap_locked(peer);
			return -E2BIG;
		}
		peer->segments[i].addr = sg_dma_address(sg);
		peer->segments[i].len = sg_dma_len(sg);
		peer->nr_segments++;
	}
	return 0;
}

static void edu_peer_detach(struct edu_peer *peer)
{
	lockdep_assert_held(&peer->lock);
	if (!peer->dmabuf)
		return;
	/* After this unmap an invalidation finds nothing mapped, and after detach there is none. */
	dma_resv_lock(peer->dmabuf->resv, NULL);
	edu_peer_unmap_locked(peer);
	dma_resv_unlock(peer->dmabuf->resv);
	dma_buf_detach(peer->dmabuf, peer->attach);
	cancel_delayed_work_sync(&peer->late);
	dma_buf_put(peer->dmabuf);
	peer->dmabuf = NULL;
	peer->attach = NULL;
}

static int edu_peer_attach(struct edu_peer *peer, void __user *arg)
{
	struct edu_peer_attach in;
	struct dma_buf *dmabuf;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.kind > EDU_PEER_PINNED || in.pad)
		return -EINVAL;
	if (peer->dmabuf)
		return -EBUSY;
	dmabuf = dma_buf_get(in.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	peer->kind = in.kind;
	peer->delay_ms = in.delay_ms;
	peer->dmabuf = dmabuf;
	peer->nr_segments = 0;
	peer->invalidations = 0;
	peer->attach = dma_buf_dynamic_attach(
		dmabuf, &peer->edu->pdev->dev,
		in.kind == EDU_PEER_PINNED ? &edu_pinned_ops : &edu_revocable_ops, peer);
	if (IS_ERR(peer->attach)) {
		int ret = PTR_ERR(peer->attach);

		peer->attach = NULL;
		peer->dmabuf = NULL;
		dma_buf_put(dmabuf);
		return ret;
	}
	return 0;
}

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

static int edu_peer_dma(struct edu_peer *peer, void __user *arg)
{
	struct edu_dev *edu = peer->edu;
	struct edu_peer_dma in;
	dma_addr_t addr = 0;
	int ret;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (!in.len || in.len > EDU_PEER_DMA_MAX || in.write > 1)
		return -EINVAL;
	ret = edu_peer_find(peer, in.offset, in.len, &addr);
	if (ret)
		return ret;

	/* No dma-resv here: a real device does not take it either while its DMA runs. */
	guard(mutex)(&edu->dma_lock);
	memset(edu->bounce, 0, EDU_PEER_DMA_MAX);
	if (in.write && copy_from_user(edu->bounce, u64_to_user_ptr(in.data), in.len))
		return -EFAULT;
	ret = edu_copy(edu, addr, in.len, in.write);
	if (ret)
		return ret;
	if (!in.write && copy_to_user(u64_to_user_ptr(in.data), edu->bounce, in.len))
		return -EFAULT;
	return 0;
}

static int edu_peer_state(struct edu_peer *peer, void __user *arg)
{
	struct edu_peer_state out = { .attached = !!peer->attach };

	if (peer->dmabuf) {
		dma_resv_lock(peer->dmabuf->resv, NULL);
		out.mapped = !!peer->sgt;
		out.pinned = peer->pinned;
		out.invalidations = peer->invalidations;
		out.size = peer->dmabuf->size;
		dma_resv_unlock(peer->dmabuf->resv);
	}
	if (peer->nr_segments)
		out.dma_address = peer->segments[0].addr;
	return copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static int edu_peer_map(struct edu_peer *peer, bool map)
{
	int ret = 0;

	if (!peer->dmabuf)
		return -EINVAL;
	dma_resv_lock(peer->dmabuf->resv, NULL);
	if (map)
		ret = edu_peer_map_locked(peer);
	else
		edu_peer_unmap_locked(peer);
	dma_resv_unlock(peer->dmabuf->resv);
	return ret;
}

static long edu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct edu_peer *peer = file->private_data;

	guard(mutex)(&peer->lock);
	switch (cmd) {
	case EDU_PEER_ATTACH:
		return edu_peer_attach(peer, (void __user *)arg);
	case EDU_PEER_MAP:
		return edu_peer_map(peer, true);
	case EDU_PEER_UNMAP:
		return edu_peer_map(peer, false);
	case EDU_PEER_DETACH:
		edu_peer_detach(peer);
		return 0;
	case EDU_PEER_DMA:
		return edu_peer_dma(peer, (void __user *)arg);
	case EDU_PEER_STATE:
		return edu_peer_state(peer, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int edu_open(struct inode *inode, struct file *file)
{
	struct edu_peer *peer = kzalloc(sizeof(*peer), GFP_KERNEL);

	if (!peer)
		return -ENOMEM;
	peer->edu = edu_the_one;
	mutex_init(&peer->lock);
	INIT_DELAYED_WORK(&peer->late, edu_peer_late);
	file->private_data = peer;
	return 0;
}

static int edu_release(struct inode *inode, struct file *file)
{
	struct edu_peer *peer = file->private_data;

	mutex_lock(&peer->lock);
	edu_peer_detach(peer);
	mutex_unlock(&peer->lock);
	mutex_destroy(&peer->lock);
	kfree(peer);
	return 0;
}

static const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
};

/* --- the device ------------------------------------------------------------ */
static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu_dev *edu;
	int ret;

	if (edu_the_one)
		return -EBUSY;
	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	ret = devm_mutex_init(&pdev->dev, &edu->dma_lock);
	if (ret)
		return ret;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu->regs = pcim_iomap_region(pdev, 0, "edu_peer");
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	if ((readl(edu->regs + EDU_ID) & 0xff) != 0xed)
		return dev_err_probe(&pdev->dev, -ENODEV, "not an edu device\n");
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	pci_set_master(pdev);
	edu->bounce = dmam_alloc_coherent(&pdev->dev, EDU_PEER_DMA_MAX, &edu->bounce_addr, GFP_KERNEL);
	if (!edu->bounce)
		return -ENOMEM;

	edu->misc.minor = MISC_DYNAMIC_MINOR;
	edu->misc.name = "edu_peer";
	edu->misc.fops = &edu_fops;
	edu_the_one = edu;
	ret = misc_register(&edu->misc);
	if (ret)
		edu_the_one = NULL;
	pci_set_drvdata(pdev, edu);
	return ret;
}

/* The tests never unbind this device while a file is open. */
static void edu_remove(struct pci_dev *pdev)
{
	struct edu_dev *edu = pci_get_drvdata(pdev);

	misc_deregister(&edu->misc);
	edu_the_one = NULL;
}

static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, {} };
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "edu_peer",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("QEMU's edu device as a dma-buf importer, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
