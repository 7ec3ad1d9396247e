/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a session, for session.c (the connection), call.c (streams that
 * the peer began) and request.c (streams that we began). Not for others.
 */
#ifndef GRPC_SESSION_IMPL_H
#define GRPC_SESSION_IMPL_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "grpc/session.h"

#define SESSION_STREAMS_MAX 100
#define SESSION_HELD_LIMITS 4 /* messages under way each way, all streams together, in units of the limit */
#define SESSION_HEADER_LIST_MAX (16u << 10)

/* A message with its prefix, on its way out. */
struct grpc_outgoing {
	uint8_t *data; /* NULL: none */
	size_t len;
	size_t sent;
};

/* What calls and requests have in common; the first member of both. */
struct grpc_stream {
	struct grpc_session *session; /* NULL: the connection is gone */
	struct list node;	      /* in session->streams */
	int32_t id;
	struct grpc_frame_reader reader;
	struct grpc_outgoing out;      /* being sent, or waiting to be */
	struct grpc_outgoing out_next; /* takes its place */
	size_t header_bytes;	       /* received, as SETTINGS_MAX_HEADER_LIST_SIZE counts them */
};

struct grpc_session {
	nghttp2_session *h2;
	bool is_server;
	const struct grpc_service *services;
	size_t n_services;
	size_t message_max;
	size_t held;	  /* bytes allocated for incoming messages */
	size_t queued;	  /* and for outgoing ones */
	int error;	  /* -errno: the connection is lost */
	unsigned entered; /* inside of nghttp2: no need to wake anybody */
	void (*wake)(void *data);
	void *data;
	struct list streams;
	size_t n_streams;
};

void grpc_stream_init(struct grpc_stream *stream, struct grpc_session *session);

/* Frees what it holds and takes it off its session; the caller frees its memory. */
void grpc_stream_done(struct grpc_stream *stream);

/* grpc_frame_reader_push() within what the session may hold (-EMSGSIZE... -ENOBUFS over it). */
int grpc_stream_push(struct grpc_stream *stream, const uint8_t *data, size_t len, size_t *ret_used);

/* Frees the incoming message. */
void grpc_stream_drop_message(struct grpc_stream *stream);

/*
 * Copies message with its prefix, into out or, when that has begun to be sent, out_next. -ENOMEM, -EMSGSIZE, or
 * -ENOBUFS over what the session may queue.
 */
int grpc_stream_put_out(struct grpc_stream *stream, const uint8_t *message, size_t len);

/* Whether there is something to send, or the rest of it. */
static inline bool grpc_stream_has_out(const struct grpc_stream *stream)
{
	return stream->out.data || stream->out_next.data;
}

/* Counts a header; false over what we said we take. */
bool grpc_stream_count_header(struct grpc_stream *stream, size_t name_len, size_t len);

/* Fills buf from what is to be sent; 0 when there is nothing left. */
size_t grpc_stream_read_out(struct grpc_stream *stream, uint8_t *buf, size_t size);

/* Ends the stream towards the peer with an HTTP/2 error code. */
void grpc_stream_reset(struct grpc_stream *stream, uint32_t code);

/* Notes a failure of nghttp2 that leaves the session unusable. Returns it as -errno. */
int grpc_session_break(struct grpc_session *session, int nghttp2_error);

void grpc_session_wake(struct grpc_session *session);

/* The status and words for an error of grpc_stream_push(). */
void grpc_push_error(struct grpc_error *error, const struct grpc_session *session, int r);

/* A name and value that live as long as the call that takes them. */
nghttp2_nv grpc_header(const char *name, const char *value, size_t len);

/* --- call.c --- */
int grpc_call_begin(struct grpc_session *session, int32_t id);
void grpc_call_header(struct grpc_stream *stream, const uint8_t *name, size_t name_len, const uint8_t *value,
		      size_t len);
void grpc_call_data(struct grpc_stream *stream, const uint8_t *data, size_t len);
void grpc_call_headers_end(struct grpc_stream *stream);
void grpc_call_request_end(struct grpc_stream *stream); /* END_STREAM */
void grpc_call_closed(struct grpc_stream *stream);	/* frees it, or leaves it to its owner */
bool grpc_call_is_served(const struct grpc_stream *stream);
uint64_t grpc_call_deadline_ms(const struct grpc_stream *stream); /* UINT64_MAX: none */
void grpc_call_expire(struct grpc_stream *stream);

/* --- request.c --- */
void grpc_request_header(struct grpc_stream *stream, const uint8_t *name, size_t name_len,
			 const uint8_t *value, size_t len);
void grpc_request_data(struct grpc_stream *stream, const uint8_t *data, size_t len);
void grpc_request_closed(struct grpc_stream *stream, uint32_t code); /* runs done, frees it */

#endif
