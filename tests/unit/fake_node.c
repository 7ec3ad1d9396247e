// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "fake_node.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../../deploy/driver-loader/modinfo.h"
#include "base/cleanup.h"

struct node_world node_world;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	size_t used = strlen(node_world.said);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(node_world.said + used, sizeof(node_world.said) - used, format, args);
	va_end(args);
}

static void put(struct fakefs *fs, const char *folder, const char *name, const char *text)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fakefs_put(fs, path, text);
}

void node_load(struct node *node, const char *version, const char *srcversion)
{
	const char *folder = "sys/module/gaudi_p2p";

	put(node->fs, folder, "initstate", "live\n");
	put(node->fs, folder, "refcnt", "0\n");
	put(node->fs, folder, "holders/.keep", "");
	if (version)
		put(node->fs, folder, "version", version);
	if (srcversion)
		put(node->fs, folder, "srcversion", srcversion);
	fakefs_put(node->fs, NODE_POLICY, "refuse\n");
}

static int do_load(int fd, const char *params, bool compressed)
{
	char data[4096], path[256];
	ssize_t n = read(fd, data, sizeof(data) - 1);
	struct modinfo info;

	assert_true(n > 0);
	data[n] = '\0';
	if (modinfo_parse(data, (size_t)n, &info) == 0) {
		if (node_world.load_error)
			return node_world.load_error;
		say("load %s %s; ", info.name, params);
		node_load(node_world.node, info.version, info.srcversion);
		fakefs_put(node_world.node->fs, NODE_POLICY,
			   strstr(params, "nonrevocable=hold") ? "hold\n" : "refuse\n");
		return 0;
	}
	if (node_world.need_error)
		return node_world.need_error;
	say("load %s%s %s; ", data, compressed ? "(z)" : "", params);
	if (strcmp(data, "gaudi_p2p") == 0) {
		/* One that only the kernel can unpack. */
		node_load(node_world.node, "2", "SRC2");
		return 0;
	}
	(void)snprintf(path, sizeof(path), "sys/module/%.64s/initstate", data);
	fakefs_put(node_world.node->fs, path, "live\n");
	return 0;
}

static int do_unload(const char *module)
{
	char path[256];
	bool ours = strcmp(module, "gaudi_p2p") == 0;

	if (ours && node_world.unload_error)
		return node_world.unload_error;
	(void)snprintf(path, sizeof(path), "sys/module/%s", module);
	if (!node_exists(node_world.node, path))
		return -ENOENT;
	say("unload %s; ", module);
	fakefs_remove(node_world.node->fs, path);
	/* What the next driver makes of the cards. */
	for (unsigned i = 0; ours && i < 2; i++)
		node_put_card(node_world.node, i, "free\n", "\n", "\n", "\n");
	return 0;
}

static int do_open_card(int root, const char *path)
{
	char state[256];

	if (node_world.open_error)
		return node_world.open_error;
	(void)snprintf(state, sizeof(state), "sys/class/accel/%s/device/state", strrchr(path, '/') + 1);
	if (strcmp(fakefs_get(node_world.node->fs, state), "free\n") != 0)
		return -EBUSY;
	fakefs_put(node_world.node->fs, state, "owned\n");
	return RET_NERRNO(openat(root, path, O_RDWR | O_CLOEXEC));
}

static int grants(const char *socket, struct loader_grants *ret)
{
	assert_string_equal(socket, "/kubelet.sock");
	if (node_world.grants_error)
		return node_world.grants_error;
	if (!node_world.grant.id[0])
		return 0;
	ret->list = malloc(sizeof(*ret->list));
	if (!ret->list)
		return -ENOMEM;
	*ret->list = node_world.grant;
	ret->n = 1;
	return 0;
}

static char *kernel_log(void)
{
	return node_world.kernel_log ? strdup(node_world.kernel_log) : NULL;
}

static uint64_t now_ms(void)
{
	return node_world.now_ms;
}

static void aside(bool begin)
{
	if (node_world.aside)
		node_world.aside(begin);
}

static int load(int fd, const char *params, bool compressed)
{
	int r;

	aside(true);
	r = do_load(fd, params, compressed);
	aside(false);
	return r;
}

static int unload(const char *module)
{
	int r;

	aside(true);
	r = do_unload(module);
	aside(false);
	return r;
}

static int open_card(int root, const char *path)
{
	int r;

	aside(true);
	r = do_open_card(root, path);
	aside(false);
	return r;
}

static const struct loader_sys sys = {
	.load = load,
	.unload = unload,
	.open_card = open_card,
	.grants = grants,
	.kernel_log = kernel_log,
	.now_ms = now_ms,
};

static size_t add_string(char *text, size_t at, const char *key, const char *value)
{
	return value ? at + (size_t)sprintf(text + at, "%s=%s", key, value) + 1 : at;
}

void node_put_module(struct fakefs *fs, const char *path, const char *release, const char *version,
		     const char *srcversion)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	struct {
		Elf64_Ehdr header;
		Elf64_Shdr sections[3];
		char names[sizeof(names)];
		char info[512];
	} file = { 0 };
	char vermagic[128];
	size_t n = 0;

	(void)snprintf(vermagic, sizeof(vermagic), "%s SMP preempt mod_unload ", release);
	n = add_string(file.info, n, "name", "gaudi_p2p");
	n = add_string(file.info, n, "depends", "drm");
	n = add_string(file.info, n, "version", version);
	n = add_string(file.info, n, "srcversion", srcversion);
	n = add_string(file.info, n, "vermagic", vermagic);
	memcpy(file.names, names, sizeof(names));
	memcpy(file.header.e_ident, ELFMAG, SELFMAG);
	file.header.e_ident[EI_CLASS] = ELFCLASS64;
	file.header.e_ident[EI_DATA] = __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;
	file.header.e_type = ET_REL;
	file.header.e_shoff = offsetof(__typeof__(file), sections);
	file.header.e_shentsize = sizeof(Elf64_Shdr);
	file.header.e_shnum = 3;
	file.header.e_shstrndx = 2;
	file.sections[1] = (Elf64_Shdr){ .sh_name = 1,
					 .sh_type = SHT_PROGBITS,
					 .sh_offset = offsetof(__typeof__(file), info),
					 .sh_size = n };
	file.sections[2] = (Elf64_Shdr){ .sh_name = 10,
					 .sh_type = SHT_STRTAB,
					 .sh_offset = offsetof(__typeof__(file), names),
					 .sh_size = sizeof(names) };
	fakefs_put_bytes(fs, path, &file, offsetof(__typeof__(file), info) + n);
}

void node_put_card(struct node *node, unsigned i, const char *state, const char *reason, const char *owner,
		   const char *pid)
{
	char device[64], path[128];

	(void)snprintf(device, sizeof(device), "sys/devices/0000:%02x:00.0", i + 5);
	put(node->fs, device, "state", state);
	put(node->fs, device, "reason", reason);
	put(node->fs, device, "owner", owner);
	put(node->fs, device, "owner_pid", pid);
	(void)snprintf(path, sizeof(path), "sys/class/accel/accel%u/device", i);
	if (!node_exists(node, path)) {
		char target[128];

		(void)snprintf(target, sizeof(target), "../../../devices/0000:%02x:00.0", i + 5);
		fakefs_link(node->fs, path, target);
	}
	(void)snprintf(path, sizeof(path), "dev/accel/accel%u", i);
	fakefs_put(node->fs, path, "");
}

bool node_exists(struct node *node, const char *path)
{
	return faccessat(fakefs_root(node->fs), path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int node_setup(void **state)
{
	struct node *node = calloc(1, sizeof(*node));

	assert_non_null(node);
	node_world = (struct node_world){ .node = node };
	node->fs = fakefs_new();
	node->source = fakefs_new();
	node->loader = (struct loader){ .root = fakefs_root(node->fs),
					.source = fakefs_root(node->source),
					.sys = &sys,
					.release = NODE_RELEASE,
					.machine = "x86_64",
					.conf = LOADER_CONF,
					.pod_resources = "/kubelet.sock",
					.params = "" };
	node_put_module(node->source, NODE_IMAGE, NODE_RELEASE, "1", "SRC1");
	fakefs_put(node->source, NODE_RULES, "# rules\n");
	fakefs_put(node->source, NODE_BOOT, "gaudi_p2p\n");
	fakefs_put(node->fs, NODE_LIB "modules.dep",
		   "kernel/net/x.ko.xz:\nkernel/drm-x/drm.ko.xz: kernel/b/quirks.ko.xz kernel/a/dma-base.ko\n"
		   "kernel/b/quirks.ko.xz: kernel/a/dma-base.ko\nkernel/a/dma-base.ko:\n");
	fakefs_put(node->fs, NODE_LIB "kernel/drm-x/drm.ko.xz", "drm");
	fakefs_put(node->fs, NODE_LIB "kernel/b/quirks.ko.xz", "quirks");
	fakefs_put(node->fs, NODE_LIB "kernel/a/dma-base.ko", "dma_base");
	fakefs_put(node->fs, "proc/sys/kernel/random/boot_id", "b007\n");
	fakefs_put(node->fs, "sys/module/ib_core/parameters/netns_mode", "N\n");
	fakefs_put(node->fs, NODE_CNI, "{\"plugins\": [{\"type\": \"ptp\"}, {\"type\": \"cni-rdma\"}]}");
	for (unsigned i = 0; i < 2; i++)
		node_put_card(node, i, "free\n", "\n", "\n", "\n");
	*state = node;
	return 0;
}

int node_teardown(void **state)
{
	struct node *node = *state;

	loader_done(&node->loader);
	fakefs_free(node->fs);
	fakefs_free(node->source);
	free(node);
	return 0;
}

static void check(const struct report *report, enum report_outcome outcome, const char *words)
{
	if (report->outcome != outcome || !strstr(report->text, words))
		fail_msg("outcome %d, \"%s\"", (int)report->outcome, report->text);
}

void node_installs(struct node *node, enum report_outcome outcome, const char *words)
{
	struct report report = { 0 };

	loader_install(&node->loader, &report);
	check(&report, outcome, words);
}

void node_uninstalls(struct node *node, enum report_outcome outcome, const char *words)
{
	struct report report = { 0 };

	loader_uninstall(&node->loader, &report);
	check(&report, outcome, words);
}
