/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's modules: /lib/modules/RELEASE/modules.dep, and their options in /etc/modprobe.d.
 *
 * Read here and not by the host's modprobe: that would have to be run in a chroot of the host, and so with the whole host
 * mounted, instead of /lib/modules alone, read-only. What modprobe knows beyond that (softdep, install, blacklist) does not
 * concern the few modules below the driver (drm, and what that needs).
 */
#ifndef DRIVER_LOADER_MODDEP_H
#define DRIVER_LOADER_MODDEP_H

#include <stdbool.h>
#include <stddef.h>

struct moddep {
	char *text;   /* what the others point into */
	char *path;   /* below /lib/modules/RELEASE */
	char **needs; /* paths, in the order of loading */
	size_t n;
};

void moddep_done(struct moddep *dep);

/* 0, -ENOENT (no such module, or no modules.dep), -ENOMEM, or an error of reading. */
int moddep_find(int root, const char *release, const char *module, struct moddep *ret);

/* "lib/a-b.ko.xz" is the module a_b. False: not the name of one that could be. */
bool moddep_name(const char *path, char *ret, size_t size);

/*
 * "options MODULE ..." of all files *.conf in /etc/modprobe.d, in the order of their names, one after another in
 * ret (size bytes). 0, -EMSGSIZE, -ENOMEM or an error of reading.
 */
int moddep_options(int root, const char *module, char *ret, size_t size);

#endif
