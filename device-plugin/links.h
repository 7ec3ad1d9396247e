/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of device nodes that stay when numbers change:
 *
 *   /dev/gaudi/by-id/ID/accel	-> ../../../accel/accel3
 *   /dev/gaudi/by-id/ID/control	-> ../../../accel/accel_controlD3
 *   /dev/gaudi/by-id/ID/uverbs	-> ../../../infiniband/uverbs3
 *
 * ID is the Device ID: of a NIC that is handed out by itself its PCI address,
 * and its folder holds uverbs alone.
 *
 * The kubelet remembers them as host paths of containers, and the container
 * runtime follows them when a container starts. A link that led to another
 * device would hand out somebody else's: links of a device that is gone go at once.
 */
#ifndef DEVICE_PLUGIN_LINKS_H
#define DEVICE_PLUGIN_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "core.h"

#define LINKS_ACCEL "accel"
#define LINKS_CONTROL "control"
#define LINKS_UVERBS "uverbs"
#define LINKS_PATH_MAX 128

struct links {
	int dir_fd;   /* of DEV/gaudi/by-id */
	bool is_true; /* the last update put every link in its place */
};

#define LINKS_INIT               \
	{                        \
		.dir_fd = -EBADF \
	}

/* Opens, and makes if needed, gaudi/by-id below dev_dir. 0 or -errno. links_done() closes. */
int links_open(struct links *links, const char *dev_dir);
void links_done(struct links *links);

/*
 * Brings the links in line with the core: each one is replaced as a whole or
 * left alone, those of absent devices are removed. The first error is
 * returned, after everything that could be done was done.
 */
int links_update(struct links *links, const struct core *core);

/*
 * Removes every link of ours below dev_dir, and the folders when nothing is left in them; other files stay, and so does
 * what is a link in a folder's place. 0 or -errno, after all that could be done. With look it removes nothing: 1 when there is something.
 */
int links_clear(const char *dev_dir, bool look);

/* The host's path of a link: "/dev/gaudi/by-id/ID/accel"; path has LINKS_PATH_MAX bytes. */
void links_path(char *path, const char *id, const char *link);

#endif
