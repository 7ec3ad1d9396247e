/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `p2p-copy serve` holds: its Gaudi, its NIC, named pieces of device
 * memory, named connections, and descriptors that peers sent.
 */
#ifndef P2P_COPY_STATE_H
#define P2P_COPY_STATE_H

#include "p2p/p2p.h"
#include "p2p/rc.h"
#include "lines/words.h"

#define NAME_SIZE 32
#define SLOTS 32
#define LINKS 8
#define HELD 16

/* A piece of device memory. mem is NULL after the Gaudi was closed; the rest then lives on, dead. */
struct slot {
	char name[NAME_SIZE]; /* "" when unused */
	struct p2p_memory *mem;
	int dmabuf; /* -EBADF when not exported */
	void *map;
	uint64_t size;
	uint64_t iova; /* the address by which the region is known to NICs */
	struct ibv_mr *mr;
};

struct link {
	char name[NAME_SIZE];
	struct rc *rc;
};

/* A descriptor from another process. Never trusted to be what its sender says. */
struct held {
	char name[NAME_SIZE];
	int fd;
};

/* Reading through somebody's rkey again and again, in the background. */
struct watch {
	bool active;
	bool posted;
	struct rc *rc;
	struct slot *into;
	struct rc_transfer transfer;
	uint64_t seed;
	uint64_t reads;	   /* that succeeded */
	uint64_t matching; /* of these, those that brought the pattern */
	bool failed;
	enum ibv_wc_status status;
	double last_read; /* when the last read succeeded, monotonic clock */
	double failed_at; /* when the failure was seen */
	bool leaked;	  /* the read that failed brought bytes nevertheless */
};

struct state {
	struct p2p_pair pair;
	struct p2p_device *dev;
	struct p2p_nic *nic;
	struct slot slot[SLOTS];
	struct link link[LINKS];
	struct held held[HELD];
	struct watch watch;
	bool quit;
};

void state_init(struct state *s);
void state_done(struct state *s);

/* NULL when there is none of that name. */
struct slot *state_slot(struct state *s, const char *name);
struct link *state_link(struct state *s, const char *name);
struct held *state_held(struct state *s, const char *name);
/* An unused one that now bears the name; NULL when all are used or the name is taken. */
struct slot *state_slot_new(struct state *s, const char *name);
struct link *state_link_new(struct state *s, const char *name);
struct held *state_held_new(struct state *s, const char *name);

/* Releases all of a slot that can be released: region, mapping, descriptor, memory. The first error, or 0. */
int slot_drop(struct slot *slot);

/*
 * A command: reads w, acts, writes "ok ..." or fails by reply_fail(). fd is
 * the descriptor that came with the line, or -EBADF; a command that keeps it
 * sets it to -EBADF.
 */
typedef int command_fn(struct state *s, const struct words *w, int *fd, struct reply *reply);

struct command {
	const char *verb;
	const char *arguments;
	const char *help;
	command_fn *run;
};

/* Ends with an entry whose verb is NULL. */
extern const struct command commands_memory[];
extern const struct command commands_rdma[];
extern const struct command commands_foreign[];

/* One round of the background reading; true when it wants the next round soon. */
bool watch_step(struct watch *watch);

/* reply_fail() for an argument that is missing or out of bounds. */
int reply_bad(struct reply *reply, const char *key);

#endif
