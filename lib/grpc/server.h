/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC server on a Unix socket, inside the caller's loop. */
#ifndef GRPC_SERVER_H
#define GRPC_SERVER_H

#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "grpc/session.h"

struct grpc_server;

struct grpc_server_options {
	const char *path;		     /* of the socket; only read by grpc_server_new() */
	mode_t mode;			     /* of the socket; 0: 0600 */
	const struct grpc_service *services; /* must outlive the server */
	size_t n_services;
	/*
	 * 0: 64. Further ones wait in the socket's queue until one of those ends, or
	 * is silent for a second without a call that is being served.
	 */
	unsigned connections_max;
	size_t message_max; /* longest request, in bytes; 0: GRPC_MESSAGE_MAX */
};

/*
 * Binds, listens and serves from the loop's next round on. A socket left at path by
 * a process that is gone is replaced. 0, or
 *   -ENAMETOOLONG  path has more than 107 bytes, which AF_UNIX cannot hold
 *   -EADDRINUSE    somebody serves at path
 *   -EEXIST        path exists and is no socket
 *   -ENOENT        its directory is missing
 * and errors of socket, bind and the like.
 */
int grpc_server_new(struct loop *loop, const struct grpc_server_options *options, struct grpc_server **ret);

/*
 * Ends service politely: the socket is removed (if it is still ours), every
 * connection gets GOAWAY and is closed when its last call is over. Streams that the service
 * keeps open must be finished by the service. done (may be NULL) is run from
 * the loop when the last connection is closed or after grace_ms; it may
 * free the server.
 */
void grpc_server_shutdown(struct grpc_server *server, unsigned grace_ms, void (*done)(void *data),
			  void *data);

/*
 * Ends everything at once: gone handlers of open calls are run, the socket is removed
 * if it is still ours. Must not be called from a method or a gone handler.
 */
void grpc_server_free(struct grpc_server *server);
DEFINE_CLEANUP(struct grpc_server *, grpc_server_free)

/* Connections that are open. */
unsigned grpc_server_n_connections(const struct grpc_server *server);

#endif
