// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host memory that a program maps for the device (HL_MEM_USERPTR): its pages are pinned, counted, and get an address.
 *
 * No DMA mapping is made of them. Neither backend has an engine that could read or write host memory, and an IOMMU
 * entry that nothing uses would be one more thing to take back in time. A backend with engines makes one between pin
 * and address, and ends it before unpin. For the same reason the pages are not marked dirty when they are let go.
 *
 * Pages are let go outside all locks. They hang on nothing but their mapping: neither an importer of device memory nor
 * a dma-buf in a stranger's hands keeps them pinned.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "gaudi_device.h"

/*
 * Page pointers come in pieces of a page, so that no size asks for a big allocation before the memory is seen to exist.
 */
struct gaudi_hostmem_chunk {
	struct list_head node;
	unsigned int nr;
	struct page *pages[];
};

#define GAUDI_HOSTMEM_CHUNK \
	((PAGE_SIZE - sizeof(struct gaudi_hostmem_chunk)) / sizeof(struct page *))

/* The limit counts per address space, as for RDMA: what this one pinned elsewhere counts too. */
static int gaudi_hostmem_charge(struct mm_struct *mm, unsigned long nr_pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic64_add_return(nr_pages, &mm->pinned_vm) <= limit || capable(CAP_IPC_LOCK))
		return 0;
	atomic64_sub(nr_pages, &mm->pinned_vm);
	return -ENOMEM;
}

static int gaudi_hostmem_pin_chunk(struct gaudi_hostmem *host, unsigned long start, unsigned long nr)
{
	struct gaudi_hostmem_chunk *chunk;
	int ret;

	chunk = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return -ENOMEM;
	nr = min(nr, GAUDI_HOSTMEM_CHUNK);
	ret = pin_user_pages_fast(start, nr, FOLL_WRITE | FOLL_LONGTERM, chunk->pages);
	if (ret <= 0) {
		kfree(chunk);
		return ret ?: -EFAULT;
	}
	chunk->nr = ret;
	list_add_tail(&chunk->node, &host->chunks);
	return ret;
}

/* Let go of what was pinned, all or the part that there is. Sleeps. */
void gaudi_hostmem_unpin(struct gaudi_hostmem *host)
{
	struct gaudi_hostmem_chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, &host->chunks, node) {
		unpin_user_pages(chunk->pages, chunk->nr);
		kfree(chunk);
		cond_resched();
	}
	/* The address space may have ended long ago; its structure has not. */
	atomic64_sub(host->nr_pages, &host->mm->pinned_vm);
	mmdrop(host->mm);
	kfree(host);
}

/**
 * gaudi_hostmem_pin - pin memory of the calling process
 * @addr: where it begins; need not be aligned
 * @size: bytes
 *
 * Returns it, or an error pointer: -EINVAL (size 0, addr + size overflows), -ENOMEM (more than RLIMIT_MEMLOCK without
 * CAP_IPC_LOCK, or no memory), -EFAULT (not mapped, not writable, or page frames without struct pages, such as the
 * mmap of a dma-buf).
 */
struct gaudi_hostmem *gaudi_hostmem_pin(u64 addr, u64 size)
{
	struct gaudi_hostmem *host;
	unsigned long start, left;
	u64 end;
	int ret;

	if (!size || check_add_overflow(addr, size, &end) || end > ULONG_MAX - PAGE_SIZE)
		return ERR_PTR(-EINVAL);
	start = addr & PAGE_MASK;
	left = (PAGE_ALIGN(end) - start) >> PAGE_SHIFT;

	host = kzalloc_obj(*host, GFP_KERNEL_ACCOUNT);
	if (!host)
		return ERR_PTR(-ENOMEM);
	ret = gaudi_hostmem_charge(current->mm, left);
	if (ret) {
		kfree(host);
		return ERR_PTR(ret);
	}
	INIT_LIST_HEAD(&host->chunks);
	host->nr_pages = left;
	host->offset = addr & ~PAGE_MASK;
	host->mm = current->mm;
	mmgrab(host->mm);

	while (left) {
		ret = fatal_signal_pending(current) ? -EINTR : gaudi_hostmem_pin_chunk(host, start, left);
		if (ret < 0) {
			gaudi_hostmem_unpin(host);
			return ERR_PTR(ret);
		}
		start += (unsigned long)ret << PAGE_SHIFT;
		left -= ret;
		cond_resched();
	}
	return host;
}

static void gaudi_hostmem_work(struct work_struct *work)
{
	struct gaudi_lease *lease = container_of(work, struct gaudi_lease, hostmem_work);
	struct gaudi_hostmem *host, *next;

	list_for_each_entry_safe(host, next, &lease->hostmem_dead, node)
		gaudi_hostmem_unpin(host);
	gaudi_lease_put(lease);
}

void gaudi_hostmem_init(struct gaudi_lease *lease)
{
	INIT_LIST_HEAD(&lease->hostmem_dead);
	INIT_WORK(&lease->hostmem_work, gaudi_hostmem_work);
}

/* The lease has ended, and lease->hostmem_dead is complete; gdev->lock held. A worker lets go. */
void gaudi_hostmem_end(struct gaudi_lease *lease)
{
	lockdep_assert_held(&lease->gdev->lock);
	if (list_empty(&lease->hostmem_dead))
		return;
	kref_get(&lease->ref);
	queue_work(gaudi_wq, &lease->hostmem_work);
}

/* After the last close: a program that opens and maps again shall not meet its own old pages in its limit. */
void gaudi_hostmem_flush(struct gaudi_lease *lease)
{
	flush_work(&lease->hostmem_work);
}
