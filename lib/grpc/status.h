/* SPDX-License-Identifier: Apache-2.0 */
/* The status that ends every gRPC call, and its text on the wire. */
#ifndef GRPC_STATUS_H
#define GRPC_STATUS_H

#include <stddef.h>

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

/* Longest status text that is sent or kept, in bytes without the final zero. */
#define GRPC_TEXT_MAX 1023

/*
 * How a call ended, as its caller sees it. text is what the peer said, or what
 * was found out on this side; it is never empty when status is not GRPC_OK.
 */
struct grpc_error {
	enum grpc_status status;
	char text[GRPC_TEXT_MAX + 1];
};

void grpc_error_set(struct grpc_error *error, enum grpc_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "UNAVAILABLE" and so on; "UNKNOWN" for numbers that gRPC does not have. */
const char *grpc_status_name(enum grpc_status status);

/*
 * The status as 0 or -errno: CANCELLED -ECANCELED, INVALID_ARGUMENT -EINVAL,
 * DEADLINE_EXCEEDED -ETIMEDOUT, NOT_FOUND -ENOENT, ALREADY_EXISTS -EEXIST,
 * PERMISSION_DENIED and UNAUTHENTICATED -EACCES, RESOURCE_EXHAUSTED -EBUSY,
 * UNIMPLEMENTED -EOPNOTSUPP, UNAVAILABLE -ECONNRESET, all others -EREMOTEIO.
 */
int grpc_status_to_errno(enum grpc_status status);

/* Parses the value of a grpc-status trailer; anything that is no number of 0..16 is GRPC_UNKNOWN. */
enum grpc_status grpc_status_parse(const char *value, size_t len);

/*
 * Percent-encodes text for a grpc-message trailer, cut to what fits without
 * splitting an escape. Returns the length; out is not terminated.
 */
size_t grpc_text_encode(const char *text, char *out, size_t size);

/*
 * The reverse; broken escapes are kept as they are, control characters become
 * '?'. out is always terminated. Returns the length.
 */
size_t grpc_text_decode(const char *value, size_t len, char *out, size_t size);

#endif
