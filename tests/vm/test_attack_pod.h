/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod in an attack: a process with a network namespace of its own that does what the test
 * tells it, one call after another. What it opens stays open, and it lives until it is stopped.
 */
#ifndef TEST_ATTACK_POD_H
#define TEST_ATTACK_POD_H

#include <stdint.h>
#include <sys/types.h>

#include "card.h"

struct pod {
	pid_t pid;
	int sock;
};

/* Runs in the pod, with up to six numbers; gives one back, negative for -errno. */
typedef long pod_fn(const long *a);

void pod_start(struct pod *pod);
/* Another process in the network namespace of the caller. */
void pod_start_here(struct pod *pod);
long pod_call(struct pod *pod, pod_fn *fn, const long *args);
#define POD(pod, fn, ...) pod_call(pod, fn, (const long[6]){ __VA_ARGS__ })
/* The same in two steps: the pod works while the test goes on. */
void pod_post(struct pod *pod, pod_fn *fn, const long *args);
#define POD_POST(pod, fn, ...) pod_post(pod, fn, (const long[6]){ __VA_ARGS__ })
long pod_wait(struct pod *pod);
/* Hands a file over; give returns its number in the pod, take its number here. */
int pod_give(struct pod *pod, int fd);
int pod_take(struct pod *pod, int fd);
/* From pod to pod; the test keeps nothing. */
int pod_pass(struct pod *from, int fd, struct pod *to);
/* Kills it, and returns when it is gone. */
void pod_stop(struct pod *pod);
/* Kills a process and waits for it. */
void kill_and_wait(pid_t pid);

/* --- what a pod can do ----------------------------------------------------- */
pod_fn pod_open;	/* (card, flags) -> file */
pod_fn pod_close;	/* (file) */
pod_fn pod_alloc;	/* (file, size) -> handle */
pod_fn pod_free;	/* (file, handle) */
pod_fn pod_map;		/* (file, handle) -> address */
pod_fn pod_unmap;	/* (file, address) */
pod_fn pod_export;	/* (file, address, offset, size) -> dma-buf */
pod_fn pod_revoke_all;	/* (file) -> how many */
pod_fn pod_import;	/* (dma-buf, kind, milliseconds of delay) -> peer that has it mapped */
pod_fn pod_import_try;	/* (dma-buf, kind): 0 or why not; lets go again */
pod_fn pod_dma_write;	/* (peer, offset, 8 bytes) */
pod_fn pod_dma_read;	/* (peer, offset) -> 8 bytes as a positive number */
pod_fn pod_peer_unmap;	/* (peer) */
pod_fn pod_mmap;	/* (file, size, prot) -> address */
pod_fn pod_peek;	/* (address) -> byte, or -EFAULT for SIGBUS */
pod_fn pod_fill;	/* (address, size, byte) */
pod_fn pod_unshare_net; /* (): into a new network namespace */

/* Everything a stranger with both files can try; @expected is the answer to all. Fails the test on another. */
void stranger_is_refused(struct pod *pod, int accel, int dmabuf, int expected);

/*
 * A pod with a card of which all is allocated, mapped and exported: whoever gets the card next gets the same memory.
 */
struct victim {
	struct pod pod;
	long fd, handle, va, size, dmabuf;
};
/* @size 0: all of the card. */
void victim_start(struct victim *v, unsigned int card, uint64_t size);
/* The card, once it is free, and nothing left in it; opens by @pod as the next owner. */
void next_owner_finds_nothing(struct pod *pod, unsigned int card);

#endif
