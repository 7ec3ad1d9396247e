// SPDX-License-Identifier: Apache-2.0
#include "install.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "base/log.h"
#include "chain.h"
#include "json/jsontext.h"
#include "node.h"
#include "records.h"
#include "node/report.h"

/* One of our files as it shall be on the node. */
static bool read_source(const struct install *in, const char *name, char **ret, size_t *ret_len,
			struct report *report)
{
	int r = fileio_read(in->source, name, NODEFILE_MAX, ret, ret_len);

	if (r < 0)
		return report_end(report, REPORT_FAILED,
				  "cannot read %s among the files to install: %s; see --source", name,
				  strerror(-r));
	return true;
}

static bool put_program(const struct install *in, struct report *report)
{
	_cleanup_free_ char *wanted = NULL;
	char path[PATH_MAX];
	size_t len;
	int r;

	if (!read_source(in, INSTALL_PROGRAM, &wanted, &len, report))
		return false;
	(void)snprintf(path, sizeof(path), "%s/" INSTALL_PROGRAM, in->bin);
	r = nodefile_has(in->root, path, wanted, len, 0755);
	if (r > 0)
		return true;
	if (r == 0 && in->look)
		return report_end(report, REPORT_MISSING, "/%s is missing or of another version", path);
	if (r == 0)
		r = nodefile_write(in->root, path, wanted, len, 0755);
	if (r < 0)
		return report_broken(report, r, "write", path);
	log_info("wrote /%s", path);
	return true;
}

/* A file of the administrator's own is left alone, as long as it says what is needed. */
static bool keep_modprobe(const struct install *in, const char *path, struct report *report)
{
	int r = nodefile_says(in->root, path, "options ib_core netns_mode=0");

	if (r < 0)
		return report_broken(report, r, "read", path);
	if (r == 0)
		return report_end(
			report, REPORT_FAILED,
			"/%s is there, and not from here, but does not say \"options ib_core netns_mode=0\"; add "
			"that line, or remove the file",
			path);
	return true;
}

static bool put_modprobe(const struct install *in, int records, struct report *report)
{
	const char *path = INSTALL_MODPROBE_D "/" INSTALL_MODPROBE;
	_cleanup_free_ char *wanted = NULL;
	bool ours;
	size_t len;
	int r;

	if (!read_source(in, INSTALL_MODPROBE, &wanted, &len, report))
		return false;
	ours = faccessat(records, NODE_MODPROBE_OURS, F_OK, 0) == 0;
	if (!ours && faccessat(in->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return keep_modprobe(in, path, report);
	r = nodefile_has(in->root, path, wanted, len, 0644);
	if (r > 0)
		return true;
	if (r == 0 && in->look)
		return report_end(report, REPORT_MISSING, "/%s is missing or of another version", path);
	if (r == 0)
		r = fileio_write_atomic(records, NODE_MODPROBE_OURS, "", 0, 0644);
	if (r == 0)
		r = nodefile_write(in->root, path, wanted, len, 0644);
	if (r < 0)
		return report_broken(report, r, "write", path);
	log_info("wrote /%s", path);
	return true;
}

static bool put_mode(const struct install *in, struct report *report)
{
	bool shared = false;
	int r = in->is_shared(&shared);

	if (r == -EPROTONOSUPPORT)
		return report_end(
			report, REPORT_WAIT,
			"this node has no RDMA yet (ib_core is not loaded); the pod network is changed when it has. Look "
			"at the NICs' drivers: 'lsmod', 'dmesg'");
	if (r < 0)
		return report_end(
			report, REPORT_FAILED,
			"cannot ask the kernel whether RDMA devices are shared: %s; Linux 5.3 or later is needed",
			strerror(-r));
	if (!shared)
		return true;
	r = in->look ? -EBUSY : in->set_exclusive();
	if (r == 0) {
		log_info("RDMA devices belong to one network namespace each from now on");
		return true;
	}
	if (r != -EBUSY)
		return report_end(
			report, REPORT_FAILED,
			"cannot make RDMA namespaces exclusive: %s; this needs CAP_NET_ADMIN, in the host's network "
			"namespace",
			strerror(-r));
	return report_end(
		report, REPORT_REBOOT,
		"this node needs a reboot (kubectl drain it first): RDMA devices are shared by all network namespaces, and "
		"the kernel does not change that while one besides the first exists, which each pod has. "
		"/" INSTALL_MODPROBE_D "/" INSTALL_MODPROBE
		" makes it right at boot; the pod network is changed after it. If the node was rebooted since, its "
		"initramfs loads ib_core: make that anew (update-initramfs -u, dracut -f)");
}

/* The list as it shall be, in *ret_text; NULL there when it is so already. */
static int join(const struct node_list *list, const char *entry, const struct record *record,
		char **ret_before, char **ret_text)
{
	_cleanup_free_ char *before = NULL, *text = NULL;
	json_auto_t *wanted = NULL;
	json_t *there = chain_entry(list->json);
	int r = 0;

	*ret_before = *ret_text = NULL;
	if (jsontext_parse(entry, strlen(entry), 0, &wanted, NULL) < 0)
		return -ENOMEM;
	if (there && (!record->before || json_equal(there, wanted)))
		return 0; /* by hand, or right */
	/* What goes back at the end is the list without us: as it was, unless it was edited with us in it. */
	if (!there)
		before = strdup(list->text);
	else if (strcmp(list->text, record->after) == 0)
		before = strdup(record->before);
	else
		r = chain_take(list->text, list->json, &before);
	if (r == 0 && !before)
		r = -ENOMEM;
	if (r == 0)
		r = chain_put(list->text, list->json, entry, &text);
	if (r < 0)
		return r;
	*ret_before = TAKE_PTR(before);
	*ret_text = TAKE_PTR(text);
	return 0;
}

static bool write_list(const struct install *in, int records, const struct node_list *list, const char *entry,
		       struct report *report)
{
	_cleanup_(record_done) struct record record = { 0 };
	_cleanup_free_ char *before = NULL, *text = NULL;
	int r;

	/* Only looking, there need not be records. */
	r = records < 0 ? -ENOENT : record_load(records, list->name, &record);
	if (r < 0 && r != -ENOENT)
		return report_broken(report, r, "understand", INSTALL_RECORDS);
	r = join(list, entry, &record, &before, &text);
	if (r == -EBADMSG)
		return report_end(
			report, REPORT_FAILED,
			"/%s spells its key \"plugins\" with escapes; write it plainly. It was left as it is",
			list->path);
	if (r < 0)
		return report_broken(report, r, "write", list->path);
	if (!text)
		return true;
	if (in->look)
		return report_end(report, REPORT_MISSING, "/%s has no entry of cni-rdma, or another one",
				  list->path);
	r = record_save(records, list->name, in->conf, before, text);
	if (r < 0)
		return report_broken(report, r, "write to", INSTALL_RECORDS);
	r = nodefile_write(in->root, list->path, text, strlen(text), list->mode);
	if (r < 0)
		return report_broken(report, r, "write", list->path);
	log_info("put cni-rdma into /%s, the list \"%s\"", list->path,
		 json_string_value(json_object_get(list->json, "name")) ?: "");
	return true;
}

static bool put_entry(const struct install *in, int records, struct report *report)
{
	_cleanup_(node_list_done) struct node_list list = { 0 };
	_cleanup_free_ char *text = NULL, *name = NULL;
	json_auto_t *entry = NULL;
	char why[256] = "";
	size_t len;
	int r;

	if (!read_source(in, INSTALL_ENTRY, &text, &len, report))
		return false;
	if (jsontext_parse(text, len, JSON_REJECT_DUPLICATES, &entry, NULL) == -ENOMEM)
		return report_end(report, REPORT_FAILED, INSTALL_ENTRY ": out of memory");
	if (strcmp(json_string_value(json_object_get(entry, "type")) ?: "", CHAIN_TYPE) != 0)
		return report_end(
			report, REPORT_FAILED,
			INSTALL_ENTRY
			" is no configuration of cni-rdma: a JSON object with \"type\": \"cni-rdma\"");
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	r = chain_first(in->root, in->conf, &name);
	if (r == -ENOENT)
		return report_end(
			report, REPORT_WAIT,
			"this node has no pod network yet: /%s has no *.conflist; install the cluster's network, or name "
			"its folder with --conf",
			in->conf);
	if (r < 0)
		return report_broken(report, r, "read", in->conf);
	if (!chain_is_list(name))
		return report_end(
			report, REPORT_FAILED,
			"the runtime takes the pod network from /%s/%s, a single plugin to which no other can be chained; "
			"make it a list (\"plugins\": [...]) in a file *.conflist and remove it; with Multus use --no-chain, "
			"as deploy/components/multus does",
			in->conf, name);
	r = node_list_load(in->root, in->conf, name, &list, why, sizeof(why));
	if (r == -EBADMSG)
		return report_end(report, REPORT_FAILED,
				  "/%s/%s is no CNI configuration list: %s; it was left as it is", in->conf,
				  name, why);
	if (r < 0)
		return report_broken(report, r, "read", list.path);
	return write_list(in, records, &list, text, report);
}

void install_put(const struct install *in, struct report *report)
{
	_cleanup_close_ int records = -EBADF, lock = -EBADF;

	if (!nodefile_open_records(in->root, INSTALL_RECORDS, "cni-rdma-install", in->look, &records, &lock,
				   report) ||
	    !put_program(in, report) || !put_modprobe(in, records, report) || !put_mode(in, report) ||
	    !(in->no_chain ? install_take_entries(in, records, report) : put_entry(in, records, report)))
		return;
	(void)report_end(report, REPORT_DONE, "cni-rdma is on this node%s",
			 in->no_chain ? ", for networks that pods name" : " and in its pod network");
}
