/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory and pairing for people. */
#ifndef DEVICE_PLUGIN_TABLE_H
#define DEVICE_PLUGIN_TABLE_H

#include <stdio.h>

#include "core.h"

/* Prints every Gaudi with its NIC, and every NIC without a Gaudi. */
void table_print(FILE *out, const struct core *core);

#endif
