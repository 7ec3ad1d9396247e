/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few calls of <drm/habanalabs_accel.h> that this library makes, laid out
 * by size and offset. Not every Debian ships that header (bookworm does not);
 * where it is present, test_abi compares the two.
 */
#ifndef P2P_ABI_H
#define P2P_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

struct p2p_abi_info {
	uint64_t return_pointer;
	uint32_t return_size;
	uint32_t op;
	uint32_t argument;
	uint32_t pad;
};

struct p2p_abi_hw_ip {
	uint64_t sram_base_address;
	uint64_t dram_base_address;
	uint64_t dram_size;
	uint32_t sram_size;
	uint32_t num_of_events;
	uint32_t device_id;
	uint32_t module_id;
	uint8_t unused1[160]; /* to 200 */
	uint8_t card_name[16];
	uint64_t unused2;
	uint64_t dram_page_size;
	uint64_t unused3[2];
	uint64_t default_page_size;
	uint64_t unused4[6]; /* to 304 */
};

struct p2p_abi_dram_usage {
	uint64_t free;
	uint64_t used_by_context;
};

/* In: by operation. Out: overwrites a. */
union p2p_abi_memory {
	struct {
		uint64_t a; /* size | handle | hint | va | address */
		uint64_t b; /* page size | handle | size */
		uint64_t c; /* offset */
		uint32_t op;
		uint32_t flags;
		uint32_t ctx_id;
		uint32_t num_of_elements;
	} in;
	struct {
		uint64_t value; /* handle | va */
	} out;
	int32_t fd;
};

enum {
	P2P_ABI_INFO_HW_IP = 0,
	P2P_ABI_INFO_DRAM_USAGE = 2,

	P2P_ABI_MEM_ALLOC = 0,
	P2P_ABI_MEM_FREE = 1,
	P2P_ABI_MEM_MAP = 2,
	P2P_ABI_MEM_UNMAP = 3,
	P2P_ABI_MEM_EXPORT = 5,

	P2P_ABI_MEM_CONTIGUOUS = 1,
};

#define P2P_ABI_IOC_INFO _IOWR('d', 0x40, struct p2p_abi_info)
#define P2P_ABI_IOC_MEMORY _IOWR('d', 0x44, union p2p_abi_memory)

_Static_assert(P2P_ABI_IOC_INFO == 0xc0186440, "INFO changed its number");
_Static_assert(P2P_ABI_IOC_MEMORY == 0xc0286444, "MEMORY changed its number");
_Static_assert(sizeof(struct p2p_abi_hw_ip) == 304, "HW_IP_INFO changed its size");

#endif
