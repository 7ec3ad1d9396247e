// SPDX-License-Identifier: Apache-2.0
/*
 * Random calls: what tests/fuzz/driver.h says. SEED, FUZZ_CALLS and FUZZ_SECONDS in the environment of `make vm` reach
 * the guest.
 *
 * vm-modules: edu_peer
 * vm-sources: tests/fuzz/driver*.c
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../fuzz/driver.h"
#include "vm.h"

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

TEST(random_calls_of_many_processes_break_nothing, .driver = "emulated=1 open_wait_s=1", .seconds = 240,
     .long_seconds = 7200)
{
	bool debug = !access("/sys/kernel/debug/kmemleak", F_OK);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	fuzz_driver(&(struct fuzz_options){
		.seed = setting("SEED", (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000),
		.calls = setting("FUZZ_CALLS", vm_long() ? 1000000
					       : debug	 ? 20000
							 : 100000),
		.seconds = (unsigned int)setting("FUZZ_SECONDS", 0),
	});
}
