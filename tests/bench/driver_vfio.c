// SPDX-License-Identifier: Apache-2.0
/* vfio-pci as the peer: another exporter of the same kind of BAR. */
#include <fcntl.h>
#include <libgen.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "driver.h"
#include "vm.h"

#define BAR 2
#define RANGES_MAX 64

/* Newer than the headers of Debian 13 (include/uapi/linux/vfio.h of Linux 6.19). */
#define FEATURE_DMA_BUF 11
struct dma_range {
	uint64_t offset;
	uint64_t length;
};

struct dma_buf_request {
	struct vfio_device_feature head;
	uint32_t region_index;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr_ranges;
	struct dma_range range[RANGES_MAX];
};

static void rebind(const char *pci, const char *driver)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", pci);
	vm_write(path, pci);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", pci);
	CHECK_EQ(vm_write(path, driver), 0);
	CHECK_EQ(vm_write("/sys/bus/pci/drivers_probe", pci), 0);
}

static int open_group(const char *pci)
{
	char path[128], target[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", pci);
	n = readlink(path, target, sizeof(target) - 1);
	CHECK_MSG(n > 0, "%s is in no IOMMU group", pci);
	target[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", basename(target));
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_MSG(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void enable_memory(struct bench_vfio *vfio)
{
	uint16_t command;
	off_t at = (off_t)vfio->config + PCI_COMMAND;

	CHECK_EQ(pread(vfio->device, &command, sizeof(command), at), sizeof(command));
	command |= PCI_COMMAND_MEMORY;
	CHECK_EQ(pwrite(vfio->device, &command, sizeof(command), at), sizeof(command));
}

void bench_vfio_open(struct bench_vfio *vfio, unsigned int card)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = BAR };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	char pci[32];

	/* QEMU's IOMMU remaps no interrupts, unless the whole machine is set up for it. */
	CHECK_EQ(vm_write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "1"), 0);
	card_pci(card, pci, sizeof(pci));
	rebind(pci, "vfio-pci");
	vfio->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	CHECK_MSG(vfio->container >= 0, "/dev/vfio/vfio: %s", strerror(errno));
	vfio->group = open_group(pci);
	CHECK_EQ(ioctl(vfio->group, VFIO_GROUP_GET_STATUS, &status), 0);
	CHECK_MSG(status.flags & VFIO_GROUP_FLAGS_VIABLE, "the IOMMU group of %s holds other devices", pci);
	CHECK_EQ(ioctl(vfio->group, VFIO_GROUP_SET_CONTAINER, &vfio->container), 0);
	CHECK_EQ(ioctl(vfio->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	vfio->device = ioctl(vfio->group, VFIO_GROUP_GET_DEVICE_FD, pci);
	CHECK_MSG(vfio->device >= 0, "vfio does not open %s: %s", pci, strerror(errno));
	CHECK_EQ(ioctl(vfio->device, VFIO_DEVICE_GET_REGION_INFO, &bar), 0);
	CHECK_EQ(ioctl(vfio->device, VFIO_DEVICE_GET_REGION_INFO, &config), 0);
	vfio->size = bar.size;
	vfio->config = config.offset;
	enable_memory(vfio);
	vfio->memory =
		mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, vfio->device, (off_t)bar.offset);
	CHECK_MSG(vfio->memory != MAP_FAILED, "vfio does not map the BAR: %s", strerror(errno));
}

int bench_vfio_export(struct bench_vfio *vfio, uint64_t offset, uint64_t size, unsigned int ranges)
{
	struct dma_buf_request request = {
		.head = { .flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF },
		.region_index = BAR,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = ranges,
	};
	unsigned int i;
	int fd;

	request.head.argsz =
		(uint32_t)(offsetof(struct dma_buf_request, range) + ranges * sizeof(request.range[0]));
	for (i = 0; i < ranges; i++)
		request.range[i] = (struct dma_range){ .offset = offset + 2 * i * size, .length = size };
	fd = ioctl(vfio->device, VFIO_DEVICE_FEATURE, &request);
	return fd < 0 ? -errno : fd;
}

void bench_vfio_sleep(struct bench_vfio *vfio, bool sleep)
{
	struct vfio_device_feature request = {
		.argsz = sizeof(request),
		.flags = VFIO_DEVICE_FEATURE_SET |
			 (sleep ? VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY : VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
	};

	CHECK_EQ(ioctl(vfio->device, VFIO_DEVICE_FEATURE, &request), 0);
}

void bench_vfio_close(struct bench_vfio *vfio)
{
	munmap(vfio->memory, vfio->size);
	close(vfio->device);
	close(vfio->group);
	close(vfio->container);
}
