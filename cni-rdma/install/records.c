// SPDX-License-Identifier: Apache-2.0
#include "records.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/fileio.h"
#include "base/num.h"
#include "chain.h"

#define SUFFIX ".record"
/* Two lists, one of them with our entry. */
#define RECORD_MAX_BYTES (4 * CHAIN_MAX_BYTES)

void record_done(struct record *record)
{
	free(record->folder);
	free(record->before);
	free(record->after);
}

static int record_path(char path[static NAME_MAX + 1], const char *list)
{
	int n = snprintf(path, NAME_MAX + 1, "%s" SUFFIX, list);

	return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* FOLDER, newline, bytes of the list before, newline, the list before, the list after. */
static int parse(const char *text, struct record *ret)
{
	_cleanup_(record_done) struct record record = { 0 };
	const char *line = strchr(text, '\n'), *lists = line ? strchr(line + 1, '\n') : NULL;
	_cleanup_free_ char *digits = NULL;
	uint64_t n;

	if (!lists)
		return -EBADMSG;
	digits = strndup(line + 1, (size_t)(lists - line - 1));
	if (!digits)
		return -ENOMEM;
	if (num_parse_u64(digits, 0, strlen(lists + 1), &n) < 0)
		return -EBADMSG;
	record.folder = strndup(text, (size_t)(line - text));
	record.before = strndup(lists + 1, n);
	record.after = strdup(lists + 1 + n);
	if (!record.folder || !record.before || !record.after)
		return -ENOMEM;
	*ret = record;
	record = (struct record){ 0 };
	return 0;
}

int record_load(int dirfd, const char *list, struct record *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[NAME_MAX + 1];
	int r;

	r = record_path(path, list);
	if (r == 0)
		r = fileio_read(dirfd, path, RECORD_MAX_BYTES, &text, NULL);
	return r < 0 ? r : parse(text, ret);
}

int record_save(int dirfd, const char *list, const char *folder, const char *before, const char *after)
{
	_cleanup_free_ char *text = NULL;
	char path[NAME_MAX + 1];
	int r = record_path(path, list);

	if (r < 0)
		return r;
	r = asprintf(&text, "%s\n%zu\n%s%s", folder, strlen(before), before, after);
	if (r < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return fileio_write_atomic(dirfd, path, text, (size_t)r, 0644);
}

int record_remove(int dirfd, const char *list)
{
	char path[NAME_MAX + 1];
	int r = record_path(path, list);

	if (r < 0)
		return r;
	return unlinkat(dirfd, path, 0) < 0 && errno != ENOENT ? negative_errno() : 0;
}

int record_any(int dirfd, char **ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = fileio_opendir(dirfd, ".", &dir);

	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n <= strlen(SUFFIX) || strcmp(entry->d_name + n - strlen(SUFFIX), SUFFIX) != 0)
			continue;
		*ret = strndup(entry->d_name, n - strlen(SUFFIX));
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}
