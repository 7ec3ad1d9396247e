// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of a side: of its card, of the system behind a dma-buf, or plain.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "card.h"
#include "soft_roce.h"

static int memory_call(int card, union hl_mem_args *args)
{
	return ioctl(card, DRM_IOCTL_HL_MEMORY, args) < 0 ? -errno : 0;
}

long do_card_open(struct world *w, const long *a, long *ret)
{
	(void)a;
	(void)ret;
	/* A port that can be pulled may show its card only a while after boot. */
	w->card = card_open(this_side->card, 0);
	return w->card < 0 ? w->card : 0;
}

long do_card_close(struct world *w, const long *a, long *ret)
{
	(void)a;
	(void)ret;
	if (close(w->card) < 0)
		return -errno;
	w->card = -1;
	return 0;
}

static int gaudi_new(struct world *w, struct buffer *b, unsigned flags)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC, .flags = HL_MEM_CONTIGUOUS } };
	int r;

	args.in.alloc.mem_size = b->size;
	r = memory_call(w->card, &args);
	if (r < 0)
		return r;
	b->handle = args.out.handle;

	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP } };
	args.in.map_device.handle = b->handle;
	r = memory_call(w->card, &args);
	if (r < 0)
		return r;
	b->va = args.out.device_virt_addr;

	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD, .flags = flags } };
	args.in.export_dmabuf_fd.addr = b->va;
	args.in.export_dmabuf_fd.mem_size = b->size;
	r = memory_call(w->card, &args);
	if (r < 0)
		return r;
	b->fd = args.out.fd;
	return 0;
}

static int udmabuf_new(struct buffer *b)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = b->size };
	int device, memfd, r = 0;

	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	memfd = memfd_create("soft-roce", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	create.memfd = memfd;
	if (memfd < 0 || ftruncate(memfd, b->size) < 0 || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		r = -errno;
	else if ((b->fd = ioctl(device, UDMABUF_CREATE, &create)) < 0)
		r = -errno;
	if (memfd >= 0)
		close(memfd);
	close(device);
	return r;
}

long do_buffer_new(struct world *w, const long *a, long *ret)
{
	struct buffer *b = NULL;
	int i, r = 0, prot = PROT_READ | PROT_WRITE;

	(void)ret;
	for (i = 0; i < SIDE_BUFFERS && !b; i++)
		if (!w->buffer[i].size)
			b = &w->buffer[i];
	if (!b)
		return -ENOSPC;
	*b = (struct buffer){ .kind = a[0], .fd = -1, .size = a[1] };

	if (b->kind == BUFFER_GAUDI)
		r = gaudi_new(w, b, a[2]);
	else if (b->kind == BUFFER_UDMABUF)
		r = udmabuf_new(b);
	if (r < 0) {
		b->size = 0;
		return r;
	}
	if (b->kind == BUFFER_GAUDI && (a[2] & O_ACCMODE) == O_RDONLY)
		prot = PROT_READ;
	b->map = mmap(NULL, b->size, prot, MAP_SHARED | (b->fd < 0 ? MAP_ANONYMOUS : 0), b->fd, 0);
	if (b->map == MAP_FAILED) {
		r = -errno;
		if (b->fd >= 0)
			close(b->fd);
		b->size = 0;
		return r;
	}
	return i - 1;
}

long do_buffer_free(struct world *w, const long *a, long *ret)
{
	struct buffer *b = &w->buffer[a[0]];

	(void)ret;
	if (b->map)
		munmap(b->map, b->size);
	if (b->fd >= 0)
		close(b->fd);
	b->size = 0;
	return 0;
}

long do_buffer_fd(struct world *w, const long *a, long *ret)
{
	(void)ret;
	return w->buffer[a[0]].fd;
}

long do_steal_fd(struct world *w, const long *a, long *ret)
{
	int pidfd = syscall(SYS_pidfd_open, (pid_t)a[0], 0), fd;

	(void)w;
	(void)ret;
	if (pidfd < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, pidfd, (int)a[1], 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);
	return fd;
}

/* A pattern in which every byte depends on its place and on the seed. */
static uint8_t pattern(size_t i, long seed)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)seed * 0xbf58476d1ce4e5b9ull;

	return x >> 56;
}

long do_buffer_fill(struct world *w, const long *a, long *ret)
{
	volatile uint8_t *p = w->buffer[a[0]].map + a[1];

	(void)ret;
	for (long i = 0; i < a[2]; i++)
		p[i] = pattern(i, a[3]);
	return 0;
}

long do_buffer_check(struct world *w, const long *a, long *ret)
{
	const volatile uint8_t *p = w->buffer[a[0]].map + a[1];
	long differ = 0;

	(void)ret;
	for (long i = 0; i < a[2]; i++)
		differ += p[i] != pattern(i, a[3]);
	return differ;
}

long do_buffer_peek(struct world *w, const long *a, long *ret)
{
	ret[0] = *(volatile long *)(w->buffer[a[0]].map + a[1]);
	return 0;
}

long do_buffer_poke(struct world *w, const long *a, long *ret)
{
	(void)ret;
	*(volatile long *)(w->buffer[a[0]].map + a[1]) = a[2];
	return 0;
}

long do_buffer_revoke(struct world *w, const long *a, long *ret)
{
	struct gaudi_p2p_revoke revoke = { .flags = GAUDI_P2P_REVOKE_FD, .fd = w->buffer[a[0]].fd };

	if (ioctl(w->card, DRM_IOCTL_GAUDI_P2P_REVOKE, &revoke) < 0)
		return -errno;
	ret[0] = revoke.revoked;
	ret[1] = revoke.held;
	return 0;
}

long do_buffer_grant(struct world *w, const long *a, long *ret)
{
	struct gaudi_p2p_grant grant = { .flags = a[2] ? GAUDI_P2P_GRANT_TAKE_BACK : 0,
					 .fd = w->buffer[a[0]].fd,
					 .pidfd = (int)syscall(SYS_pidfd_open, a[1], 0) };
	int r = ioctl(w->card, DRM_IOCTL_GAUDI_P2P_GRANT, &grant) < 0 ? -errno : 0;

	close(grant.pidfd);
	ret[0] = grant.held;
	return r;
}
