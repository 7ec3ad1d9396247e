/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/edu_peer: QEMU's edu device as the peer that imports a dma-buf and does DMA
 * on it. Every open file is one importer with at most one attachment.
 */
#ifndef EDU_PEER_H
#define EDU_PEER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* How the importer attaches; what the exporter can demand of it. */
#define EDU_PEER_DYNAMIC 0	    /* unmaps when told to, may map again */
#define EDU_PEER_PINNED_REVOCABLE 1 /* pins; unmaps and unpins when told to */
#define EDU_PEER_PINNED 2	    /* pins; cannot be told anything */

/* struct edu_peer_attach.delay_ms: unmap only by EDU_PEER_UNMAP, EDU_PEER_DETACH or close. */
#define EDU_PEER_NEVER (~0U)

/*
 * The largest DMA that the device does at once. Not its whole buffer of 4096 bytes: QEMU aborts on a DMA that reaches the
 * buffer's last byte.
 */
#define EDU_PEER_DMA_MAX 2048

/**
 * struct edu_peer_attach - attach to a dma-buf
 * @fd: its file
 * @kind: EDU_PEER_DYNAMIC, ...
 * @delay_ms: how long after an invalidation it goes on using its mapping
 * @pad: 0
 */
struct edu_peer_attach {
	__s32 fd;
	__u32 kind;
	__u32 delay_ms;
	__u32 pad;
};

/**
 * struct edu_peer_dma - DMA between the caller's memory and the buffer, through the device
 * @offset: inside the buffer
 * @data: user address of @len bytes
 * @len: 1 to EDU_PEER_DMA_MAX
 * @write: 1: into the buffer, 0: out of it
 *
 * Uses the address of the last mapping, whether that still exists or not: that is how
 * a test reaches for memory that was taken from it.
 */
struct edu_peer_dma {
	__u64 offset;
	__u64 data;
	__u32 len;
	__u32 write;
};

struct edu_peer_state {
	__u32 attached;
	__u32 mapped;
	__u32 pinned;
	__u32 invalidations;
	__u64 dma_address; /* of the last mapping, 0: never mapped */
	__u64 size;
};

#define EDU_PEER_ATTACH _IOW('E', 0, struct edu_peer_attach)
#define EDU_PEER_MAP _IO('E', 1)
#define EDU_PEER_UNMAP _IO('E', 2)
#define EDU_PEER_DETACH _IO('E', 3)
#define EDU_PEER_DMA _IOW('E', 4, struct edu_peer_dma)
#define EDU_PEER_STATE _IOR('E', 5, struct edu_peer_state)

#endif
