// SPDX-License-Identifier: Apache-2.0
/*
 * NICs as hardware has them: the RDMA device lies below the NIC's PCI function, lives on when the netdev moves and moves
 * itself, where Soft-RoCE's link ends and is made again. modules/rdma_card.c gives the virtio NICs such devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni_node.h"
#include "cni_way.h"
#include "vm.h"

TEST(cni_card_goes_in_and_comes_back, .initial_netns = true)
{
	node_begin_cards("");
	way_goes_in_and_comes_back();
	node_end();
}

TEST(cni_card_add_failing_anywhere_restores_the_host, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "state-save", "netdev-move",  "rdma-move",
					     "rdma-find",  "number-after", "netdev-up",
					     "gid",	   "result",	   NULL };

	node_begin_cards("");
	way_fails_anywhere(steps);
	node_end();
}

TEST(cni_card_add_killed_anywhere_is_repaired, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "state-save", "netdev-move", "rdma-move", "rdma-find",
					     "netdev-up",  "gid",	  "result",    NULL };

	node_begin_cards("");
	way_killed_anywhere(steps);
	node_end();
}

TEST(cni_card_del_that_stops_anywhere_is_finished_by_the_next, .initial_netns = true, .seconds = 120)
{
	static const char *const steps[] = { "rdma-out", "netdev-out", "host-restore", "state-drop", NULL };

	node_begin_cards("");
	way_back_stops_anywhere(steps);
	node_end();
}

/* It does nothing in the pod's namespace that it did not go there for, and so ends where it stands. */
TEST(cni_call_that_finds_no_way_out_of_the_pod_ends_and_is_repaired, .initial_netns = true)
{
	struct pod pod;

	node_begin_cards("");
	pod = pod_new("c13");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .fault = "home-look"),
		 128 + SIGABRT);
	node_check_as_before("after ADD");
	pod_check(&pod, 0);
	/* Half done: the NIC is in the pod. */
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .fault = "home-dad"),
		 128 + SIGABRT);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	pod_check(&pod, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .fault = "home-look"), 128 + SIGABRT);
	pod_check(&pod, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .fault = "home-rdma-out"), 128 + SIGABRT);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("after DEL");
	pod_check(&pod, 0);
	pod_end(&pod);
	node_end();
}

/* With the regions on it, and whether it was the host or the pod that made it so. */
TEST(cni_card_leaves_the_pod_although_its_name_is_taken_on_the_host, .initial_netns = true)
{
	struct pod pod;

	node_begin_cards("");
	pod = pod_new("c14");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	CHECK_EQ(node_run("rdma dev set %s name card0", node_nics[1].rdma), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	pod_check(&pod, 0);
	CHECK_EQ(node_state_files(), 1);
	/* Not as ADD found it, so nobody gets it. */
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 11);
	CHECK_EQ(node_run("rdma dev set card0 name %s", node_nics[1].rdma), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("with the name free again");
	CHECK_EQ(node_state_files(), 0);
	pod_end(&pod);
	node_end();
}

/* The kernel gives RDMA devices of a dead namespace back, under another name if theirs is taken, and netdevs with PCI too. */
TEST(cni_card_comes_back_after_its_namespace_died, .initial_netns = true)
{
	node_begin_cards("");
	way_namespaces_died();
	node_end();
}

TEST(cni_card_comes_back_from_a_namespace_that_only_a_process_holds, .initial_netns = true)
{
	node_begin_cards("");
	way_namespace_held_by_a_process();
	node_end();
}

/* --- numbers ------------------------------------------------------------------- */
/* Only the second NIC has a card, under number 1, and 0 is free: the kernel would give it to what moves. */
static void begin_with_a_free_number(void)
{
	char parameters[40];

	node_begin();
	CHECK_EQ(node_run("rdma link del %s", node_nics[1].rdma), 0);
	snprintf(parameters, sizeof(parameters), "netdevs=%s", node_nics[1].netdev);
	CHECK_EQ(vm_insmod("rdma_card", parameters), 0);
	CHECK_EQ(node_run("rdma link del %s", node_nics[0].rdma), 0);
	strcpy(node_nics[1].rdma, "card0");
	node_remember();
}

TEST(cni_card_keeps_its_number_beside_a_free_one, .initial_netns = true)
{
	begin_with_a_free_number();
	way_keeps_its_number();
	node_end();
}

/* A node with cards has no reason to have Soft-RoCE, whose links occupy free numbers for a moment. */
TEST(cni_card_needs_no_soft_roce_but_to_keep_a_number, .initial_netns = true)
{
	struct pod a, b;

	node_begin_cards("");
	CHECK_EQ(vm_rmmod("rdma_rxe"), 0);
	a = pod_new("n2");
	b = pod_new("n3");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[1].pci), 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[0].pci), 0);
	pod_check(&a, 2);
	pod_check(&b, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	node_check_as_before("after DEL");
	CHECK_EQ(vm_insmod("rdma_rxe", NULL), 0);
	begin_with_a_free_number();
	CHECK_EQ(vm_rmmod("rdma_rxe"), 0);
	/* The kubelet has given the pod the old number's file: it gets nothing. The next may have the NIC under the new one. */
	CHECK_EQ(CNI(.verb = "ADD", .pod = &a, .device = node_nics[1].pci), 105);
	pod_check(&a, 0);
	node_nics[1].uverbs = 0;
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[1].pci), 0);
	pod_check(&b, 2);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	CHECK_EQ(vm_insmod("rdma_rxe", NULL), 0);
	pod_end(&a);
	pod_end(&b);
	node_end();
}

/* --- regions ------------------------------------------------------------------- */
static int regions(void)
{
	char text[16];

	CHECK(vm_read("/sys/module/rdma_card/parameters/regions", text, sizeof(text)) > 0);
	return atoi(text);
}

/* By the kernel's ABI itself: no library knows the device. */
static ssize_t command(int fd, unsigned int number, void *request, size_t size, void *response,
		       size_t response_size)
{
	struct ib_uverbs_cmd_hdr *head = request;
	uint64_t answer = (uintptr_t)response;

	*head = (struct ib_uverbs_cmd_hdr){ .command = number,
					    .in_words = size / 4,
					    .out_words = response_size / 4 };
	memcpy(head + 1, &answer, sizeof(answer));
	return write(fd, request, size);
}

/* Registers a region on the pod's one device, and gives its file away. */
static void hold_region(void *arg)
{
	static char memory[65536];
	struct {
		struct ib_uverbs_cmd_hdr head;
		struct ib_uverbs_get_context body;
	} get_context = { 0 };
	struct {
		struct ib_uverbs_cmd_hdr head;
		struct ib_uverbs_alloc_pd body;
	} alloc_pd = { 0 };
	struct {
		struct ib_uverbs_cmd_hdr head;
		struct ib_uverbs_reg_mr body;
	} reg_mr = { .body = { .start = (uintptr_t)memory,
			       .length = sizeof(memory),
			       .hca_va = (uintptr_t)memory,
			       .access_flags = IB_UVERBS_ACCESS_LOCAL_WRITE } };
	struct ib_uverbs_get_context_resp context;
	struct ib_uverbs_alloc_pd_resp pd;
	struct ib_uverbs_reg_mr_resp mr;
	int sock = *(int *)arg, fd;
	char path[64];

	snprintf(path, sizeof(path), "/dev/infiniband/uverbs%d", node_nics[0].uverbs);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(command(fd, IB_USER_VERBS_CMD_GET_CONTEXT, &get_context, sizeof(get_context), &context,
			 sizeof(context)),
		 sizeof(get_context));
	CHECK_EQ(command(fd, IB_USER_VERBS_CMD_ALLOC_PD, &alloc_pd, sizeof(alloc_pd), &pd, sizeof(pd)),
		 sizeof(alloc_pd));
	reg_mr.body.pd_handle = pd.pd_handle;
	CHECK_EQ(command(fd, IB_USER_VERBS_CMD_REG_MR, &reg_mr, sizeof(reg_mr), &mr, sizeof(mr)),
		 sizeof(reg_mr));
	vm_send_fd(sock, fd);
	vm_await(sock);
	/* The region, its protection domain and the context are gone. */
	CHECK_EQ(command(fd, IB_USER_VERBS_CMD_REG_MR, &reg_mr, sizeof(reg_mr), &mr, sizeof(mr)), -1);
	CHECK_EQ(errno, EIO);
	vm_signal(sock);
}

TEST(cni_card_leaves_the_pod_without_the_regions_that_a_stranger_holds, .initial_netns = true)
{
	node_begin_cards("");
	way_ends_regions(hold_region, regions);
	node_end();
}

TEST(cni_infiniband_leaves_the_pod_without_the_regions_that_a_stranger_holds, .initial_netns = true)
{
	node_begin_infiniband("");
	way_ends_regions(hold_region, regions);
	node_end();
}

/* --- cards that no pod can have -------------------------------------------------- */
TEST(cni_card_whose_driver_cannot_move_is_refused_or_let_through, .initial_netns = true)
{
	struct call call = { .verb = "ADD", .extra = ALLOW_SHARED };
	struct pod pod, next;

	node_begin_cards("movable=0");
	pod = pod_new("c9");
	next = pod_new("c10");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 102);
	node_check_as_before("after the refusal");
	pod_check(&pod, 0);
	call.pod = &pod;
	call.device = node_nics[0].pci;
	CHECK_EQ(call_plugin(&call), 0);
	CHECK_MSG(!strstr(call.answer, "rdma0"), "result %s", call.answer);
	node_check_as_before("let through");
	pod_check(&pod, 0);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &next, .device = node_nics[0].pci), 102);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	node_check_as_before("at the end");
	pod_end(&pod);
	pod_end(&next);
	node_end();
}
