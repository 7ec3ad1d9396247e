/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The weights after a step, in a file of their own:
 * DIR/rank-RRRR-step-SSSSSSSSSSSS.ckpt. Every rank writes, because only it can reach the disk
 * of its node; all have the same bits, so any of them reads anyone's. A file
 * appears whole or not at all, and is believed only if all of it can be checked.
 */
#ifndef RING_ALLREDUCE_CHECKPOINT_H
#define RING_ALLREDUCE_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#define CHECKPOINT_VERSION 1
/* How many each rank keeps: a rank may die after it wrote and before another has. */
#define CHECKPOINT_KEEP 2
/* How many of the newest steps are looked at and told to the others. */
#define CHECKPOINT_OFFER 8
#define CHECKPOINT_WHY_SIZE 160

/* What was computed up to where. */
struct checkpoint {
	uint64_t step;	 /* how many steps were done; 0: the beginning, which needs no file */
	uint64_t digest; /* of the weights */
};

struct checkpoint_set {
	struct checkpoint item[CHECKPOINT_OFFER]; /* newest first, each step once */
	size_t n;
};

/*
 * A file's content, from the bytes and back. config tells computations apart which cannot go on from each
 * other's weights. parse: -EBADMSG (torn or damaged), -EPROTONOSUPPORT (of a
 * version that is not known here), -EXDEV (another computation's), with words in why; weights
 * (count floats) are written only on success and may be NULL.
 */
#define CHECKPOINT_HEADER 64
void checkpoint_header(uint8_t header[CHECKPOINT_HEADER], uint64_t config, uint64_t step,
		       const float *weights, size_t count);
int checkpoint_parse(const uint8_t *bytes, size_t size, uint64_t config, size_t count, struct checkpoint *ret,
		     float *weights, char why[CHECKPOINT_WHY_SIZE]);

/* The digest that checkpoints of these weights have. */
uint64_t checkpoint_digest(const float *weights, size_t count);

/* Writes one and removes what is too much of this rank's own. 0 or -errno. */
int checkpoint_write(int dirfd, unsigned rank, uint64_t config, uint64_t step, const float *weights,
		     size_t count);

/*
 * The newest steps of which there is a good file. Others are passed over, and told once each. Removes what this rank left half-written.
 * 0 or -errno when the folder cannot be read.
 */
int checkpoint_scan(int dirfd, unsigned rank, uint64_t config, size_t count, struct checkpoint_set *ret);

/* Reads the weights of exactly that one. -ENOENT: no good file of it is there (any more). */
int checkpoint_read(int dirfd, uint64_t config, const struct checkpoint *wanted, float *weights,
		    size_t count);

/* Keeps in set what also is in other (the same step with the same digest). */
void checkpoint_set_cut(struct checkpoint_set *set, const struct checkpoint_set *other);

#endif
