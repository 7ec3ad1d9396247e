/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on this node: Gaudi accelerators and RDMA NIC functions, as sysfs
 * shows them at one moment.
 *
 * Devices come and go while sysfs is read. An entry that is only half there is
 * left out with a debug line; the next scan sees it whole or not at all.
 */
#ifndef SYSFS_INVENTORY_H
#define SYSFS_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "sysfs/pairs.h"
#include "sysfs/sysfs.h"

/* The driver's lease of a device. */
enum lease_state {
	LEASE_UNKNOWN, /* the attribute could not be read, or holds a word we do not know */
	LEASE_FREE,
	LEASE_OWNED,
	LEASE_DRAINING,	 /* ended, but an importer still holds its memory */
	LEASE_SCRUBBING, /* memory is being wiped */
	LEASE_LOST,	 /* left only by reset or rebind */
};

/* "free", "owned", ... and "unknown". */
const char *lease_state_name(enum lease_state state);

/* Draining and scrubbing: about to be free by itself. */
bool lease_state_is_transient(enum lease_state state);

/*
 * A Gaudi, and a NIC function, as they were at one moment. They do not change
 * once they are in an inventory; the next one shares those that are still the
 * same, and whoever keeps one longer takes a reference. Their texts lie behind
 * them in the same memory.
 */
struct gaudi {
	unsigned refs;
	unsigned minor; /* accelN, and accel_controlDN with the same N */
	bool has_control;
	bool has_lease; /* gaudi_p2p; false: the mainline driver, which knows none */
	enum lease_state state;
	int numa_node;	/* -1: not known */
	int module_id;	/* -1: not known */
	char pci[24];	/* "" for a virtual device */
	const char *id; /* Device ID: serial if usable and unique, else PCI address, else the kernel's name */
	const char *driver; /* "gaudi_p2p" or "habanalabs"; a constant */
	const char *serial; /* "" when sysfs has none */
	const char *dir;    /* of its attributes, below the root */
	const char *path;   /* of the function below the root: "devices/pci0000:00/..."; "" when virtual */
	const char *reason; /* the driver's words, "" when it has nothing to say */
};

struct nic {
	unsigned refs;
	int numa_node;	       /* -1: not known */
	bool is_soft;	       /* Soft-RoCE on the function's netdev */
	bool is_visible;       /* false: its RDMA device is in another network namespace */
	bool has_vfs;	       /* virtual functions of it are in this inventory */
	char physfn[24];       /* PCI address of the function that a virtual function belongs to, else "" */
	struct pairs_nic name; /* netdev, node_guid are "" when the NIC is inside a pod */
	const char *path;
};

/* A copy with one owner and texts of its own; NULL: no memory. */
struct gaudi *gaudi_new(const struct gaudi *from);
struct nic *nic_new(const struct nic *from);
/* One more owner, and one less. */
struct gaudi *gaudi_ref(struct gaudi *gaudi);
void gaudi_unref(struct gaudi *gaudi);

/*
 * A verbs node whose RDMA device is in another namespace and which does not
 * lead to hardware: Soft-RoCE inside a pod. Which function it belongs to
 * cannot be seen; the pairing that was made before knows.
 */
struct hidden_uverbs {
	char uverbs[32];
	char rdma[64];
};

struct inventory {
	size_t n_gaudi;
	struct gaudi **gaudi; /* sorted by id */
	size_t n_nic;
	struct nic **nic; /* sorted by PCI address, one per function */
	size_t n_hidden;
	struct hidden_uverbs *hidden;
	bool has_rdma_cm; /* /dev/infiniband/rdma_cm exists */
};

void inventory_free(struct inventory *inv);
DEFINE_CLEANUP(struct inventory *, inventory_free)

/*
 * Scans. Classes that do not exist (driver not loaded) give empty lists. On
 * failure *ret is untouched: the error of listing a class, or -EMFILE, -ENFILE or
 * -ENOMEM of reading anything. A failed scan says nothing about the devices. The
 * caller frees with inventory_free().
 */
int inventory_scan(const struct sysfs_root *root, struct inventory **ret);

/*
 * Who holds the lease, in words ("process 77 in netns:[4026532000]"), as far as
 * the driver tells us: "" for want of rights, or when it is not held. It waits
 * for the driver's lock, so it is for the rare case that asks. buf is always written.
 */
void inventory_read_holder(const struct sysfs_root *root, const struct gaudi *gaudi, char *buf, size_t size);

/*
 * The same devices as in old, with their states and reasons read anew: for when
 * nothing came or went. 0 or -ENOMEM. The caller frees with inventory_free().
 */
int inventory_refresh(const struct sysfs_root *root, const struct inventory *old, struct inventory **ret);

/* By Device ID, by PCI address; NULL when there is none. Valid as long as inv. */
struct gaudi *inventory_find_gaudi(const struct inventory *inv, const char *id);
const struct nic *inventory_find_nic(const struct inventory *inv, const char *pci);

/* True when both show the same devices in the same states, reasons included. */
bool inventory_equal(const struct inventory *a, const struct inventory *b);

#endif
