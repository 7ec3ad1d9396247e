// SPDX-License-Identifier: Apache-2.0
/*
 * What administrators and monitors read: attributes in sysfs, and fdinfo.
 *
 * vm-modules: edu_peer
 * vm-files: driver/README.md:/README.md
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ull << 20)

static void attribute(const char *name, char *buffer, size_t size)
{
	int r = card_attribute(0, name, buffer, size);

	CHECK_MSG(r >= 0, "%s: %s", name, strerror(-r));
}

static uint64_t number(const char *name)
{
	char text[32];

	attribute(name, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* --- sysfs -------------------------------------------------------------------------------------- */
TEST(byte_counts_follow_what_the_owner_does, .driver = EMULATED)
{
	uint64_t handle, va, second;
	int fd, one, two;

	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("allocated_bytes"), 0);
	fd = hl_open_card(0);
	CHECK_EQ(hl_alloc(fd, MIB + 1, 0, 0, &handle), 0);
	CHECK_EQ(number("allocated_bytes"), MIB + CARD_PAGE);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &second), 0);
	CHECK_EQ(number("exported_bytes"), 0);
	one = hl_export(fd, va, 0, MIB);
	two = hl_export(fd, second, 0, 4096);
	CHECK_EQ(number("exported_bytes"), MIB + 4096);
	close(one);
	CHECK_EQ(number("exported_bytes"), 4096);
	CHECK_EQ(card_revoke_all(fd), 1);
	CHECK_EQ(number("exported_bytes"), 0);
	close(two);
	CHECK_EQ(close(fd), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(number("allocated_bytes"), 0);
	CHECK_EQ(number("dirty_bytes"), 0);
}

TEST(dirty_bytes_wait_until_importers_let_go, .driver = EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(number("dirty_bytes"), 0);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.fd);
	CHECK_EQ(number("dirty_bytes"), MIB);
	CHECK_EQ(number("allocated_bytes"), 0);
	close(peer);
	WAIT_FOR(number("dirty_bytes") == 0, 30);
}

TEST(owner_and_pid_are_for_root_only, .driver = EMULATED)
{
	char text[128], expected[64], path[128];
	struct stat ns;
	int fd;

	WAIT_FOR(card_state_is(0, "free"), 30);
	attribute("owner", text, sizeof(text));
	CHECK(!text[0]);
	attribute("owner_pid", text, sizeof(text));
	CHECK(!text[0]);
	fd = hl_open_card(0);
	CHECK_EQ(stat("/proc/self/ns/net", &ns), 0);
	snprintf(expected, sizeof(expected), "netns:[%lu]", (unsigned long)ns.st_ino);
	attribute("owner", text, sizeof(text));
	CHECK_MSG(!strcmp(text, expected), "owner is %s, not %s", text, expected);
	CHECK_EQ(number("owner_pid"), getpid());

	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/", card_index(0));
	CHECK_EQ(seteuid(1000), 0);
	strcpy(strrchr(path, '/'), "/owner");
	CHECK_EQ(vm_read(path, text, sizeof(text)), -EACCES);
	strcpy(strrchr(path, '/'), "/owner_pid");
	CHECK_EQ(vm_read(path, text, sizeof(text)), -EACCES);
	strcpy(strrchr(path, '/'), "/state");
	CHECK(vm_read(path, text, sizeof(text)) > 0);
	CHECK(!strcmp(text, "owned"));
	CHECK_EQ(seteuid(0), 0);
	CHECK_EQ(close(fd), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	attribute("owner", text, sizeof(text));
	CHECK(!text[0]);
}

/* What the bus and the driver core add. */
static bool is_of_the_kernel(const char *name)
{
	return !strcmp(name, "uevent") || !strcmp(name, "modalias") ||
	       !strcmp(name, "waiting_for_supplier") || !strcmp(name, "driver_override");
}

TEST(every_attribute_is_documented_and_read_only, .driver = "virtual=1 virtual_mb=4")
{
	static char readme[65536];
	char path[256], wanted[280];
	struct dirent *entry;
	struct stat st;
	int n = 0;
	DIR *dir;

	CHECK(vm_read("/README.md", readme, sizeof(readme)) > 0);
	close(hl_open_card(-1));
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device", hl_index(NULL));
	dir = opendir(path);
	CHECK(dir);
	while ((entry = readdir(dir))) {
		bool secret = !strncmp(entry->d_name, "owner", 5);

		CHECK_EQ(fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (!S_ISREG(st.st_mode) || is_of_the_kernel(entry->d_name))
			continue;
		snprintf(wanted, sizeof(wanted), "`%s`", entry->d_name);
		CHECK_MSG(strstr(readme, wanted), "driver/README.md does not know %s", entry->d_name);
		CHECK_MSG((st.st_mode & 0777) == (secret ? 0400 : 0444), "%s has mode %o", entry->d_name,
			  st.st_mode & 0777);
		n++;
	}
	CHECK_MSG(n >= 15, "only %d attributes", n);
}

/* --- fdinfo --------------------------------------------------------------------------------------- */
static void check_vram(int fd, uint64_t total, uint64_t shared, uint64_t active)
{
	CHECK_EQ(hl_fdinfo(fd, "drm-total-vram"), total);
	CHECK_EQ(hl_fdinfo(fd, "drm-resident-vram"), total);
	CHECK_EQ(hl_fdinfo(fd, "drm-shared-vram"), shared);
	CHECK_EQ(hl_fdinfo(fd, "drm-active-vram"), active);
}

TEST(fdinfo_counts_each_buffer_once, .driver = EMULATED)
{
	uint64_t one, two, va, again, plain;
	int fd = hl_open_card(0), whole, part, other, peer;

	check_vram(fd, 0, 0, 0);
	CHECK_EQ(hl_alloc(fd, 4 * CARD_PAGE, 0, 0, &one), 0);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 0, 0, &two), 0);
	CHECK_EQ(hl_map(fd, one, 0, 0, &va), 0);
	CHECK_EQ(hl_map(fd, one, 0, 0, &again), 0);
	CHECK_EQ(hl_map(fd, two, 0, 0, &plain), 0);
	check_vram(fd, 5 * CARD_PAGE, 0, 0);
	/* Three exports, two mappings, parts that overlap: one buffer. */
	whole = hl_export(fd, va, 0, 4 * CARD_PAGE);
	part = hl_export(fd, va, CARD_PAGE, CARD_PAGE);
	other = hl_export(fd, again, 0, 4 * CARD_PAGE);
	CHECK(whole >= 0 && part >= 0 && other >= 0);
	check_vram(fd, 5 * CARD_PAGE, 4 * CARD_PAGE, 0);
	peer = peer_of(part, EDU_PEER_DYNAMIC, 0);
	check_vram(fd, 5 * CARD_PAGE, 4 * CARD_PAGE, 4 * CARD_PAGE);
	CHECK_EQ(peer_unmap(peer), 0);
	check_vram(fd, 5 * CARD_PAGE, 4 * CARD_PAGE, 0);
	close(peer);
	close(whole);
	close(part);
	check_vram(fd, 5 * CARD_PAGE, 4 * CARD_PAGE, 0);
	CHECK_EQ(card_revoke_all(fd), 1);
	check_vram(fd, 5 * CARD_PAGE, 0, 0);
	CHECK_EQ(hl_unmap(fd, plain), 0);
	CHECK_EQ(hl_free(fd, two), 0);
	check_vram(fd, 4 * CARD_PAGE, 0, 0);
}

TEST(fdinfo_names_driver_client_and_card, .driver = EMULATED)
{
	char path[64], text[2048], pci[32], line[64];
	static uint8_t memory[8192] __attribute__((aligned(4096)));
	int fd = hl_open_card(0);
	uint64_t va;

	CHECK_EQ(hl_map_host(fd, memory, sizeof(memory), 0, 0, &va), 0);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-memory"), sizeof(memory));
	CHECK_EQ(hl_fdinfo(fd, "drm-resident-memory"), sizeof(memory));
	CHECK_EQ(hl_fdinfo(fd, "drm-shared-memory"), 0);
	CHECK(hl_fdinfo(fd, "drm-client-id") >= 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	CHECK(vm_read(path, text, sizeof(text)) > 0);
	CHECK(strstr(text, "drm-driver:\tgaudi_p2p\n"));
	card_pci(0, pci, sizeof(pci));
	snprintf(line, sizeof(line), "drm-pdev:\t%s\n", pci);
	CHECK(strstr(text, line));
}

TEST(fdinfo_of_an_ended_lease_is_empty, .driver = EMULATED)
{
	int fd = hl_open_card(0);
	uint64_t handle;

	CHECK_EQ(hl_alloc(fd, MIB, 0, 0, &handle), 0);
	check_vram(fd, MIB, 0, 0);
	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	WAIT_FOR(hl_fdinfo(fd, "drm-total-vram") == 0, 20);
	check_vram(fd, 0, 0, 0);
	CHECK_EQ(hl_fdinfo(fd, "drm-total-memory"), 0);
}
