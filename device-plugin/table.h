/* SPDX-License-Identifier: Apache-2.0 */
/* What --once prints: the inventory and pairing, for people and for programs. */
#ifndef DEVICE_PLUGIN_TABLE_H
#define DEVICE_PLUGIN_TABLE_H

#include <stdio.h>

#include "core.h"
#include "options.h"

/* Prints every Gaudi with its NIC, and every NIC without a Gaudi. 0 or -ENOMEM. The core has taken a scan. */
int table_print(FILE *out, const struct core *core);

/*
 * The same, and all that is known, as one JSON object, which
 * deploy/device-plugin-inventory.schema.json describes. What it says stays as
 * it is within a version; keys may be added.
 */
int table_print_json(FILE *out, const struct core *core, const struct options *options);

/* How near a Gaudi's NIC is, in words, or where it is when that cannot be told. */
const char *table_distance(const struct core *core, const struct gaudi *gaudi, const struct pairs_nic *nic);

/* Whether --exclude-nic keeps it from being handed out. */
bool table_nic_is_excluded(const struct core *core, const struct pairs_nic *nic);

#endif
