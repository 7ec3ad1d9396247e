// SPDX-License-Identifier: Apache-2.0
#include "node/nodefile.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "node/lock.h"

int nodefile_has(int root, const char *path, const char *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *have = NULL;
	size_t have_len;
	struct stat st;
	int r;

	if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : negative_errno();
	if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != mode || (size_t)st.st_size != len)
		return 0;
	r = fileio_read(root, path, len, &have, &have_len);
	if (r < 0)
		return r == -EMSGSIZE ? 0 : r;
	return have_len == len && memcmp(have, data, len) == 0;
}

int nodefile_write(int root, const char *path, const char *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *folder = strdup(path);
	int r;

	if (!folder)
		return -ENOMEM;
	*strrchr(folder, '/') = '\0';
	r = fileio_mkdirs(root, folder, 0755);
	if (r < 0)
		return r;
	/* One installer at a time: the records' lock. */
	fileio_remove_leftovers(root, path);
	return fileio_write_atomic(root, path, data, len, mode);
}

int nodefile_says(int root, const char *path, const char *wanted)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = fileio_read(root, path, NODEFILE_MAX, &text, NULL);

	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		if (strncmp(line, wanted, strlen(wanted)) == 0 && strchr(" \t", line[strlen(wanted)]))
			return 1;
	}
	return 0;
}

int nodefile_remove_folder(int root, const char *path)
{
	if (unlinkat(root, path, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == ENOTDIR ||
	    errno == ENOTEMPTY || errno == EEXIST)
		return 0;
	return negative_errno();
}

int nodefile_is_empty_folder(int root, const char *path)
{
	_cleanup_close_ int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : negative_errno();
	r = fileio_opendir(fd, ".", &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return 0;
	return 1;
}

static int is_there(int root, const char *path)
{
	if (faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : negative_errno();
}

bool nodefile_absent(int root, const struct nodefile_ours *ours, size_t n, struct report *report)
{
	for (size_t i = 0; i < n; i++) {
		int r = (ours[i].is_shared ? nodefile_is_empty_folder : is_there)(root, ours[i].path);

		if (r < 0)
			return report_broken(report, r, "look at", ours[i].path);
		if (r > 0)
			return report_end(report, REPORT_MISSING, "/%s is still there", ours[i].path);
	}
	return true;
}

int nodefile_open_source(const char *folder)
{
	char self[PATH_MAX];
	ssize_t n;

	if (folder)
		return RET_NERRNO(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return negative_errno();
	self[n] = '\0';
	*(strrchr(self, '/') + 1) = '\0';
	return RET_NERRNO(open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

bool nodefile_open_records(int root, const char *folder, const char *me, bool look, int *ret, int *ret_lock,
			   struct report *report)
{
	_cleanup_close_ int fd = -EBADF, lock = -EBADF;
	char holder[128] = "";
	int r = look ? 0 : fileio_mkdirs(root, folder, 0755);

	if (r == 0)
		fd = openat(root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || (fd < 0 && !look))
		return report_broken(report, r < 0 ? r : negative_errno(), "open", folder);
	if (!look) {
		r = lock_take(fd, 30000, me, &lock, holder, sizeof(holder));
		if (r == -ETIMEDOUT)
			return report_end(report, REPORT_WAIT, "another installer is at work: %s", holder);
		if (r < 0)
			return report_broken(report, r, "lock", folder);
	}
	*ret = TAKE_FD(fd);
	*ret_lock = TAKE_FD(lock);
	return true;
}
