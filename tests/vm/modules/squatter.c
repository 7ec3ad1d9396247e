// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that has a card for a while, fills its memory and leaves it so, for tests only. It binds to what
 * driver_override names it for.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

#define SQUATTER_BAR 2

static unsigned int fill = 0x6b;
module_param(fill, uint, 0644);
MODULE_PARM_DESC(fill, "byte that it leaves all over the memory");

static int squatter_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	void __iomem *bar;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	bar = pcim_iomap_region(pdev, SQUATTER_BAR, "squatter");
	if (IS_ERR(bar))
		return PTR_ERR(bar);
	memset_io(bar, fill, pci_resource_len(pdev, SQUATTER_BAR));
	return 0;
}

static const struct pci_device_id squatter_ids[] = { {} };

static struct pci_driver squatter_driver = {
	.name = "squatter",
	.id_table = squatter_ids,
	.probe = squatter_probe,
};
module_pci_driver(squatter_driver);

MODULE_DESCRIPTION("Leaves bytes in a card's memory, for tests");
MODULE_LICENSE("GPL");
