/* SPDX-License-Identifier: Apache-2.0 */
/* Which module the node is to have. */
#ifndef DRIVER_LOADER_WANTED_H
#define DRIVER_LOADER_WANTED_H

#include <limits.h>

#include "loader.h"
#include "modinfo.h"

struct wanted {
	bool by_dkms;
	int dirfd; /* the loader's root or source */
	char path[PATH_MAX];
	/* Of a module that is compressed (as dkms leaves them on most hosts) only what dkms says: its version. */
	struct modinfo info;
};

/*
 * False: the report says why there is none: REPORT_WAIT when nobody has built one for this kernel, REPORT_FAILED when it is
 * for another one or cannot be read.
 */
bool wanted_find(const struct loader *loader, struct wanted *ret, struct report *report);

/* 1: the module that is loaded is another one; what is loaded, in words ("1.0, built from 4AF3...") into text. 0 or -errno. */
int wanted_differs(const struct loader *loader, const struct wanted *wanted, char *text, size_t size);

#endif
