// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#ifdef CNI_RDMA_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

int fault_point(const char *step)
{
	const char *want = getenv("CNI_RDMA_FAULT");
	size_t len = strlen(step);

	if (!want || strncmp(want, step, len) != 0)
		return 0;
	if (strcmp(want + len, ":kill") == 0)
		raise(SIGKILL);
	return want[len] == '\0' ? -EIO : 0;
}
#else
int fault_point(const char *step)
{
	(void)step;
	return 0;
}
#endif
