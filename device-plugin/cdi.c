// SPDX-License-Identifier: Apache-2.0
#include "cdi.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "base/log.h"
#include "json/jsontext.h"
#include "nodes.h"

/* Any user of the container: the container is the border, as for a node that runc makes by itself. */
#define FILE_MODE 0666

void cdi_init(struct cdi *cdi, enum cdi_devices devices, const char *dir, const char *resource)
{
	const char *slash = strchr(resource, '/');
	int n = (int)(slash - resource);

	*cdi = (struct cdi){ .devices = devices, .dir = dir };
	/* Both parts of a kind begin with a letter; those of a resource may begin with a digit. */
	(void)snprintf(cdi->kind, sizeof(cdi->kind), "%s%.*s/%s%s",
		       isalpha((unsigned char)resource[0]) ? "" : "x-", n, resource,
		       isalpha((unsigned char)slash[1]) ? "" : "x-", slash + 1);
	(void)snprintf(cdi->path, sizeof(cdi->path), "%s/" CDI_FILE_PREFIX "%.*s-%s.json", dir, n, resource,
		       slash + 1);
}

/* --- content ------------------------------------------------------------------ */

static bool name_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || !isalnum((unsigned char)name[0]) || !isalnum((unsigned char)name[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_-.:", name[i]))
			return false;
	return true;
}

/* A serial number may end with what a name must not end with; then the address names the device. */
static const char *name_of_gaudi(const struct gaudi *gaudi)
{
	return name_is_valid(gaudi->id) || !gaudi->pci[0] ? gaudi->id : gaudi->pci;
}

static bool nic_is_there(const struct core_nic *nic)
{
	return nic->is_offered && !nic->missing_ms && nic->name.uverbs[0];
}

static size_t count(const struct cdi *cdi, const struct core *core)
{
	size_t n = 0;

	for (size_t i = 0; cdi->devices == CDI_GAUDIS && i < core->n_device; i++)
		n += !core->device[i].health.vanished;
	for (size_t i = 0; cdi->devices == CDI_NICS && i < core->n_nic; i++)
		n += nic_is_there(&core->nic[i]);
	return n;
}

static uint64_t mix(uint64_t hash, const char *text)
{
	/* FNV-1a; the end of a text counts too. */
	do {
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	} while (*text++);
	return hash;
}

/* Changes when cdi_format() would give another text. */
static uint64_t content_hash(const struct cdi *cdi, const struct core *core)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (core->inventory && core->inventory->has_rdma_cm);

	for (size_t i = 0; cdi->devices == CDI_GAUDIS && i < core->n_device; i++) {
		const struct gaudi *gaudi = core->device[i].gaudi;
		const struct pairs_nic *nic = core_nic_of(core, gaudi->id);

		if (core->device[i].health.vanished)
			continue;
		hash = mix(mix(hash, name_of_gaudi(gaudi)), nic ? nic->uverbs : "");
		hash = (hash ^ gaudi->minor) * UINT64_C(0x100000001b3) + gaudi->has_control;
	}
	for (size_t i = 0; cdi->devices == CDI_NICS && i < core->n_nic; i++)
		if (nic_is_there(&core->nic[i]))
			hash = mix(mix(hash, core->nic[i].name.pci), core->nic[i].name.uverbs);
	return hash;
}

static json_t *device_format(const char *name, const struct node *nodes, size_t n)
{
	json_auto_t *list = json_array();

	/* The _new functions take the reference also when they fail, and refuse NULL. */
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(list,
					  json_pack("{s:s, s:i, s:s}", "path", nodes[i].path, "fileMode",
						    FILE_MODE, "permissions", NODES_PERMISSIONS)) < 0)
			return NULL;
	return json_pack("{s:s, s:{s:O}}", "name", name, "containerEdits", "deviceNodes", list);
}

char *cdi_format(const struct cdi *cdi, const struct core *core)
{
	json_auto_t *list = json_array();
	json_auto_t *root = NULL;
	struct node nodes[NODES_MAX];

	for (size_t i = 0; cdi->devices == CDI_GAUDIS && i < core->n_device; i++) {
		const struct gaudi *gaudi = core->device[i].gaudi;
		size_t n = nodes_of_gaudi(core, gaudi, nodes);

		if (!core->device[i].health.vanished &&
		    json_array_append_new(list, device_format(name_of_gaudi(gaudi), nodes, n)) < 0)
			return NULL;
	}
	for (size_t i = 0; cdi->devices == CDI_NICS && i < core->n_nic; i++) {
		const struct core_nic *nic = &core->nic[i];
		size_t n = nodes_of_nic(core, &nic->name, nodes);

		if (nic_is_there(nic) &&
		    json_array_append_new(list, device_format(nic->name.pci, nodes, n)) < 0)
			return NULL;
	}
	/* The oldest version that allows what is used: names with a digit in front; dots behind the slash. */
	root = json_pack("{s:s, s:s, s:O}", "cdiVersion",
			 strchr(strchr(cdi->kind, '/'), '.') ? "0.6.0" : "0.5.0", "kind", cdi->kind,
			 "devices", list);
	return jsontext_format(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
}

/* --- the file ------------------------------------------------------------------- */

static bool file_is_ours(const struct cdi *cdi, const struct stat *st)
{
	return cdi->is_true && cdi->inode == st->st_ino && cdi->written.tv_sec == st->st_ctim.tv_sec &&
	       cdi->written.tv_nsec == st->st_ctim.tv_nsec;
}

static int remove_file(struct cdi *cdi)
{
	cdi->is_true = false;
	return unlink(cdi->path) < 0 && errno != ENOENT ? negative_errno() : 0;
}

static int write_file(struct cdi *cdi, const struct core *core, uint64_t content)
{
	_cleanup_free_ char *text = cdi_format(cdi, core);
	struct stat st;
	int r;

	cdi->is_true = false;
	if (!text)
		return -ENOMEM;
	r = fileio_mkdirs(AT_FDCWD, cdi->dir, 0755);
	if (r == 0)
		r = fileio_write_atomic(AT_FDCWD, cdi->path, text, strlen(text), 0644);
	if (r == 0 && stat(cdi->path, &st) < 0)
		r = negative_errno();
	if (r < 0)
		return r;
	cdi->is_true = true;
	cdi->content = content;
	cdi->inode = st.st_ino;
	cdi->written = st.st_ctim;
	return 0;
}

int cdi_update(struct cdi *cdi, const struct core *core, bool make)
{
	uint64_t content = content_hash(cdi, core);
	struct stat st;
	bool exists = lstat(cdi->path, &st) == 0;
	int r;

	if (count(cdi, core) == 0 || (!exists && !make))
		return exists ? remove_file(cdi) : (cdi->is_true = false, 0);
	if (exists && file_is_ours(cdi, &st) && cdi->content == content)
		return 0;
	r = write_file(cdi, core, content);
	/* One that is not true any more would hand out somebody else's device. */
	if (r < 0 && exists)
		(void)remove_file(cdi);
	return r;
}

void cdi_sweep(const struct cdi *const *cdi, size_t n)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	if (fileio_opendir(AT_FDCWD, cdi[0]->dir, &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		bool is_current = false;

		if (strncmp(entry->d_name, CDI_FILE_PREFIX, strlen(CDI_FILE_PREFIX)) != 0)
			continue;
		for (size_t i = 0; i < n; i++)
			if (strcmp(strrchr(cdi[i]->path, '/') + 1, entry->d_name) == 0)
				is_current = true;
		if (!is_current && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			log_info(
				"%s/%s: removed, it described devices of a resource that is not served any more",
				cdi[0]->dir, entry->d_name);
	}
}

/* --- names ------------------------------------------------------------------------ */

bool cdi_has(const struct cdi *cdi, const struct core *core, const char *id)
{
	const struct device *device;
	const struct core_nic *nic;

	if (!cdi->is_true)
		return false;
	if (cdi->devices == CDI_GAUDIS) {
		device = core_find(core, id);
		return device && !device->health.vanished;
	}
	nic = core_find_nic(core, id);
	return nic && nic_is_there(nic);
}

char *cdi_name(const struct cdi *cdi, const struct core *core, const char *id)
{
	const struct device *device = cdi->devices == CDI_GAUDIS ? core_find(core, id) : NULL;
	char *name;

	return asprintf(&name, "%s=%s", cdi->kind, device ? name_of_gaudi(device->gaudi) : id) < 0 ? NULL
												   : name;
}
