/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: one JSON object, the names of the options as keys.
 *
 *   {"version": 1, "pairing": "paired-strict", "exclude-nic": ["ens1f0"], "rescan": 1000}
 *
 * deploy/device-plugin.schema.json describes it for editors and checkers. It
 * is refused whole when anything in it is not understood: an option that is
 * silently not in force is worse than a plugin that does not start.
 */
#ifndef DEVICE_PLUGIN_CONFIG_H
#define DEVICE_PLUGIN_CONFIG_H

#include "options_table.h"

#define CONFIG_VERSION 1
#define CONFIG_MAX_BYTES 65536

/* Takes what the file says. 0, or -EINVAL with the parser's why written. */
int config_read(struct options_parser *parser, const char *path);

#endif
