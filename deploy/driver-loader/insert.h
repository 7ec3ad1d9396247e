/* SPDX-License-Identifier: Apache-2.0 */
/* Modules into the kernel, and what the kernel's refusals mean. */
#ifndef DRIVER_LOADER_INSERT_H
#define DRIVER_LOADER_INSERT_H

#include "loader.h"

/* Whether it is in the kernel, built in or loaded. */
bool insert_is_loaded(const struct loader *loader, const char *module);

/*
 * Loads the file at path below dirfd. False: the report says why the kernel refused it and what to do. A module that
 * somebody else loaded meanwhile is loaded.
 */
bool insert_file(const struct loader *loader, int dirfd, const char *path, const char *module,
		 const char *params, struct report *report);

/* Loads what the host has of "drm,foo" and of what those need, each with its options of modprobe.d, and records that. */
bool insert_needs(const struct loader *loader, int records, const char *depends, struct report *report);

/* Remembers, before the deed, that a module is loaded by us in this boot. 0 or -errno. */
int insert_record(const struct loader *loader, int records, const char *module);

/* 1: so it was; 0: not by us, or in another boot; or -errno. */
int insert_has_record(const struct loader *loader, int records, const char *module);

/* Takes what insert_needs() has loaded in this boot out again, if nobody else uses it; forgets it. */
int insert_take_needs(const struct loader *loader, int records);

#endif
