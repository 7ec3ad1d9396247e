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
};

/* Opens the host's side and the state directory (made when missing). The caller closes, also after a failure.
 */
int session_open(struct session *session, const struct request *req, const char *verb,
		 struct cni_error *error);
void session_close(struct session *session);

/* The node's lock; code 11 with the holder's name when it takes longer than lockTimeout. */
int session_lock(struct session *session, struct cni_error *error);
void session_unlock(struct session *session);

/* Code 100 when RDMA devices are shared by all namespaces. */
int session_check_exclusive(struct session *session, struct cni_error *error);

/* The pod's side of an attachment, NULL when its namespace is gone or cannot be reached. */
int session_reach(struct session *session, const struct state *state, struct place **ret);

/*
 * Gives back every NIC of state and forgets those in its file; the file goes
 * when nothing is left. NICs that cannot be reached stay recorded for a later
 * try. Returns 0, or the first -errno. Under the lock.
 */
int session_release(struct session *session, struct state *state);

#endif
