// SPDX-License-Identifier: Apache-2.0
/*
 * Many pods at once. Most have links of their own, which come and go under the lowest free numbers; some want the
 * node's NICs, which must keep theirs, and of those that want the same one only one gets it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define PODS_MAX 100
/* Of so many pods one wants a NIC. */
#define EVERY 4
#define SOFT "\"mode\":\"soft\",\"gidTimeout\":60,"
#define NIC "\"gidTimeout\":60,"

static struct pod pods[PODS_MAX];
static struct call calls[PODS_MAX];

static bool wants_nic(int i)
{
	return i % EVERY == 0;
}

static int nic_of(int i)
{
	return i / EVERY % NODE_NICS;
}

static void make_pods(int n, int round)
{
	for (int i = 0; i < n; i++) {
		char name[24];

		snprintf(name, sizeof(name), "m%d-%d", round, i);
		pods[i] = pod_new(name);
		if (wants_nic(i))
			continue;
		CHECK_EQ(node_run("ip -n %s link add eth0 type dummy", name), 0);
		CHECK_EQ(node_run("ip -n %s link set eth0 up", name), 0);
	}
}

/* All at once; the calls have their answers afterwards. */
static void call_all(const char *verb, int n)
{
	static int pipes[PODS_MAX];
	static pid_t pids[PODS_MAX];

	for (int i = 0; i < n; i++) {
		calls[i] = (struct call){ .verb = verb, .pod = &pods[i], .extra = wants_nic(i) ? NIC : SOFT };
		if (wants_nic(i))
			calls[i].device = node_nics[nic_of(i)].pci;
		pids[i] = call_begin(&calls[i], &pipes[i]);
	}
	for (int i = 0; i < n; i++)
		call_end(&calls[i], pids[i], pipes[i]);
}

static void check_pods(int n)
{
	int winners[NODE_NICS] = { 0 };

	for (int i = 0; i < n; i++) {
		char now[NODE_TEXT];

		if (wants_nic(i)) {
			bool won = calls[i].code == 0;

			/* Taken by another, who is named. */
			CHECK_MSG(won || calls[i].code == 103, "%s: %s", pods[i].name, calls[i].answer);
			winners[nic_of(i)] += won;
			pod_check(&pods[i], won ? 1u << nic_of(i) : 0);
			continue;
		}
		CHECK_MSG(calls[i].code == 0, "%s: %s", pods[i].name, calls[i].answer);
		pod_snapshot(&pods[i], now, sizeof(now));
		CHECK_MSG(strstr(now, "on eth0 uverbs") && strstr(now, " gid\n"), "%s has\n%s", pods[i].name,
			  now);
	}
	for (int nic = 0; nic < NODE_NICS; nic++)
		CHECK_EQ(winners[nic], 1);
}

TEST(cni_many_pods_at_once_keep_devices_names_and_numbers, .initial_netns = true, .seconds = 1800,
     .long_seconds = 3000)
{
	int n = vm_long() ? PODS_MAX : 32, rounds = vm_long() ? 20 : 5;

	node_begin();
	for (int round = 0; round < rounds; round++) {
		make_pods(n, round);
		call_all("ADD", n);
		check_pods(n);
		call_all("DEL", n);
		for (int i = 0; i < n; i++) {
			CHECK_MSG(calls[i].status == 0, "%s: %s", pods[i].name, calls[i].answer);
			pod_end(&pods[i]);
		}
		node_check_as_before("after a round");
		CHECK_EQ(node_state_files(), 0);
	}
	node_end();
}
