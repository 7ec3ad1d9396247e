/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 connection that carries gRPC, without any I/O: bytes from the
 * peer go in by grpc_session_recv(), bytes for him come out of
 * grpc_session_send(). server.h and client.h put sockets to it; those who only
 * serve or call methods use struct grpc_service, struct grpc_call and struct
 * grpc_reply_handler from here and nothing else.
 *
 * What the other side may do to us is bounded: 100 streams, 16 KiB of headers
 * each, messages up to the limit, of which at most four limits are held at a
 * time in each direction, flow-control windows of 64 KiB, and output is produced
 * only when the last piece has been written.
 */
#ifndef GRPC_SESSION_H
#define GRPC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "grpc/frame.h"
#include "grpc/status.h"

struct grpc_call;    /* a call that a peer makes to us */
struct grpc_request; /* a call that we make to a peer */
struct grpc_session;

/* --- serving ---------------------------------------------------------------- */

/*
 * A call has arrived with its whole request message (all methods here have
 * exactly one). message is valid during this function only. The function, or
 * somebody later, must end the call by grpc_call_reply(), grpc_call_finish() or
 * grpc_call_fail(), unless the call's gone handler is run before.
 */
typedef void grpc_method_fn(struct grpc_call *call, const uint8_t *message, size_t len, void *data);

/* The peer cancelled the call, or the connection is gone. call is freed when the handler returns: forget it.
 */
typedef void grpc_call_gone_fn(struct grpc_call *call, void *data);

struct grpc_method {
	const char *path; /* "/v1beta1.DevicePlugin/Allocate" */
	grpc_method_fn *fn;
};

/* Methods that share their data. Must outlive the server. */
struct grpc_service {
	const struct grpc_method *methods;
	size_t n_methods;
	void *data;
};

/*
 * Sets what is run when the call ends without our doing. It is not run for a
 * call that we end ourselves. Without one (fn NULL), a call whose peer is gone
 * stays valid and must still be ended, to no effect.
 */
void grpc_call_set_gone(struct grpc_call *call, grpc_call_gone_fn *fn, void *data);

/*
 * Milliseconds that the peer goes on waiting (its grpc-timeout), or -1: without limit. When they are over, the
 * call's gone handler is run.
 */
int64_t grpc_call_time_left_ms(const struct grpc_call *call);

/* The method's path, valid as long as call. */
const char *grpc_call_path(const struct grpc_call *call);

/*
 * Sends one message and ends the call with GRPC_OK. message is copied. call is
 * no longer the caller's afterwards, whatever happens: when memory is short,
 * the peer gets RESOURCE_EXHAUSTED or the end of the stream.
 */
void grpc_call_reply(struct grpc_call *call, const uint8_t *message, size_t len);

/*
 * Puts a message of a streaming answer in place; the call stays open. A message
 * that has not begun to be sent is replaced: the peer who reads slowly gets the
 * latest state and skips what lies between. message is copied. 0, -ENOMEM, -EMSGSIZE
 * over 4 GiB, or -ENOBUFS when the peer has left too much unread; on failure the message before stays in place.
 */
int grpc_call_send_latest(struct grpc_call *call, const uint8_t *message, size_t len);

/*
 * Ends the call after what was sent; text may be NULL when status is GRPC_OK. call
 * is no longer the caller's afterwards.
 */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text);

/* grpc_call_finish() with a formatted text. */
void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* --- calling ---------------------------------------------------------------- */

/*
 * What is done with an answer. message: one message has arrived (may be NULL);
 * it is valid during the function only. done: the call has ended; it is run
 * exactly once, unless the request is cancelled before, and request is freed
 * when it returns. Either may start requests; neither may free the session.
 */
struct grpc_reply_handler {
	void (*message)(struct grpc_request *request, const uint8_t *message, size_t len, void *data);
	void (*done)(struct grpc_request *request, const struct grpc_error *error, void *data);
};

/*
 * Starts a call of path with one message (copied). The peer is told to give up after timeout_ms (0: never); to give
 * up on our side is the caller's. handler and data must live
 * until done or cancel. 0, -ENOMEM, -ENOBUFS when much is unsent, or -ENOTCONN when the connection is ending.
 * done is never run from inside this function. ret may be NULL when the call
 * will never be cancelled.
 */
int grpc_session_request(struct grpc_session *session, const char *path, const uint8_t *message, size_t len,
			 unsigned timeout_ms, const struct grpc_reply_handler *handler, void *data,
			 struct grpc_request **ret);

/* Gives up a call: the peer is told, done is not run, request is gone. NULL is accepted. */
void grpc_request_cancel(struct grpc_request *request);
DEFINE_CLEANUP(struct grpc_request *, grpc_request_cancel)

/* In done: whether the call failed because a message was longer than message_max. */
bool grpc_request_is_too_long(const struct grpc_request *request);

/* --- the connection --------------------------------------------------------- */

struct grpc_session_options {
	/* Server: what it offers. Client: NULL and 0. */
	const struct grpc_service *services;
	size_t n_services;
	/* Longest message accepted, in bytes; 0: GRPC_MESSAGE_MAX. */
	size_t message_max;
	/*
	 * Run when there may be bytes to send although nothing was received:
	 * a call was answered later. It must not call the session, only
	 * arrange that grpc_session_send() is called soon. May be NULL.
	 */
	void (*wake)(void *data);
	void *data;
	/* An nghttp2_mem, for tests of failing allocations; NULL: malloc. */
	void *mem;
};

/* Sends SETTINGS first, as soon as asked for bytes. 0 or -ENOMEM. */
int grpc_session_new_server(const struct grpc_session_options *options, struct grpc_session **ret);
int grpc_session_new_client(const struct grpc_session_options *options, struct grpc_session **ret);

/*
 * Ends everything that is open: gone handlers and done handlers (UNAVAILABLE)
 * are run. Must not be called from a handler.
 */
void grpc_session_free(struct grpc_session *session);
DEFINE_CLEANUP(struct grpc_session *, grpc_session_free)

/*
 * Takes bytes from the peer; runs handlers. 0, or -EPROTO (not HTTP/2, or a
 * peer that breaks its rules or floods), -ENOMEM: the connection is lost, but what
 * grpc_session_send() still has (GOAWAY) should be sent.
 */
int grpc_session_recv(struct grpc_session *session, const uint8_t *data, size_t len);

/*
 * The next bytes for the peer: their number (0: nothing now), valid until
 * the next call of the session, or -ENOMEM, -EPROTO. Call again when all were written.
 */
ssize_t grpc_session_send(struct grpc_session *session, const uint8_t **ret);

/*
 * Ends the calls whose peers no longer wait (CANCEL, as grpc-go does); to be called after the time
 * that grpc_session_timeout_ms() gives, which is -1 when no call has a deadline.
 */
void grpc_session_expire(struct grpc_session *session);
int64_t grpc_session_timeout_ms(const struct grpc_session *session);

/* Tells the peer (GOAWAY) that no new calls are taken; those under way may end. */
void grpc_session_shutdown(struct grpc_session *session);

/* Whether nothing more will be sent or received: the connection may be closed. */
bool grpc_session_is_finished(struct grpc_session *session);

/* Calls and requests that are open. */
size_t grpc_session_n_open(const struct grpc_session *session);

/* Calls that a service has and did not end yet. */
size_t grpc_session_n_served(const struct grpc_session *session);

#endif
