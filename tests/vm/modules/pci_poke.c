// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does to one PCI device what happens to a machine, for tests only. Write a PCI address to the parameter
 * - `suspend` or `resume`: a suspend of the whole machine would take the guest's channels to the host with it;
 * - `fail`: tells its driver that the bus will not recover, as pcie_do_recovery() does when a link stays down, which no
 *   emulated link does.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/string.h>

static int pci_poke(const char *val, int (*call)(struct device *dev))
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

static int pci_poke_suspend(const char *val, const struct kernel_param *kp)
{
	return pci_poke(val, pm_generic_suspend);
}

static int pci_poke_resume(const char *val, const struct kernel_param *kp)
{
	return pci_poke(val, pm_generic_resume);
}

static int pci_poke_fail_device(struct device *dev)
{
	struct pci_driver *driver = to_pci_dev(dev)->driver;

	if (!driver || !driver->err_handler || !driver->err_handler->error_detected)
		return -EOPNOTSUPP;
	driver->err_handler->error_detected(to_pci_dev(dev), pci_channel_io_perm_failure);
	return 0;
}

static int pci_poke_fail(const char *val, const struct kernel_param *kp)
{
	return pci_poke(val, pci_poke_fail_device);
}

static const struct kernel_param_ops pci_poke_suspend_ops = { .set = pci_poke_suspend };
static const struct kernel_param_ops pci_poke_resume_ops = { .set = pci_poke_resume };
module_param_cb(suspend, &pci_poke_suspend_ops, NULL, 0200);
MODULE_PARM_DESC(suspend, "PCI address of the device to suspend");
module_param_cb(resume, &pci_poke_resume_ops, NULL, 0200);
MODULE_PARM_DESC(resume, "PCI address of the device to resume");
static const struct kernel_param_ops pci_poke_fail_ops = { .set = pci_poke_fail };
module_param_cb(fail, &pci_poke_fail_ops, NULL, 0200);
MODULE_PARM_DESC(fail, "PCI address of the device whose bus does not recover");

static int __init pci_poke_init(void)
{
	return 0;
}

static void __exit pci_poke_exit(void)
{
}

module_init(pci_poke_init);
module_exit(pci_poke_exit);

MODULE_DESCRIPTION("Suspend, resume and bus failure of one PCI device, for tests");
MODULE_LICENSE("GPL");
