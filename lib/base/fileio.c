// SPDX-License-Identifier: Apache-2.0
#include "base/fileio.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* Reads up to size bytes or to the end; short reads are no end. */
static ssize_t read_up_to(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return negative_errno();
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int fileio_opendir(int dirfd, const char *path, DIR **ret)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir;

	if (fd < 0)
		return negative_errno();
	dir = fdopendir(fd);
	if (!dir)
		return negative_errno();
	(void)TAKE_FD(fd);
	*ret = dir;
	return 0;
}

ssize_t fileio_read_attr(int dirfd, const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = -EBADF;
	ssize_t len;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return negative_errno();
	/* One read gives an attribute whole; a second one, only to see its end, is half the cost of a scan. */
	do
		len = read(fd, buf, size);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return negative_errno();
	if ((size_t)len == size) {
		char more;

		/* One byte over is the newline that is cut anyway. */
		if (size == 0 || buf[size - 1] != '\n' || read_up_to(fd, &more, 1) != 0)
			return -EMSGSIZE;
	}
	if (memchr(buf, '\0', (size_t)len))
		return -EINVAL;
	if (len > 0 && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return len;
}

int fileio_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	_cleanup_close_ int fd = -EBADF;
	size_t len = 0, size = 0;
	struct stat st;

	if (max >= SIZE_MAX / 4)
		return -EINVAL;
	/* O_NONBLOCK: a FIFO in the way must not hang us; regular files do not care. */
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return negative_errno();
	if (fstat(fd, &st) < 0)
		return negative_errno();
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	/* The size of stat is a hint only: proc and sysfs say 0 or 4096. */
	for (;;) {
		ssize_t n;
		char *bigger;

		if (len > max)
			return -EMSGSIZE;
		size = len ? len * 2 : 4096;
		if (size > max + 1)
			size = max + 1;
		bigger = realloc(buf, size + 1);
		if (!bigger)
			return -ENOMEM;
		buf = bigger;
		n = read_up_to(fd, buf + len, size - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len < size)
			break;
	}
	buf[len] = '\0';
	*ret = TAKE_PTR(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int fileio_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return negative_errno();
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Opens the directory in which path lies; *ret_base points into path. */
static int open_parent(int dirfd, const char *path, const char **ret_base)
{
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(path, '/');

	*ret_base = slash ? slash + 1 : path;
	if (!**ret_base)
		return -EISDIR;
	if (!slash)
		parent = strdup(".");
	else
		parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!parent)
		return -ENOMEM;
	return RET_NERRNO(openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int write_and_sync(int fd, const void *data, size_t len, mode_t mode)
{
	int r;

	r = fileio_write_all(fd, data, len);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return negative_errno();
	return 0;
}

int fileio_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_close_ int parent = -EBADF, fd = -EBADF;
	char temporary[NAME_MAX + 1];
	const char *base;
	uint64_t token;
	int r;

	parent = open_parent(dirfd, path, &base);
	if (parent < 0)
		return parent;
	if (getrandom(&token, sizeof(token), 0) != sizeof(token))
		return negative_errno();
	/* Begins with a dot, so that those who list the folder skip what a crash left. */
	r = snprintf(temporary, sizeof(temporary), ".%.200s.%016llx", base, (unsigned long long)token);
	if (r < 0 || (size_t)r >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return negative_errno();
	r = write_and_sync(fd, data, len, mode);
	if (r == 0 && renameat(parent, temporary, parent, base) < 0)
		r = negative_errno();
	if (r < 0) {
		(void)unlinkat(parent, temporary, 0);
		return r;
	}
	return RET_NERRNO(fsync(parent));
}

void fileio_remove_leftovers(int dirfd, const char *path)
{
	_cleanup_close_ int parent = -EBADF;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	const char *base;

	parent = open_parent(dirfd, path, &base);
	if (parent < 0 || fileio_opendir(parent, ".", &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;
		size_t n = strlen(base);

		/* ".BASE." and 16 digits. */
		if (strlen(name) == n + 18 && name[0] == '.' && strncmp(name + 1, base, n) == 0 &&
		    name[n + 1] == '.' && strspn(name + n + 2, "0123456789abcdef") == 16)
			(void)unlinkat(parent, name, 0);
	}
}

int fileio_mkdirs(int dirfd, const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	struct stat st;

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *copy; p++) {
		bool last = *p == '\0';

		if (*p != '/' && !last)
			continue;
		*p = '\0';
		if (mkdirat(dirfd, copy, mode) < 0 && errno != EEXIST)
			return negative_errno();
		if (last)
			break;
		*p = '/';
	}
	if (fstatat(dirfd, path, &st, 0) < 0)
		return negative_errno();
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
