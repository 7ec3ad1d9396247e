// SPDX-License-Identifier: Apache-2.0
/*
 * Exports that the owner lets another pod import, and takes back.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/udmabuf.h>
#include <gaudi_p2p.h>

#include "card.h"
#include "test_grant_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

/* The owner with a buffer, and a pod that got the file; granted if wanted. */
static void start(struct card_buffer *buffer, struct pod *pod, bool grant)
{
	card_buffer_make(buffer, 0, MIB);
	pod_start(pod, true, buffer->dmabuf);
	if (grant)
		CHECK_EQ(card_grant(buffer->fd, buffer->dmabuf, pod->pidfd), 0);
}

TEST(granted_pod_reaches_memory_as_the_owner_does, .driver = HOLD)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC, EDU_PEER_PINNED_REVOCABLE, EDU_PEER_PINNED };
	struct card_buffer buffer;
	struct pod pod;
	unsigned int i;
	int peer;

	start(&buffer, &pod, false);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -EPERM);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(pod_do(&pod, POD_ATTACH, kinds[i], 0), 0);
		CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
		CHECK_EQ(pod_do(&pod, POD_WRITE, i * 4096, 0), 0);
		CHECK_EQ(pod_do(&pod, POD_READS, i * 4096, 0), 1);
	}
	CHECK(host_find(0, POD_TEXT) >= 0);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, MIB - 1, 0), 0);
	/* The owner is not disturbed. */
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	pod_end(&pod);
}

TEST(grant_is_for_one_export_and_one_pod, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod, stranger;
	int other;

	start(&buffer, &pod, true);
	pod_start(&stranger, true, buffer.dmabuf);
	CHECK_EQ(pod_do(&stranger, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&stranger, POD_MMAP, MIB, 0), -EPERM);
	/* The same memory, another export. */
	other = card_export(buffer.fd, buffer.va, 0, MIB);
	CHECK(other >= 0);
	pod_give(&pod, other);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -EPERM);
	pod_give(&pod, buffer.dmabuf);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	/* A process of the pod that leaves it leaves the grant. */
	CHECK_EQ(pod_do(&pod, POD_UNSHARE, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -EPERM);
	pod_end(&pod);
	pod_end(&stranger);
}

TEST(take_back_ends_the_pods_dma_and_only_the_pods, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct edu_peer_state state;
	struct pod pod, friend;
	char back[sizeof(secret)];
	uint8_t *memory;
	int peer;

	start(&buffer, &pod, true);
	pod_start(&friend, true, buffer.dmabuf);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, friend.pidfd), 0);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED_REVOCABLE, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	memory = mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED && !memcmp(memory, secret, sizeof(secret)));
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(pod_do(&friend, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&friend, POD_MAP, 0, 0), 0);

	peer_expect_fault();
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_WRITE, 0, 0), 0);
	CHECK_MSG(host_find(0, POD_TEXT) < 0,
		  "a DMA after the grant was taken back changed the card's memory");
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED_REVOCABLE, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -EPERM);

	peer_state(peer, &state);
	CHECK_EQ(state.invalidations, 0);
	CHECK_EQ(peer_read(peer, 0, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, secret, sizeof(secret)), 0);
	CHECK_EQ(memcmp(memory, secret, sizeof(secret)), 0);
	CHECK_EQ(pod_do(&friend, POD_WRITE, 8192, 0), 0);
	CHECK_EQ(pod_do(&friend, POD_READS, 8192, 0), 1);

	/* What was taken back can be given again; what it had stays dead. */
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_READS, 8192, 0), 1);
	pod_end(&pod);
	pod_end(&friend);
}

TEST(attachment_of_a_taken_back_grant_stays_dead_when_granted_again, .driver = EMULATED)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC, EDU_PEER_PINNED_REVOCABLE };
	struct card_buffer buffer;
	struct pod pod;
	unsigned int i;

	start(&buffer, &pod, true);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(pod_do(&pod, POD_ATTACH, kinds[i], 0), 0);
		CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
		CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
		CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
		CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
		CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 1);
	}
	pod_end(&pod);
}

TEST(take_back_ends_cpu_mappings_wherever_they_went, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint8_t *memory;
	struct pod pod;

	start(&buffer, &pod, true);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memory[0] = 1;
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_FORK, 1, 0), 0);
	CHECK_EQ(pod_child_sigbus(&pod, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_RESHAPE, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_MSG(pod_do(&pod, POD_SIGBUS, 0, 0) == 1, "a moved mapping survives");
	CHECK_MSG(pod_child_sigbus(&pod, 0) == 1, "a child's touched page survives");
	CHECK_MSG(pod_child_sigbus(&pod, MIB / 4) == 1, "a child faults an untouched page in");
	CHECK_MSG(!raises_sigbus(memory) && memory[0] == 1, "the owner lost his mapping");
	pod_end(&pod);
}

TEST(take_back_counts_importers_that_hold, .driver = HOLD)
{
	struct card_buffer buffer;
	struct pod pod;
	int peer, mine;

	start(&buffer, &pod, true);
	mine = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	peer = pod_receive(&pod);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, EDU_PEER_NEVER), 0);
	/* Attached only: does not count. */
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 1);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 1);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
	CHECK_EQ(peer_unmap(peer), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), -ENOENT);
	CHECK_EQ(peer_map(peer), -ENODEV);
	CHECK_EQ(peer_unmap(mine), 0);
	pod_end(&pod);
}

TEST(take_back_counts_slow_importers_until_they_unmap, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod;

	start(&buffer, &pod, true);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 700), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 1);
	WAIT_FOR(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd) == -ENOENT, 10);
	pod_end(&pod);
}

TEST(grantee_can_neither_grant_nor_revoke_nor_export, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod;

	start(&buffer, &pod, true);
	pod_give(&pod, buffer.fd);
	pod_give(&pod, buffer.dmabuf);
	CHECK_EQ(pod_do(&pod, POD_GRANT, 0, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_TAKE_BACK, 0, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_REVOKE, 0, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_EXPORT, (uint32_t)(buffer.va >> 20), 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_LIST, 0, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_ALLOC, 0, 0), -EPERM);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	pod_end(&pod);
}

TEST(grantee_with_a_card_of_his_own_cannot_grant_anothers_export, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod;
	int other;

	start(&buffer, &pod, true);
	/* Seen from the other side: my card, somebody else's export. */
	other = card_open(1, 0);
	CHECK(other >= 0);
	CHECK_EQ(card_grant(other, buffer.dmabuf, pod.pidfd), -EINVAL);
	CHECK_EQ(card_take_back(other, buffer.dmabuf, pod.pidfd), -EINVAL);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	pod_end(&pod);
}

TEST(grant_ends_when_the_pods_namespace_dies, .driver = HOLD)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	int dynamic, pinned;
	struct pod pod;

	start(&buffer, &pod, true);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	pinned = pod_receive(&pod);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	dynamic = pod_receive(&pod);
	CHECK_EQ(peer_write(dynamic, 0, secret, sizeof(secret)), 0);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 0);
	/* Somebody outside keeps what the pod had: importers' files here, a mapping in a child that has moved. */
	CHECK_EQ(pod_do(&pod, POD_FORK, 1, 0), 0);
	CHECK_EQ(pod_child_sigbus(&pod, 0), 0);
	pod_end(&pod);

	WAIT_FOR((peer_state(dynamic, &state), !state.mapped), 20);
	CHECK_EQ(peer_map(dynamic), -ENODEV);
	WAIT_FOR(pod_child_sigbus(&pod, 0) == 1, 5);
	CHECK_EQ(pod_child_sigbus(&pod, MIB / 2), 1);
	/* Who cannot revoke still holds; his pod can be asked for by the pidfd that was granted. */
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 1);
	CHECK_EQ(peer_unmap(pinned), 0);
	CHECK_EQ(peer_map(pinned), -ENODEV);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), -ESRCH);
	CHECK(card_state_is(0, "owned"));
}

TEST(grant_can_be_taken_back_by_the_pidfd_of_a_dead_process, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod;

	start(&buffer, &pod, true);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	/* The child stays in the pod: the namespace lives, the process that was named does not. */
	CHECK_EQ(pod_do(&pod, POD_FORK, 0, 0), 0);
	pod_end(&pod);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pod.pidfd), -ESRCH);
	vm_sleep(0.3);
	CHECK_EQ(pod_child_sigbus(&pod, 0), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pod.pidfd), 0);
	CHECK_EQ(pod_child_sigbus(&pod, 0), 1);
}

TEST(grant_ends_with_export_and_lease, .driver = EMULATED)
{
	struct card_buffer buffer;
	struct pod pod;

	start(&buffer, &pod, true);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	CHECK_EQ(card_revoke_wait(buffer.fd, 5000), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 1);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -ENODEV);
	pod_end(&pod);
	close(buffer.dmabuf);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);

	start(&buffer, &pod, true);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_PINNED_REVOCABLE, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), 0);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), 0);
	close(buffer.fd);
	CHECK_EQ(pod_do(&pod, POD_MAP, 0, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_SIGBUS, 0, 0), 1);
	CHECK_EQ(pod_do(&pod, POD_ATTACH, EDU_PEER_DYNAMIC, 0), -ENODEV);
	CHECK_EQ(pod_do(&pod, POD_MMAP, MIB, 0), -ENODEV);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	pod_end(&pod);
}
