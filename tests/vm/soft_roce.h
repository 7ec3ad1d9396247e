/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of Soft-RoCE's dma-buf import: two processes, each in a network
 * namespace with a card and an RDMA device of its own, steered by a third.
 *
 * The steering process forks the sides and has them run functions by address.
 * Every such function gets up to eight numbers and gives one back, negative
 * for -errno, and up to four more in ret.
 */
#ifndef SOFT_ROCE_H
#define SOFT_ROCE_H

#include <infiniband/verbs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SIDE_BUFFERS 8
#define SIDE_REGIONS 512
#define SIDE_QPS 4

/* Memory that can be registered; size 0: unused. */
struct buffer {
	int kind;
	int fd;	      /* dma-buf, or -1 */
	uint8_t *map; /* CPU view, or NULL */
	size_t size;
	uint64_t va; /* device address (Gaudi) */
	uint64_t handle;
};

/* What a side owns. */
struct world {
	int card;
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_gid_entry gid;
	struct buffer buffer[SIDE_BUFFERS];
	struct ibv_mr *mr[SIDE_REGIONS];
	struct ibv_qp *qp[SIDE_QPS];
};

typedef long side_fn(struct world *w, const long *a, long *ret);

struct side {
	const char *netns;
	const char *rdma;
	unsigned int card; /* as card.h counts them: its node may be any */
	pid_t pid;
	int fd;
	long ret[4];	       /* of the last call */
	_Atomic long *traffic; /* how much of do_traffic is done; shared with the process */
};

extern struct side side_a, side_b;

/* Starts the process of a side in its namespace, with its RDMA device open. 0 or -errno. */
int side_start(struct side *s);
/* Ends it, with SIGKILL, and waits for it. */
void side_stop(struct side *s);
/* Has the side run fn; -EPIPE when the process is gone. The other two: without waiting, and the wait. */
long side_call(struct side *s, side_fn *fn, const long *args);
long side_post(struct side *s, side_fn *fn, const long *args);
long side_wait(struct side *s);
#define POST(s, fn, ...) side_post(s, fn, (const long[8]){ __VA_ARGS__ })
#define CALL(s, fn, ...) side_call(s, fn, (const long[8]){ __VA_ARGS__ })

enum {
	BUFFER_HOST,	/* anonymous memory, no dma-buf */
	BUFFER_UDMABUF, /* system memory behind a dma-buf */
	BUFFER_GAUDI,	/* device memory of the side's card */
};

/* card.c; numbers in and out as in the comments */
side_fn do_card_open;	  /* () of the side's accel node */
side_fn do_card_close;	  /* () */
side_fn do_buffer_new;	  /* (kind, size, flags of the dma-buf file) -> index */
side_fn do_buffer_free;	  /* (index): unmaps, closes; device memory stays allocated */
side_fn do_buffer_fill;	  /* (index, offset, length, seed) */
side_fn do_buffer_check;  /* (index, offset, length, seed) -> bytes that differ */
side_fn do_buffer_peek;	  /* (index, offset of 8 bytes); ret: the bytes */
side_fn do_buffer_poke;	  /* (index, offset, 8 bytes) */
side_fn do_buffer_revoke; /* (index): the exporter takes it back; ret: revoked, held */
side_fn do_buffer_grant;  /* (index, process, 1: take back): to its pod; ret: held */
side_fn do_buffer_fd;	  /* (index) -> descriptor */
side_fn do_steal_fd;	  /* (process, descriptor of it) -> descriptor of ours */

/* attack.c */
side_fn do_reg_plain;	/* (buffer): by address, as memory of the program */
side_fn do_uverbs_away; /* () -> a socket in which a socket is, in which the RDMA device's file is */
side_fn do_uverbs_fd;	/* () -> descriptor; ret: protection domain */
side_fn do_reg_stolen;	/* (descriptor, protection domain, dma-buf): with another's RDMA device */

/* verbs.c */
side_fn do_open;       /* (): the side's RDMA device */
side_fn do_reg;	       /* (buffer, offset, length, iova, access) -> index; ret: lkey, rkey */
side_fn do_reg_fd;     /* (fd, offset, length, iova, access) -> index; ret as above */
side_fn do_dereg;      /* (index) */
side_fn do_rereg;      /* (index, access) */
side_fn do_advise;     /* (index, offset, length, flags) */
side_fn do_race;       /* (buffer, nanoseconds): revokes it while it is being registered; ret: errno, held */
side_fn do_qp_new;     /* (index) -> number; ret: gid as two halves */
side_fn do_qp_connect; /* (index, number, gid, gid) */
side_fn do_qp_free;    /* (index) */
side_fn do_send;       /* (qp, opcode, address, length, lkey, remote address, rkey, operand) */
side_fn do_recv;       /* (qp, address, length, lkey) */
side_fn do_poll;       /* (milliseconds) -> work completion status; ret: opcode, bytes */
side_fn do_traffic;    /* as do_send, repeated until it fails or 120 s -> status; counts in side.traffic */

const char *status_name(long status);

/* Which side this process is; NULL in the steering one. */
extern const struct side *this_side;

/* --- net.c ------------------------------------------------------------------- */
/* New namespaces and links for both sides, whatever there was before. Fails the test. */
void net_up(void);
/* The same on the machine's NICs. */
void net_up_nics(void);
side_fn do_unsent; /* () -> bytes that the side's NIC was given and has not said to be sent */
/* A program of /usr/bin, words separated by single blanks: its exit status, or -errno. */
int net_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same in two steps and without its output. */
pid_t net_spawn(const char *format, ...) __attribute__((format(printf, 1, 2)));
int net_wait(pid_t pid);

#endif
