// SPDX-License-Identifier: GPL-2.0-only
/*
 * accel_controlDN: INFO for everybody, without the lease.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/habanalabs_accel.h>

#include "gaudi_device.h"

/* Lives until the last file is closed: the cdev holds @dev, and @dev holds the drm device (memory only). */
struct gaudi_control {
	struct device dev;
	struct cdev cdev;
	struct gaudi_device *gdev;
};

static dev_t gaudi_control_devt;

static int gaudi_control_open(struct inode *inode, struct file *filp)
{
	struct gaudi_control *control = container_of(inode->i_cdev, struct gaudi_control, cdev);

	if (gaudi_device_is_gone(control->gdev))
		return -ENODEV;
	filp->private_data = control;
	return 0;
}

static long gaudi_control_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct gaudi_control *control = filp->private_data;
	struct hl_info_args args;

	if (cmd != DRM_IOCTL_HL_INFO)
		return -ENOTTY;
	if (gaudi_device_is_gone(control->gdev))
		return -ENODEV;
	if (copy_from_user(&args, (void __user *)arg, sizeof(args)))
		return -EFAULT;
	return gaudi_info(control->gdev, &args);
}

static const struct file_operations gaudi_control_fops = {
	.owner = THIS_MODULE,
	.open = gaudi_control_open,
	.unlocked_ioctl = gaudi_control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static void gaudi_control_release(struct device *dev)
{
	struct gaudi_control *control = container_of(dev, struct gaudi_control, dev);

	drm_dev_put(&control->gdev->drm);
	kfree(control);
}

int gaudi_control_add(struct gaudi_device *gdev)
{
	unsigned int index = gdev->drm.accel->index;
	struct gaudi_control *control;
	int ret;

	control = kzalloc_obj(*control);
	if (!control)
		return -ENOMEM;
	control->gdev = gdev;
	drm_dev_get(&gdev->drm);
	device_initialize(&control->dev);
	control->dev.release = gaudi_control_release;
	control->dev.class = gdev->drm.accel->kdev->class;
	control->dev.parent = gdev->drm.dev;
	control->dev.devt = MKDEV(MAJOR(gaudi_control_devt), index);
	/* Readers of the class expect it, whatever node they look at. */
	dev_set_drvdata(&control->dev, gdev->drm.accel);
	cdev_init(&control->cdev, &gaudi_control_fops);
	control->cdev.owner = THIS_MODULE;

	ret = dev_set_name(&control->dev, "accel_controlD%u", index);
	if (!ret)
		ret = cdev_device_add(&control->cdev, &control->dev);
	if (ret) {
		put_device(&control->dev);
		return ret;
	}
	gdev->control = control;
	return 0;
}

void gaudi_control_remove(struct gaudi_device *gdev)
{
	if (!gdev->control)
		return;
	cdev_device_del(&gdev->control->cdev, &gdev->control->dev);
	put_device(&gdev->control->dev);
	gdev->control = NULL;
}

int gaudi_control_register(void)
{
	return alloc_chrdev_region(&gaudi_control_devt, 0, ACCEL_MAX_MINORS, "accel_control");
}

void gaudi_control_unregister(void)
{
	unregister_chrdev_region(gaudi_control_devt, ACCEL_MAX_MINORS);
}
