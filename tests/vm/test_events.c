// SPDX-License-Identifier: Apache-2.0
/*
 * The events that the device plugin lives on, and the life of the module.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)

static int events_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct timeval limit = { .tv_sec = 20 };
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	CHECK(sock >= 0);
	CHECK_EQ(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQ(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	return sock;
}

/* The next change of a card's state must be this one. */
static void events_expect(int sock, unsigned int card, const char *state)
{
	char message[4096], device[64], wanted[64];
	const char *found, *p;
	ssize_t n;

	snprintf(device, sizeof(device), "/accel/accel%d", card_index(card));
	snprintf(wanted, sizeof(wanted), "GAUDI_STATE=%s", state);
	for (;;) {
		n = recv(sock, message, sizeof(message) - 1, 0);
		CHECK_MSG(n > 0, "no event for %s", wanted);
		message[n] = 0;
		if (strncmp(message, "change@", 7) || strlen(message) < strlen(device) ||
		    strcmp(message + strlen(message) - strlen(device), device))
			continue;
		found = NULL;
		for (p = message; p < message + n; p += strlen(p) + 1)
			if (!strncmp(p, "GAUDI_STATE=", 12))
				found = p;
		CHECK_MSG(found, "a change of %s without a state", device);
		CHECK_MSG(!strcmp(found, wanted), "event %s, not %s", found, wanted);
		return;
	}
}

TEST(every_change_of_state_is_an_event, .driver = EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	int sock, peer;

	WAIT_FOR(card_state_is(0, "free"), 30);
	sock = events_open();
	card_buffer_make(&buffer, 0, MIB);
	events_expect(sock, 0, "owned");
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	close(buffer.dmabuf);
	close(buffer.fd);
	events_expect(sock, 0, "draining");
	close(peer);
	events_expect(sock, 0, "scrubbing");
	events_expect(sock, 0, "free");
}

TEST(module_stays_while_anything_of_it_is_open, .driver = EMULATED)
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(vm_rmmod("gaudi_p2p"), -EWOULDBLOCK);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	close(buffer.fd);
	CHECK_EQ(vm_rmmod("gaudi_p2p"), -EWOULDBLOCK);
	close(buffer.dmabuf);
	/* The importer's attachment holds the dma-buf, and that the module. */
	CHECK_EQ(vm_rmmod("gaudi_p2p"), -EWOULDBLOCK);
	close(peer);
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 10);
}

TEST(module_loads_and_unloads_again_and_again)
{
	int i;

	for (i = 0; i < 5; i++) {
		CHECK_EQ(vm_insmod("gaudi_p2p", i % 2 ? "emulated=1 virtual=2 virtual_mb=8" : "emulated=1"),
			 0);
		if (i >= 2)
			WAIT_FOR(card_state_is(0, "free"), 30);
		/* In the first rounds the scrub of the cards is cut short. */
		WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 20);
	}
}

TEST(without_parameters_no_card_is_touched, .driver = "")
{
	CHECK(!card_is_there(0));
	host_plant(0, 0, 4096, 0x42);
	vm_sleep(0.5);
	CHECK_EQ(host_peek(0, 100), 0x42);
	CHECK_EQ(access("/dev/accel/accel0", F_OK), -1);
}

TEST(nonsense_parameters_are_refused)
{
	CHECK_EQ(vm_insmod("gaudi_p2p", "nonrevocable=maybe"), -EINVAL);
	CHECK_EQ(vm_insmod("gaudi_p2p", "virtual=65"), -EINVAL);
	CHECK_EQ(vm_insmod("gaudi_p2p", "virtual=1 virtual_mb=0"), -EINVAL);
	CHECK_EQ(vm_rmmod("gaudi_p2p"), -ENOENT);
}
