// SPDX-License-Identifier: Apache-2.0
/*
 * The attack that this driver exists to defeat: A exports memory and registers it with an importer that cannot revoke, A
 * closes the device, B opens it and believes that it is alone. And its variants: files in strangers' hands and in flight,
 * forked and traced owners, changed namespaces, owners killed in the middle of a call.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_attack_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1ul << 20)

/* Positive as numbers, and found nowhere by chance. */
#define A_SECRET 0x41a5c3e1f0d2b497l
#define B_BYTE 0x42
#define B_SECRET 0x4242424242424242l

/* What A still has in hands after his close leads nowhere: not to B's memory, neither for reading nor for writing. */
static void a_reaches_nothing(struct pod *a, long peer, long memory, long size)
{
	long offset;

	CHECK_EQ(POD(a, pod_peek, memory), -EFAULT);
	CHECK_EQ(POD(a, pod_peek, memory + size - 1), -EFAULT);
	for (offset = 0; offset < size; offset += size / 2) {
		CHECK(POD(a, pod_dma_read, peer, offset) != B_SECRET);
		CHECK_EQ(POD(a, pod_dma_write, peer, offset, A_SECRET), 0);
	}
}

/*
 * B has all of the card: zero at first, then his own, and nobody else's. He works by mmap only: A's and B's peer are one
 * device, and an address that A's lost may be B's new one.
 */
static void b_works_alone(struct victim *b, struct pod *a, long peer, long memory, long size)
{
	long mine;

	victim_start(b, 0, 0);
	CHECK_MSG(host_is_zero(0, 0, 0), "B has all of the card, and it is not zero");
	mine = POD(&b->pod, pod_mmap, b->dmabuf, b->size, PROT_READ | PROT_WRITE);
	CHECK(mine > 0);
	for (long offset = 0; offset < b->size; offset += 4 * MIB)
		CHECK_EQ(POD(&b->pod, pod_peek, mine + offset), 0);
	CHECK_EQ(POD(&b->pod, pod_fill, mine, size, B_BYTE), 0);
	peer_expect_fault();
	a_reaches_nothing(a, peer, memory, size);
	for (long offset = 0; offset < size; offset += MIB / 2)
		CHECK_MSG(POD(&b->pod, pod_peek, mine + offset) == B_BYTE, "A has changed B's memory at %#lx",
			  offset);
}

TEST(attack_leads_nowhere_under_refuse, .driver = EMULATED)
{
	struct victim a, b;
	long peer, memory;

	victim_start(&a, 0, 4 * MIB);
	CHECK_EQ(POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_PINNED, 0), -EOPNOTSUPP);
	peer = POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_PINNED_REVOCABLE, 0);
	CHECK(peer >= 0);
	memory = POD(&a.pod, pod_mmap, a.dmabuf, a.size, PROT_READ | PROT_WRITE);
	CHECK(memory > 0);
	CHECK_EQ(POD(&a.pod, pod_dma_write, peer, 0, A_SECRET), 0);
	CHECK_EQ(POD(&a.pod, pod_fill, memory + MIB, MIB, 0x41), 0);
	CHECK_EQ(POD(&a.pod, pod_close, a.fd), 0);
	b_works_alone(&b, &a.pod, peer, memory, a.size);
	CHECK_EQ(POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_DYNAMIC, 0), -ENODEV);
}

TEST(attack_waits_and_leads_nowhere_under_hold, .driver = EMULATED " nonrevocable=hold")
{
	struct victim a, b;
	struct pod other;
	long peer, memory;

	victim_start(&a, 0, 4 * MIB);
	peer = POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_PINNED, 0);
	CHECK(peer >= 0);
	memory = POD(&a.pod, pod_mmap, a.dmabuf, a.size, PROT_READ | PROT_WRITE);
	CHECK_EQ(POD(&a.pod, pod_dma_write, peer, 0, A_SECRET), 0);
	CHECK_EQ(POD(&a.pod, pod_close, a.fd), 0);

	/* As long as A reaches the memory nobody gets it, and what A reaches is what A wrote. */
	pod_start(&other);
	CHECK_EQ(POD(&other, pod_open, 0, O_NONBLOCK), -EBUSY);
	POD_POST(&other, pod_open, 0, 0);
	vm_sleep(0.5);
	CHECK(card_state_is(0, "draining"));
	CHECK_EQ(POD(&a.pod, pod_dma_read, peer, 0), A_SECRET);
	CHECK_EQ(POD(&a.pod, pod_dma_write, peer, MIB, A_SECRET), 0);
	CHECK_EQ(POD(&a.pod, pod_peek, memory), -EFAULT);
	CHECK_EQ(POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_PINNED, 0), -ENODEV);

	CHECK_EQ(POD(&a.pod, pod_peer_unmap, peer), 0);
	CHECK(pod_wait(&other) >= 0);
	CHECK(host_is_zero(0, 0, 0));
	pod_stop(&other);
	b_works_alone(&b, &a.pod, peer, memory, a.size);
}

/* A never exported anything, or no longer holds anything: B must not read what is left. */
TEST(attack_by_leaving_bytes_behind_leads_nowhere, .driver = EMULATED)
{
	struct victim a, b;
	long memory;

	victim_start(&a, 0, 0);
	memory = POD(&a.pod, pod_mmap, a.dmabuf, a.size, PROT_READ | PROT_WRITE);
	CHECK_EQ(POD(&a.pod, pod_fill, memory, a.size, 0x41), 0);
	CHECK_EQ(host_peek(0, 12345), 0x41);
	pod_stop(&a.pod);
	victim_start(&b, 0, 0);
	CHECK(host_is_zero(0, 0, 0));
}

/* The same inside one lease: what one allocation's importers reach is never the next allocation's memory. */
TEST(freed_memory_is_out_of_reach_before_it_is_given_again, .driver = EMULATED)
{
	struct victim a;
	long peer, memory, other, handle, va, dmabuf;

	victim_start(&a, 0, 0);
	peer = POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_DYNAMIC, 0);
	memory = POD(&a.pod, pod_mmap, a.dmabuf, a.size, PROT_READ | PROT_WRITE);
	CHECK_EQ(POD(&a.pod, pod_dma_write, peer, 0, A_SECRET), 0);
	/* While somebody reaches it, it cannot be freed. */
	CHECK_EQ(POD(&a.pod, pod_unmap, a.fd, a.va), -EINVAL);
	CHECK_EQ(POD(&a.pod, pod_free, a.fd, a.handle), -EINVAL);
	CHECK_EQ(POD(&a.pod, pod_revoke_all, a.fd), 1);
	CHECK_EQ(POD(&a.pod, pod_unmap, a.fd, a.va), 0);
	CHECK_EQ(POD(&a.pod, pod_free, a.fd, a.handle), 0);

	handle = POD(&a.pod, pod_alloc, a.fd, a.size);
	CHECK(handle > 0);
	CHECK(host_is_zero(0, 0, 0));
	va = POD(&a.pod, pod_map, a.fd, handle);
	dmabuf = POD(&a.pod, pod_export, a.fd, va, 0, a.size);
	other = POD(&a.pod, pod_mmap, dmabuf, a.size, PROT_READ | PROT_WRITE);
	CHECK(other > 0);
	CHECK_EQ(POD(&a.pod, pod_fill, other, a.size, B_BYTE), 0);
	peer_expect_fault();
	a_reaches_nothing(&a.pod, peer, memory, a.size);
	for (long offset = 0; offset < a.size; offset += MIB)
		CHECK_EQ(POD(&a.pod, pod_peek, other + offset), B_BYTE);
}

TEST(held_memory_cannot_be_freed_by_its_owner, .driver = EMULATED " nonrevocable=hold")
{
	struct victim a;
	long peer;

	victim_start(&a, 0, 0);
	peer = POD(&a.pod, pod_import, a.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(POD(&a.pod, pod_revoke_all, a.fd), 1);
	CHECK_EQ(POD(&a.pod, pod_close, a.dmabuf), 0);
	CHECK_EQ(POD(&a.pod, pod_unmap, a.fd, a.va), -EINVAL);
	CHECK_EQ(POD(&a.pod, pod_free, a.fd, a.handle), -EINVAL);
	CHECK_EQ(POD(&a.pod, pod_alloc, a.fd, MIB), -ENOMEM);
	CHECK_EQ(POD(&a.pod, pod_dma_write, peer, 0, A_SECRET), 0);
	CHECK_EQ(POD(&a.pod, pod_peer_unmap, peer), 0);
	CHECK_EQ(POD(&a.pod, pod_unmap, a.fd, a.va), 0);
	CHECK_EQ(POD(&a.pod, pod_free, a.fd, a.handle), 0);
	CHECK(POD(&a.pod, pod_alloc, a.fd, a.size) > 0);
	CHECK(host_is_zero(0, 0, 0));
}
