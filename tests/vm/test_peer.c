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

	peer_expect_fault();
	CHECK_EQ(peer_unmap(peer), 0);
	CHECK_EQ(peer_write(peer, 0, "x", 1), 0);
	CHECK_EQ(memory[0], 0);
}
