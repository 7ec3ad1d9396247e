/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What gaudi_p2p offers beside the interface of <drm/habanalabs_accel.h>.
 * This is the only header of the driver that user space includes.
 *
 * All calls are made on the accel file, by a process of the owner; a stranger gets -EPERM, and everybody -ENODEV once
 * the lease has ended. None answers -EINTR or -EAGAIN. Fields that are named reserved or pad must be zero (-EINVAL);
 * fields that are only answers are not looked at. Sizes and addresses are in bytes. The layout is the same for 32-bit
 * programs.
 */
#ifndef GAUDI_P2P_H
#define GAUDI_P2P_H

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
#define GAUDI_P2P_ASSERT(condition)	static_assert(condition, #condition)
#else
#define GAUDI_P2P_ASSERT(condition)	__extension__ _Static_assert(condition, #condition)
#endif

/* Ours begin here; everything below belongs to habanalabs_accel.h. */
#define GAUDI_P2P_COMMAND_BASE	(DRM_COMMAND_BASE + 0x20)

/* What DRM_IOCTL_GAUDI_P2P_REVOKE shall revoke: exactly one of these. */
#define GAUDI_P2P_REVOKE_FD	0x1	/* the export behind the dma-buf file @fd */
#define GAUDI_P2P_REVOKE_ADDR	0x2	/* every export of the mapping that starts at device address @addr */
#define GAUDI_P2P_REVOKE_ALL	0x4	/* every export of the caller's lease */

/**
 * struct gaudi_p2p_revoke - end exports that the caller made (DRM_IOCTL_GAUDI_P2P_REVOKE)
 * @flags: in: one of GAUDI_P2P_REVOKE_*
 * @fd: in: dma-buf file of GAUDI_P2P_REVOKE_FD, else 0; stays the caller's
 * @addr: in: device virtual address of GAUDI_P2P_REVOKE_ADDR, as HL_MEM_OP_MAP gave it, else 0
 * @timeout_ms: in: milliseconds to wait until nobody holds the exports asked for; 0: do not wait
 * @revoked: out: exports that this call revoked; those revoked before do not count
 * @held: out: of the exports asked for, how many somebody still holds: an importer that cannot revoke or has not
 *	unmapped yet, or work that an importer announced by a fence
 * @pad: must be zero
 * @reserved: must be zero
 *
 * On return importers that can revoke have been told to let go, CPU mappings are gone (an access raises SIGBUS), and
 * nobody can attach or map any more (-ENODEV). The device memory stays allocated and mapped. A mapping whose exports
 * are all revoked and held by nobody can be unmapped, although dma-buf files are still open.
 *
 * With @timeout_ms the call returns 0 as soon as @held is 0, when the time is over, or when a signal came; the latter
 * two show by @held being more than 0. It can be asked again: revoking twice does no harm.
 *
 * Errors: -EINVAL: flags, a field that must be zero, an address without a mapping, or a file that is no dma-buf of the
 * caller's own lease; -EBADF: fd; -EPERM: caller is not the owner; -ENODEV: the lease has ended, maybe during the wait.
 */
struct gaudi_p2p_revoke {
	__u32 flags;
	__s32 fd;
	__u64 addr;
	__u32 timeout_ms;
	__u32 revoked;
	__u32 held;
	__u32 pad;
	__u64 reserved[2];
};

GAUDI_P2P_ASSERT(sizeof(struct gaudi_p2p_revoke) == 48);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_revoke, addr) == 8);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_revoke, timeout_ms) == 16);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_revoke, held) == 24);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_revoke, reserved) == 32);

/* gaudi_p2p_grant.flags: end the grant instead of giving it. */
#define GAUDI_P2P_GRANT_TAKE_BACK	0x1
/* Pods that one export can be granted to at a time. */
#define GAUDI_P2P_GRANTS_MAX		64

/**
 * struct gaudi_p2p_grant - let another pod import one export (DRM_IOCTL_GAUDI_P2P_GRANT)
 * @flags: in: 0 or GAUDI_P2P_GRANT_TAKE_BACK
 * @fd: in: dma-buf file of the caller's lease; stays the caller's
 * @pidfd: in: pidfd of a process (or thread) of the other pod; stays the caller's
 * @held: out: with GAUDI_P2P_GRANT_TAKE_BACK, how many of the pod's importers still map the export because they
 *	cannot revoke or have not unmapped yet; else 0
 * @reserved: must be zero
 *
 * The pod is the network namespace of the process at the moment of the call; in the initial network namespace it is
 * its cgroup. Processes of the pod may attach to this export and mmap it as the owner's may: what the driver's policy
 * refuses to the owner it refuses to them. They can neither pass the grant on, nor revoke, nor export, nor use the
 * accel file. The pod gets the dma-buf file by other ways, such as a socket. Granting twice is one grant.
 *
 * The grant ends when it is taken back, with the export, with the lease, and with the pod: when its network namespace
 * dies, or no task is left in it (or in its cgroup), which is looked at about every second. Then this pod's importers
 * are told to let go and can map no more (-ENODEV), its CPU mappings are gone (SIGBUS), also those that children
 * inherited, and new attachments and mappings are refused (-EPERM). Others are not touched.
 *
 * To take back, @pidfd is the one that the grant was made with, even if that process is gone, or one of any process of
 * the pod. Taking back again tells @held again as long as it is more than 0, then -ENOENT. Work that importers
 * announced by fences is not counted here.
 *
 * Errors: -EBADF: @fd is not open, @pidfd is no pidfd; -EINVAL: flags, a field that must be zero, @fd is no dma-buf of
 * the caller's own lease; -ESRCH: the process is gone; -EPERM: the process is in the root cgroup of the initial network
 * namespace, where pods cannot be told apart, or the caller is not the owner; -ENODEV: the export was revoked or the
 * lease has ended; -ENOSPC: GAUDI_P2P_GRANTS_MAX; -ENOENT: nothing to take back; -ENOMEM.
 */
struct gaudi_p2p_grant {
	__u32 flags;
	__s32 fd;
	__s32 pidfd;
	__u32 held;
	__u64 reserved[2];
};

GAUDI_P2P_ASSERT(sizeof(struct gaudi_p2p_grant) == 32);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_grant, held) == 12);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_grant, reserved) == 16);

/* gaudi_p2p_export.state */
#define GAUDI_P2P_EXPORT_LIVE		0
#define GAUDI_P2P_EXPORT_REVOKED	1

/* gaudi_p2p_export.kind */
#define GAUDI_P2P_IMPORTER_NONE			0	/* nobody is attached */
#define GAUDI_P2P_IMPORTER_DYNAMIC		1	/* can revoke, has never pinned */
#define GAUDI_P2P_IMPORTER_PINNED_REVOCABLE	2	/* can revoke, has pinned */
#define GAUDI_P2P_IMPORTER_PINNED		3	/* cannot revoke */
#define GAUDI_P2P_IMPORTER_KERNEL		4	/* the kernel mapping (vmap) that importers share */
#define GAUDI_P2P_IMPORTER_FENCE		5	/* work that importers had announced before revoke */

/**
 * struct gaudi_p2p_export - one importer of one export (an answer of DRM_IOCTL_GAUDI_P2P_LIST)
 * @id: of the export; never used again as long as the module is loaded
 * @addr: device virtual address of the mapping it was made of
 * @offset: in that mapping
 * @size: of the export
 * @state: GAUDI_P2P_EXPORT_*
 * @kind: GAUDI_P2P_IMPORTER_*
 * @holds: mappings and pins that this importer has now; 0: attached only
 * @pad: 0
 * @importer: name of the importing device, zero-terminated, cut off; empty for NONE, KERNEL and FENCE
 */
struct gaudi_p2p_export {
	__u64 id;
	__u64 addr;
	__u64 offset;
	__u64 size;
	__u32 state;
	__u32 kind;
	__u32 holds;
	__u32 pad;
	char importer[32];
};

GAUDI_P2P_ASSERT(sizeof(struct gaudi_p2p_export) == 80);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_export, state) == 32);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_export, importer) == 48);

/**
 * struct gaudi_p2p_list - the lease's exports and who imports them (DRM_IOCTL_GAUDI_P2P_LIST)
 * @entries: in: user address of an array of struct gaudi_p2p_export; may be 0 if @count is
 * @entry_size: in: sizeof(struct gaudi_p2p_export)
 * @count: in: entries that the array has room for; out: how many there are, which may be more: those left over were
 *	not written
 * @pad: must be zero
 * @pad2: must be zero
 * @reserved: must be zero
 *
 * One entry for each importer of each export, in the order in which the exports were made; an export without importers
 * has one of kind GAUDI_P2P_IMPORTER_NONE. The entries of one export are of one moment, those of different exports may
 * not be. An export is listed until its last file is closed and nobody holds it, also when it is revoked.
 *
 * Errors: -EINVAL: @entry_size or a field that must be zero; -EFAULT: @entries; -EPERM: caller is not the owner;
 * -ENODEV: the lease has ended; -ENOMEM.
 */
struct gaudi_p2p_list {
	__u64 entries;
	__u32 entry_size;
	__u32 count;
	__u32 pad;
	__u32 pad2;
	__u64 reserved[2];
};

GAUDI_P2P_ASSERT(sizeof(struct gaudi_p2p_list) == 40);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_list, count) == 12);
GAUDI_P2P_ASSERT(__builtin_offsetof(struct gaudi_p2p_list, reserved) == 24);

#define DRM_IOCTL_GAUDI_P2P_REVOKE \
	DRM_IOWR(GAUDI_P2P_COMMAND_BASE + 0x00, struct gaudi_p2p_revoke)
#define DRM_IOCTL_GAUDI_P2P_GRANT \
	DRM_IOWR(GAUDI_P2P_COMMAND_BASE + 0x01, struct gaudi_p2p_grant)
#define DRM_IOCTL_GAUDI_P2P_LIST \
	DRM_IOWR(GAUDI_P2P_COMMAND_BASE + 0x02, struct gaudi_p2p_list)

#undef GAUDI_P2P_ASSERT

#if defined(__cplusplus)
}
#endif

#endif
