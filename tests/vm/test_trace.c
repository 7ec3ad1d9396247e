// SPDX-License-Identifier: Apache-2.0
/*
 * The driver's tracepoints, as driver/README.md lists them.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "card.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)
#define TRACING "/sys/kernel/tracing"
#define EVENTS TRACING "/events/gaudi_p2p"

static void trace_start(void)
{
	if (access(EVENTS, F_OK))
		CHECK_EQ(mount("tracefs", TRACING, "tracefs", 0, NULL), 0);
	CHECK_EQ(vm_write(TRACING "/trace", "\n"), 0);
	CHECK_EQ(vm_write(EVENTS "/enable", "1"), 0);
}

/* All that was traced; ends it. */
static const char *trace_stop(void)
{
	static char text[256 << 10];
	size_t used = 0;
	ssize_t n;
	int fd;

	CHECK_EQ(vm_write(EVENTS "/enable", "0"), 0);
	fd = open(TRACING "/trace", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	CHECK_EQ(n, 0);
	close(fd);
	text[used] = 0;
	return text;
}

/* Looks for the words behind *where, in one line, and moves it there. */
static void trace_expect(const char **where, const char *event, const char *words)
{
	char head[64];
	const char *line = *where, *end, *found;

	snprintf(head, sizeof(head), ": %s: device=", event);
	while ((line = strstr(line, head))) {
		end = strchr(line, '\n');
		found = strstr(line, words);
		if (end && found && found < end) {
			*where = end;
			return;
		}
		line += strlen(head);
	}
	vm_fail(__FILE__, __LINE__, "no %s with \"%s\" behind: %.300s", event, words, *where);
}

static void attaches_as_stranger(void *argument)
{
	CHECK_EQ(peer_attach(peer_open(), *(int *)argument, EDU_PEER_DYNAMIC, 0), -EPERM);
}

static void awaits(void *argument)
{
	vm_await(*(int *)argument);
}

TEST(every_step_of_an_export_is_traced, .driver = EMULATED)
{
	struct card_buffer buffer;
	char words[160], device[32];
	const char *where, *start;
	int peer, sock[2], pidfd;
	pid_t pod;

	WAIT_FOR(card_state_is(0, "free"), 30);
	trace_start();
	card_buffer_make(&buffer, 0, MIB);
	CHECK_EQ(card_alloc(buffer.fd, host_card_size(0), 0, &(uint64_t){ 0 }), -ENOMEM);
	vm_child_end(vm_child(true, attaches_as_stranger, &buffer.dmabuf));
	peer = peer_of(buffer.dmabuf, EDU_PEER_DYNAMIC, 0);
	vm_pair(sock);
	pod = vm_child(true, awaits, &sock[1]);
	pidfd = (int)syscall(SYS_pidfd_open, pod, 0);
	/* It may not be in its namespace yet; the owner's own pod is as good. */
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, pidfd), 0);
	CHECK_EQ(card_take_back(buffer.fd, buffer.dmabuf, pidfd), 0);
	vm_signal(sock[0]);
	vm_child_end(pod);
	CHECK_EQ(card_revoke_all(buffer.fd), 1);
	close(peer);
	close(buffer.dmabuf);
	CHECK_EQ(card_unmap(buffer.fd, buffer.va), 0);
	CHECK_EQ(card_free(buffer.fd, buffer.handle), 0);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	where = start = trace_stop();

	card_pci(0, device, sizeof(device));
	snprintf(words, sizeof(words), "device=%s from=free to=owned event=\"open\" reason=\"\"", device);
	trace_expect(&where, "gaudi_lease", words);
	trace_expect(&where, "gaudi_alloc", "handle=1 size=1048576 contiguous=0 result=0");
	snprintf(words, sizeof(words), "addr=0x%llx offset=0x0 size=1048576 ranges=1",
		 (unsigned long long)buffer.va);
	trace_expect(&where, "gaudi_export", words);
	trace_expect(&where, "gaudi_attach", "kind=dynamic granted=0 result=-1");
	trace_expect(&where, "gaudi_attach", "kind=dynamic granted=0 result=0");
	trace_expect(&where, "gaudi_grant", "action=give netns=");
	trace_expect(&where, "gaudi_grant", "action=take-back netns=");
	trace_expect(&where, "gaudi_revoke", "size=1048576 holds=0");
	trace_expect(&where, "gaudi_release", "size=1048576 holds=0");
	trace_expect(&where, "gaudi_free", "handle=1 size=1048576");
	trace_expect(&where, "gaudi_lease", "from=owned to=draining event=\"end\"");
	trace_expect(&where, "gaudi_lease", "to=free event=\"scrubbed\"");
	where = start;
	snprintf(words, sizeof(words), "handle=0 size=%llu contiguous=0 result=-12",
		 (unsigned long long)host_card_size(0));
	trace_expect(&where, "gaudi_alloc", words);
	where = start;
	trace_expect(&where, "gaudi_scrub", "result=0");
}

static uint64_t trace_number(const char *line, const char *name)
{
	const char *found = strstr(line, name);

	CHECK(found);
	return strtoull(found + strlen(name), NULL, 0);
}

TEST(scrub_is_traced_with_place_size_and_time, .driver = EMULATED)
{
	const char *line, *text;
	struct card_buffer buffer;
	uint64_t bytes = 0;

	WAIT_FOR(card_state_is(0, "free"), 30);
	trace_start();
	card_buffer_make(&buffer, 0, 4 * MIB);
	close(buffer.dmabuf);
	close(buffer.fd);
	WAIT_FOR(card_state_is(0, "free"), 30);
	text = trace_stop();
	for (line = text; (line = strstr(line, ": gaudi_scrub: ")); line++) {
		char *end = strchr(line, '\n');

		CHECK(end);
		CHECK(trace_number(line, "offset=") < host_card_size(0));
		CHECK(trace_number(line, " ns=") > 0);
		CHECK_EQ(trace_number(line, " result="), 0);
		bytes += trace_number(line, " bytes=");
	}
	CHECK_EQ(bytes, 4 * MIB);
}

TEST(a_namespace_that_dies_is_traced, .driver = EMULATED)
{
	struct card_buffer buffer;
	const char *where;
	int sock[2];
	pid_t pod;

	WAIT_FOR(card_state_is(0, "free"), 30);
	trace_start();
	card_buffer_make(&buffer, 0, MIB);
	vm_pair(sock);
	pod = vm_child(true, awaits, &sock[1]);
	vm_sleep(0.3);
	CHECK_EQ(card_grant(buffer.fd, buffer.dmabuf, (int)syscall(SYS_pidfd_open, pod, 0)), 0);
	vm_signal(sock[0]);
	vm_child_end(pod);
	vm_sleep(0.5);
	where = trace_stop();
	trace_expect(&where, "gaudi_grant", "action=give netns=");
	trace_expect(&where, "gaudi_grant", "action=pod-died netns=");
}
