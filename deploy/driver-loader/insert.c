// SPDX-License-Identifier: Apache-2.0
#include "insert.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"
#include "bootrecord.h"
#include "moddep.h"
#include "words.h"

#define RECORD "loaded"
#define LINES_KEPT 3

bool insert_is_loaded(const struct loader *loader, const char *module)
{
	char path[PATH_MAX], state[32];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "sys/module/%s", module);
	if (faccessat(loader->root, path, F_OK, 0) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "sys/module/%s/initstate", module);
	n = fileio_read_attr(loader->root, path, state, sizeof(state));
	/* What is built in has no such file. */
	return n < 0 || strcmp(state, "live") == 0;
}

static bool reads(const struct loader *loader, const char *path, const char *word)
{
	char text[128];

	return fileio_read_attr(loader->root, path, text, sizeof(text)) >= 0 && strstr(text, word);
}

/* EPERM has many fathers. */
static const char *why_not_permitted(const struct loader *loader)
{
	if (reads(loader, "proc/sys/kernel/modules_disabled", "1"))
		return "this node takes no modules any more until it is rebooted (kernel.modules_disabled is 1); load the driver "
		       "at boot, before that is set";
	if (reads(loader, "sys/kernel/security/lockdown", "[integrity]") ||
	    reads(loader, "sys/kernel/security/lockdown", "[confidentiality]"))
		return "the kernel is locked down (Secure Boot) and takes signed modules only: sign the module with a key of the "
		       "machine (dkms does that with its key, once 'mokutil --import' has enrolled it), or turn Secure Boot off";
	return "this needs CAP_SYS_MODULE in the host's user namespace, and no security module (SELinux, LoadPin, IMA) that "
	       "forbids it: run this privileged, look at the host's audit log";
}

static const char *advice(const struct loader *loader, int error)
{
	switch (-error) {
	case EPERM:
	case EACCES:
		return why_not_permitted(loader);
	case ENOKEY:
	case EKEYREJECTED:
	case EKEYEXPIRED:
	case EKEYREVOKED:
	case EBADMSG:
	case ENOPKG:
		return "the kernel takes only modules signed with a key that it knows (Secure Boot, or module.sig_enforce): sign the "
		       "module (dkms does, once 'mokutil --import' has enrolled its key), or turn that off";
	case ENOEXEC:
	case ELIBBAD:
		return "it was built for another kernel, or is damaged: an image with a module for this kernel, or dkms on the "
		       "host, is needed";
	case ENOENT:
		return "the kernel lacks a symbol that it needs: it was built for a kernel with another configuration (DRM_ACCEL, "
		       "PCI_P2PDMA and DMA_SHARED_BUFFER are needed); build it against the headers of exactly this one";
	case EINVAL:
		return "a parameter has a value that it does not take (--param, /etc/modprobe.d), or it was built by another "
		       "compiler";
	case ENOMEM:
		return "the kernel has no memory for it: make room on the node";
	case EBUSY:
		return "a module of that name is just coming or going: try again";
	case ETXTBSY:
		return "somebody is writing to that file: try again";
	case EOPNOTSUPP:
		return "the file is compressed, and this kernel cannot unpack modules (CONFIG_MODULE_DECOMPRESS): run 'modprobe' on "
		       "the host, and list the module in /etc/modules-load.d";
	case ENODEV:
	case ENXIO:
		return "it found nothing to drive";
	case ENOSYS:
		return "this kernel knows no modules: build the driver into it";
	case EIO:
		return "the file cannot be read: look at the disk, or pull the image again";
	default:
		return "the kernel's log may say more";
	}
}

static bool is_about_modules(const char *line, const char *module)
{
	static const char *const words[] = { "Lockdown", "module verification", "Loading of",
					     "Unknown symbol", "version magic" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(line, words[i]))
			return true;
	return strstr(line, module);
}

/* The last lines that have to do with it: " The kernel says: ...". */
static void add_log(const struct loader *loader, const char *module, char *text, size_t size)
{
	_cleanup_free_ char *log = loader->sys->kernel_log();
	const char *lines[LINES_KEPT];
	char *rest = log, *line;
	size_t n = 0;

	text[0] = '\0';
	while (rest && (line = strsep(&rest, "\n"))) {
		if (!is_about_modules(line, module))
			continue;
		/* "<4>[   12.345678] words" */
		if (*line == '<' && strchr(line, ']'))
			line = strchr(line, ']') + 1;
		if (n == LINES_KEPT)
			memmove(&lines[0], &lines[1], --n * sizeof(lines[0]));
		lines[n++] = line + strspn(line, " ");
	}
	for (size_t i = 0; i < n; i++)
		words_append(text, size, "%s%s", i ? " | " : ". The kernel says: ", lines[i]);
}

bool insert_file(const struct loader *loader, int dirfd, const char *path, const char *module,
		 const char *params, struct report *report)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const char *slash = strrchr(path, '/'), *end = strstr(slash ? slash : path, ".ko");
	char log[512];
	int r;

	if (fd < 0)
		return report_broken(report, negative_errno(), "open", path);
	r = loader->sys->load(fd, params, end && end[3] == '.');
	if (r == 0 || r == -EEXIST) {
		log_info("loaded %s from %s%s%s", module, path, *params ? " with " : "", params);
		return true;
	}
	add_log(loader, module, log, sizeof(log));
	/* What passes by itself is tried again by who was told to wait. */
	return report_end(report, r == -EBUSY || r == -ETXTBSY ? REPORT_WAIT : REPORT_FAILED,
			  "the kernel refuses %s (%s): %s: %s%s", module, path, strerror(-r),
			  advice(loader, r), log);
}

static bool names(const char *record, const char *module)
{
	for (const char *at = record; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t n = strcspn(at, "\n");

		if (n == strlen(module) && strncmp(at, module, n) == 0)
			return true;
	}
	return false;
}

int insert_record(const struct loader *loader, int records, const char *module)
{
	_cleanup_free_ char *text = NULL, *more = NULL;
	int r = bootrecord_read(loader, records, RECORD, &text);

	if (r < 0 || names(text ?: "", module))
		return r;
	if (asprintf(&more, "%s%s\n", text ?: "", module) < 0) {
		more = NULL;
		return -ENOMEM;
	}
	return bootrecord_write(loader, records, RECORD, more);
}

int insert_has_record(const struct loader *loader, int records, const char *module)
{
	_cleanup_free_ char *text = NULL;
	int r = bootrecord_read(loader, records, RECORD, &text);

	return r < 0 ? r : names(text ?: "", module);
}

int insert_take_needs(const struct loader *loader, int records)
{
	_cleanup_free_ char *text = NULL;
	int r = bootrecord_read(loader, records, RECORD, &text);

	if (r < 0)
		return r;
	/* What was loaded last may need what was loaded first. Each line has its end, also the last. */
	for (char *end = text ? strrchr(text, '\n') : NULL; end; end = strrchr(text, '\n')) {
		const char *module;

		*end = '\0';
		module = strrchr(text, '\n');
		module = module ? module + 1 : text;
		/* The driver itself is gone, or somebody has loaded it again. */
		if (strcmp(module, LOADER_MODULE) != 0 && loader->sys->unload(module) == 0)
			log_info("unloaded %s, which was loaded for the driver", module);
	}
	return bootrecord_remove(records, RECORD);
}

static bool insert_host_module(const struct loader *loader, int records, const char *path,
			       struct report *report)
{
	char full[PATH_MAX], module[128], options[LOADER_PARAMS_MAX];
	int r;

	if (!moddep_name(path, module, sizeof(module)))
		return report_end(report, REPORT_FAILED,
				  "/lib/modules/%s/modules.dep is damaged: run 'depmod' on the host",
				  loader->release);
	if (insert_is_loaded(loader, module))
		return true;
	r = moddep_options(loader->root, module, options, sizeof(options));
	if (r < 0)
		return report_broken(report, r, "read the options in", "etc/modprobe.d");
	r = insert_record(loader, records, module);
	if (r < 0)
		return report_broken(report, r, "write to", LOADER_RECORDS);
	(void)snprintf(full, sizeof(full), "lib/modules/%s/%s", loader->release, path);
	return insert_file(loader, loader->root, full, module, options, report);
}

static bool insert_need(const struct loader *loader, int records, const char *module, struct report *report)
{
	_cleanup_(moddep_done) struct moddep dep = { 0 };
	int r;

	if (insert_is_loaded(loader, module))
		return true;
	r = moddep_find(loader->root, loader->release, module, &dep);
	if (r == -ENOENT)
		return report_end(
			report, REPORT_FAILED,
			"the driver needs the module %s, and /lib/modules/%s/modules.dep has none: install the kernel's own modules "
			"(linux-modules-extra and the like), or run 'depmod'",
			module, loader->release);
	if (r < 0)
		return report_broken(report, r, "read modules.dep in", "lib/modules");
	for (size_t i = 0; i < dep.n; i++)
		if (!insert_host_module(loader, records, dep.needs[i], report))
			return false;
	return insert_host_module(loader, records, dep.path, report);
}

bool insert_needs(const struct loader *loader, int records, const char *depends, struct report *report)
{
	char words[512];
	char *rest = words, *word;

	(void)snprintf(words, sizeof(words), "%s", depends);
	while ((word = strsep(&rest, ",")))
		if (*word && !insert_need(loader, records, word, report))
			return false;
	return true;
}
