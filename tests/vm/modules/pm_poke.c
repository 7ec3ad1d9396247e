// SPDX-License-Identifier: GPL-2.0-only
/*
 * Suspends and resumes one PCI device, for tests only: a suspend of the whole machine would take the guest's channels
 * to the host with it. Write a PCI address to the parameter `suspend` or `resume`.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/string.h>

static int pm_poke(const char *val, int (*call)(struct device *dev))
{
	char name[32];
	struct device *dev;
	int ret;

	if (strscpy(name, val) < 0)
		return -EINVAL;
	dev = bus_find_device_by_name(&pci_bus_type, NULL, strim(name));
	if (!dev)
		return -ENODEV;
	device_lock(dev);
	ret = call(dev);
	device_unlock(dev);
	put_device(dev);
	return ret;
}

static int pm_poke_suspend(const char *val, const struct kernel_param *kp)
{
	return pm_poke(val, pm_generic_suspend);
}

static int pm_poke_resume(const char *val, const struct kernel_param *kp)
{
	return pm_poke(val, pm_generic_resume);
}

static const struct kernel_param_ops pm_poke_suspend_ops = { .set = pm_poke_suspend };
static const struct kernel_param_ops pm_poke_resume_ops = { .set = pm_poke_resume };
module_param_cb(suspend, &pm_poke_suspend_ops, NULL, 0200);
MODULE_PARM_DESC(suspend, "PCI address of the device to suspend");
module_param_cb(resume, &pm_poke_resume_ops, NULL, 0200);
MODULE_PARM_DESC(resume, "PCI address of the device to resume");

static int __init pm_poke_init(void)
{
	return 0;
}

static void __exit pm_poke_exit(void)
{
}

module_init(pm_poke_init);
module_exit(pm_poke_exit);

MODULE_DESCRIPTION("Suspend and resume of one PCI device, for tests");
MODULE_LICENSE("GPL");
