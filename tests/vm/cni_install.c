// SPDX-License-Identifier: Apache-2.0
/* cni-rdma-install beside a real kernel: the mode of RDMA namespaces, which it changes if it may. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define ROOT "/tmp/cni-install"
#define LIST ROOT "/etc/cni/net.d/10-net.conflist"
#define NETWORK "{\"name\":\"n\",\"plugins\":[{\"type\":\"ptp\"}]}"

static void make_root(void)
{
	static const char *const folders[] = { ROOT, ROOT "/etc", ROOT "/etc/cni", ROOT "/etc/cni/net.d" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		mkdir(folders[i], 0755);
	unlink(LIST);
}

/* As a network agent would. */
static void write_list(void)
{
	FILE *file = fopen(LIST ".tmp", "w");

	CHECK(file);
	fputs(NETWORK, file);
	CHECK_EQ(fclose(file), 0);
	CHECK_EQ(rename(LIST ".tmp", LIST), 0);
}

static bool is_chained(void)
{
	char text[1024] = "";
	int fd = open(LIST, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strstr(text, "\"cni-rdma\"");
}

static int install(const char *verb)
{
	return node_run("cni-rdma-install %s --root=" ROOT " --source=/opt/cni/bin", verb);
}

TEST(cni_install_makes_namespaces_exclusive_or_asks_for_a_reboot, .initial_netns = true)
{
	struct pod pod;
	int r = 3;

	node_begin_shared();
	make_root();
	write_list();
	pod = pod_new("i0");
	CHECK_EQ(install("install"), 3);
	CHECK_EQ(install("status"), 3);
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 100);
	CHECK(!is_chained());
	CHECK_EQ(access(ROOT "/etc/modprobe.d/gaudi-p2p.conf", R_OK), 0);
	pod_end_and_wait(&pod);
	/* The kernel takes the rest of them apart by and by. */
	for (double end = vm_now() + 20; r == 3 && vm_now() < end; vm_sleep(0.1))
		r = install("install");
	CHECK_EQ(r, 0);
	CHECK(is_chained());
	CHECK_EQ(install("status"), 0);
	pod = pod_new("i1");
	CHECK_EQ(CNI(.verb = "ADD", .pod = &pod, .device = node_nics[0].pci), 0);
	pod_check(&pod, 1);
	CHECK_EQ(CNI(.verb = "DEL", .pod = &pod), 0);
	CHECK_EQ(install("uninstall"), 0);
	CHECK(!is_chained());
	CHECK_EQ(install("status"), 5);
	pod_end(&pod);
	node_end();
}

static pid_t install_beside(const char *how)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl("/usr/bin/cni-rdma-install", "cni-rdma-install", "install", how, "--interval=1",
		      "--root=" ROOT, "--source=/opt/cni/bin", NULL);
		_exit(127);
	}
	return pid;
}

static bool wait_chained(void)
{
	for (double end = vm_now() + 30; vm_now() < end; vm_sleep(0.1))
		if (is_chained())
			return true;
	return false;
}

TEST(cni_install_waits_for_the_network_and_stays_with_it, .initial_netns = true)
{
	int status = -1;
	pid_t pid;

	node_begin();
	make_root();
	CHECK_EQ(install("install"), 4); /* all but the network */
	pid = install_beside("--wait");
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	write_list();
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(is_chained());

	pid = install_beside("--stay");
	write_list(); /* without us */
	CHECK(wait_chained());
	kill(pid, SIGTERM);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(is_chained()); /* pods need it when they end */
	CHECK_EQ(install("uninstall"), 0);
	CHECK(!is_chained());
	node_end();
}
