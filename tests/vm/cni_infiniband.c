// SPDX-License-Identifier: Apache-2.0
/*
 * NICs of InfiniBand: the RDMA device goes first, and ib_ipoib's netdev ends with its move and is made anew.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cni_node.h"
#include "cni_way.h"
#include "vm.h"

TEST(cni_infiniband_goes_in_and_comes_back, .initial_netns = true)
{
	node_begin_infiniband("");
	way_goes_in_and_comes_back();
	node_end();
}

TEST(cni_infiniband_goes_in_and_comes_back_on_an_older_kernel, .initial_netns = true)
{
	node_begin_infiniband("make_netdevs=1");
	way_goes_in_and_comes_back();
	node_end();
}

TEST(cni_infiniband_add_failing_anywhere_restores_the_host, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "state-save",   "rdma-move",   "rdma-find",
					     "number-after", "netdev-move", "netdev-up",
					     "gid",	     "result",	    NULL };

	node_begin_infiniband("");
	way_fails_anywhere(steps);
	node_end();
}

TEST(cni_infiniband_add_killed_anywhere_is_repaired, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "state-save", "rdma-move", "rdma-find", "netdev-move",
					     "netdev-up",  "gid",	"result",    NULL };

	node_begin_infiniband("");
	way_killed_anywhere(steps);
	node_end();
}

TEST(cni_infiniband_del_that_stops_anywhere_is_finished_by_the_next, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "rdma-out", "host-restore", "state-drop", NULL };

	node_begin_infiniband("");
	way_back_stops_anywhere(steps);
	node_end();
}

TEST(cni_infiniband_comes_back_after_its_namespace_died, .initial_netns = true)
{
	node_begin_infiniband("");
	way_namespaces_died();
	node_end();
}

static bool is_of(const char *netdev, const struct node_nic *nic)
{
	char path[64], target[256] = "";

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", netdev);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, nic->pci);
}

/* The kernel gave each the other's name. */
TEST(cni_infiniband_netdevs_that_have_each_others_names_swap_them, .initial_netns = true)
{
	struct pod a, b;

	node_begin_infiniband("");
	a = pod_new("i3");
	b = pod_new("i4");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[0].pci), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[1].pci), 0);
	pod_end_and_wait(&b);
	pod_end_and_wait(&a);
	WAIT_FOR(is_of(node_nics[1].netdev, &node_nics[0]) && is_of(node_nics[0].netdev, &node_nics[1]), 20);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	node_check_as_before("after DEL");
	node_end();
}

TEST(cni_infiniband_comes_back_from_a_namespace_that_only_a_process_holds, .initial_netns = true)
{
	node_begin_infiniband("");
	way_namespace_held_by_a_process();
	node_end();
}

TEST(cni_infiniband_with_child_interfaces_is_refused, .initial_netns = true)
{
	struct pod pod;

	node_begin_infiniband("");
	pod = pod_new("i5");
	CHECK_EQ(node_run("ip link add link %s name child0 type ipoib pkey 0x8001", node_nics[0].netdev), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 102);
	CHECK_EQ(node_run("ip link del child0"), 0);
	node_check_as_before("after the refusal");
	pod_check(&pod, 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_infiniband_in_connected_mode_is_refused, .initial_netns = true)
{
	struct pod pod;

	node_begin_infiniband("");
	pod = pod_new("i7");
	CHECK_EQ(vm_write("/sys/class/net/ib0/mode", "connected\n"), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 102);
	pod_check(&pod, 0);
	CHECK_EQ(vm_write("/sys/class/net/ib0/mode", "datagram\n"), 0);
	CHECK_EQ(node_run("ip link set ib0 mtu 1400"), 0);
	node_check_as_before("after the refusal");
	pod_end(&pod);
	node_end();
}

/* Their netdevs are made anew under any name: nobody could tell whose is whose. */
TEST(cni_infiniband_with_two_ports_is_refused, .initial_netns = true)
{
	struct pod pod;

	node_begin_infiniband("ports=2");
	pod = pod_new("i6");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 101);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = "HL1", .pairs = node_write_pairs()), 102);
	node_check_as_before("after the refusals");
	pod_check(&pod, 0);
	pod_end(&pod);
	node_end();
}

TEST(cni_infiniband_comes_out_without_a_readable_record, .initial_netns = true)
{
	node_begin_infiniband("");
	way_without_a_readable_record();
	node_end();
}
