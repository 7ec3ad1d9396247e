// SPDX-License-Identifier: Apache-2.0
/*
 * Commands that try what must not work: use descriptors of another pod, open
 * another pod's devices. They report what the kernel says, word for word.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lines/line.h"
#include "p2p/abi.h"
#include "state.h"

static int command_hello(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct stat st;

	(void)s;
	(void)w;
	(void)fd;
	if (stat("/proc/self/ns/net", &st) < 0)
		return reply_fail(reply, negative_errno(), "stat", "/proc/self/ns/net");
	reply_add(reply, "ok pid=%d netns=%ju", (int)getpid(), (uintmax_t)st.st_ino);
	return 0;
}

static int command_quit(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)w;
	(void)fd;
	s->quit = true;
	reply_add(reply, "ok");
	return 0;
}

/* "key=a,b,c" of a directory, only names that begin with prefix. */
static void list_names(struct reply *reply, const char *key, const char *path, const char *prefix)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	const char *separator = "";
	struct dirent *entry;

	reply_add(reply, " %s=", key);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		reply_add(reply, "%s%s", separator, entry->d_name);
		separator = ",";
	}
}

/* What this container can see of devices. */
static int command_list(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)s;
	(void)w;
	(void)fd;
	reply_add(reply, "ok");
	list_names(reply, "accel", "/dev/accel", "accel");
	list_names(reply, "uverbs", "/dev/infiniband", "uverbs");
	list_names(reply, "rdma", "/sys/class/infiniband", "");
	list_names(reply, "netdev", "/sys/class/net", "");
	return 0;
}

/* Sends a descriptor of ours to another server's socket, as "take". */
static int command_send(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	_cleanup_close_ int peer = -EBADF;
	const char *what = words_get(w, "what"), *to = words_get(w, "to"), *as = words_name(w, "as");
	char line[WORDS_LINE_SIZE];
	struct slot *slot;
	int give = -EBADF;
	int r;

	(void)fd;
	if (!what || !to || !as)
		return reply_bad(reply, "what, to, as");
	slot = state_slot(s, words_name(w, "name"));
	if (strcmp(what, "accel") == 0 && s->dev)
		give = p2p_fd(s->dev);
	else if (strcmp(what, "uverbs") == 0 && s->nic)
		give = p2p_nic_context(s->nic)->cmd_fd;
	else if (strcmp(what, "dmabuf") == 0 && slot)
		give = slot->dmabuf;
	if (give < 0)
		return reply_bad(reply, "what (accel, uverbs or dmabuf, and open)");
	r = line_connect(to, &peer);
	if (r < 0)
		return reply_fail(reply, r, "connect", "the peer's socket");
	r = snprintf(line, sizeof(line), "take as=%s\n", as);
	r = line_send(peer, line, (size_t)r, give);
	if (r == 0)
		r = line_read(peer, line, sizeof(line), 10);
	if (r < 0)
		return reply_fail(reply, r, "send", "the peer did not take it");
	if (strncmp(line, "ok", 2) != 0)
		return reply_fail(reply, -EPROTO, "send", line);
	reply_add(reply, "ok");
	return 0;
}

static int command_take(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct held *held;

	if (*fd < 0)
		return reply_fail(reply, -EBADF, "take", "no descriptor came with the line");
	held = state_held_new(s, words_name(w, "as"));
	if (!held)
		return reply_bad(reply, "as");
	held->fd = TAKE_FD(*fd);
	reply_add(reply, "ok");
	return 0;
}

static int command_release(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct held *held = state_held(s, words_name(w, "as"));

	(void)fd;
	if (!held)
		return reply_bad(reply, "as");
	closep(&held->fd);
	held->fd = -EBADF;
	held->name[0] = '\0';
	reply_add(reply, "ok");
	return 0;
}

static int try_info(int fd)
{
	struct p2p_abi_hw_ip ip;
	struct p2p_abi_info args = {
		.return_pointer = (uintptr_t)&ip,
		.return_size = sizeof(ip),
		.op = P2P_ABI_INFO_HW_IP,
	};

	return RET_NERRNO(ioctl(fd, P2P_ABI_IOC_INFO, &args));
}

static int try_memory(int fd, uint32_t op, uint64_t a, uint64_t b, uint32_t flags)
{
	union p2p_abi_memory args = { .in = { .a = a, .b = b, .op = op, .flags = flags } };

	return RET_NERRNO(ioctl(fd, P2P_ABI_IOC_MEMORY, &args));
}

static int try_mmap(int fd, int protection)
{
	void *map = mmap(NULL, 4096, protection, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return negative_errno();
	(void)munmap(map, 4096);
	return 0;
}

/* Every call that the accel node serves. addr is a device address that its owner has mapped. */
static void try_accel(int fd, uint64_t addr, struct reply *reply)
{
	reply_add(reply, "ok info=%s", errno_name(try_info(fd)));
	reply_add(reply, " alloc=%s",
		  errno_name(try_memory(fd, P2P_ABI_MEM_ALLOC, 4096, 0, P2P_ABI_MEM_CONTIGUOUS)));
	reply_add(reply, " map=%s", errno_name(try_memory(fd, P2P_ABI_MEM_MAP, 0, 1, 0)));
	reply_add(reply, " export=%s",
		  errno_name(try_memory(fd, P2P_ABI_MEM_EXPORT, addr, 4096, O_RDWR | O_CLOEXEC)));
	reply_add(reply, " unmap=%s", errno_name(try_memory(fd, P2P_ABI_MEM_UNMAP, addr, 0, 0)));
	reply_add(reply, " free=%s", errno_name(try_memory(fd, P2P_ABI_MEM_FREE, 1, 0, 0)));
}

static void try_dmabuf(struct state *s, int fd, struct reply *reply)
{
	struct p2p_dmabuf_info info;
	struct ibv_mr *mr;
	int r;

	r = p2p_dmabuf_info(fd, &info);
	reply_add(reply, "ok exporter=%s", r < 0 ? errno_name(r) : info.exporter);
	reply_add(reply, " mmap_read=%s", errno_name(try_mmap(fd, PROT_READ)));
	reply_add(reply, " mmap_write=%s", errno_name(try_mmap(fd, PROT_READ | PROT_WRITE)));
	if (!s->nic) {
		reply_add(reply, " register=none");
		return;
	}
	r = p2p_register(s->nic, fd, 0, 4096, 0, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ, &mr);
	reply_add(reply, " register=%s", errno_name(r));
	if (r == 0)
		(void)p2p_unregister(mr);
}

/*
 * A mapping that no driver has: EINVAL from a living context, EIO when its device is gone (ib_uverbs_mmap). Commands
 * would not tell: they look at their arguments first, and write() is for the opener only.
 */
static int try_uverbs(int fd)
{
	void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, (off_t)1 << 40);

	if (map == MAP_FAILED)
		return negative_errno();
	(void)munmap(map, 4096);
	return 0;
}

static int command_try(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct held *held = state_held(s, words_name(w, "as"));
	const char *what = words_get(w, "what");
	uint64_t addr = 0;

	(void)fd;
	if (!held || !what)
		return reply_bad(reply, "as, what");
	if (words_u64(w, "addr", 0, UINT64_MAX, &addr) == -EINVAL)
		return reply_bad(reply, "addr");
	if (strcmp(what, "accel") == 0)
		try_accel(held->fd, addr, reply);
	else if (strcmp(what, "dmabuf") == 0)
		try_dmabuf(s, held->fd, reply);
	else if (strcmp(what, "uverbs") == 0)
		reply_add(reply, "ok mmap=%s", errno_name(try_uverbs(held->fd)));
	else
		return reply_bad(reply, "what (accel, dmabuf or uverbs)");
	return 0;
}

/* Makes a device node of our own beside, opens it, removes it. */
static void try_own_node(unsigned device_major, unsigned device_minor, struct reply *reply)
{
	/* A container's /dev allows devices; most other file systems that it can write to are mounted without. */
	static const char *const directories[] = { "/dev", "/tmp" };
	char path[64];
	int made = -ENOENT, opened = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(directories) && made != 0; i++) {
		int fd, r;

		(void)snprintf(path, sizeof(path), "%s/p2p-copy-node.%d", directories[i], (int)getpid());
		r = RET_NERRNO(mknod(path, S_IFCHR | 0600, makedev(device_major, device_minor)));
		if (i == 0 || r == 0)
			made = r;
		if (r < 0)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		opened = fd < 0 ? negative_errno() : 0;
		closep(&fd);
		(void)unlink(path);
	}
	reply_add(reply, " mknod=%s mknod_open=%s", errno_name(made), made < 0 ? "none" : errno_name(opened));
}

static int command_try_node(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const char *path = words_get(w, "path");
	uint64_t device_major, device_minor;
	int node;

	(void)s;
	(void)fd;
	if (!path || path[0] != '/')
		return reply_bad(reply, "path");
	if (words_u64(w, "major", 1, 4095, &device_major) < 0 ||
	    words_u64(w, "minor", 0, 1048575, &device_minor) < 0)
		return reply_bad(reply, "major, minor");
	node = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	reply_add(reply, "ok open=%s", errno_name(node < 0 ? negative_errno() : 0));
	closep(&node);
	try_own_node((unsigned)device_major, (unsigned)device_minor, reply);
	return 0;
}

const struct command commands_foreign[] = {
	{ "hello", "", "process and network namespace", command_hello },
	{ "list", "", "the devices that this container sees", command_list },
	{ "send", "what=accel|uverbs|dmabuf [name=M] to=SOCKET as=NAME",
	  "hand a descriptor to another server", command_send },
	{ "take", "as=NAME", "keep the descriptor that comes with this line", command_take },
	{ "try", "as=NAME what=accel|dmabuf|uverbs [addr=]",
	  "use such a descriptor; says what the kernel answers", command_try },
	{ "release", "as=NAME", "close it", command_release },
	{ "try-node", "path=NODE major= minor=", "open that node, and one of our own making",
	  command_try_node },
	{ "quit", "", "end", command_quit },
	{ NULL, NULL, NULL, NULL },
};
