// SPDX-License-Identifier: Apache-2.0
/*
 * The driver comes and goes: loaded again, bound again and again, after another driver, with importers of a former binding
 * alive. It never goes while something of it is in use, and never trusts what it finds.
 *
 * vm-modules: edu_peer squatter
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"
#include "event.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define PCI "/sys/bus/pci/devices/"
#define CARD 1
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

static void check_next_owner(unsigned int card)
{
	int fd = card_open(card, 0);

	CHECK_MSG(fd >= 0, "open: %s", strerror(-fd));
	CHECK_MSG(host_is_zero(card, 0, 0), "the next owner gets bytes of somebody else");
	close(fd);
}

static void reload(void)
{
	WAIT_FOR(!vm_rmmod("gaudi_p2p"), 10);
	CHECK_EQ(vm_insmod("gaudi_p2p", EMULATED), 0);
}

/* --- loaded again ---------------------------------------------------------------------- */
TEST(reload_scrubs_what_was_left_behind, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, CARD, 48 * MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	close(peer);
	close(buffer.dmabuf);
	close(buffer.fd);
	/* In the middle of the scrub. */
	reload();
	check_next_owner(CARD);

	WAIT_FOR(!vm_rmmod("gaudi_p2p"), 10);
	host_plant(CARD, 0, 0, 0x42);
	CHECK_EQ(vm_insmod("gaudi_p2p", EMULATED), 0);
	check_next_owner(CARD);
}

/* What keeps the module: each thing alone, made from a buffer whose other files are closed. */
static void check_keeps_the_module(const char *what)
{
	int r = vm_rmmod("gaudi_p2p");

	CHECK_MSG(r == -EAGAIN, "the module goes while there is %s: %s", what, strerror(-r));
}

TEST(module_stays_while_anything_of_it_lives, .driver = HOLD)
{
	struct card_buffer buffer;
	uint8_t *memory;
	int fd, peer;

	fd = card_open(CARD, 0);
	check_keeps_the_module("an owner");
	close(fd);

	fd = card_open_control(CARD);
	check_keeps_the_module("a control file");
	close(fd);

	card_buffer_make(&buffer, CARD, MIB);
	close(buffer.fd);
	check_keeps_the_module("a dma-buf");
	memory = mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory == MAP_FAILED);
	close(buffer.dmabuf);

	card_buffer_make(&buffer, CARD, MIB);
	memory = mmap(NULL, MIB, PROT_READ, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	close(buffer.dmabuf);
	close(buffer.fd);
	check_keeps_the_module("a mapping");
	CHECK_EQ(munmap(memory, MIB), 0);

	card_buffer_make(&buffer, CARD, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.dmabuf);
	close(buffer.fd);
	event_unbind.happen(CARD);
	check_keeps_the_module("an importer of a card that is not bound");
	close(peer);

	WAIT_FOR(!vm_rmmod("gaudi_p2p"), 10);
}

/* Parameters that cannot be are found before anybody can open a card, since a failing load waits for nobody. */
TEST(load_that_fails_shows_nobody_a_card)
{
	double end = vm_now() + 1.5;
	unsigned int tries = 0;
	char path[64];
	pid_t opener;
	int i;

	opener = fork();
	CHECK(opener >= 0);
	if (!opener) {
		for (i = 0;; i = (i + 1) % 4) {
			snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
			if (open(path, O_RDWR) >= 0 || errno != ENOENT)
				_exit(1);
		}
	}
	while (vm_now() < end) {
		CHECK_EQ(vm_insmod("gaudi_p2p", "emulated=1 virtual=65"), -EINVAL);
		CHECK_EQ(vm_insmod("gaudi_p2p", "emulated=1 virtual=1 virtual_mb=0"), -EINVAL);
		tries++;
	}
	CHECK_EQ(waitpid(opener, &i, WNOHANG), 0);
	kill(opener, SIGKILL);
	vm_note("%u tries", tries);
}

/* --- bound again ------------------------------------------------------------------------- */
static void use_for_ever(void *argument)
{
	uint64_t handle, va;
	int fd, dmabuf;

	(void)argument;
	for (;;) {
		fd = card_open(CARD, 0);
		if (fd < 0)
			continue;
		if (!card_alloc(fd, MIB, 0, &handle) && !card_map(fd, handle, &va)) {
			dmabuf = card_export(fd, va, 0, MIB);
			if (dmabuf >= 0)
				close(dmabuf);
		}
		close(fd);
	}
}

TEST(bound_again_and_again_while_somebody_opens, .driver = EMULATED)
{
	pid_t user[3];
	int i;

	for (i = 0; i < 3; i++)
		user[i] = vm_child(false, use_for_ever, NULL);
	for (i = 0; i < 15; i++) {
		event_unbind.happen(CARD);
		event_unbind.undo(CARD);
		vm_sleep(0.01 * (i % 5));
	}
	for (i = 0; i < 3; i++) {
		kill(user[i], SIGKILL);
		waitpid(user[i], NULL, 0);
	}
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	check_next_owner(CARD);
}

TEST(module_id_survives_a_dead_file, .driver = EMULATED)
{
	char before[16], after[16];
	int fd = card_open(CARD, 0);

	CHECK(card_attribute(CARD, "module_id", before, sizeof(before)) > 0);
	event_unbind.happen(CARD);
	event_unbind.undo(CARD);
	CHECK(card_attribute(CARD, "module_id", after, sizeof(after)) > 0);
	CHECK_MSG(!strcmp(before, after), "module_id %s became %s", before, after);
	close(fd);
}

/* --- after another driver ------------------------------------------------------------------ */
static void set_override(const char *pci, const char *driver)
{
	char path[96];

	snprintf(path, sizeof(path), PCI "%s/driver_override", pci);
	CHECK_EQ(vm_write(path, driver), 0);
}

TEST(bytes_of_the_previous_driver_are_gone, .driver = EMULATED)
{
	char pci[32];

	card_pci(CARD, pci, sizeof(pci));
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	event_unbind.happen(CARD);
	set_override(pci, "squatter");
	CHECK_EQ(vm_write("/sys/bus/pci/drivers/squatter/bind", pci), 0);
	CHECK(host_is_filled(CARD, 0, 0, 0x6b));
	CHECK_EQ(vm_write("/sys/bus/pci/drivers/squatter/unbind", pci), 0);
	set_override(pci, "\n");
	event_unbind.undo(CARD);
	check_next_owner(CARD);
}

/* What root mapped by sysfs while nobody drove the card. */
TEST(sysfs_mapping_of_the_memory_ends_with_the_binding, .driver = EMULATED)
{
	char pci[32], path[96];
	uint8_t *memory;
	int fd;

	card_pci(CARD, pci, sizeof(pci));
	event_unbind.happen(CARD);
	snprintf(path, sizeof(path), PCI "%s/enable", pci);
	CHECK_EQ(vm_write(path, "1"), 0);
	snprintf(path, sizeof(path), PCI "%s/resource2", pci);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK_MSG(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	memcpy(memory, secret, sizeof(secret));
	CHECK(host_find(CARD, secret) >= 0);
	snprintf(path, sizeof(path), PCI "%s/enable", pci);
	CHECK_EQ(vm_write(path, "0"), 0);
	event_unbind.undo(CARD);
	check_next_owner(CARD);
	/* Kernels with STRICT_DEVMEM keep root from a driver's memory. */
	if (mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		CHECK(raises_sigbus(memory));
	else
		vm_note("this kernel lets root map a driver's memory");
}

/* --- importers of a former binding ------------------------------------------------------------ */
/* The card's owner is gone, two importers that nobody can tell anything are not. */
static void leave_ghosts(int peer[2])
{
	struct card_buffer buffer;
	int i;

	card_buffer_make(&buffer, CARD, MIB);
	for (i = 0; i < 2; i++)
		peer[i] = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(peer_write(peer[0], 0, secret, sizeof(secret)), 0);
	close(buffer.dmabuf);
	close(buffer.fd);
	event_unbind.happen(CARD);
}

static void check_waits_for_ghosts(void)
{
	char reason[128];

	CHECK(card_state_is(CARD, "draining"));
	CHECK_EQ(card_open(CARD, O_NONBLOCK), -EBUSY);
	CHECK(card_attribute(CARD, "reason", reason, sizeof(reason)) > 0);
	CHECK_MSG(strstr(reason, "before the device was bound"), "reason: %s", reason);
	CHECK_MSG(host_find(CARD, secret) >= 0, "memory was scrubbed under an importer");
}

static void let_ghosts_go(int peer[2])
{
	close(peer[0]);
	vm_sleep(0.2);
	CHECK_MSG(!card_state_is(CARD, "free"), "one of two importers of a former binding is not enough");
	close(peer[1]);
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	check_next_owner(CARD);
}

TEST(card_bound_twice_waits_for_importers_of_the_first_binding, .driver = HOLD)
{
	int peer[2];

	leave_ghosts(peer);
	event_unbind.undo(CARD);
	check_waits_for_ghosts();
	event_unbind.happen(CARD);
	event_unbind.undo(CARD);
	check_waits_for_ghosts();
	let_ghosts_go(peer);
}

TEST(card_pulled_and_plugged_waits_for_importers_of_the_first_binding, .driver = HOLD)
{
	int peer[2];

	leave_ghosts(peer);
	event_unbind.undo(CARD);
	check_waits_for_ghosts();
	event_pull.happen(CARD);
	event_pull.undo(CARD);
	/* It got the same addresses; with others those importers could not reach it. */
	check_waits_for_ghosts();
	let_ghosts_go(peer);
}

TEST(reset_while_draining_goes_on_draining, .driver = HOLD)
{
	int peer[2], i;

	leave_ghosts(peer);
	event_unbind.undo(CARD);
	for (i = 0; i < 3; i++)
		event_reset.happen(CARD);
	vm_sleep(0.1);
	check_waits_for_ghosts();
	let_ghosts_go(peer);
}

/* The importer's device goes, and with it what kept the card from its next owner. */
TEST(pulled_peer_lets_the_card_go, .driver = HOLD)
{
	struct edu_peer_state state;
	int peer[2];

	leave_ghosts(peer);
	event_unbind.undo(CARD);
	check_waits_for_ghosts();
	host_peer_remove();
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	check_next_owner(CARD);
	peer_state(peer[0], &state);
	CHECK_EQ(state.attached, 0);
	CHECK_EQ(peer_map(peer[0]), -ENODEV);
	host_peer_add();
	WAIT_FOR(access("/dev/edu_peer", F_OK) == 0, 30);
}
