// SPDX-License-Identifier: Apache-2.0
#include "edge.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

int p2p_edge_open(const char *path, int flags)
{
	return open(path, flags);
}

int p2p_edge_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

ssize_t p2p_edge_fdinfo(int fd, char *buf, size_t size)
{
	_cleanup_close_ int info = -EBADF;
	char path[64];
	size_t len = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return negative_errno();
	while (len < size - 1) {
		ssize_t n = read(info, buf + len, size - 1 - len);

		if (n < 0)
			return negative_errno();
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

struct ibv_device **p2p_edge_get_device_list(int *ret_n)
{
	return ibv_get_device_list(ret_n);
}

void p2p_edge_free_device_list(struct ibv_device **list)
{
	ibv_free_device_list(list);
}

struct ibv_context *p2p_edge_open_device(struct ibv_device *device)
{
	return ibv_open_device(device);
}

int p2p_edge_close_device(struct ibv_context *context)
{
	return ibv_close_device(context);
}

struct ibv_pd *p2p_edge_alloc_pd(struct ibv_context *context)
{
	return ibv_alloc_pd(context);
}

int p2p_edge_dealloc_pd(struct ibv_pd *pd)
{
	return ibv_dealloc_pd(pd);
}

struct ibv_mr *p2p_edge_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				      int fd, int access)
{
	return ibv_reg_dmabuf_mr(pd, offset, length, iova, fd, access);
}

int p2p_edge_dereg_mr(struct ibv_mr *mr)
{
	return ibv_dereg_mr(mr);
}

int p2p_edge_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *ret)
{
	return ibv_query_port(context, port, ret);
}

ssize_t p2p_edge_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries, size_t max)
{
	return ibv_query_gid_table(context, entries, max, 0);
}
