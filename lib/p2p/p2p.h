/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod links: open a Gaudi, allocate device memory, export it as a
 * dma-buf, register that with the RDMA NIC that is paired with the Gaudi.
 *
 *	p2p_open_index(0, &dev, &pair);		the pod's first Gaudi
 *	p2p_alloc(dev, 64 << 20, &mem);		device memory, zeroed by the driver
 *	p2p_export(mem, 0, 64 << 20, &fd);	a dma-buf that only this pod can use
 *	p2p_nic_open(pair.uverbs, &nic);
 *	p2p_register(nic, fd, 0, 64 << 20, 0, IBV_ACCESS_REMOTE_WRITE | ..., &mr);
 *
 * Errors: every function that returns int gives 0 or -errno and leaves its
 * outputs alone on failure; p2p_describe() turns that into a sentence. Calls
 * interrupted by signals are tried again a few times, never without end.
 *
 * Ownership: what ret_x hands out belongs to the caller and is released with
 * the function named at the prototype. Objects may be used by one thread at a time.
 *
 * The memory belongs to the pod that opened the device. A descriptor sent to
 * another pod is of no use there (EPERM). Everything ends when the device is
 * closed or the pod is gone: mappings then raise SIGBUS, regions fail, calls
 * answer ENODEV.
 */
#ifndef P2P_P2P_H
#define P2P_P2P_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "base/cleanup.h"

/* --- which devices does this pod have? ------------------------------------ */

#define P2P_PAIRS_MAX 64
#define P2P_PATH_SIZE 64

/* A Gaudi and its NIC, as paths of device nodes. uverbs is "" when the Gaudi has no partner. */
struct p2p_pair {
	char accel[P2P_PATH_SIZE];
	char uverbs[P2P_PATH_SIZE];
};

/*
 * Reads "/dev/accel/accel0=/dev/infiniband/uverbs0,..." ("=..." may be
 * missing). -EINVAL: not of that form, a name that is no accel or uverbs
 * node, or a Gaudi named twice; -E2BIG: more than max.
 */
int p2p_pairs_parse(const char *text, struct p2p_pair *pairs, size_t max, size_t *ret_n);

/*
 * The pairs that the device plugin gave to this container: GAUDI_P2P_PAIRS, or,
 * where that is missing, the minors in HABANA_VISIBLE_DEVICES without NICs.
 * -ENOENT: neither is set; else as p2p_pairs_parse().
 */
int p2p_pairs_from_env(struct p2p_pair *pairs, size_t max, size_t *ret_n);

/* --- device --------------------------------------------------------------- */

struct p2p_device;

/* What the device tells about itself; sizes in bytes. */
struct p2p_info {
	char card_name[17];
	uint32_t device_id; /* PCI device ID of the chip */
	uint32_t module_id; /* place on the baseboard */
	uint64_t memory_size;
	uint64_t page_size;   /* allocations are rounded up to it */
	uint64_t memory_free; /* not allocated by anyone now */
};

/*
 * Opens a device node and takes its lease. The driver lets open() wait for a
 * short time while it wipes the memory of the owner before. -EBUSY: another
 * owner has it; -ENOTTY: not a Gaudi's node; -ENODEV: lost, see its
 * `reason` in sysfs. Release: p2p_close().
 */
int p2p_open(const char *path, struct p2p_device **ret);

/* The index-th pair of p2p_pairs_from_env(). ret_pair may be NULL. -ERANGE: fewer devices than that. */
int p2p_open_index(unsigned index, struct p2p_device **ret, struct p2p_pair *ret_pair);

/*
 * Gives the lease back. All memory of the device goes with it, its p2p_memory objects
 * included; dma-buf descriptors, CPU mappings and regions stay the caller's
 * to release but reach nothing any more.
 */
void p2p_close(struct p2p_device *dev);
DEFINE_CLEANUP(struct p2p_device *, p2p_close)

/* The descriptor, which stays the library's. */
int p2p_fd(const struct p2p_device *dev);

int p2p_info(struct p2p_device *dev, struct p2p_info *ret);

/* --- memory --------------------------------------------------------------- */

struct p2p_memory;

/*
 * Allocates size bytes (rounded up to the page) in one physical run and maps
 * them into the device's address space. The memory is zero. -ENOMEM: no run
 * that long is free. Release: p2p_free() or p2p_close() of the device.
 */
int p2p_alloc(struct p2p_device *dev, uint64_t size, struct p2p_memory **ret);

/*
 * Gives the memory back; the driver wipes it before anyone gets it. While a dma-buf of it is
 * still in use (a region, a CPU mapping, an open descriptor) this answers what the driver says, -EINVAL
 * or -EBUSY, and mem stays as it is: release those and call again. After the
 * end of the lease it releases mem and returns 0.
 */
int p2p_free(struct p2p_memory *mem);

uint64_t p2p_memory_size(const struct p2p_memory *mem);
uint64_t p2p_memory_device_address(const struct p2p_memory *mem);

/*
 * A dma-buf of size bytes from offset (both multiples of the page).
 * Release: close().
 */
int p2p_export(struct p2p_memory *mem, uint64_t offset, uint64_t size, int *ret_fd);

/* --- dma-buf -------------------------------------------------------------- */

struct p2p_dmabuf_info {
	uint64_t size;
	char exporter[32]; /* the driver that made it */
	bool is_gaudi;	   /* gaudi_p2p or habanalabs */
};

/*
 * What a descriptor is, from /proc/self/fdinfo. -EBADF: not open; -EINVAL: not
 * a dma-buf; -ENOENT: /proc is not mounted.
 */
int p2p_dmabuf_info(int fd, struct p2p_dmabuf_info *ret);

/*
 * CPU mapping of the first size bytes. -EPERM: not the owner's pod or switched off
 * (cpu_mmap=0); -ENODEV: the lease has ended. A later access raises SIGBUS once it has.
 * Release: p2p_dmabuf_unmap().
 */
int p2p_dmabuf_map(int fd, size_t size, bool writable, void **ret);
void p2p_dmabuf_unmap(void *map, size_t size);

/* --- NIC ------------------------------------------------------------------ */

struct p2p_nic;

/*
 * Opens the RDMA device behind a uverbs node ("/dev/infiniband/uverbs0") and
 * makes a protection domain. -ENOENT: no such RDMA device in this network
 * namespace; -EPERM: it is in another one. Release: p2p_nic_close().
 */
int p2p_nic_open(const char *uverbs, struct p2p_nic **ret);

/* Regions and queue pairs made on it must be released before. */
void p2p_nic_close(struct p2p_nic *nic);
DEFINE_CLEANUP(struct p2p_nic *, p2p_nic_close)

struct ibv_context *p2p_nic_context(struct p2p_nic *nic);
struct ibv_pd *p2p_nic_pd(struct p2p_nic *nic);

/*
 * Registers length bytes from offset of a Gaudi's dma-buf; remote peers
 * address them from iova on. access: IBV_ACCESS_*. fd may be closed afterwards.
 *
 * -EXDEV: a dma-buf of another driver; -EBADF, -EINVAL: no dma-buf at all, or
 * offset + length outside of it; -EPERM: belongs to another pod; -EOPNOTSUPP:
 * the NIC cannot revoke and the node's policy is to refuse such NICs, or it
 * cannot import; -ENODEV: the lease has ended. Release: p2p_unregister().
 */
int p2p_register(struct p2p_nic *nic, int fd, uint64_t offset, size_t length, uint64_t iova, int access,
		 struct ibv_mr **ret);

/* -EBUSY, -EIO and the like come from the kernel; mr is gone after 0 only. */
int p2p_unregister(struct ibv_mr *mr);

struct p2p_gid {
	union ibv_gid gid;
	uint8_t index;
	uint8_t port;
	uint8_t mtu; /* active, enum ibv_mtu */
	bool is_ipv4;
};

/*
 * The address to use with RC queue pairs: RoCE v2, IPv4-mapped if there is
 * one, else routable IPv6, else link-local. -EADDRNOTAVAIL: the NIC has none (yet); -ENETDOWN: no active
 * port.
 */
int p2p_nic_gid(struct p2p_nic *nic, struct p2p_gid *ret);

/* --- words ---------------------------------------------------------------- */

enum p2p_action {
	P2P_ACTION_PAIRS,
	P2P_ACTION_OPEN,
	P2P_ACTION_ALLOC,
	P2P_ACTION_FREE,
	P2P_ACTION_EXPORT,
	P2P_ACTION_MAP,
	P2P_ACTION_NIC,
	P2P_ACTION_REGISTER,
	P2P_ACTION_GID,
};

/*
 * What a failure of that action means and what to do about it: a static
 * sentence without a full stop. error may have either sign.
 */
const char *p2p_describe(enum p2p_action action, int error);

#endif
