/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel module says of itself: the strings of its section .modinfo.
 *
 * Our own reader of that one section, and not libelf or libkmod: Debian has no static libkmod, and libelf would be the
 * bigger half of the program for a loop over section headers. Nothing in the file is trusted.
 */
#ifndef DRIVER_LOADER_MODINFO_H
#define DRIVER_LOADER_MODINFO_H

#include <stddef.h>

/* Empty where the module does not say it. */
struct modinfo {
	char name[64];
	char version[64];
	char srcversion[64]; /* a hash of the sources */
	char vermagic[256];  /* "RELEASE SMP ..." */
	char depends[512];   /* "drm,foo" */
};

/* 0, or -EBADMSG: no kernel module of this kind of machine, or one that is cut off or damaged. */
int modinfo_parse(const void *data, size_t len, struct modinfo *ret);

#endif
