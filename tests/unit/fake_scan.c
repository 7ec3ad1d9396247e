// SPDX-License-Identifier: Apache-2.0
#include "unit.h"

#include "fake_scan.h"

struct inventory *fake_scan(struct fakefs *fs)
{
	_cleanup_(sysfs_root_done) struct sysfs_root root = SYSFS_ROOT_INIT;
	struct inventory *inv = NULL;

	assert_int_equal(sysfs_root_open(&root, fakefs_join(fs, "sys")), 0);
	assert_int_equal(inventory_scan(&root, &inv), 0);
	return inv;
}
