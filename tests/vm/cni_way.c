// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "cni_way.h"
#include "vm.h"

void way_goes_in_and_comes_back(void)
{
	struct pod pods[2] = { pod_new("w1"), pod_new("w2") };

	for (int first = 0; first < 2; first++) {
		struct call call = { .verb = "ADD", .pod = &pods[1], .device = node_nics[1].pci };

		CHECK_EQ(call_plugin(&call), 0);
		pod_check(&pods[1], 2);
		CHECK_EQ(CNI(.verb = "CHECK", .pod = &pods[1], .prev = call.answer), 0);
		CHECK_EQ(CNI(.verb = "ADD", .pod = &pods[0], .device = node_nics[1].pci), 103);
		CHECK_EQ(CNI(.verb = "ADD", .pod = &pods[0], .device = node_nics[0].pci), 0);
		pod_check(&pods[0], 1);
		pod_check(&pods[1], 2);
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pods[first]), 0);
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pods[!first]), 0);
		node_check_as_before("after DEL");
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pods[1]), 0);
		node_check_as_before("after the second DEL");
		pod_check(&pods[1], 0);
	}
	pod_end(&pods[0]);
	pod_end(&pods[1]);
}

void way_fails_anywhere(const char *const steps[])
{
	struct pod pod = pod_new("f1");

	for (; *steps; steps++) {
		CHECK_MSG(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .fault = *steps) != 0,
			  "%s", *steps);
		node_check_as_before(*steps);
		pod_check(&pod, 0);
	}
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	pod_check(&pod, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("at the end");
	pod_end(&pod);
}

void way_killed_anywhere(const char *const steps[])
{
	struct pod pod = pod_new("k1");
	char kill[32];

	for (int i = 0; steps[i]; i++) {
		snprintf(kill, sizeof(kill), "%s:kill", steps[i]);
		CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .fault = kill),
			 128 + SIGKILL);
		if (i % 2) { /* the runtime gives up, or tries again */
			CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
			node_check_as_before(kill);
		}
		CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
		pod_check(&pod, 1);
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
		node_check_as_before(kill);
	}
	pod_end(&pod);
}

static void way_back_stops(const struct pod *pod, const char *fault, int status)
{
	CHECK_EQ(CNI(.verb = "ADD", .pod = pod, .device = node_nics[0].pci), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = pod, .fault = fault), status);
	CHECK_EQ(CNI(.verb = "DEL", .pod = pod), 0);
	node_check_as_before(fault);
	pod_check(pod, 0);
}

void way_back_stops_anywhere(const char *const steps[])
{
	struct pod pod = pod_new("b1");
	char kill[32];

	for (; *steps; steps++) {
		way_back_stops(&pod, *steps, 0); /* DEL says what failed, but holds up nobody behind it */
		snprintf(kill, sizeof(kill), "%s:kill", *steps);
		way_back_stops(&pod, kill, 128 + SIGKILL);
	}
	pod_end(&pod);
}

void way_without_a_readable_record(void)
{
	struct pod pod = pod_new("u1");
	const char *pairs = node_write_pairs();
	char record[128];

	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = "HL1", .pairs = pairs), 0);
	pod_check(&pod, 1);
	snprintf(record, sizeof(record), NODE_STATE_DIR "/%s-eth0.json", pod.name);
	CHECK_EQ(truncate(record, 100), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .pairs = pairs), 0);
	node_check_as_before("after DEL");
	pod_check(&pod, 0);
	pod_end(&pod);
}

void way_namespaces_died(void)
{
	struct pod a = pod_new("d1"), b = pod_new("d2");

	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[0].pci), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[1].pci), 0);
	pod_end(&a);
	pod_end(&b);
	/* The higher number first: the lower one is free then, and must not be taken. */
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0);
	node_check_as_before("after DEL without namespaces");
}

static void sleep_long(void *arg)
{
	(void)arg;
	vm_sleep(120);
}

void way_namespace_held_by_a_process(void)
{
	struct pod pod = pod_new("h1");
	pid_t holder;

	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	holder = pod_child(&pod, sleep_long, NULL);
	vm_sleep(0.3);
	pod_end(&pod);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after DEL");
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
}

void way_keeps_its_number(void)
{
	struct pod pod = pod_new("g1");

	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[1].pci), 0);
	pod_check(&pod, 2);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after DEL");
	pod_end(&pod);
}

void way_ends_regions(void (*hold)(void *arg), int (*regions)(void))
{
	struct pod pod = pod_new("m1");
	int sock[2], fd;
	pid_t child;

	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	vm_pair(sock);
	child = pod_child(&pod, hold, &sock[1]);
	close(sock[1]);
	fd = vm_recv_fd(sock[0]);
	CHECK(!regions || regions() == 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	CHECK(!regions || regions() == 0);
	node_check_as_before("after DEL");
	vm_signal(sock[0]);
	vm_await(sock[0]);
	vm_child_end(child);
	/* EIO or EINVAL: dead either way; the file itself never held anything up. */
	CHECK_EQ(write(fd, "", 1), -1);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	pod_check(&pod, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	close(fd);
	node_check_as_before("at the end");
	pod_end(&pod);
}
