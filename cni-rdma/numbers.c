// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "numbers.h"

#define FILLER "cnifill"

/* infiniband_verbs is the one class of these that shows all namespaces' devices. */
int numbers_count_free(int sys_fd, unsigned below)
{
	int n = 0;

	for (unsigned i = 0; i < below; i++) {
		char path[64];

		snprintf(path, sizeof(path), "class/infiniband_verbs/uverbs%u", i);
		if (faccessat(sys_fd, path, F_OK, 0) < 0)
			n++;
	}
	return n;
}

static int add_filler(const struct place *host, int i)
{
	char name[IFNAMSIZ];
	int r;

	snprintf(name, sizeof(name), FILLER "%d", i);
	r = rtlink_add_dummy(host->rt, name);
	if (r < 0)
		return r;
	return rdmanl_add_link(host->rdma, name, "rxe", name);
}

int numbers_fill(const struct place *host, const char *uverbs)
{
	unsigned number;
	int n, r;

	if (num_parse_suffix(uverbs, "uverbs", &number) < 0)
		return -EINVAL;
	n = numbers_count_free(host->sys_fd, number);
	if (n > NUMBERS_MAX_FILLERS)
		return -E2BIG;
	for (int i = 0; i < n; i++) {
		r = add_filler(host, i);
		if (r < 0)
			return log_debug_errno(r, "cannot occupy a free number below %s", uverbs);
	}
	return n;
}

void numbers_release(const struct place *host)
{
	for (int i = 0; i < NUMBERS_MAX_FILLERS; i++) {
		struct rdmanl_device device;
		char name[IFNAMSIZ], path[64];

		snprintf(name, sizeof(name), FILLER "%d", i);
		/* Hardly ever there, and a look costs no other program its turn at the kernel's rtnl lock. */
		snprintf(path, sizeof(path), "class/net/%s", name);
		if (faccessat(host->sys_fd, path, F_OK, 0) < 0 && errno == ENOENT)
			continue;
		/* The link first: with its netdev it would go too, but at a time of its own. */
		if (rdmanl_find(host->rdma, name, &device) == 0)
			(void)rdmanl_del_link(host->rdma, device.index);
		(void)rtlink_delete(host->rt, name);
	}
}
