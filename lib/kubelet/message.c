// SPDX-License-Identifier: Apache-2.0
#include "kubelet/message.h"

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

int kubelet_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
			   ProtobufCMessage **ret)
{
	ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, len, bytes);

	if (!message)
		return -EBADMSG;
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
