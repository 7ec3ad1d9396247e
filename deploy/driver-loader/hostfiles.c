// SPDX-License-Identifier: Apache-2.0
#include "hostfiles.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "node/nodefile.h"

#define FILE_MODE 0644

#define BOOT_RECORD "gaudi-p2p.conf.wrote"

/* Below the root, and below the source. */
static const struct hostfile {
	const char *path;
	const char *record;
	bool only_dkms;
} hostfiles[] = {
	{ "etc/udev/rules.d/60-gaudi-p2p.rules", "60-gaudi-p2p.rules.wrote", false },
	/* Without a module of the host's own, systemd would complain at every boot. */
	{ "etc/modules-load.d/gaudi-p2p.conf", BOOT_RECORD, true },
};

/* The text of a file; NULL when there is none. */
static int read_if_there(int dirfd, const char *path, char **ret)
{
	int r;

	*ret = NULL;
	if (dirfd < 0)
		return 0; /* only looking, there need not be records */
	r = fileio_read(dirfd, path, NODEFILE_MAX, ret, NULL);
	return r == -ENOENT ? 0 : r;
}

static bool equal(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int write_record(int records, const struct hostfile *file, const char *text)
{
	return fileio_write_atomic(records, file->record, text, strlen(text), FILE_MODE);
}

/*
 * A new file is recorded before it is written, so that it is taken back whatever happens; a new text of an old one
 * after that, so that a record of it never stands beside the old text, which would look edited.
 */
static int write_file(const struct loader *loader, int records, const struct hostfile *file,
		      const char *wanted, bool there)
{
	int r = there ? 0 : write_record(records, file, wanted);

	if (r == 0)
		r = nodefile_write(loader->root, file->path, wanted, strlen(wanted), FILE_MODE);
	if (r == 0 && there)
		r = write_record(records, file, wanted);
	if (r == 0)
		log_info("wrote /%s", file->path);
	return r;
}

static bool put(const struct loader *loader, int records, const struct hostfile *file, struct report *report)
{
	_cleanup_free_ char *wanted = NULL, *there = NULL, *ours = NULL;
	int r = fileio_read(loader->source, file->path, NODEFILE_MAX, &wanted, NULL);

	if (r < 0)
		return report_end(report, REPORT_FAILED,
				  "cannot read %s among the files to install: %s; see --source", file->path,
				  strerror(-r));
	r = read_if_there(loader->root, file->path, &there);
	if (r < 0)
		return report_broken(report, r, "read", file->path);
	r = read_if_there(records, file->record, &ours);
	if (r < 0)
		return report_broken(report, r, "read", LOADER_RECORDS);
	if (there && !equal(there, ours) && !(ours && equal(there, wanted)))
		return true; /* not ours, or not any more */
	if (equal(there, wanted) && equal(ours, wanted))
		return true;
	if (loader->look)
		return report_end(report, REPORT_MISSING, "/%s is missing or of another version", file->path);
	if (equal(there, wanted))
		r = write_record(records, file, wanted);
	else
		r = write_file(loader, records, file, wanted, there);
	return r == 0 || report_broken(report, r, "write", file->path);
}

static bool take(const struct loader *loader, int records, const struct hostfile *file, struct report *report)
{
	_cleanup_free_ char *there = NULL, *ours = NULL;
	int r = read_if_there(records, file->record, &ours);

	if (r < 0)
		return report_broken(report, r, "read", LOADER_RECORDS);
	if (!ours)
		return true;
	if (loader->look)
		return report_end(report, REPORT_MISSING, "/%s is there, and should not be", file->path);
	r = read_if_there(loader->root, file->path, &there);
	if (r < 0)
		return report_broken(report, r, "read", file->path);
	if (there && !equal(there, ours))
		log_warning("/%s was edited since it was written from here: it stays", file->path);
	else if (there && unlinkat(loader->root, file->path, 0) < 0 && errno != ENOENT)
		return report_broken(report, negative_errno(), "remove", file->path);
	else if (there)
		log_info("removed /%s", file->path);
	if (unlinkat(records, file->record, 0) < 0 && errno != ENOENT)
		return report_broken(report, negative_errno(), "write to", LOADER_RECORDS);
	return true;
}

bool hostfiles_put(const struct loader *loader, int records, bool by_dkms, struct report *report)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostfiles); i++) {
		bool wanted = by_dkms || !hostfiles[i].only_dkms;

		if (!(wanted ? put : take)(loader, records, &hostfiles[i], report))
			return false;
	}
	return true;
}

bool hostfiles_load_at_boot(int records)
{
	return faccessat(records, BOOT_RECORD, F_OK, 0) == 0;
}

bool hostfiles_take(const struct loader *loader, int records, struct report *report)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostfiles); i++)
		if (!take(loader, records, &hostfiles[i], report))
			return false;
	return true;
}
