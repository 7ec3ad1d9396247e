// SPDX-License-Identifier: Apache-2.0
/*
 * `make bench` part cni: ADD and DEL of one NIC by cni-rdma as it is shipped, beside a chain of the two Go plugins that do
 * this in clusters today: the reference plugin host-device moves the netdev, then rdma-cni the RDMA device. The NICs are
 * such as hardware has them (modules/rdma_card.c), so both ask the kernel for the same two moves; ours waits for the GID
 * on top.
 * Without BENCH=1 only a few rounds, so that the benchmark is known to work.
 *
 * vm-modules: virtio_net dummy ib_uverbs rdma_card
 * vm-sources: tests/bench/driver.c tests/vm/cni_node.c
 * vm-files: build/lab/static/cni-rdma:/srv/bench/cni-rdma build/lab/cni-tools/host-device:/srv/bench/host-device
 * vm-files: build/lab/cni-tools/rdma:/srv/bench/rdma
 * vm-files: /usr/bin/ip:/usr/bin/ip /usr/bin/rdma:/usr/bin/rdma
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/driver.h"
#include "cni_node.h"
#include "vm.h"

#define FOLDER "/srv/bench/"
#define PEER "host-device and rdma-cni"
/* USER: of the CPU time that outside the kernel, which does the same work for both. */
enum { WALL, CPU, USER, MEMORY, MEASURES };

/* A chain of plugins with the NIC and the pod that are its own in this run. */
struct side {
	struct plugin {
		const char *name;
		char keys[256]; /* of its configuration */
	} plugins[2];
	int n;
	struct pod pod;
	double values[MEASURES][BENCH_ROUNDS_MAX];
};

static void exec_plugin(const struct side *side, const struct plugin *plugin, const char *verb)
{
	int in = open("/run", O_TMPFILE | O_RDWR, 0600), out = open("/dev/null", O_WRONLY);

	if (in < 0 || out < 0 ||
	    dprintf(in, "{\"cniVersion\":\"1.0.0\",\"name\":\"bench\",\"type\":\"%s\",%s}", plugin->name,
		    plugin->keys) < 0 ||
	    lseek(in, 0, SEEK_SET) < 0)
		_exit(126);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	/* An emulated processor translates code anew wherever it finds it; a real one does not care. */
	personality(ADDR_NO_RANDOMIZE);
	setenv("CNI_COMMAND", verb, 1);
	setenv("CNI_CONTAINERID", side->pod.name, 1);
	setenv("CNI_NETNS", side->pod.netns, 1);
	setenv("CNI_IFNAME", "rdma0", 1);
	setenv("CNI_PATH", FOLDER, 1);
	execl(plugin->name, plugin->name, NULL);
	_exit(127);
}

static double ns_of(struct timeval time)
{
	return (double)time.tv_sec * 1e9 + (double)time.tv_usec * 1e3;
}

static void call_one(struct side *side, const struct plugin *plugin, const char *verb, unsigned int round)
{
	uint64_t start = bench_now();
	struct rusage usage;
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		exec_plugin(side, plugin, verb);
	CHECK_EQ(wait4(pid, &status, 0, &usage), pid);
	side->values[WALL][round] += (double)(bench_now() - start);
	CHECK_MSG(status == 0, "%s %s ended with status %#x", plugin->name, verb, (unsigned int)status);
	side->values[USER][round] += ns_of(usage.ru_utime);
	side->values[CPU][round] += ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
	if (side->values[MEMORY][round] < (double)usage.ru_maxrss)
		side->values[MEMORY][round] = (double)usage.ru_maxrss;
}

/* As a runtime does it: ADD in order, DEL in reverse. */
static void call_side(struct side *side, const char *verb, unsigned int round)
{
	for (int i = 0; i < side->n; i++)
		call_one(side, &side->plugins[*verb == 'A' ? i : side->n - 1 - i], verb, round);
}

/* ADD and DEL together: the sum of the times, the greater peak. */
static void measure(struct side *side, unsigned int round)
{
	for (int i = 0; i < MEASURES; i++)
		side->values[i][round] = 0;
	call_side(side, "ADD", round);
	call_side(side, "DEL", round);
}

/* Each does what it is measured for: the NIC of that number goes into the pod and comes back. */
static void check_side(struct side *side, int number)
{
	char netdev[64], rdma[64], pod[NODE_TEXT];

	call_side(side, "ADD", 0);
	pod_snapshot(&side->pod, pod, sizeof(pod));
	snprintf(netdev, sizeof(netdev), "netdev rdma0 up %s mtu 1400\n", node_nics[number].pci);
	snprintf(rdma, sizeof(rdma), "rdma %s on rdma0 ", node_nics[number].rdma);
	CHECK_MSG(strstr(pod, netdev) && strstr(pod, rdma), "the pod has\n%s", pod);
	if (side->n == 1)
		pod_check(&side->pod, 1u << number); /* ours: with its GID, too */
	call_side(side, "DEL", 0);
	node_check_as_before("after DEL");
}

static void configure(struct side *ours, struct side *theirs)
{
	snprintf(ours->plugins[0].keys, sizeof(ours->plugins[0].keys),
		 "\"pciBusID\":\"%s\",\"pairs\":\"/run/no-pairs\",\"leaseTimeout\":0", node_nics[0].pci);
	snprintf(theirs->plugins[0].keys, sizeof(theirs->plugins[0].keys), "\"pciBusID\":\"%s\"",
		 node_nics[1].pci);
	snprintf(theirs->plugins[1].keys, sizeof(theirs->plugins[1].keys),
		 "\"deviceID\":\"%s\",\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":["
		 "{\"name\":\"rdma0\",\"sandbox\":\"/run/netns/theirs\"}]}",
		 node_nics[1].pci);
}

TEST(cni_bench_runs_beside_its_peer, .initial_netns = true, .seconds = 120, .long_seconds = 1200)
{
	static const char *const names[MEASURES] = { "cni/add_del_time", "cni/add_del_cpu",
						     "cni/add_del_user_cpu", "cni/peak_memory" };
	static const char *const units[MEASURES] = { "ns", "ns", "ns", "KiB" };
	static struct side ours = { .plugins = { { .name = "cni-rdma" } }, .n = 1 };
	static struct side theirs = { .plugins = { { .name = "host-device" }, { .name = "rdma" } }, .n = 2 };
	unsigned int n = bench_rounds();

	node_begin_cards("");
	/* host-device leaves a netdev down on the host; ours leaves it as it was. */
	for (int i = 0; i < NODE_NICS; i++)
		CHECK_EQ(node_run("ip link set %s down", node_nics[i].netdev), 0);
	node_remember();
	configure(&ours, &theirs);
	CHECK_EQ(chdir(FOLDER), 0);
	ours.pod = pod_new("ours");
	theirs.pod = pod_new("theirs");
	check_side(&ours, 0);
	check_side(&theirs, 1);
	for (unsigned int i = 0; i < n; i++) {
		if (i & 1)
			measure(&theirs, i);
		measure(&ours, i);
		if (!(i & 1))
			measure(&theirs, i);
	}
	for (int i = 0; i < MEASURES; i++)
		bench_result(names[i], bench_median(ours.values[i], n), units[i], PEER,
			     bench_median(theirs.values[i], n));
	node_check_as_before("after all rounds");
	pod_end(&ours.pod);
	pod_end(&theirs.pod);
	node_end();
}
