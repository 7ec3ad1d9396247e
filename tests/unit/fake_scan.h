/* SPDX-License-Identifier: Apache-2.0 */
/* What is found below sys/ of a test's own tree. */
#ifndef FAKE_SCAN_H
#define FAKE_SCAN_H

#include "fakefs.h"
#include "sysfs/inventory.h"

/* A scan that has to succeed; inventory_free() frees, or core_update() takes it. */
struct inventory *fake_scan(struct fakefs *fs);

#endif
