/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef EDU_H
#define EDU_H

/*
 * Lock order, outermost first: edu_list_lock, edu_peer.lock, dma-resv of the dma-buf; edu_dev.dma_lock is a leaf.
 * The dma-buf core calls edu_import.c's callbacks with the dma-resv held; they take no lock of ours.
 */

#include <linux/dma-direction.h>
#include <linux/iosys-map.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "edu_peer.h"

struct dma_buf;
struct dma_buf_attachment;
struct dma_fence;
struct edu_peer;
struct pci_dev;
struct sg_table;

/* References: the driver while it is bound, every open file. */
struct edu_dev {
	struct kref ref;
	struct pci_dev *pdev;
	struct miscdevice misc;
	struct list_head peers;	/* open files; edu_list_lock */
	bool gone;		/* written under dma_lock; nobody attaches any more */
	struct mutex dma_lock;	/* all below, which is gone with the device */
	void __iomem *regs;
	void *bounce;
	dma_addr_t bounce_addr;
};

struct edu_segment {
	dma_addr_t addr;
	u64 len;
};

/* One attachment. Lives from edu_import_attach() to edu_import_detach(). */
struct edu_import {
	struct edu_peer *peer;
	struct dma_buf_attachment *attach;
	struct delayed_work late;
	struct work_struct again;
	/* dma-resv of the dma-buf: */
	bool closing;		/* maps no more */
	struct sg_table *sgt;
	struct iosys_map vmap;	/* null: not mapped */
	bool pinned;
	struct dma_fence *fence;
	u32 invalidations;
	u32 refaults;
	int refault_error;
};

/* One open file. */
struct edu_peer {
	struct edu_dev *edu;
	struct list_head node;	/* edu_dev.peers */
	struct mutex lock;	/* attach and detach: dmabuf, imports */
	struct dma_buf *dmabuf;
	u32 kind;
	u32 delay_ms;
	unsigned int nr_imports;
	struct edu_import *imports;
	/* Of imports[0]; dma-resv of dmabuf as long as there is one, then lock: */
	unsigned int nr_segments;
	unsigned int max_segments;
	struct edu_segment *segments;
};

/* edu_device.c */
int edu_copy(struct edu_dev *edu, dma_addr_t addr, void *data, u32 len, bool write);
void edu_put(struct edu_dev *edu);

/* edu_bench.c */
int edu_bench_import(struct edu_peer *peer, void __user *arg);
int edu_bench_fill(struct edu_peer *peer, void __user *arg);

/* edu_file.c */
extern const struct file_operations edu_fops;
void edu_peers_let_go(struct edu_dev *edu);
/* The device that files are opened on, and every list of files. */
extern struct edu_dev *edu_the_one;
extern struct mutex edu_list_lock;

/* edu_import.c */
int edu_import_attach(struct edu_peer *peer, struct edu_import *imp);
void edu_import_detach(struct edu_import *imp);
int edu_import_map_locked(struct edu_import *imp);
void edu_import_unmap_locked(struct edu_import *imp);
void edu_import_signal_locked(struct edu_import *imp);

#endif
