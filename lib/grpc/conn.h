/* SPDX-License-Identifier: Apache-2.0 */
/* A session on a connected socket in a loop; for server.c and client.c. */
#ifndef GRPC_CONN_H
#define GRPC_CONN_H

#include "base/loop.h"
#include "grpc/session.h"

struct grpc_conn;

/*
 * The connection is over: 0 (both sides were done, or the peer closed), or
 * -errno. Run from the loop, once; it must free the connection.
 */
typedef void grpc_conn_closed_fn(struct grpc_conn *conn, int r, void *data);

/*
 * Takes fd over, also on failure. Of session, wake and data are set here. A server
 * when session->services is not NULL.
 */
int grpc_conn_new(struct loop *loop, int fd, const struct grpc_session_options *session,
		  grpc_conn_closed_fn *closed, void *data, struct grpc_conn **ret);

/* Ends everything that is open on it. Not from handlers of calls and requests. */
void grpc_conn_free(struct grpc_conn *conn);
DEFINE_CLEANUP(struct grpc_conn *, grpc_conn_free)

/* Milliseconds since the peer sent anything, or connected. */
uint64_t grpc_conn_silent_ms(const struct grpc_conn *conn);

struct grpc_session *grpc_conn_session(struct grpc_conn *conn);

/* A stream socket for a path, and its address. -ENAMETOOLONG over 107 bytes, -EINVAL for an empty one. */
struct sockaddr_un;
int grpc_conn_socket(const char *path, struct sockaddr_un *ret_address);

#endif
