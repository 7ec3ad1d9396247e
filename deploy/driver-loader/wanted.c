// SPDX-License-Identifier: Apache-2.0
#include "wanted.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "moddep.h"
#include "node/nodefile.h"

#define DKMS "var/lib/dkms/" LOADER_PACKAGE

/* dkms keeps a link to what it has installed for a kernel: VERSION/RELEASE/MACHINE. 1, 0: nothing, or -errno. */
static int dkms_version(const struct loader *loader, char *ret, size_t size)
{
	char path[PATH_MAX], target[PATH_MAX];
	size_t n;
	ssize_t r;

	(void)snprintf(path, sizeof(path), DKMS "/kernel-%s-%s", loader->release, loader->machine);
	r = readlinkat(loader->root, path, target, sizeof(target) - 1);
	if (r < 0)
		return errno == ENOENT ? 0 : negative_errno();
	target[r] = '\0';
	n = strcspn(target, "/");
	if (n == 0 || n >= size)
		return -EBADMSG;
	memcpy(ret, target, n);
	ret[n] = '\0';
	return 1;
}

/* A module for another kernel is better refused here, in words, than by the kernel. */
static bool read_info(const struct loader *loader, struct wanted *wanted, struct report *report)
{
	size_t n = strlen(loader->release), len;
	_cleanup_free_ char *data = NULL;
	int r = fileio_read(wanted->dirfd, wanted->path, NODEFILE_MAX, &data, &len);

	if (r == -ENOENT && !wanted->by_dkms)
		return report_end(
			report, REPORT_WAIT,
			"there is no driver for kernel %s: this image has no /%s, and dkms has built none on the node. Use an image with a "
			"module for this kernel, or install the sources of the driver and 'dkms install " LOADER_PACKAGE
			"' with the kernel's headers on the node (deploy/README.md)",
			loader->release, wanted->path);
	if (r == 0)
		r = modinfo_parse(data, len, &wanted->info);
	if (r == -EBADMSG || (r == 0 && strcmp(wanted->info.name, LOADER_MODULE) != 0))
		return report_end(report, REPORT_FAILED,
				  "/%s is no " LOADER_MODULE
				  " for this kind of machine, or is damaged: build it again",
				  wanted->path);
	if (r < 0)
		return report_broken(report, r, "read", wanted->path);
	if (strncmp(wanted->info.vermagic, loader->release, n) != 0 || wanted->info.vermagic[n] != ' ')
		return report_end(
			report, REPORT_FAILED,
			"/%s is for kernel %.*s, and this node runs %s: build it against the headers of exactly this kernel",
			wanted->path, (int)strcspn(wanted->info.vermagic, " "), wanted->info.vermagic,
			loader->release);
	return true;
}

static bool find_dkms(const struct loader *loader, struct wanted *ret, const char *version,
		      struct report *report)
{
	_cleanup_(moddep_done) struct moddep dep = { 0 };
	const char *end;
	int r = moddep_find(loader->root, loader->release, LOADER_MODULE, &dep);

	if (r == -ENOENT)
		return report_end(report, REPORT_FAILED,
				  "dkms says that " LOADER_PACKAGE
				  " %s is installed for kernel %s, but modules.dep has no " LOADER_MODULE
				  ": run 'depmod' on the host",
				  version, loader->release);
	if (r < 0)
		return report_broken(report, r, "read modules.dep in", "lib/modules");
	ret->by_dkms = true;
	ret->dirfd = loader->root;
	(void)snprintf(ret->path, sizeof(ret->path), "lib/modules/%s/%s", loader->release, dep.path);
	end = strstr(strrchr(ret->path, '/'), ".ko");
	if (end && end[3] == '\0')
		return read_info(loader, ret, report);
	(void)snprintf(ret->info.version, sizeof(ret->info.version), "%s", version);
	for (size_t i = 0; i < dep.n; i++) {
		char name[128];
		size_t used = strlen(ret->info.depends);

		if (moddep_name(dep.needs[i], name, sizeof(name)))
			(void)snprintf(ret->info.depends + used, sizeof(ret->info.depends) - used, "%s%s",
				       used ? "," : "", name);
	}
	return true;
}

bool wanted_find(const struct loader *loader, struct wanted *ret, struct report *report)
{
	char version[64] = "";
	int r = dkms_version(loader, version, sizeof(version));

	*ret = (struct wanted){ .dirfd = loader->source };
	if (r < 0)
		return report_broken(report, r, "understand the link of dkms in", DKMS);
	if (r > 0)
		return find_dkms(loader, ret, version, report);
	(void)snprintf(ret->path, sizeof(ret->path), "modules/%s/" LOADER_MODULE ".ko", loader->release);
	return read_info(loader, ret, report);
}

/* "" for a module that does not say that. 0 or -errno. */
static int read_loaded(const struct loader *loader, const char *attr, char *ret, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "sys/module/" LOADER_MODULE "/%s", attr);
	n = fileio_read_attr(loader->root, path, ret, size);
	if (n == -ENOENT)
		ret[0] = '\0';
	return n < 0 && n != -ENOENT ? (int)n : 0;
}

int wanted_differs(const struct loader *loader, const struct wanted *wanted, char *text, size_t size)
{
	char version[64], srcversion[64];
	int r = read_loaded(loader, "version", version, sizeof(version));

	if (r == 0)
		r = read_loaded(loader, "srcversion", srcversion, sizeof(srcversion));
	if (r < 0)
		return r;
	(void)snprintf(text, size, "%s%s%s", version[0] ? version : "of no version",
		       srcversion[0] ? ", built from " : "", srcversion);
	if (strcmp(version, wanted->info.version) != 0)
		return 1;
	return wanted->info.srcversion[0] && strcmp(srcversion, wanted->info.srcversion) != 0;
}
