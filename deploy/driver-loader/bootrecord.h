/* SPDX-License-Identifier: Apache-2.0 */
/* What was done to the kernel in this boot, as files below LOADER_RECORDS: it is gone with the boot, whose id is their first line. */
#ifndef DRIVER_LOADER_BOOTRECORD_H
#define DRIVER_LOADER_BOOTRECORD_H

#include "loader.h"

/* The text of a record; NULL: there is none, or it is another boot's. The caller frees. 0 or -errno. */
int bootrecord_read(const struct loader *loader, int records, const char *name, char **ret);

/* Writes it as a whole. 0 or -errno. */
int bootrecord_write(const struct loader *loader, int records, const char *name, const char *text);

/* 0, also when there was none; or -errno. */
int bootrecord_remove(int records, const char *name);

#endif
