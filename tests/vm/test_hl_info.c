// SPDX-License-Identifier: Apache-2.0
/*
 * How programs of the Gaudi user library find and open a device, and what INFO answers them: one test per rule.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include "card.h"
#include "hl_client.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define VIRTUAL "virtual=1 virtual_mb=8"
#define PAGE 4096ull
#define MIB (1ull << 20)

/* --- nodes and names --------------------------------------------------------------------- */
TEST(pci_address_stands_in_both_places, .driver = EMULATED)
{
	char pci[32], path[64], seen[32];
	unsigned int domain, bus, slot, function;
	char rest;
	int index;

	card_pci(1, pci, sizeof(pci));
	WAIT_FOR(hl_index(pci) >= 0, 10);
	index = hl_index(pci);
	CHECK_EQ(index, card_index(1));
	CHECK_EQ(sscanf(pci, "%4x:%2x:%2x.%1u%c", &domain, &bus, &slot, &function, &rest), 4);
	CHECK_EQ(strlen(pci), 12);
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/pci_addr", index);
	CHECK_EQ(vm_read(path, seen, sizeof(seen)), 12);
	CHECK(!strcmp(seen, pci));
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/pci_addr", index);
	CHECK_EQ(vm_read(path, seen, sizeof(seen)), 12);
	CHECK(!strcmp(seen, pci));
}

TEST(device_without_pci_has_a_serial_and_no_pci_address, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), index = hl_index(NULL);
	char path[64], seen[64];

	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/pci_addr", index);
	CHECK_EQ(vm_read(path, seen, sizeof(seen)), -ENOENT);
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/pci_addr", index);
	CHECK_EQ(vm_read(path, seen, sizeof(seen)), -ENOENT);
	snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/serial", index);
	CHECK(vm_read(path, seen, sizeof(seen)) > 0);
	CHECK(!strcmp(seen, "gaudi-virtual0"));
}

TEST(control_node_has_the_number_of_the_accel_node, .driver = EMULATED)
{
	int index = card_index(1), control;
	char path[64], seen[64];
	struct stat st;

	close(hl_open_card(1));
	control = hl_open_control(index);
	CHECK(control >= 0);
	CHECK_EQ(fstat(control, &st), 0);
	snprintf(path, sizeof(path), "/sys/class/accel/accel_controlD%d/dev", index);
	CHECK(vm_read(path, seen, sizeof(seen)) > 0);
	snprintf(path, sizeof(path), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	CHECK(!strcmp(seen, path));
	CHECK_EQ(minor(st.st_rdev), index);
}

TEST(second_opener_is_busy_at_once, .driver = EMULATED)
{
	int fd = hl_open_card(0), index = card_index(0), i;
	double start = vm_now();

	/* Without O_NONBLOCK: programs do not give it. */
	for (i = 0; i < 10; i++)
		CHECK_EQ(hl_open(index), -EBUSY);
	CHECK(vm_now() - start < 1);
	CHECK_EQ(close(fd), 0);
}

TEST(open_after_close_waits_for_the_scrub, .driver = EMULATED)
{
	uint64_t handle;
	int i, fd;

	hl_index(NULL);
	for (i = 0; i < 20; i++) {
		fd = i ? hl_open(card_index(0)) : hl_open_card(0);
		CHECK_MSG(fd >= 0, "open right after close: %s", strerror(-fd));
		CHECK_EQ(hl_alloc(fd, 16 * MIB, 0, 0, &handle), 0);
		CHECK_EQ(handle, 1);
		CHECK_EQ(close(fd), 0);
	}
}

TEST(control_node_has_many_openers_and_answers_info_only, .driver = EMULATED)
{
	int fd = hl_open_card(0), control[32], i;
	struct hl_info_dram_usage usage;
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_ALLOC, .alloc = { .mem_size = MIB } } };

	for (i = 0; i < 32; i++) {
		control[i] = hl_open_control(card_index(0));
		CHECK(control[i] >= 0);
	}
	for (i = 0; i < 32; i++)
		CHECK_EQ(hl_info(control[i], HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
	CHECK_EQ(hl_memory(control[0], &args), -ENOTTY);
	CHECK_EQ(hl_ioctl(control[0], DRM_IOCTL_HL_CS, &args), -ENOTTY);
	CHECK_EQ(hl_ioctl(control[0], DRM_IOCTL_VERSION, &args), -ENOTTY);
	CHECK_EQ(hl_ioctl(control[0], TCGETS, &args), -ENOTTY);
	CHECK_EQ(hl_ioctl(control[0], DRM_IOCTL_HL_INFO, NULL), -EFAULT);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, control[0], 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
	/* They keep nothing from nobody. */
	CHECK_EQ(close(fd), 0);
	fd = hl_open(card_index(0));
	CHECK(fd >= 0);
}

TEST(functions_without_a_meaning_here_are_invalid, .driver = VIRTUAL)
{
	uint8_t args[256] = { 0 };
	int fd = hl_open_card(-1);

	CHECK_EQ(hl_ioctl(fd, DRM_IOCTL_HL_CB, args), -EINVAL);
	CHECK_EQ(hl_ioctl(fd, DRM_IOCTL_HL_CS, args), -EINVAL);
	CHECK_EQ(hl_ioctl(fd, DRM_IOCTL_HL_WAIT_CS, args), -EINVAL);
	CHECK_EQ(hl_ioctl(fd, DRM_IOCTL_HL_DEBUG, args), -EINVAL);
	CHECK_EQ(hl_ioctl(fd, DRM_IOWR(0x9f, struct hl_info_args), args), -EINVAL);
}

TEST(arguments_of_an_older_or_newer_header_are_taken, .driver = VIRTUAL)
{
	struct hl_info_hw_idle idle = { 0 };
	struct {
		struct hl_info_args args;
		uint64_t later[4];
	} newer = { .args = { .return_pointer = (uintptr_t)&idle,
			      .return_size = sizeof(idle),
			      .op = HL_INFO_HW_IDLE },
		    .later = { 1, 2, 3, 4 } };
	int fd = hl_open_card(-1);

	/* Without the last field, which then counts as zero; and with some that this driver never heard of. */
	newer.args.pad = 7;
	CHECK_EQ(hl_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', 0x40, sizeof(newer.args) - 4), &newer), 0);
	CHECK_EQ(idle.is_idle, 1);
	newer.args.pad = 0;
	idle.is_idle = 0;
	CHECK_EQ(hl_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', 0x40, sizeof(newer)), &newer), 0);
	CHECK_EQ(idle.is_idle, 1);
}

/* --- what is common to all operations of INFO ---------------------------------------------- */
/* Size of each answer; 0: the operation is not known. HW_EVENTS is an array of num_of_events. */
static const uint16_t answer_size[64] = {
	[HL_INFO_HW_IP_INFO] = sizeof(struct hl_info_hw_ip_info),
	[HL_INFO_HW_EVENTS] = sizeof(uint32_t),
	[HL_INFO_DRAM_USAGE] = sizeof(struct hl_info_dram_usage),
	[HL_INFO_HW_IDLE] = sizeof(struct hl_info_hw_idle),
	[HL_INFO_DEVICE_STATUS] = sizeof(struct hl_info_device_status),
	[HL_INFO_DEVICE_UTILIZATION] = sizeof(struct hl_info_device_utilization),
	[HL_INFO_HW_EVENTS_AGGREGATE] = sizeof(uint32_t),
	[HL_INFO_CLK_RATE] = sizeof(struct hl_info_clk_rate),
	[HL_INFO_RESET_COUNT] = sizeof(struct hl_info_reset_count),
	[HL_INFO_TIME_SYNC] = sizeof(struct hl_info_time_sync),
	[HL_INFO_CS_COUNTERS] = sizeof(struct hl_info_cs_counters),
	[HL_INFO_PCI_COUNTERS] = sizeof(struct hl_info_pci_counters),
	[HL_INFO_CLK_THROTTLE_REASON] = sizeof(struct hl_info_clk_throttle),
	[HL_INFO_TOTAL_ENERGY] = sizeof(struct hl_info_energy),
	[HL_INFO_PLL_FREQUENCY] = sizeof(struct hl_pll_frequency_info),
	[HL_INFO_POWER] = sizeof(struct hl_power_info),
	[HL_INFO_OPEN_STATS] = sizeof(struct hl_open_stats_info),
	[HL_INFO_LAST_ERR_OPEN_DEV_TIME] = sizeof(struct hl_info_last_err_open_dev_time),
	[HL_INFO_CS_TIMEOUT_EVENT] = sizeof(struct hl_info_cs_timeout_event),
	[HL_INFO_RAZWI_EVENT] = sizeof(struct hl_info_razwi_event),
	[HL_INFO_DEV_MEM_ALLOC_PAGE_SIZES] = sizeof(struct hl_info_dev_memalloc_page_sizes),
	[HL_INFO_UNDEFINED_OPCODE_EVENT] = sizeof(struct hl_info_undefined_opcode_event),
};

static bool tells_something(uint32_t op)
{
	return op == HL_INFO_HW_IP_INFO || op == HL_INFO_DRAM_USAGE || op == HL_INFO_HW_IDLE ||
	       op == HL_INFO_OPEN_STATS;
}

/* Runs on a file of either node. */
static void check_lengths(int fd)
{
	static uint8_t answer[2048], whole[2048];
	uint32_t op, size, i;

	for (op = 0; op < 64; op++) {
		uint32_t full = answer_size[op];

		if (!full)
			continue;
		memset(whole, 0xee, sizeof(whole));
		CHECK_EQ(hl_info(fd, op, whole, sizeof(whole)), 0);
		for (i = 0; i < sizeof(whole); i++)
			CHECK_MSG(i < full ? tells_something(op) || !whole[i] : whole[i] == 0xee,
				  "INFO %u: byte %u of %u is %#x", op, i, full, whole[i]);
		for (size = 1; size <= full; size += size < 40 ? 1 : 37) {
			memset(answer, 0xee, full + 1);
			CHECK_EQ(hl_info(fd, op, answer, size), 0);
			CHECK_MSG(!memcmp(answer, whole, size), "INFO %u in %u bytes is not its beginning",
				  op, size);
			CHECK_MSG(answer[size] == 0xee, "INFO %u wrote more than %u bytes", op, size);
		}
		CHECK_EQ(hl_info(fd, op, whole, UINT32_MAX), 0);
	}
}

TEST(info_copies_no_more_than_asked_for_and_no_more_than_there_is, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), control = hl_open_control(hl_index(NULL));

	check_lengths(fd);
	check_lengths(control);
}

TEST(info_operations_that_are_not_known_are_invalid, .driver = VIRTUAL)
{
	int fd = hl_open_card(-1), control = hl_open_control(hl_index(NULL));
	uint8_t answer[4096];
	uint32_t op;

	memset(answer, 0xee, sizeof(answer));
	for (op = 0; op < 64; op++) {
		if (answer_size[op])
			continue;
		CHECK_EQ(hl_info(fd, op, answer, sizeof(answer)), -EINVAL);
		CHECK_EQ(hl_info(control, op, answer, sizeof(answer)), -EINVAL);
	}
	for (op = 64; op; op *= 2)
		CHECK_EQ(hl_info(fd, op, answer, sizeof(answer)), -EINVAL);
	CHECK_EQ(hl_info(fd, UINT32_MAX, answer, sizeof(answer)), -EINVAL);
	CHECK_EQ(answer[0], 0xee);
}

TEST(info_with_padding_no_size_or_no_pointer_is_invalid, .driver = VIRTUAL)
{
	int fds[] = { hl_open_card(-1), hl_open_control(hl_index(NULL)) };
	uint8_t answer[1024] = { 0xee };
	unsigned int i, op;

	for (i = 0; i < 2; i++) {
		for (op = 0; op < 64; op++) {
			CHECK_EQ(hl_info_raw(fds[i], op, (uintptr_t)answer, sizeof(answer), 1), -EINVAL);
			CHECK_EQ(hl_info_raw(fds[i], op, (uintptr_t)answer, sizeof(answer), 1u << 31),
				 -EINVAL);
			CHECK_EQ(hl_info_raw(fds[i], op, (uintptr_t)answer, 0, 0), -EINVAL);
			CHECK_EQ(hl_info_raw(fds[i], op, 0, sizeof(answer), 0), -EINVAL);
		}
		CHECK_EQ(answer[0], 0xee);
		CHECK_EQ(hl_info_raw(fds[i], HL_INFO_HW_IDLE, 16, 8, 0), -EFAULT);
		CHECK_EQ(hl_info_raw(fds[i], HL_INFO_HW_IDLE, UINT64_MAX, 8, 0), -EFAULT);
		CHECK_EQ(hl_info_raw(fds[i], HL_INFO_HW_IDLE, 0xffff888000000000ull, 8, 0), -EFAULT);
		/* 32 bits of a pointer that is fine are none. */
		CHECK_EQ(hl_info_raw(fds[i], HL_INFO_HW_IDLE, (uint32_t)(uintptr_t)answer | 1ull << 40, 8, 0),
			 -EFAULT);
	}
}

/* --- what the operations tell ---------------------------------------------------------------- */
TEST(hw_ip_info_describes_a_gaudi2, .driver = EMULATED)
{
	struct hl_info_hw_ip_info ip = { 0 };
	char module_id[16];
	int fd = hl_open_card(1);
	uint64_t handle, va;

	CHECK_EQ(hl_info(fd, HL_INFO_HW_IP_INFO, &ip, sizeof(ip)), 0);
	CHECK_EQ(ip.device_id, 0x1020);
	CHECK_EQ(ip.dram_enabled, 1);
	CHECK_EQ(ip.dram_size, host_card_size(1));
	CHECK(ip.dram_page_size && !(ip.dram_page_size & (ip.dram_page_size - 1)));
	CHECK_EQ(ip.dram_size % ip.dram_page_size, 0);
	CHECK_EQ(ip.device_mem_alloc_default_page_size, ip.dram_page_size);
	CHECK_EQ(ip.sram_size, 0);
	CHECK(ip.revision_id);
	CHECK(ip.card_name[0] && memchr(ip.card_name, 0, sizeof(ip.card_name)));
	CHECK(card_attribute(1, "module_id", module_id, sizeof(module_id)) > 0);
	CHECK_EQ(ip.module_id, strtoul(module_id, NULL, 10));
	/* The first mapping begins where the addresses begin. */
	CHECK_EQ(hl_alloc(fd, ip.dram_page_size, 0, 0, &handle), 0);
	CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
	CHECK_EQ(va, ip.dram_base_address);
}

TEST(dram_usage_follows_alloc_and_free_at_once, .driver = EMULATED)
{
	struct hl_info_dram_usage usage;
	int fd = hl_open_card(0), control = hl_open_control(card_index(0)), i;
	uint64_t size = host_card_size(0), handle;

	for (i = 0; i < 20; i++) {
		CHECK_EQ(hl_alloc(fd, 8 * MIB + 1, 0, 0, &handle), 0);
		CHECK_EQ(hl_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
		CHECK_EQ(usage.ctx_dram_mem, 8 * MIB + CARD_PAGE);
		CHECK_EQ(usage.dram_free_mem, size - 8 * MIB - CARD_PAGE);
		CHECK_EQ(hl_free(fd, handle), 0);
		/* Being scrubbed or not: ALLOC would give it. */
		CHECK_EQ(hl_info(control, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
		CHECK_EQ(usage.ctx_dram_mem, 0);
		CHECK_EQ(usage.dram_free_mem, size);
	}
}

TEST(hw_idle_says_idle, .driver = VIRTUAL)
{
	struct hl_info_hw_idle idle = { 0 };
	int fd = hl_open_card(-1), i;

	CHECK_EQ(hl_info(fd, HL_INFO_HW_IDLE, &idle, sizeof(idle)), 0);
	CHECK_EQ(idle.is_idle, 1);
	CHECK_EQ(idle.busy_engines_mask, 0);
	for (i = 0; i < HL_BUSY_ENGINES_MASK_EXT_SIZE; i++)
		CHECK_EQ(idle.busy_engines_mask_ext[i], 0);
}

TEST(open_stats_count_openers_and_tell_how_long_the_last_one_stayed, .driver = VIRTUAL)
{
	struct hl_open_stats_info stats;
	int i, fd, control;

	for (i = 1; i <= 3; i++) {
		fd = hl_open_card(-1);
		control = hl_open_control(hl_index(NULL));
		CHECK_EQ(hl_info(fd, HL_INFO_OPEN_STATS, &stats, sizeof(stats)), 0);
		CHECK_EQ(stats.open_counter, i);
		CHECK_EQ(stats.is_compute_ctx_active, 1);
		CHECK_EQ(stats.compute_ctx_in_release, 0);
		/* One that is turned away is none. */
		CHECK_EQ(hl_open(hl_index(NULL)), -EBUSY);
		vm_sleep(0.15);
		close(fd);
		CHECK_EQ(hl_info(control, HL_INFO_OPEN_STATS, &stats, sizeof(stats)), 0);
		CHECK_EQ(stats.open_counter, i);
		CHECK_EQ(stats.is_compute_ctx_active, 0);
		CHECK(stats.last_open_period_ms >= 150 && stats.last_open_period_ms < 20000);
		close(control);
	}
}

TEST(page_size_of_allocations_cannot_be_chosen, .driver = VIRTUAL)
{
	struct hl_info_dev_memalloc_page_sizes sizes = { .page_order_bitmask = 1 };
	int fd = hl_open_card(-1);
	uint64_t handle, size;

	CHECK_EQ(hl_info(fd, HL_INFO_DEV_MEM_ALLOC_PAGE_SIZES, &sizes, sizeof(sizes)), 0);
	CHECK_EQ(sizes.page_order_bitmask, 0);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, CARD_PAGE, 0, &handle), 0);
	for (size = 1; size; size *= 2)
		if (size != CARD_PAGE)
			CHECK_EQ(hl_alloc(fd, CARD_PAGE, size, 0, &handle), -EINVAL);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, CARD_PAGE | 1ull << 32, 0, &handle), -EINVAL);
	CHECK_EQ(hl_alloc(fd, CARD_PAGE, 3 * CARD_PAGE, 0, &handle), -EINVAL);
}

/* --- status: sysfs' words and INFO's numbers ---------------------------------------------------- */
static void check_status(const char *word, uint32_t number)
{
	struct hl_info_device_status status = { 0 };
	int control = hl_open_control(card_index(0));
	char seen[64];

	CHECK(control >= 0);
	CHECK(card_attribute(0, "status", seen, sizeof(seen)) > 0);
	CHECK_MSG(!strcmp(seen, word), "status is '%s', not '%s'", seen, word);
	CHECK_EQ(hl_info(control, HL_INFO_DEVICE_STATUS, &status, sizeof(status)), 0);
	CHECK_EQ(status.status, number);
	close(control);
}

TEST(status_is_operational_for_a_free_and_an_owned_device, .driver = EMULATED)
{
	struct hl_info_device_status status = { 0 };
	int fd;

	WAIT_FOR(card_state_is(0, "free"), 30);
	check_status("Operational", HL_DEVICE_STATUS_OPERATIONAL);
	fd = hl_open_card(0);
	check_status("Operational", HL_DEVICE_STATUS_OPERATIONAL);
	CHECK_EQ(hl_info(fd, HL_INFO_DEVICE_STATUS, &status, sizeof(status)), 0);
	CHECK_EQ(status.status, HL_DEVICE_STATUS_OPERATIONAL);
}

/* An importer that cannot revoke keeps the device between two owners for as long as the test looks. */
TEST(status_tells_release_reset_and_creation_apart, .driver = EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	char pci[32], path[64];
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.dmabuf);
	close(buffer.fd);
	check_status("In reset after device release", HL_DEVICE_STATUS_IN_RESET_AFTER_DEVICE_RELEASE);

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	CHECK_EQ(vm_write(path, "1"), 0);
	check_status("In reset", HL_DEVICE_STATUS_IN_RESET);

	CHECK_EQ(vm_write("/sys/bus/pci/drivers/gaudi_p2p/unbind", pci), 0);
	CHECK_EQ(vm_write("/sys/bus/pci/drivers/gaudi_p2p/bind", pci), 0);
	WAIT_FOR(card_is_there(0), 10);
	check_status("In device creation", HL_DEVICE_STATUS_IN_DEVICE_CREATION);
	close(peer);
	WAIT_FOR(card_state_is(0, "free"), 30);
	check_status("Operational", HL_DEVICE_STATUS_OPERATIONAL);
}

TEST(status_of_a_lost_device_is_disabled, .driver = EMULATED)
{
	int fd = hl_open_card(0), r = 0;
	double end = vm_now() + 3;
	uint64_t handle;

	host_expect_log("memory cannot be proven to be zero");
	host_disturb(0, 2);
	while (!r && vm_now() < end)
		r = hl_alloc(fd, host_card_size(0), 0, 0, &handle) ?: hl_free(fd, handle);
	CHECK_EQ(r, -ENODEV);
	WAIT_FOR(card_state_is(0, "lost"), 30);
	check_status("Disabled", HL_DEVICE_STATUS_MALFUNCTION);
	CHECK_EQ(hl_open(card_index(0)), -EIO);
	/* The next test gets a card that nobody writes to. */
	WAIT_FOR(vm_now() > end, 10);
}

/* --- never EINTR or EAGAIN twice ----------------------------------------------------------------- */
static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
	(void)number;
	alarms++;
}

TEST(storm_of_signals_neither_fails_nor_loops_a_program, .driver = EMULATED)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval storm = { .it_interval = { 0, 500 }, .it_value = { 0, 500 } };
	struct hl_info_dram_usage usage;
	int fd = hl_open_card(0), dmabuf;
	uint64_t size = host_card_size(0), handle, va, host;
	double end = vm_now() + 1.5;
	static uint8_t memory[64 * 4096];

	CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_REAL, &storm, NULL), 0);
	while (vm_now() < end) {
		/* All of it, so that each ALLOC sleeps until the last FREE was scrubbed. */
		CHECK_EQ(hl_alloc(fd, size, 0, 0, &handle), 0);
		CHECK_EQ(hl_map(fd, handle, 0, 0, &va), 0);
		CHECK_EQ(hl_map_host(fd, memory, sizeof(memory), 0, 0, &host), 0);
		dmabuf = hl_export(fd, va, 0, size);
		CHECK(dmabuf >= 0);
		CHECK_EQ(hl_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
		close(dmabuf);
		CHECK_EQ(hl_unmap(fd, host), 0);
		CHECK_EQ(hl_unmap(fd, va), 0);
		CHECK_EQ(hl_free(fd, handle), 0);
	}
	CHECK(alarms > 50);
}
