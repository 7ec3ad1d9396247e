// SPDX-License-Identifier: Apache-2.0
#include "test_fault_nth.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vm.h"

#define MIB (1ul << 20)
/* No call makes that many allocations; loading the module makes some thousand. */
#define MANY 100000

/* --- failing the n-th -------------------------------------------------------------------- */
static int nth_fd = -1;

static void knob(const char *parameter, const char *symbol)
{
	char line[256], path[128], address[32] = "";
	FILE *f = fopen("/proc/kallsyms", "re");

	CHECK(f);
	while (!address[0] && fgets(line, sizeof(line), f)) {
		char name[128], type, where[32];

		if (sscanf(line, "%31s %c %127s", where, &type, name) == 3 && !strcmp(name, symbol))
			snprintf(address, sizeof(address), "%s", where);
	}
	fclose(f);
	CHECK_MSG(address[0], "the kernel has no %s", symbol);
	snprintf(path, sizeof(path), "/sys/module/fault_knobs/parameters/%s", parameter);
	CHECK_EQ(vm_write(path, address), 0);
}

void faults_begin(void)
{
	knob("slab", "failslab");
	knob("page", "fail_page_alloc");
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(nth_fd >= 0);
}

void nth_set(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	CHECK_EQ(pwrite(nth_fd, text, len, 0), len);
}

unsigned int nth_left(void)
{
	char text[16] = "";

	CHECK(pread(nth_fd, text, sizeof(text) - 1, 0) > 0);
	nth_set(0);
	return (unsigned int)strtoul(text, NULL, 10);
}

unsigned int fail_some(const char *what, unsigned int first, unsigned int step, call_fn *call,
		       after_fn *after, void *context)
{
	unsigned int n, failed = 0, left;
	long r = 0;

	for (n = first; n < MANY; n += step) {
		nth_set(n);
		r = call(context);
		left = nth_left();
		failed += r < 0;
		if (after)
			after(context, r);
		if (left)
			break;
	}
	CHECK(n < MANY);
	CHECK_MSG(r >= 0, "%s fails by itself: %s", what, strerror((int)-r));
	vm_note("%s: %u allocations made to fail, %u calls failed", what, (n - first) / step, failed);
	return (n - first) / step;
}

unsigned int fail_each(const char *what, call_fn *call, after_fn *after, void *context)
{
	return fail_some(what, 1, 1, call, after, context);
}

unsigned int count_allocations(call_fn *call, void *context)
{
	long r = 0;

	nth_set(MANY);
	r = call(context);
	CHECK_MSG(r >= 0, "%s", strerror((int)-r));
	return MANY - nth_left();
}

/* --- the state of the card ------------------------------------------------------------------ */
long card_number(const char *name)
{
	char text[64];

	CHECK(card_attribute(0, name, text, sizeof(text)) >= 0);
	return strtol(text, NULL, 10);
}

void check_whole(void)
{
	struct card_buffer buffer;
	int peer;

	WAIT_FOR(card_state_is(0, "free"), 30);
	CHECK_EQ(card_number("allocated_bytes"), 0);
	CHECK_EQ(card_number("exported_bytes"), 0);
	CHECK_EQ(card_number("dirty_bytes"), 0);
	CHECK(host_is_zero(0, 0, 0));
	card_buffer_make(&buffer, 0, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	CHECK_EQ(peer_write(peer, 0, "cycle", 5), 0);
	close(peer);
	close(buffer.dmabuf);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
}
