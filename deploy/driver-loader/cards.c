// SPDX-License-Identifier: Apache-2.0
#include "cards.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/num.h"

#define CLASS "sys/class/accel"

static void read_optional(int root, const char *card, const char *attr, char *ret, size_t size)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), CLASS "/%s/device/%s", card, attr);
	if (fileio_read_attr(root, path, ret, size) < 0)
		ret[0] = '\0';
}

/* 1: read; 0: not one of ours, or gone. */
static int card_load(int root, const char *name, struct card *ret)
{
	struct card card = { 0 };
	char path[PATH_MAX], target[PATH_MAX];
	const char *slash;
	ssize_t n;

	(void)snprintf(card.name, sizeof(card.name), "%s", name);
	(void)snprintf(path, sizeof(path), CLASS "/%s/device/state", name);
	n = fileio_read_attr(root, path, card.state, sizeof(card.state));
	/* Other drivers' devices have no lease. */
	if (n == -ENOENT || n == -ENODEV)
		return 0;
	if (n < 0)
		return (int)n;
	(void)snprintf(path, sizeof(path), CLASS "/%s/device", name);
	n = readlinkat(root, path, target, sizeof(target) - 1);
	if (n < 0)
		return errno == ENOENT ? 0 : negative_errno();
	target[n] = '\0';
	slash = strrchr(target, '/');
	(void)snprintf(card.device, sizeof(card.device), "%.63s", slash ? slash + 1 : target);
	read_optional(root, name, "serial", card.serial, sizeof(card.serial));
	read_optional(root, name, "reason", card.reason, sizeof(card.reason));
	read_optional(root, name, "owner", card.owner, sizeof(card.owner));
	read_optional(root, name, "owner_pid", card.owner_pid, sizeof(card.owner_pid));
	*ret = card;
	return 1;
}

int cards_load(int root, struct cards *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = fileio_opendir(root, CLASS, &dir);

	ret->n = 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while ((entry = readdir(dir))) {
		unsigned number;

		if (num_parse_suffix(entry->d_name, "accel", &number) < 0)
			continue;
		if (ret->n == ARRAY_SIZE(ret->list))
			return -E2BIG;
		r = card_load(root, entry->d_name, &ret->list[ret->n]);
		if (r < 0)
			return r;
		ret->n += r > 0;
	}
	return 0;
}

const char *cards_pod(const struct card *card, const struct loader_grants *grants)
{
	for (size_t i = 0; i < grants->n; i++)
		if (strcmp(grants->list[i].id, card->device) == 0 ||
		    (card->serial[0] && strcmp(grants->list[i].id, card->serial) == 0))
			return grants->list[i].pod;
	return NULL;
}

void cards_describe(const struct card *card, const char *pod, char *text, size_t size)
{
	if (pod)
		(void)snprintf(text, size, "%s is with pod %s", card->device, pod);
	else
		(void)snprintf(text, size, "%s is %s%s%s%s%s%s%s%s", card->device, card->state,
			       card->reason[0] ? ": " : "", card->reason, card->owner[0] ? " (" : "",
			       card->owner, card->owner[0] && card->owner_pid[0] ? ", process " : "",
			       card->owner[0] ? card->owner_pid : "", card->owner[0] ? ")" : "");
}
