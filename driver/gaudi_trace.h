/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints; README.md lists them with their fields. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM gaudi_p2p

#if !defined(GAUDI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define GAUDI_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

#include <gaudi_p2p.h>

#include "gaudi_device.h"

#define gaudi_trace_kind(kind)								\
	__print_symbolic(kind,								\
			 { GAUDI_P2P_IMPORTER_DYNAMIC, "dynamic" },			\
			 { GAUDI_P2P_IMPORTER_PINNED_REVOCABLE, "pinned-revocable" },	\
			 { GAUDI_P2P_IMPORTER_PINNED, "pinned" })

TRACE_EVENT(gaudi_lease,
	TP_PROTO(struct gaudi_device *gdev, enum gaudi_state from, enum gaudi_state to, enum gaudi_event event,
		 const char *reason),
	TP_ARGS(gdev, from, to, event, reason),
	TP_STRUCT__entry(
		__string(device, dev_name(gdev->drm.dev))
		__string(from, gaudi_state_name(from))
		__string(to, gaudi_state_name(to))
		__string(event, gaudi_event_name(event))
		__string(reason, reason)
	),
	TP_fast_assign(
		__assign_str(device);
		__assign_str(from);
		__assign_str(to);
		__assign_str(event);
		__assign_str(reason);
	),
	TP_printk("device=%s from=%s to=%s event=\"%s\" reason=\"%s\"", __get_str(device), __get_str(from),
		  __get_str(to), __get_str(event), __get_str(reason))
);

TRACE_EVENT(gaudi_alloc,
	TP_PROTO(struct gaudi_device *gdev, u32 handle, u64 size, bool contiguous, int result),
	TP_ARGS(gdev, handle, size, contiguous, result),
	TP_STRUCT__entry(
		__string(device, dev_name(gdev->drm.dev))
		__field(u32, handle)
		__field(u64, size)
		__field(bool, contiguous)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->handle = handle;
		__entry->size = size;
		__entry->contiguous = contiguous;
		__entry->result = result;
	),
	TP_printk("device=%s handle=%u size=%llu contiguous=%d result=%d", __get_str(device), __entry->handle,
		  __entry->size, __entry->contiguous, __entry->result)
);

TRACE_EVENT(gaudi_free,
	TP_PROTO(struct gaudi_device *gdev, u32 handle, u64 size),
	TP_ARGS(gdev, handle, size),
	TP_STRUCT__entry(
		__string(device, dev_name(gdev->drm.dev))
		__field(u32, handle)
		__field(u64, size)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->handle = handle;
		__entry->size = size;
	),
	TP_printk("device=%s handle=%u size=%llu", __get_str(device), __entry->handle, __entry->size)
);

TRACE_EVENT(gaudi_export,
	TP_PROTO(struct gaudi_export *exp),
	TP_ARGS(exp),
	TP_STRUCT__entry(
		__string(device, dev_name(exp->gdev->drm.dev))
		__field(u64, id)
		__field(u64, addr)
		__field(u64, offset)
		__field(u64, size)
		__field(unsigned int, ranges)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->id = exp->id;
		__entry->addr = exp->va;
		__entry->offset = exp->offset;
		__entry->size = exp->size;
		__entry->ranges = exp->nr_ranges;
	),
	TP_printk("device=%s id=%llu addr=0x%llx offset=0x%llx size=%llu ranges=%u", __get_str(device), __entry->id,
		  __entry->addr, __entry->offset, __entry->size, __entry->ranges)
);

TRACE_EVENT(gaudi_attach,
	TP_PROTO(struct gaudi_export *exp, const char *importer, u32 kind, bool granted, int result),
	TP_ARGS(exp, importer, kind, granted, result),
	TP_STRUCT__entry(
		__string(device, dev_name(exp->gdev->drm.dev))
		__field(u64, id)
		__string(importer, importer)
		__field(u32, kind)
		__field(bool, granted)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->id = exp->id;
		__assign_str(importer);
		__entry->kind = kind;
		__entry->granted = granted;
		__entry->result = result;
	),
	TP_printk("device=%s id=%llu importer=%s kind=%s granted=%d result=%d", __get_str(device), __entry->id,
		  __get_str(importer), gaudi_trace_kind(__entry->kind), __entry->granted, __entry->result)
);

DECLARE_EVENT_CLASS(gaudi_export_end,
	TP_PROTO(struct gaudi_export *exp),
	TP_ARGS(exp),
	TP_STRUCT__entry(
		__string(device, dev_name(exp->gdev->drm.dev))
		__field(u64, id)
		__field(u64, size)
		__field(int, holds)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->id = exp->id;
		__entry->size = exp->size;
		__entry->holds = atomic_read(&exp->holds);
	),
	TP_printk("device=%s id=%llu size=%llu holds=%d", __get_str(device), __entry->id, __entry->size,
		  __entry->holds)
);

DEFINE_EVENT(gaudi_export_end, gaudi_revoke, TP_PROTO(struct gaudi_export *exp), TP_ARGS(exp));
DEFINE_EVENT(gaudi_export_end, gaudi_release, TP_PROTO(struct gaudi_export *exp), TP_ARGS(exp));

TRACE_EVENT(gaudi_scrub,
	TP_PROTO(struct gaudi_device *gdev, u64 offset, u64 bytes, u64 ns, int result),
	TP_ARGS(gdev, offset, bytes, ns, result),
	TP_STRUCT__entry(
		__string(device, dev_name(gdev->drm.dev))
		__field(u64, offset)
		__field(u64, bytes)
		__field(u64, ns)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->offset = offset;
		__entry->bytes = bytes;
		__entry->ns = ns;
		__entry->result = result;
	),
	TP_printk("device=%s offset=0x%llx bytes=%llu ns=%llu result=%d", __get_str(device), __entry->offset,
		  __entry->bytes, __entry->ns, __entry->result)
);

TRACE_EVENT(gaudi_grant,
	TP_PROTO(struct gaudi_export *exp, const struct gaudi_owner *pod, const char *action),
	TP_ARGS(exp, pod, action),
	TP_STRUCT__entry(
		__string(device, dev_name(exp->gdev->drm.dev))
		__field(u64, id)
		__string(action, action)
		__field(u32, netns)
		__field(u64, cgroup)
		__field(int, holds)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->id = exp->id;
		__assign_str(action);
		__entry->netns = pod->net_inum;
		__entry->cgroup = pod->cgroup;
		__entry->holds = atomic_read(&exp->holds);
	),
	TP_printk("device=%s id=%llu action=%s netns=%u cgroup=%llu holds=%d", __get_str(device), __entry->id,
		  __get_str(action), __entry->netns, __entry->cgroup, __entry->holds)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE gaudi_trace
#include <trace/define_trace.h>
