// SPDX-License-Identifier: Apache-2.0
#include "grpc/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ALLOCATION 4096

/* n_message of a reader that has failed; length then holds the error. */
#define FAILED SIZE_MAX

void grpc_frame_reader_init(struct grpc_frame_reader *reader, size_t limit)
{
	*reader = (struct grpc_frame_reader){ .limit = limit };
}

void grpc_frame_reader_done(struct grpc_frame_reader *reader)
{
	free(reader->message);
	*reader = (struct grpc_frame_reader){ .limit = reader->limit };
}

static int fail(struct grpc_frame_reader *reader, int error)
{
	free(reader->message);
	reader->message = NULL;
	reader->allocated = 0;
	reader->n_message = FAILED;
	reader->length = (size_t)error;
	return -error;
}

static int check_prefix(struct grpc_frame_reader *reader)
{
	const uint8_t *p = reader->prefix;

	reader->length = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (p[0] > 1)
		return fail(reader, EBADMSG);
	if (p[0] == 1)
		return fail(reader, EOPNOTSUPP);
	if (reader->length > reader->limit)
		return fail(reader, EMSGSIZE);
	return 0;
}

/* Room for need bytes, at least doubled: what arrives pays for what is allocated. */
static int reserve(struct grpc_frame_reader *reader, size_t need)
{
	size_t size = reader->allocated ? reader->allocated : FIRST_ALLOCATION;
	uint8_t *bigger;

	if (need <= reader->allocated && reader->message)
		return 0;
	while (size < need)
		size *= 2;
	if (size > reader->length)
		size = reader->length ? reader->length : 1;
	bigger = realloc(reader->message, size);
	if (!bigger)
		return fail(reader, ENOMEM);
	reader->message = bigger;
	reader->allocated = size;
	return 0;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int grpc_frame_reader_push(struct grpc_frame_reader *reader, const uint8_t *data, size_t len,
			   size_t *ret_used)
{
	size_t n;
	int r;

	*ret_used = 0;
	if (reader->n_message == FAILED)
		return -(int)reader->length;
	/* The message before was complete: begin the next one. */
	if (reader->n_prefix == GRPC_FRAME_PREFIX && reader->n_message == reader->length) {
		reader->n_prefix = 0;
		reader->n_message = 0;
	}
	if (reader->n_prefix < GRPC_FRAME_PREFIX) {
		n = min_size(len, GRPC_FRAME_PREFIX - reader->n_prefix);
		if (n > 0)
			memcpy(reader->prefix + reader->n_prefix, data, n);
		reader->n_prefix += n;
		*ret_used = n;
		if (reader->n_prefix < GRPC_FRAME_PREFIX)
			return 0;
		r = check_prefix(reader);
		if (r < 0)
			return r;
	}
	n = min_size(len - *ret_used, reader->length - reader->n_message);
	r = reserve(reader, reader->n_message + n);
	if (r < 0)
		return r;
	if (n > 0)
		memcpy(reader->message + reader->n_message, data + *ret_used, n);
	reader->n_message += n;
	*ret_used += n;
	return reader->n_message == reader->length;
}

bool grpc_frame_reader_is_partial(const struct grpc_frame_reader *reader)
{
	if (reader->n_message == FAILED || reader->n_prefix == 0)
		return false;
	return reader->n_prefix < GRPC_FRAME_PREFIX || reader->n_message < reader->length;
}

void grpc_frame_prefix(uint8_t out[GRPC_FRAME_PREFIX], size_t len)
{
	out[0] = 0;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}
