// SPDX-License-Identifier: Apache-2.0
#include "loader.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "cards.h"
#include "hostfiles.h"
#include "insert.h"
#include "moddep.h"
#include "node/lock.h"
#include "node/nodefile.h"
#include "policy.h"
#include "replace.h"
#include "wanted.h"

#define ME "gaudi-driver-loader"
#define OTHER_DRIVER "habanalabs"

/* dma-buf has a revoke contract since 7.1. */
static bool check_kernel(const struct loader *loader, struct report *report)
{
	unsigned major = 0, minor = 0;

	if (sscanf(loader->release, "%u.%u", &major, &minor) == 2 &&
	    (major > 7 || (major == 7 && minor >= 1)))
		return true;
	return report_end(
		report, REPORT_FAILED,
		"this node runs Linux %s, and " LOADER_MODULE
		" needs 7.1 or newer, because that is where memory that was "
		"exported can be revoked: install a newer kernel and reboot, or keep the loader off this node (a label)",
		loader->release);
}

/* Cards that the mainline driver drives are silicon, which ours does not drive. */
static bool check_other_driver(const struct loader *loader, struct report *report)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char first[64] = "";
	struct dirent *entry;
	size_t n = 0;
	int r = fileio_opendir(loader->root, "sys/bus/pci/drivers/" OTHER_DRIVER, &dir);

	if (r < 0)
		return r == -ENOENT || report_broken(report, r, "read", "sys/bus/pci/drivers/" OTHER_DRIVER);
	while ((entry = readdir(dir)))
		if (strchr(entry->d_name, ':') && n++ == 0)
			(void)snprintf(first, sizeof(first), "%.63s", entry->d_name);
	if (n == 0)
		return true;
	return report_end(
		report, REPORT_FAILED,
		"the driver " OTHER_DRIVER " has %zu card(s) of this node (%s%s), and " LOADER_MODULE
		" does not drive silicon: keep the loader off this node, and use the device plugin with " OTHER_DRIVER
		" alone (driver/README.md)",
		n, first, n > 1 ? ", ..." : "");
}

/* Of modprobe.d, then our own, then the policy: the kernel takes the last of those that name the same. */
static bool make_params(const struct loader *loader, char params[static LOADER_PARAMS_MAX],
			struct report *report)
{
	char host[LOADER_PARAMS_MAX];
	int r = moddep_options(loader->root, LOADER_MODULE, host, sizeof(host));
	size_t n = 0;

	if (r == 0) {
		n = (size_t)snprintf(params, LOADER_PARAMS_MAX, "%s%s%s%snonrevocable=%s", host,
				     *host ? " " : "", loader->params, *loader->params ? " " : "",
				     policy_word(loader));
		r = n < LOADER_PARAMS_MAX ? 0 : -EMSGSIZE;
	}
	return r == 0 || report_broken(report, r, "read the options in", "etc/modprobe.d");
}

static bool load(struct loader *loader, int records, const struct wanted *wanted, struct report *report)
{
	char params[LOADER_PARAMS_MAX];
	int r;

	if (!make_params(loader, params, report))
		return false;
	r = insert_record(loader, records, LOADER_MODULE);
	if (r < 0)
		return report_broken(report, r, "write to", LOADER_RECORDS);
	if (!insert_file(loader, wanted->dirfd, wanted->path, LOADER_MODULE, params, report))
		return false;
	loader->loaded_from = wanted->by_dkms ? "was loaded, as dkms built it" : "was loaded from this image";
	return true;
}

/* The module that is wanted in the place of what is there. What the new one needs comes first: then little can fail. */
static bool put_module(struct loader *loader, int records, const struct wanted *wanted, struct report *report)
{
	char loaded[160], why[REPORT_TEXT_MAX / 2];
	bool is_loaded = insert_is_loaded(loader, LOADER_MODULE);
	int r = is_loaded ? wanted_differs(loader, wanted, loaded, sizeof(loaded)) : 1;

	if (r < 0)
		return report_broken(report, r, "read the version in", "sys/module/" LOADER_MODULE);
	if (r == 0)
		return true;
	if (!is_loaded && loader->look)
		return report_end(report, REPORT_MISSING, LOADER_MODULE " is not loaded");
	if (loader->look)
		return report_end(report, REPORT_MISSING, LOADER_MODULE " %s is loaded, and is to be %s",
				  loaded, wanted->info.version);
	if (!check_other_driver(loader, report) ||
	    !insert_needs(loader, records, wanted->info.depends, report))
		return false;
	if (is_loaded) {
		(void)snprintf(why, sizeof(why), LOADER_MODULE " %s is replaced by %s%s%s", loaded,
			       wanted->info.version, wanted->info.srcversion[0] ? ", built from " : "",
			       wanted->info.srcversion);
		if (!replace_unload(loader, why, report))
			return false;
	}
	return load(loader, records, wanted, report);
}

static bool tell_done(struct loader *loader, const struct wanted *wanted, struct report *report)
{
	_cleanup_free_ struct cards *cards = calloc(1, sizeof(*cards));
	const char *word = policy_word(loader);
	int r = cards ? cards_load(loader->root, cards) : -ENOMEM;

	if (r < 0)
		return report_broken(report, r, "read", "sys/class/accel");
	return report_end(report, REPORT_DONE,
			  LOADER_MODULE " %s %s; %zu card(s); importers that cannot revoke: %s",
			  wanted->info.version, loader->loaded_from ?: "was loaded already, by the node",
			  cards->n, word);
}

/* A driver that the node has by itself is not ours to judge when we have none. */
static bool keep_loaded(const struct loader *loader, struct report *report)
{
	_cleanup_close_ int records = -EBADF, lock = -EBADF;
	struct report policy = { 0 };

	if (report->outcome != REPORT_WAIT || !insert_is_loaded(loader, LOADER_MODULE))
		return false;
	if (!nodefile_open_records(loader->root, LOADER_RECORDS, ME, loader->look, &records, &lock,
				   &policy) ||
	    !policy_apply(loader, records, &policy)) {
		*report = policy;
		return false;
	}
	return report_end(
		report, REPORT_DONE,
		LOADER_MODULE
		" was loaded already, by the node, and stays as it is: there is no other one for kernel %s",
		loader->release);
}

static void install(struct loader *loader, struct report *report)
{
	_cleanup_close_ int records = -EBADF, lock = -EBADF;
	struct wanted wanted;

	if (!check_kernel(loader, report))
		return;
	if (!wanted_find(loader, &wanted, report)) {
		(void)keep_loaded(loader, report);
		return;
	}
	if (!nodefile_open_records(loader->root, LOADER_RECORDS, ME, loader->look, &records, &lock, report) ||
	    !hostfiles_put(loader, records, wanted.by_dkms, report) ||
	    !put_module(loader, records, &wanted, report) || !policy_apply(loader, records, report))
		return;
	(void)tell_done(loader, &wanted, report);
}

/* One that the node loaded by itself, or has for its own reasons, is not ours to take. */
static bool take_module(struct loader *loader, int records, struct report *report)
{
	int ours;

	if (!insert_is_loaded(loader, LOADER_MODULE))
		return true;
	ours = insert_has_record(loader, records, LOADER_MODULE);
	if (ours < 0)
		return report_broken(report, ours, "read", LOADER_RECORDS);
	if (ours || hostfiles_load_at_boot(records))
		return replace_unload(loader, LOADER_MODULE " is unloaded", report);
	/* Pods that run began with the policy as it is. */
	return !policy_is_changed(records) ||
	       (replace_wait(loader, LOADER_MODULE " gets the policy back that it had", report) &&
		policy_restore(loader, records, report));
}

static bool take_records(struct loader *loader, int records, struct report *report)
{
	int r = policy_forget(records);

	if (r == 0 && unlinkat(records, LOCK_FILE, 0) < 0 && errno != ENOENT)
		r = negative_errno();
	if (r == 0 && unlinkat(loader->root, LOADER_RECORDS, AT_REMOVEDIR) < 0)
		r = negative_errno();
	return r == 0 || report_broken(report, r, "remove", LOADER_RECORDS);
}

static bool take_folder(struct loader *loader, struct report *report)
{
	int r = nodefile_remove_folder(loader->root, LOADER_FOLDER);

	return r == 0 || report_broken(report, r, "remove", LOADER_FOLDER);
}

static bool take_all(struct loader *loader, struct report *report)
{
	_cleanup_close_ int records = -EBADF, lock = -EBADF;
	int r;

	if (!nodefile_open_records(loader->root, LOADER_RECORDS, ME, false, &records, &lock, report) ||
	    !take_module(loader, records, report))
		return false;
	r = insert_take_needs(loader, records);
	if (r < 0)
		return report_broken(report, r, "read", LOADER_RECORDS);
	return hostfiles_take(loader, records, report) && take_records(loader, records, report) &&
	       take_folder(loader, report);
}

static void uninstall(struct loader *loader, struct report *report)
{
	static const struct nodefile_ours ours[] = { { .path = LOADER_RECORDS },
						     { .path = LOADER_FOLDER, .is_shared = true } };

	if (!nodefile_absent(loader->root, ours, ARRAY_SIZE(ours), report) &&
	    (loader->look || !take_all(loader, report)))
		return;
	(void)report_end(report, REPORT_DONE, LOADER_MODULE " %s",
			 insert_is_loaded(loader, LOADER_MODULE)
				 ? "stays on this node, which loaded it by itself; nothing from here is left"
				 : "is no longer on this node");
}

/* Cards are held only while others are waited for: not for what cannot be done, or need not be any more. */
static void end_step(struct loader *loader, const struct report *report)
{
	if (report->outcome != REPORT_IN_USE)
		loader_done(loader);
}

void loader_install(struct loader *loader, struct report *report)
{
	install(loader, report);
	end_step(loader, report);
}

void loader_uninstall(struct loader *loader, struct report *report)
{
	uninstall(loader, report);
	end_step(loader, report);
}
