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

/* Notes that it was our want, or the system's, and not what is there. Returns r. */
static ssize_t note(const struct sysfs_root *root, ssize_t r)
{
	if (root->shortage && (r == -EMFILE || r == -ENFILE || r == -ENOMEM))
		*root->shortage = (int)r;
	return r;
}

int sysfs_root_open(struct sysfs_root *root, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return negative_errno();
	root->fd = fd;
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

/* Cuts "/NAME" from the end of path, if that is how it ends. */
static bool cut_component(char *path, const char *name)
{
	size_t len = strlen(path), n = strlen(name);

	if (len <= n || path[len - n - 1] != '/' || strcmp(path + len - n, name) != 0)
		return false;
	path[len - n - 1] = '\0';
	return true;
}

int sysfs_device_of(const struct sysfs_root *root, const char *class, const char *name,
		    char ret[SYSFS_PATH_MAX])
{
	static const char up[] = "../../", devices[] = "devices/", without[] = "devices/virtual";
	char link[SYSFS_PATH_MAX], *path = link + strlen(up);
	int r = sysfs_link(root, link, sizeof(link), "class/%s/%s", class, name);

	if (r < 0)
		return r;
	if (strncmp(link, up, strlen(up)) != 0 || strncmp(path, devices, strlen(devices)) != 0 ||
	    strstr(path, "/../") || !cut_component(path, name))
		return -EXDEV;
	(void)cut_component(path, class);
	if (strcmp(path, without) == 0)
		return -ENOENT;
	strcpy(ret, path);
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
