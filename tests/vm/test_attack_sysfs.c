// SPDX-License-Identifier: Apache-2.0
/* What programs without rights learn of others. */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

#include "test_attack_pod.h"
#include "vm.h"

#define EMULATED "emulated=1"

static void reads_as_nobody(void *argument)
{
	char text[128];

	(void)argument;
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setgid(65534), 0);
	CHECK_EQ(setuid(65534), 0);
	CHECK_EQ(card_attribute(0, "owner", text, sizeof(text)), -EACCES);
	CHECK_EQ(card_attribute(0, "owner_pid", text, sizeof(text)), -EACCES);
	CHECK(card_attribute(0, "state", text, sizeof(text)) > 0);
	CHECK(card_attribute(0, "allocated_bytes", text, sizeof(text)) > 0);
	CHECK(card_attribute(0, "reason", text, sizeof(text)) >= 0);
	CHECK_EQ(vm_write("/sys/module/gaudi_p2p/parameters/nonrevocable", "hold"), -EACCES);
	CHECK_EQ(vm_write("/sys/module/gaudi_p2p/parameters/cpu_mmap", "1"), -EACCES);
}

TEST(nobody_but_root_learns_who_owns_a_card, .driver = EMULATED)
{
	struct card_buffer buffer;

	card_buffer_make(&buffer, 0, CARD_PAGE);
	vm_child_end(vm_child(true, reads_as_nobody, NULL));
}

/* The reason of a drain names the importer's device, and neither pod nor process. */
TEST(reason_of_a_drain_names_no_pod, .driver = EMULATED " nonrevocable=hold")
{
	struct victim owner;
	char text[128];
	long peer;

	victim_start(&owner, 0, CARD_PAGE);
	peer = POD(&owner.pod, pod_import, owner.dmabuf, EDU_PEER_PINNED, 0);
	CHECK_EQ(POD(&owner.pod, pod_close, owner.fd), 0);
	CHECK(card_attribute(0, "reason", text, sizeof(text)) > 0);
	vm_note("reason: %s", text);
	CHECK(!strstr(text, "netns"));
	CHECK_EQ(card_attribute(0, "owner", text, sizeof(text)), 0);
	CHECK_EQ(card_attribute(0, "owner_pid", text, sizeof(text)), 0);
	CHECK_EQ(POD(&owner.pod, pod_peer_unmap, peer), 0);
	WAIT_FOR(card_state_is(0, "free"), 30);
}
