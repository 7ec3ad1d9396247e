// SPDX-License-Identifier: Apache-2.0
/*
 * `make bench` part cni: ADD and DEL of one NIC by cni-rdma as it is shipped, beside the reference plugin host-device,
 * which moves netdevs and nothing else: cni-rdma takes the Soft-RoCE link down, makes it again, moves it after the netdev
 * and waits for its GID on top. Without BENCH=1 only a few rounds, so that the benchmark is known to work.
 *
 * vm-modules: virtio_net dummy rdma_rxe ib_uverbs
 * vm-sources: tests/bench/driver.c tests/vm/cni_node.c
 * vm-files: build/lab/static/cni-rdma:/srv/bench/cni-rdma build/lab/cni-tools/host-device:/srv/bench/host-device
 * vm-files: /usr/bin/ip:/usr/bin/ip /usr/bin/rdma:/usr/bin/rdma
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/driver.h"
#include "cni_node.h"
#include "vm.h"

#define FOLDER "/srv/bench/"
#define PEER "host-device, netdev only"

enum { WALL, CPU, MEMORY, MEASURES };

/* A plugin with the NIC and the pod that are its own in this run. */
struct side {
	const char *plugin;
	const char *keys; /* more of its configuration */
	int nic;
	struct pod pod;
	double values[MEASURES][BENCH_ROUNDS_MAX];
};

static void exec_side(const struct side *side, const char *verb)
{
	int in = open("/run", O_TMPFILE | O_RDWR, 0600), out = open("/dev/null", O_WRONLY);

	if (in < 0 || out < 0 ||
	    dprintf(in, "{\"cniVersion\":\"1.1.0\",\"name\":\"bench\",\"type\":\"%s\",\"pciBusID\":\"%s\"%s}",
		    side->plugin, node_nics[side->nic].pci, side->keys) < 0 ||
	    lseek(in, 0, SEEK_SET) < 0)
		_exit(126);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	setenv("CNI_COMMAND", verb, 1);
	setenv("CNI_CONTAINERID", side->pod.name, 1);
	setenv("CNI_NETNS", side->pod.netns, 1);
	setenv("CNI_IFNAME", "rdma0", 1);
	setenv("CNI_PATH", FOLDER, 1);
	execl(side->plugin, side->plugin, NULL);
	_exit(127);
}

static double ns_of(struct timeval time)
{
	return (double)time.tv_sec * 1e9 + (double)time.tv_usec * 1e3;
}

static void call_side(struct side *side, const char *verb, unsigned int round)
{
	uint64_t start = bench_now();
	struct rusage usage;
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		exec_side(side, verb);
	CHECK_EQ(wait4(pid, &status, 0, &usage), pid);
	side->values[WALL][round] += (double)(bench_now() - start);
	CHECK_MSG(status == 0, "%s %s ended with status %#x", side->plugin, verb, (unsigned int)status);
	side->values[CPU][round] += ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
	if (side->values[MEMORY][round] < (double)usage.ru_maxrss)
		side->values[MEMORY][round] = (double)usage.ru_maxrss;
}

/* ADD and DEL together: the sum of the times, the greater peak. */
static void measure(struct side *side, unsigned int round)
{
	for (int i = 0; i < MEASURES; i++)
		side->values[i][round] = 0;
	call_side(side, "ADD", round);
	call_side(side, "DEL", round);
}

/* Each does what it is measured for. */
static void check_side(struct side *side, unsigned int mask)
{
	char netdev[64];

	call_side(side, "ADD", 0);
	if (mask) {
		pod_check(&side->pod, mask);
	} else {
		snprintf(netdev, sizeof(netdev), "netdev rdma0 up %s mtu 1400\n", node_nics[side->nic].pci);
		pod_check_beside(&side->pod, 0, netdev);
	}
	call_side(side, "DEL", 0);
	node_check_as_before("after DEL");
}

TEST(cni_bench_runs_beside_its_peer, .initial_netns = true, .seconds = 120, .long_seconds = 1200)
{
	static const char *const names[MEASURES] = { "cni/add_del_time", "cni/add_del_cpu",
						     "cni/peak_memory" };
	static const char *const units[MEASURES] = { "ns", "ns", "KiB" };
	static struct side ours = { .plugin = "cni-rdma",
				    .keys = ",\"pairs\":\"/run/no-pairs\",\"leaseTimeout\":0",
				    .nic = 0 };
	static struct side theirs = { .plugin = "host-device", .keys = "", .nic = 1 };
	unsigned int n = bench_rounds();

	node_begin();
	/* Moving the netdev alone would end the link, and nobody would make it again. */
	CHECK_EQ(node_run("rdma link del %s", node_nics[theirs.nic].rdma), 0);
	CHECK_EQ(node_run("ip link set %s down", node_nics[theirs.nic].netdev), 0);
	node_remember();
	CHECK_EQ(chdir(FOLDER), 0);
	ours.pod = pod_new("ours");
	theirs.pod = pod_new("theirs");
	check_side(&ours, 1u << ours.nic);
	check_side(&theirs, 0);
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
