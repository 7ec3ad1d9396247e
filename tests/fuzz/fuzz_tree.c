// SPDX-License-Identifier: Apache-2.0
#include "fuzz_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fileio.h"

#define PATH 512

static char top[64];
static int top_fd = -1;

/* --- files ---------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

static void remove_path(const char *path)
{
	char full[PATH + sizeof(top) + 1];

	(void)snprintf(full, sizeof(full), "%s/%s", top, path);
	(void)nftw(full, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_top(void)
{
	remove_path("sys");
	(void)rmdir(top);
}

/* A step may find a file where it wants a directory, and the other way round: then nothing happens. */
static void make_parents(const char *path)
{
	char parent[PATH];
	const char *slash = strrchr(path, '/');

	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	(void)fileio_mkdirs(top_fd, parent, 0755);
}

static void put(const char *content, size_t len, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put(const char *content, size_t len, const char *format, ...)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	for (unsigned round = 0; fd < 0 && round < 2; round++) {
		if (round > 0)
			make_parents(path);
		fd = openat(top_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	}
	if (fd >= 0)
		(void)fileio_write_all(fd, content, len);
}

static void link_to(const char *target, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void link_to(const char *target, const char *format, ...)
{
	char path[PATH];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	for (unsigned round = 0; symlinkat(target, top_fd, path) < 0 && round < 2; round++) {
		if (errno == EEXIST)
			(void)unlinkat(top_fd, path, 0);
		else
			make_parents(path);
	}
}

/* --- slots ----------------------------------------------------------------------- */

/* Directories of functions: two switches, a root port, other host bridges, virtual functions, no PCI at all. */
static const char *const slots[] = {
	"pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0",
	"pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0",
	"pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.2",
	"pci0000:00/0000:00:02.0/0000:05:00.0/0000:06:00.0/0000:07:00.0",
	"pci0000:00/0000:00:02.0/0000:05:00.0/0000:06:01.0/0000:08:00.0",
	"pci0000:00/0000:00:03.0/0000:09:00.0",
	"pci0000:80/0000:80:01.0/0000:81:00.0",
	"faux/gaudi_p2p.0",
};

static const char *slot_of(struct fuzz_input *in)
{
	return slots[fuzz_byte(in) % ARRAY_SIZE(slots)];
}

/* Leads from a directory of class or of a device back up and down again. */
static void link_class(const char *class, const char *name, const char *slot)
{
	char target[PATH];

	(void)snprintf(target, sizeof(target), "../../devices/%s/%s/%s", slot, class, name);
	link_to(target, "sys/class/%s/%s", class, name);
	link_to("../..", "sys/devices/%s/%s/%s/device", slot, class, name);
}

static void add_gaudi(struct fuzz_input *in)
{
	static const char *const drivers[] = { "gaudi_p2p", "habanalabs", "faux_driver", "other" };
	const char *slot = slot_of(in);
	unsigned minor = fuzz_byte(in) % 12;
	char name[32], driver[PATH];

	/* The driver's directory is found below the root by any path. */
	(void)snprintf(name, sizeof(name), "sys/bus/drivers/%s/", drivers[minor % 4]);
	make_parents(name);
	(void)snprintf(driver, sizeof(driver), "%s/sys/bus/drivers/%s", top, drivers[minor % 4]);
	link_to(driver, "sys/devices/%s/driver", slot);
	put("free\n", 5, "sys/devices/%s/state", slot);
	put("\n", 1, "sys/devices/%s/reason", slot);
	put("Operational\n", 12, "sys/devices/%s/status", slot);
	put("GAUDI2\n", 7, "sys/devices/%s/device_type", slot);
	put(minor % 3 ? "0\n" : "-1\n", minor % 3 ? 2 : 3, "sys/devices/%s/numa_node", slot);
	(void)snprintf(name, sizeof(name), "accel%u", minor);
	link_class("accel", name, slot);
	(void)snprintf(name, sizeof(name), "accel_controlD%u", minor);
	link_class("accel", name, slot);
}

static void add_nic(struct fuzz_input *in)
{
	const char *slot = slot_of(in);
	uint8_t what = fuzz_byte(in);
	unsigned number = what % 8;
	char uverbs[16], rdma[16], net[16], line[32];
	int len;

	(void)snprintf(uverbs, sizeof(uverbs), "uverbs%u", number);
	(void)snprintf(rdma, sizeof(rdma), "rxe%u", what / 8 % 8);
	(void)snprintf(net, sizeof(net), "ens%u", number);
	len = snprintf(line, sizeof(line), "%s\n", rdma);
	link_class("infiniband_verbs", uverbs, slot);
	put(line, (size_t)len, "sys/class/infiniband_verbs/%s/ibdev", uverbs);
	link_class("infiniband", rdma, slot);
	put("0:1:2:3\n", 8, "sys/class/infiniband/%s/node_guid", rdma);
	link_class("net", net, slot);
	if (what & 64) { /* Soft-RoCE: it knows its interface, not its device */
		char path[PATH];

		len = snprintf(line, sizeof(line), "%s\n", net);
		put(line, (size_t)len, "sys/class/infiniband/%s/parent", rdma);
		(void)snprintf(path, sizeof(path), "sys/class/infiniband_verbs/%s/device", uverbs);
		(void)unlinkat(top_fd, path, 0);
	}
	if (what & 128)
		link_to("../0000:04:00.0", "sys/devices/%s/physfn", slot);
}

/* --- changes ---------------------------------------------------------------------- */

static void spoil(struct fuzz_input *in)
{
	static const char *const files[] = { "state",	  "reason", "status", "serial", "module_id",
					     "numa_node", "driver", "physfn", "net",	"device_type" };
	static const char *const words[] = { "free\n",	      "owned\n", "draining\n", "scrubbing\n",
					     "lost\n",	      "SAME\n",	 "In reset\n", "-1\n",
					     "99999999999\n", "",	 "\n",	       "../../etc\n",
					     "0000:03:00.0\n" };
	const char *slot = slot_of(in), *file = files[fuzz_byte(in) % ARRAY_SIZE(files)];
	uint8_t what = fuzz_byte(in);
	size_t len;
	const uint8_t *raw;

	if (what < 128) {
		const char *word = words[what % ARRAY_SIZE(words)];

		put(word, strlen(word), "sys/devices/%s/%s", slot, file);
	} else if (what < 192) {
		raw = fuzz_bytes(in, what % 64 * 5, &len);
		put((const char *)raw, len, "sys/devices/%s/%s", slot, file);
	} else {
		char path[PATH];

		(void)snprintf(path, sizeof(path), "sys/devices/%s/%s", slot, file);
		remove_path(path);
		if (what % 2)
			(void)fileio_mkdirs(top_fd, path, 0755);
	}
}

/* A name in a class goes, or leads somewhere else. */
static void turn(struct fuzz_input *in)
{
	static const char *const classes[] = { "accel/accel", "accel/accel_controlD", "infiniband/rxe",
					       "infiniband_verbs/uverbs", "net/ens" };
	static const char *const targets[] = { "/",	 "../..",   "../../devices",
					       "accel0", "nowhere", "../net/ens0" };
	const char *class = classes[fuzz_byte(in) % ARRAY_SIZE(classes)];
	uint8_t what = fuzz_byte(in);
	char path[PATH];

	(void)snprintf(path, sizeof(path), "sys/class/%s%u", class, what % 12);
	if (what < 128)
		remove_path(path);
	else
		link_to(targets[what / 12 % ARRAY_SIZE(targets)], "%s", path);
}

static void take_out(struct fuzz_input *in)
{
	char path[PATH];

	(void)snprintf(path, sizeof(path), "sys/devices/%s", slot_of(in));
	remove_path(path);
}

/* A text of an RDMA device or verbs node, from the input. */
static void rename_nic(struct fuzz_input *in)
{
	static const char *const files[] = {
		"infiniband_verbs/uverbs0/ibdev", "infiniband_verbs/uverbs1/ibdev", "infiniband/rxe0/parent",
		"infiniband/rxe1/parent",	  "infiniband/rxe0/node_guid",	    "misc/rdma_cm/dev"
	};
	const char *file = files[fuzz_byte(in) % ARRAY_SIZE(files)];
	size_t len;
	const uint8_t *raw = fuzz_bytes(in, fuzz_byte(in) % 100, &len);

	put((const char *)raw, len, "sys/class/%s", file);
}

void fuzz_tree_change(struct fuzz_input *in)
{
	static void (*const changes[])(struct fuzz_input * in) = { add_gaudi, add_nic,	spoil,
								   turn,      take_out, rename_nic };

	changes[fuzz_byte(in) % ARRAY_SIZE(changes)](in);
}

void fuzz_tree_begin(void)
{
	if (top_fd < 0) {
		/* In memory where there is such a place. */
		(void)snprintf(top, sizeof(top), "%s/fuzz-sysfs.XXXXXX",
			       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		fuzz_assert(mkdtemp(top));
		top_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
		fuzz_assert(top_fd >= 0);
		(void)atexit(remove_top);
	}
	remove_path("sys");
	fuzz_assert(mkdirat(top_fd, "sys", 0755) == 0);
}

const char *fuzz_tree_sysfs(void)
{
	static char path[sizeof(top) + 8];

	(void)snprintf(path, sizeof(path), "%s/sys", top);
	return path;
}
