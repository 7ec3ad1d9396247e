// SPDX-License-Identifier: Apache-2.0
#include "bootrecord.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"

#define MAX_BYTES 4096

static int read_boot(const struct loader *loader, char boot[static 64])
{
	ssize_t n = fileio_read_attr(loader->root, "proc/sys/kernel/random/boot_id", boot, 64);

	return n < 0 ? (int)n : 0;
}

int bootrecord_read(const struct loader *loader, int records, const char *name, char **ret)
{
	_cleanup_free_ char *text = NULL;
	char boot[64];
	int r = read_boot(loader, boot);

	*ret = NULL;
	if (r < 0)
		return r;
	r = fileio_read(records, name, MAX_BYTES, &text, NULL);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (strncmp(text, boot, strlen(boot)) != 0 || text[strlen(boot)] != '\n')
		return 0;
	*ret = strdup(text + strlen(boot) + 1);
	return *ret ? 0 : -ENOMEM;
}

int bootrecord_write(const struct loader *loader, int records, const char *name, const char *text)
{
	_cleanup_free_ char *whole = NULL;
	char boot[64];
	int r = read_boot(loader, boot);

	if (r < 0)
		return r;
	r = asprintf(&whole, "%s\n%s", boot, text);
	if (r < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	return fileio_write_atomic(records, name, whole, (size_t)r, 0644);
}

int bootrecord_remove(int records, const char *name)
{
	return unlinkat(records, name, 0) < 0 && errno != ENOENT ? negative_errno() : 0;
}
