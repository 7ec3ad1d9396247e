// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/loop.h"
#include "devices.h"
#include "lease.h"

#define POLL_MS 5

/* The folder of the Gaudi's attributes. An ID is its PCI address unless it has a serial number. */
static bool find_folder(const struct sysfs_root *sysfs, const char *gaudi, char *path, size_t size)
{
	_cleanup_(inventory_freep) struct inventory *inv = NULL;
	const struct gaudi *found;

	if (devices_is_pci(gaudi)) {
		(void)snprintf(path, size, "bus/pci/devices/%s", gaudi);
		return true;
	}
	if (inventory_scan(sysfs, &inv) < 0)
		return false;
	found = inventory_find_gaudi(inv, gaudi);
	if (found)
		(void)snprintf(path, size, "class/accel/accel%u/device", found->minor);
	return found;
}

static enum lease_state read_state(const struct sysfs_root *sysfs, const char *folder)
{
	char text[32];

	if (sysfs_read(sysfs, text, sizeof(text), "%s/state", folder) < 0)
		return LEASE_UNKNOWN;
	for (enum lease_state state = LEASE_FREE; state <= LEASE_LOST; state++) {
		if (strcmp(text, lease_state_name(state)) == 0)
			return state;
	}
	return LEASE_UNKNOWN;
}

void lease_await(int sys_fd, const char *gaudi, unsigned timeout_ms, struct lease_end *ret)
{
	const struct sysfs_root sysfs = { .fd = sys_fd };
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	uint64_t begin = loop_now_ms();
	char folder[64];

	*ret = (struct lease_end){ .state = LEASE_UNKNOWN };
	if (!find_folder(&sysfs, gaudi, folder, sizeof(folder)))
		return;
	for (;;) {
		ret->state = read_state(&sysfs, folder);
		ret->ms = loop_now_ms() - begin;
		if (!lease_state_is_transient(ret->state) || ret->ms >= timeout_ms)
			break;
		nanosleep(&pause, NULL);
	}
	if (ret->state != LEASE_UNKNOWN &&
	    sysfs_read(&sysfs, ret->reason, sizeof(ret->reason), "%s/reason", folder) < 0)
		ret->reason[0] = '\0';
}

void lease_report(int sys_fd, const char *who, const char *gaudi, unsigned timeout_ms)
{
	struct lease_end end;

	lease_await(sys_fd, gaudi, timeout_ms, &end);
	if (end.state == LEASE_UNKNOWN)
		return;
	log_full(lease_state_is_transient(end.state) ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, 0,
		 "%s: Gaudi %s is %s%s %llu ms after its NIC was taken out%s%s", who, gaudi,
		 lease_state_is_transient(end.state) ? "still " : "", lease_state_name(end.state),
		 (unsigned long long)end.ms, end.reason[0] ? ": " : "", end.reason);
}
