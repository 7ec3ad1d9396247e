// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "node/lock.h"
#include "../state.h"
#include "base/fileio.h"
#include "base/log.h"
#include "chain.h"
#include "install.h"
#include "node.h"
#include "records.h"
#include "node/report.h"

#define STATE_DIR "var/lib/cni/cni-rdma"
#define LOCK_MS 30000

/* Files of attachments, readable or not. */
static int count_states(int dirfd, size_t *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = fileio_opendir(dirfd, ".", &dir);

	if (r < 0)
		return r;
	*ret = 0;
	while ((entry = readdir(dir))) {
		const char *dot = strrchr(entry->d_name, '.');

		*ret += entry->d_name[0] != '.' && dot && strcmp(dot, ".json") == 0;
	}
	return 0;
}

static void name_pods(const struct state_list *list, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < list->n && at < size; i++) {
		const struct state *state = list->states[i];
		int n = snprintf(text + at, size - at, "%s%s", i ? ", " : "",
				 state->pod[0] ? state->pod : state->container);

		at += n > 0 ? (size_t)n : 0;
	}
}

/*
 * No pod may have a NIC, from here until *ret_lock is closed: without our entry its end would not call cni-rdma,
 * which is what ends the regions on the NIC.
 */
static bool check_unused(const struct install *in, int *ret_lock, struct report *report)
{
	_cleanup_close_ int dir = openat(in->root, STATE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(state_list_done) struct state_list list = { 0 };
	char holder[128] = "", pods[512];
	size_t files = 0;
	int r;

	if (dir < 0)
		return errno == ENOENT || report_broken(report, negative_errno(), "open", STATE_DIR);
	r = lock_take(dir, LOCK_MS, "cni-rdma-install", ret_lock, holder, sizeof(holder));
	if (r == -ETIMEDOUT)
		return report_end(report, REPORT_IN_USE,
				  "cni-rdma is at work: %s; nothing was taken away, try again", holder);
	if (r == 0)
		r = state_list_load(dir, &list);
	if (r == 0)
		r = count_states(dir, &files);
	if (r < 0)
		return report_broken(report, r, "read", STATE_DIR);
	if (files == 0)
		return true;
	name_pods(&list, pods, sizeof(pods));
	return report_end(
		report, REPORT_IN_USE,
		"NICs are with %zu pod%s (%s%s); nothing was taken away: their end needs cni-rdma. Delete them, or "
		"drain the node, and run this again",
		files, files == 1 ? "" : "s", pods,
		files > list.n ? " and files in /" STATE_DIR " that cannot be read" : "");
}

/* The list without us: as it was, unless it was edited with us in it. */
static bool write_without(const struct install *in, const struct record *record, struct node_list *list,
			  struct report *report)
{
	_cleanup_free_ char *edited = NULL;
	const char *text = record->before;
	int r = 0;

	if (strcmp(list->text, record->after) != 0) {
		r = chain_take(list->text, list->json, &edited);
		text = edited;
	}
	if (r == 0)
		r = nodefile_write(in->root, list->path, text, strlen(text), list->mode);
	if (r < 0)
		return report_broken(report, r, "write", list->path);
	log_info("took cni-rdma out of /%s%s", list->path,
		 edited ? ", which was edited meanwhile" : ": it is as it was before");
	return true;
}

static bool restore_list(const struct install *in, int records, const char *name, struct report *report)
{
	_cleanup_(node_list_done) struct node_list list = { 0 };
	_cleanup_(record_done) struct record record = { 0 };
	char why[256] = "";
	int r;

	r = record_load(records, name, &record);
	if (r < 0)
		return report_broken(report, r, "understand a record in", INSTALL_RECORDS);
	r = node_list_load(in->root, record.folder, name, &list, why, sizeof(why));
	if (r == -EBADMSG)
		return report_end(
			report, REPORT_FAILED,
			"/%s/%s cannot be understood any more: %s; take the entry of cni-rdma out by hand, then "
			"remove /" INSTALL_RECORDS "/%s.record",
			record.folder, name, why, name);
	if (r < 0 && r != -ENOENT) /* the list is gone, and we with it */
		return report_broken(report, r, "read", record.folder);
	if (chain_entry(list.json) && !write_without(in, &record, &list, report))
		return false;
	r = record_remove(records, name);
	return r == 0 || report_broken(report, r, "write to", INSTALL_RECORDS);
}

static bool restore_lists(const struct install *in, int records, struct report *report)
{
	for (;;) {
		_cleanup_free_ char *name = NULL;
		int r = record_any(records, &name);

		if (r == -ENOENT)
			return true;
		if (r < 0)
			return report_broken(report, r, "read", INSTALL_RECORDS);
		if (!restore_list(in, records, name, report))
			return false;
	}
}

bool install_take_entries(const struct install *in, int records, struct report *report)
{
	_cleanup_close_ int unused = -EBADF;
	_cleanup_free_ char *name = NULL;
	int r = records < 0 ? -ENOENT : record_any(records, &name);

	if (r == -ENOENT)
		return true;
	if (r < 0)
		return report_broken(report, r, "read", INSTALL_RECORDS);
	if (in->look)
		return report_end(report, REPORT_MISSING, "cni-rdma is still chained in the pod network, %s",
				  name);
	return check_unused(in, &unused, report) && restore_lists(in, records, report);
}

/* A network that somebody else put us into would name a program that is not there. */
static bool check_unnamed(const struct install *in, struct report *report)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int folder = openat(in->root, in->conf, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (folder < 0 && errno == ENOENT)
		return true;
	r = folder < 0 ? negative_errno() : fileio_opendir(folder, ".", &dir);
	closep(&folder);
	if (r < 0)
		return report_broken(report, r, "read", in->conf);
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *text = NULL;

		if (entry->d_type == DT_DIR || !chain_is_network(entry->d_name))
			continue;
		r = fileio_read(dirfd(dir), entry->d_name, CHAIN_MAX_BYTES, &text, NULL);
		if (r < 0 && r != -ENOENT)
			return report_broken(report, r, "read a network in", in->conf);
		/* Not parsed: what we would refuse, a runtime may take. */
		if (r == 0 && strstr(text, "\"" CHAIN_TYPE "\""))
			return report_end(
				report, REPORT_FAILED,
				"/%s/%s names cni-rdma, and not by this installer: take that entry out by hand and run "
				"this again; until then the program stays",
				in->conf, entry->d_name);
	}
	return true;
}

static bool take_file(const struct install *in, const char *path, struct report *report)
{
	if (unlinkat(in->root, path, 0) == 0)
		log_info("removed /%s", path);
	else if (errno != ENOENT)
		return report_broken(report, negative_errno(), "remove", path);
	return true;
}

static bool take_modprobe(const struct install *in, int records, struct report *report)
{
	const char *path = INSTALL_MODPROBE_D "/" INSTALL_MODPROBE;

	if (faccessat(records, NODE_MODPROBE_OURS, F_OK, 0) < 0)
		return true; /* there by hand, or not at all */
	if (!take_file(in, path, report))
		return false;
	if (unlinkat(records, NODE_MODPROBE_OURS, 0) < 0)
		return report_broken(report, negative_errno(), "write to", INSTALL_RECORDS);
	return true;
}

/* What cni-rdma remembers. No pod has a NIC, so beside its lock there are only files that it did not come to finish. */
static bool take_state(const struct install *in, struct report *report)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = fileio_opendir(in->root, STATE_DIR, &dir);

	while (r == 0 && (entry = readdir(dir)))
		if (((entry->d_name[0] == '.' && entry->d_type != DT_DIR) ||
		     strcmp(entry->d_name, LOCK_FILE) == 0) &&
		    unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			r = negative_errno();
	if (r == 0)
		r = nodefile_remove_folder(in->root, STATE_DIR);
	return r == 0 || r == -ENOENT || report_broken(report, r, "remove", STATE_DIR);
}

static bool take_records(const struct install *in, int records, struct report *report)
{
	if ((unlinkat(records, LOCK_FILE, 0) < 0 && errno != ENOENT) ||
	    unlinkat(in->root, INSTALL_RECORDS, AT_REMOVEDIR) < 0)
		return report_broken(report, negative_errno(), "remove", INSTALL_RECORDS);
	return true;
}

/* All else that we put there stands in the records, which go last. */
static bool is_absent(const struct install *in, const char *program, struct report *report)
{
	const struct nodefile_ours ours[] = { { .path = program },
					      { .path = STATE_DIR "/" LOCK_FILE },
					      { .path = STATE_DIR, .is_shared = true },
					      { .path = INSTALL_RECORDS } };

	return nodefile_absent(in->root, ours, ARRAY_SIZE(ours), report) && check_unnamed(in, report);
}

void install_remove(const struct install *in, struct report *report)
{
	_cleanup_close_ int records = -EBADF, lock = -EBADF, unused = -EBADF;
	char program[PATH_MAX];

	(void)snprintf(program, sizeof(program), "%s/" INSTALL_PROGRAM, in->bin);
	if (!is_absent(in, program, report) &&
	    (in->look ||
	     !nodefile_open_records(in->root, INSTALL_RECORDS, "cni-rdma-install", false, &records, &lock,
				    report) ||
	     !check_unused(in, &unused, report) || !restore_lists(in, records, report) ||
	     !check_unnamed(in, report) || !take_file(in, program, report) ||
	     !take_modprobe(in, records, report) || !take_state(in, report) ||
	     !take_records(in, records, report)))
		return;
	(void)report_end(
		report, REPORT_DONE,
		"cni-rdma is no longer on this node; until the next boot RDMA devices stay with one network namespace "
		"each. So that the driver refuses NICs whose regions nothing ends now: echo refuse "
		">/sys/module/gaudi_p2p/parameters/nonrevocable");
}
