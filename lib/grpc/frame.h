/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of gRPC in a stream of bytes: one byte "compressed", four bytes
 * length (big endian), then the message. Bytes in, messages out; no I/O.
 */
#ifndef GRPC_FRAME_H
#define GRPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_FRAME_PREFIX 5

/* Longest message either side of the kubelet's APIs accepts by default. */
#define GRPC_MESSAGE_MAX (4u << 20)

struct grpc_frame_reader {
	size_t limit;
	uint8_t prefix[GRPC_FRAME_PREFIX];
	size_t n_prefix; /* bytes of the prefix that have arrived */
	uint8_t *message;
	size_t length;	  /* of the whole message, once the prefix is complete */
	size_t n_message; /* bytes of it that have arrived */
	size_t allocated;
};

/* limit: the longest message accepted, in bytes. */
void grpc_frame_reader_init(struct grpc_frame_reader *reader, size_t limit);
void grpc_frame_reader_done(struct grpc_frame_reader *reader);

/*
 * Takes bytes up to the end of one message. *ret_used is how many were taken,
 * also on failure. Returns
 *   1            a message is complete: reader->message (not NULL, even when
 *                empty), reader->length; it is valid until the next call, and
 *                the caller goes on with the rest of the bytes
 *   0            all bytes were taken, the message is not complete
 *   -EMSGSIZE    the message announced is longer than the limit
 *   -EOPNOTSUPP  it is compressed
 *   -EBADMSG     the flag byte is neither 0 nor 1
 *   -ENOMEM
 * After a failure the reader accepts nothing more (returns the same error).
 * Memory grows with what has arrived, not with what was announced.
 */
int grpc_frame_reader_push(struct grpc_frame_reader *reader, const uint8_t *data, size_t len,
			   size_t *ret_used);

/* Whether a message has begun and is not complete: an end of stream here is an error. */
bool grpc_frame_reader_is_partial(const struct grpc_frame_reader *reader);

/* The prefix of an uncompressed message of len bytes, len < 2^32. */
void grpc_frame_prefix(uint8_t out[GRPC_FRAME_PREFIX], size_t len);

#endif
