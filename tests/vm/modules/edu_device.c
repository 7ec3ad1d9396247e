// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's edu device: its DMA engine, its coming and going.
 */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "edu.h"

#define EDU_ID 0x00
#define EDU_DMA_SRC 0x80
#define EDU_DMA_DST 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_CMD 0x98
#define EDU_DMA_START BIT(0)
#define EDU_DMA_OUT BIT(1) /* from the device's buffer to memory */
#define EDU_BUFFER 0x40000

static int edu_dma(struct edu_dev *edu, u64 src, u64 dst, u32 len, u64 direction)
{
	u64 cmd;
	int ret;

	lockdep_assert_held(&edu->dma_lock);
	writeq(src, edu->regs + EDU_DMA_SRC);
	writeq(dst, edu->regs + EDU_DMA_DST);
	writeq(len, edu->regs + EDU_DMA_COUNT);
	writeq(EDU_DMA_START | direction, edu->regs + EDU_DMA_CMD);
	ret = readq_poll_timeout(edu->regs + EDU_DMA_CMD, cmd, !(cmd & EDU_DMA_START) || cmd == ~0ULL, 1000,
				 10 * USEC_PER_SEC);
	/* A device that was pulled answers with ones. */
	return cmd == ~0ULL ? -ENODEV : ret;
}

/* @data <-> the device's own buffer <-> @addr, by way of the bounce page. */
int edu_copy(struct edu_dev *edu, dma_addr_t addr, void *data, u32 len, bool write)
{
	u64 from, to;
	int ret;

	guard(mutex)(&edu->dma_lock);
	if (edu->gone)
		return -ENODEV;
	memset(edu->bounce, 0, EDU_PEER_DMA_MAX);
	if (write)
		memcpy(edu->bounce, data, len);
	from = write ? edu->bounce_addr : addr;
	to = write ? addr : edu->bounce_addr;
	ret = edu_dma(edu, from, EDU_BUFFER, len, 0);
	if (!ret)
		ret = edu_dma(edu, EDU_BUFFER, to, len, EDU_DMA_OUT);
	if (!ret && !write)
		memcpy(data, edu->bounce, len);
	return ret;
}

static void edu_release(struct kref *ref)
{
	struct edu_dev *edu = container_of(ref, struct edu_dev, ref);

	mutex_destroy(&edu->dma_lock);
	kfree(edu);
}

void edu_put(struct edu_dev *edu)
{
	kref_put(&edu->ref, edu_release);
}

static int edu_start(struct edu_dev *edu)
{
	struct pci_dev *pdev = edu->pdev;
	int ret;

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
	return misc_register(&edu->misc);
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu_dev *edu;
	int ret = 0;

	edu = kzalloc_obj(*edu);
	if (!edu)
		return -ENOMEM;
	kref_init(&edu->ref);
	mutex_init(&edu->dma_lock);
	INIT_LIST_HEAD(&edu->peers);
	edu->pdev = pdev;
	pci_set_drvdata(pdev, edu);
	scoped_guard(mutex, &edu_list_lock) {
		if (edu_the_one)
			ret = -EBUSY;
		else
			edu_the_one = edu;
	}
	if (ret)
		goto err_put;
	ret = edu_start(edu);
	if (!ret)
		return 0;
	scoped_guard(mutex, &edu_list_lock)
		edu_the_one = NULL;
err_put:
	edu_put(edu);
	return ret;
}

/* Files may be open and attachments mapped: as a driver must, it lets go of everything before it returns. */
static void edu_remove(struct pci_dev *pdev)
{
	struct edu_dev *edu = pci_get_drvdata(pdev);

	scoped_guard(mutex, &edu_list_lock)
		edu_the_one = NULL;
	scoped_guard(mutex, &edu->dma_lock)
		WRITE_ONCE(edu->gone, true);
	edu_peers_let_go(edu);
	misc_deregister(&edu->misc);
	edu_put(edu);
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
