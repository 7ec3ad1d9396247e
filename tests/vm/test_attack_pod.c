// SPDX-License-Identifier: Apache-2.0
#include "test_attack_pod.h"

#include <drm/habanalabs_accel.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#define MIB (1ul << 20)

struct request {
	pod_fn *fn; /* valid on both ends: the pod is a fork; NULL: a file comes, or goes if a[0] >= 0 */
	long a[6];
};

static void serve(int sock)
{
	struct request request;
	long answer;

	while (recv(sock, &request, sizeof(request), 0) == sizeof(request)) {
		if (!request.fn && request.a[0] >= 0) {
			vm_send_fd(sock, request.a[0]);
			continue;
		}
		answer = request.fn ? request.fn(request.a) : vm_recv_fd(sock);
		if (send(sock, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			break;
	}
	_exit(0);
}

static void start(struct pod *pod, bool netns)
{
	int sock[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock), 0);
	pod->pid = fork();
	CHECK(pod->pid >= 0);
	if (!pod->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[0]);
		if (netns && unshare(CLONE_NEWNET))
			vm_fail(__FILE__, __LINE__, "no network namespace: %s", strerror(errno));
		serve(sock[1]);
	}
	close(sock[1]);
	pod->sock = sock[0];
}

void pod_start(struct pod *pod)
{
	start(pod, true);
}

void pod_start_here(struct pod *pod)
{
	start(pod, false);
}

void pod_post(struct pod *pod, pod_fn *fn, const long *args)
{
	struct request request = { .fn = fn };

	memcpy(request.a, args, sizeof(request.a));
	CHECK_EQ(send(pod->sock, &request, sizeof(request), MSG_NOSIGNAL), (long)sizeof(request));
}

long pod_wait(struct pod *pod)
{
	long answer;

	CHECK_MSG(recv(pod->sock, &answer, sizeof(answer), 0) == sizeof(answer), "the pod is gone");
	return answer;
}

long pod_call(struct pod *pod, pod_fn *fn, const long *args)
{
	pod_post(pod, fn, args);
	return pod_wait(pod);
}

int pod_give(struct pod *pod, int fd)
{
	pod_post(pod, NULL, (const long[6]){ -1 });
	vm_send_fd(pod->sock, fd);
	return (int)pod_wait(pod);
}

int pod_take(struct pod *pod, int fd)
{
	pod_post(pod, NULL, (const long[6]){ fd });
	return vm_recv_fd(pod->sock);
}

int pod_pass(struct pod *from, int fd, struct pod *to)
{
	int ours = pod_take(from, fd), theirs = pod_give(to, ours);

	close(ours);
	return theirs;
}

void kill_and_wait(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
}

void pod_stop(struct pod *pod)
{
	kill_and_wait(pod->pid);
	close(pod->sock);
}

/* --- what a pod can do ----------------------------------------------------- */
long pod_open(const long *a)
{
	return card_open(a[0], a[1]);
}

long pod_close(const long *a)
{
	return close(a[0]) ? -errno : 0;
}

long pod_alloc(const long *a)
{
	uint64_t handle;
	int r = card_alloc(a[0], a[1], 0, &handle);

	return r ?: (long)handle;
}

long pod_free(const long *a)
{
	return card_free(a[0], a[1]);
}

long pod_map(const long *a)
{
	uint64_t va;
	int r = card_map(a[0], a[1], &va);

	return r ?: (long)va;
}

long pod_unmap(const long *a)
{
	return card_unmap(a[0], a[1]);
}

long pod_export(const long *a)
{
	return card_export(a[0], a[1], a[2], a[3]);
}

long pod_revoke_all(const long *a)
{
	return card_revoke_all(a[0]);
}

long pod_import(const long *a)
{
	int peer = peer_open(), r = peer_attach(peer, a[0], a[1], a[2]);

	if (!r)
		r = peer_map(peer);
	if (r) {
		close(peer);
		return r;
	}
	return peer;
}

long pod_import_try(const long *a)
{
	long peer = pod_import((const long[6]){ a[0], a[1] });

	if (peer < 0)
		return peer;
	close((int)peer);
	return 0;
}

long pod_dma_write(const long *a)
{
	return peer_write(a[0], a[1], &a[2], 8);
}

long pod_dma_read(const long *a)
{
	int64_t value = 0;
	int r = peer_read(a[0], a[1], &value, 8);

	return r ?: value & INT64_MAX;
}

long pod_peer_unmap(const long *a)
{
	return peer_unmap(a[0]);
}

long pod_mmap(const long *a)
{
	void *memory = mmap(NULL, a[1], a[2], MAP_SHARED, a[0], 0);

	return memory == MAP_FAILED ? -errno : (long)memory;
}

long pod_peek(const long *a)
{
	volatile uint8_t *byte = (volatile uint8_t *)a[0];

	return raises_sigbus(byte) ? -EFAULT : *byte;
}

long pod_fill(const long *a)
{
	memset((void *)a[0], (int)a[2], a[1]);
	return 0;
}

long pod_unshare_net(const long *a)
{
	(void)a;
	return unshare(CLONE_NEWNET) ? -errno : 0;
}

static long try_everything(const long *a)
{
	int accel = (int)a[0], dmabuf = (int)a[1], pidfd;
	struct hl_info_hw_idle idle;
	uint64_t out;

	CHECK_EQ(card_info(accel, HL_INFO_HW_IDLE, &idle, sizeof(idle)), a[2]);
	CHECK_EQ(card_alloc(accel, MIB, 0, &out), a[2]);
	CHECK_EQ(card_free(accel, 1), a[2]);
	CHECK_EQ(card_map(accel, 1, &out), a[2]);
	CHECK_EQ(card_unmap(accel, 1ul << 44), a[2]);
	CHECK_EQ(card_export(accel, 1ul << 44, 0, MIB), a[2]);
	CHECK_EQ(card_revoke_all(accel), a[2]);
	CHECK_EQ(card_list(accel, NULL, 0), a[2]);
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	CHECK(pidfd >= 0);
	CHECK_EQ(card_grant(accel, dmabuf, pidfd), a[2]);
	CHECK_EQ(card_take_back(accel, dmabuf, pidfd), a[2]);
	close(pidfd);
	CHECK_EQ(pod_mmap((const long[6]){ accel, 4096, PROT_READ }), a[2]);
	CHECK_EQ(pod_mmap((const long[6]){ dmabuf, 4096, PROT_READ }), a[2]);
	CHECK_EQ(pod_import_try((const long[6]){ dmabuf, EDU_PEER_DYNAMIC }), a[2]);
	CHECK_EQ(pod_import_try((const long[6]){ dmabuf, EDU_PEER_PINNED_REVOCABLE }), a[2]);
	CHECK_EQ(pod_import_try((const long[6]){ dmabuf, EDU_PEER_PINNED }), a[2]);
	return 0;
}

void stranger_is_refused(struct pod *pod, int accel, int dmabuf, int expected)
{
	CHECK_EQ(POD(pod, try_everything, accel, dmabuf, expected), 0);
}

void victim_start(struct victim *v, unsigned int card, uint64_t size)
{
	pod_start(&v->pod);
	v->size = (long)(size ? size : host_card_size(card));
	v->fd = POD(&v->pod, pod_open, card, 0);
	CHECK_MSG(v->fd >= 0, "open: %s", strerror(-v->fd));
	v->handle = POD(&v->pod, pod_alloc, v->fd, v->size);
	CHECK_MSG(v->handle > 0, "alloc: %s", strerror(-v->handle));
	v->va = POD(&v->pod, pod_map, v->fd, v->handle);
	CHECK_MSG(v->va > 0, "map: %s", strerror(-v->va));
	v->dmabuf = POD(&v->pod, pod_export, v->fd, v->va, 0, v->size);
	CHECK_MSG(v->dmabuf >= 0, "export: %s", strerror(-v->dmabuf));
}

void next_owner_finds_nothing(struct pod *pod, unsigned int card)
{
	long fd;

	WAIT_FOR(card_state_is(card, "free"), 30);
	CHECK_MSG(host_is_zero(card, 0, 0), "the card is free, and its memory is not zero");
	fd = POD(pod, pod_open, card, O_NONBLOCK);
	CHECK_MSG(fd >= 0, "the card is free, and cannot be opened: %s", strerror(-fd));
	CHECK_EQ(POD(pod, pod_close, fd), 0);
}
