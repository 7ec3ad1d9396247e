// SPDX-License-Identifier: Apache-2.0
/*
 * Cards and peer below one switch: peer-to-peer without the root, and all of them gone at once.
 *
 * vm-modules: edu_peer
 * vm-topology: switch
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>

#include "card.h"
#include "slot.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define HOLD EMULATED " nonrevocable=hold"
#define MIB (1u << 20)

static const char secret[] = "the owner's secret";

TEST(peer_below_the_same_switch_reaches_the_card, .driver = EMULATED)
{
	struct card_buffer buffer;
	char back[sizeof(secret)] = "";
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 4096, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
	CHECK_EQ(peer_read(peer, 4096, back, sizeof(back)), 0);
	CHECK(!memcmp(back, secret, sizeof(secret)));
}

/* All that can be alive on card 0, and a DMA loop into card 1. */
struct scene {
	struct card_buffer buffer, other;
	uint8_t *memory;
	int control, peer[EDU_PEER_KINDS];
	pid_t writer, loop;
};

static void write_for_ever(void *argument)
{
	volatile uint8_t *memory = argument;
	unsigned int i;

	for (i = 0;; i++)
		memory[i % MIB] = (uint8_t)(i | 1);
}

static void dma_for_ever(void *argument)
{
	while (peer_write(*(int *)argument, 0, secret, sizeof(secret)) != -ENODEV)
		;
	vm_sleep(3600);
}

static void scene_begin(struct scene *s)
{
	unsigned int kind;
	int peer;

	card_buffer_make(&s->buffer, 0, MIB);
	card_buffer_make(&s->other, 1, MIB);
	s->control = card_open_control(0);
	CHECK(s->control >= 0);
	s->memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, s->buffer.dmabuf, 0);
	CHECK(s->memory != MAP_FAILED);
	for (kind = 0; kind < EDU_PEER_KINDS; kind++) {
		/* That one is a bug to warn of, not a way to use a dma-buf. */
		s->peer[kind] =
			kind == EDU_PEER_KERNEL_UNPINNED ? peer_open() : peer_of(s->buffer.dmabuf, kind, 0);
	}
	peer = peer_of(s->other.dmabuf, EDU_PEER_PINNED, 0);
	s->writer = vm_child(false, write_for_ever, s->memory);
	s->loop = vm_child(false, dma_for_ever, &peer);
	close(peer);
	WAIT_FOR(host_find(1, secret) >= 0, 10);
}

static void scene_check_over(struct scene *s)
{
	struct edu_peer_state state;
	uint64_t number;
	unsigned int kind;
	int status;

	WAIT_FOR(!card_is_there(0) && !card_is_there(1), 60);
	WAIT_FOR(waitpid(s->writer, &status, WNOHANG) == s->writer, 10);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	CHECK(raises_sigbus(s->memory));
	CHECK_EQ(card_alloc(s->buffer.fd, MIB, 0, &number), -ENODEV);
	CHECK_EQ(card_export(s->other.fd, s->other.va, 0, MIB), -ENODEV);
	CHECK_EQ(card_info(s->control, HL_INFO_DEVICE_STATUS, &number, sizeof(number)), -ENODEV);
	for (kind = 0; kind < EDU_PEER_KINDS; kind++) {
		peer_state(s->peer[kind], &state);
		CHECK_EQ(state.attached, 0);
		CHECK_EQ(peer_attach(s->peer[kind], s->buffer.dmabuf, kind, 0), -ENODEV);
	}
	host_plant(0, 0, 0, 0x5a);
	host_plant(1, 0, 0, 0x5a);
	vm_sleep(0.3);
	CHECK(host_is_filled(0, 0, 0, 0x5a) && host_is_filled(1, 0, 0, 0x5a));
	kill(s->loop, SIGKILL);
	waitpid(s->loop, NULL, 0);
}

/* The kernel forgets the switch with all below it, and finds it again: with live files of before. */
TEST(switch_forgotten_and_found_again_has_clean_cards, .driver = HOLD, .seconds = 120)
{
	struct edu_peer_state state;
	char pci[32], path[96];
	struct scene s;
	unsigned int i;
	int fd, peer;

	scene_begin(&s);
	card_pci(0, pci, sizeof(pci));
	/* Above the card its port, above that the switch's upstream port. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/../../remove", pci);
	CHECK_EQ(vm_write(path, "1"), 0);
	scene_check_over(&s);
	CHECK_EQ(vm_write("/sys/bus/pci/rescan", "1"), 0);
	for (i = 0; i < 2; i++) {
		fd = card_open(i, 0);
		CHECK_MSG(fd >= 0, "card %u: %s", i, strerror(-fd));
		CHECK(host_is_zero(i, 0, 0));
		close(fd);
	}
	peer_state(s.peer[0], &state);
	CHECK_EQ(state.attached, 0);
	WAIT_FOR(access("/dev/edu_peer", F_OK) == 0, 30);
	card_buffer_make(&s.buffer, 0, MIB);
	peer = peer_of(s.buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, secret, sizeof(secret)), 0);
	CHECK(host_find(0, secret) >= 0);
}

/* The kernel takes the peer away first, then the cards, then the NICs; the hardware was gone before. */
TEST(switch_ripped_out_takes_cards_and_peer_together, .driver = HOLD, .seconds = 120)
{
	struct scene s;

	scene_begin(&s);
	slot_rip_out(SLOT_SWITCH);
	scene_check_over(&s);
}

TEST(switch_removed_in_good_order_takes_cards_and_peer_together, .driver = HOLD, .seconds = 120,
     .only_long = true)
{
	struct scene s;

	scene_begin(&s);
	slot_remove(SLOT_SWITCH);
	scene_check_over(&s);
}
