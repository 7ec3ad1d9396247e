// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices in system memory: everything but peer-to-peer DMA, on any machine.
 */
#include <linux/device/faux.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <drm/drm_managed.h>

#include "gaudi_device.h"

#define GAUDI_VIRTUAL_MAX	64

static unsigned int gaudi_virtual;
module_param_named(virtual, gaudi_virtual, uint, 0444);
MODULE_PARM_DESC(virtual, "number of devices in system memory (default 0, at most 64)");

static unsigned int gaudi_virtual_mb = 64;
module_param_named(virtual_mb, gaudi_virtual_mb, uint, 0444);
MODULE_PARM_DESC(virtual_mb, "memory of each of them in MiB (default 64)");

struct gaudi_virtual {
	struct gaudi_device base;
	void *mem;
};

static struct faux_device *gaudi_virtual_devices[GAUDI_VIRTUAL_MAX];

static struct gaudi_virtual *to_gaudi_virtual(struct gaudi_device *gdev)
{
	return container_of(gdev, struct gaudi_virtual, base);
}

/* The machine's own memory: there is nothing to prove that the rest of the kernel does not take for granted. */
static int gaudi_virtual_zero(struct gaudi_device *gdev, u64 offset, size_t size)
{
	memset(to_gaudi_virtual(gdev)->mem + offset, 0, size);
	return 0;
}

static unsigned long gaudi_virtual_pfn(struct gaudi_device *gdev, u64 offset)
{
	return vmalloc_to_pfn(to_gaudi_virtual(gdev)->mem + offset);
}

static const struct gaudi_backend gaudi_virtual_backend = {
	.type = "GAUDI2",
	.name = "VIRTUAL",
	.zero = gaudi_virtual_zero,
	.pfn = gaudi_virtual_pfn,
};

static void gaudi_virtual_release(struct drm_device *drm, void *data)
{
	vfree(data);
}

static int gaudi_virtual_probe(struct faux_device *fdev)
{
	u64 size = (u64)gaudi_virtual_mb << 20;
	struct gaudi_device *gdev;
	void *mem;
	int ret;

	gdev = gaudi_device_create(&fdev->dev, &gaudi_virtual_backend, sizeof(struct gaudi_virtual));
	if (IS_ERR(gdev))
		return PTR_ERR(gdev);
	mem = vmalloc(size);
	if (!mem)
		return -ENOMEM;
	to_gaudi_virtual(gdev)->mem = mem;
	/* With the last reference: programs' mappings and vmaps may outlive the device. */
	ret = drmm_add_action_or_reset(&gdev->drm, gaudi_virtual_release, mem);
	if (ret)
		return ret;
	return gaudi_device_register(gdev, size);
}

static void gaudi_virtual_remove(struct faux_device *fdev)
{
	gaudi_device_remove(faux_device_get_drvdata(fdev));
}

static const struct faux_device_ops gaudi_virtual_ops = {
	.probe = gaudi_virtual_probe,
	.remove = gaudi_virtual_remove,
};

/* Whether the parameters can be. */
int gaudi_virtual_check(void)
{
	return gaudi_virtual > GAUDI_VIRTUAL_MAX || (gaudi_virtual && !gaudi_virtual_mb) ? -EINVAL : 0;
}

/* As many as there is memory for. */
void gaudi_virtual_register(void)
{
	char name[32];
	unsigned int i;

	for (i = 0; i < gaudi_virtual; i++) {
		snprintf(name, sizeof(name), "gaudi-virtual%u", i);
		gaudi_virtual_devices[i] = faux_device_create(name, NULL, &gaudi_virtual_ops);
		if (!gaudi_virtual_devices[i]) {
			pr_err("gaudi_p2p: only %u of %u virtual devices could be made\n", i, gaudi_virtual);
			break;
		}
	}
}

void gaudi_virtual_unregister(void)
{
	unsigned int i;

	for (i = 0; i < GAUDI_VIRTUAL_MAX; i++) {
		if (gaudi_virtual_devices[i])
			faux_device_destroy(gaudi_virtual_devices[i]);
		gaudi_virtual_devices[i] = NULL;
	}
}
