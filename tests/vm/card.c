// SPDX-License-Identifier: Apache-2.0
#include "card.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>
#include <linux/pci_regs.h>

#include "vm.h"

#define ACCEL "/sys/class/accel"
#define PCI "/sys/bus/pci/devices"
#define DRIVER "/sys/bus/pci/drivers/gaudi_p2p"
#define EDU_DRIVER "/sys/bus/pci/drivers/edu_peer"

/* The port of card i has device number 0x1i in every topology (machine.py), and the card is the device below it. */
static bool card_is_below(unsigned int card, const char *path)
{
	char port[16], *real = realpath(path, NULL);
	bool found;

	snprintf(port, sizeof(port), ":1%u.0/", card);
	found = real && strstr(real, port);
	free(real);
	return found;
}

static bool card_is_accel(unsigned int card, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), ACCEL "/%s/device", name);
	return card_is_below(card, path);
}

static int card_index_now(unsigned int card)
{
	DIR *dir = opendir(ACCEL);
	struct dirent *entry;
	int n, index = -ENODEV;
	char rest;

	if (!dir)
		return -ENODEV;
	while (index < 0 && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "accel%d%c", &n, &rest) == 1 && card_is_accel(card, entry->d_name))
			index = n;
	closedir(dir);
	return index;
}

int card_index(unsigned int card)
{
	double end = vm_now() + 10;
	int index;

	while ((index = card_index_now(card)) < 0 && vm_now() < end)
		vm_sleep(0.02);
	return index;
}

bool card_is_there(unsigned int card)
{
	return card_index_now(card) >= 0;
}

void card_pci(unsigned int card, char *buffer, size_t size)
{
	DIR *dir = opendir(PCI);
	struct dirent *entry;
	char path[300];

	buffer[0] = 0;
	CHECK(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), PCI "/%s", entry->d_name);
		if (card_is_below(card, path))
			snprintf(buffer, size, "%s", entry->d_name);
	}
	closedir(dir);
	CHECK_MSG(buffer[0], "no card is plugged into slot %u", card);
}

int card_attribute(unsigned int card, const char *name, char *buffer, size_t size)
{
	int index = card_index_now(card);
	char path[128];

	if (index < 0)
		return index;
	snprintf(path, sizeof(path), ACCEL "/accel%d/device/%s", index, name);
	return vm_read(path, buffer, size);
}

bool card_attribute_is(unsigned int card, const char *name, const char *value)
{
	char buffer[128];

	return card_attribute(card, name, buffer, sizeof(buffer)) >= 0 && !strcmp(buffer, value);
}

bool card_state_is(unsigned int card, const char *state)
{
	return card_attribute_is(card, "state", state);
}

/* --- what root does ---------------------------------------------------------- */
int card_bind(const char *pci, bool bind)
{
	return vm_write(bind ? DRIVER "/bind" : DRIVER "/unbind", pci);
}

int card_reset(unsigned int card)
{
	char pci[32], path[64];

	card_pci(card, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	return vm_write(path, "1");
}

void card_decode(unsigned int card, bool on)
{
	char pci[32], path[64];
	uint16_t command;
	int fd;

	card_pci(card, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", pci);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &command, sizeof(command), PCI_COMMAND), (ssize_t)sizeof(command));
	if (on)
		command |= PCI_COMMAND_MEMORY;
	else
		command &= (uint16_t)~PCI_COMMAND_MEMORY;
	CHECK_EQ(pwrite(fd, &command, sizeof(command), PCI_COMMAND), (ssize_t)sizeof(command));
	close(fd);
}

/* --- an opener -------------------------------------------------------------- */
static int card_open_path(const char *path, int flags)
{
	double end = vm_now() + 10;
	int fd;

	/* sysfs shows a card some moments before its node is there, and DRM the node before it can be opened. */
	while ((fd = open(path, O_RDWR | O_CLOEXEC | flags)) < 0) {
		if (errno != ENODEV && errno != ENOENT)
			return -errno;
		if (vm_now() > end)
			return -ENODEV;
		vm_sleep(0.02);
	}
	return fd;
}

static int card_open_node(unsigned int card, const char *prefix, int flags)
{
	int index = card_index(card);
	char path[64];

	if (index < 0)
		return index;
	snprintf(path, sizeof(path), "/dev/accel/%s%d", prefix, index);
	return card_open_path(path, flags);
}

int card_open(unsigned int card, int flags)
{
	return card_open_node(card, "accel", flags);
}

int card_open_control(unsigned int card)
{
	return card_open_node(card, "accel_controlD", 0);
}

int card_info(int fd, uint32_t op, void *answer, uint32_t size)
{
	struct hl_info_args args = { .return_pointer = (uintptr_t)answer, .return_size = size, .op = op };

	return ioctl(fd, DRM_IOCTL_HL_INFO, &args) ? -errno : 0;
}

int card_alloc(int fd, uint64_t size, uint32_t flags, uint64_t *ret_handle)
{
	union hl_mem_args args = {
		.in = { .op = HL_MEM_OP_ALLOC, .flags = flags, .alloc = { .mem_size = size } }
	};

	if (ioctl(fd, DRM_IOCTL_HL_MEMORY, &args))
		return -errno;
	*ret_handle = args.out.handle;
	return 0;
}

int card_free(int fd, uint64_t handle)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_FREE, .free = { .handle = handle } } };

	return ioctl(fd, DRM_IOCTL_HL_MEMORY, &args) ? -errno : 0;
}

int card_map(int fd, uint64_t handle, uint64_t *ret_va)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_MAP, .map_device = { .handle = handle } } };

	if (ioctl(fd, DRM_IOCTL_HL_MEMORY, &args))
		return -errno;
	*ret_va = args.out.device_virt_addr;
	return 0;
}

int card_unmap(int fd, uint64_t va)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_UNMAP, .unmap = { .device_virt_addr = va } } };

	return ioctl(fd, DRM_IOCTL_HL_MEMORY, &args) ? -errno : 0;
}

int card_export(int fd, uint64_t va, uint64_t offset, uint64_t size)
{
	union hl_mem_args args = { .in = { .op = HL_MEM_OP_EXPORT_DMABUF_FD,
					   .flags = O_RDWR | O_CLOEXEC,
					   .export_dmabuf_fd = {
						   .addr = va, .mem_size = size, .offset = offset } } };

	return ioctl(fd, DRM_IOCTL_HL_MEMORY, &args) ? -errno : args.out.fd;
}

int card_revoke_all(int fd)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_ALL };

	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &args) ? -errno : (int)args.revoked;
}

int card_revoke_wait(int fd, uint32_t timeout_ms)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_ALL, .timeout_ms = timeout_ms };

	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &args) ? -errno : (int)args.held;
}

int card_grant(int fd, int dmabuf, int pidfd)
{
	struct gaudi_p2p_grant args = { .fd = dmabuf, .pidfd = pidfd };

	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_GRANT, &args) ? -errno : 0;
}

int card_take_back(int fd, int dmabuf, int pidfd)
{
	struct gaudi_p2p_grant args = { .flags = GAUDI_P2P_GRANT_TAKE_BACK, .fd = dmabuf, .pidfd = pidfd };

	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_GRANT, &args) ? -errno : (int)args.held;
}

int card_list(int fd, struct gaudi_p2p_export *entries, uint32_t room)
{
	struct gaudi_p2p_list args = { .entries = (uintptr_t)entries,
				       .entry_size = sizeof(*entries),
				       .count = room };

	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_LIST, &args) ? -errno : (int)args.count;
}

unsigned int card_fragment(int fd, uint64_t piece)
{
	uint64_t first, second = 0;
	unsigned int pieces = 0;
	int r;

	/* What is allocated one after the other, in pairs, are the halves of one block; handles count from 1. */
	while (!(r = card_alloc(fd, piece, 0, &first)) && !(r = card_alloc(fd, piece, 0, &second)))
		pieces++;
	CHECK_EQ(r, -ENOMEM);
	CHECK_EQ(second, 2 * pieces);
	for (second = 2; second <= 2 * pieces; second += 2)
		CHECK_EQ(card_free(fd, second), 0);
	return pieces;
}

void card_buffer_make(struct card_buffer *buffer, unsigned int card, uint64_t size)
{
	buffer->size = size;
	buffer->fd = card_open(card, 0);
	CHECK_MSG(buffer->fd >= 0, "card %u cannot be opened: %s", card, strerror(-buffer->fd));
	CHECK_EQ(card_alloc(buffer->fd, size, 0, &buffer->handle), 0);
	CHECK_EQ(card_map(buffer->fd, buffer->handle, &buffer->va), 0);
	buffer->dmabuf = card_export(buffer->fd, buffer->va, 0, size);
	CHECK_MSG(buffer->dmabuf >= 0, "no export: %s", strerror(-buffer->dmabuf));
}

/* --- the peer ---------------------------------------------------------------- */
int peer_open(void)
{
	int fd = open("/dev/edu_peer", O_RDWR | O_CLOEXEC);

	CHECK_MSG(fd >= 0, "no /dev/edu_peer: %s", strerror(errno));
	return fd;
}

void peer_pci(char *buffer, size_t size)
{
	DIR *dir = opendir(EDU_DRIVER);
	struct dirent *entry;

	CHECK(dir);
	buffer[0] = 0;
	while ((entry = readdir(dir)))
		if (strchr(entry->d_name, ':'))
			snprintf(buffer, size, "%s", entry->d_name);
	closedir(dir);
	CHECK_MSG(buffer[0], "edu_peer drives no device");
}

int peer_bind(const char *pci, bool bind)
{
	return vm_write(bind ? EDU_DRIVER "/bind" : EDU_DRIVER "/unbind", pci);
}

int peer_attach(int peer, int dmabuf, uint32_t kind, uint32_t delay_ms)
{
	return peer_attach_many(peer, dmabuf, kind, delay_ms, 1);
}

int peer_attach_many(int peer, int dmabuf, uint32_t kind, uint32_t delay_ms, uint32_t count)
{
	struct edu_peer_attach args = { .fd = dmabuf, .kind = kind, .delay_ms = delay_ms, .count = count };

	return ioctl(peer, EDU_PEER_ATTACH, &args) ? -errno : 0;
}

int peer_map(int peer)
{
	return ioctl(peer, EDU_PEER_MAP) ? -errno : 0;
}

int peer_unmap(int peer)
{
	return ioctl(peer, EDU_PEER_UNMAP) ? -errno : 0;
}

int peer_detach(int peer)
{
	return ioctl(peer, EDU_PEER_DETACH) ? -errno : 0;
}

int peer_sit(int peer, uint32_t ms)
{
	return ioctl(peer, EDU_PEER_SIT, &ms) ? -errno : 0;
}

int peer_signal(int peer)
{
	return ioctl(peer, EDU_PEER_SIGNAL) ? -errno : 0;
}

static int peer_dma(int peer, uint64_t offset, const void *data, uint32_t len, uint32_t write_it)
{
	struct edu_peer_dma args = {
		.offset = offset, .data = (uintptr_t)data, .len = len, .write = write_it
	};

	return ioctl(peer, EDU_PEER_DMA, &args) ? -errno : 0;
}

int peer_write(int peer, uint64_t offset, const void *data, uint32_t len)
{
	return peer_dma(peer, offset, data, len, 1);
}

int peer_read(int peer, uint64_t offset, void *data, uint32_t len)
{
	return peer_dma(peer, offset, data, len, 0);
}

void peer_state(int peer, struct edu_peer_state *state)
{
	CHECK_EQ(ioctl(peer, EDU_PEER_STATE, state), 0);
}

unsigned long iommu_faults(void)
{
	FILE *f = fopen("/proc/interrupts", "re");
	unsigned long sum = 0, n;
	bool found = false;
	char line[512];

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		char *p = strchr(line, ':'), *end;

		if (!p || !strstr(line, "dmar"))
			continue;
		found = true;
		for (p++; n = strtoul(p, &end, 10), end != p; p = end)
			sum += n;
	}
	fclose(f);
	CHECK_MSG(found, "there is no interrupt of an IOMMU");
	return sum;
}

static unsigned long faults_before;

static void check_fault(void)
{
	WAIT_FOR(iommu_faults() > faults_before, 10);
}

void peer_expect_fault(void)
{
	host_allow_log("DMAR:");
	faults_before = iommu_faults();
	vm_at_end(check_fault);
}

int peer_of(int dmabuf, uint32_t kind, uint32_t delay_ms)
{
	int peer = peer_open();

	CHECK_EQ(peer_attach(peer, dmabuf, kind, delay_ms), 0);
	CHECK_EQ(peer_map(peer), 0);
	return peer;
}

/* --- memory ------------------------------------------------------------------- */
static sigjmp_buf sigbus_return;

static void sigbus_handler(int number)
{
	(void)number;
	siglongjmp(sigbus_return, 1);
}

bool raises_sigbus(volatile uint8_t *byte)
{
	struct sigaction action = { .sa_handler = sigbus_handler }, before;
	volatile bool raised = true;

	sigaction(SIGBUS, &action, &before);
	if (!sigsetjmp(sigbus_return, 1)) {
		(void)*byte;
		raised = false;
	}
	sigaction(SIGBUS, &before, NULL);
	return raised;
}
