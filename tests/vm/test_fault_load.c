// SPDX-License-Identifier: Apache-2.0
/* No memory: loading the module, binding cards, and what sysfs and procfs tell. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "test_fault_nth.h"
#include "vm.h"

#define MIB (1ul << 20)

/* --- the module ------------------------------------------------------------------------------------- */
static long call_load(void *context)
{
	int r = vm_insmod("gaudi_p2p", context);

	/* Whatever could not be made, it can be taken away again. */
	if (!r)
		WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 30);
	return r;
}

/*
 * The kernel's own part of loading comes first and makes hundreds of allocations. They are left out, except for the last
 * few, unless there is time: with parameters that make init fail at once the rest is not run. Then also only every fifth
 * is failed: a module is loaded each time.
 */
static void load_each(const char *what, char *parameters)
{
	unsigned int all = count_allocations(call_load, parameters), before = 1;

	if (!vm_long()) {
		nth_set(1000000);
		CHECK_EQ(vm_insmod("gaudi_p2p", "virtual=1000"), -EINVAL);
		before = 1000000 - nth_left();
		before = before > 8 ? before - 8 : 1;
	}
	vm_note("%s: %u allocations in all, from %u on", what, all, before);
	CHECK(all > before);
	fail_some(what, before, vm_long() ? 1 : 5, call_load, NULL, parameters);
}

/* One card is enough. */
static void keep_driver_from(unsigned int card, const char *driver)
{
	char pci[32], path[128];

	card_pci(card, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", pci);
	CHECK_EQ(vm_write(path, driver), 0);
}

TEST(module_loads_without_memory_or_not_at_all_emulated, .seconds = 300, .long_seconds = 3600)
{
	faults_begin();
	keep_driver_from(1, "nobody");
	load_each("emulated=1", "emulated=1");
	CHECK_EQ(vm_insmod("gaudi_p2p", "emulated=1"), 0);
	check_whole();
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 30);
	keep_driver_from(1, "\n");
}

TEST(module_loads_without_memory_or_not_at_all_virtual, .seconds = 300, .long_seconds = 3600)
{
	faults_begin();
	load_each("virtual=1", "virtual=1 virtual_mb=1");
	CHECK_EQ(vm_insmod("gaudi_p2p", "virtual=1 virtual_mb=1"), 0);
	WAIT_FOR(access("/dev/accel/accel0", F_OK) == 0, 10);
	WAIT_FOR(vm_rmmod("gaudi_p2p") == 0, 30);
}

/* --- binding ------------------------------------------------------------------------------------------ */
#define DRIVER "/sys/bus/pci/drivers/gaudi_p2p/"

static long call_bind(void *context)
{
	return vm_write(DRIVER "bind", context);
}

static void after_bind(void *context, long r)
{
	char path[128];

	snprintf(path, sizeof(path), DRIVER "%s", (char *)context);
	CHECK_EQ(access(path, F_OK) == 0, r >= 0);
	if (r >= 0)
		CHECK_EQ(vm_write(DRIVER "unbind", context), 0);
}

static long call_unbind(void *context)
{
	return vm_write(DRIVER "unbind", context);
}

/* The file's own write may find no memory, and then nothing was begun; what was begun is done to the end. */
static void after_unbind(void *context, long r)
{
	if (r < 0) {
		CHECK(card_is_there(0));
		return;
	}
	CHECK_EQ(vm_write(DRIVER "bind", context), 0);
	WAIT_FOR(card_is_there(0), 10);
}

TEST(bind_without_memory_leaves_an_unbound_card, .driver = "emulated=1", .seconds = 300)
{
	char name[32];

	faults_begin();
	card_pci(0, name, sizeof(name));
	CHECK_EQ(vm_write(DRIVER "unbind", name), 0);
	CHECK(fail_each("bind", call_bind, after_bind, name) >= 20);
	CHECK_EQ(vm_write(DRIVER "bind", name), 0);
	check_whole();
	fail_each("unbind", call_unbind, after_unbind, name);
	check_whole();
}

/* With an owner and importers, so that unbind has something to take away. */
struct bound {
	char name[32];
	struct card_buffer buffer;
	int peer;
};

static void bound_make(struct bound *b)
{
	card_buffer_make(&b->buffer, 0, MIB);
	b->peer = peer_of(b->buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
}

static long call_unbind_used(void *context)
{
	struct bound *b = context;

	return vm_write(DRIVER "unbind", b->name);
}

static void after_unbind_used(void *context, long r)
{
	struct bound *b = context;
	uint64_t handle;

	if (r < 0) {
		CHECK(card_state_is(0, "owned"));
		return;
	}
	CHECK_EQ(card_alloc(b->buffer.fd, MIB, 0, &handle), -ENODEV);
	CHECK_EQ(peer_map(b->peer), -ENODEV);
	close(b->peer);
	close(b->buffer.dmabuf);
	close(b->buffer.fd);
	CHECK_EQ(vm_write(DRIVER "bind", b->name), 0);
	WAIT_FOR(card_is_there(0), 10);
	WAIT_FOR(card_state_is(0, "free"), 30);
	bound_make(b);
}

TEST(unbind_without_memory_takes_all_away, .driver = "emulated=1", .seconds = 300)
{
	struct bound b;

	faults_begin();
	card_pci(0, b.name, sizeof(b.name));
	bound_make(&b);
	fail_each("unbind of a card in use", call_unbind_used, after_unbind_used, &b);
	close(b.peer);
	close(b.buffer.dmabuf);
	close(b.buffer.fd);
	check_whole();
}

/* --- reset --------------------------------------------------------------------------------------------- */
static long call_reset(void *context)
{
	return vm_write(context, "1");
}

/* Whether it was reset or not, it can be used again; a lease that it has ended is over. */
static void after_reset(void *context, long r)
{
	(void)context;
	(void)r;
	WAIT_FOR(card_state_is(0, "free"), 60);
}

TEST(reset_without_memory_leaves_a_card_that_works, .driver = "emulated=1", .seconds = 300)
{
	char path[128], pci[32];

	faults_begin();
	card_pci(0, pci, sizeof(pci));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", pci);
	WAIT_FOR(card_state_is(0, "free"), 60);
	fail_each("reset", call_reset, after_reset, path);
	check_whole();
}

/* --- what is told ---------------------------------------------------------------------------------------- */
static long call_read(void *context)
{
	char text[1024];

	return vm_read(context, text, sizeof(text));
}

TEST(files_that_tell_tell_without_memory_nothing_wrong, .driver = "emulated=1", .seconds = 120)
{
	static const char *const names[] = { "state",	       "reason",      "allocated_bytes",
					     "exported_bytes", "owner",	      "owner_pid",
					     "status",	       "dirty_bytes", "pci_addr" };
	struct card_buffer buffer;
	char path[128];
	unsigned int i;

	faults_begin();
	card_buffer_make(&buffer, 0, MIB);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/%s", card_index(0), names[i]);
		fail_each(names[i], call_read, NULL, path);
	}
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", buffer.fd);
	fail_each("fdinfo", call_read, NULL, path);
	close(buffer.dmabuf);
	close(buffer.fd);
	check_whole();
}
