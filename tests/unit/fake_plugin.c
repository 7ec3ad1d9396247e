// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "fake_plugin.h"

#include "fake_scan.h"

void fake_plugin_options(struct fakefs *fs, unsigned rescan_ms, struct options *options)
{
	char sysroot[512], why[128], *argv[] = { (char *)"test", (char *)"--sysroot", sysroot, NULL };

	(void)snprintf(sysroot, sizeof(sysroot), "%s", fakefs_path(fs));
	assert_int_equal(options_parse(3, argv, options, why, sizeof(why)), 0);
	/* Events are those of the real devices. */
	assert_false(options->events);
	options->rescan_ms = rescan_ms;
}

void fake_plugin_core(struct core *core, const char *mode)
{
	const struct core_options options = { .mode = mode };

	core_done(core);
	core_init(core, &options, NULL, 1000);
}

int fake_plugin_scan(struct core *core, struct fakefs *fs, uint64_t now_ms)
{
	return core_update(core, fake_scan(fs), now_ms);
}
