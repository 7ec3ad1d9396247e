// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes every allocation of a kernel with FAILSLAB and FAIL_PAGE_ALLOC one that fail-nth counts, for tests only. By
 * themselves both leave out what may wait for memory, which is nearly everything. Their knobs are in debugfs, if the
 * kernel has CONFIG_FAULT_INJECTION_DEBUG_FS; this does without: the test writes the addresses of the two structures,
 * from /proc/kallsyms, into the parameters.
 *
 * One place of DRM is shielded: when drm_sysfs_minor_alloc() finds no memory, drm_minor_alloc_release() gives the error
 * pointer back as if it were a device, and the kernel dies of it (seen in Linux 7.3). No driver can help it.
 */
#include <linux/fault-inject.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/stacktrace.h>
#include <linux/string.h>

#include <trace/events/kmem.h>

#define FAULT_KNOBS_DEPTH	16

/* Who is in the shielded place now, and the count to go on with. One test runs at a time, in one thread. */
static struct task_struct *fault_knobs_shielded;
static unsigned int fault_knobs_nth;

/* As in mm/failslab.c and mm/fail_page_alloc.c of Linux 7.3, where they have no name. */
struct fault_knobs_slab {
	struct fault_attr attr;
	bool ignore_gfp_reclaim;
	bool cache_filter;
};

struct fault_knobs_page {
	struct fault_attr attr;
	bool ignore_gfp_highmem;
	bool ignore_gfp_reclaim;
	u32 min_order;
};

/* Whether the structure begins as one that nobody has touched yet. */
static bool fault_knobs_is_attr(const struct fault_attr *attr)
{
	return attr->interval == 1 && attr->require_end == ULONG_MAX && attr->stacktrace_depth == 32 &&
	       attr->verbose <= 2;
}

static int fault_knobs_slab_set(const char *val, const struct kernel_param *kp)
{
	struct fault_knobs_slab *slab;
	unsigned long address;
	int ret = kstrtoul(val, 16, &address);

	if (ret)
		return ret;
	slab = (struct fault_knobs_slab *)address;
	if (!fault_knobs_is_attr(&slab->attr) || slab->cache_filter)
		return -EINVAL;
	slab->attr.verbose = 0;
	slab->ignore_gfp_reclaim = false;
	return 0;
}

static int fault_knobs_page_set(const char *val, const struct kernel_param *kp)
{
	struct fault_knobs_page *page;
	unsigned long address;
	int ret = kstrtoul(val, 16, &address);

	if (ret)
		return ret;
	page = (struct fault_knobs_page *)address;
	if (!fault_knobs_is_attr(&page->attr) || page->min_order > 1)
		return -EINVAL;
	page->attr.verbose = 0;
	page->ignore_gfp_highmem = false;
	page->ignore_gfp_reclaim = false;
	page->min_order = 0;
	return 0;
}

static const struct kernel_param_ops fault_knobs_slab_ops = { .set = fault_knobs_slab_set };
static const struct kernel_param_ops fault_knobs_page_ops = { .set = fault_knobs_page_set };

/* Whether both functions are on the way to here. */
static bool fault_knobs_is_inside(const char *outer, const char *inner)
{
	unsigned long entries[FAULT_KNOBS_DEPTH];
	bool outside = false, inside = false;
	unsigned int i, n;
	char name[64];

	n = stack_trace_save(entries, FAULT_KNOBS_DEPTH, 0);
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%ps", (void *)entries[i]);
		outside |= str_has_prefix(name, outer) > 0;
		inside |= str_has_prefix(name, inner) > 0;
	}
	return outside && inside;
}

/* From the allocation of a minor to that of its device's name nothing is made to fail. */
static void fault_knobs_kmalloc(void *data, unsigned long call_site, const void *ptr, size_t bytes_req,
				size_t bytes_alloc, gfp_t gfp_flags, int node)
{
	if (!in_task())
		return;
	if (fault_knobs_shielded == current) {
		if (fault_knobs_is_inside("drm_sysfs_minor_alloc", "kvasprintf")) {
			fault_knobs_shielded = NULL;
			current->fail_nth = fault_knobs_nth;
		}
	} else if (current->fail_nth && fault_knobs_is_inside("drm_dev_init", "drmm_kmalloc") &&
		   !fault_knobs_is_inside("drm_dev_init", "drmm_kstrdup")) {
		fault_knobs_shielded = current;
		fault_knobs_nth = current->fail_nth;
		current->fail_nth = 0;
	}
}

static int __init fault_knobs_init(void)
{
	return register_trace_kmalloc(fault_knobs_kmalloc, NULL);
}

static void __exit fault_knobs_exit(void)
{
	unregister_trace_kmalloc(fault_knobs_kmalloc, NULL);
	tracepoint_synchronize_unregister();
}

module_init(fault_knobs_init);
module_exit(fault_knobs_exit);

module_param_cb(slab, &fault_knobs_slab_ops, NULL, 0200);
MODULE_PARM_DESC(slab, "address of failslab");
module_param_cb(page, &fault_knobs_page_ops, NULL, 0200);
MODULE_PARM_DESC(page, "address of fail_page_alloc");

MODULE_DESCRIPTION("Lets every allocation be made to fail, for tests");
MODULE_LICENSE("GPL");
