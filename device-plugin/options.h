/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#ifndef DEVICE_PLUGIN_OPTIONS_H
#define DEVICE_PLUGIN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/log.h"

#define OPTIONS_EXCLUDE_MAX 32
#define OPTIONS_PATH_MAX 256

struct options {
	char sysfs_root[OPTIONS_PATH_MAX];
	char kubelet_dir[OPTIONS_PATH_MAX];
	char dev_dir[OPTIONS_PATH_MAX];
	char state_dir[OPTIONS_PATH_MAX];
	bool events; /* listen to the kernel; false with --sysroot */
	const char *mode;
	const char *resource_gaudi;
	const char *resource_nic;
	const char *exclude[OPTIONS_EXCLUDE_MAX];
	size_t n_exclude;
	unsigned rescan_ms;
	enum log_level log_level;
	enum log_format log_format;
	bool once;
	bool help;
	bool version;
};

/*
 * Fills options from the arguments; pointers in it point into argv. 0, or
 * -EINVAL with a text in why (size bytes) that says what is wrong and what is allowed.
 */
int options_parse(int argc, char **argv, struct options *options, char *why, size_t size);

void options_help(FILE *out);

#endif
