// SPDX-License-Identifier: Apache-2.0
/*
 * Mode "soft", which makes a link where the pod's interface is, and allowShared, which lets through what is no
 * isolation.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define SOFT "\"mode\":\"soft\","

/* What a plugin before us would have said of it. */
static const char *prev_of(const struct pod *pod)
{
	static char prev[256];

	snprintf(prev, sizeof(prev),
		 "{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"%s\"}],"
		 "\"ips\":[{\"address\":\"10.5.0.2/24\",\"interface\":0}]}",
		 pod->netns);
	return prev;
}

/* A pod with the interface that the pod network gives. */
static struct pod soft_pod(const char *name)
{
	struct pod pod = pod_new(name);

	CHECK_EQ(node_run("ip -n %s link add eth0 type dummy", name), 0);
	CHECK_EQ(node_run("ip -n %s addr add 10.5.0.2/24 dev eth0", name), 0);
	CHECK_EQ(node_run("ip -n %s link set eth0 up", name), 0);
	return pod;
}

static int soft(const char *verb, const struct pod *pod, const char *fault)
{
	return CNI(.verb = verb, .pod = pod, .prev = prev_of(pod), .extra = SOFT, .fault = fault);
}

static void check_link(const struct pod *pod, bool is_there)
{
	char expected[256], now[NODE_TEXT];

	snprintf(expected, sizeof(expected), "rdma rxe-%s-eth0 on eth0 uverbs%d gid\n", pod->name, NODE_NICS);
	pod_snapshot(pod, now, sizeof(now));
	if (is_there)
		CHECK_MSG(strstr(now, expected), "the pod should have\n%sand has\n%s", expected, now);
	else
		CHECK_MSG(!strstr(now, "rdma "), "the pod has\n%s", now);
}

TEST(cni_soft_link_is_made_and_taken_down, .initial_netns = true)
{
	struct call call = { .verb = "ADD", .extra = SOFT };
	struct pod pod;

	node_begin();
	pod = soft_pod("w1");
	call.pod = &pod;
	call.prev = prev_of(&pod);
	CHECK_EQ(call_plugin(&call), 0);
	CHECK_MSG(strstr(call.answer, "10.5.0.2/24") && !strstr(call.answer, "rdma"),
		  "the result is not the previous one: %s", call.answer);
	check_link(&pod, true);
	node_check_as_before("while the pod lives");
	CHECK_EQ(soft("CHECK", &pod, NULL), 0);
	CHECK_EQ(node_run("ip netns exec w1 /usr/bin/rdma link del rxe-w1-eth0"), 0);
	CHECK_EQ(soft("CHECK", &pod, NULL), 101);
	CHECK_EQ(soft("ADD", &pod, NULL), 0);
	check_link(&pod, true);
	CHECK_EQ(soft("DEL", &pod, NULL), 0);
	check_link(&pod, false);
	node_check_as_before("after DEL");
	CHECK_EQ(soft("DEL", &pod, NULL), 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_soft_link_that_fails_anywhere_leaves_nothing, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "state-save", "link-add", "link-find", "rdma-move",
					     "rdma-find",  "gid",      "result" };
	struct pod pod;
	char kill[32];

	node_begin();
	pod = soft_pod("w2");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		CHECK_MSG(soft("ADD", &pod, steps[i]) != 0, "%s", steps[i]);
		node_check_as_before(steps[i]);
		check_link(&pod, false);
		snprintf(kill, sizeof(kill), "%s:kill", steps[i]);
		CHECK_EQ(soft("ADD", &pod, kill), 128 + SIGKILL);
		CHECK_EQ(soft("ADD", &pod, NULL), 0);
		check_link(&pod, true);
		CHECK_EQ(soft("DEL", &pod, NULL), 0);
		check_link(&pod, false);
		node_check_as_before(kill);
	}
	pod_end(&pod);
	node_end();
}

TEST(cni_soft_link_goes_with_its_pod, .initial_netns = true)
{
	struct pod pod;

	node_begin();
	pod = soft_pod("w3");
	CHECK_EQ(soft("ADD", &pod, NULL), 0);
	pod_end(&pod);
	WAIT_FOR(access("/sys/class/infiniband_verbs/uverbs2", F_OK) < 0, 20);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = SOFT), 0);
	CHECK_EQ(access(NODE_STATE_DIR "/w3-eth0.json", F_OK), -1);
	/* The kernel takes the link apart in its own time: its uverbs go first, and while it moves to the host. */
	WAIT_FOR(access("/sys/class/infiniband/rxe-w3-eth0", F_OK) < 0, 20);
	node_check_as_before("after DEL");
	node_end();
}

TEST(cni_soft_mode_says_why_not, .initial_netns = true)
{
	struct pod pod;

	node_begin();
	pod = pod_new("w4");
	CHECK_EQ(soft("ADD", &pod, NULL), 7); /* no interface */
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .extra = SOFT "\"resourceName\":\"habana.ai/gaudi\","), 11);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .extra = "\"mode\":\"hard\","), 7);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .extra = SOFT "\"ipam\":{\"type\":\"static\"},"), 7);
	node_check_as_before("after refusals");
	pod_end(&pod);
	/* A second link on one interface is the kernel's to refuse. */
	pod = soft_pod("w5");
	CHECK_EQ(node_run("ip netns exec w5 /usr/bin/rdma link add mine type rxe netdev eth0"), 0);
	node_remember();
	CHECK_EQ(soft("ADD", &pod, NULL), 101);
	node_check_as_before("after a refusal");
	CHECK_EQ(node_run("rdma link del mine"), 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_shared_mode_is_let_through_when_allowed, .initial_netns = true)
{
	struct pod pod;
	char now[NODE_TEXT];

	node_begin_shared();
	pod = soft_pod("h1");
	CHECK_EQ(soft("ADD", &pod, NULL), 100);
	CHECK_EQ(CNI(.verb = "STATUS", .extra = ALLOW_SHARED), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .extra = ALLOW_SHARED), 0);
	pod_snapshot(&pod, now, sizeof(now));
	CHECK_MSG(strstr(now, "netdev rdma0 up") && strstr(now, "rdma rxe0 on rdma0 uverbs0 gid"),
		  "the pod has\n%s", now);
	/* That is what shared means. */
	node_snapshot(now, sizeof(now));
	CHECK_MSG(strstr(now, "rdma rxe0 on") && !strstr(now, node_nics[0].pci), "the host has\n%s", now);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after DEL");
	/* A link of the pod's own, too. */
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .prev = prev_of(&pod), .extra = SOFT ALLOW_SHARED), 0);
	pod_snapshot(&pod, now, sizeof(now));
	CHECK_MSG(strstr(now, "rdma rxe-h1-eth0 on eth0 uverbs2 gid"), "the pod has\n%s", now);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = SOFT), 0);
	node_check_as_before("at the end");
	pod_end_and_wait(&pod);
	node_end();
}

TEST(cni_pod_on_the_host_network_is_let_through_when_allowed, .initial_netns = true)
{
	struct pod host = { .name = "h2", .netns = "/proc/self/ns/net" };
	struct call call = { .verb = "ADD", .pod = &host, .extra = ALLOW_SHARED };

	node_begin();
	call.device = node_nics[0].pci;
	CHECK_EQ(call_plugin(&call), 0);
	CHECK_MSG(!strstr(call.answer, "rdma0"), "result %s", call.answer);
	node_check_as_before("after ADD");
	CHECK_EQ(CNI(.verb = "DEL", .pod = &host, .extra = ALLOW_SHARED), 0);
	node_check_as_before("after DEL");
	node_end();
}
