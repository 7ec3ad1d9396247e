// SPDX-License-Identifier: Apache-2.0
/* What DEL says of the lease that it let end. */
#include "../unit.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "../../../cni-rdma/lease.h"
#include "../fakefs.h"

#define PCI "0000:05:00.0"
#define CARD "devices/pci0000:00/" PCI "/"

static int setup(void **state)
{
	struct fakefs *fs = fakefs_new();

	fakefs_put(fs, CARD "state", "draining\n");
	fakefs_put(fs, CARD "reason", "an importer holds it\n");
	fakefs_put(fs, CARD "serial", "HL7\n");
	fakefs_put(fs, CARD "accel/accel3/dev", "261:3\n");
	fakefs_link(fs, CARD "driver", "../../../bus/pci/drivers/gaudi_p2p");
	fakefs_link(fs, CARD "accel/accel3/device", "../../../" PCI);
	fakefs_link(fs, "bus/pci/devices/" PCI, "../../../devices/pci0000:00/" PCI);
	fakefs_link(fs, "class/accel/accel3", "../../" CARD "accel/accel3");
	*state = fs;
	return 0;
}

static int teardown(void **state)
{
	fakefs_free(*state);
	return 0;
}

static struct lease_end await(struct fakefs *fs, const char *gaudi, unsigned timeout_ms)
{
	struct lease_end end;

	lease_await(fakefs_root(fs), gaudi, timeout_ms, &end);
	return end;
}

/* At once, as the kernel does it: nobody reads half a word. */
static void change_state(struct fakefs *fs, const char *text)
{
	fakefs_put(fs, CARD "state.new", text);
	assert_int_equal(renameat(fakefs_root(fs), CARD "state.new", fakefs_root(fs), CARD "state"), 0);
}

/* A worker that scrubs and is done. */
static void *end_it(void *arg)
{
	(void)usleep(30000);
	change_state(arg, "scrubbing\n");
	(void)usleep(30000);
	fakefs_put(arg, CARD "reason", "\n");
	change_state(arg, "free\n");
	return NULL;
}

static void del_waits_until_the_lease_is_over(void **state)
{
	static const char *const ids[] = { PCI, "HL7" };

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct lease_end end;
		pthread_t thread;

		fakefs_put(*state, CARD "state", "draining\n");
		assert_int_equal(pthread_create(&thread, NULL, end_it, *state), 0);
		end = await(*state, ids[i], 60000);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(end.state, LEASE_FREE);
		assert_true(end.ms >= 55 && end.ms < 60000);
		assert_string_equal(end.reason, "");
	}
}

static void del_waits_no_longer_than_it_may_and_has_the_reason(void **state)
{
	struct lease_end end = await(*state, PCI, 30);

	assert_int_equal(end.state, LEASE_DRAINING);
	assert_true(end.ms >= 30);
	assert_string_equal(end.reason, "an importer holds it");
	end = await(*state, PCI, 0);
	assert_int_equal(end.state, LEASE_DRAINING);
}

static void next_owner_and_lost_are_ends_too(void **state)
{
	fakefs_put(*state, CARD "state", "owned\n");
	assert_int_equal(await(*state, PCI, 60000).state, LEASE_OWNED);
	fakefs_put(*state, CARD "state", "lost\n");
	assert_int_equal(await(*state, "HL7", 60000).state, LEASE_LOST);
}

static void del_says_nothing_of_a_gaudi_without_leases(void **state)
{
	assert_int_equal(await(*state, "HL8", 60000).state, LEASE_UNKNOWN);
	assert_int_equal(await(*state, "0000:7f:00.0", 60000).state, LEASE_UNKNOWN);
	fakefs_put(*state, CARD "state", "some later word\n");
	assert_int_equal(await(*state, PCI, 60000).state, LEASE_UNKNOWN);
	fakefs_remove(*state, CARD "state");
	assert_int_equal(await(*state, PCI, 60000).state, LEASE_UNKNOWN);
	fakefs_remove(*state, "class");
	assert_int_equal(await(*state, "HL7", 60000).state, LEASE_UNKNOWN);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(del_waits_until_the_lease_is_over, setup, teardown),
	cmocka_unit_test_setup_teardown(del_waits_no_longer_than_it_may_and_has_the_reason, setup, teardown),
	cmocka_unit_test_setup_teardown(next_owner_and_lost_are_ends_too, setup, teardown),
	cmocka_unit_test_setup_teardown(del_says_nothing_of_a_gaudi_without_leases, setup, teardown),
};

UNIT_MAIN(tests)
