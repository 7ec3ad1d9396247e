// SPDX-License-Identifier: Apache-2.0
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_kubelet.h"
#include "fake_pods.h"

struct listed {
	V1__PodResources pod;
	V1__ContainerResources container, *container_ptr;
	V1__ContainerDevices devices, *devices_ptr;
	char *ids[2];
};

static void list_pod(struct listed *l, const struct fake_pod *pod)
{
	v1__pod_resources__init(&l->pod);
	v1__container_resources__init(&l->container);
	v1__container_devices__init(&l->devices);
	l->pod.namespace_ = (char *)"default";
	l->pod.name = (char *)pod->name;
	l->pod.n_containers = 1;
	l->pod.containers = &l->container_ptr;
	l->container_ptr = &l->container;
	l->container.n_devices = pod->ids[0] ? 1 : 0;
	l->container.devices = &l->devices_ptr;
	l->devices_ptr = &l->devices;
	l->devices.resource_name = (char *)pod->resource;
	l->devices.n_device_ids = pod->ids[1] ? 2 : 1;
	l->devices.device_ids = l->ids;
	l->ids[0] = (char *)pod->ids[0];
	l->ids[1] = (char *)pod->ids[1];
}

static void serve(const char *dir, const struct fake_pod *pods, size_t n, int ready)
{
	V1__ListPodResourcesResponse list = V1__LIST_POD_RESOURCES_RESPONSE__INIT;
	struct listed *listed = calloc(n, sizeof(*listed));
	V1__PodResources **ptrs = calloc(n, sizeof(*ptrs));
	struct fake_kubelet *kubelet;
	struct loop *loop;

	if (!listed || !ptrs || loop_new(&loop) < 0)
		_exit(1);
	for (size_t i = 0; i < n; i++) {
		list_pod(&listed[i], &pods[i]);
		ptrs[i] = &listed[i].pod;
	}
	list.n_pod_resources = n;
	list.pod_resources = ptrs;
	kubelet = fake_kubelet_new(loop, dir);
	fake_kubelet_set_pods(kubelet, &list, 0);
	if (write(ready, "", 1) == 1)
		(void)loop_run(loop);
	_exit(1);
}

pid_t fake_pods_begin(const char *dir, const struct fake_pod *pods, size_t n)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		serve(dir, pods, n, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

void fake_pods_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
