// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	(void)close(fd);
	return done;
}

static bool enter_user_namespace(void)
{
	char users[64], groups[64];

	(void)snprintf(users, sizeof(users), "0 %u 1\n", geteuid());
	(void)snprintf(groups, sizeof(groups), "0 %u 1\n", getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/setgroups", "deny") &&
	       write_file("/proc/self/uid_map", users) && write_file("/proc/self/gid_map", groups);
}

bool sandbox_enter(void)
{
	static bool entered;

	if (!entered)
		entered = (unshare(CLONE_NEWNS) == 0 || enter_user_namespace()) &&
			  mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
	return entered;
}

/* Takes "ro," off the front of the options: it is a flag. */
static unsigned long flags_of(const char **options)
{
	if (strncmp(*options, "ro", 2) != 0)
		return 0;
	*options += (*options)[2] == ',' ? 3 : 2;
	return MS_RDONLY;
}

void sandbox_mount(const char *path, const char *options)
{
	unsigned long flags = flags_of(&options);

	assert_int_equal(mount("none", path, "tmpfs", flags, options), 0);
}

void sandbox_remount(const char *path, const char *options)
{
	unsigned long flags = flags_of(&options);

	assert_int_equal(mount("none", path, "tmpfs", MS_REMOUNT | flags, options), 0);
}

void sandbox_read_only(const char *path)
{
	assert_int_equal(mount("none", path, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
}

void sandbox_bind(const char *from, const char *path, bool read_only)
{
	assert_int_equal(mount(from, path, "none", MS_BIND | MS_REC, NULL), 0);
	if (read_only)
		sandbox_read_only(path);
}

void sandbox_unmount(const char *path)
{
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}
