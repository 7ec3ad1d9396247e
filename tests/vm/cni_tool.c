// SPDX-License-Identifier: Apache-2.0
/*
 * cni-rdma as a runtime calls it: through CNI's own cnitool, with the reference plugins ptp and host-local as
 * neighbours, in every version of the protocol. And alone, in a root folder that has nothing else.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define TOOL "/opt/cni/bin/cnitool"
#define CONFIGS "/run/cni-configs"
#define LEASES "/run/cni-leases"
#define NETWORK "lab"
/* What our plugin was given on standard input by ADD, and answered; what cnitool made of it. */
#define ASKED "/run/asked.json"
#define ANSWERED "/run/answered.json"
#define PRINTED "/run/printed.json"
#define EMPTY_ROOT "/srv/empty"

#define IPAM "\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"" LEASES "\",\"subnet\":\"10.77.0.0/24\"}"
#define OURS                                                                                            \
	"{\"type\":\"cni-rdma-seen\",\"capabilities\":{\"deviceID\":true},\"pairs\":\"/run/no-pairs\"," \
	"\"stateDir\":\"" NODE_STATE_DIR "\""
#define CHAINED "{\"type\":\"ptp\"," IPAM "}," OURS "}"
#define STANDALONE OURS "," IPAM "}"

/* In the order of their age. */
static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
enum { V0_4_0 = 2, V1_0_0 = 3, V1_1_0 = 4, VERSIONS };

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (long long)strlen(text));
	close(fd);
}

/* Our plugin, with a look at what goes in and out of ADD: libcni hides what a version does not have. */
static void put_seen_plugin(void)
{
	write_file("/opt/cni/bin/cni-rdma-seen",
		   "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exec /opt/cni/bin/cni-rdma\ncat >" ASKED "\n"
		   "/opt/cni/bin/cni-rdma <" ASKED " >" ANSWERED "\nstatus=$?\ncat " ANSWERED
		   "\nexit $status\n",
		   0755);
}

static void put_network(const char *version, const char *plugins)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"name\":\"" NETWORK "\",\"plugins\":[%s]}",
		 version, plugins);
	mkdir(CONFIGS, 0755);
	write_file(CONFIGS "/10-lab.conflist", text, 0644);
}

static void exec_tool(const char *verb, const struct pod *pod, const char *device)
{
	int out = open(PRINTED, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	char device_id[64];

	snprintf(device_id, sizeof(device_id), "{\"deviceID\":\"%s\"}", device);
	dup2(out, STDOUT_FILENO);
	setenv("CNI_PATH", "/opt/cni/bin", 1);
	setenv("NETCONFPATH", CONFIGS, 1);
	setenv("CAP_ARGS", device_id, 1);
	setenv("CNI_IFNAME", "eth0", 1);
	execl(TOOL, TOOL, verb, NETWORK, pod->netns, NULL);
	_exit(127);
}

/* Exit status of cnitool. */
static int tool(const char *verb, const struct pod *pod, const char *device)
{
	double start = vm_now();
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		exec_tool(verb, pod, device);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 127);
	vm_note("cnitool %s %s: status %d, %.0f ms", verb, pod->name, WEXITSTATUS(status),
		(vm_now() - start) * 1000);
	return WEXITSTATUS(status);
}

static bool has_lease(void)
{
	for (char **name = node_names_in(LEASES "/" NETWORK); *name; name++) {
		if (strncmp(*name, "10.77.", 6) == 0)
			return true;
	}
	return false;
}

/* --- results ----------------------------------------------------------------- */
static json_t *load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);

	CHECK_MSG(root, "%s, line %d: %s", path, error.line, error.text);
	return root;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Every key of the previous result is as it was, but for its list of interfaces, which may go on. */
static void check_untouched(const json_t *before, const json_t *result)
{
	json_t *interfaces = json_object_get(before, "interfaces"), *value;
	const char *key;
	size_t i;

	CHECK(json_array_size(interfaces) > 0 && json_array_size(json_object_get(before, "ips")) > 0);
	json_array_foreach(interfaces, i, value)
		CHECK(json_equal(value, json_array_get(json_object_get(result, "interfaces"), i)));
	json_object_foreach((json_t *)before, key, value) {
		if (strcmp(key, "interfaces") != 0)
			CHECK_MSG(json_equal(value, json_object_get(result, key)), "'%s' was changed", key);
	}
	CHECK_EQ(json_object_size(before), json_object_size(result));
}

/* The last interface is NIC 1 in the pod, in the words of that version. */
static void check_our_interface(const json_t *result, int version, const struct pod *pod)
{
	const json_t *list = json_object_get(result, "interfaces");
	const json_t *nic = json_array_get(list, json_array_size(list) - 1);
	bool newest = version >= V1_1_0;

	CHECK_MSG(strcmp(text_of(nic, "name"), "rdma0") == 0 && strlen(text_of(nic, "mac")) == 17 &&
			  strcmp(text_of(nic, "sandbox"), pod->netns) == 0,
		  "interface %s", json_dumps(nic, 0));
	CHECK_EQ(json_object_size(nic), newest ? 5 : 3);
	if (newest) {
		CHECK_EQ(json_integer_value(json_object_get(nic, "mtu")), 1400);
		CHECK(strcmp(text_of(nic, "pciID"), node_nics[1].pci) == 0);
	}
}

/* In the raw answer of our plugin, and still in what cnitool prints. Returns the answer. */
static json_t *check_results(int version, const struct pod *pod)
{
	json_t *answered = load(ANSWERED), *printed = load(PRINTED), *ip;
	size_t i;

	CHECK(strcmp(text_of(answered, "cniVersion"), versions[version]) == 0);
	CHECK(strcmp(text_of(printed, "cniVersion"), versions[version]) == 0);
	check_our_interface(answered, version, pod);
	check_our_interface(printed, version, pod);
	CHECK_EQ(json_array_size(json_object_get(answered, "ips")), 1);
	json_array_foreach(json_object_get(answered, "ips"), i, ip)
		CHECK_MSG(!strcmp(text_of(ip, "version"), version < V1_0_0 ? "4" : ""), "%s: %s",
			  versions[version], json_dumps(ip, 0));
	json_decref(printed);
	return answered;
}

/* --- pods -------------------------------------------------------------------- */
/* In the pod: rdma0 has the first address of the pool, and the RDMA device its GID. */
static void check_address(void *arg)
{
	struct ifreq request = { .ifr_name = "rdma0" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char *address = arg, path[96], gid[64], want[64];
	struct in_addr in;
	bool found = false;

	CHECK(fd >= 0);
	CHECK_EQ(ioctl(fd, SIOCGIFADDR, &request), 0);
	in = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr;
	CHECK_MSG(strcmp(inet_ntoa(in), address) == 0, "rdma0 has %s, not %s", inet_ntoa(in), address);
	snprintf(want, sizeof(want), "0000:0000:0000:0000:0000:ffff:%04x:%04x", ntohl(in.s_addr) >> 16,
		 ntohl(in.s_addr) & 0xffff);
	for (int i = 0; i < 8 && !found; i++) {
		snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/1/gids/%d", node_nics[1].rdma,
			 i);
		found = vm_read(path, gid, sizeof(gid)) > 0 && strcmp(gid, want) == 0;
	}
	CHECK_MSG(found, "no GID %s", want);
}

static void check_address_in(const struct pod *pod, const json_t *answered)
{
	const json_t *ip = json_array_get(json_object_get(answered, "ips"), 0);
	char address[32];

	CHECK_EQ(json_integer_value(json_object_get(ip, "interface")), 0);
	snprintf(address, sizeof(address), "%s", text_of(ip, "address"));
	CHECK(strstr(address, "/24"));
	*strchr(address, '/') = '\0';
	vm_child_end(pod_child(pod, check_address, address));
}

/* After DEL or GC. The first DEL also ends what the neighbours made. */
static void check_all_gone(const char *when, const struct pod *pod)
{
	node_check_as_before(when);
	pod_check(pod, 0);
	CHECK_EQ(node_state_files(), 0);
	CHECK_MSG(!has_lease(), "%s an address is still taken", when);
}

static void maintain(int version, const struct pod *pod, const char *device)
{
	if (version >= V0_4_0)
		CHECK_EQ(tool("check", pod, device), 0);
	if (version >= V1_1_0)
		CHECK_EQ(tool("status", pod, device), 0);
}

/* A runtime that knows of no attachment any more. libcni then sends DEL for those that it remembers, and GC. */
static void collect(const struct pod *pod, const char *device)
{
	CHECK_EQ(tool("add", pod, device), 0);
	CHECK_EQ(tool("gc", pod, device), 0);
	check_all_gone("after gc", pod);
}

static void drive(int version, const char *plugins, void (*look)(int version, const struct pod *pod))
{
	const char *device = node_nics[1].pci;
	struct pod pod;
	char name[24];

	vm_note("--- %s", versions[version]);
	snprintf(name, sizeof(name), "tool-%d", version);
	pod = pod_new(name);
	put_network(versions[version], plugins);
	CHECK_EQ(tool("add", &pod, device), 0);
	CHECK(has_lease());
	look(version, &pod);
	maintain(version, &pod, device);
	CHECK_EQ(tool("del", &pod, device), 0);
	check_all_gone("after del", &pod);
	CHECK_EQ(tool("del", &pod, device), 0);
	check_all_gone("after the second del", &pod);
	if (version >= V1_1_0)
		collect(&pod, device);
	pod_end(&pod);
}

static void look_at_chain(int version, const struct pod *pod)
{
	json_t *asked = load(ASKED), *answered = check_results(version, pod);

	check_untouched(json_object_get(asked, "prevResult"), answered);
	pod_check_beside(pod, 2, "netdev eth0 up  mtu 1500\n");
	json_decref(asked);
	json_decref(answered);
}

TEST(cni_cnitool_chain_of_every_version, .initial_netns = true, .seconds = 180)
{
	node_begin();
	put_seen_plugin();
	for (int version = 0; version < VERSIONS; version++)
		drive(version, CHAINED, look_at_chain);
	node_end();
}

static void look_at_standalone(int version, const struct pod *pod)
{
	json_t *answered = check_results(version, pod);

	CHECK_EQ(json_array_size(json_object_get(answered, "interfaces")), 1);
	pod_check(pod, 2);
	check_address_in(pod, answered);
	json_decref(answered);
}

TEST(cni_cnitool_standalone_of_every_version, .initial_netns = true, .seconds = 180)
{
	node_begin();
	put_seen_plugin();
	for (int version = 0; version < VERSIONS; version++)
		drive(version, STANDALONE, look_at_standalone);
	node_end();
}

/* A failure in the chain: the runtime sends DEL, and the plugin before us gives back what it had made. */
TEST(cni_cnitool_del_after_a_failed_add, .initial_netns = true)
{
	struct pod pod;
	json_t *answered;

	node_begin();
	put_seen_plugin();
	put_network("1.1.0", CHAINED);
	pod = pod_new("tool-f");
	CHECK(tool("add", &pod, "0000:7f:00.0") != 0);
	answered = load(ANSWERED);
	CHECK_EQ(json_integer_value(json_object_get(answered, "code")), 101);
	CHECK(has_lease());
	CHECK_EQ(tool("del", &pod, "0000:7f:00.0"), 0);
	check_all_gone("after del", &pod);
	pod_end(&pod);
	node_end();
}

/* --- alone ------------------------------------------------------------------- */
static void mount_in_root(const char *type)
{
	char path[64];

	snprintf(path, sizeof(path), EMPTY_ROOT "/%s", type[0] == 'p' ? "proc" : "sys");
	CHECK_EQ(mkdir(path, 0755), 0);
	CHECK_EQ(mount(type, path, type, 0, NULL), 0);
}

static void hold_namespace(void *arg)
{
	vm_signal(*(int *)arg);
	pause();
}

/* The program as it is shipped: no library, no helper, no device node, no folder of its own. */
TEST(cni_runs_in_an_empty_root, .initial_netns = true)
{
	struct call call = { .verb = "ADD", .root = EMPTY_ROOT, .device = node_nics[1].pci };
	struct pod pod, seen;
	pid_t holder;
	int sock[2];

	node_begin();
	CHECK(!node_names_in(EMPTY_ROOT)[1] && !strcmp(node_names_in(EMPTY_ROOT)[0], "opt"));
	mount_in_root("proc");
	mount_in_root("sysfs");
	pod = pod_new("alone");
	vm_pair(sock);
	holder = pod_child(&pod, hold_namespace, &sock[1]);
	vm_await(sock[0]);
	seen = pod;
	snprintf(seen.netns, sizeof(seen.netns), "/proc/%d/ns/net", (int)holder);
	CHECK_EQ(CNI(.verb = "VERSION", .root = EMPTY_ROOT), 0);
	CHECK_EQ(CNI(.verb = "STATUS", .root = EMPTY_ROOT), 0);
	call.pod = &seen;
	CHECK_EQ(call_plugin(&call), 0);
	pod_check(&pod, 2);
	CHECK_EQ(CNI(.verb = "CHECK", .root = EMPTY_ROOT, .pod = &seen, .prev = call.answer), 0);
	CHECK_EQ(CNI(.verb = "DEL", .root = EMPTY_ROOT, .pod = &seen), 0);
	node_check_as_before("after DEL");
	pod_check(&pod, 0);
	for (char **name = node_names_in(EMPTY_ROOT NODE_STATE_DIR); *name; name++)
		CHECK_MSG(!strstr(*name, ".json"), "DEL left %s", *name);
	kill(holder, SIGKILL);
	CHECK_EQ(waitpid(holder, NULL, 0), holder);
	CHECK_EQ(umount(EMPTY_ROOT "/proc"), 0);
	CHECK_EQ(umount(EMPTY_ROOT "/sys"), 0);
	pod_end(&pod);
	node_end();
}

/* As it is shipped: whoever finds a hole in it has no address to jump to, and no table of its to write. */
TEST(cni_program_lies_anywhere_loads_nothing_and_writes_no_code)
{
	unsigned int relro = 0;
	Elf64_Phdr part;
	Elf64_Ehdr head;
	int fd = open(EMPTY_ROOT "/opt/cni/bin/cni-rdma", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &head, sizeof(head), 0), sizeof(head));
	CHECK_MSG(head.e_type == ET_DYN, "it is of type %u", head.e_type);
	for (unsigned int i = 0; i < head.e_phnum; i++) {
		CHECK_EQ(pread(fd, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part))),
			 sizeof(part));
		CHECK_MSG(part.p_type != PT_INTERP, "it asks for a dynamic loader");
		CHECK_MSG((part.p_flags & (PF_W | PF_X)) != (PF_W | PF_X),
			  "part %u is code that it can write", i);
		relro += part.p_type == PT_GNU_RELRO;
	}
	CHECK_EQ(relro, 1);
	close(fd);
}
