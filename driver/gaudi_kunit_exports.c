// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the KUnit suites call, which are a module of their own. Not part of a driver for a kernel without KUNIT.
 */
#include <kunit/visibility.h>

#include "gaudi_device.h"

EXPORT_SYMBOL_IF_KUNIT(gaudi_state_first);
EXPORT_SYMBOL_IF_KUNIT(gaudi_state_next);
EXPORT_SYMBOL_IF_KUNIT(gaudi_state_name);
EXPORT_SYMBOL_IF_KUNIT(gaudi_event_name);
EXPORT_SYMBOL_IF_KUNIT(gaudi_owner_is_pod);
EXPORT_SYMBOL_IF_KUNIT(gaudi_owner_is_same);
EXPORT_SYMBOL_IF_KUNIT(gaudi_export_check);
EXPORT_SYMBOL_IF_KUNIT(gaudi_export_ranges);
EXPORT_SYMBOL_IF_KUNIT(gaudi_va_init);
EXPORT_SYMBOL_IF_KUNIT(gaudi_va_done);
EXPORT_SYMBOL_IF_KUNIT(gaudi_va_map);
EXPORT_SYMBOL_IF_KUNIT(gaudi_va_unmap);
EXPORT_SYMBOL_IF_KUNIT(gaudi_mem_alloc);
EXPORT_SYMBOL_IF_KUNIT(gaudi_mem_free);
EXPORT_SYMBOL_IF_KUNIT(gaudi_mem_free_all);
EXPORT_SYMBOL_IF_KUNIT(gaudi_mem_scrub);
