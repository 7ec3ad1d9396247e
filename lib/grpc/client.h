/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a gRPC server on a Unix socket: inside a loop, or blocking. */
#ifndef GRPC_CLIENT_H
#define GRPC_CLIENT_H

#include "base/cleanup.h"
#include "base/loop.h"
#include "grpc/session.h"

struct grpc_client;
struct grpc_client_call;

/* How a call of grpc_client_start() ended. */
struct grpc_result {
	int r;			 /* 0 or -errno; see grpc_status_to_errno() */
	struct grpc_error error; /* the same with the peer's words */
	const uint8_t *message;	 /* the answer when r is 0, else NULL; valid during done only */
	size_t len;
};

struct grpc_client_options {
	const char *socket;	/* path; only read by grpc_client_start() */
	const char *method;	/* "/v1beta1.Registration/Register"; only read by grpc_client_start() */
	const uint8_t *message; /* the request, copied */
	size_t len;
	size_t message_max;  /* longest answer, in bytes; 0: GRPC_MESSAGE_MAX */
	unsigned timeout_ms; /* for the whole call, also told to the server; 0: none */
};

/*
 * Starts a unary call on a connection of its own. Never waits: the loop goes on
 * serving, which is what a server needs that calls back before it answers. done
 * is run exactly once, from the loop, unless the call is freed before. 0, or at
 * once and without done:
 *   -ENAMETOOLONG  socket has more than 107 bytes
 *   -ENOENT        there is no socket, the server is not up yet
 *   -ECONNREFUSED  there is one, and nobody serves it
 *   -EAGAIN        its queue is full
 * and errors of socket and connect, -ENOMEM. An answer that holds no message
 * or more than one is GRPC_INTERNAL and -EPROTO, one over message_max is
 * GRPC_RESOURCE_EXHAUSTED and -EMSGSIZE.
 */
int grpc_client_start(struct loop *loop, const struct grpc_client_options *options,
		      void (*done)(const struct grpc_result *result, void *data), void *data,
		      struct grpc_client_call **ret);

/*
 * Gives the call up if it is under way, and frees it; to be called for every call that was
 * started, also from its own done. NULL is accepted.
 */
void grpc_client_call_free(struct grpc_client_call *call);
DEFINE_CLEANUP(struct grpc_client_call *, grpc_client_call_free)

/*
 * The same, and waits for the end. For programs without a loop. Returns 0 and
 * the answer in new memory (the caller frees; ret_message is not NULL even for an empty
 * answer), or the error that start or the result had. ret_error may
 * be NULL; otherwise it is filled on every failure, with a text that names the socket when
 * there is no connection.
 */
int grpc_client_call(const struct grpc_client_options *options, uint8_t **ret_message, size_t *ret_len,
		     struct grpc_error *ret_error);

#endif
