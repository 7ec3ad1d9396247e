// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU's views of an export: mmap for programs, vmap for the kernel.
 *
 * User mappings hold page frames only (VM_PFNMAP). With struct pages any driver could pin them by get_user_pages(),
 * past attach and past revoke. They are filled by faults only: a mapping made inside mmap could be missed by a revoke
 * that runs before the kernel knows the new vma by its file.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "gaudi_device.h"

/* Pages that one fault fills, aligned. */
#define GAUDI_FAULT_AROUND	(SZ_2M >> PAGE_SHIFT)

static unsigned long gaudi_mmap_pfn(struct gaudi_export *exp, u64 offset)
{
	unsigned int lo = 0, hi = exp->nr_ranges;

	/* The last range that starts at or before @offset. */
	while (hi - lo > 1) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (exp->ranges[mid].start <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return exp->gdev->backend->pfn(exp->gdev, exp->ranges[lo].offset + (offset - exp->ranges[lo].start));
}

static vm_fault_t gaudi_mmap_insert(struct vm_area_struct *vma, struct gaudi_export *exp, pgoff_t pgoff)
{
	unsigned long addr = vma->vm_start + ((pgoff - vma->vm_pgoff) << PAGE_SHIFT);

	return vmf_insert_pfn(vma, addr, gaudi_mmap_pfn(exp, (u64)pgoff << PAGE_SHIFT));
}

/* Access as the owner (@grant NULL) or under a grant. */
static vm_fault_t gaudi_mmap_fill(struct vm_fault *vmf, struct gaudi_export *exp, struct gaudi_grant *grant)
{
	struct vm_area_struct *vma = vmf->vma;
	struct dma_resv *resv = exp->dmabuf->resv;
	pgoff_t first, last, i;
	vm_fault_t ret;

	if (vmf->pgoff >= exp->size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	first = max(round_down(vmf->pgoff, GAUDI_FAULT_AROUND), vma->vm_pgoff);
	last = min(round_down(vmf->pgoff, GAUDI_FAULT_AROUND) + GAUDI_FAULT_AROUND,
		   vma->vm_pgoff + vma_pages(vma));
	last = min(last, exp->size >> PAGE_SHIFT);

	dma_resv_lock(resv, NULL);
	ret = VM_FAULT_SIGBUS;
	if (!gaudi_grant_is_over(exp, grant)) {
		ret = gaudi_mmap_insert(vma, exp, vmf->pgoff);
		for (i = first; ret == VM_FAULT_NOPAGE && i < last; i++)
			if (i != vmf->pgoff && gaudi_mmap_insert(vma, exp, i) != VM_FAULT_NOPAGE)
				break;
	}
	dma_resv_unlock(resv);
	return ret;
}

static vm_fault_t gaudi_mmap_fault(struct vm_fault *vmf)
{
	return gaudi_mmap_fill(vmf, vmf->vma->vm_private_data, NULL);
}

static const struct vm_operations_struct gaudi_mmap_ops = {
	.fault = gaudi_mmap_fault,
};

/* Mappings made under a grant keep it, wherever fork, split and mremap take them. */
static void gaudi_mmap_grant_open(struct vm_area_struct *vma)
{
	gaudi_grant_get(vma->vm_private_data);
}

static void gaudi_mmap_grant_close(struct vm_area_struct *vma)
{
	gaudi_grant_put(vma->vm_private_data);
}

static vm_fault_t gaudi_mmap_grant_fault(struct vm_fault *vmf)
{
	struct gaudi_grant *grant = vmf->vma->vm_private_data;

	return gaudi_mmap_fill(vmf, grant->exp, grant);
}

static const struct vm_operations_struct gaudi_mmap_grant_ops = {
	.open = gaudi_mmap_grant_open,
	.close = gaudi_mmap_grant_close,
	.fault = gaudi_mmap_grant_fault,
};

static int gaudi_mmap_check(struct gaudi_export *exp, struct vm_area_struct *vma)
{
	unsigned long end;

	if (READ_ONCE(exp->revoked))
		return -ENODEV;
	if (check_add_overflow(vma->vm_pgoff, vma_pages(vma), &end) || end > exp->size >> PAGE_SHIFT)
		return -EINVAL;
	/* Copy-on-write of page frames is not possible. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* Other drivers hand their own files' mappings on to here; what counts is the mode of ours. */
	if (!(exp->dmabuf->file->f_mode & FMODE_WRITE)) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	return 0;
}

/* Called by the dma-buf core with mmap_lock held, in the mapping task. */
int gaudi_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct gaudi_export *exp = dmabuf->priv;
	struct gaudi_grant *grant;
	int ret;

	if (!READ_ONCE(gaudi_cpu_mmap))
		return -EACCES;
	ret = gaudi_grant_check(exp, &grant);
	if (ret)
		return ret;
	ret = gaudi_mmap_check(exp, vma);
	if (ret) {
		gaudi_grant_put(grant);
		return ret;
	}

	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	if (exp->gdev->pdev)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	if (grant) {
		vma->vm_private_data = grant;
		vma->vm_ops = &gaudi_mmap_grant_ops;
	} else {
		vma->vm_private_data = exp;
		vma->vm_ops = &gaudi_mmap_ops;
	}
	return 0;
}

static void *gaudi_vmap_pages(struct gaudi_export *exp)
{
	unsigned int n = exp->size >> PAGE_SHIFT;
	struct page **pages;
	unsigned int i;
	void *vaddr;

	pages = kvmalloc_objs(*pages, n);
	if (!pages)
		return NULL;
	for (i = 0; i < n; i++)
		pages[i] = exp->scratch ?: pfn_to_page(gaudi_mmap_pfn(exp, (u64)i << PAGE_SHIFT));
	vaddr = vmap(pages, n, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	return vaddr;
}

static void *gaudi_vmap_frames(struct gaudi_export *exp)
{
#if IS_ENABLED(CONFIG_VMAP_PFN)
	unsigned int n = exp->size >> PAGE_SHIFT;
	unsigned long *pfns;
	unsigned int i;
	void *vaddr;

	pfns = kvmalloc_objs(*pfns, n);
	if (!pfns)
		return NULL;
	for (i = 0; i < n; i++)
		pfns[i] = gaudi_mmap_pfn(exp, (u64)i << PAGE_SHIFT);
	vaddr = vmap_pfn(pfns, n, pgprot_writecombine(pgprot_decrypted(PAGE_KERNEL)));
	kvfree(pfns);
	return vaddr;
#else
	return NULL;	/* gaudi_export_admits() has refused who would come here */
#endif
}

/*
 * The core hands one mapping to all importers and does not say which of them asks, so this is decided for all of them:
 * at least one must be attached that may still reach the memory. Who pins first, as he should, is asked there.
 */
static bool gaudi_vmap_allowed(struct gaudi_export *exp)
{
	struct dma_buf_attachment *attach;

	list_for_each_entry(attach, &exp->dmabuf->attachments, node) {
		const struct gaudi_attachment *att = attach->priv;

		if (!gaudi_grant_is_over(exp, att->grant))
			return true;
	}
	return false;
}

/*
 * After revoke, a caller that did not pin first gets a page of nothing, over and over: the core warns when vmap fails,
 * and a program must not be able to provoke that.
 */
static void *gaudi_vmap_scratch(struct gaudi_export *exp)
{
	void *vaddr;

	exp->scratch = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!exp->scratch)
		return NULL;
	vaddr = gaudi_vmap_pages(exp);
	if (!vaddr) {
		__free_page(exp->scratch);
		exp->scratch = NULL;
	}
	return vaddr;
}

/* The mapping is the export's own and stays valid after the device was removed. */
int gaudi_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct gaudi_export *exp = dmabuf->priv;
	struct gaudi_device *gdev = exp->gdev;
	bool iomem = false;

	dma_resv_assert_held(dmabuf->resv);
	if (!gaudi_vmap_allowed(exp)) {
		exp->vaddr = gaudi_vmap_scratch(exp);
	} else if (!gdev->pdev) {
		exp->vaddr = gaudi_vmap_pages(exp);
	} else if (exp->nr_ranges == 1) {
		exp->vaddr = (__force void *)ioremap_wc(gdev->phys + exp->ranges[0].offset, exp->size);
		iomem = true;
	} else {
		exp->vaddr = gaudi_vmap_frames(exp);
		iomem = true;
	}
	if (!exp->vaddr)
		return -ENOMEM;

	if (!exp->scratch) {
		exp->vmap_holds = true;
		gaudi_hold_get(exp);
	}
	if (iomem)
		iosys_map_set_vaddr_iomem(map, (__force void __iomem *)exp->vaddr);
	else
		iosys_map_set_vaddr(map, exp->vaddr);
	return 0;
}

void gaudi_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct gaudi_export *exp = dmabuf->priv;

	dma_resv_assert_held(dmabuf->resv);
	if (map->is_iomem && exp->nr_ranges == 1)
		iounmap(map->vaddr_iomem);
	else
		vunmap(exp->vaddr);
	exp->vaddr = NULL;
	if (exp->scratch) {
		__free_page(exp->scratch);
		exp->scratch = NULL;
	}
	if (exp->vmap_holds) {
		exp->vmap_holds = false;
		gaudi_hold_put(exp);
	}
}
