// SPDX-License-Identifier: Apache-2.0
#include "sys.h"

#include <fcntl.h>
#include <linux/module.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "kubelet/podresources.h"

#define KLOG_READ_ALL 3
#define KLOG_BYTES (256 << 10)

static int load(int fd, const char *params, bool compressed)
{
	return RET_NERRNO(
		(int)syscall(SYS_finit_module, fd, params, compressed ? MODULE_INIT_COMPRESSED_FILE : 0));
}

static int unload(const char *module)
{
	return RET_NERRNO((int)syscall(SYS_delete_module, module, O_NONBLOCK));
}

static int open_card(int root, const char *path)
{
	return RET_NERRNO(openat(root, path, O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

static char *kernel_log(void)
{
	char *text = malloc(KLOG_BYTES + 1);
	int n = text ? klogctl(KLOG_READ_ALL, text, KLOG_BYTES) : -1;

	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int add_grant(struct loader_grants *grants, const char *id, const V1__PodResources *pod)
{
	struct loader_grant *bigger = reallocarray(grants->list, grants->n + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	grants->list = bigger;
	/* What does not fit is no card's. */
	(void)snprintf(bigger[grants->n].id, sizeof(bigger->id), "%s", id);
	(void)snprintf(bigger[grants->n].pod, sizeof(bigger->pod), "%s/%s", pod->namespace_, pod->name);
	grants->n++;
	return 0;
}

int sys_grants(const V1__ListPodResourcesResponse *list, struct loader_grants *ret)
{
	struct loader_grants grants = { 0 };
	int r = 0;

	for (size_t i = 0; i < list->n_pod_resources; i++) {
		const V1__PodResources *pod = list->pod_resources[i];

		for (size_t k = 0; k < pod->n_containers; k++) {
			const V1__ContainerResources *container = pod->containers[k];

			for (size_t d = 0; d < container->n_devices; d++)
				for (size_t j = 0; r == 0 && j < container->devices[d]->n_device_ids; j++)
					r = add_grant(&grants, container->devices[d]->device_ids[j], pod);
		}
	}
	if (r < 0)
		free(grants.list);
	else
		*ret = grants;
	return r;
}

static int grants(const char *socket, struct loader_grants *ret)
{
	_cleanup_message_ V1__ListPodResourcesResponse *list = NULL;
	struct grpc_error error = { 0 };
	int r = podresources_list(socket, 0, &list, &error);

	return r < 0 ? r : sys_grants(list, ret);
}

const struct loader_sys sys_real = {
	.load = load,
	.unload = unload,
	.open_card = open_card,
	.grants = grants,
	.kernel_log = kernel_log,
	.now_ms = now_ms,
};
