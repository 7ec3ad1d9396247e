// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni_node.h"
#include "vm.h"

#define PLUGIN "/opt/cni/bin/cni-rdma"
#define WORDS 24

struct node_nic node_nics[NODE_NICS];
static bool is_infiniband;
static char before[NODE_TEXT];

int node_run(const char *format, ...)
{
	char command[512], path[64], *words[WORDS + 1] = { 0 }, *at = command;
	int status = -1;
	va_list args;
	pid_t pid;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	for (int n = 0; n < WORDS && (words[n] = strsep(&at, " ")); n++)
		;
	/* Not by PATH: the guest's first ip is busybox's. */
	snprintf(path, sizeof(path), "/usr/bin/%s", words[0]);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execv(path, words);
		_exit(127);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- looking ----------------------------------------------------------------- */
static bool read_attr(char *buf, size_t size, const char *format, ...)
{
	char path[256];
	va_list args;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return vm_read(path, buf, size) >= 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **node_names_in(const char *path)
{
	char **names = calloc(256, sizeof(*names));
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t n = 0;

	while (dir && (entry = readdir(dir)) && n < 255) {
		if (entry->d_name[0] != '.')
			names[n++] = strdup(entry->d_name);
	}
	if (dir)
		closedir(dir);
	qsort(names, n, sizeof(*names), compare);
	return names;
}

static void add(char *text, size_t size, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, size - len, format, args);
	va_end(args);
}

/* infiniband_verbs shows every device of the node; the name is enough as long as names are unique here. */
static int uverbs_of(const char *rdma)
{
	char **names = node_names_in("/sys/class/infiniband_verbs"), text[64];

	for (; *names; names++) {
		if (read_attr(text, sizeof(text), "/sys/class/infiniband_verbs/%s/ibdev", *names) &&
		    strcmp(text, rdma) == 0)
			return atoi(*names + strlen("uverbs"));
	}
	return -1;
}

static bool has_gid(const char *rdma)
{
	char text[64];

	for (int i = 0; i < 8; i++) {
		if (read_attr(text, sizeof(text), "/sys/class/infiniband/%s/ports/1/gids/%d", rdma, i) &&
		    strcmp(text, "0000:0000:0000:0000:0000:0000:0000:0000") != 0)
			return true;
	}
	return false;
}

static const char *pci_of(const char *netdev)
{
	static char target[PATH_MAX];
	char path[64], *end, *pci;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/net/%s", netdev);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return "";
	target[n] = '\0';
	end = strstr(target, "/virtio");
	if (!end)
		end = strstr(target, "/net/");
	if (!end)
		return "";
	*end = '\0';
	pci = strrchr(target, '/');
	return pci && strchr(pci, ':') ? pci + 1 : "";
}

static void snapshot(char *text, size_t size, bool with_gid)
{
	char attr[64], mtu[16], parent[64];

	text[0] = '\0';
	for (char **name = node_names_in("/sys/class/net"); *name; name++) {
		if (strcmp(*name, "lo") == 0 ||
		    !read_attr(attr, sizeof(attr), "/sys/class/net/%s/flags", *name) ||
		    !read_attr(mtu, sizeof(mtu), "/sys/class/net/%s/mtu", *name))
			continue;
		add(text, size, "netdev %s %s %s mtu %s\n", *name, strtoul(attr, NULL, 0) & 1 ? "up" : "down",
		    pci_of(*name), mtu);
	}
	for (char **name = node_names_in("/sys/class/infiniband"); *name; name++) {
		/* Soft-RoCE's own attribute, or what the core knows of any device with a GID. */
		if (!read_attr(parent, sizeof(parent), "/sys/class/infiniband/%s/parent", *name) &&
		    !read_attr(parent, sizeof(parent), "/sys/class/infiniband/%s/ports/1/gid_attrs/ndevs/0",
			       *name))
			strcpy(parent, "-");
		add(text, size, "rdma %s on %s uverbs%d%s\n", *name, parent, uverbs_of(*name),
		    with_gid && has_gid(*name) ? " gid" : "");
	}
}

void node_snapshot(char *text, size_t size)
{
	snapshot(text, size, false);
}

void node_remember(void)
{
	node_snapshot(before, sizeof(before));
}

void node_check_as_before(const char *when)
{
	char now[NODE_TEXT];

	node_snapshot(now, sizeof(now));
	CHECK_MSG(strcmp(before, now) == 0, "%s the host was\n%sand is\n%s", when, before, now);
}

/* --- setting up ---------------------------------------------------------------- */
static void set_mode(const char *mode)
{
	int r = -1;

	/* refused while a namespace of an earlier test is still being taken apart */
	for (double end = vm_now() + 20; r && vm_now() < end; vm_sleep(0.1))
		r = node_run("rdma system set netns %s", mode);
	CHECK_EQ(r, 0);
}

/* Cards and links that are left, and netdevs that a dead namespace returned under other names. */
static void clear_links(void)
{
	int r;

	/* Busy while a process of an earlier test still ends with a card open. */
	WAIT_FOR((r = vm_rmmod("rdma_card")) != -EAGAIN, 20);
	CHECK_MSG(r == 0 || r == -ENOENT, "rdma_card stays: %s", strerror(-r));
	for (char **name = node_names_in("/sys/class/infiniband"); *name; name++)
		CHECK_EQ(node_run("rdma link del %s", *name), 0);
	for (char **name = node_names_in("/sys/class/net"); *name; name++) {
		if (strncmp(*name, "cnifill", 7) == 0 || strncmp(*name, "dummy", 5) == 0)
			node_run("ip link del %s", *name);
	}
}

static void clear_state(void)
{
	char path[512];

	for (char **name = node_names_in(NODE_STATE_DIR); *name; name++) {
		snprintf(path, sizeof(path), NODE_STATE_DIR "/%s", *name);
		unlink(path);
	}
}

int node_state_files(void)
{
	int n = 0;

	for (char **name = node_names_in(NODE_STATE_DIR); *name; name++)
		n += strstr(*name, ".json") != NULL;
	return n;
}

/* Soft-RoCE links rxe0 and on. */
static void make_links(void)
{
	for (size_t i = 0; i < NODE_NICS; i++) {
		struct node_nic *nic = &node_nics[i];

		snprintf(nic->rdma, sizeof(nic->rdma), "rxe%zu", i);
		CHECK_EQ(node_run("rdma link add %s type rxe netdev %s", nic->rdma, nic->netdev), 0);
	}
}

/* Every virtio NIC has its driver, or (of the first of them) none has. */
static void drive_nics(bool yes)
{
	char path[128], text[16];
	int n = 0;

	for (char **name = node_names_in("/sys/bus/virtio/devices"); *name; name++) {
		if (!read_attr(text, sizeof(text), "/sys/bus/virtio/devices/%s/device", *name) ||
		    strcmp(text, "0x0001") != 0 || (!yes && n++ == NODE_NICS))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%s/driver", *name);
		if ((access(path, F_OK) == 0) == yes)
			continue;
		snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/virtio_net/%s",
			 yes ? "bind" : "unbind");
		CHECK_EQ(vm_write(path, *name), 0);
	}
}

/* RDMA devices card0 and on below the PCI functions, and netdevs ib0 and on, of virtio NICs that are no more. */
static void make_infiniband(const char *parameters)
{
	bool is_older = strstr(parameters, "make_netdevs=1");
	char all[128] = "functions=";
	int r;

	r = is_older ? vm_rmmod("ib_ipoib") : vm_insmod("ib_ipoib", NULL);
	CHECK(r == 0 || r == (is_older ? -ENOENT : -EEXIST));
	drive_nics(false);
	for (size_t i = 0; i < NODE_NICS; i++) {
		struct node_nic *nic = &node_nics[i];

		snprintf(nic->rdma, sizeof(nic->rdma), "card%zu", i);
		snprintf(nic->netdev, sizeof(nic->netdev), "ib%zu", i);
		add(all, sizeof(all), "%s%s", nic->pci, i + 1 < NODE_NICS ? "," : " ");
	}
	add(all, sizeof(all), "%s", parameters);
	CHECK_EQ(vm_insmod("rdma_card", all), 0);
	for (size_t i = 0; i < NODE_NICS; i++)
		CHECK_EQ(node_run("ip link set %s up mtu 1400", node_nics[i].netdev), 0);
}

/* RDMA devices card0 and on, below the NICs' PCI functions. */
static void make_cards(const char *parameters)
{
	char all[128] = "netdevs=";

	for (size_t i = 0; i < NODE_NICS; i++) {
		struct node_nic *nic = &node_nics[i];

		snprintf(nic->rdma, sizeof(nic->rdma), "card%zu", i);
		add(all, sizeof(all), "%s%s", nic->netdev, i + 1 < NODE_NICS ? "," : " ");
	}
	add(all, sizeof(all), "%s", parameters);
	CHECK_EQ(vm_insmod("rdma_card", all), 0);
}

static void begin(const char *mode, const char *cards)
{
	size_t n = 0;

	setbuf(stderr, NULL);
	clear_links();
	drive_nics(true);
	clear_state();
	set_mode(mode);
	for (char **name = node_names_in("/sys/class/net"); *name; name++) {
		struct node_nic *nic = &node_nics[n];

		if (!pci_of(*name)[0])
			continue;
		if (n == NODE_NICS) {
			node_run("ip link set %s down", *name);
			continue;
		}
		snprintf(nic->pci, sizeof(nic->pci), "%s", pci_of(*name));
		snprintf(nic->netdev, sizeof(nic->netdev), "%s", *name);
		CHECK_EQ(node_run("ip link set %s up mtu 1400", nic->netdev), 0);
		n++;
	}
	CHECK_MSG(n == NODE_NICS, "the machine has %zu virtio NICs, the tests need %d", n, NODE_NICS);
	if (is_infiniband)
		make_infiniband(cards);
	else if (cards)
		make_cards(cards);
	else
		make_links();
	for (n = 0; n < NODE_NICS; n++) {
		node_nics[n].uverbs = uverbs_of(node_nics[n].rdma);
		CHECK_EQ(node_nics[n].uverbs, (long long)n);
	}
	node_remember();
}

void node_begin(void)
{
	begin("exclusive", NULL);
}

void node_begin_shared(void)
{
	begin("shared", NULL);
}

void node_begin_cards(const char *parameters)
{
	begin("exclusive", parameters);
}

void node_begin_infiniband(const char *parameters)
{
	is_infiniband = true;
	begin("exclusive", parameters);
}

const char *node_write_pairs(void)
{
	static const char path[] = "/run/pairs.json";
	FILE *file = fopen(path, "w");

	CHECK(file);
	fprintf(file,
		"{\"version\":1,\"mode\":\"paired\",\"pairs\":[{\"gaudi\":\"HL1\",\"nic\":{\"pci\":\"%s\",\"rdma\":\"%s\","
		"\"netdev\":\"%s\",\"uverbs\":\"uverbs%d\",\"node_guid\":\"\"}}]}",
		node_nics[0].pci, node_nics[0].rdma, node_nics[0].netdev, node_nics[0].uverbs);
	CHECK_EQ(fclose(file), 0);
	return path;
}

void node_end(void)
{
	clear_links();
	drive_nics(true);
	set_mode("shared");
}

/* --- pods ------------------------------------------------------------------------ */
static void bind_namespace(void *arg)
{
	const struct pod *pod = arg;
	int fd = open(pod->netns, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);

	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(mount("/proc/self/ns/net", pod->netns, NULL, MS_BIND, NULL), 0);
}

struct pod pod_new(const char *name)
{
	struct pod pod;

	snprintf(pod.name, sizeof(pod.name), "%s", name);
	snprintf(pod.netns, sizeof(pod.netns), "/run/netns/%s", name);
	umount2(pod.netns, MNT_DETACH);
	vm_child_end(vm_child(true, bind_namespace, &pod));
	return pod;
}

void pod_end(const struct pod *pod)
{
	CHECK_EQ(umount2(pod->netns, MNT_DETACH), 0);
	CHECK_EQ(unlink(pod->netns), 0);
}

void pod_end_and_wait(const struct pod *pod)
{
	CHECK_EQ(node_run("ip link add witness0 type veth peer name witness1 netns %s", pod->name), 0);
	pod_end(pod);
	WAIT_FOR(access("/sys/class/net/witness0", F_OK) < 0, 20);
}

pid_t pod_child(const struct pod *pod, void (*fn)(void *arg), void *arg)
{
	int netns;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	netns = open(pod->netns, O_RDONLY | O_CLOEXEC);
	CHECK(netns >= 0);
	CHECK_EQ(setns(netns, CLONE_NEWNET), 0);
	CHECK_EQ(unshare(CLONE_NEWNS), 0);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_EQ(mount("sysfs", "/sys", "sysfs", 0, NULL), 0);
	fn(arg);
	fflush(stdout);
	_exit(0);
}

static void print_snapshot(void *arg)
{
	char text[NODE_TEXT];

	snapshot(text, sizeof(text), true);
	CHECK_EQ(write(*(int *)arg, text, strlen(text)), (long long)strlen(text));
}

static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
}

void pod_snapshot(const struct pod *pod, char *text, size_t size)
{
	int fds[2];
	pid_t pid;

	CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
	pid = pod_child(pod, print_snapshot, &fds[1]);
	close(fds[1]);
	read_all(fds[0], text, size);
	vm_child_end(pid);
}

void pod_check(const struct pod *pod, unsigned int mask)
{
	pod_check_beside(pod, mask, "");
}

void pod_check_beside(const struct pod *pod, unsigned int mask, const char *others)
{
	char expected[NODE_TEXT] = "", rdma[NODE_TEXT] = "", now[NODE_TEXT];
	int n = 0;

	add(expected, sizeof(expected), "%s", others);
	for (int i = 0; i < NODE_NICS; i++) {
		const struct node_nic *nic = &node_nics[i];

		if (!(mask & 1u << i))
			continue;
		add(expected, sizeof(expected), "netdev rdma%d up %s mtu 1400\n", n, nic->pci);
		if (is_infiniband)
			add(rdma, sizeof(rdma), "rdma %s on - uverbs%d gid\n", nic->rdma, nic->uverbs);
		else
			add(rdma, sizeof(rdma), "rdma %s on rdma%d uverbs%d gid\n", nic->rdma, n,
			    nic->uverbs);
		n++;
	}
	add(expected, sizeof(expected), "%s", rdma);
	pod_snapshot(pod, now, sizeof(now));
	CHECK_MSG(strcmp(expected, now) == 0, "the pod should have\n%sand has\n%s", expected, now);
}

/* --- the plugin -------------------------------------------------------------------- */
static void put_env(const char *key, const char *value)
{
	if (value)
		setenv(key, value, 1);
	else
		unsetenv(key);
}

static void exec_plugin(const struct call *call, int out)
{
	char config[2 * NODE_TEXT];
	int in = open("/run", O_TMPFILE | O_RDWR, 0600);

	snprintf(
		config, sizeof(config),
		"{\"cniVersion\":\"1.1.0\",\"name\":\"rdma\",\"type\":\"cni-rdma\",\"lockTimeout\":300,\"pairs\":\"%s\",%s"
		"\"stateDir\":\"" NODE_STATE_DIR "\"%s%s%s%s%s}",
		call->pairs ? call->pairs : "/run/no-pairs", call->extra ? call->extra : "",
		call->device ? ",\"runtimeConfig\":{\"deviceID\":\"" : "", call->device ? call->device : "",
		call->device ? "\"}" : "", call->prev ? ",\"prevResult\":" : "",
		call->prev ? call->prev : "");
	if (in < 0 || write(in, config, strlen(config)) < 0 || lseek(in, 0, SEEK_SET) < 0)
		_exit(126);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	put_env("CNI_COMMAND", call->verb);
	put_env("CNI_CONTAINERID", call->pod ? call->pod->name : NULL);
	put_env("CNI_NETNS", call->pod ? call->pod->netns : NULL);
	put_env("CNI_IFNAME", "eth0");
	put_env("CNI_PATH", "/opt/cni/bin");
	/* There is no kubelet here whom a device could be asked of. */
	put_env("CNI_ARGS",
		call->device && !call->in_cluster ? NULL : "K8S_POD_NAMESPACE=test;K8S_POD_NAME=pod");
	put_env("CNI_RDMA_TRUSTED_PATHS", "/run");
	put_env("CNI_RDMA_FAULT", call->fault);
	if (call->files)
		setrlimit(RLIMIT_NOFILE,
			  &(struct rlimit){ .rlim_cur = call->files, .rlim_max = call->files });
	if (call->root && (chroot(call->root) || chdir("/")))
		_exit(126);
	put_env("GLIBC_TUNABLES",
		call->memory ? "glibc.malloc.top_pad=0" : NULL); /* or it takes all at its start */
	if (call->memory)
		setrlimit(RLIMIT_AS, &(struct rlimit){ .rlim_cur = call->memory, .rlim_max = call->memory });
	execl(PLUGIN, PLUGIN, NULL);
	_exit(127);
}

pid_t call_begin(struct call *call, int *ret_pipe)
{
	int fds[2];
	pid_t pid;

	CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
	fflush(stdout);
	call->seconds = vm_now();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		exec_plugin(call, fds[1]);
	close(fds[1]);
	*ret_pipe = fds[0];
	return pid;
}

void call_end(struct call *call, pid_t pid, int pipe)
{
	const char *code;
	int status;

	read_all(pipe, call->answer, sizeof(call->answer));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	call->seconds = vm_now() - call->seconds;
	call->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	/* The C library itself ends with 127 when it has too little memory to begin. */
	if (call->memory && call->status == 127)
		call->status = 128 + SIGKILL;
	CHECK_MSG(call->status != 126 && call->status != 127, "cannot start " PLUGIN);
	code = strstr(call->answer, "\"code\":");
	call->code = code ? atoi(code + strlen("\"code\":")) : 0;
	/* A failure is an exit status and a document, or neither. */
	CHECK_MSG(call->status >= 128 || (call->status != 0) == (call->code != 0),
		  "%s: exit status %d, answer '%s'", call->verb, call->status, call->answer);
	vm_note("%s %s: status %d, %.0f ms %.300s", call->verb, call->pod ? call->pod->name : "",
		call->status, call->seconds * 1000, call->answer);
}

int call_plugin(struct call *call)
{
	int pipe;
	pid_t pid = call_begin(call, &pipe);

	call_end(call, pid, pipe);
	return call->status >= 128 ? call->status : call->code;
}
