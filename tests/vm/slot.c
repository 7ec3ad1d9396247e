// SPDX-License-Identifier: Apache-2.0
#include "slot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

#define PCI "/sys/bus/pci/devices"

static unsigned int get(int fd, unsigned int where, unsigned int size)
{
	uint32_t value = 0;

	CHECK_EQ(pread(fd, &value, size, where), size);
	return value;
}

/* Offset of the PCI Express capability; 0: none. */
static unsigned int express_of(int fd)
{
	unsigned int at = get(fd, PCI_CAPABILITY_LIST, 1);

	while (at && get(fd, at, 1) != PCI_CAP_ID_EXP)
		at = get(fd, at + 1, 1);
	return at;
}

/* Configuration space of the port with that slot, and where its PCI Express capability is. */
static int port_of(unsigned int slot, unsigned int *ret_express)
{
	DIR *dir = opendir(PCI);
	struct dirent *entry;
	char path[300];
	int found = -1;

	CHECK(dir);
	while (found < 0 && (entry = readdir(dir))) {
		unsigned int at;
		int fd;

		snprintf(path, sizeof(path), PCI "/%s/config", entry->d_name);
		fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		at = express_of(fd);
		if (at && get(fd, at + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_SLOT &&
		    get(fd, at + PCI_EXP_SLTCAP, 4) >> 19 == slot) {
			*ret_express = at;
			found = fd;
		} else {
			close(fd);
		}
	}
	closedir(dir);
	CHECK_MSG(found >= 0, "no port has slot %u", slot);
	return found;
}

void slot_rip_out(unsigned int slot)
{
	unsigned int at;
	int fd = port_of(slot, &at);
	uint16_t control = get(fd, at + PCI_EXP_SLTCTL, 2);

	/*
	 * QEMU unplugs a device when indicator and power of its slot are off. The kernel, which did not do that, finds the
	 * link down and the slot empty.
	 */
	control |= PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF;
	CHECK_EQ(pwrite(fd, &control, sizeof(control), at + PCI_EXP_SLTCTL), sizeof(control));
	close(fd);
}

void slot_remove(unsigned int slot)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/slots/%u/power", slot);
	CHECK_EQ(vm_write(path, "0"), 0);
	slot_rip_out(slot);
}

/* A thread that waits for its interrupt sleeps so that signals wake it; all its other waits are of the other kind. */
bool slots_are_quiet(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char path[300], stat[512];
	bool quiet = true;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		const char *name;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    vm_read(path, stat, sizeof(stat)) <= 0)
			continue;
		name = strstr(stat, "-pciehp) ");
		if (name && name[strlen("-pciehp) ")] != 'S')
			quiet = false;
	}
	closedir(dir);
	return quiet;
}
