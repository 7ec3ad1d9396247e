// SPDX-License-Identifier: Apache-2.0
/*
 * cni-rdma against a real kernel: NICs go into pods and come back as they
 * were, whatever goes wrong in between. The plugin is the static one, in a build that can be told to fail.
 *
 * vm-modules: virtio_net dummy veth rdma_rxe ib_uverbs ib_ipoib rdma_card
 * vm-libs: -libverbs -ljansson
 * vm-files: build/lab/faults/cni-rdma:/opt/cni/bin/cni-rdma build/soft-roce/guest:/
 * vm-files: build/lab/faults/cni-rdma-install:/usr/bin/cni-rdma-install
 * vm-files: deploy/host/cni-rdma.json:/opt/cni/bin/cni-rdma.json
 * vm-files: deploy/host/etc/modprobe.d/gaudi-p2p.conf:/opt/cni/bin/gaudi-p2p.conf
 * vm-files: build/lab/static/cni-rdma:/srv/empty/opt/cni/bin/cni-rdma build/lab/cni-tools:/opt/cni/bin
 * vm-files: /usr/bin/ip:/usr/bin/ip /usr/bin/rdma:/usr/bin/rdma
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "cni_verbs.h"
#include "cni_way.h"
#include "vm.h"

TEST(cni_nic_goes_in_and_comes_back, .initial_netns = true)
{
	struct call call = { .verb = "ADD" };
	struct pod pod;

	node_begin();
	pod = pod_new("a1");
	call.pod = &pod;
	call.device = node_nics[1].pci;
	CHECK_EQ(call_plugin(&call), 0);
	CHECK_MSG(strstr(call.answer, "\"name\":\"rdma0\"") && strstr(call.answer, node_nics[1].pci) &&
			  strstr(call.answer, "\"sandbox\":\"/run/netns/a1\""),
		  "result %s", call.answer);
	pod_check(&pod, 2);
	CHECK_EQ(CNI(.verb = "CHECK", .pod = &pod, .prev = call.answer), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after DEL");
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after the second DEL");
	pod_check(&pod, 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_add_failing_anywhere_restores_the_host, .initial_netns = true, .seconds = 180)
{
	static const char *const steps[] = { "state-save", "link-delete", "netdev-move",
					     "link-add",   "link-find",	  "number-before",
					     "rdma-move",  "rdma-find",	  "number-after",
					     "netdev-up",  "gid",	  "result",
					     NULL };

	node_begin();
	way_fails_anywhere(steps);
	node_end();
}

TEST(cni_add_killed_anywhere_is_repaired, .initial_netns = true, .seconds = 180)
{
	static const char *const steps[] = { "state-save", "link-delete", "netdev-move", "link-add",
					     "link-find",  "rdma-move",	  "rdma-find",	 "netdev-up",
					     "gid",	   "result",	  NULL };

	node_begin();
	way_killed_anywhere(steps);
	node_end();
}

TEST(cni_del_that_stops_anywhere_is_finished_by_the_next, .initial_netns = true, .seconds = 180)
{
	static const char *const steps[] = { "rdma-out",   "netdev-out", "host-restore",
					     "link-again", "state-drop", NULL };

	node_begin();
	way_back_stops_anywhere(steps);
	node_end();
}

TEST(cni_del_restores_after_the_namespace_died, .initial_netns = true)
{
	node_begin();
	way_namespaces_died();
	node_end();
}

TEST(cni_add_repairs_what_a_lost_del_left, .initial_netns = true)
{
	struct pod a, b;

	node_begin();
	a = pod_new("l1");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[0].pci), 0);
	b = pod_new("l2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[0].pci), 103);
	pod_check(&a, 1);
	pod_end(&a);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[0].pci), 0);
	pod_check(&b, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0); /* the old owner's late DEL */
	pod_check(&b, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	node_check_as_before("at the end");
	pod_end(&b);
	node_end();
}

TEST(cni_del_of_another_touches_nothing, .initial_netns = true)
{
	struct pod a, b;

	node_begin();
	a = pod_new("o1");
	b = pod_new("o2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[0].pci), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	pod_check(&a, 1);
	CHECK_EQ(CNI(.verb = "GC", .pod = &b), 0); /* without a list it says nothing */
	pod_check(&a, 1);
	CHECK_EQ(
		CNI(.verb = "GC", .pod = &b,
		    .extra = "\"cni.dev/valid-attachments\":[{\"containerID\":\"o1\",\"ifname\":\"eth0\"}],"),
		0);
	pod_check(&a, 1);
	CHECK_EQ(CNI(.verb = "GC", .pod = &b, .extra = "\"cni.dev/valid-attachments\":[],"), 0);
	node_check_as_before("after GC");
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0);
	node_check_as_before("after DEL");
	pod_end(&a);
	pod_end(&b);
	node_end();
}

TEST(cni_del_reaches_a_namespace_that_only_a_process_holds, .initial_netns = true)
{
	node_begin();
	way_namespace_held_by_a_process();
	node_end();
}

/* A process of the pod that holds a region, and whose file a stranger gets. */
static void hold_region(void *arg)
{
	verbs_hold_region(*(int *)arg);
}

TEST(cni_del_ends_regions_that_a_stranger_holds, .initial_netns = true)
{
	node_begin();
	way_ends_regions(hold_region, NULL);
	node_end();
}

static void exchange(void *arg)
{
	char text[NODE_TEXT], address[40], name[20];
	unsigned int flags = 0;

	/* Not tentative: a peer that asks for it gets an answer. */
	CHECK(vm_read("/proc/self/net/if_inet6", text, sizeof(text)) > 0);
	CHECK_EQ(sscanf(strstr(text, "fe80"), "%32s %*x %*x %*x %x %15s", address, &flags, name), 3);
	CHECK_MSG(strcmp(name, "rdma0") == 0 && !(flags & 0x40), "addresses: %s", text);
	verbs_exchange(arg);
}

TEST(cni_pods_write_into_each_other_at_once, .initial_netns = true, .seconds = 120)
{
	struct verbs_side sides[NODE_NICS] = { { .writes = true } };
	struct pod pods[NODE_NICS];
	pid_t pids[NODE_NICS];
	int sock[2];

	node_begin();
	vm_pair(sock);
	for (int i = 0; i < NODE_NICS; i++) {
		pods[i] = pod_new(i ? "w1" : "w0");
		sides[i].sock = sock[i];
		CHECK_EQ(CNI(.verb = "ADD", .pod = &pods[i], .device = node_nics[i].pci), 0);
	}
	for (int i = 0; i < NODE_NICS; i++)
		pids[i] = pod_child(&pods[i], exchange, &sides[i]);
	for (int i = 0; i < NODE_NICS; i++)
		vm_child_end(pids[i]);
	for (int i = 0; i < NODE_NICS; i++) {
		CHECK_EQ(CNI(.verb = "DEL", .pod = &pods[i]), 0);
		pod_end(&pods[i]);
	}
	node_check_as_before("at the end");
	node_end();
}

TEST(cni_free_lower_number_is_not_taken, .initial_netns = true)
{
	node_begin();
	CHECK_EQ(node_run("rdma link del %s", node_nics[0].rdma), 0);
	node_remember();
	way_keeps_its_number();
	node_end();
}

/* The one state file of a container. */
static const char *state_path(const struct pod *pod)
{
	static char path[128];

	snprintf(path, sizeof(path), NODE_STATE_DIR "/%s-eth0.json", pod->name);
	return path;
}

TEST(cni_del_takes_nics_out_without_a_readable_record, .initial_netns = true)
{
	node_begin();
	way_without_a_readable_record();
	node_end();
}

TEST(cni_record_of_an_earlier_boot_means_nothing, .initial_netns = true)
{
	char text[NODE_TEXT], *boot;
	struct pod a, b;

	node_begin();
	a = pod_new("r1");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[0].pci), 0);
	CHECK(vm_read(state_path(&a), text, sizeof(text)) > 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0);
	boot = strstr(text, "\"boot\": \"");
	CHECK(boot);
	boot[9] = boot[9] == '0' ? '1' : '0';
	/* Names of that boot too: nobody may rename the NIC to them. */
	CHECK(strstr(text, node_nics[0].netdev));
	memcpy(strstr(text, node_nics[0].netdev), "old", 3);
	CHECK_EQ(close(open(state_path(&a), O_CREAT | O_WRONLY, 0600)), 0);
	CHECK_EQ(vm_write(state_path(&a), text), 0);
	b = pod_new("r2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[0].pci), 0);
	CHECK_EQ(access(state_path(&a), F_OK), -1);
	pod_check(&b, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	node_check_as_before("at the end");
	pod_end(&a);
	pod_end(&b);
	node_end();
}

TEST(cni_says_why_not, .initial_netns = true)
{
	struct pod host = { .name = "n1", .netns = "/proc/self/ns/net" },
		   none = { .name = "n2", .netns = "/run/none" }, pod;

	node_begin();
	pod = pod_new("n3");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &host, .device = node_nics[0].pci), 102);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &none, .device = node_nics[0].pci), 8);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = "0000:7f:00.0"), 101);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = "HL-1234"), 101);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod), 11); /* no kubelet */
	CHECK_EQ(CNI(.verb = "STATUS"), 0);
	node_check_as_before("after refusals");
	pod_check(&pod, 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_moves_no_nic_for_a_pod_that_the_kubelet_does_not_vouch_for, .initial_netns = true)
{
	static const char paths[] = "\"podResources\":\"/srv/own/kubelet.sock\",";
	const char *nic = node_nics[0].pci;
	struct pod own, other;

	node_begin();
	own = pod_new("v1");
	other = pod_new("v2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &other, .device = nic, .in_cluster = true), 11);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &other, .device = nic, .in_cluster = true, .extra = paths), 7);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &other, .device = nic, .in_cluster = true,
		     .pairs = "/srv/own/pairs.json"),
		 7);
	node_check_as_before("after refusals");
	pod_check(&other, 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &own, .device = nic), 0);
	/* DEL is asked of nobody, and takes nothing from another. */
	CHECK_EQ(CNI(.verb = "DEL", .pod = &other, .device = nic, .in_cluster = true, .extra = paths), 0);
	pod_check(&own, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &own, .device = nic, .in_cluster = true, .extra = paths), 0);
	node_check_as_before("at the end");
	pod_end(&own);
	pod_end(&other);
	node_end();
}

TEST(cni_refuses_shared_mode, .initial_netns = true)
{
	struct pod pod;

	node_begin_shared();
	pod = pod_new("s1");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 100);
	CHECK_EQ(CNI(.verb = "STATUS"), 50);
	node_check_as_before("after the refusal");
	pod_end(&pod);
	node_end();
}
