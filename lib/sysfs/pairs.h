/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairing file: which RDMA NIC function goes with which Gaudi.
 *
 * The device plugin writes it, the CNI plugin reads it. Both trust it only as
 * far as the checks here go: a file that is truncated, foreign, or of a later
 * version is refused whole, never half understood.
 *
 *   {"version":1,"mode":"paired","pairs":[{"gaudi":"0000:05:00.0",
 *     "nic":{"pci":"0000:06:00.0","rdma":"rxe0","netdev":"enp6s0",
 *            "uverbs":"uverbs0","node_guid":"5054:00ff:fe12:3456"}}]}
 *
 * "nic" is null for a Gaudi without a partner. "netdev", "uverbs" and
 * "node_guid" are empty strings when they are not known. Unknown keys are
 * ignored, so that a later minor addition does not stop an older reader; what
 * an older reader must not ignore raises "version".
 */
#ifndef SYSFS_PAIRS_H
#define SYSFS_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define PAIRS_VERSION 1
#define PAIRS_DEFAULT_DIR "/var/lib/gaudi-p2p"
#define PAIRS_FILE "pairs.json"
/* More than any node can hold; a bigger file is not ours. */
#define PAIRS_MAX 1024
#define PAIRS_MAX_BYTES (1024 * 1024)

/* One NIC function. All strings end with NUL; "" means not known. */
struct pairs_nic {
	char pci[24];	    /* PCI function, "0000:06:00.0"; never empty */
	char rdma[64];	    /* RDMA device on the host, "mlx5_0"; never empty */
	char netdev[16];    /* its network interface on the host */
	char uverbs[32];    /* "uverbs0", the node in /dev/infiniband */
	char node_guid[24]; /* as sysfs shows it */
};

struct pairs_pair {
	char gaudi[64]; /* Device ID: serial if there is one, else PCI address */
	bool has_nic;
	struct pairs_nic nic; /* zero unless has_nic */
};

struct pairs {
	char mode[16]; /* "paired", "separate" or "none" */
	size_t n;
	struct pairs_pair *pair; /* owned; sorted by Gaudi */
};

void pairs_free(struct pairs *p);
DEFINE_CLEANUP(struct pairs *, pairs_free)

/* True for a Device ID that may be a file name and a JSON key without quoting. */
bool pairs_id_is_valid(const char *id);

/* True for a device or interface name as the kernel makes them (no slash, no blank). */
bool pairs_name_is_valid(const char *name);

/*
 * Reads a pairing from len bytes of text. On success *ret is the caller's, to
 * be freed with pairs_free(). On failure *ret is untouched and why (may be
 * NULL, size bytes) says in a few words what is wrong:
 *   -EBADMSG	not JSON, truncated, a wrong type, an impossible value
 *   -EPROTONOSUPPORT	a version this program does not know
 *   -EFBIG	more than PAIRS_MAX_BYTES or PAIRS_MAX pairs
 *   -ENOMEM
 */
int pairs_parse(const char *text, size_t len, struct pairs **ret, char *why, size_t size);

/*
 * Reads the file at path. Errors as pairs_parse(), and those of opening and
 * reading: -ENOENT when there is none. Only a regular file is read: -EBADMSG
 * for anything else.
 */
int pairs_load(const char *path, struct pairs **ret, char *why, size_t size);

/*
 * Writes the pairing to path so that a reader sees the old file or the new
 * one, also after a crash: temporary file beside it, fsync, rename. An
 * existing file with the same content is left alone. -errno on failure; the
 * old file is then still there and no temporary one is.
 */
int pairs_save(const char *path, const struct pairs *p);

/* The text of a pairing, to be freed by the caller, NUL at the end; NULL: out of memory. */
char *pairs_format(const struct pairs *p);

/* The pair of this Gaudi, or NULL. Valid as long as p is. */
const struct pairs_pair *pairs_find(const struct pairs *p, const char *gaudi_id);

/* The pair that holds this NIC function, or NULL. */
const struct pairs_pair *pairs_find_nic(const struct pairs *p, const char *pci);

/* The pair whose NIC has this RDMA device, or NULL. */
const struct pairs_pair *pairs_find_rdma(const struct pairs *p, const char *rdma);

/*
 * Adds a pair (nic may be NULL). -ENOMEM; -EEXIST when the Gaudi or the NIC is
 * in the list already; -EINVAL for an id or name that the file could not hold.
 */
int pairs_add(struct pairs *p, const char *gaudi_id, const struct pairs_nic *nic);

/* "paired", "separate" or "none". */
bool pairs_mode_is_valid(const char *mode);

/* An empty pairing of that mode; NULL: out of memory or no such mode. */
struct pairs *pairs_new(const char *mode);

bool pairs_equal(const struct pairs *a, const struct pairs *b);

#endif
