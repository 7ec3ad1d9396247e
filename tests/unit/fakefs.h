/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder that plays /sys, /dev, a state directory, for one test. Everything
 * that goes wrong here fails the test that called. Paths are relative to its
 * root, and missing directories above them are made.
 *
 *	static int setup(void **state) { *state = fakefs_new(); return 0; }
 *	static int teardown(void **state) { fakefs_free(*state); return 0; }
 */
#ifndef FAKEFS_H
#define FAKEFS_H

#include <stddef.h>
#include <sys/types.h>

struct fakefs;

/* The path is short enough for Unix sockets inside. */
struct fakefs *fakefs_new(void);

/* Removes it with all that is in it. Accepts NULL. */
void fakefs_free(struct fakefs *fs);

/* A descriptor of the root, fakefs's own. */
int fakefs_root(const struct fakefs *fs);

/* Absolute path of the root, and of something inside it: valid until fakefs_free(). */
const char *fakefs_path(const struct fakefs *fs);
const char *fakefs_join(struct fakefs *fs, const char *path);

/* Writes a file, in place of one that is there. */
void fakefs_put(struct fakefs *fs, const char *path, const char *text);
void fakefs_put_bytes(struct fakefs *fs, const char *path, const void *data, size_t len);
void fakefs_mkdir(struct fakefs *fs, const char *path);
/* A symbolic link; keep targets relative, so that none leaves the root. */
void fakefs_link(struct fakefs *fs, const char *path, const char *target);
void fakefs_chmod(struct fakefs *fs, const char *path, mode_t mode);

/* Removes a file, a link, or a directory with all that is in it. */
void fakefs_remove(struct fakefs *fs, const char *path);

/*
 * Makes a recorded tree from a text file: per line PATH<TAB>CONTENT, where \n,
 * \t and \\ stand for themselves; PATH<TAB>-> TARGET is a link, PATH/ a directory.
 * Empty lines and lines that begin with '#' are skipped.
 */
void fakefs_load(struct fakefs *fs, const char *manifest);

/* The content of a file, terminated; valid until fakefs_free(). */
const char *fakefs_get(struct fakefs *fs, const char *path);

#endif
