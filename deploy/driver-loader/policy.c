// SPDX-License-Identifier: Apache-2.0
#include "policy.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "bootrecord.h"
#include "node/nodefile.h"

#define RECORD "policy"
#define PARAMETER "sys/module/" LOADER_MODULE "/parameters/nonrevocable"

/* The parameter of ib_core follows the mode also when that is changed later. Without RDMA there is no such file. */
static bool is_exclusive(const struct loader *loader)
{
	char shared[8];

	return fileio_read_attr(loader->root, "sys/module/ib_core/parameters/netns_mode", shared,
				sizeof(shared)) >= 0 &&
	       strcmp(shared, "N") == 0;
}

/* Not parsed, as in cni-rdma-install: what we would refuse, a runtime may take. */
static bool has_cni_rdma(const struct loader *loader)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	if (fileio_opendir(loader->root, loader->conf, &dir) < 0)
		return false;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *text = NULL;
		const char *dot = strrchr(entry->d_name, '.');

		if (entry->d_name[0] == '.' || !dot || strncmp(dot, ".conf", 5) != 0)
			continue;
		if (fileio_read(dirfd(dir), entry->d_name, NODEFILE_MAX, &text, NULL) == 0 &&
		    strstr(text, "\"cni-rdma\""))
			return true;
	}
	return false;
}

const char *policy_word(const struct loader *loader)
{
	if (loader->policy == LOADER_POLICY_AUTO)
		return is_exclusive(loader) && has_cni_rdma(loader) ? "hold" : "refuse";
	return loader->policy == LOADER_POLICY_HOLD ? "hold" : "refuse";
}

/* What the policy was when this boot's first change came. */
static int remember(const struct loader *loader, int records, const char *now)
{
	_cleanup_free_ char *before = NULL;
	int r = bootrecord_read(loader, records, RECORD, &before);

	return r < 0 || before ? r : bootrecord_write(loader, records, RECORD, now);
}

static int write_parameter(const struct loader *loader, const char *word)
{
	_cleanup_close_ int fd = openat(loader->root, PARAMETER, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? negative_errno() : fileio_write_all(fd, word, strlen(word));
}

bool policy_restore(const struct loader *loader, int records, struct report *report)
{
	_cleanup_free_ char *before = NULL;
	int r = bootrecord_read(loader, records, RECORD, &before);

	if (r < 0)
		return report_broken(report, r, "read", LOADER_RECORDS);
	r = before ? write_parameter(loader, before) : 0;
	if (r < 0)
		return report_broken(report, r, "write", PARAMETER);
	if (before)
		log_info("importers that cannot revoke: %s, as before", before);
	return true;
}

bool policy_is_changed(int records)
{
	return faccessat(records, RECORD, F_OK, 0) == 0;
}

int policy_forget(int records)
{
	return bootrecord_remove(records, RECORD);
}

bool policy_apply(const struct loader *loader, int records, struct report *report)
{
	const char *wanted = policy_word(loader);
	char now[32] = "";
	ssize_t n = fileio_read_attr(loader->root, PARAMETER, now, sizeof(now));
	int r;

	if (n < 0)
		return report_broken(report, (int)n, "read", PARAMETER);
	if (strcmp(now, wanted) == 0)
		return true;
	if (loader->look)
		return report_end(report, REPORT_MISSING,
				  "the driver's policy nonrevocable is %s, and should be %s", now, wanted);
	r = remember(loader, records, now);
	if (r < 0)
		return report_broken(report, r, "write to", LOADER_RECORDS);
	r = write_parameter(loader, wanted);
	if (r < 0)
		return report_broken(report, r, "write", PARAMETER);
	log_info("importers that cannot revoke: %s instead of %s%s", wanted, now,
		 loader->policy != LOADER_POLICY_AUTO ? ", as --nonrevocable says"
		 : strcmp(wanted, "hold") == 0
			 ? ": cni-rdma in exclusive mode ends what they hold"
			 : ": cni-rdma is not in the pod network, or RDMA namespaces are not exclusive");
	return true;
}
