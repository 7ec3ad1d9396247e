/* SPDX-License-Identifier: Apache-2.0 */
/* How tests begin with the device plugin, or with its core only, on the files of a fakefs. */
#ifndef FAKE_PLUGIN_H
#define FAKE_PLUGIN_H

#include "../../device-plugin/core.h"
#include "../../device-plugin/options.h"
#include "fakefs.h"

/* Options of a plugin to which fs is the root of everything, and that looks at sysfs that often. */
void fake_plugin_options(struct fakefs *fs, unsigned rescan_ms, struct options *options);

/* A core of that pairing mode that has seen nothing yet, in place of what core was: zeroed, or one in use. */
void fake_plugin_core(struct core *core, const char *mode);

/* What core_update() returns for the devices that are there now. */
int fake_plugin_scan(struct core *core, struct fakefs *fs, uint64_t now_ms);

#endif
