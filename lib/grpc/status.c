// SPDX-License-Identifier: Apache-2.0
#include "grpc/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/cleanup.h"

static const struct {
	const char *name;
	int r;
} statuses[] = {
	[GRPC_OK] = { "OK", 0 },
	[GRPC_CANCELLED] = { "CANCELLED", -ECANCELED },
	[GRPC_UNKNOWN] = { "UNKNOWN", -EREMOTEIO },
	[GRPC_INVALID_ARGUMENT] = { "INVALID_ARGUMENT", -EINVAL },
	[GRPC_DEADLINE_EXCEEDED] = { "DEADLINE_EXCEEDED", -ETIMEDOUT },
	[GRPC_NOT_FOUND] = { "NOT_FOUND", -ENOENT },
	[GRPC_ALREADY_EXISTS] = { "ALREADY_EXISTS", -EEXIST },
	[GRPC_PERMISSION_DENIED] = { "PERMISSION_DENIED", -EACCES },
	[GRPC_RESOURCE_EXHAUSTED] = { "RESOURCE_EXHAUSTED", -EBUSY },
	[GRPC_FAILED_PRECONDITION] = { "FAILED_PRECONDITION", -EREMOTEIO },
	[GRPC_ABORTED] = { "ABORTED", -EREMOTEIO },
	[GRPC_OUT_OF_RANGE] = { "OUT_OF_RANGE", -EREMOTEIO },
	[GRPC_UNIMPLEMENTED] = { "UNIMPLEMENTED", -EOPNOTSUPP },
	[GRPC_INTERNAL] = { "INTERNAL", -EREMOTEIO },
	[GRPC_UNAVAILABLE] = { "UNAVAILABLE", -ECONNRESET },
	[GRPC_DATA_LOSS] = { "DATA_LOSS", -EREMOTEIO },
	[GRPC_UNAUTHENTICATED] = { "UNAUTHENTICATED", -EACCES },
};

void grpc_error_set(struct grpc_error *error, enum grpc_status status, const char *format, ...)
{
	va_list args;

	error->status = status;
	va_start(args, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	if (!error->text[0] && status != GRPC_OK)
		(void)snprintf(error->text, sizeof(error->text), "no reason given");
}

const char *grpc_status_name(enum grpc_status status)
{
	return (size_t)status < ARRAY_SIZE(statuses) ? statuses[status].name : "UNKNOWN";
}

int grpc_status_to_errno(enum grpc_status status)
{
	return (size_t)status < ARRAY_SIZE(statuses) ? statuses[status].r : -EREMOTEIO;
}

enum grpc_status grpc_status_parse(const char *value, size_t len)
{
	unsigned number = 0;

	if (len == 0 || len > 2)
		return GRPC_UNKNOWN;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return GRPC_UNKNOWN;
		number = number * 10 + (unsigned)(value[i] - '0');
	}
	return number < ARRAY_SIZE(statuses) ? (enum grpc_status)number : GRPC_UNKNOWN;
}

size_t grpc_text_encode(const char *text, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = c >= 0x20 && c <= 0x7e && c != '%';

		if (size - len < (plain ? 1 : 3))
			break;
		if (plain) {
			out[len++] = (char)c;
		} else {
			out[len++] = '%';
			out[len++] = digits[c >> 4];
			out[len++] = digits[c & 15];
		}
	}
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

size_t grpc_text_decode(const char *value, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		unsigned char c = (unsigned char)value[i];

		if (c == '%' && len - i > 2 && hex_digit(value[i + 1]) >= 0 && hex_digit(value[i + 2]) >= 0) {
			c = (unsigned char)(hex_digit(value[i + 1]) << 4 | hex_digit(value[i + 2]));
			i += 2;
		}
		out[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	out[n] = '\0';
	return n;
}
