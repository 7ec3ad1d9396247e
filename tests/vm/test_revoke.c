// SPDX-License-Identifier: Apache-2.0
/*
 * Export and revoke, with a peer that does real DMA behind an IOMMU.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gaudi_p2p.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

static void check_reaches_card(uint32_t kind)
{
	char back[sizeof(secret)] = "";
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK(host_is_zero(0, 0, 0));
	peer = peer_of(buffer.dmabuf, kind, 0);
	CHECK_EQ(peer_write(peer, 0x12340, secret, sizeof(secret)), 0);
	CHECK_MSG(host_find(0, secret) >= 0, "what the peer wrote is not in the card's memory");
	CHECK_EQ(peer_read(peer, 0x12340, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, secret, sizeof(secret)), 0);
	CHECK_EQ(host_find(1, secret), -1);
}

TEST(dynamic_importer_reaches_card_memory, .driver = EMULATED)
{
	check_reaches_card(EDU_PEER_DYNAMIC);
}

TEST(pinned_revocable_importer_reaches_card_memory, .driver = EMULATED)
{
	check_reaches_card(EDU_PEER_PINNED_REVOCABLE);
}

TEST(pinned_importer_reaches_card_memory_under_hold, .driver = EMULATED " nonrevocable=hold")
{
	check_reaches_card(EDU_PEER_PINNED);
}

/* After the lease ended the peer's old address leads nowhere, in hardware. */
static void check_fault_after_close(uint32_t kind)
{
	char back[sizeof(secret)] = "";
	struct edu_peer_state state;
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, kind, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);

	peer_expect_fault();
	close(buffer.fd);
	peer_state(peer, &state);
	CHECK_EQ(state.invalidations, 1);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(state.pinned, 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));

	CHECK_EQ(peer_write(peer, 0, "x", 1), 0);
	CHECK_MSG(host_is_zero(0, 0, 0), "a DMA after revoke changed the card's memory");
	/* The same for reading: whatever the bus answers, it is not memory of the card. */
	host_plant(0, 0, 0, 0x77);
	CHECK_EQ(peer_read(peer, 0, back, sizeof(back)), 0);
	CHECK_MSG(back[0] != 0x77, "a DMA after revoke read the card's memory");
	CHECK_EQ(peer_map(peer), -ENODEV);
	host_plant(0, 0, 0, 0);
}

TEST(dma_after_revoke_faults_and_memory_is_unchanged_dynamic, .driver = EMULATED)
{
	check_fault_after_close(EDU_PEER_DYNAMIC);
}

TEST(dma_after_revoke_faults_and_memory_is_unchanged_pinned, .driver = EMULATED)
{
	check_fault_after_close(EDU_PEER_PINNED_REVOCABLE);
}

TEST(revoke_ioctl_takes_memory_from_importers_and_keeps_the_lease, .driver = EMULATED)
{
	struct card_buffer buffer;
	uint64_t handle;
	int peer, other;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);

	peer_expect_fault();
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	CHECK_EQ(card_revoke_all(buffer.fd), 0);
	CHECK_EQ(peer_write(peer, 0, "xxxxxxxx", 8), 0);
	CHECK_MSG(host_find(0, secret) >= 0, "a DMA after revoke changed the card's memory");
	CHECK_EQ(peer_map(peer), -ENODEV);
	other = peer_open();
	CHECK_EQ(peer_attach(other, buffer.dmabuf, EDU_PEER_DYNAMIC, 0), -ENODEV);

	CHECK(card_state_is(0, "owned"));
	CHECK_EQ(card_alloc(buffer.fd, MIB, 0, &handle), 0);
	/* Revoked and held by nobody: the mapping can go although the dma-buf is open. */
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), 0);
}

TEST(nonrevocable_importer_is_refused, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer = peer_open();
	char policy[32];

	CHECK(vm_read("/sys/module/gaudi_p2p/parameters/nonrevocable", policy, sizeof(policy)) > 0);
	CHECK_EQ(strcmp(policy, "refuse"), 0);
	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(peer_attach(peer, buffer.dmabuf, EDU_PEER_PINNED, 0), -EOPNOTSUPP);
	/* The same importer may come back as one that can revoke. */
	CHECK_EQ(peer_attach(peer, buffer.dmabuf, EDU_PEER_PINNED_REVOCABLE, 0), 0);
	CHECK_EQ(peer_map(peer), 0);
}

TEST(nonrevocable_policy_can_be_changed_at_run_time, .driver = EMULATED)
{
	static const char path[] = "/sys/module/gaudi_p2p/parameters/nonrevocable";
	struct card_buffer buffer;
	int peer = peer_open();

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(vm_write(path, "hold"), 0);
	CHECK_EQ(peer_attach(peer, buffer.dmabuf, EDU_PEER_PINNED, 0), 0);
	CHECK_EQ(peer_detach(peer), 0);
	CHECK_EQ(vm_write(path, "refuse\n"), 0);
	CHECK_EQ(peer_attach(peer, buffer.dmabuf, EDU_PEER_PINNED, 0), -EOPNOTSUPP);
	CHECK_EQ(vm_write(path, "perhaps"), -EINVAL);
	CHECK_EQ(vm_write(path, ""), 0);
	CHECK_EQ(peer_attach(peer, buffer.dmabuf, EDU_PEER_PINNED, 0), -EOPNOTSUPP);
}

TEST(held_device_drains_until_importer_lets_go, .driver = EMULATED " nonrevocable=hold")
{
	char back[sizeof(secret)] = "", reason[128];
	struct card_buffer buffer;
	int64_t where;
	int peer, fd;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	close(buffer.dmabuf);
	close(buffer.fd);

	CHECK(card_state_is(0, "draining"));
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) > 0);
	vm_note("reason: %s", reason);
	CHECK_EQ(card_open(0, O_NONBLOCK), -EBUSY);
	vm_sleep(1);
	CHECK(card_state_is(0, "draining"));
	/* It still reads the old owner's memory, and nobody else's can be there. */
	where = host_find(0, secret);
	CHECK_MSG(where >= 0, "memory was scrubbed under an importer that still maps it");
	CHECK_EQ(peer_read(peer, 0, back, sizeof(back)), 0);
	CHECK_EQ(memcmp(back, secret, sizeof(secret)), 0);

	CHECK_EQ(peer_unmap(peer), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
	CHECK(card_attribute(0, "reason", reason, sizeof(reason)) == 0);
	fd = card_open(0, O_NONBLOCK);
	CHECK_MSG(fd >= 0, "free, but cannot be opened: %s", strerror(-fd));
}

TEST(slow_importer_delays_the_device_and_close_does_not_wait, .driver = EMULATED)
{
	struct card_buffer buffer;
	double start;
	int peer, fd;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 3000);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	start = vm_now();
	close(buffer.fd);
	CHECK_MSG(vm_now() - start < 1.5, "close waited %.1f s for an importer", vm_now() - start);
	CHECK(card_state_is(0, "draining"));
	CHECK_MSG(host_find(0, secret) >= 0, "memory was scrubbed under an importer that still maps it");
	/* open waits for the drain and the scrub. */
	fd = card_open(0, 0);
	CHECK_MSG(fd >= 0, "open did not wait: %s", strerror(-fd));
	CHECK(vm_now() - start >= 2.5);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(open_gives_up_after_open_wait_s, .driver = EMULATED " open_wait_s=2")
{
	struct card_buffer buffer;
	double start;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	close(buffer.fd);
	start = vm_now();
	CHECK_EQ(card_open(0, 0), -EBUSY);
	CHECK_MSG(vm_now() - start >= 1.9, "open gave up after %.1f s", vm_now() - start);
	CHECK_EQ(peer_unmap(peer), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

TEST(detach_of_an_importer_frees_the_device, .driver = EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.fd);
	CHECK(card_state_is(0, "draining"));
	/* As the death of the importing process does: all at once. */
	close(peer);
	close(buffer.dmabuf);
	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK(host_is_zero(0, 0, 0));
}

TEST(one_slow_importer_of_two_exports_holds_the_device, .driver = EMULATED)
{
	struct card_buffer buffer;
	int first, second, more;

	card_buffer_make(&buffer, 0, MIB);
	more = card_export(buffer.fd, buffer.va, MIB / 2, MIB / 2);
	CHECK(more >= 0);
	first = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	second = peer_of(more, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	close(buffer.fd);
	CHECK_EQ(peer_map(first), -ENODEV);
	vm_sleep(0.5);
	CHECK(card_state_is(0, "draining"));
	CHECK_EQ(peer_unmap(second), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
}

/* --- waiting for importers ----------------------------------------------------------------- */
static int revoke_with(int fd, struct gaudi_p2p_revoke *args)
{
	return ioctl(fd, DRM_IOCTL_GAUDI_P2P_REVOKE, args) ? -errno : 0;
}

TEST(revoke_waits_until_a_slow_importer_has_let_go, .driver = EMULATED)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_FD, .timeout_ms = 20000 };
	struct card_buffer buffer;
	double start;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 1000);
	args.fd = buffer.dmabuf;
	start = vm_now();
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.revoked, 1);
	CHECK_EQ(args.held, 0);
	CHECK_MSG(vm_now() - start > 0.8, "it took %.1f s only", vm_now() - start);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
	close(peer);
}

TEST(revoke_gives_up_after_its_time_and_can_be_asked_again, .driver = HOLD)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_ADDR, .timeout_ms = 700 };
	struct card_buffer buffer;
	double start;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	args.addr = buffer.va;
	start = vm_now();
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.revoked, 1);
	CHECK_EQ(args.held, 1);
	CHECK_MSG(vm_now() - start > 0.6 && vm_now() - start < 5, "it took %.1f s", vm_now() - start);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), -EINVAL);
	/* As it came back. */
	args.timeout_ms = 0;
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.revoked, 0);
	CHECK_EQ(args.held, 1);
	CHECK_EQ(peer_unmap(peer), 0);
	args.timeout_ms = 20000;
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.held, 0);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
}

TEST(revoke_without_time_does_not_wait, .driver = EMULATED)
{
	struct card_buffer buffer;
	double start;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 2000);
	start = vm_now();
	CHECK_EQ(card_revoke_wait(buffer.fd, 0), 1);
	CHECK(vm_now() - start < 1.5);
	CHECK_EQ(peer_unmap(peer), 0);
}

TEST(revoke_waits_for_what_was_asked_only, .driver = EMULATED)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_FD, .timeout_ms = 20000 };
	struct card_buffer buffer;
	int held, free_one, peer;
	double start;

	card_buffer_make(&buffer, 0, MIB);
	held = card_export(buffer.fd, buffer.va, 0, MIB);
	free_one = card_export(buffer.fd, buffer.va, 0, MIB);
	peer = peer_of(held, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	start = vm_now();
	args.fd = free_one;
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.held, 0);
	CHECK(vm_now() - start < 5);
	/* One that is made during the wait is not asked for either: the address is, at that moment. */
	args = (struct gaudi_p2p_revoke){ .flags = GAUDI_P2P_REVOKE_ADDR, .addr = buffer.va };
	CHECK_EQ(revoke_with(buffer.fd, &args), 0);
	CHECK_EQ(args.revoked, 2);
	CHECK_EQ(args.held, 1);
	free_one = card_export(buffer.fd, buffer.va, 0, MIB);
	CHECK(free_one >= 0);
	CHECK_EQ(peer_unmap(peer), 0);
	peer_of(free_one, EDU_PEER_DYNAMIC, 0);
}

TEST(revoke_waits_for_announced_work, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_FENCE, 0);
	CHECK_EQ(card_revoke_wait(buffer.fd, 300), 1);
	CHECK_EQ(peer_signal(peer), 0);
	CHECK_EQ(card_revoke_wait(buffer.fd, 20000), 0);
}

static volatile sig_atomic_t caught;

static void catch (int number)
{
	(void)number;
	caught = 1;
}

static void *interrupts(void *argument)
{
	vm_sleep(0.5);
	pthread_kill(*(pthread_t *)argument, SIGUSR1);
	return NULL;
}

static void check_signal(int flags)
{
	struct sigaction action = { .sa_handler = catch, .sa_flags = flags };
	pthread_t self = pthread_self(), thread;
	struct card_buffer buffer;
	double start;
	int peer;

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	CHECK_EQ(pthread_create(&thread, NULL, interrupts, &self), 0);
	start = vm_now();
	CHECK_EQ(card_revoke_wait(buffer.fd, 30000), 1);
	CHECK(caught);
	CHECK_MSG(vm_now() - start < 10, "the signal did not end the wait");
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(peer_unmap(peer), 0);
}

TEST(signal_ends_the_wait_of_revoke_without_an_error, .driver = EMULATED)
{
	check_signal(0);
}

TEST(signal_that_restarts_calls_does_not_restart_revoke, .driver = EMULATED)
{
	check_signal(SA_RESTART);
}

static void revokes_for_ever(void *argument)
{
	const struct card_buffer *buffer = argument;

	card_revoke_wait(buffer->fd, ~0U);
}

TEST(revoke_that_waits_can_be_killed_and_keeps_nothing, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer, status;
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	child = vm_child(false, revokes_for_ever, &buffer);
	vm_sleep(0.5);
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	CHECK_EQ(kill(child, SIGKILL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	/* Nor did it hold any lock meanwhile. */
	child = vm_child(false, revokes_for_ever, &buffer);
	vm_sleep(0.3);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), -EINVAL);
	CHECK_EQ(peer_unmap(peer), 0);
	vm_child_end(child);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
}

static void revokes_until_the_lease_ends(void *argument)
{
	const struct card_buffer *buffer = argument;

	CHECK_EQ(card_revoke_wait(buffer->fd, 60000), -ENODEV);
}

TEST(end_of_the_lease_ends_the_wait_of_revoke, .driver = EMULATED)
{
	struct card_buffer buffer;
	char path[128], pci[32];
	int peer;
	pid_t child;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	child = vm_child(false, revokes_until_the_lease_ends, &buffer);
	vm_sleep(0.5);
	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/gaudi_p2p/unbind");
	CHECK_EQ(vm_write(path, pci), 0);
	vm_child_end(child);
	CHECK_EQ(peer_unmap(peer), 0);
	close(peer);
	close(buffer.dmabuf);
	close(buffer.fd);
	CHECK_EQ(vm_write("/sys/bus/pci/drivers/gaudi_p2p/bind", pci), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
}
