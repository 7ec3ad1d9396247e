/* SPDX-License-Identifier: Apache-2.0 */
/* A kubelet of its own process that lists pods: for what asks it and waits. */
#ifndef FAKE_PODS_H
#define FAKE_PODS_H

#include <stddef.h>
#include <sys/types.h>

/* A pod of the namespace default with one container; ids[0] NULL: it holds nothing. */
struct fake_pod {
	const char *name, *resource;
	const char *ids[2];
};

/* Serves dir/pods.sock, and returns when it can be asked. */
pid_t fake_pods_begin(const char *dir, const struct fake_pod *pods, size_t n);

/* Its sudden death; the socket stays. */
void fake_pods_end(pid_t pid);

#endif
