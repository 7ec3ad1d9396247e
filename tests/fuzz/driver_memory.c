// SPDX-License-Identifier: Apache-2.0
/* Calls on the nodes of a card: INFO, MEMORY, REVOKE, GRANT, LIST, and whatever else a number may mean. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "driver.h"
#include "vm.h"

static int memory(struct fuzz *f, const struct fuzz_file *file, union hl_mem_args *args)
{
	return fuzz_ioctl(f, file, DRM_IOCTL_HL_MEMORY, args);
}

/* --- opening --------------------------------------------------------------------- */
static int op_open(struct fuzz *f)
{
	unsigned int card = (unsigned int)fuzz_below(f, FUZZ_CARDS);
	int flags = O_CLOEXEC | (fuzz_once_in(f, 12) ? O_RDONLY : O_RDWR) |
		    (fuzz_once_in(f, 12) ? 0 : O_NONBLOCK);
	struct fuzz_file file = { .kind = FUZZ_ACCEL, .tenant = f->tenant };
	char path[64];

	if (fuzz_count(f, FUZZ_ACCEL) >= 4)
		return FUZZ_NOTHING;
	snprintf(path, sizeof(path), "/dev/accel/accel%d", f->shared->node[card]);
	fuzz_called(f);
	file.fd = open(path, flags);
	if (file.fd < 0)
		return -errno;
	file.lease = atomic_fetch_add(&f->shared->leases, 1) + 1;
	return fuzz_keep(f, file);
}

static int op_open_control(struct fuzz *f)
{
	struct fuzz_file file = { .kind = FUZZ_CONTROL, .tenant = f->tenant };
	char path[64];

	if (fuzz_count(f, FUZZ_CONTROL) >= 3)
		return FUZZ_NOTHING;
	snprintf(path, sizeof(path), "/dev/accel/accel_controlD%d",
		 f->shared->node[fuzz_below(f, FUZZ_CARDS)]);
	fuzz_called(f);
	file.fd = open(path, O_RDWR | O_CLOEXEC);
	return file.fd < 0 ? -errno : fuzz_keep(f, file);
}

static int op_info(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, fuzz_once_in(f, 2) ? FUZZ_ACCEL : FUZZ_CONTROL);
	uint8_t answer[1024];
	struct hl_info_args args = { .return_pointer = (uintptr_t)answer,
				     .return_size = (uint32_t)fuzz_below(f, sizeof(answer)),
				     .op = (uint32_t)fuzz_below(f, 42) };

	if (!file)
		return FUZZ_NOTHING;
	/* Not a pointer of ours that is not for writing: the pool. */
	if (fuzz_mutate(f, &args, sizeof(args)) && args.return_pointer != (uintptr_t)answer)
		args.return_pointer &= 0xffffffff00000fff;
	if (args.return_size > sizeof(answer) && args.return_pointer == (uintptr_t)answer)
		args.return_size = sizeof(answer);
	return fuzz_ioctl(f, file, DRM_IOCTL_HL_INFO, &args);
}

/* --- MEMORY ------------------------------------------------------------------------ */
static uint64_t some_size(struct fuzz *f)
{
	static const uint64_t sizes[] = { 1, 4096, 65536, 65536, 65536, 131072, 196608, 1 << 20 };

	/* Much memory is much to scrub, and nothing else. */
	return fuzz_once_in(f, 64) ? 16 << 20 : sizes[fuzz_below(f, sizeof(sizes) / sizeof(sizes[0]))];
}

static int op_alloc(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC } };
	uint64_t size = some_size(f);
	int r;

	if (!file)
		return FUZZ_NOTHING;
	args.in.alloc.mem_size = size;
	args.in.flags = (uint32_t)fuzz_below(f, 4);
	if (fuzz_mutate(f, &args, sizeof(args)))
		size = 0;
	r = memory(f, file, &args);
	if (!r)
		fuzz_put(&f->handles, f,
			 (struct fuzz_thing){ .lease = file->lease, .value = args.out.handle, .size = size });
	return r;
}

static int op_free(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct fuzz_thing *handle = file ? fuzz_get(&f->handles, f, file) : NULL;
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_FREE } };
	int r;

	if (!file)
		return FUZZ_NOTHING;
	args.in.free.handle = handle ? handle->value : 1 + fuzz_below(f, 8);
	fuzz_mutate(f, &args, sizeof(args));
	r = memory(f, file, &args);
	if (!r && handle)
		fuzz_forget(&f->handles, handle);
	return r;
}

static int op_map(struct fuzz *f)
{
	static uint8_t host[65536] __attribute__((aligned(4096)));
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct fuzz_thing *handle = file ? fuzz_get(&f->handles, f, file) : NULL;
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_MAP } };
	uint64_t size = handle ? handle->size : 0;
	int r;

	if (!file)
		return FUZZ_NOTHING;
	if (fuzz_once_in(f, 5)) {
		args.in.flags = HL_MEM_USERPTR;
		args.in.map_host.host_virt_addr = (uintptr_t)host + fuzz_below(f, sizeof(host));
		args.in.map_host.mem_size = fuzz_below(f, sizeof(host));
		size = 0;
	} else {
		args.in.map_device.handle = handle ? handle->value : 1 + fuzz_below(f, 8);
		if (fuzz_once_in(f, 4))
			args.in.map_device.hint_addr = fuzz_value(f);
		if (fuzz_once_in(f, 8))
			args.in.flags = HL_MEM_FORCE_HINT;
	}
	fuzz_mutate(f, &args, sizeof(args));
	r = memory(f, file, &args);
	if (!r)
		fuzz_put(&f->addresses, f,
			 (struct fuzz_thing){
				 .lease = file->lease, .value = args.out.device_virt_addr, .size = size });
	return r;
}

static int op_unmap(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct fuzz_thing *address = file ? fuzz_get(&f->addresses, f, file) : NULL;
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_UNMAP } };
	int r;

	if (!file)
		return FUZZ_NOTHING;
	args.in.unmap.device_virt_addr = address ? address->value : 1ull << 44;
	fuzz_mutate(f, &args, sizeof(args));
	r = memory(f, file, &args);
	if (!r && address)
		fuzz_forget(&f->addresses, address);
	return r;
}

static int op_export(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct fuzz_thing *address = file ? fuzz_get(&f->addresses, f, file) : NULL;
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD, .flags = O_RDWR | O_CLOEXEC } };
	uint64_t pages = address && address->size ? (address->size + 4095) / 4096 : 16;
	int r;

	if (!file)
		return FUZZ_NOTHING;
	args.in.export_dmabuf_fd.addr = address ? address->value : 1ull << 44;
	args.in.export_dmabuf_fd.mem_size = pages * 4096;
	if (fuzz_once_in(f, 2)) {
		args.in.export_dmabuf_fd.offset = fuzz_below(f, pages) * 4096;
		args.in.export_dmabuf_fd.mem_size -= args.in.export_dmabuf_fd.offset;
	}
	if (fuzz_once_in(f, 8))
		args.in.flags = O_RDONLY;
	fuzz_mutate(f, &args, sizeof(args));
	pages = args.in.export_dmabuf_fd.mem_size;
	/* Mutated into something else, what comes back is no file. */
	if (args.in.op != HL_MEM_OP_EXPORT_DMABUF_FD)
		return memory(f, file, &args);
	r = memory(f, file, &args);
	if (r)
		return r;
	return fuzz_keep(f, (struct fuzz_file){ .fd = args.out.fd,
						.kind = FUZZ_DMABUF,
						.tenant = file->tenant,
						.lease = file->lease,
						.size = pages });
}

/* From an allocation to a look at it: what a new owner sees is zero. */
static int op_look(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct fuzz_file dmabuf = { .kind = FUZZ_DMABUF };
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC, .alloc = { .mem_size = some_size(f) } } };
	uint64_t size = (args.in.alloc.mem_size + 65535) & ~65535ull, address;
	int r;

	if (!file)
		return FUZZ_NOTHING;
	r = memory(f, file, &args);
	if (r)
		return r;
	fuzz_put(&f->handles, f,
		 (struct fuzz_thing){ .lease = file->lease, .value = args.out.handle, .size = size });
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_MAP,
					    .map_device = { .handle = args.out.handle } } };
	r = memory(f, file, &args);
	if (r)
		return r;
	address = args.out.device_virt_addr;
	fuzz_put(&f->addresses, f,
		 (struct fuzz_thing){ .lease = file->lease, .value = address, .size = size });
	args = (union hl_mem_args){ .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,
					    .flags = O_RDWR | O_CLOEXEC,
					    .export_dmabuf_fd = { .addr = address, .mem_size = size } } };
	r = memory(f, file, &args);
	if (r)
		return r;
	dmabuf.fd = args.out.fd;
	dmabuf.tenant = file->tenant;
	dmabuf.lease = file->lease;
	dmabuf.size = size;
	r = fuzz_view(f, &dmabuf, !f->shares_files);
	fuzz_keep(f, dmabuf);
	return r;
}

/* --- ours ------------------------------------------------------------------------- */
static int op_revoke(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL), *dmabuf = fuzz_pick(f, FUZZ_DMABUF);
	struct fuzz_thing *address = file ? fuzz_get(&f->addresses, f, file) : NULL;
	struct gaudi_p2p_revoke args = { 0 };

	if (!file)
		return FUZZ_NOTHING;
	if (dmabuf && fuzz_once_in(f, 2)) {
		args.flags = GAUDI_P2P_REVOKE_FD;
		args.fd = dmabuf->fd;
	} else if (address && !fuzz_once_in(f, 3)) {
		args.flags = GAUDI_P2P_REVOKE_ADDR;
		args.addr = address->value;
	} else {
		args.flags = GAUDI_P2P_REVOKE_ALL;
	}
	args.timeout_ms = fuzz_once_in(f, 3) ? (uint32_t)fuzz_below(f, 20) : 0;
	fuzz_mutate(f, &args, sizeof(args));
	return fuzz_ioctl(f, file, DRM_IOCTL_GAUDI_P2P_REVOKE, &args);
}

static int op_grant(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL), *dmabuf = fuzz_pick(f, FUZZ_DMABUF);
	struct fuzz_file *pidfd = fuzz_pick(f, FUZZ_PIDFD);
	struct gaudi_p2p_grant args = { .flags = fuzz_once_in(f, 3) };

	if (!file || !dmabuf || !pidfd)
		return FUZZ_NOTHING;
	args.fd = dmabuf->fd;
	args.pidfd = pidfd->fd;
	fuzz_mutate(f, &args, sizeof(args));
	return fuzz_ioctl(f, file, DRM_IOCTL_GAUDI_P2P_GRANT, &args);
}

static int op_list(struct fuzz *f)
{
	static struct gaudi_p2p_export entries[32];
	struct fuzz_file *file = fuzz_pick(f, FUZZ_ACCEL);
	struct gaudi_p2p_list args = { .entries = (uintptr_t)entries, .entry_size = sizeof(entries[0]) };

	if (!file)
		return FUZZ_NOTHING;
	args.count = (uint32_t)fuzz_below(f, 33);
	if (fuzz_mutate(f, &args, sizeof(args))) {
		/* More than there is room for only where nothing of ours can be. */
		args.entries = fuzz_once_in(f, 2) ? 4096 : fuzz_value(f) | 1ull << 63;
	}
	return fuzz_ioctl(f, file, DRM_IOCTL_GAUDI_P2P_LIST, &args);
}

/* Any number of DRM's range with any size and any content. */
static int raw(struct fuzz *f, const struct fuzz_file *file)
{
	uint64_t argument[64] = { 0 };
	unsigned int nr, i;

	nr = fuzz_once_in(f, 2) ? 0x40 + (unsigned int)fuzz_below(f, 0x40)
				: (unsigned int)fuzz_below(f, 0x100);
	for (i = 0; i < 8; i++)
		argument[i] = fuzz_value(f);
	/* What the kernel may be told to write to shall not be ours. */
	for (i = 0; i < 64; i++)
		if (argument[i] >= 0x400000 && argument[i] < 1ull << 47)
			argument[i] |= 1ull << 62;
	return fuzz_ioctl(f, file,
			  _IOC(fuzz_below(f, 4), 'd', nr, fuzz_once_in(f, 2) ? 40 : fuzz_below(f, 256)),
			  fuzz_once_in(f, 10) ? NULL : argument);
}

static int op_raw(struct fuzz *f)
{
	static const enum fuzz_kind kinds[] = { FUZZ_ACCEL, FUZZ_ACCEL, FUZZ_CONTROL };
	struct fuzz_file *file = fuzz_pick(f, kinds[fuzz_below(f, 3)]);
	unsigned int i;

	if (!file)
		return FUZZ_NOTHING;
	for (i = 0; i < 8; i++)
		raw(f, file);
	return 0;
}

const struct fuzz_op fuzz_memory_ops[] = {
	{ "open", 20, op_open },
	{ "open the control node", 10, op_open_control },
	{ "INFO", 60, op_info },
	{ "ALLOC", 140, op_alloc },
	{ "FREE", 80, op_free },
	{ "MAP", 140, op_map },
	{ "UNMAP", 60, op_unmap },
	{ "EXPORT", 160, op_export },
	{ "look at new memory", 30, op_look },
	{ "REVOKE", 50, op_revoke },
	{ "GRANT", 60, op_grant },
	{ "LIST", 50, op_list },
	{ "any ioctl", 60, op_raw },
	{ 0 },
};
