/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RXE_DMABUF_MR_H
#define RXE_DMABUF_MR_H

#include <stddef.h>
#include <stdint.h>

struct ibv_mr;
struct ibv_pd;

/*
 * Registers bytes offset to offset + length of the dma-buf fd. Returns a region
 * that the provider's own dereg_mr frees, or NULL with errno set.
 */
struct ibv_mr *rxe_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova, int fd,
				 int access);

#endif
