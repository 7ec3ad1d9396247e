// SPDX-License-Identifier: Apache-2.0
/* What happens to files and processes around the calls. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"
#include "vm.h"

static int op_close(struct fuzz *f)
{
	struct fuzz_file *file;

	if (!f->nr_files)
		return FUZZ_NOTHING;
	file = &f->file[fuzz_below(f, f->nr_files)];
	/* A lease that ends all the time is one that nothing happens to; one that only strangers keep, too. */
	if (file->kind == FUZZ_ACCEL && file->tenant == f->tenant && !fuzz_once_in(f, 4))
		return FUZZ_NOTHING;
	fuzz_called(f);
	fuzz_drop(f, file);
	return 0;
}

static int op_dup(struct fuzz *f)
{
	struct fuzz_file file;

	if (!f->nr_files)
		return FUZZ_NOTHING;
	file = f->file[fuzz_below(f, f->nr_files)];
	fuzz_called(f);
	file.fd = fcntl(file.fd, F_DUPFD_CLOEXEC, 3);
	return file.fd < 0 ? -errno : fuzz_keep(f, file);
}

/* --- from process to process -------------------------------------------------------- */
static int op_send(struct fuzz *f)
{
	struct fuzz_file *file = fuzz_pick(f, fuzz_once_in(f, 3) ? FUZZ_ACCEL : FUZZ_DMABUF);
	unsigned int to = (unsigned int)fuzz_below(f, FUZZ_WORKERS);
	char space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov;
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	if (!file || f->shares_files)
		return FUZZ_NOTHING;
	/* An accel file mostly to somebody whom it serves. */
	if (file->kind == FUZZ_ACCEL && !fuzz_once_in(f, 4))
		to = (f->worker + FUZZ_TENANTS) % FUZZ_WORKERS;
	iov = (struct iovec){ .iov_base = file, .iov_len = sizeof(*file) };
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &file->fd, sizeof(int));
	fuzz_called(f);
	if (sendmsg(f->mailbox[to][1], &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

static int op_receive(struct fuzz *f)
{
	struct fuzz_file file = { 0 };
	char space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &file, .iov_len = sizeof(file) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *head;

	if (recvmsg(f->mailbox[f->worker][0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return FUZZ_NOTHING;
	fuzz_called(f);
	head = CMSG_FIRSTHDR(&message);
	/* Without a free descriptor the message comes without its file. */
	if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EMFILE;
	memcpy(&file.fd, CMSG_DATA(head), sizeof(int));
	return fuzz_keep(f, file);
}

/* --- processes ------------------------------------------------------------------------ */
static int op_pidfd(struct fuzz *f)
{
	struct fuzz_file file = { .kind = FUZZ_PIDFD, .tenant = f->tenant };
	unsigned int worker = (unsigned int)fuzz_below(f, FUZZ_WORKERS);

	/* Nobody can grant to a tenant that must never get in. */
	if (worker % FUZZ_TENANTS >= FUZZ_TENANTS_GRANTED || fuzz_count(f, FUZZ_PIDFD) >= 3)
		return FUZZ_NOTHING;
	fuzz_called(f);
	file.fd = (int)syscall(SYS_pidfd_open, atomic_load(&f->shared->worker[worker].pid), 0);
	return file.fd < 0 ? -errno : fuzz_keep(f, file);
}

static int fork_and_wait(struct fuzz *f, bool share_files, bool leave)
{
	int pid, status;

	if (f->depth)
		return FUZZ_NOTHING;
	fuzz_called(f);
	pid = fuzz_fork(f, share_files, leave, 1 + (unsigned int)fuzz_below(f, 40));
	if (pid < 0)
		return pid;
	/* With our files shared it goes on beside us, and the supervisor reaps it. */
	if (share_files)
		return 0;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	CHECK_MSG(!WIFEXITED(status) || !WEXITSTATUS(status), "a child failed");
	return 0;
}

static int op_fork(struct fuzz *f)
{
	return fork_and_wait(f, false, false);
}

/* A child in a namespace of its own is a stranger to all that it has. */
static int op_leave(struct fuzz *f)
{
	return fork_and_wait(f, false, true);
}

static int op_share(struct fuzz *f)
{
	return f->shares_files ? FUZZ_NOTHING : fork_and_wait(f, true, false);
}

/* --- what is shown -------------------------------------------------------------------- */
static int op_read(struct fuzz *f)
{
	static const char *const names[] = { "state",	       "reason",	 "owner",     "pci_addr",
					     "status",	       "exported",	 "allocated", "scrub",
					     "exported_bytes", "allocated_bytes" };
	char path[96], text[4096];
	int r;

	fuzz_called(f);
	if (f->nr_files && fuzz_once_in(f, 2))
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->file[fuzz_below(f, f->nr_files)].fd);
	else
		snprintf(path, sizeof(path), "/sys/class/accel/accel%d/device/%s",
			 f->shared->node[fuzz_below(f, FUZZ_CARDS)], names[fuzz_below(f, 10)]);
	r = vm_read(path, text, sizeof(text));
	return r < 0 ? r : 0;
}

static int op_debugfs(struct fuzz *f)
{
	static const char dirs[][32] = { "/sys/kernel/debug/accel", "/sys/kernel/debug/dma_buf" };
	char path[512], text[16384];
	const char *dir = dirs[fuzz_below(f, 2)];
	struct dirent *entry;
	DIR *d = opendir(dir), *card;

	if (!d)
		return -errno;
	fuzz_called(f);
	while ((entry = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] == '.' || vm_read(path, text, sizeof(text)) != -EISDIR)
			continue;
		card = opendir(path);
		while (card && (entry = readdir(card))) {
			char inner[800];

			snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
			if (entry->d_name[0] != '.')
				vm_read(inner, text, sizeof(text));
		}
		if (card)
			closedir(card);
	}
	closedir(d);
	return 0;
}

static int op_policy(struct fuzz *f)
{
	fuzz_called(f);
	return vm_write("/sys/module/gaudi_p2p/parameters/nonrevocable",
			fuzz_once_in(f, 2) ? "hold" : "refuse");
}

const struct fuzz_op fuzz_world_ops[] = {
	{ "close", 80, op_close },
	{ "dup", 20, op_dup },
	{ "send a file", 50, op_send },
	{ "receive a file", 80, op_receive },
	{ "pidfd", 15, op_pidfd },
	{ "fork", 2, op_fork },
	{ "leave the namespace", 1, op_leave },
	{ "share the files", 2, op_share },
	{ "sysfs and fdinfo", 15, op_read },
	{ "debugfs", 2, op_debugfs },
	{ "policy", 3, op_policy },
	{ 0 },
};
