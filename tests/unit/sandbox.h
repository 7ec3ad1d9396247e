/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of a test's own, which nobody else sees and which end with its
 * process: small, full and read-only file systems, a root of its own.
 * Everything that goes wrong after sandbox_enter() fails the test.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

/*
 * Gives this process a mount namespace, as root or in a user namespace in
 * which it is root. Once is enough. False where neither is allowed: the test is to be skipped.
 */
bool sandbox_enter(void);

/* A tmpfs at path, with mount(8)'s options ("size=4k"). */
void sandbox_mount(const char *path, const char *options);

/* Other options for it: "ro,size=1m". */
void sandbox_remount(const char *path, const char *options);

/* from also at path, read-only or not. */
void sandbox_bind(const char *from, const char *path, bool read_only);

/* What is mounted at path, read-only from now on; mounts below it stay as they are. */
void sandbox_read_only(const char *path);

/* Away with it, whoever uses it. */
void sandbox_unmount(const char *path);

#endif
