/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spec of the Container Device Interface for each resource: what the
 * container runtime does for a device that Allocate names, as
 * "habana.ai/gaudi=0000:03:00.0". The names are the devices' stable ids, so an
 * answer that the kubelet replays after a restart finds the nodes of today.
 *
 *   {"cdiVersion": "0.5.0", "kind": "habana.ai/gaudi", "devices": [
 *     {"name": "0000:03:00.0", "containerEdits": {"deviceNodes": [
 *       {"path": "/dev/accel/accel0", "fileMode": 438, "permissions": "rw"}]}}]}
 *
 * The nodes are named by their own paths and not by links: the runtimes'
 * library refuses a symbolic link. Variables are not in it, because those of a
 * second device would replace those of the first; they are in Allocate's answer.
 */
#ifndef DEVICE_PLUGIN_CDI_H
#define DEVICE_PLUGIN_CDI_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core.h"

#define CDI_KIND_MAX 264
#define CDI_PATH_MAX 768
/* What all our files begin with, so that those of an earlier resource can be told from foreign ones. */
#define CDI_FILE_PREFIX "gaudi-p2p-"

enum cdi_devices {
	CDI_GAUDIS,
	CDI_NICS,
};

struct cdi {
	enum cdi_devices devices;
	const char *dir;
	char kind[CDI_KIND_MAX];
	char path[CDI_PATH_MAX];
	bool is_true;	  /* the file is there and says what is so now */
	uint64_t content; /* hash of what it says */
	uint64_t inode;	  /* of the file that was written, and when it was */
	struct timespec written;
};

/* dir must outlive cdi. */
void cdi_init(struct cdi *cdi, enum cdi_devices devices, const char *dir, const char *resource);

/*
 * Brings the file in line with the core: replaced as a whole when it differs,
 * is gone or was touched, removed when there is no device. With make == false a
 * file that is there is kept true and none is made: pods that were started when it
 * was wanted still name its devices. 0, -ENOMEM or an error of writing: then the
 * file is as it was, or gone if it could not be replaced.
 */
int cdi_update(struct cdi *cdi, const struct core *core, bool make);

/* Removes files of ours in the directory of all that belong to none of the n. */
void cdi_sweep(const struct cdi *const *cdi, size_t n);

/* Whether the file describes this device as it is. */
bool cdi_has(const struct cdi *cdi, const struct core *core, const char *id);

/* The qualified name of a device, or NULL without memory. The caller frees. */
char *cdi_name(const struct cdi *cdi, const struct core *core, const char *id);

/* The file's text, or NULL without memory. The caller frees. */
char *cdi_format(const struct cdi *cdi, const struct core *core);

#endif
