// SPDX-License-Identifier: Apache-2.0
/*
 * ibv_reg_dmabuf_mr() for Soft-RoCE's libibverbs provider.
 */
#include <errno.h>
#include <stdlib.h>

#include <infiniband/driver.h>

#include "rxe_dmabuf_mr.h"

struct ibv_mr *rxe_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova, int fd,
				 int access)
{
	struct verbs_mr *vmr;
	int r;

	vmr = calloc(1, sizeof(*vmr));
	if (!vmr)
		return NULL;
	r = ibv_cmd_reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr, NULL);
	if (r) {
		free(vmr);
		errno = r;
		return NULL;
	}
	return &vmr->ibv_mr;
}
