// SPDX-License-Identifier: Apache-2.0
/* Our own layout of habanalabs' calls against the kernel's header, where this machine has it. */
#include "../unit.h"

#include <stddef.h>

#include "p2p/abi.h"

#if __has_include(<drm/habanalabs_accel.h>)
#include <drm/habanalabs_accel.h>

#define SAME(ours, our_field, theirs, their_field) \
	assert_int_equal(offsetof(ours, our_field), offsetof(theirs, their_field))

static void layout_is_that_of_the_kernel(void **state)
{
	(void)state;
	assert_int_equal(P2P_ABI_IOC_INFO, DRM_IOCTL_HL_INFO);
	assert_int_equal(P2P_ABI_IOC_MEMORY, DRM_IOCTL_HL_MEMORY);
	assert_int_equal(sizeof(struct p2p_abi_hw_ip), sizeof(struct hl_info_hw_ip_info));
	SAME(struct p2p_abi_hw_ip, dram_size, struct hl_info_hw_ip_info, dram_size);
	SAME(struct p2p_abi_hw_ip, device_id, struct hl_info_hw_ip_info, device_id);
	SAME(struct p2p_abi_hw_ip, module_id, struct hl_info_hw_ip_info, module_id);
	SAME(struct p2p_abi_hw_ip, card_name, struct hl_info_hw_ip_info, card_name);
	SAME(struct p2p_abi_hw_ip, dram_page_size, struct hl_info_hw_ip_info, dram_page_size);
	SAME(struct p2p_abi_hw_ip, default_page_size, struct hl_info_hw_ip_info,
	     device_mem_alloc_default_page_size);
	SAME(struct p2p_abi_dram_usage, free, struct hl_info_dram_usage, dram_free_mem);
	SAME(struct p2p_abi_info, pad, struct hl_info_args, pad);
	SAME(struct p2p_abi_info, op, struct hl_info_args, op);
	SAME(union p2p_abi_memory, in.op, union hl_mem_args, in.op);
	SAME(union p2p_abi_memory, in.flags, union hl_mem_args, in.flags);
	SAME(union p2p_abi_memory, in.a, union hl_mem_args, in.alloc.mem_size);
	SAME(union p2p_abi_memory, in.b, union hl_mem_args, in.map_device.handle);
	SAME(union p2p_abi_memory, in.a, union hl_mem_args, in.free.handle);
	SAME(union p2p_abi_memory, in.a, union hl_mem_args, in.unmap.device_virt_addr);
	SAME(union p2p_abi_memory, in.a, union hl_mem_args, in.export_dmabuf_fd.addr);
	SAME(union p2p_abi_memory, in.b, union hl_mem_args, in.export_dmabuf_fd.mem_size);
	SAME(union p2p_abi_memory, in.c, union hl_mem_args, in.export_dmabuf_fd.offset);
	SAME(union p2p_abi_memory, fd, union hl_mem_args, out.fd);
	assert_int_equal(P2P_ABI_MEM_EXPORT, HL_MEM_OP_EXPORT_DMABUF_FD);
	assert_int_equal(P2P_ABI_MEM_CONTIGUOUS, HL_MEM_CONTIGUOUS);
	assert_int_equal(P2P_ABI_INFO_DRAM_USAGE, HL_INFO_DRAM_USAGE);
}
#else
/* The numbers are asserted when abi.h is compiled; the layout needs a Debian that has the header. */
static void layout_is_that_of_the_kernel(void **state)
{
	(void)state;
	assert_int_equal(sizeof(union p2p_abi_memory), 40);
	assert_int_equal(sizeof(struct p2p_abi_info), 24);
	assert_int_equal(offsetof(struct p2p_abi_hw_ip, card_name), 200);
	assert_int_equal(offsetof(struct p2p_abi_hw_ip, default_page_size), 248);
}
#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(layout_is_that_of_the_kernel),
};

UNIT_MAIN(tests)
