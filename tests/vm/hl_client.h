/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of <drm/habanalabs_accel.h> as programs' libraries are: it finds a device by its PCI address in the class
 * accel, repeats a call for as long as the answer is EINTR or EAGAIN, and takes handle 0 and address 0 for failures.
 *
 * Functions return 0, a file descriptor, or -errno; nothing fails the test by itself, except a driver that answers EINTR
 * or EAGAIN twice in a row, or success with a handle or an address of 0: real programs would loop or stumble there.
 */
#ifndef VM_HL_CLIENT_H
#define VM_HL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/habanalabs_accel.h>

/* N of accelN with this PCI address, NULL: the first device that there is. -ENODEV. */
int hl_index(const char *pci_addr);
/* Opens accelN, and accel_controlDN, of that number. */
int hl_open(int index);
int hl_open_control(int index);
/* Opens a card (0, 1) of the guest by its PCI address, or the first device (virtual) for -1; fails the test. */
int hl_open_card(int card);

/* One call with whatever the caller wants to try; retried as programs do. */
int hl_ioctl(int fd, unsigned long request, void *args);
int hl_info(int fd, uint32_t op, void *answer, uint32_t size);
int hl_info_raw(int fd, uint32_t op, uint64_t pointer, uint32_t size, uint32_t pad);
int hl_memory(int fd, union hl_mem_args *args);

int hl_alloc(int fd, uint64_t size, uint64_t page_size, uint32_t flags, uint64_t *ret_handle);
int hl_free(int fd, uint64_t handle);
int hl_map(int fd, uint64_t handle, uint64_t hint, uint32_t flags, uint64_t *ret_va);
int hl_map_host(int fd, const void *memory, uint64_t size, uint64_t hint, uint32_t flags, uint64_t *ret_va);
int hl_unmap(int fd, uint64_t va);
/* Flags O_RDWR | O_CLOEXEC. Returns the dma-buf. */
int hl_export(int fd, uint64_t va, uint64_t offset, uint64_t size);

/* One number out of /proc/self/fdinfo/@fd in bytes, by its key without colon; -ENOENT. */
int64_t hl_fdinfo(int fd, const char *key);

#endif
