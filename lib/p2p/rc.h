/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reliable connection between two queue pairs whose addresses the two sides
 * exchange by themselves (a socket, a file, the shell).
 */
#ifndef P2P_RC_H
#define P2P_RC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "p2p/p2p.h"

/* What the other side must know to connect. */
struct rc_address {
	uint32_t qpn; /* 24 bits */
	uint32_t psn; /* 24 bits */
	uint8_t mtu;  /* enum ibv_mtu */
	union ibv_gid gid;
};

struct rc {
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	struct p2p_gid local;
	uint32_t psn;
};

/*
 * A queue pair that a peer may write to and read from once it is connected. receives: how many of the
 * peer's writes with immediate data may wait to be polled; see rc_receive().
 */
int rc_open(struct p2p_nic *nic, unsigned receives, struct rc **ret);
void rc_close(struct rc *rc);
DEFINE_CLEANUP(struct rc *, rc_close)

void rc_address(const struct rc *rc, struct rc_address *ret);
int rc_connect(struct rc *rc, const struct rc_address *peer);

/* "qpn=.. psn=.. mtu=.. gid=32 hex digits", and back; -EINVAL when a part is missing or out of range. */
#define RC_ADDRESS_TEXT 96
void rc_address_format(const struct rc_address *address, char text[RC_ADDRESS_TEXT]);
struct words;
int rc_address_parse(const struct words *w, struct rc_address *ret);

struct rc_transfer {
	enum ibv_wr_opcode opcode; /* IBV_WR_RDMA_WRITE, ..._WRITE_WITH_IMM or IBV_WR_RDMA_READ */
	uint32_t imm;		   /* with immediate data only */
	uint64_t local;		   /* as registered */
	uint32_t lkey;
	uint64_t remote;
	uint32_t rkey;
	uint64_t length;
	uint32_t chunk; /* bytes per work request */
};

struct rc_outcome {
	enum ibv_wc_status status; /* of the first request that failed, or success */
	uint64_t bytes;		   /* completed */
	double seconds;
};

/*
 * Moves length bytes in requests of chunk bytes, several under way at a time, and waits for all of them.
 * 0 also when a request failed: see ret->status. -ETIMEDOUT: nothing completed for 60 s.
 */
int rc_transfer(struct rc *rc, const struct rc_transfer *transfer, struct rc_outcome *ret);

/* A request that has ended, or with is_receive a peer's write with immediate data that has arrived. */
struct rc_completion {
	enum ibv_wc_status status;
	bool is_receive;
	uint32_t imm; /* of a receive that succeeded */
};

/* One request and its completion apart. rc_poll: 1 and the completion, 0 when there is nothing yet, or
 * -errno. */
int rc_post(struct rc *rc, const struct rc_transfer *transfer);
int rc_poll(struct rc *rc, struct rc_completion *ret);

/* Makes room for one more write with immediate data of the peer. It says only that data is there: no bytes. */
int rc_receive(struct rc *rc);

/* "REM_ACCESS_ERR" and the like: the names of the documentation, without IBV_WC_. */
const char *rc_status_name(enum ibv_wc_status status);

/* Seconds of the monotonic clock. */
double rc_now(void);

#endif
