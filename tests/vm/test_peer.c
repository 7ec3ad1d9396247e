// SPDX-License-Identifier: Apache-2.0
/*
 * The witness itself: what the edu peer and the IOMMU do with memory that is not ours
 * (udmabuf), so that the tests of the driver stand on firm ground.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "card.h"
#include "vm.h"

static int udmabuf_make(size_t size, uint8_t **ret_memory)
{
	struct udmabuf_create args = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int dmabuf;

	CHECK(device >= 0);
	args.memfd = (uint32_t)memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK_EQ(ftruncate((int)args.memfd, (off_t)size), 0);
	CHECK_EQ(fcntl((int)args.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	*ret_memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)args.memfd, 0);
	CHECK(*ret_memory != MAP_FAILED);
	dmabuf = ioctl(device, UDMABUF_CREATE, &args);
	CHECK_MSG(dmabuf >= 0, "no udmabuf: %s", strerror(errno));
	close(device);
	close((int)args.memfd);
	return dmabuf;
}

TEST(peer_copies_into_and_out_of_a_dmabuf)
{
	static const char text[] = "written by the peer";
	char back[sizeof(text)] = "";
	uint8_t *memory;
	int dmabuf = udmabuf_make(16384, &memory);
	int peer = peer_of(dmabuf, EDU_PEER_PINNED, 0);

	CHECK_EQ(peer_write(peer, 4096, text, sizeof(text)), 0);
	CHECK_EQ(memcmp(memory + 4096, text, sizeof(text)), 0);
	CHECK_EQ(peer_read(peer, 4096, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, text, sizeof(text)), 0);
	CHECK_EQ(peer_write(peer, 16384, text, 1), -EINVAL);
}

TEST(peer_faults_in_the_iommu_after_unmap)
{
	uint8_t *memory;
	int dmabuf = udmabuf_make(16384, &memory);
	int peer = peer_of(dmabuf, EDU_PEER_PINNED, 0);
	unsigned long before;

	/* Other tests count the IOMMU's interrupts: here is what those mean. The log may be full from tests before. */
	vm_sleep(6);
	before = iommu_faults();
	host_expect_log("DMAR:.*PTE Write access is not set");
	CHECK_EQ(peer_write(peer, 0, "y", 1), 0);
	CHECK_EQ(iommu_faults(), before);
	CHECK_EQ(peer_unmap(peer), 0);
	CHECK_EQ(peer_write(peer, 0, "x", 1), 0);
	CHECK_EQ(memory[0], 'y');
	WAIT_FOR(iommu_faults() > before, 10);
}

TEST(peer_of_the_cpu_copies_through_a_kernel_mapping)
{
	static const uint32_t kinds[] = { EDU_PEER_KERNEL, EDU_PEER_KERNEL_UNPINNED };
	struct edu_peer_state state;
	uint8_t *memory;
	int dmabuf = udmabuf_make(16384, &memory), peer;
	char back[8] = "";
	size_t i;

	for (i = 0; i < 2; i++) {
		peer = peer_of(dmabuf, kinds[i], 0);
		memory[8192] = (uint8_t)(0x40 + i);
		CHECK_EQ(peer_read(peer, 8192, back, 1), 0);
		CHECK_EQ(back[0], 0x40 + (int)i);
		CHECK_EQ(peer_write(peer, 16376, "12345678", 8), 0);
		CHECK_EQ(memcmp(memory + 16376, "12345678", 8), 0);
		CHECK_EQ(peer_write(peer, 16380, "12345678", 8), -EINVAL);
		peer_state(peer, &state);
		CHECK_EQ(state.mapped, 1);
		CHECK_EQ(state.pinned, kinds[i] == EDU_PEER_KERNEL);
		CHECK_EQ(peer_unmap(peer), 0);
		CHECK_EQ(peer_read(peer, 8192, back, 1), -ENXIO);
		close(peer);
	}
}

TEST(peer_attaches_many_times_and_lets_go_at_once)
{
	struct edu_peer_state state;
	uint8_t *memory;
	int dmabuf = udmabuf_make(16384, &memory), peer = peer_open();

	/* CONFIG_DMA_API_DEBUG counts no further, and these are pages of the exporter that everybody may map. */
	host_allow_log("DMA-API: exceeded 7 overlapping|WARNING: .*add_dma_entry|Modules linked in:");
	CHECK_EQ(peer_attach_many(peer, dmabuf, EDU_PEER_FENCE, 0, EDU_PEER_ATTACHMENTS + 1), -EINVAL);
	CHECK_EQ(peer_attach_many(peer, dmabuf, EDU_PEER_FENCE, 0, 100), 0);
	CHECK_EQ(peer_map(peer), 0);
	peer_state(peer, &state);
	CHECK_EQ(state.attached, 100);
	CHECK_EQ(state.mapped, 100);
	CHECK_EQ(state.fences, 100);
	CHECK_EQ(peer_write(peer, 0, "m", 1), 0);
	CHECK_EQ(memory[0], 'm');
	CHECK_EQ(peer_signal(peer), 0);
	CHECK_EQ(peer_unmap(peer), 0);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(state.fences, 0);
	CHECK_EQ(peer_detach(peer), 0);
	peer_state(peer, &state);
	CHECK_EQ(state.attached, 0);
}

TEST(peer_that_is_removed_lets_go_and_its_files_answer_enodev)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC, EDU_PEER_PINNED, EDU_PEER_KERNEL,
					  EDU_PEER_FENCE };
	struct edu_peer_state state;
	char address[32], byte = 'x';
	uint8_t *memory;
	int dmabuf = udmabuf_make(16384, &memory), peer[4], i;

	peer_pci(address, sizeof(address));
	for (i = 0; i < 4; i++)
		peer[i] = peer_of(dmabuf, kinds[i], EDU_PEER_NEVER);
	CHECK_EQ(peer_bind(address, false), 0);
	for (i = 0; i < 4; i++) {
		peer_state(peer[i], &state);
		CHECK_EQ(state.attached, 0);
		CHECK_EQ(peer_map(peer[i]), -ENODEV);
		CHECK_EQ(peer_attach(peer[i], dmabuf, kinds[i], 0), -ENODEV);
		CHECK_EQ(peer_write(peer[i], 0, &byte, 1), kinds[i] == EDU_PEER_KERNEL ? -ENXIO : -ENODEV);
	}
	CHECK(open("/dev/edu_peer", O_RDWR | O_CLOEXEC) < 0);

	CHECK_EQ(peer_bind(address, true), 0);
	CHECK_EQ(peer_map(peer[0]), -ENODEV);
	CHECK_EQ(peer_write(peer_of(dmabuf, EDU_PEER_DYNAMIC, 0), 0, &byte, 1), 0);
	CHECK_EQ(memory[0], 'x');
}
