// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../lock.h"
#include "base/fileio.h"
#include "chain.h"
#include "report.h"

int node_has(int root, const char *path, const char *data, size_t len, mode_t mode)
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

int node_write(int root, const char *path, const char *data, size_t len, mode_t mode)
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

int node_says(int root, const char *path, const char *wanted)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = fileio_read(root, path, NODE_FILE_MAX, &text, NULL);

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

void node_list_done(struct node_list *list)
{
	free(list->name);
	free(list->path);
	free(list->text);
	json_decref(list->json);
}

int node_list_load(int root, const char *folder, const char *name, struct node_list *ret, char *why,
		   size_t size)
{
	_cleanup_(node_list_done) struct node_list list = { .name = strdup(name) };
	struct stat st;
	size_t len;
	int r;

	if (!list.name || asprintf(&list.path, "%s/%s", folder, name) < 0) {
		list.path = NULL;
		return -ENOMEM;
	}
	if (fstatat(root, list.path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return negative_errno();
	if (!S_ISREG(st.st_mode)) {
		(void)snprintf(why, size,
			       "it is a link or the like, which a new file would take the place of");
		return -EBADMSG;
	}
	list.mode = st.st_mode & 07777;
	r = fileio_read(root, list.path, CHAIN_MAX_BYTES, &list.text, &len);
	if (r == 0)
		r = chain_parse(list.text, len, &list.json, why, size);
	if (r < 0)
		return r;
	*ret = list;
	list = (struct node_list){ 0 };
	return 0;
}

bool node_open_records(const struct install *in, int *ret, int *ret_lock, struct install_report *report)
{
	_cleanup_close_ int fd = -EBADF, lock = -EBADF;
	char holder[128] = "";
	int r = in->look ? 0 : fileio_mkdirs(in->root, INSTALL_RECORDS, 0755);

	if (r == 0)
		fd = openat(in->root, INSTALL_RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || (fd < 0 && !in->look))
		return report_broken(report, r < 0 ? r : negative_errno(), "open", INSTALL_RECORDS);
	if (!in->look) {
		r = lock_take(fd, 30000, "cni-rdma-install", &lock, holder, sizeof(holder));
		if (r == -ETIMEDOUT)
			return report_end(report, INSTALL_WAIT, "another installer is at work: %s", holder);
		if (r < 0)
			return report_broken(report, r, "lock", INSTALL_RECORDS);
	}
	*ret = TAKE_FD(fd);
	*ret_lock = TAKE_FD(lock);
	return true;
}
