// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attributes and uevents. README.md documents them as ABI.
 */
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/habanalabs_accel.h>

#include "gaudi_device.h"

/* The parent's attributes live shorter than its driver data: both are of the driver's binding. */
static struct gaudi_device *gaudi_sysfs_device(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", gaudi_state_name(READ_ONCE(gaudi_sysfs_device(dev)->state)));
}
static DEVICE_ATTR_RO(state);

static ssize_t reason_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(dev);
	char reason[GAUDI_REASON_MAX];

	scoped_cond_guard(mutex_intr, return -EINTR, &gdev->lock) {
		strscpy(reason, gdev->reason);
		if (gdev->state == GAUDI_STATE_DRAINING)
			gaudi_revoke_holder(gdev, reason, sizeof(reason));
	}
	return sysfs_emit(buf, "%s\n", reason);
}
static DEVICE_ATTR_RO(reason);

static ssize_t allocated_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(dev);
	u64 bytes = 0;

	scoped_cond_guard(mutex_intr, return -EINTR, &gdev->lock)
		if (gdev->lease)
			bytes = gdev->lease->allocated;
	return sysfs_emit(buf, "%llu\n", bytes);
}
static DEVICE_ATTR_RO(allocated_bytes);

static ssize_t exported_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(dev);
	u64 bytes = 0;

	scoped_cond_guard(mutex_intr, return -EINTR, &gdev->lock)
		bytes = gdev->exported;
	return sysfs_emit(buf, "%llu\n", bytes);
}
static DEVICE_ATTR_RO(exported_bytes);

static ssize_t dirty_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&gaudi_sysfs_device(dev)->dirty_bytes));
}
static DEVICE_ATTR_RO(dirty_bytes);

static ssize_t scrubbed_bytes_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&gaudi_sysfs_device(dev)->scrubbed_bytes));
}
static DEVICE_ATTR_RO(scrubbed_bytes);

static ssize_t scrub_time_ns_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&gaudi_sysfs_device(dev)->scrub_ns));
}
static DEVICE_ATTR_RO(scrub_time_ns);

static ssize_t scrub_count_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&gaudi_sysfs_device(dev)->scrubs));
}
static DEVICE_ATTR_RO(scrub_count);

static ssize_t scrub_failures_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&gaudi_sysfs_device(dev)->scrub_failures));
}
static DEVICE_ATTR_RO(scrub_failures);

static ssize_t owner_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(dev);
	ssize_t len = 0;

	scoped_cond_guard(mutex_intr, return -EINTR, &gdev->lock) {
		if (!gdev->lease)
			len = sysfs_emit(buf, "\n");
		else if (gdev->lease->owner.cgroup)
			len = sysfs_emit(buf, "cgroup:%s\n", gdev->lease->owner.path);
		else
			len = sysfs_emit(buf, "netns:[%u]\n", gdev->lease->owner.net_inum);
	}
	return len;
}
static DEVICE_ATTR_ADMIN_RO(owner);

static ssize_t owner_pid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(dev);
	ssize_t len = 0;

	scoped_cond_guard(mutex_intr, return -EINTR, &gdev->lock) {
		if (gdev->lease)
			len = sysfs_emit(buf, "%d\n", gdev->lease->owner.pid);
		else
			len = sysfs_emit(buf, "\n");
	}
	return len;
}
static DEVICE_ATTR_ADMIN_RO(owner_pid);

static ssize_t device_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", gaudi_sysfs_device(dev)->backend->type);
}
static DEVICE_ATTR_RO(device_type);

static ssize_t module_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", gaudi_sysfs_device(dev)->module_id);
}
static DEVICE_ATTR_RO(module_id);

/* The mainline driver's words. */
static ssize_t status_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const char *word = "Disabled";

	switch (gaudi_info_status(gaudi_sysfs_device(dev))) {
	case HL_DEVICE_STATUS_OPERATIONAL:
		word = "Operational";
		break;
	case HL_DEVICE_STATUS_IN_RESET:
		word = "In reset";
		break;
	case HL_DEVICE_STATUS_IN_DEVICE_CREATION:
		word = "In device creation";
		break;
	case HL_DEVICE_STATUS_IN_RESET_AFTER_DEVICE_RELEASE:
		word = "In reset after device release";
		break;
	}
	return sysfs_emit(buf, "%s\n", word);
}
static DEVICE_ATTR_RO(status);

static ssize_t gaudi_sysfs_pci_addr(struct gaudi_device *gdev, char *buf)
{
	return sysfs_emit(buf, "%s\n", pci_name(gdev->pdev));
}

static ssize_t pci_addr_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return gaudi_sysfs_pci_addr(gaudi_sysfs_device(dev), buf);
}
static DEVICE_ATTR_RO(pci_addr);

/* A name for what has no PCI address. */
static ssize_t serial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", dev_name(dev));
}
static DEVICE_ATTR_RO(serial);

static struct attribute *gaudi_sysfs_device_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_reason.attr,
	&dev_attr_allocated_bytes.attr,
	&dev_attr_exported_bytes.attr,
	&dev_attr_dirty_bytes.attr,
	&dev_attr_scrubbed_bytes.attr,
	&dev_attr_scrub_time_ns.attr,
	&dev_attr_scrub_count.attr,
	&dev_attr_scrub_failures.attr,
	&dev_attr_owner.attr,
	&dev_attr_owner_pid.attr,
	&dev_attr_device_type.attr,
	&dev_attr_module_id.attr,
	&dev_attr_status.attr,
	&dev_attr_pci_addr.attr,
	&dev_attr_serial.attr,
	NULL
};

static umode_t gaudi_sysfs_device_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	struct gaudi_device *gdev = gaudi_sysfs_device(kobj_to_dev(kobj));

	if (attr == &dev_attr_pci_addr.attr && !gdev->pdev)
		return 0;
	if (attr == &dev_attr_serial.attr && gdev->pdev)
		return 0;
	return attr->mode;
}

const struct attribute_group gaudi_sysfs_device_group = {
	.attrs = gaudi_sysfs_device_attrs,
	.is_visible = gaudi_sysfs_device_visible,
};

/* accelN itself: user libraries look for the address here. Its driver data is a drm_minor. */
static struct gaudi_device *gaudi_sysfs_class_device(struct device *dev)
{
	struct drm_minor *minor = dev_get_drvdata(dev);

	return to_gaudi_device(minor->dev);
}

static ssize_t class_pci_addr_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return gaudi_sysfs_pci_addr(gaudi_sysfs_class_device(dev), buf);
}

static struct device_attribute gaudi_sysfs_class_pci_addr = __ATTR(pci_addr, 0444, class_pci_addr_show, NULL);

static struct attribute *gaudi_sysfs_class_attrs[] = {
	&gaudi_sysfs_class_pci_addr.attr,
	NULL
};

static umode_t gaudi_sysfs_class_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	return gaudi_sysfs_class_device(kobj_to_dev(kobj))->pdev ? attr->mode : 0;
}

static const struct attribute_group gaudi_sysfs_class_group = {
	.attrs = gaudi_sysfs_class_attrs,
	.is_visible = gaudi_sysfs_class_visible,
};

const struct attribute_group *gaudi_sysfs_class_groups[] = {
	&gaudi_sysfs_class_group,
	NULL
};

/* Tell user space of the state; gdev->lock held, so that the order of events is that of the changes. */
void gaudi_sysfs_uevent(struct gaudi_device *gdev)
{
	char state[32];
	char *envp[] = { state, NULL };
	int idx;

	lockdep_assert_held(&gdev->lock);
	snprintf(state, sizeof(state), "GAUDI_STATE=%s", gaudi_state_name(gdev->state));
	/* Before it is registered nobody knows the device by name. */
	if (!device_is_registered(gdev->drm.accel->kdev) || !drm_dev_enter(&gdev->drm, &idx))
		return;
	kobject_uevent_env(&gdev->drm.accel->kdev->kobj, KOBJ_CHANGE, envp);
	drm_dev_exit(idx);
}
