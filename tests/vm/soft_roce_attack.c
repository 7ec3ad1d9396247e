// SPDX-License-Identifier: Apache-2.0
/*
 * What a side does to get at memory, or to keep it, that it should not.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include "soft_roce.h"
#include "vm.h"

/* The CPU's view of a dma-buf as if it were memory of the program. */
long do_reg_plain(struct world *w, const long *a, long *ret)
{
	struct buffer *b = &w->buffer[a[0]];
	struct ibv_mr *mr =
		ibv_reg_mr(w->pd, b->map, b->size, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);

	(void)ret;
	if (!mr)
		return -errno;
	ibv_dereg_mr(mr);
	return 0;
}

/* The RDMA device's file, and nothing else of it, in a socket that is itself in a socket, whose end is left. */
long do_uverbs_away(struct world *w, const long *a, long *ret)
{
	int inner[2], outer[2];

	(void)a;
	(void)ret;
	vm_pair(inner);
	vm_pair(outer);
	vm_send_fd(inner[0], w->context->cmd_fd);
	vm_send_fd(outer[0], inner[1]);
	vm_send_fd(outer[0], inner[0]);
	close(inner[0]);
	close(inner[1]);
	close(outer[0]);
	return outer[1];
}

long do_uverbs_fd(struct world *w, const long *a, long *ret)
{
	(void)a;
	ret[0] = w->pd->handle;
	return w->context->cmd_fd;
}

/* With another's RDMA device file and protection domain; the library would not do it. */
long do_reg_stolen(struct world *w, const long *a, long *ret)
{
	struct {
		struct ib_uverbs_ioctl_hdr head;
		struct ib_uverbs_attr attrs[9];
	} command = { .head = { .length = sizeof(command),
				.object_id = UVERBS_OBJECT_MR,
				.method_id = UVERBS_METHOD_REG_DMABUF_MR,
				.driver_id = RDMA_DRIVER_RXE,
				.num_attrs = 9 } };
	static const struct {
		uint16_t id, len;
	} wanted[9] = {
		{ UVERBS_ATTR_REG_DMABUF_MR_HANDLE, 0 },       { UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, 0 },
		{ UVERBS_ATTR_REG_DMABUF_MR_OFFSET, 8 },       { UVERBS_ATTR_REG_DMABUF_MR_LENGTH, 8 },
		{ UVERBS_ATTR_REG_DMABUF_MR_IOVA, 8 },	       { UVERBS_ATTR_REG_DMABUF_MR_FD, 4 },
		{ UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, 4 }, { UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, 4 },
		{ UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, 4 },
	};
	uint32_t keys[2];
	uint64_t data[9] = {
		0, a[1], 0, 4096, 0, a[2], IBV_ACCESS_LOCAL_WRITE, (uintptr_t)&keys[0], (uintptr_t)&keys[1]
	};

	(void)w;
	(void)ret;
	for (int i = 0; i < 9; i++)
		command.attrs[i] = (struct ib_uverbs_attr){ .attr_id = wanted[i].id,
							    .len = wanted[i].len,
							    .flags = UVERBS_ATTR_F_MANDATORY,
							    .data = data[i] };
	return ioctl(a[0], RDMA_VERBS_IOCTL, &command) < 0 ? -errno : 0;
}
