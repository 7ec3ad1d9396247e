/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What gaudi_p2p offers beside the interface of <drm/habanalabs_accel.h>.
 * This is the only header of the driver that user space includes.
 */
#ifndef GAUDI_P2P_H
#define GAUDI_P2P_H

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
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
 * @fd: in: dma-buf file of GAUDI_P2P_REVOKE_FD, else 0
 * @addr: in: device virtual address of GAUDI_P2P_REVOKE_ADDR, as HL_MEM_OP_MAP gave it, else 0
 * @revoked: out: exports that this call revoked; those revoked before do not count
 * @held: out: of the exports asked for, how many an importer still maps because it cannot revoke
 * @reserved: must be zero
 *
 * On return importers that can revoke have lost access, CPU mappings are gone (an access raises SIGBUS), and nobody
 * can attach or map any more (-ENODEV). The device memory stays allocated and mapped. A mapping whose exports are all
 * revoked and held by nobody can be unmapped, although dma-buf files are still open.
 *
 * Errors: -EINVAL: flags, a field that must be zero, an address without a mapping, or a file that is no dma-buf of the
 * caller's own lease; -EBADF: fd; -EPERM: caller is not the owner; -ENODEV: the lease has ended.
 */
struct gaudi_p2p_revoke {
	__u32 flags;
	__s32 fd;
	__u64 addr;
	__u32 revoked;
	__u32 held;
	__u64 reserved[2];
};

#define DRM_IOCTL_GAUDI_P2P_REVOKE \
	DRM_IOWR(GAUDI_P2P_COMMAND_BASE + 0x00, struct gaudi_p2p_revoke)

#if defined(__cplusplus)
}
#endif

#endif
