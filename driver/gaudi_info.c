// SPDX-License-Identifier: GPL-2.0-only
/*
 * INFO, of the accel node and of the control node.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/habanalabs_accel.h>

#include "gaudi_device.h"

/* What programs know a Gaudi2 by. */
#define GAUDI_INFO_DEVICE_ID	0x1020

union gaudi_info_answer {
	struct hl_info_hw_ip_info ip;
	struct hl_info_dram_usage dram;
	struct hl_info_hw_idle idle;
	struct hl_info_device_status status;
	struct hl_info_device_utilization utilization;
	struct hl_info_clk_rate clk_rate;
	struct hl_info_reset_count reset_count;
	struct hl_info_time_sync time_sync;
	struct hl_info_cs_counters cs_counters;
	struct hl_info_pci_counters pci_counters;
	struct hl_info_clk_throttle clk_throttle;
	struct hl_info_energy energy;
	struct hl_pll_frequency_info pll;
	struct hl_power_info power;
	struct hl_open_stats_info open_stats;
	struct hl_info_last_err_open_dev_time last_err;
	struct hl_info_cs_timeout_event cs_timeout;
	struct hl_info_razwi_event razwi;
	struct hl_info_dev_memalloc_page_sizes page_sizes;
	struct hl_info_undefined_opcode_event undefined_opcode;
	u32 event;
};

/* The device's state in the words of the mainline driver: enum hl_device_status. */
unsigned int gaudi_info_status(struct gaudi_device *gdev)
{
	switch (READ_ONCE(gdev->state)) {
	case GAUDI_STATE_FREE:
	case GAUDI_STATE_OWNED:
		return HL_DEVICE_STATUS_OPERATIONAL;
	case GAUDI_STATE_DRAINING:
	case GAUDI_STATE_SCRUBBING:
		if (READ_ONCE(gdev->fresh))
			return READ_ONCE(gdev->resets) ? HL_DEVICE_STATUS_IN_RESET :
							 HL_DEVICE_STATUS_IN_DEVICE_CREATION;
		return HL_DEVICE_STATUS_IN_RESET_AFTER_DEVICE_RELEASE;
	case GAUDI_STATE_LOST:
		break;
	}
	return HL_DEVICE_STATUS_MALFUNCTION;
}

static size_t gaudi_info_hw_ip(struct gaudi_device *gdev, struct hl_info_hw_ip_info *ip)
{
	ip->device_id = GAUDI_INFO_DEVICE_ID;
	ip->module_id = gdev->module_id;
	ip->revision_id = 1;
	ip->dram_enabled = 1;
	ip->dram_base_address = GAUDI_VA_BASE;
	ip->dram_size = gdev->size;
	ip->dram_page_size = GAUDI_PAGE_SIZE;
	ip->device_mem_alloc_default_page_size = GAUDI_PAGE_SIZE;
	ip->num_of_events = 1;
	strscpy(ip->card_name, gdev->backend->name, sizeof(ip->card_name));
	return sizeof(*ip);
}

static size_t gaudi_info_dram(struct gaudi_device *gdev, struct hl_info_dram_usage *dram)
{
	guard(mutex)(&gdev->lock);
	if (gdev->lease) {
		/* What waits to be scrubbed is free: ALLOC waits for it. */
		dram->ctx_dram_mem = gdev->lease->allocated;
		dram->dram_free_mem = gdev->size - dram->ctx_dram_mem;
	} else {
		dram->dram_free_mem = gdev->fresh ? 0 : gdev->buddy.avail;
	}
	return sizeof(*dram);
}

static size_t gaudi_info_open_stats(struct gaudi_device *gdev, struct hl_open_stats_info *stats)
{
	guard(mutex)(&gdev->lock);
	stats->open_counter = gdev->opens;
	stats->last_open_period_ms = gdev->last_open_ms;
	stats->is_compute_ctx_active = gdev->state == GAUDI_STATE_OWNED;
	stats->compute_ctx_in_release = !gdev->fresh && (gdev->state == GAUDI_STATE_DRAINING ||
							 gdev->state == GAUDI_STATE_SCRUBBING);
	return sizeof(*stats);
}

/* Fills the zeroed @a; returns the size of the answer, 0 for an operation that is not known. */
static size_t gaudi_info_fill(struct gaudi_device *gdev, u32 op, union gaudi_info_answer *a)
{
	switch (op) {
	case HL_INFO_HW_IP_INFO:
		return gaudi_info_hw_ip(gdev, &a->ip);
	case HL_INFO_DRAM_USAGE:
		return gaudi_info_dram(gdev, &a->dram);
	case HL_INFO_HW_IDLE:
		a->idle.is_idle = 1;
		return sizeof(a->idle);
	case HL_INFO_DEVICE_STATUS:
		a->status.status = gaudi_info_status(gdev);
		return sizeof(a->status);
	case HL_INFO_OPEN_STATS:
		return gaudi_info_open_stats(gdev, &a->open_stats);
	case HL_INFO_DEV_MEM_ALLOC_PAGE_SIZES:
		return sizeof(a->page_sizes);	/* mask 0: cannot be chosen */

	/* A card without engines has nothing to tell here; programs ask nevertheless. */
	case HL_INFO_HW_EVENTS:
	case HL_INFO_HW_EVENTS_AGGREGATE:
		return sizeof(a->event);
	case HL_INFO_DEVICE_UTILIZATION:
		return sizeof(a->utilization);
	case HL_INFO_CLK_RATE:
		return sizeof(a->clk_rate);
	case HL_INFO_RESET_COUNT:
		return sizeof(a->reset_count);
	case HL_INFO_TIME_SYNC:
		return sizeof(a->time_sync);
	case HL_INFO_CS_COUNTERS:
		return sizeof(a->cs_counters);
	case HL_INFO_PCI_COUNTERS:
		return sizeof(a->pci_counters);
	case HL_INFO_CLK_THROTTLE_REASON:
		return sizeof(a->clk_throttle);
	case HL_INFO_TOTAL_ENERGY:
		return sizeof(a->energy);
	case HL_INFO_PLL_FREQUENCY:
		return sizeof(a->pll);
	case HL_INFO_POWER:
		return sizeof(a->power);
	case HL_INFO_LAST_ERR_OPEN_DEV_TIME:
		return sizeof(a->last_err);
	case HL_INFO_CS_TIMEOUT_EVENT:
		return sizeof(a->cs_timeout);
	case HL_INFO_RAZWI_EVENT:
		return sizeof(a->razwi);
	case HL_INFO_UNDEFINED_OPCODE_EVENT:
		return sizeof(a->undefined_opcode);
	default:
		return 0;
	}
}

/* Returns 0, -EINVAL, -EFAULT. */
int gaudi_info(struct gaudi_device *gdev, const struct hl_info_args *args)
{
	size_t size;

	if (args->pad || !args->return_size || !args->return_pointer)
		return -EINVAL;

	union gaudi_info_answer *answer __free(kfree) = kzalloc_obj(*answer);

	if (!answer)
		return -ENOMEM;
	size = gaudi_info_fill(gdev, args->op, answer);
	if (!size)
		return -EINVAL;
	size = min_t(size_t, size, args->return_size);
	return copy_to_user(u64_to_user_ptr(args->return_pointer), answer, size) ? -EFAULT : 0;
}

int gaudi_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	return gaudi_info(to_gaudi_device(drm), data);
}
