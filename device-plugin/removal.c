// SPDX-License-Identifier: Apache-2.0
#include "removal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "cdi.h"
#include "kubelet/podresources.h"
#include "links.h"
#include "node/nodefile.h"
#include "node/nodeopts.h"
#include "node/repeat.h"
#include "registrar.h"
#include "sysfs/inventory.h"
#include "sysfs/pairing.h"

/* By this name a folder is ours, whoever chose where it lies. */
#define FOLDER "gaudi-p2p"
#define NAMES_MAX 512

/* A list of names; one that does not fit is left out. */
static void append(char *names, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char *names, const char *format, ...)
{
	size_t used = strlen(names);
	va_list args;

	va_start(args, format);
	if (used + 2 < NAMES_MAX) {
		if (used > 0)
			(void)strcpy(names + used, ", ");
		used = strlen(names);
		(void)vsnprintf(names + used, NAMES_MAX - used, format, args);
	}
	va_end(args);
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* --- what there is ------------------------------------------------------------- */

/* A name, or the temporary file of a writer who was killed. */
static bool is_pairs(const char *name)
{
	return strcmp(name, PAIRS_FILE) == 0 || strcmp(name, PAIRS_FILE ".bad") == 0 ||
	       begins(name, "." PAIRS_FILE ".");
}

static bool is_spec(const char *name)
{
	return begins(name, CDI_FILE_PREFIX) || begins(name, "." CDI_FILE_PREFIX);
}

static bool is_socket(const char *name)
{
	return begins(name, REGISTRAR_PREFIX);
}

/* All files of a folder that are ours by name; other files of it stay, and so do folders. */
static bool clear_files(const char *dir, bool (*is_ours)(const char *name), bool look, struct report *report)
{
	_cleanup_closedir_ DIR *stream = NULL;
	struct dirent *entry;
	int r = fileio_opendir(AT_FDCWD, dir, &stream);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ||
		       report_broken(report, r, "read", nodeopts_inside(dir));
	while ((entry = readdir(stream))) {
		if (entry->d_type == DT_DIR || !is_ours(entry->d_name))
			continue;
		if (look)
			return report_end(report, REPORT_MISSING, "%s/%s is still there", dir, entry->d_name);
		if (unlinkat(dirfd(stream), entry->d_name, 0) == 0)
			log_info("removed %s/%s", dir, entry->d_name);
		else if (errno != ENOENT)
			return report_broken(report, negative_errno(), "remove files in",
					     nodeopts_inside(dir));
	}
	return true;
}

static bool clear_links(const struct options *options, bool look, struct report *report)
{
	int r = links_clear(options->dev_dir, look);

	if (r < 0)
		return report_end(report, REPORT_FAILED, "cannot %s the links in %s/gaudi: %s%s",
				  look ? "look at" : "remove", options->dev_dir, strerror(-r),
				  r == -EBUSY ? "; mount the folder above it in its place" : "");
	return r == 0 || report_end(report, REPORT_MISSING, "%s/gaudi is still there", options->dev_dir);
}

static bool clear_folder(const struct options *options, bool look, struct report *report)
{
	const char *dir = options->state_dir, *slash = strrchr(dir, '/');
	int r;

	if (!slash || strcmp(slash + 1, FOLDER) != 0)
		return true;
	r = look ? nodefile_is_empty_folder(AT_FDCWD, dir) : nodefile_remove_folder(AT_FDCWD, dir);
	if (r < 0)
		return report_broken(report, r, look ? "read" : "remove", nodeopts_inside(dir));
	return r == 0 || report_end(report, REPORT_MISSING, "%s is still there", dir);
}

/* All that is left; the pairing goes last, because the checks read it. False: the report says why, or what there is. */
static bool clear(const struct options *options, bool look, struct report *report)
{
	return clear_links(options, look, report) && clear_files(options->cdi_dir, is_spec, look, report) &&
	       clear_files(options->state_dir, is_pairs, look, report) && clear_folder(options, look, report);
}

/* --- who would miss it ---------------------------------------------------------- */

/* The sockets that a sweep left are served. */
static bool check_plugin(const struct options *options, struct report *report)
{
	struct report socket = { 0 };

	if (clear_files(options->kubelet_dir, is_socket, true, &socket) &&
	    clear_files(options->registry_dir, is_socket, true, &socket))
		return true;
	if (socket.outcome != REPORT_MISSING) {
		*report = socket;
		return false;
	}
	return report_end(report, REPORT_IN_USE,
			  "a device plugin still runs on this node (%s); nothing was taken away: delete its "
			  "DaemonSet",
			  socket.text);
}

static bool has_our_devices(const struct options *options, const V1__PodResources *pod)
{
	for (size_t c = 0; c < pod->n_containers; c++)
		for (size_t d = 0; d < pod->containers[c]->n_devices; d++) {
			const V1__ContainerDevices *devices = pod->containers[c]->devices[d];

			if (devices->n_device_ids > 0 &&
			    (strcmp(devices->resource_name, options->resource_gaudi) == 0 ||
			     strcmp(devices->resource_name, options->resource_nic) == 0))
				return true;
		}
	return false;
}

static bool check_pods(const struct removal *removal, struct report *report)
{
	_cleanup_message_ V1__ListPodResourcesResponse *list = NULL;
	const struct options *options = removal->options;
	char names[NAMES_MAX] = "";
	size_t n = 0;
	int r;

	if (strcmp(options->podresources, REMOVAL_NO_KUBELET) == 0)
		return true;
	r = removal->list(options->podresources, &list, names, sizeof(names));
	if (r < 0)
		return report_end(
			report, REPORT_WAIT,
			"cannot ask the kubelet which pods have devices (%s): %s; nothing was taken away. On a node without a "
			"kubelet say --pod-resources=" REMOVAL_NO_KUBELET,
			options->podresources, names);
	for (size_t i = 0; i < list->n_pod_resources; i++)
		if (has_our_devices(options, list->pod_resources[i])) {
			append(names, "%s/%s", list->pod_resources[i]->namespace_,
			       list->pod_resources[i]->name);
			n++;
		}
	return n == 0 ||
	       report_end(report, REPORT_IN_USE,
			  "%zu pod%s of this node ha%s %s or %s (%s); nothing was taken away: delete "
			  "them, or drain the node",
			  n, n == 1 ? "" : "s", n == 1 ? "s" : "ve", options->resource_gaudi,
			  options->resource_nic, names);
}

/* A pod that is being deleted is on the kubelet's list no more, and has its NICs until its end. */
static bool check_nics(const struct options *options, struct report *report)
{
	_cleanup_(sysfs_root_done) struct sysfs_root sysfs = SYSFS_ROOT_INIT;
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	char names[NAMES_MAX] = "", path[OPTIONS_PATH_MAX + sizeof(PAIRS_FILE) + 1];
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", options->state_dir, PAIRS_FILE);
	r = pairs_load(path, &pairs, NULL, 0);
	if (r == -ENOENT || r == -ENOTDIR || r == -EBADMSG || r == -EFBIG || r == -EPROTONOSUPPORT)
		return true; /* nobody can use it */
	if (r < 0)
		return report_broken(report, r, "read", nodeopts_inside(path));
	r = sysfs_root_open(&sysfs, options->sysfs_root);
	if (r == 0)
		r = inventory_scan(&sysfs, &inv);
	if (r < 0)
		return report_end(report, REPORT_FAILED, "%s: cannot look for NICs (--sysfs-root): %s",
				  options->sysfs_root, strerror(-r));
	for (size_t i = 0; i < pairs->n; i++) {
		const struct pairs_nic *name = &pairs->pair[i].nic;
		const struct nic *nic = pairs->pair[i].has_nic ? inventory_find_nic(inv, name->pci) : NULL;

		if (pairs->pair[i].has_nic && !(nic && nic->is_visible) &&
		    pairing_nic_is_present(inv, name, NULL))
			append(names, "%s", name->pci);
	}
	return !names[0] ||
	       report_end(report, REPORT_IN_USE,
			  "NICs are with pods (%s), whose end may need the pairing; nothing was taken "
			  "away: wait until the pods are gone",
			  names);
}

/* --- life ------------------------------------------------------------------------ */

static bool is_left(const struct options *options, struct report *report)
{
	return !clear(options, true, report) || !clear_files(options->kubelet_dir, is_socket, true, report) ||
	       !clear_files(options->registry_dir, is_socket, true, report);
}

void removal_step(void *data, struct report *report)
{
	const struct removal *removal = data;
	const struct options *options = removal->options;

	if (!removal->look) {
		registrar_sweep(options->kubelet_dir);
		registrar_sweep(options->registry_dir);
	}
	if (is_left(options, report) &&
	    (removal->look || !check_plugin(options, report) || !check_pods(removal, report) ||
	     !check_nics(options, report) || !clear(options, false, report)))
		return;
	(void)report_end(report, REPORT_DONE, "nothing of the device plugin is on this node");
}

static int list_pods(const char *socket, V1__ListPodResourcesResponse **ret, char *why, size_t size)
{
	struct grpc_error error = { 0 };
	int r = podresources_list(socket, 0, ret, &error);

	if (r < 0)
		(void)snprintf(why, size, "%s", error.text[0] ? error.text : strerror(-r));
	return r;
}

int removal_run(const struct options *options)
{
	struct removal removal = { .options = options,
				   .look = options->uninstall == UNINSTALL_LOOK,
				   .list = list_pods };
	const bool stay = options->uninstall == UNINSTALL_STAY;
	struct report report = { 0 };

	repeat_run(&(struct repeat){ .step = removal_step,
				     .data = &removal,
				     .interval = (options->rescan_ms + 999) / 1000,
				     .wait = stay,
				     .stay = stay },
		   &report);
	return (int)report.outcome;
}
