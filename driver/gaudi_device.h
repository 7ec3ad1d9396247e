/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef GAUDI_DEVICE_H
#define GAUDI_DEVICE_H

/*
 * Lock order, outermost first:
 *
 *   1. gaudi_device.lock		state, lease, memory, addresses, list of exports
 *   2. dma-resv of one export		gaudi_export.revoked becomes true; grants; map, pin, vmap and page faults
 *   3. i_mmap_rwsem			taken by unmap_mapping_range() when CPU mappings are zapped
 *   4. gaudi_owner_lock, gaudi_device_list_lock	spinlocks; below them only task_lock(), in the first
 *
 *   mmap_lock comes before the dma-resv (fault handler) and never nests with gaudi_device.lock in either order: nothing
 *   copies from or to user space under gaudi_device.lock, and mmap and fault handlers do not take it.
 *
 *   The callbacks that the dma-buf core calls with the dma-resv held (map, unmap, pin, unpin, vmap, vunmap) must not
 *   take gaudi_device.lock. attach, detach, mmap and release run without the dma-resv; attach, mmap and release take
 *   it, the latter gaudi_device.lock too.
 *
 *   Nobody waits for an importer while holding anything: not in close, exit, remove, nor inside drm_dev_enter(). What
 *   importers still hold is counted (gaudi_device.holds), and who drops the last one starts the worker.
 */

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/dma-direction.h>
#include <linux/dma-fence.h>
#include <linux/gpu_buddy.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_mm.h>

#include "gaudi_state.h"

struct dma_buf;
struct dma_buf_attachment;
struct drm_file;
struct drm_memory_stats;
struct file;
struct hl_info_args;
struct iosys_map;
struct net;
struct p2pdma_provider;
struct pci_dev;
struct phys_vec;
struct pid;
struct seq_file;
struct sg_table;
struct task_struct;
struct vm_area_struct;

/* Granule of allocation, of scrubbing, and of device addresses; INFO reports it as dram_page_size. */
#define GAUDI_PAGE_SIZE		SZ_64K
/* Start of the device's virtual addresses; INFO reports it as dram_base_address. */
#define GAUDI_VA_BASE		BIT_ULL(44)
#define GAUDI_VA_MIN_SIZE	BIT_ULL(40)
/* Addresses of host memory: apart, so that an address says what is behind it. */
#define GAUDI_VA_HOST_BASE	BIT_ULL(50)
#define GAUDI_VA_HOST_SIZE	BIT_ULL(48)
/* Memory is scrubbed in steps of this size; between two of them unplug may come. */
#define GAUDI_SCRUB_CHUNK	SZ_1M
#define GAUDI_REASON_MAX	96

struct gaudi_device;

/**
 * struct gaudi_backend - all that the core knows of a card
 * @type: word for sysfs device_type
 * @name: card name for INFO, at most 15 characters
 * @zero: make @size bytes at device offset @offset zero, and prove that the zeros arrived: 0, or -EIO when they did not
 *	or the card does not answer. Multiples of GAUDI_PAGE_SIZE, at most GAUDI_SCRUB_CHUNK, inside drm_dev_enter().
 * @pfn: page frame of device offset @offset; valid as long as struct gaudi_device lives, also after removal
 */
struct gaudi_backend {
	const char *type;
	const char *name;
	int (*zero)(struct gaudi_device *gdev, u64 offset, size_t size);
	unsigned long (*pfn)(struct gaudi_device *gdev, u64 offset);
};

/* A pod. Embedded in struct gaudi_lease and struct gaudi_grant; constant after init except @net, @dead, @seen. */
struct gaudi_owner {
	struct net *net;	/* weak; NULL once the namespace died; gaudi_owner_lock */
	u64 cgroup;		/* id of the opener's cgroup if @net is the initial namespace, else 0 */
	bool cgroup_root;	/* that cgroup is the root: no export */
	bool grantee;		/* of a grant, not of a lease; set before init */
	bool dead;		/* WRITE_ONCE under gaudi_owner_lock, read without */
	unsigned int net_inum;
	pid_t pid;		/* in the initial pid namespace */
	pid_t seen;		/* a task of the pod when it was last looked for one; gaudi_owner_lock */
	char path[64];		/* of the cgroup, cut off */
	void (*died)(struct gaudi_owner *owner);
	struct list_head node;	/* gaudi_owner_list, gaudi_owner_lock */
};

/*
 * One use of the device by one opener. References: the opener's file, gaudi_device.lease while it lives, every export.
 * A reference keeps the structure, never the device busy.
 */
struct gaudi_lease {
	struct kref ref;
	struct gaudi_device *gdev;	/* no reference: whoever has a lease holds the drm device too */
	struct gaudi_owner owner;
	bool ended;			/* written under gaudi_device.lock, read without */
	ktime_t opened;
	struct xarray allocs;		/* handle -> struct gaudi_alloc; gaudi_device.lock */
	struct xarray maps;		/* va >> PAGE_SHIFT -> struct gaudi_map; gaudi_device.lock */
	struct drm_mm va;		/* gaudi_device.lock */
	struct drm_mm host_va;		/* gaudi_device.lock */
	struct list_head exports;	/* until freed; gaudi_device.lock */
	u64 allocated;
	u64 host_bytes;			/* pinned; gaudi_device.lock */
	struct list_head hostmem_dead;	/* of an ended lease: to be unpinned by @hostmem_work */
	struct work_struct hostmem_work;	/* holds a reference */
};

/* Device memory under a handle. Belongs to its lease; gaudi_device.lock. */
struct gaudi_alloc {
	u32 handle;
	u32 maps;
	bool shared;			/* gaudi_export_stats() */
	bool active;
	u64 size;
	struct list_head blocks;	/* struct gpu_buddy_block, ascending */
};

/* Pinned pages of a process. */
struct gaudi_hostmem {
	struct list_head node;		/* gaudi_lease.hostmem_dead */
	struct list_head chunks;
	struct mm_struct *mm;		/* whose limit they count against; keeps the structure only */
	unsigned long nr_pages;
	unsigned int offset;		/* of the first byte in its page */
};

/* One mapping, of an allocation or of host memory, at a device address. */
struct gaudi_map {
	struct drm_mm_node node;
	struct gaudi_alloc *alloc;	/* NULL: host memory */
	struct gaudi_hostmem *host;	/* NULL: device memory */
	struct list_head exports;	/* made of it, until freed; gaudi_device.lock */
};

/* A piece of device memory inside an export. */
struct gaudi_range {
	u64 start;		/* in the export; ascending, without gaps */
	u64 offset;		/* in device memory */
	u64 len;
};

/*
 * Another pod's right to one export. References: gaudi_export.grants while it lasts, every attachment and CPU mapping
 * that was made under it, the work that ends it. It holds the export.
 */
struct gaudi_grant {
	struct kref ref;
	struct gaudi_export *exp;
	struct gaudi_owner owner;
	struct pid *pid;		/* it was given to last; dma-resv */
	bool ended;			/* dma-resv */
	struct list_head node;		/* gaudi_export.grants; dma-resv */
	struct work_struct work;	/* ends it when its pod has died */
};

/* What the exporter knows of an attachment (dma_buf_attachment.priv). */
struct gaudi_attachment {
	struct gaudi_grant *grant;	/* NULL: the owner's own */
	unsigned int holds;		/* mappings and pins; dma-resv */
	bool pinned;			/* has pinned once; dma-resv */
};

/*
 * A dma-buf. References: the dma-buf itself, the fence waited for after revoke, grants, who waits for its holds. It
 * holds the drm device (memory only) and its lease (memory only).
 */
struct gaudi_export {
	struct kref ref;
	u64 id;				/* never used again */
	struct gaudi_device *gdev;
	struct gaudi_lease *lease;
	struct dma_buf *dmabuf;		/* NULL once released; gaudi_device.lock */
	struct list_head node;		/* gaudi_device.exports, until freed */
	struct list_head lease_node;	/* gaudi_lease.exports, until freed */
	struct list_head map_node;	/* gaudi_map.exports, until that is unmapped; gaudi_device.lock */
	u64 va;				/* of the mapping it was made of: an identity, the mapping may be gone */
	u64 offset;			/* in that mapping */
	u64 size;
	bool revoked;			/* written under gaudi_device.lock and dma-resv */
	atomic_t holds;			/* device mappings, pins, vmaps, fences waited for */
	struct list_head grants;	/* dma-resv */
	unsigned int nr_grants;
	struct page *scratch;		/* what a vmap after revoke shows; dma-resv */
	void *vaddr;			/* of the current vmap; dma-resv */
	bool vmap_holds;		/* the current vmap shows device memory; dma-resv */
	struct dma_fence *fence;	/* waited for after revoke */
	struct file *fence_file;	/* set while there is no memory to wait for the fences */
	struct dma_fence_cb fence_cb;
	struct delayed_work fence_work;
	unsigned long first_taken;	/* bit 0: @first is some attachment's */
	struct gaudi_attachment first;
	unsigned int nr_ranges;
	struct gaudi_range ranges[] __counted_by(nr_ranges);
};

/* Places for importers known to reach a card: GAUDI_PEER_KNOWN | domain << 16 | bus and function. */
#define GAUDI_PEERS_BITS	5
#define GAUDI_PEER_KNOWN	BIT_ULL(63)

struct gaudi_device {
	struct drm_device drm;
	const struct gaudi_backend *backend;
	struct pci_dev *pdev;		/* NULL: no PCI device, no peer-to-peer */
	struct p2pdma_provider *provider;	/* for the map of an export that is not revoked; dma-resv */
	u64 peers[1 << GAUDI_PEERS_BITS];	/* importers whose DMA reaches the card, by hash */
	phys_addr_t phys;		/* of device offset 0, 0 for memory without PCI */
	u64 size;
	unsigned int module_id;
	struct gaudi_control *control;

	struct mutex lock;		/* first in the lock order above */
	enum gaudi_state state;		/* gaudi_lease_event() only: WRITE_ONCE under lock */
	char reason[GAUDI_REASON_MAX];
	struct gaudi_lease *lease;	/* set exactly while state is owned */
	struct list_head exports;	/* of this lease and of former ones, until freed */
	u64 exported;			/* bytes in exports that are not revoked; overlaps count twice */
	struct gpu_buddy buddy;		/* its free memory is known to be zero */
	struct list_head dirty;		/* blocks taken from buddy, to be scrubbed */
	atomic64_t dirty_bytes;
	atomic64_t scrubbed_bytes;	/* since probe, as the three below */
	atomic64_t scrub_ns;		/* spent in the backend's zero() */
	atomic64_t scrubs;		/* times that all that was dirty became zero */
	atomic64_t scrub_failures;	/* steps that could not be proven */
	unsigned int changes;		/* counts what wakes @wait; WRITE_ONCE under lock */
	u64 opens;
	u64 last_open_ms;
	bool fresh;			/* what all memory holds is unknown: after probe, after reset */
	unsigned int resets;		/* counts how often memory became unknown after probe */
	bool resetting;			/* memory must not be touched; WRITE_ONCE under lock */
	bool scrubbing;			/* blocks are on the way from dirty to buddy */

	atomic_t holds;			/* revoked exports that somebody still holds */
	wait_queue_head_t wait;		/* state changed, memory was scrubbed, an export is held no longer */
	struct work_struct work;	/* the worker: gaudi_lease_work() */
	struct work_struct owner_died;	/* ends the lease */
	struct list_head node;		/* gaudi_device_list */
};

/* Of one open file. */
struct gaudi_file {
	struct gaudi_lease *lease;	/* NULL until the open succeeded */
};

static inline struct gaudi_device *to_gaudi_device(struct drm_device *drm)
{
	return container_of(drm, struct gaudi_device, drm);
}

extern const struct drm_driver gaudi_drm_driver;
extern struct workqueue_struct *gaudi_wq;
extern bool gaudi_hold_nonrevocable;
extern unsigned int gaudi_open_wait_s;
extern bool gaudi_cpu_mmap;

/* gaudi_device.c */
struct gaudi_device *gaudi_device_create(struct device *dev, const struct gaudi_backend *backend,
					 size_t backend_size);
int gaudi_device_register(struct gaudi_device *gdev, u64 size);
void gaudi_device_remove(struct gaudi_device *gdev);
void gaudi_device_reset_prepare(struct gaudi_device *gdev, const char *reason);
void gaudi_device_reset_failed(struct gaudi_device *gdev, const char *reason);
void gaudi_device_reset_done(struct gaudi_device *gdev);
bool gaudi_device_is_gone(struct gaudi_device *gdev);
void gaudi_device_kick(struct gaudi_device *gdev);
bool gaudi_device_has_ghost(struct gaudi_device *gdev);

/* gaudi_lease.c */
int gaudi_lease_open(struct gaudi_device *gdev, struct gaudi_file *gf, bool nonblock);
void gaudi_lease_close(struct gaudi_device *gdev, struct gaudi_lease *lease);
void gaudi_lease_end_locked(struct gaudi_device *gdev);
int gaudi_lease_check(struct gaudi_lease *lease);
void gaudi_lease_put(struct gaudi_lease *lease);
void gaudi_lease_event(struct gaudi_device *gdev, enum gaudi_event event, const char *reason);
void gaudi_lease_work(struct work_struct *work);
void gaudi_lease_owner_died_work(struct work_struct *work);
void gaudi_lease_changed(struct gaudi_device *gdev);

/* gaudi_owner.c */
int gaudi_owner_init(struct gaudi_owner *owner, struct task_struct *task, void (*died)(struct gaudi_owner *));
void gaudi_owner_done(struct gaudi_owner *owner);
bool gaudi_owner_is_same(const struct gaudi_owner *a, const struct gaudi_owner *b);
bool gaudi_owner_is_pod(const struct gaudi_owner *owner, const struct net *net, u64 cgroup);
bool gaudi_owner_is_current(const struct gaudi_owner *owner);
bool gaudi_owner_is_idle(struct gaudi_owner *owner);
int gaudi_owner_register(void);
void gaudi_owner_unregister(void);

/* gaudi_mem.c */
int gaudi_mem_init(struct gaudi_device *gdev);
void gaudi_mem_done(struct gaudi_device *gdev);
int gaudi_mem_alloc(struct gaudi_lease *lease, u64 size, bool contiguous, u64 *handle);
int gaudi_mem_free(struct gaudi_lease *lease, u64 handle);
void gaudi_mem_free_all(struct gaudi_lease *lease);
int gaudi_mem_scrub(struct gaudi_device *gdev);

/* gaudi_va.c */
void gaudi_va_init(struct gaudi_lease *lease);
void gaudi_va_done(struct gaudi_lease *lease);
int gaudi_va_map(struct gaudi_lease *lease, u64 handle, u64 hint, bool force, u64 *va);
int gaudi_va_map_host(struct gaudi_lease *lease, u64 addr, u64 size, u64 hint, bool force, u64 *va);
int gaudi_va_unmap(struct gaudi_lease *lease, u64 va);
struct gaudi_map *gaudi_va_find(struct gaudi_lease *lease, u64 va);

/* gaudi_hostmem.c */
struct gaudi_hostmem *gaudi_hostmem_pin(u64 addr, u64 size);
void gaudi_hostmem_unpin(struct gaudi_hostmem *host);
void gaudi_hostmem_init(struct gaudi_lease *lease);
void gaudi_hostmem_end(struct gaudi_lease *lease);
void gaudi_hostmem_flush(struct gaudi_lease *lease);

/* gaudi_export.c */
int gaudi_export_check(u64 va, u64 offset, u64 size, u32 flags, u64 *end);
unsigned int gaudi_export_ranges(struct gaudi_device *gdev, struct gaudi_alloc *alloc, u64 offset, u64 size,
				 struct gaudi_range *ranges);
int gaudi_export_fd(struct gaudi_lease *lease, u64 va, u64 offset, u64 size, u32 flags);
struct gaudi_export *gaudi_export_from_dmabuf(struct dma_buf *dmabuf);
void gaudi_export_put(struct gaudi_export *exp);
void gaudi_hold_get(struct gaudi_export *exp);
void gaudi_hold_put(struct gaudi_export *exp);
bool gaudi_export_busy(struct gaudi_map *map);
void gaudi_export_forget_map(struct gaudi_map *map);
void gaudi_export_stats(struct gaudi_lease *lease, struct drm_memory_stats *stats);

/* gaudi_grant.c */
int gaudi_grant_check(struct gaudi_export *exp, struct gaudi_grant **grant);
void gaudi_grant_get(struct gaudi_grant *grant);
void gaudi_grant_put(struct gaudi_grant *grant);
bool gaudi_grant_is_over(struct gaudi_export *exp, const struct gaudi_grant *grant);
void gaudi_grant_drop_all(struct gaudi_export *exp, struct dma_buf *dmabuf);
int gaudi_grant_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* gaudi_debugfs.c */
void gaudi_debugfs_add(struct gaudi_device *gdev);

/* gaudi_list.c */
u32 gaudi_list_kind(struct dma_buf_attachment *attach);
int gaudi_list_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* gaudi_sgt.c */
struct sg_table *gaudi_sgt_map(struct gaudi_export *exp, struct dma_buf_attachment *attach,
			       enum dma_data_direction dir);
void gaudi_sgt_unmap(struct gaudi_export *exp, struct dma_buf_attachment *attach, struct sg_table *sgt,
		     enum dma_data_direction dir);

/* gaudi_revoke.c */
void gaudi_revoke_lease(struct gaudi_lease *lease);
void gaudi_revoke_fence_work(struct work_struct *work);
int gaudi_revoke_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
void gaudi_revoke_holder(struct gaudi_device *gdev, char *buf, size_t size);

/* gaudi_mmap.c */
int gaudi_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);
int gaudi_vmap(struct dma_buf *dmabuf, struct iosys_map *map);
void gaudi_vunmap(struct dma_buf *dmabuf, struct iosys_map *map);

/* gaudi_info.c */
int gaudi_info(struct gaudi_device *gdev, const struct hl_info_args *args);
int gaudi_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
unsigned int gaudi_info_status(struct gaudi_device *gdev);

/* gaudi_control.c */
int gaudi_control_add(struct gaudi_device *gdev);
void gaudi_control_remove(struct gaudi_device *gdev);
int gaudi_control_register(void);
void gaudi_control_unregister(void);

/* gaudi_sysfs.c */
extern const struct attribute_group gaudi_sysfs_device_group;
extern const struct attribute_group *gaudi_sysfs_class_groups[];
void gaudi_sysfs_uevent(struct gaudi_device *gdev);

/* gaudi_emulated.c, gaudi_virtual.c */
int gaudi_emulated_register(void);
void gaudi_emulated_unregister(void);
int gaudi_virtual_check(void);
void gaudi_virtual_register(void);
void gaudi_virtual_unregister(void);

#endif
