// SPDX-License-Identifier: Apache-2.0
/* The accel node: lease, information, memory, export. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "abi.h"
#include "edge.h"
#include "p2p.h"

/* The driver never answers EAGAIN or EINTR twice in a row; a few more rounds cover signals of our own. */
#define IOCTL_TRIES 8

struct p2p_device {
	int fd;
	struct p2p_memory *memories; /* list of all, so that close can release them */
};

struct p2p_memory {
	struct p2p_device *dev;
	struct p2p_memory *next;
	uint64_t handle;
	uint64_t va; /* 0 once unmapped */
	uint64_t size;
};

static int device_ioctl(int fd, unsigned long request, void *arg)
{
	int r = -EINTR;

	for (unsigned i = 0; i < IOCTL_TRIES && (r == -EINTR || r == -EAGAIN); i++)
		r = p2p_edge_ioctl(fd, request, arg) < 0 ? negative_errno() : 0;
	return r;
}

static int device_query(int fd, uint32_t op, void *answer, uint32_t size)
{
	struct p2p_abi_info args = {
		.return_pointer = (uintptr_t)answer,
		.return_size = size,
		.op = op,
	};

	return device_ioctl(fd, P2P_ABI_IOC_INFO, &args);
}

int p2p_open(const char *path, struct p2p_device **ret)
{
	_cleanup_close_ int fd = -EBADF;
	struct p2p_abi_hw_ip ip = { 0 };
	struct p2p_device *dev;
	int r;

	fd = p2p_edge_open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return negative_errno();
	/* Only a Gaudi answers this; anything else says ENOTTY. */
	r = device_query(fd, P2P_ABI_INFO_HW_IP, &ip, sizeof(ip));
	if (r < 0)
		return r;
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->fd = TAKE_FD(fd);
	*ret = dev;
	return 0;
}

void p2p_close(struct p2p_device *dev)
{
	struct p2p_memory *mem = dev->memories;

	/* The driver takes all memory back with the last close. */
	(void)close(dev->fd);
	while (mem) {
		struct p2p_memory *next = mem->next;

		free(mem);
		mem = next;
	}
	free(dev);
}

int p2p_fd(const struct p2p_device *dev)
{
	return dev->fd;
}

int p2p_info(struct p2p_device *dev, struct p2p_info *ret)
{
	struct p2p_abi_hw_ip ip = { 0 };
	struct p2p_abi_dram_usage usage = { 0 };
	struct p2p_info info = { 0 };
	int r;

	r = device_query(dev->fd, P2P_ABI_INFO_HW_IP, &ip, sizeof(ip));
	if (r < 0)
		return r;
	r = device_query(dev->fd, P2P_ABI_INFO_DRAM_USAGE, &usage, sizeof(usage));
	if (r < 0)
		return r;
	/* card_name need not be terminated; info's is one longer. */
	memcpy(info.card_name, ip.card_name, sizeof(ip.card_name));
	info.device_id = ip.device_id;
	info.module_id = ip.module_id;
	info.memory_size = ip.dram_size;
	info.page_size = ip.default_page_size ? ip.default_page_size : ip.dram_page_size;
	info.memory_free = usage.free;
	*ret = info;
	return 0;
}

static int memory_release(int fd, uint64_t handle)
{
	union p2p_abi_memory args = { .in = { .a = handle, .op = P2P_ABI_MEM_FREE } };

	return device_ioctl(fd, P2P_ABI_IOC_MEMORY, &args);
}

int p2p_alloc(struct p2p_device *dev, uint64_t size, struct p2p_memory **ret)
{
	union p2p_abi_memory args = {
		.in = { .a = size, .op = P2P_ABI_MEM_ALLOC, .flags = P2P_ABI_MEM_CONTIGUOUS },
	};
	_cleanup_free_ struct p2p_memory *mem = NULL;
	uint64_t handle;
	int r;

	if (size == 0)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	r = device_ioctl(dev->fd, P2P_ABI_IOC_MEMORY, &args);
	if (r < 0)
		return r;
	handle = args.out.value;
	if (handle == 0)
		return -ENOMEM;
	args = (union p2p_abi_memory){ .in = { .b = handle, .op = P2P_ABI_MEM_MAP } };
	r = device_ioctl(dev->fd, P2P_ABI_IOC_MEMORY, &args);
	if (r == 0 && args.out.value == 0)
		r = -ENOMEM;
	if (r < 0) {
		(void)memory_release(dev->fd, handle);
		return r;
	}
	mem->dev = dev;
	mem->handle = handle;
	mem->va = args.out.value;
	mem->size = size;
	mem->next = dev->memories;
	dev->memories = mem;
	*ret = TAKE_PTR(mem);
	return 0;
}

static void memory_forget(struct p2p_memory *mem)
{
	struct p2p_memory **link = &mem->dev->memories;

	while (*link != mem)
		link = &(*link)->next;
	*link = mem->next;
	free(mem);
}

int p2p_free(struct p2p_memory *mem)
{
	int fd = mem->dev->fd;
	int r;

	if (mem->va) {
		union p2p_abi_memory args = { .in = { .a = mem->va, .op = P2P_ABI_MEM_UNMAP } };

		r = device_ioctl(fd, P2P_ABI_IOC_MEMORY, &args);
		if (r < 0 && r != -ENODEV)
			return r;
		mem->va = 0; /* a second call goes on from here */
	}
	r = memory_release(fd, mem->handle);
	/* ENODEV: the lease has ended and took the memory with it. */
	if (r < 0 && r != -ENODEV)
		return r;
	memory_forget(mem);
	return 0;
}

uint64_t p2p_memory_size(const struct p2p_memory *mem)
{
	return mem->size;
}

uint64_t p2p_memory_device_address(const struct p2p_memory *mem)
{
	return mem->va;
}

int p2p_export(struct p2p_memory *mem, uint64_t offset, uint64_t size, int *ret_fd)
{
	union p2p_abi_memory args = {
		.in = {
			.a = mem->va,
			.b = size,
			.c = offset,
			.op = P2P_ABI_MEM_EXPORT,
			.flags = O_RDWR | O_CLOEXEC,
		},
	};
	int r;

	/* Against the mapping's own end the driver checks; this is for a clear answer without a call. */
	if (size == 0 || offset > UINT64_MAX - size)
		return -EINVAL;
	r = device_ioctl(mem->dev->fd, P2P_ABI_IOC_MEMORY, &args);
	if (r < 0)
		return r;
	if (args.fd < 0)
		return -EBADF;
	*ret_fd = args.fd;
	return 0;
}
