/* SPDX-License-Identifier: Apache-2.0 */
/* What every verb that touches devices has open, and the giving back that DEL, GC, a failed ADD and repair
 * share. */
#ifndef CNI_RDMA_SESSION_H
#define CNI_RDMA_SESSION_H

#include "cni.h"
#include "move.h"
#include "place.h"
#include "request.h"
#include "state.h"

struct session {
	const struct request *req;
	char who[300]; /* beginning of log lines */
	struct place *host;
	int state_fd; /* directory of state files */
	int lock_fd;  /* -EBADF: not held */
	int proc_fd;
	char boot_id[40];
	bool shared;		 /* RDMA devices are, by all namespaces */
	unsigned return_wait_ms; /* for the kernel to return the NICs of a namespace that dies */
};

/* Opens the host's side and the state directory (made when missing). The caller closes, also after a failure.
 */
int session_open(struct session *session, const struct request *req, const char *verb,
		 struct cni_error *error);
void session_close(struct session *session);

/* The node's lock; code 11 with the holder's name when it takes longer than timeout_ms. */
int session_lock(struct session *session, unsigned timeout_ms, struct cni_error *error);
void session_unlock(struct session *session);

/* Code 100 when RDMA devices are shared by all namespaces, and the configuration does not allow that. */
int session_check_mode(struct session *session, struct cni_error *error);

/* For moves between the host and a pod (NULL: out of reach); valid as long as both. */
struct move session_move(const struct session *session, const struct place *pod);

/* The pod's side of an attachment, NULL when its namespace is gone. -errno: it cannot be told, or not be entered. */
int session_reach(struct session *session, const struct state *state, struct place **ret);

/*
 * Gives back every NIC of state and forgets those in its file; the file goes
 * when nothing is left. NICs that cannot be reached stay recorded for a later
 * try. Returns 0, or the first -errno. Under the lock.
 */
int session_release(struct session *session, struct state *state);

/*
 * The addresses that IPAM gave to state's NICs, by the IPAM of this request's configuration; nothing when it has
 * none, or is of another network. What IPAM cannot do is logged.
 */
void session_release_addresses(const struct session *session, const struct state *state);

/*
 * Nobody can be using what state holds: it is from before a reboot, or the runtime has taken the path of its
 * namespace away. Its DEL was lost, or will find nothing to do.
 */
bool session_is_orphan(const struct session *session, const struct state *state);

/* Both, for an attachment of which no DEL may come: its pod is gone, or it is tried anew. Under the lock. */
void session_forget(struct session *session, struct state *state);

#endif
