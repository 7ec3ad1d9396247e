// SPDX-License-Identifier: Apache-2.0
#include "kubelet/message.h"

#include <stdbool.h>

void kubelet_message_free(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

int kubelet_message_pack(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(len ? len : 1);

	if (!bytes)
		return -ENOMEM;
	*ret_len = protobuf_c_message_pack(message, bytes);
	*ret = bytes;
	return 0;
}

/* What an unpacked message may take: UNPACK_BASE and UNPACK_FACTOR times its length. */
#define UNPACK_BASE (16u << 20)
#define UNPACK_FACTOR 4
/* What malloc() needs beside each piece, about. */
#define UNPACK_OVERHEAD 16

struct unpack_memory {
	size_t left;
	bool failed;
};

static void *unpack_alloc(void *data, size_t size)
{
	struct unpack_memory *memory = data;
	void *p = NULL;

	if (size + UNPACK_OVERHEAD <= memory->left)
		p = malloc(size ? size : 1);
	if (p)
		memory->left -= size + UNPACK_OVERHEAD;
	else
		memory->failed = true;
	return p;
}

static void unpack_free(void *data, void *p)
{
	(void)data;
	free(p);
}

int kubelet_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
			   ProtobufCMessage **ret)
{
	struct unpack_memory memory = { .left = UNPACK_BASE + UNPACK_FACTOR * len };
	ProtobufCAllocator allocator = { unpack_alloc, unpack_free, &memory };
	ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, bytes);

	if (!message)
		return memory.failed ? -ENOMEM : -EBADMSG;
	*ret = message;
	return 0;
}

void kubelet_call_reply(struct grpc_call *call, const ProtobufCMessage *message)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (kubelet_message_pack(message, &bytes, &len) < 0)
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
	else
		grpc_call_reply(call, bytes, len);
}
