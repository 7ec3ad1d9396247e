// SPDX-License-Identifier: Apache-2.0
#include "links.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fileio.h"
#include "node/nodefile.h"
#include "nodes.h"

#define BY_ID "gaudi/by-id"
/* A name that no device and no link has: ids do not begin with a dot. */
#define TEMPORARY ".new"

static const char *const link_names[] = { LINKS_ACCEL, LINKS_CONTROL, LINKS_UVERBS };

int links_open(struct links *links, const char *dev_dir)
{
	_cleanup_close_ int dev = open(dev_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r, fd;

	if (dev < 0)
		return negative_errno();
	r = fileio_mkdirs(dev, BY_ID, 0755);
	if (r < 0)
		return r;
	fd = openat(dev, BY_ID, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return negative_errno();
	links->dir_fd = fd;
	links->is_true = false;
	return 0;
}

void links_done(struct links *links)
{
	closep(&links->dir_fd);
	links->dir_fd = -EBADF;
	links->is_true = false;
}

void links_path(char *path, const char *id, const char *link)
{
	(void)snprintf(path, LINKS_PATH_MAX, "/dev/" BY_ID "/%s/%s", id, link);
}

static bool link_is(int dir, const char *name, const char *target)
{
	char now[LINKS_PATH_MAX];
	ssize_t n = readlinkat(dir, name, now, sizeof(now));

	return n >= 0 && (size_t)n == strlen(target) && memcmp(now, target, (size_t)n) == 0;
}

static int remove_entry(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return negative_errno();
	return 0;
}

/* There is something of that name, and it is not this link. */
static int link_replace(int dir, const char *name, const char *target)
{
	int r = remove_entry(dir, TEMPORARY);

	if (r < 0)
		return r;
	if (symlinkat(target, dir, TEMPORARY) < 0)
		return negative_errno();
	if (renameat(dir, TEMPORARY, dir, name) < 0) {
		r = negative_errno();
		(void)unlinkat(dir, TEMPORARY, 0);
		return r;
	}
	return 0;
}

/* target NULL: no such link. */
static int link_set(int dir, const char *name, const char *target)
{
	if (!target)
		return remove_entry(dir, name);
	if (symlinkat(target, dir, name) == 0)
		return 0;
	if (errno != EEXIST)
		return negative_errno();
	return link_is(dir, name, target) ? 0 : link_replace(dir, name, target);
}

/* Where the link of a node leads: relative, so that it is right wherever /dev is mounted. */
static void target_of(char *target, size_t size, const struct node *node)
{
	(void)snprintf(target, size, "../../..%s", node->path + strlen("/dev"));
}

/* Whether the links are there already; that there is none too many is not looked at. */
static bool device_is_set(int by_id, const char *id, const struct node *nodes, size_t n)
{
	char name[LINKS_PATH_MAX], target[LINKS_PATH_MAX];
	size_t n_right = 0;

	for (size_t i = 0; i < n; i++) {
		if (!nodes[i].link)
			continue;
		target_of(target, sizeof(target), &nodes[i]);
		if ((size_t)snprintf(name, sizeof(name), "%s/%s", id, nodes[i].link) >= sizeof(name) ||
		    !link_is(by_id, name, target))
			return false;
		n_right++;
	}
	return n_right == ARRAY_SIZE(link_names);
}

static int device_set(int by_id, const char *id, const struct node *nodes, size_t n)
{
	_cleanup_close_ int dir = -EBADF;
	int r = 0;

	if (device_is_set(by_id, id, nodes, n))
		return 0;
	if (mkdirat(by_id, id, 0755) < 0 && errno != EEXIST)
		return negative_errno();
	dir = openat(by_id, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return negative_errno();
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(link_names); i++) {
		char target[LINKS_PATH_MAX];
		bool wanted = false;

		for (size_t j = 0; j < n; j++)
			if (nodes[j].link && strcmp(nodes[j].link, link_names[i]) == 0) {
				target_of(target, sizeof(target), &nodes[j]);
				wanted = true;
			}
		r = link_set(dir, link_names[i], wanted ? target : NULL);
	}
	return r;
}

static bool is_link(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

static int folder_clear(int parent, const char *name, bool look)
{
	return look ? nodefile_is_empty_folder(parent, name) : nodefile_remove_folder(parent, name);
}

/* The folder of a device and the links in it, as links_clear() has it. */
static int device_clear(int by_id, const char *id, bool look)
{
	_cleanup_close_ int dir = openat(by_id, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : negative_errno();
	for (size_t i = 0; i <= ARRAY_SIZE(link_names); i++) {
		const char *name = i < ARRAY_SIZE(link_names) ? link_names[i] : TEMPORARY;
		int r = 0;

		if (!is_link(dir, name))
			continue;
		if (look)
			return 1;
		r = remove_entry(dir, name);
		if (r < 0)
			return r;
	}
	return folder_clear(by_id, id, look);
}

static int by_id_clear(int by_id, bool look)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int result = fileio_opendir(by_id, ".", &dir), r;

	while (result >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		r = device_clear(by_id, entry->d_name, look);
		if (r != 0 && look)
			return r;
		if (result == 0)
			result = r;
	}
	return result;
}

int links_clear(const char *dev_dir, bool look)
{
	static const char *const folders[] = { "gaudi/by-id", "gaudi" };
	_cleanup_close_ int dev = open(dev_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int gaudi = -EBADF, by_id = -EBADF;
	int result = 0;

	if (dev >= 0)
		gaudi = openat(dev, "gaudi", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (gaudi >= 0)
		by_id = openat(gaudi, "by-id", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (gaudi < 0 || by_id < 0)
		result = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : negative_errno();
	if (by_id >= 0)
		result = by_id_clear(by_id, look);
	for (size_t i = 0; gaudi >= 0 && result == 0 && i < ARRAY_SIZE(folders); i++)
		result = folder_clear(dev, folders[i], look);
	return result;
}

static bool is_linked(const struct core *core, const char *id)
{
	const struct device *device = core_find(core, id);
	const struct core_nic *nic = device ? NULL : core_find_nic(core, id);

	return device ? !device->health.vanished : nic && nic->is_offered;
}

static int prune(int by_id, const struct core *core)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int result = 0, r;

	r = fileio_opendir(by_id, ".", &dir);
	if (r < 0)
		return r;
	while (errno = 0, (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || is_linked(core, entry->d_name))
			continue;
		r = device_clear(by_id, entry->d_name, false);
		if (result == 0)
			result = r;
	}
	return result;
}

int links_update(struct links *links, const struct core *core)
{
	struct node nodes[NODES_MAX];
	int result, r;

	if (links->dir_fd < 0)
		return -EBADF;
	/* Old ones first: a number may have gone over to another device. */
	result = prune(links->dir_fd, core);
	for (size_t i = 0; i < core->n_device; i++) {
		const struct gaudi *gaudi = core->device[i].gaudi;

		if (core->device[i].health.vanished)
			continue;
		r = device_set(links->dir_fd, gaudi->id, nodes, nodes_of_gaudi(core, gaudi, nodes));
		if (result == 0)
			result = r;
	}
	for (size_t i = 0; i < core->n_nic; i++) {
		const struct pairs_nic *name = &core->nic[i].name;

		if (!core->nic[i].is_offered)
			continue;
		r = device_set(links->dir_fd, name->pci, nodes, nodes_of_nic(core, name, nodes));
		if (result == 0)
			result = r;
	}
	links->is_true = result == 0;
	return result;
}
