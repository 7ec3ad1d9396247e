// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "card.h"
#include "test_matrix/matrix.h"
#include "vm.h"

/* Beside the export, so that a scrub takes a while. */
#define MATRIX_BIG (56u << 20)

static int home_netns = -1;

struct start {
	int sock;
	unsigned int card;
	bool big;
};

static void pod_lives(void *argument)
{
	const struct start *start = argument;
	struct card_buffer buffer;
	uint64_t numbers[2], handle;
	char told;

	card_buffer_make(&buffer, start->card, MATRIX_SIZE);
	if (start->big)
		CHECK_EQ(card_alloc(buffer.fd, MATRIX_BIG, 0, &handle), 0);
	vm_send_fd(start->sock, buffer.fd);
	vm_send_fd(start->sock, buffer.dmabuf);
	numbers[0] = buffer.va;
	numbers[1] = buffer.handle;
	CHECK_EQ(send(start->sock, numbers, sizeof(numbers), 0), (ssize_t)sizeof(numbers));
	close(buffer.dmabuf);
	while (recv(start->sock, &told, 1, 0) == 1) {
		close(buffer.fd);
		vm_signal(start->sock);
	}
}

void matrix_pod_start(struct matrix_pod *pod, unsigned int card, bool big)
{
	uint64_t numbers[2];
	struct start start;
	char path[64];
	int sock[2];

	if (home_netns < 0)
		home_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(home_netns >= 0);
	vm_pair(sock);
	start = (struct start){ .sock = sock[1], .card = card, .big = big };
	pod->sock = sock[0];
	pod->pid = vm_child(true, pod_lives, &start);
	close(sock[1]);
	pod->accel = vm_recv_fd(pod->sock);
	pod->dmabuf = vm_recv_fd(pod->sock);
	CHECK_EQ(recv(pod->sock, numbers, sizeof(numbers), MSG_WAITALL), (ssize_t)sizeof(numbers));
	pod->va = numbers[0];
	pod->handle = numbers[1];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pod->pid);
	pod->netns = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(pod->netns >= 0);
}

double matrix_pod_close(struct matrix_pod *pod)
{
	double start = vm_now();

	vm_signal(pod->sock);
	vm_await(pod->sock);
	return vm_now() - start;
}

void matrix_pod_kill(struct matrix_pod *pod)
{
	int status;

	CHECK_EQ(kill(pod->pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pod->pid, &status, 0), pod->pid);
	pod->pid = 0;
}

void matrix_pod_end(struct matrix_pod *pod)
{
	if (pod->netns >= 0)
		close(pod->netns);
	pod->netns = -1;
	if (pod->pid)
		matrix_pod_kill(pod);
}

void matrix_pod_enter(struct matrix_pod *pod)
{
	CHECK_EQ(setns(pod->netns, CLONE_NEWNET), 0);
}

void matrix_pod_leave(void)
{
	CHECK_EQ(setns(home_netns, CLONE_NEWNET), 0);
}
