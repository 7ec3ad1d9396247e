// SPDX-License-Identifier: Apache-2.0
/*
 * The CPU's view of device memory, and cards in system memory.
 *
 * vm-modules: edu_peer brd
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

static uint8_t *map_it(int dmabuf, size_t size)
{
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);

	CHECK_MSG(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	return memory;
}

TEST(mmap_and_peer_see_the_same_memory, .driver = EMULATED)
{
	struct card_buffer buffer;
	char back[sizeof(secret)];
	uint8_t *memory;
	int peer;

	card_buffer_make(&buffer, 0, 4 * MIB);
	memory = map_it(buffer.dmabuf, 4 * MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	memcpy(memory + 3 * MIB, secret, sizeof(secret));
	CHECK_EQ(peer_read(peer, 3 * MIB, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
	CHECK_EQ(peer_write(peer, MIB, "from the peer", 14), 0);
	CHECK_EQ(memcmp(memory + MIB, "from the peer", 14), 0);
}

TEST(mapped_memory_raises_sigbus_after_revoke, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_it(buffer.dmabuf, MIB);
	memory[0] = 1;
	CHECK(!raises_sigbus(memory));
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	CHECK_MSG(raises_sigbus(memory), "a page that was touched is still readable after revoke");
	CHECK_MSG(raises_sigbus(memory + MIB / 2),
		  "a page that was not touched can be faulted in after revoke");
	CHECK(mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
}

TEST(mapped_memory_raises_sigbus_after_close, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;

	card_buffer_make(&buffer, 0, MIB);
	memory = map_it(buffer.dmabuf, MIB);
	memcpy(memory, secret, sizeof(secret));
	close(buffer.fd);
	CHECK(raises_sigbus(memory));
	/* A CPU mapping holds nothing up. */
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	CHECK(raises_sigbus(memory));
}

static void child_keeps_mapping(void *argument)
{
	struct {
		uint8_t *memory;
		int sock;
	} *c = argument;

	CHECK(!raises_sigbus(c->memory));
	vm_signal(c->sock);
	vm_await(c->sock);
	CHECK_MSG(raises_sigbus(c->memory), "a child's inherited mapping survives the revoke");
}

TEST(inherited_mapping_is_revoked_too, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct {
		uint8_t *memory;
		int sock;
	} c;
	int sock[2];
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	c.memory = map_it(buffer.dmabuf, MIB);
	c.memory[0] = 1;
	vm_pair(sock);
	c.sock = sock[1];
	child = vm_child(true, child_keeps_mapping, &c);
	vm_await(sock[0]);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	vm_signal(sock[0]);
	vm_child_end(child);
}

TEST(mmap_refuses_what_it_cannot_do, .driver = EMULATED)
{
	struct card_buffer buffer;

	card_buffer_make(&buffer, 0, MIB);
#define MAP_ERRNO(size, prot, flags, offset) \
	(mmap(NULL, (size), (prot), (flags), buffer.dmabuf, (offset)) == MAP_FAILED ? errno : 0)
	CHECK_EQ(MAP_ERRNO(2 * MIB, PROT_READ, MAP_SHARED, 0), EINVAL);
	CHECK_EQ(MAP_ERRNO(4096, PROT_READ, MAP_SHARED, MIB), EINVAL);
	CHECK_EQ(MAP_ERRNO(MIB, PROT_READ, MAP_SHARED, 4096), EINVAL);
	CHECK_EQ(MAP_ERRNO(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0), EINVAL);
	CHECK_EQ(MAP_ERRNO(4096, PROT_READ, MAP_SHARED, MIB - 4096), 0);
#undef MAP_ERRNO
}

TEST(cpu_mmap_can_be_forbidden, .driver = EMULATED " cpu_mmap=0")
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK(mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, EACCES);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
}

/* --- cards in system memory ---------------------------------------------------------- */
static int virtual_open(unsigned int n)
{
	char path[64];
	double end = vm_now() + 10;
	int fd;

	snprintf(path, sizeof(path), "/dev/accel/accel%u", n);
	do {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			vm_sleep(0.02);
	} while (fd < 0 && vm_now() < end);
	CHECK_MSG(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

TEST(virtual_cards_work_without_pci, .driver = "virtual=2 virtual_mb=8")
{
	int fd = virtual_open(0), other = virtual_open(1), dmabuf, peer = peer_open();
	uint64_t handle, va, i;
	char buffer[64];
	uint8_t *memory;

	CHECK_EQ(access("/dev/accel/accel2", F_OK), -1);
	CHECK_EQ(card_alloc(fd, 9 * MIB, 0, &handle), -ENOMEM);
	CHECK_EQ(card_alloc(fd, 8 * MIB, 0, &handle), 0);
	CHECK_EQ(card_map(fd, handle, &va), 0);
	dmabuf = card_export(fd, va, 0, 8 * MIB);
	CHECK(dmabuf >= 0);
	memory = map_it(dmabuf, 8 * MIB);
	for (i = 0; i < 8 * MIB; i += 4096)
		CHECK_EQ(memory[i], 0);
	memset(memory, 0x5a, 8 * MIB);
	/* No PCI, no peer-to-peer. */
	CHECK_EQ(peer_attach(peer, dmabuf, EDU_PEER_DYNAMIC, 0), -EOPNOTSUPP);
	CHECK(vm_read("/sys/class/accel/accel0/device/pci_addr", buffer, sizeof(buffer)) < 0);
	CHECK(vm_read("/sys/class/accel/accel0/device/serial", buffer, sizeof(buffer)) > 0);

	close(fd);
	CHECK(raises_sigbus(memory));
	fd = virtual_open(0);
	CHECK_EQ(card_alloc(fd, 8 * MIB, 0, &handle), 0);
	CHECK_EQ(card_map(fd, handle, &va), 0);
	dmabuf = card_export(fd, va, 0, 8 * MIB);
	memory = map_it(dmabuf, 8 * MIB);
	for (i = 0; i < 8 * MIB; i += 64)
		CHECK_MSG(memory[i] == 0, "byte %llu of the last owner is left", (unsigned long long)i);
	close(other);
}
