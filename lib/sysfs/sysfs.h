/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading sysfs below a root that the caller chooses: the real one, the host's
 * one mounted elsewhere, or a recorded tree of a test.
 */
#ifndef SYSFS_SYSFS_H
#define SYSFS_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* Longest path below the root that is handled, and longest attribute line. */
#define SYSFS_PATH_MAX 512
#define SYSFS_LINE_MAX 256

struct sysfs_root {
	int fd;	       /* O_PATH directory; -EBADF when not open */
	int *shortage; /* unless NULL: gets the -errno of what could not be read for want of
			* descriptors or memory, which says nothing about what is there */
};

#define SYSFS_ROOT_INIT      \
	{                    \
		.fd = -EBADF \
	}

/*
 * Opens the directory that is the sysfs ("/sys"). 0, -ENOENT, -ENOTDIR or
 * another error of open. The caller closes it with sysfs_root_done(), which
 * may be called twice and for one never opened.
 */
int sysfs_root_open(struct sysfs_root *root, const char *path);
void sysfs_root_done(struct sysfs_root *root);

/*
 * Reads the attribute at the formatted path below the root (no slash in front)
 * into buf, without its newline. The length, or -errno as fileio_read_attr():
 * a text that does not fit is -EMSGSIZE and never shortened.
 */
ssize_t sysfs_read(const struct sysfs_root *root, char *buf, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The same for a whole number; -EINVAL when the attribute holds anything else. */
int sysfs_read_int(const struct sysfs_root *root, int min, int max, int *ret, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * The device that a member of a class belongs to, as the member's link in the class
 * says it: its path below the root, "devices/pci0000:00/0000:00:01.0". Nobody looks
 * whether it is still there. (The kernel puts a folder with the class's name between
 * the two, get_device_parent() in drivers/base/core.c.) 0; -ENOENT: no such member, or
 * one that belongs to no device; -EXDEV: the link is none that the kernel makes;
 * -EMSGSIZE: it does not fit; or another error of readlink().
 */
int sysfs_device_of(const struct sysfs_root *root, const char *class, const char *name,
		    char ret[SYSFS_PATH_MAX]);

/*
 * Where the link at the formatted path says it leads, as it is written there; nobody
 * looks whether anything is there. 0, -EINVAL: it is no link; -EMSGSIZE: the text
 * does not fit; or another error of readlink().
 */
int sysfs_link(const struct sysfs_root *root, char *buf, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Whether anything is at the formatted path (dangling links are nothing). */
bool sysfs_exists(const struct sysfs_root *root, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Names in a directory, without those that begin with a dot. */
struct sysfs_names {
	size_t n;
	char **name;
};

/*
 * Lists the directory at path; numbers within names sort as numbers, so accel2
 * comes before accel10. A missing directory is -ENOENT. The caller frees the
 * names with sysfs_names_done().
 */
int sysfs_list(const struct sysfs_root *root, const char *path, struct sysfs_names *ret);
bool sysfs_names_has(const struct sysfs_names *names, const char *name);
void sysfs_names_done(struct sysfs_names *names);

#endif
