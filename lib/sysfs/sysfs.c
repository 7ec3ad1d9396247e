// SPDX-License-Identifier: Apache-2.0
#include "sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "base/num.h"

static int path_vformat(char buf[SYSFS_PATH_MAX], const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static int path_vformat(char buf[SYSFS_PATH_MAX], const char *format, va_list args)
{
	int n = vsnprintf(buf, SYSFS_PATH_MAX, format, args);

	if (n < 0)
		return negative_errno();
	return n >= SYSFS_PATH_MAX ? -ENAMETOOLONG : 0;
}

#define PATH_FORMAT(buf, format)                           \
	({                                                 \
		va_list args_;                             \
		int r_;                                    \
                                                           \
		va_start(args_, format);                   \
		r_ = path_vformat((buf), (format), args_); \
		va_end(args_);                             \
		r_;                                        \
	})

/* Where an open directory is now, without links. */
static int real_path_of(int fd, char buf[SYSFS_PATH_MAX])
{
	static const char deleted[] = " (deleted)";
	char proc[64];
	ssize_t n;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, buf, SYSFS_PATH_MAX);
	if (n < 0)
		return negative_errno();
	if (n >= SYSFS_PATH_MAX)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	/* The kernel says so when the device went away between open and readlink. */
	if ((size_t)n >= sizeof(deleted) && strcmp(buf + n - (sizeof(deleted) - 1), deleted) == 0)
		return -ENOENT;
	return 0;
}

/* Notes that it was our want, or the system's, and not what is there. Returns r. */
static ssize_t note(const struct sysfs_root *root, ssize_t r)
{
	if (root->shortage && (r == -EMFILE || r == -ENFILE || r == -ENOMEM))
		*root->shortage = (int)r;
	return r;
}

int sysfs_root_open(struct sysfs_root *root, const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return negative_errno();
	r = real_path_of(fd, root->real);
	if (r < 0)
		return r;
	if (strcmp(root->real, "/") == 0)
		root->real[0] = '\0';
	root->fd = TAKE_FD(fd);
	root->shortage = NULL;
	return 0;
}

void sysfs_root_done(struct sysfs_root *root)
{
	closep(&root->fd);
	root->fd = -EBADF;
}

ssize_t sysfs_read(const struct sysfs_root *root, char *buf, size_t size, const char *format, ...)
{
	char path[SYSFS_PATH_MAX];
	int r = PATH_FORMAT(path, format);

	return r < 0 ? r : note(root, fileio_read_attr(root->fd, path, buf, size));
}

int sysfs_read_int(const struct sysfs_root *root, int min, int max, int *ret, const char *format, ...)
{
	char path[SYSFS_PATH_MAX], line[SYSFS_LINE_MAX];
	int r = PATH_FORMAT(path, format);
	ssize_t n;

	if (r < 0)
		return r;
	n = note(root, fileio_read_attr(root->fd, path, line, sizeof(line)));
	return n < 0 ? (int)n : num_parse_int(line, min, max, ret);
}

int sysfs_enter(const struct sysfs_root *root, struct sysfs_root *ret, const char *format, ...)
{
	char path[SYSFS_PATH_MAX];
	_cleanup_close_ int fd = -EBADF;
	size_t len = strlen(root->real);
	int r = PATH_FORMAT(path, format);

	if (r < 0)
		return r;
	fd = openat(root->fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? negative_errno() : real_path_of(fd, ret->real);
	if (r < 0)
		return (int)note(root, r);
	if (strncmp(ret->real, root->real, len) != 0 || ret->real[len] != '/')
		return -EXDEV;
	ret->fd = TAKE_FD(fd);
	ret->shortage = root->shortage;
	return 0;
}

const char *sysfs_below(const struct sysfs_root *root, const struct sysfs_root *dir)
{
	return dir->real + strlen(root->real) + 1;
}

int sysfs_link(const struct sysfs_root *root, char *buf, size_t size, const char *format, ...)
{
	char path[SYSFS_PATH_MAX];
	int r = PATH_FORMAT(path, format);
	ssize_t n;

	if (r < 0)
		return r;
	n = readlinkat(root->fd, path, buf, size);
	if (n < 0)
		return (int)note(root, negative_errno());
	if ((size_t)n >= size)
		return -EMSGSIZE;
	buf[n] = '\0';
	return 0;
}

bool sysfs_exists(const struct sysfs_root *root, const char *format, ...)
{
	char path[SYSFS_PATH_MAX];

	return PATH_FORMAT(path, format) == 0 &&
	       note(root, RET_NERRNO(faccessat(root->fd, path, F_OK, 0))) == 0;
}

void sysfs_names_done(struct sysfs_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct sysfs_names){};
}

static int name_compare(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

bool sysfs_names_has(const struct sysfs_names *names, const char *name)
{
	return names->n > 0 && bsearch(&name, names->name, names->n, sizeof(*names->name), name_compare);
}

int sysfs_list(const struct sysfs_root *root, const char *path, struct sysfs_names *ret)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	size_t room = 0;
	int r;

	r = (int)note(root, fileio_opendir(root->fd, path, &dir));
	if (r < 0)
		return r;
	while (errno = 0, (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (names.n == room) {
			/* Twice as much each time: every size in between would stay in the allocator's cache. */
			char **grown = reallocarray(names.name, room = 2 * room + 16, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			names.name = grown;
		}
		names.name[names.n] = strdup(entry->d_name);
		if (!names.name[names.n])
			return -ENOMEM;
		names.n++;
	}
	if (errno)
		return negative_errno();
	if (names.n > 0)
		qsort(names.name, names.n, sizeof(*names.name), name_compare);
	*ret = names;
	names = (struct sysfs_names){};
	return 0;
}
