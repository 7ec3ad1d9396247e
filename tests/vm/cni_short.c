// SPDX-License-Identifier: Apache-2.0
/*
 * Calls that are short of memory or of open files, wherever that happens: each says so, for the runtime to try again. What
 * could not be looked at is never taken for something that is not there: it may be another pod's.
 */
#include <stdio.h>
#include <string.h>

#include "cni_node.h"
#include "vm.h"

#define STEPS_MAX 400

enum shortage { MEMORY, FILES, SHORTAGES };

/* Its code, or 128 and a signal: with too little to begin, the kernel or the C library ends it. */
static int call_short(struct call *call, enum shortage shortage, int step)
{
	int code;

	CHECK_MSG(step < STEPS_MAX, "it is never enough");
	call->memory = shortage == MEMORY ? (5u << 18) + (unsigned int)step * 4096 : 0;
	call->files = shortage == FILES ? 3 + (unsigned int)step : 0;
	code = call_plugin(call);
	if (code > 0 && code < 100)
		CHECK_MSG((code == 11 || code == 50) && (strstr(call->answer, "annot allocate memory") ||
							 strstr(call->answer, "out of memory") ||
							 strstr(call->answer, "oo many open files")),
			  "answer %s", call->answer);
	return code;
}

TEST(cni_add_that_is_short_says_so_and_leaves_nothing, .initial_netns = true, .seconds = 300)
{
	struct call call = { .verb = "ADD" };
	struct pod pod;

	node_begin();
	pod = pod_new("y1");
	call.pod = &pod;
	call.device = node_nics[0].pci;
	for (enum shortage shortage = MEMORY; shortage < SHORTAGES; shortage++) {
		int code, failures = 0;

		for (int step = 0; (code = call_short(&call, shortage, step)); step++) {
			CHECK_MSG(code == 11 || code >= 128, "answer %s", call.answer);
			failures += code < 128;
			CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
			node_check_as_before("after an ADD that was short");
			pod_check(&pod, 0);
		}
		CHECK_MSG(failures > 5, "it was short in %d places only", failures);
		pod_check(&pod, 1);
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
		node_check_as_before("at the end");
	}
	pod_end(&pod);
	node_end();
}

TEST(cni_del_that_is_short_says_so_and_the_next_does_the_rest, .initial_netns = true, .seconds = 300)
{
	struct call call = { .verb = "DEL" };
	struct pod pod;

	node_begin_cards("");
	pod = pod_new("y2");
	call.pod = &pod;
	for (enum shortage shortage = MEMORY; shortage < SHORTAGES; shortage++) {
		int code = 1, failures = 0;

		for (int step = 0; code; step++) {
			CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
			code = call_short(&call, shortage, step);
			CHECK_MSG(code == 0 || code == 11 || code >= 128, "answer %s", call.answer);
			failures += code && code < 128;
			if (code)
				CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
			node_check_as_before("after a DEL that was short");
			pod_check(&pod, 0);
		}
		CHECK_MSG(failures > 5, "it was short in %d places only", failures);
	}
	pod_end(&pod);
	node_end();
}

/* The call ends with that code once it has enough. */
static void spares_the_owner(struct call call, int end, const struct pod *owner)
{
	for (enum shortage shortage = MEMORY; shortage < SHORTAGES; shortage++) {
		int code = -1, failures = 0;

		for (int step = 0; code != end; step++) {
			code = call_short(&call, shortage, step);
			failures += code == 11 || code == 50;
			CHECK_MSG(code == end || code == 11 || code == 50 || code >= 128, "answer %s",
				  call.answer);
			pod_check(owner, 1);
		}
		CHECK_MSG(failures > 5, "it was short in %d places only", failures);
	}
}

TEST(cni_call_that_is_short_takes_no_nic_from_its_owner, .initial_netns = true, .seconds = 600)
{
	struct call add = { .verb = "ADD" }, other = { .verb = "ADD" }, check = { .verb = "CHECK" };
	struct call gc = { .verb = "GC",
			   .extra = "\"cni.dev/valid-attachments\":[{\"containerID\":\"y3\","
				    "\"ifname\":\"eth0\"}]," };
	struct call status = { .verb = "STATUS" };
	struct pod pods[2];

	node_begin_cards("");
	pods[0] = pod_new("y3");
	pods[1] = pod_new("y4");
	add.pod = check.pod = &pods[0];
	other.pod = &pods[1];
	add.device = other.device = node_nics[0].pci;
	CHECK_EQ(call_plugin(&add), 0);
	check.prev = add.answer;
	spares_the_owner(other, 103, &pods[0]);
	pod_check(&pods[1], 0);
	spares_the_owner(gc, 0, &pods[0]);
	spares_the_owner(status, 0, &pods[0]);
	spares_the_owner(check, 0, &pods[0]);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pods[0]), 0);
	node_check_as_before("at the end");
	pod_end(&pods[0]);
	pod_end(&pods[1]);
	node_end();
}
