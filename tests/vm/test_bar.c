// SPDX-License-Identifier: Apache-2.0
/*
 * The card's memory by other ways than the driver: the PCI resource files and /dev/mem, on a kernel that keeps them from
 * what a driver uses. They are root's, and root is trusted; but a tool left running shall not spoil it.
 *
 * vm-modules: edu_peer
 * vm-kernel: CONFIG_IO_STRICT_DEVMEM
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define PAGE 4096ul

static uint8_t *map_resource(const char *name)
{
	char pci[32], path[128];
	void *memory;
	int fd;

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", pci, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_MSG(fd >= 0, "%s: %s", path, strerror(errno));
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return memory == MAP_FAILED ? NULL : memory;
}

/* Where BAR 2 begins. */
static off_t bar_address(void)
{
	char pci[32], path[128], text[1024], *line;

	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", pci);
	CHECK(vm_read(path, text, sizeof(text)) > 0);
	line = strchr(strchr(text, '\n') + 1, '\n') + 1;
	return strtol(line, NULL, 16);
}

TEST(resource_files_do_not_reach_the_memory_of_a_bound_card, .driver = EMULATED)
{
	CHECK(!map_resource("resource2"));
	CHECK_EQ(errno, EINVAL);
	CHECK(!map_resource("resource2_wc"));
	CHECK_EQ(errno, EINVAL);
}

TEST(resource_file_mapped_before_loses_the_memory_when_the_driver_comes)
{
	uint8_t *memory = map_resource("resource2_wc");

	CHECK(memory);
	memory[0] = 0x5a;
	CHECK_EQ(host_peek(0, 0), 0x5a);
	CHECK_EQ(vm_insmod("gaudi_p2p", EMULATED), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_MSG(raises_sigbus(memory), "who mapped the BAR before the driver still reaches it");
	CHECK(host_is_zero(0, 0, 0));
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 20);
}

TEST(dev_mem_does_not_reach_the_memory_of_a_bound_card, .driver = EMULATED)
{
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	off_t address = bar_address();

	CHECK(fd >= 0 && address);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, address) == MAP_FAILED);
	vm_note("/dev/mem: %s", strerror(errno));
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, address + 8 * CARD_PAGE) == MAP_FAILED);
}
