// SPDX-License-Identifier: Apache-2.0
#include "conn.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"

#define READ_SIZE (64u << 10)
#define GATHER_SIZE 4096

struct grpc_conn {
	int fd;
	struct loop_source *source;
	struct loop_source *wake;     /* timer: output outside of on_ready() */
	struct loop_source *deadline; /* timer: a peer's call is to be ended */
	struct grpc_session *session;
	const uint8_t *frames; /* the session's bytes, valid until it is asked again */
	size_t frames_len;
	const uint8_t *out; /* what is being sent: gathered, or frames that are too long for that */
	size_t out_len;
	bool wants_out;	   /* EPOLLOUT is set, and EPOLLIN is not */
	uint64_t heard_ms; /* when the peer sent the last bytes */
	grpc_conn_closed_fn *closed;
	void *data;
	/* Headers, message and trailers of an answer, so that they wake the peer once. */
	uint8_t gathered[GATHER_SIZE];
};

int grpc_conn_socket(const char *path, struct sockaddr_un *ret_address)
{
	size_t len = strlen(path);

	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_address->sun_path, path, len);
	return RET_NERRNO(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* Takes the next bytes to send from the session; out_len stays 0 when it has none. */
static int conn_gather(struct grpc_conn *conn)
{
	size_t n = 0;

	for (;;) {
		if (conn->frames_len == 0) {
			ssize_t r = grpc_session_send(conn->session, &conn->frames);

			if (r < 0)
				return (int)r;
			conn->frames_len = (size_t)r;
		}
		if (conn->frames_len == 0 || conn->frames_len > sizeof(conn->gathered) - n)
			break;
		memcpy(conn->gathered + n, conn->frames, conn->frames_len);
		n += conn->frames_len;
		conn->frames_len = 0;
	}
	conn->out = conn->gathered;
	conn->out_len = n;
	if (n == 0 && conn->frames_len > 0) {
		conn->out = conn->frames;
		conn->out_len = conn->frames_len;
		conn->frames_len = 0;
	}
	return 0;
}

/* Writes until the session has nothing more or the socket takes no more. */
static int conn_flush(struct grpc_conn *conn)
{
	for (;;) {
		ssize_t n;

		if (conn->out_len == 0) {
			int r = conn_gather(conn);

			if (r < 0)
				return r;
			if (conn->out_len == 0)
				break;
		}
		n = send(conn->fd, conn->out, conn->out_len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0)
			return negative_errno();
		conn->out += n;
		conn->out_len -= (size_t)n;
	}
	/*
	 * A peer who does not read is not read from: each of his frames may
	 * want an answer, and answers would pile up here.
	 */
	if ((conn->out_len > 0) != conn->wants_out) {
		conn->wants_out = conn->out_len > 0;
		return loop_source_set_events(conn->source, conn->wants_out ? EPOLLOUT : EPOLLIN);
	}
	return 0;
}

/* 1: took something or there was nothing; 0: the peer has closed. */
static int conn_receive(struct grpc_conn *conn)
{
	uint8_t buf[READ_SIZE];
	ssize_t n = recv(conn->fd, buf, sizeof(buf), 0);
	int r;

	if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
		return 1;
	if (n < 0)
		return negative_errno();
	if (n == 0)
		return 0;
	conn->heard_ms = loop_now_ms();
	r = grpc_session_recv(conn->session, buf, (size_t)n);
	return r < 0 ? r : 1;
}

/* Reads once per round, so that one busy peer does not keep the others waiting. */
static int on_ready(int fd, uint32_t events, void *data)
{
	struct grpc_conn *conn = data;
	int r = 1, flushed;
	int64_t left_ms;

	(void)fd;
	log_hold(); /* the answer goes out before what is said about it */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = conn_receive(conn);
	flushed = conn_flush(conn); /* also after a failure: the peer learns of it by GOAWAY */
	log_release();
	if (r > 0 && flushed < 0)
		r = flushed;
	if (r > 0 && conn->out_len == 0 && grpc_session_is_finished(conn->session))
		r = 0;
	if (r <= 0) {
		conn->closed(conn, r, conn->data);
		return 0;
	}
	left_ms = grpc_session_timeout_ms(conn->session);
	if (left_ms >= 0)
		loop_timer_set(conn->deadline, (uint64_t)left_ms);
	else
		loop_timer_cancel(conn->deadline);
	return 0;
}

static int on_wake(void *data)
{
	struct grpc_conn *conn = data;

	return on_ready(conn->fd, 0, conn);
}

static int on_deadline(void *data)
{
	struct grpc_conn *conn = data;

	grpc_session_expire(conn->session);
	return on_wake(conn);
}

static void wake(void *data)
{
	struct grpc_conn *conn = data;

	loop_timer_set(conn->wake, 0);
}

int grpc_conn_new(struct loop *loop, int fd, const struct grpc_session_options *session,
		  grpc_conn_closed_fn *closed, void *data, struct grpc_conn **ret)
{
	_cleanup_(grpc_conn_freep) struct grpc_conn *conn = calloc(1, sizeof(*conn));
	struct grpc_session_options options = *session;
	int r;

	if (!conn) {
		closep(&fd);
		return -ENOMEM;
	}
	conn->fd = fd;
	conn->closed = closed;
	conn->heard_ms = loop_now_ms();
	conn->data = data;
	options.wake = wake;
	options.data = conn;
	r = options.services ? grpc_session_new_server(&options, &conn->session)
			     : grpc_session_new_client(&options, &conn->session);
	if (r < 0)
		return r;
	r = loop_add_timer(loop, on_wake, conn, &conn->wake);
	if (r < 0)
		return r;
	r = loop_add_timer(loop, on_deadline, conn, &conn->deadline);
	if (r < 0)
		return r;
	r = loop_add_fd(loop, conn->fd, EPOLLIN, on_ready, conn, &conn->source);
	if (r < 0)
		return r;
	wake(conn); /* SETTINGS go out in the next round, whether or not the peer speaks */
	*ret = TAKE_PTR(conn);
	return 0;
}

void grpc_conn_free(struct grpc_conn *conn)
{
	if (!conn)
		return;
	grpc_session_free(conn->session);
	loop_source_free(conn->source);
	loop_source_free(conn->wake);
	loop_source_free(conn->deadline);
	closep(&conn->fd);
	free(conn);
}

uint64_t grpc_conn_silent_ms(const struct grpc_conn *conn)
{
	return loop_now_ms() - conn->heard_ms;
}

struct grpc_session *grpc_conn_session(struct grpc_conn *conn)
{
	return conn->session;
}
