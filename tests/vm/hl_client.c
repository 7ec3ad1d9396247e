// SPDX-License-Identifier: Apache-2.0
#include "hl_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "card.h"
#include "vm.h"

#define DEVICES_MAX 256

int hl_index(const char *pci_addr)
{
	char path[64], seen[64];

	for (int i = 0; i < DEVICES_MAX; i++) {
		snprintf(path, sizeof(path), "/sys/class/accel/accel%d/%s", i, pci_addr ? "pci_addr" : "dev");
		if (vm_read(path, seen, sizeof(seen)) > 0 && (!pci_addr || !strcmp(seen, pci_addr)))
			return i;
	}
	return -ENODEV;
}

static int open_node(const char *prefix, int index)
{
	char path[64];
	int fd;

	if (index < 0)
		return index;
	snprintf(path, sizeof(path), "/dev/accel/%s%d", prefix, index);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int hl_open(int index)
{
	return open_node("accel", index);
}

int hl_open_control(int index)
{
	return open_node("accel_controlD", index);
}

int hl_open_card(int card)
{
	double end = vm_now() + 10;
	char pci[32];
	int fd;

	if (card >= 0)
		card_pci(card, pci, sizeof(pci));
	/* A device appears in sysfs some moments before its node does. */
	do {
		fd = hl_open(hl_index(card >= 0 ? pci : NULL));
		if (fd != -ENODEV && fd != -ENOENT)
			break;
		vm_sleep(0.02);
	} while (vm_now() < end);
	CHECK_MSG(fd >= 0, "card %d cannot be opened: %s", card, strerror(-fd));
	return fd;
}

int hl_ioctl(int fd, unsigned long request, void *args)
{
	unsigned int again = 0;
	int r;

	do {
		r = ioctl(fd, request, args) ? -errno : 0;
		if (r == -EINTR || r == -EAGAIN)
			CHECK_MSG(++again < 2, "%s twice in a row: programs loop on it", strerror(-r));
	} while (r == -EINTR || r == -EAGAIN);
	return r;
}

int hl_info_raw(int fd, uint32_t op, uint64_t pointer, uint32_t size, uint32_t pad)
{
	struct hl_info_args args = { .return_pointer = pointer, .return_size = size, .op = op, .pad = pad };

	return hl_ioctl(fd, DRM_IOCTL_HL_INFO, &args);
}

int hl_info(int fd, uint32_t op, void *answer, uint32_t size)
{
	return hl_info_raw(fd, op, (uintptr_t)answer, size, 0);
}

int hl_memory(int fd, union hl_mem_args *args)
{
	return hl_ioctl(fd, DRM_IOCTL_HL_MEMORY, args);
}

int hl_alloc(int fd, uint64_t size, uint64_t page_size, uint32_t flags, uint64_t *ret_handle)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC,
					   .flags = flags,
					   .alloc = { .mem_size = size, .page_size = page_size } } };
	int r = hl_memory(fd, &args);

	if (r)
		return r;
	CHECK_MSG(args.out.handle, "ALLOC succeeded with handle 0, which says that it failed");
	*ret_handle = args.out.handle;
	return 0;
}

int hl_free(int fd, uint64_t handle)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_FREE, .free = { .handle = handle } } };

	return hl_memory(fd, &args);
}

static int map(int fd, union hl_mem_args *args, uint64_t *ret_va)
{
	int r = hl_memory(fd, args);

	if (r)
		return r;
	CHECK_MSG(args->out.device_virt_addr, "MAP succeeded with address 0, which says that it failed");
	*ret_va = args->out.device_virt_addr;
	return 0;
}

int hl_map(int fd, uint64_t handle, uint64_t hint, uint32_t flags, uint64_t *ret_va)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_MAP,
					   .flags = flags,
					   .map_device = { .hint_addr = hint, .handle = handle } } };

	return map(fd, &args, ret_va);
}

int hl_map_host(int fd, const void *memory, uint64_t size, uint64_t hint, uint32_t flags, uint64_t *ret_va)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_MAP,
					   .flags = HL_MEM_USERPTR | flags,
					   .map_host = { .host_virt_addr = (uintptr_t)memory,
							 .hint_addr = hint,
							 .mem_size = size } } };

	return map(fd, &args, ret_va);
}

int hl_unmap(int fd, uint64_t va)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_UNMAP, .unmap = { .device_virt_addr = va } } };

	return hl_memory(fd, &args);
}

int hl_export(int fd, uint64_t va, uint64_t offset, uint64_t size)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,
					   .flags = O_RDWR | O_CLOEXEC,
					   .export_dmabuf_fd = {
						   .addr = va, .mem_size = size, .offset = offset } } };
	int r = hl_memory(fd, &args);

	return r ? r : args.out.fd;
}

int64_t hl_fdinfo(int fd, const char *key)
{
	char path[64], text[2048], *line, *save, unit[8];
	size_t len = strlen(key);
	unsigned long long value;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (vm_read(path, text, sizeof(text)) < 0)
		return -errno;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, key, len) || line[len] != ':')
			continue;
		switch (sscanf(line + len + 1, "%llu %7s", &value, unit)) {
		case 1:
			return value;
		case 2:
			return value << (!strcmp(unit, "MiB") ? 20 : 10);
		}
	}
	return -ENOENT;
}
