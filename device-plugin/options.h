/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user chose. One name for each option everywhere: --log-level on the
 * command line, GAUDI_DEVICE_PLUGIN_LOG_LEVEL in the environment, "log-level" in
 * the configuration file. The command line wins over the environment, that over the
 * file, that over the defaults.
 */
#ifndef DEVICE_PLUGIN_OPTIONS_H
#define DEVICE_PLUGIN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"

#define OPTIONS_ENVIRONMENT "GAUDI_DEVICE_PLUGIN_"
#define OPTIONS_EXCLUDE_MAX 32
#define OPTIONS_PATTERN_MAX 64
#define OPTIONS_PATH_MAX 256
#define OPTIONS_RESOURCE_MAX 256

/* How the kubelet hears of us. */
enum options_registration {
	REGISTRATION_AUTO, /* Register where there is a folder for it, else as a watched plugin */
	REGISTRATION_REGISTER,
	REGISTRATION_WATCHER,
};

/* How devices get into a container. */
enum options_inject {
	INJECT_DEVICES, /* nodes and variables in the answer of Allocate */
	INJECT_CDI,	/* names of CDI devices there, the rest in a file */
	INJECT_BOTH,
};

enum options_once {
	ONCE_NO,
	ONCE_TABLE,
	ONCE_JSON,
};

enum options_uninstall {
	UNINSTALL_NO,
	UNINSTALL_NOW,
	UNINSTALL_STAY,
	UNINSTALL_LOOK,
};

/* Not to be copied: exclude points into it. */
struct options {
	char sysroot[OPTIONS_PATH_MAX];
	char sysfs_root[OPTIONS_PATH_MAX];
	char kubelet_dir[OPTIONS_PATH_MAX];  /* the kubelet's device-plugins */
	char registry_dir[OPTIONS_PATH_MAX]; /* its plugins_registry */
	char podresources[OPTIONS_PATH_MAX]; /* socket of its PodResources */
	char cdi_dir[OPTIONS_PATH_MAX];
	char dev_dir[OPTIONS_PATH_MAX];
	char state_dir[OPTIONS_PATH_MAX];
	char config[OPTIONS_PATH_MAX]; /* the file that was read; "": none */
	bool events;		       /* listen to the kernel; false with --sysroot */
	const char *pairing;	       /* "paired", "paired-strict", "separate" or "none" */
	enum options_registration registration;
	enum options_inject inject;
	char resource_gaudi[OPTIONS_RESOURCE_MAX];
	char resource_nic[OPTIONS_RESOURCE_MAX];
	const char *exclude[OPTIONS_EXCLUDE_MAX];
	char exclude_text[OPTIONS_EXCLUDE_MAX][OPTIONS_PATTERN_MAX];
	size_t n_exclude;
	unsigned rescan_ms;
	enum log_level log_level;
	enum log_format log_format;
	enum options_once once;
	enum options_uninstall uninstall;
	bool help;
	bool version;
	uint64_t given; /* bit i: somebody chose options_table[i] */
};

/*
 * Fills options from all four places. 0, or -EINVAL with a text in why (size
 * bytes) that says what is wrong, where, and what is allowed. With help or version
 * set, the rest was not looked at.
 */
int options_parse(int argc, char **argv, struct options *options, char *why, size_t size);

/* What was chosen, as "rescan=1000 pairing=none", in at most size bytes; "" when all is as by default. */
void options_describe(const struct options *options, char *text, size_t size);

void options_help(FILE *out);

#endif
