// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses and routes by an IPAM plugin, and what CHECK, STATUS and GC owe it. The IPAM is a script that notes
 * who asked it what.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define IPAM_CONFIG "\"ipam\":{\"type\":\"test-ipam\"},\"gidTimeout\":2,"
#define NOTE "#!/bin/sh\necho $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME >>/run/ipam.log\n"
/* Gives addresses and routes, with all that a route can have. */
#define GIVES                                                                                                       \
	NOTE "[ $CNI_COMMAND != ADD ] || echo '{\"ips\":[{\"address\":\"10.9.0.1/24\",\"gateway\":\"10.9.0.254\"}," \
	     "{\"address\":\"fd00::9/64\"}],\"routes\":[{\"dst\":\"10.77.0.0/16\",\"gw\":\"10.9.0.253\"},"          \
	     "{\"dst\":\"0.0.0.0/0\",\"priority\":77},{\"dst\":\"fd99::/48\",\"gw\":\"fd00::1\",\"mtu\":1300,"      \
	     "\"advmss\":1200},{\"dst\":\"192.168.5.7/24\",\"gw\":\"10.9.0.2\",\"table\":100}]}'\n"

static void put_ipam(const char *script)
{
	FILE *file = fopen("/opt/cni/bin/test-ipam", "w");

	CHECK(file);
	fputs(script, file);
	fclose(file);
	CHECK_EQ(chmod("/opt/cni/bin/test-ipam", 0755), 0);
	unlink("/run/ipam.log");
}

/* What IPAM was asked since the last look. */
static void check_asked(const char *expected)
{
	char log[1024] = "";

	vm_read("/run/ipam.log", log, sizeof(log));
	unlink("/run/ipam.log");
	CHECK_MSG(strcmp(log, expected) == 0, "IPAM was asked\n%s\nand not\n%s", log, expected);
}

struct route {
	const char *dst, *gw; /* IPv4 */
	unsigned metric;
};

/* In the pod: the routes are there. */
static void expect_routes(void *arg)
{
	for (const struct route *route = arg; route->dst; route++) {
		FILE *file = fopen("/proc/self/net/route", "r");
		char line[256], name[32];
		bool found = false;

		CHECK(file);
		while (fgets(line, sizeof(line), file)) {
			unsigned dst, gw, flags, use, refs, metric;

			if (sscanf(line, "%31s %x %x %x %u %u %u", name, &dst, &gw, &flags, &refs, &use,
				   &metric) == 7 &&
			    dst == inet_addr(route->dst) && gw == inet_addr(route->gw) &&
			    metric == route->metric && strcmp(name, "rdma0") == 0)
				found = true;
		}
		fclose(file);
		CHECK_MSG(found, "the pod has no route to %s via %s", route->dst, route->gw);
	}
}

static void check_routes(const struct pod *pod)
{
	static struct route routes[] = {
		{ "10.77.0.0", "10.9.0.253", 0 },
		{ "0.0.0.0", "10.9.0.254", 77 }, /* that of the address */
		{ NULL, NULL, 0 },
	};

	vm_child_end(pod_child(pod, expect_routes, routes));
}

/* ADD with GIVES; the answer stays in call. */
static struct pod add_pod(const char *name, struct call *call)
{
	struct pod pod = pod_new(name);

	*call = (struct call){ .verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .extra = IPAM_CONFIG };
	put_ipam(GIVES);
	CHECK_EQ(call_plugin(call), 0);
	return pod;
}

TEST(cni_addresses_and_routes_of_ipam_are_set_and_given_back, .initial_netns = true)
{
	struct call call;
	struct pod pod;

	node_begin();
	pod = add_pod("i1", &call);
	CHECK_MSG(strstr(call.answer, "10.9.0.1/24") && strstr(call.answer, "\"interface\":0") &&
			  strstr(call.answer, "10.77.0.0/16"),
		  "result %s", call.answer);
	pod_check(&pod, 1);
	check_routes(&pod);
	CHECK_EQ(node_run("ip -n i1 -6 route get fd99::5 from fd00::9"), 0);
	CHECK_EQ(node_run("ip -n i1 route del 192.168.5.0/24 table 100"), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG), 0);
	node_check_as_before("after DEL");
	check_asked("ADD i1 rdma0\nDEL i1 rdma0");
	pod_end(&pod);
	node_end();
}

/* No GID there comes from an address: ADD waits for none of these. */
TEST(cni_infiniband_has_addresses_and_routes_of_ipam, .initial_netns = true)
{
	struct call call;
	struct pod pod;

	node_begin_infiniband("");
	pod = add_pod("i9", &call);
	pod_check(&pod, 1);
	check_routes(&pod);
	CHECK_EQ(CNI(.verb = "CHECK", .pod = &pod, .prev = call.answer, .extra = IPAM_CONFIG), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG), 0);
	node_check_as_before("after DEL");
	pod_end(&pod);
	node_end();
}

TEST(cni_failing_ipam_ends_the_add, .initial_netns = true)
{
	static const struct {
		const char *script, *word;
		int code;
	} cases[] = {
		{ NOTE "echo '{\"code\":111,\"msg\":\"pool is full\"}'\n[ $CNI_COMMAND = DEL ]\n",
		  "pool is full", 111 },
		{ NOTE "echo nonsense\n", "no result", 6 },
		{ NOTE "echo '{\"ips\":[{\"address\":\"10.9.0.1\"}]}'\n", "addresses", 6 },
		{ NOTE "echo '{\"routes\":[{\"dst\":\"10.0.0.0\"}]}'\n", "routes", 6 },
		{ NOTE "echo '{\"routes\":[{\"dst\":\"10.0.0.0/8\",\"gw\":\"fd00::1\"}]}'\n", "routes", 6 },
		{ NOTE "echo '{\"routes\":[{\"dst\":\"10.0.0.0/8\",\"table\":-1}]}'\n", "routes", 6 },
		/* The kernel knows no way to that gateway. */
		{ NOTE "echo '{\"routes\":[{\"dst\":\"10.0.0.0/8\",\"gw\":\"10.250.0.1\"}]}'\n", "route 0",
		  5 },
		{ NOTE "kill -9 $$\n", "failed with status", 5 },
	};
	struct call call = { .verb = "ADD", .extra = IPAM_CONFIG };
	struct pod pod;

	node_begin();
	pod = pod_new("j1");
	call.pod = &pod;
	call.device = node_nics[0].pci;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_ipam(cases[i].script);
		CHECK_EQ(call_plugin(&call), cases[i].code);
		CHECK_MSG(strstr(call.answer, cases[i].word), "answer %s", call.answer);
		node_check_as_before(cases[i].script);
		pod_check(&pod, 0);
		check_asked("ADD j1 rdma0\nDEL j1 rdma0"); /* its own address, too */
	}
	pod_end(&pod);
	node_end();
}

TEST(cni_route_that_the_pod_has_already_is_left, .initial_netns = true)
{
	struct call call = { .verb = "ADD", .extra = IPAM_CONFIG };
	struct pod pod;

	node_begin();
	pod = pod_new("e1");
	CHECK_EQ(node_run("ip -n e1 link add name eth0 type dummy"), 0);
	CHECK_EQ(node_run("ip -n e1 addr add 10.1.0.5/24 dev eth0"), 0);
	CHECK_EQ(node_run("ip -n e1 link set eth0 up"), 0);
	CHECK_EQ(node_run("ip -n e1 route add default via 10.1.0.1"), 0);
	put_ipam(NOTE "[ $CNI_COMMAND != ADD ] || echo '{\"ips\":[{\"address\":\"10.9.0.1/24\","
		      "\"gateway\":\"10.9.0.254\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}'\n");
	call.pod = &pod;
	call.device = node_nics[0].pci;
	CHECK_EQ(call_plugin(&call), 0);
	CHECK_EQ(node_run("ip -n e1 route del default via 10.1.0.1 dev eth0"), 0);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG), 0);
	node_check_as_before("after DEL");
	pod_end(&pod);
	node_end();
}

static int check(const struct pod *pod, const char *prev)
{
	return CNI(.verb = "CHECK", .pod = pod, .extra = IPAM_CONFIG, .prev = prev);
}

/* CHECK fails after the command and is well again after the other. */
#define SPOILT(pod, prev, code, spoil, mend)                              \
	do {                                                              \
		CHECK_EQ(node_run("ip -n %s %s", (pod)->name, spoil), 0); \
		CHECK_EQ(check(pod, prev), code);                         \
		CHECK_EQ(node_run("ip -n %s %s", (pod)->name, mend), 0);  \
		WAIT_FOR(check(pod, prev) == 0, 10);                      \
	} while (0)

TEST(cni_check_finds_what_is_no_longer_as_add_said, .initial_netns = true, .seconds = 120)
{
	struct call call;
	struct pod pod;
	char *mac;

	node_begin();
	pod = add_pod("c1", &call);
	CHECK_EQ(check(&pod, call.answer), 0);
	check_asked("ADD c1 rdma0\nCHECK c1 rdma0");
	CHECK_EQ(check(&pod, NULL), 7);
	CHECK_EQ(check(&pod, "{\"interfaces\":[]}"), 101);
	SPOILT(&pod, call.answer, 101, "addr del fd00::9/64 dev rdma0",
	       "addr add fd00::9/64 dev rdma0 nodad");
	SPOILT(&pod, call.answer, 101, "route del 10.77.0.0/16", "route add 10.77.0.0/16 via 10.9.0.253");
	SPOILT(&pod, call.answer, 101, "route del 192.168.5.0/24 table 100",
	       "route add 192.168.5.0/24 via 10.9.0.2 table 100");
	SPOILT(&pod, call.answer, 101, "link set rdma0 mtu 1300", "link set rdma0 mtu 1400");
	CHECK_EQ(node_run("ip -n c1 link set rdma0 down"), 0);
	CHECK_EQ(check(&pod, call.answer), 101);
	CHECK_EQ(node_run("ip -n c1 link set rdma0 up"), 0);
	mac = strstr(call.answer, "\"mac\":\"");
	CHECK(mac);
	mac[7] = mac[7] == '0' ? '2' : '0';
	CHECK_EQ(check(&pod, call.answer), 101);
	/* And what IPAM says itself. */
	call = (struct call){ .verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG };
	CHECK_EQ(call_plugin(&call), 0);
	pod_end(&pod);
	pod = add_pod("c2", &call);
	put_ipam(NOTE "echo '{\"code\":112,\"msg\":\"that lease is gone\"}'\n[ $CNI_COMMAND = DEL ]\n");
	CHECK_EQ(check(&pod, call.answer), 112);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG), 0);
	node_check_as_before("at the end");
	pod_end(&pod);
	node_end();
}

TEST(cni_add_after_a_killed_one_gives_its_address_back_first, .initial_netns = true)
{
	struct pod pod;

	node_begin();
	pod = pod_new("k2");
	put_ipam(GIVES);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .extra = IPAM_CONFIG,
		     .fault = "gid:kill"),
		 128 + SIGKILL);
	check_asked("ADD k2 rdma0");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci, .extra = IPAM_CONFIG), 0);
	check_asked("DEL k2 rdma0\nADD k2 rdma0");
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod, .extra = IPAM_CONFIG), 0);
	node_check_as_before("after DEL");
	pod_end(&pod);
	node_end();
}

static bool host_has(const char *pci)
{
	char now[NODE_TEXT];

	node_snapshot(now, sizeof(now));
	return strstr(now, pci);
}

TEST(cni_status_repairs_what_a_lost_del_left, .initial_netns = true)
{
	struct call call;
	struct pod a, b;

	node_begin();
	a = add_pod("s1", &call);
	b = pod_new("s2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[1].pci), 0);
	CHECK_EQ(CNI(.verb = "STATUS"), 0); /* pods that live are left alone */
	pod_check(&a, 1);
	pod_check(&b, 2);
	pod_end(&a);
	unlink("/run/ipam.log");
	/* The kernel ends a namespace at a time of its own; one STATUS after that does it. */
	WAIT_FOR(host_has(node_nics[0].pci), 20);
	CHECK_EQ(CNI(.verb = "STATUS", .extra = IPAM_CONFIG), 0);
	CHECK_EQ(access(NODE_STATE_DIR "/s1-eth0.json", F_OK), -1);
	check_asked("STATUS\nDEL s1 rdma0");
	pod_check(&b, 2);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &b), 0);
	node_check_as_before("at the end");
	/* IPAM's own troubles are ours: no ADD would go well. */
	put_ipam(NOTE "echo '{\"code\":113,\"msg\":\"no pool\"}'\nfalse\n");
	call = (struct call){ .verb = "STATUS", .extra = IPAM_CONFIG };
	CHECK_EQ(call_plugin(&call), 50);
	CHECK_MSG(strstr(call.answer, "no pool"), "answer %s", call.answer);
	pod_end(&b);
	node_end();
}

TEST(cni_gc_tells_ipam_the_names_of_running_pods, .initial_netns = true)
{
	const char *valid =
		IPAM_CONFIG "\"cni.dev/valid-attachments\":[{\"containerID\":\"g1\",\"ifname\":\"eth0\"}],";
	struct call call;
	char seen[NODE_TEXT];
	struct pod a, b;

	node_begin();
	a = add_pod("g1", &call);
	b = pod_new("g2");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &b, .device = node_nics[1].pci, .extra = IPAM_CONFIG), 0);
	put_ipam(NOTE "[ $CNI_COMMAND != GC ] || cat >/run/ipam.gc\n");
	CHECK_EQ(CNI(.verb = "GC", .extra = valid), 0);
	pod_check(&a, 1);
	pod_check(&b, 0);
	check_asked("DEL g2 rdma0\nGC");
	CHECK(vm_read("/run/ipam.gc", seen, sizeof(seen)) > 0);
	CHECK_MSG(strstr(seen, "{\"containerID\":\"g1\",\"ifname\":\"eth0\"},"
			       "{\"containerID\":\"g1\",\"ifname\":\"rdma0\"}]") &&
			  !strstr(seen, "g2"),
		  "IPAM's GC was told %s", seen);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &a, .extra = IPAM_CONFIG), 0);
	node_check_as_before("at the end");
	pod_end(&a);
	pod_end(&b);
	node_end();
}
