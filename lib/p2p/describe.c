// SPDX-License-Identifier: Apache-2.0
/* Errors in words that a user of a pod can act on. */
#include <string.h>

#include "p2p.h"

struct sentence {
	enum p2p_action action;
	int error;
	const char *text;
};

#define ANY_ACTION ((enum p2p_action) - 1)

/* The first match counts, so actions of their own stand before the general ones. */
static const struct sentence sentences[] = {
	{ P2P_ACTION_PAIRS, ENOENT,
	  "this container has no Gaudi: ask for habana.ai/gaudi in the pod's resource limits" },
	{ P2P_ACTION_PAIRS, ERANGE, "this container has fewer Gaudis than that" },
	{ P2P_ACTION_PAIRS, EINVAL, "GAUDI_P2P_PAIRS or HABANA_VISIBLE_DEVICES does not name device nodes" },
	{ P2P_ACTION_PAIRS, E2BIG, "GAUDI_P2P_PAIRS names more devices than a node can have" },

	{ P2P_ACTION_OPEN, EBUSY,
	  "another owner has this Gaudi, or its last owner's memory is still in use by a NIC; state and reason are in "
	  "/sys/class/accel/accelN/device/" },
	{ P2P_ACTION_OPEN, ENOENT,
	  "no such device node; is the driver loaded, and was this Gaudi given to the pod?" },
	{ P2P_ACTION_OPEN, EPERM, "this Gaudi was not given to this pod" },
	{ P2P_ACTION_OPEN, EACCES, "the rights of the device node do not allow it" },
	{ P2P_ACTION_OPEN, ENOTTY, "this is not the device node of a Gaudi" },
	{ P2P_ACTION_OPEN, ENODEV,
	  "the Gaudi is gone or lost; /sys/class/accel/accelN/device/reason says what to do" },

	{ P2P_ACTION_ALLOC, ENOMEM, "the Gaudi has no free run of memory of that size" },
	{ P2P_ACTION_FREE, EINVAL,
	  "the memory is still exported: unregister its regions, unmap and close its dma-buf first" },
	{ P2P_ACTION_FREE, EBUSY,
	  "the memory is still exported: unregister its regions, unmap and close its dma-buf first" },

	{ P2P_ACTION_EXPORT, EINVAL,
	  "offset and size must be multiples of the device's page and lie inside the memory" },
	{ P2P_ACTION_EXPORT, EPERM,
	  "this process may not export: it is not in the owner's pod, or runs on the host network outside of any "
	  "container" },

	{ P2P_ACTION_MAP, EPERM,
	  "the memory belongs to another pod, or CPU mappings are switched off (cpu_mmap=0)" },

	{ P2P_ACTION_NIC, ENOENT,
	  "no such RDMA device in this pod; is the RDMA CNI plugin (cni-rdma) part of the node's network configuration?" },
	{ P2P_ACTION_NIC, EPERM, "this RDMA device is in the network namespace of another pod" },
	{ P2P_ACTION_NIC, EINVAL, "not a uverbs device node" },
	{ P2P_ACTION_NIC, EIO, "the RDMA device was taken out of this pod" },
	{ P2P_ACTION_NIC, ENOSYS, "the kernel has no RDMA user access; load ib_uverbs" },

	{ P2P_ACTION_REGISTER, EXDEV,
	  "this dma-buf was made by another driver; only memory of a Gaudi is taken" },
	{ P2P_ACTION_REGISTER, EBADF, "this is not an open descriptor" },
	{ P2P_ACTION_REGISTER, EINVAL, "not a dma-buf, or offset and length do not lie inside it" },
	{ P2P_ACTION_REGISTER, EACCES, "the dma-buf is not writable, but writable access was asked for" },
	{ P2P_ACTION_REGISTER, EOPNOTSUPP,
	  "the NIC cannot revoke regions (or cannot import at all), and this node refuses such NICs; the administrator "
	  "may set nonrevocable=hold where cni-rdma runs in exclusive mode" },
	{ P2P_ACTION_REGISTER, ENOMEM,
	  "out of memory or over a limit: see ulimit -l and the rdma.max of the pod's cgroup" },
	{ P2P_ACTION_REGISTER, EIO, "the RDMA device was taken out of this pod" },

	{ P2P_ACTION_GID, EADDRNOTAVAIL,
	  "the NIC has no RoCE v2 address (yet): its network interface needs an IP address" },
	{ P2P_ACTION_GID, ENETDOWN, "the port of the NIC is not active: is its network interface up?" },

	{ ANY_ACTION, EPERM, "the device or its memory belongs to another pod" },
	{ ANY_ACTION, ENODEV,
	  "the memory is gone: the device was closed, its owner's pod ended, or it was reset" },
	{ ANY_ACTION, EBUSY, "in use by another owner" },
	{ ANY_ACTION, EOPNOTSUPP, "the device or the driver cannot do this" },
	{ ANY_ACTION, ENOMEM, "out of memory" },
	{ ANY_ACTION, EMFILE, "this process has too many open files" },
	{ ANY_ACTION, ENOTTY, "this is not the device node of a Gaudi" },
	{ ANY_ACTION, EINTR, "interrupted by signals again and again" },
	{ ANY_ACTION, EAGAIN, "the driver did not become ready" },
};

const char *p2p_describe(enum p2p_action action, int error)
{
	const char *name;

	if (error < 0)
		error = -error;
	for (size_t i = 0; i < ARRAY_SIZE(sentences); i++)
		if (sentences[i].error == error &&
		    (sentences[i].action == action || sentences[i].action == ANY_ACTION))
			return sentences[i].text;
	name = strerrordesc_np(error);
	return name ? name : "unknown error";
}
