// SPDX-License-Identifier: Apache-2.0
#include "grpc/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/list.h"
#include "base/log.h"
#include "conn.h"

#define CONNECTIONS_MAX 64
#define BACKLOG 256
#define ACCEPT_PAUSE_MS 50
/* When all connections are taken, one whose peer has no call here and said nothing for so long gives way. */
#define SILENT_MS 1000

struct server_conn {
	struct list node;
	struct grpc_server *server;
	struct grpc_conn *conn;
};

struct grpc_server {
	struct loop *loop;
	struct sockaddr_un address;
	dev_t dev; /* of the socket's file, to know it again */
	ino_t ino;
	bool bound;
	int fd;
	struct loop_source *source;
	struct loop_source *timer; /* pause of accept; once draining: the grace */
	struct grpc_session_options session;
	unsigned connections_max;
	struct list conns;
	unsigned n_conns;
	bool draining;
	void (*drained)(void *data);
	void *drained_data;
};

static void server_conn_free(struct server_conn *sc)
{
	list_unlink(&sc->node);
	sc->server->n_conns--;
	grpc_conn_free(sc->conn);
	free(sc);
}

static void server_listen(struct grpc_server *server, bool on)
{
	if (server->source)
		(void)loop_source_set_events(server->source, on ? EPOLLIN : 0);
}

static void on_conn_closed(struct grpc_conn *conn, int r, void *data)
{
	struct server_conn *sc = data;
	struct grpc_server *server = sc->server;

	(void)conn;
	if (r < 0)
		log_debug_errno(r, "grpc: a connection to %s is lost", server->address.sun_path);
	server_conn_free(sc);
	server_listen(server, true);
	if (server->draining && server->n_conns == 0)
		loop_timer_set(server->timer, 0);
}

static int server_adopt(struct grpc_server *server, int fd)
{
	struct server_conn *sc = calloc(1, sizeof(*sc));
	int r;

	if (!sc) {
		closep(&fd);
		return -ENOMEM;
	}
	sc->server = server;
	r = grpc_conn_new(server->loop, fd, &server->session, on_conn_closed, sc, &sc->conn);
	if (r < 0) {
		free(sc);
		return r;
	}
	list_append(&server->conns, &sc->node);
	server->n_conns++;
	return 0;
}

/* Not for good, and we do not spin meanwhile. */
static void stop_accepting(struct grpc_server *server)
{
	server_listen(server, false);
	loop_timer_set(server->timer, ACCEPT_PAUSE_MS);
}

/*
 * Peers that connect and then do nothing, or begin a request and never end it, must not keep
 * the kubelet out. It has calls here, or asks again.
 */
static bool make_room(struct grpc_server *server)
{
	struct server_conn *longest = NULL;
	struct list *node, *tmp;

	list_for_each_safe(node, tmp, &server->conns) {
		struct server_conn *sc = list_entry(node, struct server_conn, node);

		if (grpc_session_n_served(grpc_conn_session(sc->conn)) == 0 &&
		    grpc_conn_silent_ms(sc->conn) >= SILENT_MS &&
		    (!longest || grpc_conn_silent_ms(sc->conn) > grpc_conn_silent_ms(longest->conn)))
			longest = sc;
	}
	if (!longest)
		return false;
	log_debug("grpc: %u connections to %s, the longest silent one is closed", server->n_conns,
		  server->address.sun_path);
	server_conn_free(longest);
	return true;
}

static int on_listen(int fd, uint32_t events, void *data)
{
	struct grpc_server *server = data;
	int r;

	(void)events;
	if (server->n_conns >= server->connections_max && !make_room(server)) {
		stop_accepting(server);
		return 0;
	}
	r = RET_NERRNO(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	if (r >= 0)
		r = server_adopt(server, r);
	if (r < 0 && r != -EAGAIN && r != -EINTR && r != -ECONNABORTED) {
		/* No descriptors or no memory: the peer stays in the queue. */
		log_debug_errno(r, "grpc: cannot take a connection to %s", server->address.sun_path);
		stop_accepting(server);
	}
	return 0;
}

static int on_timer(void *data)
{
	struct grpc_server *server = data;

	if (!server->draining) {
		server_listen(server, true);
		return 0;
	}
	while (!list_is_empty(&server->conns))
		server_conn_free(list_first(&server->conns, struct server_conn, node));
	if (server->drained)
		TAKE_PTR(server->drained)(server->drained_data);
	return 0;
}

/* Removes the socket of a process that is gone; 0 also when there is none. */
static int remove_stale(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un probe;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : negative_errno();
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = grpc_conn_socket(address->sun_path, &probe);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&probe, sizeof(probe)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return negative_errno();
	return 0;
}

/*
 * A name of the same length in the same folder that the kubelet's plugin
 * watcher, which looks into that folder, takes no notice of.
 */
static bool hidden_name(const char *path, struct sockaddr_un *ret)
{
	const char *slash = strrchr(path, '/');
	size_t base = slash ? (size_t)(slash - path) + 1 : 0;

	if (strlen(path + base) < 3 || path[base] == '.')
		return false;
	strcpy(ret->sun_path, path);
	ret->sun_path[base] = '.';
	return true;
}

/* Listens at address, and leaves nothing there on failure. */
static int bind_and_listen(struct grpc_server *server, const struct sockaddr_un *address, mode_t mode)
{
	struct stat st;
	int r;

	/* The file gets the mode of the socket, so it is never wider than asked, not even for a moment. */
	if (fchmod(server->fd, mode) < 0)
		return negative_errno();
	if (bind(server->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return negative_errno();
	if (chmod(address->sun_path, mode) < 0 || lstat(address->sun_path, &st) < 0 ||
	    listen(server->fd, BACKLOG) < 0) {
		r = negative_errno();
		(void)unlink(address->sun_path);
		return r;
	}
	server->dev = st.st_dev;
	server->ino = st.st_ino;
	return 0;
}

/* Whoever sees the socket can connect to it: it gets its name when it listens already. */
static int server_bind(struct grpc_server *server, const char *path, mode_t mode)
{
	struct sockaddr_un hidden = { .sun_family = AF_UNIX };
	bool is_hidden;
	int r;

	server->fd = grpc_conn_socket(path, &server->address);
	if (server->fd < 0)
		return server->fd;
	r = remove_stale(&server->address);
	if (r < 0)
		return r;
	is_hidden = hidden_name(path, &hidden) && remove_stale(&hidden) == 0;
	r = bind_and_listen(server, is_hidden ? &hidden : &server->address, mode);
	if (r < 0)
		return r;
	if (is_hidden && rename(hidden.sun_path, server->address.sun_path) < 0) {
		r = negative_errno();
		(void)unlink(hidden.sun_path);
		return r;
	}
	server->bound = true;
	return 0;
}

int grpc_server_new(struct loop *loop, const struct grpc_server_options *options, struct grpc_server **ret)
{
	_cleanup_(grpc_server_freep) struct grpc_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->fd = -EBADF;
	server->session = (struct grpc_session_options){
		.services = options->services,
		.n_services = options->n_services,
		.message_max = options->message_max,
	};
	server->connections_max = options->connections_max ? options->connections_max : CONNECTIONS_MAX;
	list_init(&server->conns);
	r = server_bind(server, options->path, options->mode ? options->mode : 0600);
	if (r < 0)
		return r;
	r = loop_add_timer(loop, on_timer, server, &server->timer);
	if (r < 0)
		return r;
	r = loop_add_fd(loop, server->fd, EPOLLIN, on_listen, server, &server->source);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(server);
	return 0;
}

/* Takes no more connections. Somebody else's socket at our path stays. */
static void server_close(struct grpc_server *server)
{
	struct stat st;

	loop_source_free(TAKE_PTR(server->source));
	if (server->bound && lstat(server->address.sun_path, &st) == 0 && st.st_dev == server->dev &&
	    st.st_ino == server->ino)
		(void)unlink(server->address.sun_path);
	server->bound = false;
	closep(&server->fd);
	server->fd = -EBADF;
}

void grpc_server_shutdown(struct grpc_server *server, unsigned grace_ms, void (*done)(void *data), void *data)
{
	struct list *node, *tmp;

	server_close(server);
	server->draining = true;
	server->drained = done;
	server->drained_data = data;
	list_for_each_safe(node, tmp, &server->conns)
		grpc_session_shutdown(grpc_conn_session(list_entry(node, struct server_conn, node)->conn));
	loop_timer_set(server->timer, server->n_conns > 0 ? grace_ms : 0);
}

void grpc_server_free(struct grpc_server *server)
{
	if (!server)
		return;
	server_close(server);
	while (!list_is_empty(&server->conns))
		server_conn_free(list_first(&server->conns, struct server_conn, node));
	loop_source_free(server->timer);
	free(server);
}

unsigned grpc_server_n_connections(const struct grpc_server *server)
{
	return server->n_conns;
}
