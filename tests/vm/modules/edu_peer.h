/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/edu_peer: QEMU's edu device as the peer that imports a dma-buf and does DMA
 * on it. Every open file is one importer, with any number of attachments to one dma-buf.
 *
 * When the edu device is removed its importers let go of everything; files that are still
 * open then answer -ENODEV.
 */
#ifndef EDU_PEER_H
#define EDU_PEER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* How the importer attaches, and what it does when it is told to let go (an invalidation). */
#define EDU_PEER_DYNAMIC 0	    /* unmaps, may map again */
#define EDU_PEER_PINNED_REVOCABLE 1 /* pinned; unmaps and unpins */
#define EDU_PEER_PINNED 2	    /* pinned; cannot be told anything */
#define EDU_PEER_REFAULTING 3	    /* as DYNAMIC, and tries at once to map again */
#define EDU_PEER_KERNEL 4	    /* not the device but the CPU: pins, then vmaps; vunmaps and unpins */
#define EDU_PEER_KERNEL_UNPINNED 5  /* as KERNEL, but vmaps without a pin, as it should not */
#define EDU_PEER_FENCE 6	    /* as DYNAMIC, and with work that a fence announces until EDU_PEER_SIGNAL */
#define EDU_PEER_KINDS 7

/* struct edu_peer_attach.delay_ms: let go only by EDU_PEER_UNMAP, EDU_PEER_DETACH or close. */
#define EDU_PEER_NEVER (~0U)

/* struct edu_peer_attach.count at most */
#define EDU_PEER_ATTACHMENTS 1024

/*
 * The largest DMA that the device does at once. Not its whole buffer of 4096 bytes: QEMU aborts on a DMA that reaches
 * the buffer's last byte.
 */
#define EDU_PEER_DMA_MAX 2048

/**
 * struct edu_peer_attach - attach to a dma-buf
 * @fd: its file
 * @kind: EDU_PEER_DYNAMIC, ...
 * @delay_ms: how long after an invalidation it goes on using its mapping
 * @count: attachments to make; 0 counts as 1. All or none; they are mapped, unmapped and detached together
 */
struct edu_peer_attach {
	__s32 fd;
	__u32 kind;
	__u32 delay_ms;
	__u32 count;
};

/**
 * struct edu_peer_dma - DMA between the caller's memory and the buffer, through the device
 * @offset: inside the buffer
 * @data: user address of @len bytes
 * @len: 1 to EDU_PEER_DMA_MAX
 * @write: 1: into the buffer, 0: out of it
 *
 * Uses the addresses of the first attachment's last mapping, whether that still exists or not: that is how
 * a test reaches for memory that was taken from it. The KERNEL kinds copy by CPU, and answer -ENXIO without a vmap.
 */
struct edu_peer_dma {
	__u64 offset;
	__u64 data;
	__u32 len;
	__u32 write;
};

/**
 * struct edu_peer_state - sums over all attachments
 * @attached: attachments
 * @mapped: mappings, for the device or by vmap
 * @pinned: pins
 * @invalidations: calls of invalidate_mappings
 * @dma_address: of the first attachment's last mapping, 0: never mapped
 * @size: of the dma-buf, 0: not attached
 * @fences: that are not signaled
 * @segments: of the first attachment's last mapping
 * @refaults: how often REFAULTING mapped again after an invalidation
 * @refault_error: why it last could not (negative), 0: never failed
 */
struct edu_peer_state {
	__u32 attached;
	__u32 mapped;
	__u32 pinned;
	__u32 invalidations;
	__u64 dma_address;
	__u64 size;
	__u32 fences;
	__u32 segments;
	__u32 refaults;
	__s32 refault_error;
};

/* struct edu_peer_bench at most */
#define EDU_PEER_BENCH_FILES 32
#define EDU_PEER_BENCH_ROUNDS 10000

/**
 * struct edu_peer_bench - how long it takes to attach, map, unmap and detach, as a DYNAMIC importer
 * @files: how many of @fd
 * @rounds: how often
 * @ns: out, for all of it
 * @fd: dma-bufs; each round goes through all of them
 */
struct edu_peer_bench {
	__u32 files;
	__u32 rounds;
	__u64 ns;
	__s32 fd[EDU_PEER_BENCH_FILES];
};

#define EDU_PEER_ATTACH _IOW('E', 0, struct edu_peer_attach)
#define EDU_PEER_MAP _IO('E', 1)
#define EDU_PEER_UNMAP _IO('E', 2)
#define EDU_PEER_DETACH _IO('E', 3)
#define EDU_PEER_DMA _IOW('E', 4, struct edu_peer_dma)
#define EDU_PEER_STATE _IOR('E', 5, struct edu_peer_state)
/* The work that was announced is done. */
#define EDU_PEER_SIGNAL _IO('E', 6)
/* Sits on the dma-resv of the dma-buf for so many milliseconds, as an importer should not. */
#define EDU_PEER_SIT _IOW('E', 7, __u32)
#define EDU_PEER_BENCH _IOWR('E', 8, struct edu_peer_bench)
/* Nanoseconds that it takes to fill all of the dma-buf through the vmap of a KERNEL importer. */
#define EDU_PEER_FILL _IOR('E', 9, __u64)

#endif
