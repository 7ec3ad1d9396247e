// SPDX-License-Identifier: Apache-2.0
/* dma-buf descriptors: what they are, and the CPU's view of them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/num.h"
#include "edge.h"
#include "p2p.h"

/* The value of "KEY:\tVALUE\n" in an fdinfo text. False when absent or longer than value. */
static bool fdinfo_value(const char *text, const char *key, char *value, size_t size)
{
	size_t key_len = strlen(key);

	while (text && *text) {
		const char *end = strchrnul(text, '\n');

		if (strncmp(text, key, key_len) == 0 && text[key_len] == ':') {
			const char *from = text + key_len + 1;
			size_t len;

			from += strspn(from, " \t");
			len = from < end ? (size_t)(end - from) : 0;
			if (len >= size)
				return false;
			memcpy(value, from, len);
			value[len] = '\0';
			return true;
		}
		text = *end ? end + 1 : NULL;
	}
	return false;
}

int p2p_dmabuf_info(int fd, struct p2p_dmabuf_info *ret)
{
	struct p2p_dmabuf_info info = { 0 };
	char text[4096];
	char number[24];
	ssize_t len;
	int r;

	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	len = p2p_edge_fdinfo(fd, text, sizeof(text));
	if (len < 0)
		return (int)len;
	/* Only a dma-buf has an exporter. */
	if (!fdinfo_value(text, "exp_name", info.exporter, sizeof(info.exporter)) ||
	    !fdinfo_value(text, "size", number, sizeof(number)))
		return -EINVAL;
	r = num_parse_u64(number, 0, UINT64_MAX, &info.size);
	if (r < 0)
		return -EINVAL;
	info.is_gaudi = strcmp(info.exporter, "gaudi_p2p") == 0 || strcmp(info.exporter, "habanalabs") == 0;
	*ret = info;
	return 0;
}

int p2p_dmabuf_map(int fd, size_t size, bool writable, void **ret)
{
	void *map = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return negative_errno();
	*ret = map;
	return 0;
}

void p2p_dmabuf_unmap(void *map, size_t size)
{
	(void)munmap(map, size);
}
