/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuzzer of the driver's interface; runs in the test guest.
 *
 * Processes of several network namespaces (tenants) make random calls on both nodes of both cards, on dma-bufs and on the
 * peer. Most calls are valid, made of what earlier ones returned; some are mutated. Files travel between the processes,
 * which fork, share their table of files, and are killed.
 *
 * What a process does follows from the seed, its number and its life's number; how the processes interleave does not. A
 * seed that failed is worth replaying, and may need a few tries.
 */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FUZZ_WORKERS 6
/* Tenants that grants may be made to; one more never gets any, and so do children that leave their namespace. */
#define FUZZ_TENANTS_GRANTED 2
#define FUZZ_TENANTS 3
#define FUZZ_CARDS 2
#define FUZZ_FILES 32
#define FUZZ_THINGS 24
#define FUZZ_OPS_MAX 40
/* What an op answers when it had nothing to work on; else 0 or a negative errno. */
#define FUZZ_NOTHING 1

struct fuzz_options {
	uint64_t seed;
	uint64_t calls;	      /* how many to make */
	unsigned int seconds; /* and for how long at most; 0: no limit */
};

enum fuzz_kind { FUZZ_ACCEL, FUZZ_CONTROL, FUZZ_DMABUF, FUZZ_PEER, FUZZ_PIDFD };

/* An open file, also as it is passed on with the file itself. */
struct fuzz_file {
	int fd;
	enum fuzz_kind kind;
	uint32_t tenant; /* who opened the device */
	uint32_t lease;	 /* number of that opening */
	uint64_t size;	 /* of a dma-buf */
};

/* A handle, an address of the device, or a mapping into this process. */
struct fuzz_thing {
	uint32_t lease;
	uint32_t tenant;
	uint64_t value;
	uint64_t size;
};

struct fuzz_pool {
	unsigned int n;
	struct fuzz_thing thing[FUZZ_THINGS];
};

/* What all processes see. */
struct fuzz_shared {
	uint64_t seed;
	int node[FUZZ_CARDS]; /* N of accelN */
	atomic_bool stop;
	atomic_ulong calls;
	atomic_uint leases;
	struct {
		atomic_int pid;
		atomic_uint life;
		atomic_ulong calls;
		atomic_uint op; /* the last one that it began */
	} worker[FUZZ_WORKERS];
	struct {
		atomic_ulong tried, done;
	} op[FUZZ_OPS_MAX];
};

/* One process. */
struct fuzz {
	struct fuzz_shared *shared;
	unsigned int worker;
	uint32_t tenant;
	unsigned int depth; /* of forks */
	bool shares_files; /* another process closes and opens in our table: what we know of it may be wrong */
	uint64_t random;
	int (*mailbox)[2]; /* of each worker: it reads from 0 */
	unsigned int nr_files;
	struct fuzz_file file[FUZZ_FILES];
	struct fuzz_pool handles, addresses, views;
};

struct fuzz_op {
	const char *name;
	unsigned int weight;
	int (*run)(struct fuzz *f);
};

/* driver.c: makes the calls and checks what is left. Fails the test. */
void fuzz_driver(const struct fuzz_options *options);
/* A process of its own with everything this one has; it makes that many calls. */
int fuzz_fork(struct fuzz *f, bool share_files, bool leave, unsigned int calls);

/* driver_pool.c */
uint64_t fuzz_random(struct fuzz *f);
/* 0 .. n - 1 */
uint64_t fuzz_below(struct fuzz *f, uint64_t n);
/* True once in n. */
bool fuzz_once_in(struct fuzz *f, uint64_t n);
/* A number that is good for trouble. */
uint64_t fuzz_value(struct fuzz *f);
/* Spoils an argument, sometimes. Returns whether it did. */
bool fuzz_mutate(struct fuzz *f, void *argument, size_t size);
/* Before each call; it counts. */
void fuzz_called(struct fuzz *f);
/* Result or -errno. Fails the test when an accel file served a stranger. */
int fuzz_ioctl(struct fuzz *f, const struct fuzz_file *file, unsigned long cmd, void *argument);
/* Whether the tenant may have got access to what others export. */
bool fuzz_is_stranger(const struct fuzz *f, const struct fuzz_file *file);
struct fuzz_file *fuzz_pick(struct fuzz *f, enum fuzz_kind kind);
unsigned int fuzz_count(const struct fuzz *f, enum fuzz_kind kind);
/* Takes a file over; closes it when there is no room. Returns 0 or -errno. */
int fuzz_keep(struct fuzz *f, struct fuzz_file file);
void fuzz_drop(struct fuzz *f, struct fuzz_file *file);
void fuzz_put(struct fuzz_pool *pool, struct fuzz *f, struct fuzz_thing thing);
struct fuzz_thing *fuzz_get(struct fuzz_pool *pool, struct fuzz *f, const struct fuzz_file *file);
void fuzz_forget(struct fuzz_pool *pool, struct fuzz_thing *thing);

/* driver_memory.c: calls on the nodes of a card */
extern const struct fuzz_op fuzz_memory_ops[];
/* driver_import.c: calls on dma-bufs, mappings and the peer */
extern const struct fuzz_op fuzz_import_ops[];
/* Whether everything that a fresh allocation shows is zero or what its owner wrote. */
int fuzz_view(struct fuzz *f, const struct fuzz_file *dmabuf, bool check);
/* driver_world.c: files and processes */
extern const struct fuzz_op fuzz_world_ops[];

#endif
