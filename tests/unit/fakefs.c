// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "fakefs.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fileio.h"

struct fakefs {
	char path[64];
	int root_fd;
	char **kept; /* strings handed out */
	size_t n_kept;
};

struct fakefs *fakefs_new(void)
{
	struct fakefs *fs = calloc(1, sizeof(*fs));

	assert_non_null(fs);
	(void)snprintf(fs->path, sizeof(fs->path), "/tmp/unit.XXXXXX");
	assert_non_null(mkdtemp(fs->path));
	fs->root_fd = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fs->root_fd >= 0);
	return fs;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

static void remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void fakefs_free(struct fakefs *fs)
{
	if (!fs)
		return;
	closep(&fs->root_fd);
	remove_tree(fs->path);
	for (size_t i = 0; i < fs->n_kept; i++)
		free(fs->kept[i]);
	free(fs->kept);
	free(fs);
}

int fakefs_root(const struct fakefs *fs)
{
	return fs->root_fd;
}

const char *fakefs_path(const struct fakefs *fs)
{
	return fs->path;
}

static char *keep(struct fakefs *fs, char *text)
{
	char **bigger = realloc(fs->kept, (fs->n_kept + 1) * sizeof(*bigger));

	assert_non_null(text);
	assert_non_null(bigger);
	fs->kept = bigger;
	fs->kept[fs->n_kept++] = text;
	return text;
}

const char *fakefs_join(struct fakefs *fs, const char *path)
{
	char *joined = NULL;

	assert_true(asprintf(&joined, "%s/%s", fs->path, path) > 0);
	return keep(fs, joined);
}

static void make_parents(struct fakefs *fs, const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[4096];

	assert_true(path[0] != '/' && !strstr(path, ".."));
	if (!slash)
		return;
	assert_true((size_t)(slash - path) < sizeof(parent));
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	assert_int_equal(fileio_mkdirs(fs->root_fd, parent, 0755), 0);
}

void fakefs_put_bytes(struct fakefs *fs, const char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd = -EBADF;

	make_parents(fs, path);
	fd = openat(fs->root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fileio_write_all(fd, data, len), 0);
}

void fakefs_put(struct fakefs *fs, const char *path, const char *text)
{
	fakefs_put_bytes(fs, path, text, strlen(text));
}

void fakefs_mkdir(struct fakefs *fs, const char *path)
{
	make_parents(fs, path);
	assert_int_equal(fileio_mkdirs(fs->root_fd, path, 0755), 0);
}

void fakefs_link(struct fakefs *fs, const char *path, const char *target)
{
	make_parents(fs, path);
	(void)unlinkat(fs->root_fd, path, 0);
	assert_int_equal(symlinkat(target, fs->root_fd, path), 0);
}

void fakefs_chmod(struct fakefs *fs, const char *path, mode_t mode)
{
	assert_int_equal(fchmodat(fs->root_fd, path, mode, 0), 0);
}

void fakefs_remove(struct fakefs *fs, const char *path)
{
	assert_true(path[0] && path[0] != '/' && !strstr(path, ".."));
	remove_tree(fakefs_join(fs, path));
}

const char *fakefs_get(struct fakefs *fs, const char *path)
{
	char *text = NULL;

	assert_int_equal(fileio_read(fs->root_fd, path, 1 << 20, &text, NULL), 0);
	return keep(fs, text);
}

static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1]) {
			text++;
			*out++ = *text == 'n' ? '\n' : *text == 't' ? '\t' : *text;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

static void load_line(struct fakefs *fs, char *line)
{
	char *content = strchr(line, '\t');
	size_t len;

	if (content)
		*content++ = '\0';
	len = strlen(line);
	if (len > 0 && line[len - 1] == '/') {
		line[len - 1] = '\0';
		fakefs_mkdir(fs, line);
	} else if (content && strncmp(content, "-> ", 3) == 0) {
		fakefs_link(fs, line, content + 3);
	} else {
		assert_non_null(content);
		unescape(content);
		fakefs_put(fs, line, content);
	}
}

void fakefs_load(struct fakefs *fs, const char *manifest)
{
	_cleanup_fclose_ FILE *file = fopen(manifest, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (!file)
		fail_msg("cannot open %s (tests run in the project's folder)", manifest);
	while ((len = getline(&line, &size, file)) >= 0) {
		if (len > 0 && line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (line[0] && line[0] != '#')
			load_line(fs, line);
	}
}
