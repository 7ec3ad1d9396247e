/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files, read and written whole, always relative to a directory that the
 * caller has opened (or AT_FDCWD), so that every path lives below a root that
 * a test can choose.
 */
#ifndef BASE_FILEIO_H
#define BASE_FILEIO_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Opens a directory for readdir(). Always a new open file, so that readers of one
 * directory descriptor do not share a position. Returns 0 or an error of open,
 * -ENOMEM. The caller closes with closedir().
 */
int fileio_opendir(int dirfd, const char *path, DIR **ret);

/*
 * Reads an attribute (one line of sysfs) into buf and cuts one trailing
 * newline. The text is always terminated. Returns its length, or:
 * -ENOENT and other errors of open and read, -EMSGSIZE when it does not fit
 * (never a shortened text), -EINVAL when it contains a zero byte, -EISDIR.
 * Links are followed in the directory part, not in the last component.
 */
ssize_t fileio_read_attr(int dirfd, const char *path, char *buf, size_t size);

/*
 * Reads a whole regular file of at most max bytes into new memory, terminated
 * by a zero byte that is not counted. ret_len may be NULL. Returns 0, -EMSGSIZE when
 * larger, -EISDIR, -ENOMEM or an error of open and read. The caller frees.
 */
int fileio_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);

/*
 * Replaces path by len bytes, so that a reader and a crash see the old or the
 * new content and nothing else: a temporary file in the same directory,
 * fsync, rename, fsync of the directory. mode is exact (no umask). On failure
 * the old file is untouched and no temporary file stays.
 */
int fileio_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/*
 * Removes the temporary files that writers of path left who were killed while
 * they wrote. Only for a path that one process writes: it takes them from a living
 * writer too. What cannot be removed stays.
 */
void fileio_remove_leftovers(int dirfd, const char *path);

/* Writes all of it, over short writes and EINTR. 0 or -errno. */
int fileio_write_all(int fd, const void *data, size_t len);

/* mkdir -p: makes path and what is missing above it. 0 also when it is there; -ENOTDIR when something else
 * is. */
int fileio_mkdirs(int dirfd, const char *path, mode_t mode);

#endif
