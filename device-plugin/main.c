// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon.h"
#include "options.h"
#include "removal.h"

#define VERSION "0.1.0"

int main(int argc, char **argv)
{
	struct options options;
	char why[640]; /* two paths and what to do */
	int r;

	log_init("gaudi-device-plugin", LOG_LEVEL_INFO, LOG_TEXT);
	if (options_parse(argc, argv, &options, why, sizeof(why)) < 0) {
		log_init("gaudi-device-plugin", LOG_LEVEL_INFO, options.log_format);
		log_error("%s (--help shows all options)", why);
		return 2;
	}
	if (options.help) {
		options_help(stdout);
		return EXIT_SUCCESS;
	}
	if (options.version) {
		(void)printf("gaudi-device-plugin %s\n", VERSION);
		return EXIT_SUCCESS;
	}
	/* What is printed tells the state of everything, so the story of how it came about is not needed. */
	if (options.once && options.log_level == LOG_LEVEL_INFO)
		options.log_level = LOG_LEVEL_ERROR;
	if (options.uninstall == UNINSTALL_LOOK && options.log_level == LOG_LEVEL_INFO)
		options.log_level = LOG_LEVEL_WARNING;
	log_init("gaudi-device-plugin", options.log_level, options.log_format);
	options_describe(&options, why, sizeof(why));
	log_info("version %s%s%s", VERSION, why[0] ? ", with " : "", why);
	if (options.uninstall)
		return removal_run(&options);
	r = options.once ? daemon_print(&options, stdout) : daemon_run(&options);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
