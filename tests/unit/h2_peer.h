/* SPDX-License-Identifier: Apache-2.0 */
/* A client of nghttp2 without its checks of HTTP: it sends whatever headers it is given, over no socket. */
#ifndef H2_PEER_H
#define H2_PEER_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "grpc/session.h"

/* What came back, of all its requests together; and what all of them send. */
struct h2_answer {
	char status[8];
	char grpc_status[8];
	char grpc_message[128];
	char accept_encoding[16];
	size_t n_data;
	bool closed;
	unsigned n_closed;
	unsigned n_ping_acks;
	bool has_goaway;
	uint32_t code;
	const uint8_t *body;
	size_t body_len;
	bool stall; /* the body never ends */
};

/* Fails the test when it cannot; the caller deletes it. */
nghttp2_session *h2_peer_new(struct h2_answer *answer);

/* headers: "name=value" each, NULL at the end. Without a body the headers end the stream. The stream's id. */
int32_t h2_peer_request(nghttp2_session *h2, const char *const *headers, bool has_body);

/* For requests made otherwise: answer's body. */
ssize_t h2_peer_read_body(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
			  nghttp2_data_source *source, void *data);

/* Moves bytes both ways until nobody has any; fails the test when either loses the connection. */
void h2_peer_talk(nghttp2_session *h2, struct grpc_session *session);

#endif
