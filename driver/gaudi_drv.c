// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module, parameters, and the accel node's file operations.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>
#include <drm/habanalabs_accel.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"

/* Work of all devices. Of the module, not of a device: an importer may let go long after a device was removed. */
struct workqueue_struct *gaudi_wq;

bool gaudi_hold_nonrevocable;

static int gaudi_nonrevocable_set(const char *val, const struct kernel_param *kp)
{
	if (sysfs_streq(val, "refuse"))
		WRITE_ONCE(gaudi_hold_nonrevocable, false);
	else if (sysfs_streq(val, "hold"))
		WRITE_ONCE(gaudi_hold_nonrevocable, true);
	else
		return -EINVAL;
	return 0;
}

static int gaudi_nonrevocable_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", READ_ONCE(gaudi_hold_nonrevocable) ? "hold" : "refuse");
}

static const struct kernel_param_ops gaudi_nonrevocable_ops = {
	.set = gaudi_nonrevocable_set,
	.get = gaudi_nonrevocable_get,
};
module_param_cb(nonrevocable, &gaudi_nonrevocable_ops, NULL, 0644);
MODULE_PARM_DESC(nonrevocable,
		 "importers that cannot revoke: refuse (default), or hold: the lease drains until they let go");

unsigned int gaudi_open_wait_s = 30;
module_param_named(open_wait_s, gaudi_open_wait_s, uint, 0644);
MODULE_PARM_DESC(open_wait_s, "seconds that open waits for a device that drains or scrubs (default 30)");

bool gaudi_cpu_mmap = true;
module_param_named(cpu_mmap, gaudi_cpu_mmap, bool, 0644);
MODULE_PARM_DESC(cpu_mmap, "whether a dma-buf can be mapped by mmap (default 1)");

/* The check that stands before everything that comes in through an accel file. */
static int gaudi_file_check(struct file *filp)
{
	struct drm_file *file = filp->private_data;
	struct gaudi_file *gf = file->driver_priv;

	return gaudi_lease_check(gf->lease);
}

static int gaudi_open(struct inode *inode, struct file *filp)
{
	struct drm_file *file;
	int ret;

	ret = accel_open(inode, filp);
	if (ret)
		return ret;

	/* Here and not in drm_driver.open, which does not know O_NONBLOCK. */
	file = filp->private_data;
	ret = gaudi_lease_open(to_gaudi_device(file->minor->dev), file->driver_priv,
			       filp->f_flags & O_NONBLOCK);
	if (ret)
		drm_release(inode, filp);
	return ret;
}

/*
 * DRM's own ioctls that make sense on this node. The others are for drivers with a display or GEM objects, and not all
 * of them look whether the driver is one: GET_UNIQUE and GET_MAGIC follow the file's master, which no accel file has.
 */
static bool gaudi_ioctl_is_served(unsigned int cmd)
{
	unsigned int nr = DRM_IOCTL_NR(cmd);

	switch (nr) {
	case DRM_IOCTL_NR(DRM_IOCTL_VERSION):
	case DRM_IOCTL_NR(DRM_IOCTL_GET_CAP):
		return true;
	}
	return nr >= DRM_COMMAND_BASE && nr < DRM_COMMAND_END;
}

/* What stands before every ioctl. */
static int gaudi_ioctl_check(struct file *filp, unsigned int cmd)
{
	int ret = gaudi_file_check(filp);

	if (ret)
		return ret;
	if (_IOC_TYPE(cmd) != DRM_IOCTL_BASE)
		return -ENOTTY;
	return gaudi_ioctl_is_served(cmd) ? 0 : -EINVAL;
}

static long gaudi_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	int ret = gaudi_ioctl_check(filp, cmd);

	return ret ?: drm_ioctl(filp, cmd, arg);
}

#ifdef CONFIG_COMPAT
static long gaudi_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	int ret = gaudi_ioctl_check(filp, cmd);

	return ret ?: drm_compat_ioctl(filp, cmd, arg);
}
#endif

/* Device memory is mapped through a dma-buf; the accel file has nothing to map. */
static int gaudi_file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	return gaudi_file_check(filp) ?: -EINVAL;
}

static const struct file_operations gaudi_fops = {
	.owner = THIS_MODULE,
	.open = gaudi_open,
	.release = drm_release,
	.unlocked_ioctl = gaudi_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = gaudi_compat_ioctl,
#endif
	.mmap = gaudi_file_mmap,
	.llseek = noop_llseek,
	.show_fdinfo = drm_show_fdinfo,
	.fop_flags = FOP_UNSIGNED_OFFSET,
};

static int gaudi_file_open(struct drm_device *drm, struct drm_file *file)
{
	struct gaudi_file *gf = kzalloc_obj(*gf, GFP_KERNEL_ACCOUNT);

	if (!gf)
		return -ENOMEM;
	file->driver_priv = gf;
	return 0;
}

static void gaudi_file_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct gaudi_file *gf = file->driver_priv;

	if (gf->lease)
		gaudi_lease_close(to_gaudi_device(drm), gf->lease);
	kfree(gf);
}

/* Keys of Documentation/gpu/drm-usage-stats.rst; the region "memory" is the machine's own. */
static void gaudi_file_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct gaudi_device *gdev = to_gaudi_device(file->minor->dev);
	struct gaudi_file *gf = file->driver_priv;
	struct drm_memory_stats vram = {}, host = {};

	mutex_lock(&gdev->lock);
	if (gf->lease && gf->lease == gdev->lease) {
		gaudi_export_stats(gf->lease, &vram);
		host.private = gf->lease->host_bytes;
		host.resident = host.private;
	}
	mutex_unlock(&gdev->lock);

	drm_print_memory_stats(p, &vram, DRM_GEM_OBJECT_RESIDENT | DRM_GEM_OBJECT_ACTIVE, "vram");
	drm_print_memory_stats(p, &host, DRM_GEM_OBJECT_RESIDENT, "memory");
}

static int gaudi_mem_op_alloc(struct gaudi_lease *lease, union hl_mem_args *args)
{
	u64 page_size = args->in.alloc.page_size;
	u64 handle;
	int ret;

	if (args->in.flags & ~(HL_MEM_CONTIGUOUS | HL_MEM_SHARED))
		return -EINVAL;
	if (page_size && page_size != GAUDI_PAGE_SIZE)
		return -EINVAL;

	ret = gaudi_mem_alloc(lease, args->in.alloc.mem_size, args->in.flags & HL_MEM_CONTIGUOUS, &handle);
	if (ret)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.handle = handle;
	return 0;
}

static int gaudi_mem_op_map(struct gaudi_lease *lease, union hl_mem_args *args)
{
	u64 va;
	int ret;

	if (args->in.flags & ~(HL_MEM_USERPTR | HL_MEM_FORCE_HINT | HL_MEM_SHARED | HL_MEM_PREFETCH))
		return -EINVAL;
	if (args->in.flags & HL_MEM_USERPTR)
		ret = gaudi_va_map_host(lease, args->in.map_host.host_virt_addr, args->in.map_host.mem_size,
					args->in.map_host.hint_addr, args->in.flags & HL_MEM_FORCE_HINT, &va);
	else
		ret = gaudi_va_map(lease, args->in.map_device.handle, args->in.map_device.hint_addr,
				   args->in.flags & HL_MEM_FORCE_HINT, &va);
	if (ret)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.device_virt_addr = va;
	return 0;
}

static int gaudi_mem_op_export(struct gaudi_lease *lease, union hl_mem_args *args)
{
	int fd;

	fd = gaudi_export_fd(lease, args->in.export_dmabuf_fd.addr, args->in.export_dmabuf_fd.offset,
			     args->in.export_dmabuf_fd.mem_size, args->in.flags);
	if (fd < 0)
		return fd;
	memset(args, 0, sizeof(*args));
	args->out.fd = fd;
	return 0;
}

static int gaudi_mem_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct gaudi_file *gf = file->driver_priv;
	union hl_mem_args *args = data;

	if (args->in.ctx_id || args->in.num_of_elements)
		return -EINVAL;

	switch (args->in.op) {
	case HL_MEM_OP_ALLOC:
		return gaudi_mem_op_alloc(gf->lease, args);
	case HL_MEM_OP_FREE:
		if (args->in.flags)
			return -EINVAL;
		return gaudi_mem_free(gf->lease, args->in.free.handle);
	case HL_MEM_OP_MAP:
		return gaudi_mem_op_map(gf->lease, args);
	case HL_MEM_OP_UNMAP:
		if (args->in.flags & ~HL_MEM_USERPTR)
			return -EINVAL;
		return gaudi_va_unmap(gf->lease, args->in.unmap.device_virt_addr);
	case HL_MEM_OP_EXPORT_DMABUF_FD:
		return gaudi_mem_op_export(gf->lease, args);
	default:
		return -EINVAL;
	}
}

static const struct drm_ioctl_desc gaudi_ioctls[] = {
	DRM_IOCTL_DEF_DRV(HL_INFO, gaudi_info_ioctl, 0),
	DRM_IOCTL_DEF_DRV(HL_MEMORY, gaudi_mem_ioctl, 0),
	DRM_IOCTL_DEF_DRV(GAUDI_P2P_REVOKE, gaudi_revoke_ioctl, 0),
	DRM_IOCTL_DEF_DRV(GAUDI_P2P_GRANT, gaudi_grant_ioctl, 0),
	DRM_IOCTL_DEF_DRV(GAUDI_P2P_LIST, gaudi_list_ioctl, 0),
};

const struct drm_driver gaudi_drm_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL,
	.open = gaudi_file_open,
	.postclose = gaudi_file_postclose,
	.show_fdinfo = gaudi_file_show_fdinfo,
	.fops = &gaudi_fops,
	.ioctls = gaudi_ioctls,
	.num_ioctls = ARRAY_SIZE(gaudi_ioctls),
	.name = "gaudi_p2p",
	.desc = "Peer-to-peer memory of Gaudi accelerators",
	.major = 1,
	.minor = 0,
};

static int __init gaudi_init(void)
{
	int ret;

	ret = gaudi_virtual_check();
	if (ret)
		return ret;
	/* Not per CPU: a scrub takes seconds. */
	gaudi_wq = alloc_workqueue("gaudi_p2p", WQ_UNBOUND, 0);
	if (!gaudi_wq)
		return -ENOMEM;
	ret = gaudi_owner_register();
	if (ret)
		goto err_wq;
	ret = gaudi_control_register();
	if (ret)
		goto err_owner;
	ret = gaudi_emulated_register();
	if (ret)
		goto err_control;
	/* Nothing may fail once a device can be opened: a load that fails waits for no file. */
	gaudi_virtual_register();
	return 0;

err_control:
	gaudi_control_unregister();
err_owner:
	gaudi_owner_unregister();
err_wq:
	destroy_workqueue(gaudi_wq);
	return ret;
}

/* Runs only when no file, no dma-buf and no fence waiter is left: each holds the module. */
static void __exit gaudi_exit(void)
{
	gaudi_virtual_unregister();
	gaudi_emulated_unregister();
	gaudi_control_unregister();
	gaudi_owner_unregister();
	destroy_workqueue(gaudi_wq);
}

module_init(gaudi_init);
module_exit(gaudi_exit);

MODULE_DESCRIPTION("Gaudi accelerators: device memory for one owner at a time, exported peer-to-peer");
MODULE_LICENSE("GPL");
/* The loader compares it with what is loaded; deploy/host/dkms/dkms.conf says the same. */
MODULE_VERSION("0.1.0");
MODULE_IMPORT_NS("DMA_BUF");
