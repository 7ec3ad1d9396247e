// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "fault.h"
#include "netns.h"

static int open_checked(int dirfd, const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct statfs fs;

	if (fd < 0)
		return negative_errno();
	if (fstatfs(fd, &fs) < 0)
		return negative_errno();
	if (fs.f_type != NSFS_MAGIC)
		return -EINVAL;
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int netns_open(const char *path, int *ret_fd)
{
	return open_checked(AT_FDCWD, path, ret_fd);
}

int netns_open_self(int *ret_fd)
{
	return open_checked(AT_FDCWD, "/proc/thread-self/ns/net", ret_fd);
}

int netns_identify(int fd, struct netns_id *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return negative_errno();
	*ret = (struct netns_id){ .dev = st.st_dev, .ino = st.st_ino };
	return 0;
}

bool netns_id_equal(const struct netns_id *a, const struct netns_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

int netns_find(int proc_fd, const struct netns_id *id, int *ret_fd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r;

	r = fileio_opendir(proc_fd, ".", &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		_cleanup_close_ int ns = -EBADF;
		struct netns_id found;
		struct stat st;
		char path[300];

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "%s/ns/net", entry->d_name);
		/* stat first: opening every namespace of a busy node would be slow */
		r = RET_NERRNO(fstatat(dirfd(dir), path, &st, 0));
		if (r == 0 && (st.st_ino != id->ino || st.st_dev != id->dev))
			continue;
		if (r == 0)
			r = open_checked(dirfd(dir), path, &ns);
		if (is_shortage(r))
			return r;
		if (r < 0 || netns_identify(ns, &found) < 0)
			continue;
		if (netns_id_equal(&found, id)) { /* the process may have moved meanwhile */
			*ret_fd = TAKE_FD(ns);
			return 0;
		}
	}
	return -ENOENT;
}

int netns_call(int home_fd, int netns_fd, int (*fn)(void *arg), void *arg, const char *what)
{
	char point[32];
	int r, r2;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return negative_errno();
	r = fn(arg);
	snprintf(point, sizeof(point), "home-%s", what);
	r2 = fault_point(point);
	if (r2 == 0 && setns(home_fd, CLONE_NEWNET) < 0)
		r2 = negative_errno();
	if (r2 < 0) {
		log_error_errno(r2, "cannot come back from the pod's network namespace (%s)", what);
		abort();
	}
	return r;
}

/* By number: the headers of the oldest libc that this builds with have no wrappers. */
int netns_sysfs(int *ret_fd)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC);
	_cleanup_close_ int mount = -EBADF;

	if (context < 0)
		return negative_errno();
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return negative_errno();
	mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
			     MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID);
	if (mount < 0)
		return negative_errno();
	*ret_fd = TAKE_FD(mount);
	return 0;
}
