// SPDX-License-Identifier: GPL-2.0-only
/*
 * The emulated card: QEMU's ivshmem-plain, whose BAR 2 is the device memory. Real PCI, real peer-to-peer, no engines.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/prandom.h>
#include <linux/random.h>

#include "gaudi_device.h"

#define GAUDI_EMULATED_VENDOR	0x1af4
#define GAUDI_EMULATED_DEVICE	0x1110
#define GAUDI_EMULATED_BAR	2
/* Written before the zeros: a bus that answers nothing may read as zero too. */
#define GAUDI_EMULATED_CANARY	0x5ca1ab1e0ddba115ULL
/* One word of each of these is read back, */
#define GAUDI_EMULATED_SAMPLE	SZ_4K
/* after so much was filled: the pages' translations are still at hand, and the bus turns around seldom. */
#define GAUDI_EMULATED_FILL	SZ_64K

static bool gaudi_emulated;
module_param_named(emulated, gaudi_emulated, bool, 0444);
MODULE_PARM_DESC(emulated, "drive QEMU's ivshmem-plain (1af4:1110) as an emulated card (default 0)");

struct gaudi_emulated {
	struct gaudi_device base;
	void __iomem *bar;	/* inside drm_dev_enter() only */
};

static struct gaudi_emulated *to_gaudi_emulated(struct gaudi_device *gdev)
{
	return container_of(gdev, struct gaudi_emulated, base);
}

/*
 * Unrolled stores of 64 bits: memset_io() is slower (by 14 % under emulation), "rep stos" takes twice as long there,
 * and wider registers gain nothing where write-combining buffers make bursts of it anyway.
 */
static void gaudi_emulated_fill(void __iomem *bar)
{
	void __iomem *end = bar + GAUDI_EMULATED_FILL;

	for (; bar < end; bar += 8 * sizeof(u64)) {
		__raw_writeq(0, bar);
		__raw_writeq(0, bar + 8);
		__raw_writeq(0, bar + 16);
		__raw_writeq(0, bar + 24);
		__raw_writeq(0, bar + 32);
		__raw_writeq(0, bar + 40);
		__raw_writeq(0, bar + 48);
		__raw_writeq(0, bar + 56);
	}
}

/*
 * Reading all of it back would cost as much as the fill and prove little more. Proven is that the card answers (the
 * canary of each step), and that the zeros reached every 4 KiB of it (one word of each, at an offset that nobody can
 * know before). Seen are a card that is gone or switched off, reads of all ones, writes that reach no memory, and who
 * writes into it meanwhile and goes on. Not seen is a single broken cell.
 */
static int gaudi_emulated_zero(struct gaudi_device *gdev, u64 offset, size_t size)
{
	void __iomem *bar = to_gaudi_emulated(gdev)->bar + offset;
	void __iomem *end = bar + size;
	struct rnd_state random;
	u64 seen = 0;
	size_t i;

	writeq(GAUDI_EMULATED_CANARY, bar);
	if (readq(bar) != GAUDI_EMULATED_CANARY)
		return -EIO;

	prandom_seed_state(&random, get_random_u64());
	for (; bar < end; bar += GAUDI_EMULATED_FILL) {
		gaudi_emulated_fill(bar);
		mb();	/* write-combined stores are out before they are read back */
		for (i = 0; i < GAUDI_EMULATED_FILL; i += GAUDI_EMULATED_SAMPLE) {
			u32 word = prandom_u32_state(&random) % (GAUDI_EMULATED_SAMPLE / sizeof(u64));

			seen |= __raw_readq(bar + i + word * sizeof(u64));
		}
	}
	return seen ? -EIO : 0;
}

static_assert(GAUDI_PAGE_SIZE % GAUDI_EMULATED_FILL == 0);

static unsigned long gaudi_emulated_pfn(struct gaudi_device *gdev, u64 offset)
{
	return PHYS_PFN(gdev->phys + offset);
}

static const struct gaudi_backend gaudi_emulated_backend = {
	.type = "GAUDI2",
	.name = "EMULATED",
	.zero = gaudi_emulated_zero,
	.pfn = gaudi_emulated_pfn,
};

static int gaudi_emulated_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct gaudi_emulated *card;
	struct gaudi_device *gdev;
	u64 size;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot enable the device\n");
	size = pci_resource_len(pdev, GAUDI_EMULATED_BAR);
	if (!(pci_resource_flags(pdev, GAUDI_EMULATED_BAR) & IORESOURCE_MEM) || size < GAUDI_PAGE_SIZE)
		return dev_err_probe(&pdev->dev, -ENODEV, "no memory in BAR %d\n", GAUDI_EMULATED_BAR);
	/* Also keeps /dev/mem and sysfs' resource2 away from the memory. */
	ret = pcim_request_region(pdev, GAUDI_EMULATED_BAR, "gaudi_p2p");
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "BAR %d is in use\n", GAUDI_EMULATED_BAR);
	ret = pcim_p2pdma_init(pdev);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "no peer-to-peer DMA\n");

	gdev = gaudi_device_create(&pdev->dev, &gaudi_emulated_backend, sizeof(*card));
	if (IS_ERR(gdev))
		return PTR_ERR(gdev);
	card = to_gaudi_emulated(gdev);
	gdev->pdev = pdev;
	gdev->phys = pci_resource_start(pdev, GAUDI_EMULATED_BAR);
	gdev->provider = pcim_p2pdma_provider(pdev, GAUDI_EMULATED_BAR);
	if (!gdev->provider)
		return dev_err_probe(&pdev->dev, -ENODEV, "no peer-to-peer DMA with BAR %d\n", GAUDI_EMULATED_BAR);
	card->bar = devm_ioremap_wc(&pdev->dev, gdev->phys, size);
	if (!card->bar)
		return dev_err_probe(&pdev->dev, -ENOMEM, "cannot map BAR %d\n", GAUDI_EMULATED_BAR);
	/* For gaudi_emulated_slot_reset(). */
	pci_save_state(pdev);
	return gaudi_device_register(gdev, size);
}

static void gaudi_emulated_remove(struct pci_dev *pdev)
{
	gaudi_device_remove(pci_get_drvdata(pdev));
}

static void gaudi_emulated_reset_prepare(struct pci_dev *pdev)
{
	gaudi_device_reset_prepare(pci_get_drvdata(pdev), "the device is being reset");
}

static void gaudi_emulated_reset_done(struct pci_dev *pdev)
{
	gaudi_device_reset_done(pci_get_drvdata(pdev));
}

/* What to do after an error of the bus: Documentation/PCI/pci-error-recovery.rst. */
static pci_ers_result_t gaudi_emulated_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	struct gaudi_device *gdev = pci_get_drvdata(pdev);

	switch (state) {
	case pci_channel_io_normal:
		return PCI_ERS_RESULT_CAN_RECOVER;
	case pci_channel_io_frozen:
		gaudi_device_reset_prepare(gdev, "the PCI bus is recovering from an error");
		return PCI_ERS_RESULT_NEED_RESET;
	default:
		gaudi_device_reset_failed(gdev,
					  "the PCI bus did not recover from an error: reset or bind the device again");
		return PCI_ERS_RESULT_DISCONNECT;
	}
}

static pci_ers_result_t gaudi_emulated_slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	return pci_device_is_present(pdev) ? PCI_ERS_RESULT_RECOVERED : PCI_ERS_RESULT_DISCONNECT;
}

static const struct pci_error_handlers gaudi_emulated_err_handler = {
	.reset_prepare = gaudi_emulated_reset_prepare,
	.reset_done = gaudi_emulated_reset_done,
	.error_detected = gaudi_emulated_error_detected,
	.slot_reset = gaudi_emulated_slot_reset,
	/* Also after errors without a reset, where there is nothing to be done. */
	.resume = gaudi_emulated_reset_done,
};

/*
 * The card's memory may lose what is in it, and what is known of it is of no use after a hibernation: as after a reset,
 * the lease is over and everything is scrubbed.
 */
static int gaudi_emulated_suspend(struct device *dev)
{
	gaudi_device_reset_prepare(dev_get_drvdata(dev), "the machine is suspended");
	return 0;
}

static int gaudi_emulated_resume(struct device *dev)
{
	gaudi_device_reset_done(dev_get_drvdata(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(gaudi_emulated_pm_ops, gaudi_emulated_suspend, gaudi_emulated_resume);

/* Not in the module's device table: who has an ivshmem device for something else shall not get this driver. */
static const struct pci_device_id gaudi_emulated_ids[] = {
	{ PCI_DEVICE(GAUDI_EMULATED_VENDOR, GAUDI_EMULATED_DEVICE) },
	{ }
};

static struct pci_driver gaudi_emulated_driver = {
	.name = "gaudi_p2p",
	.id_table = gaudi_emulated_ids,
	.probe = gaudi_emulated_probe,
	.remove = gaudi_emulated_remove,
	.err_handler = &gaudi_emulated_err_handler,
	.driver.pm = pm_sleep_ptr(&gaudi_emulated_pm_ops),
};

int gaudi_emulated_register(void)
{
	return gaudi_emulated ? pci_register_driver(&gaudi_emulated_driver) : 0;
}

void gaudi_emulated_unregister(void)
{
	if (gaudi_emulated)
		pci_unregister_driver(&gaudi_emulated_driver);
}
