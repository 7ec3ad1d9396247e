// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "kubelet/message.h"
#include "sysfs/pairs.h"

enum {
	OPTION_SYSROOT = 1000,
	OPTION_SYSFS_ROOT,
	OPTION_KUBELET_DIR,
	OPTION_DEV_DIR,
	OPTION_STATE_DIR,
	OPTION_MODE,
	OPTION_EXCLUDE,
	OPTION_RESOURCE,
	OPTION_RESOURCE_NIC,
	OPTION_RESCAN,
	OPTION_LOG_LEVEL,
	OPTION_LOG_FORMAT,
	OPTION_ONCE,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "sysroot", required_argument, NULL, OPTION_SYSROOT },
	{ "sysfs-root", required_argument, NULL, OPTION_SYSFS_ROOT },
	{ "kubelet-dir", required_argument, NULL, OPTION_KUBELET_DIR },
	{ "dev-dir", required_argument, NULL, OPTION_DEV_DIR },
	{ "state-dir", required_argument, NULL, OPTION_STATE_DIR },
	{ "mode", required_argument, NULL, OPTION_MODE },
	{ "exclude-nic", required_argument, NULL, OPTION_EXCLUDE },
	{ "resource", required_argument, NULL, OPTION_RESOURCE },
	{ "rdma-resource", required_argument, NULL, OPTION_RESOURCE_NIC },
	{ "rescan", required_argument, NULL, OPTION_RESCAN },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
	{ "once", no_argument, NULL, OPTION_ONCE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{},
};

static const char help_text[] =
	"gaudi-device-plugin: hands Gaudi accelerators, and the RDMA NICs nearest to them, to pods.\n"
	"\n"
	"It finds the devices in sysfs, pairs each Gaudi with a NIC function, and serves\n"
	"the kubelet's device plugin API. A pod then asks for them with\n"
	"    resources: {limits: {habana.ai/gaudi: 2}}\n"
	"\n"
	"See what it would do on this machine, without a kubelet:\n"
	"    gaudi-device-plugin --once\n"
	"Run it (usually from the DaemonSet in deploy/):\n"
	"    gaudi-device-plugin\n"
	"\n"
	"What is handed out\n"
	"  --mode=MODE           paired    each Gaudi with its nearest NIC; NICs that are\n"
	"                                  left over are a resource of their own (default)\n"
	"                        separate  Gaudis and NICs are two resources\n"
	"                        none      Gaudis only\n"
	"  --exclude-nic=PATTERN never hand out NICs whose PCI address, RDMA device or\n"
	"                        interface fits this shell pattern; may be repeated.\n"
	"                        Use it for the NIC that the node itself needs\n"
	"  --resource=NAME       of Gaudis (habana.ai/gaudi)\n"
	"  --rdma-resource=NAME  of NICs (habana.ai/rdma)\n"
	"\n"
	"Where things are\n"
	"  --kubelet-dir=DIR     the kubelet's device-plugins directory\n"
	"                        (" KUBELET_DEVICE_PLUGINS_DIR ")\n"
	"  --state-dir=DIR       pairing file, which cni-rdma reads (" PAIRS_DEFAULT_DIR ")\n"
	"  --dev-dir=DIR         where links that stay when numbers change are kept, in\n"
	"                        DIR/gaudi/by-id (/dev)\n"
	"  --sysfs-root=DIR      the host's sysfs (/sys). In a container, mount the host's:\n"
	"                        the container's own does not show the host's RDMA devices\n"
	"  --sysroot=DIR         puts DIR before the four above and listens to no kernel\n"
	"                        events; for tests. Options behind it still count\n"
	"\n"
	"Running\n"
	"  --once                print devices and pairing as a table, and exit; changes nothing\n"
	"  --rescan=MS           look at sysfs this often even without events (5000)\n"
	"  --log-level=LEVEL     error, warning, info (default), debug\n"
	"  --log-format=FORMAT   text (default), json\n"
	"  -h, --help            this text\n"
	"      --version         the version\n"
	"\n"
	"Exit status: 0 ended by SIGTERM or SIGINT; 1 something failed, the last log line\n"
	"says what; 2 the command line is wrong.\n";

void options_help(FILE *out)
{
	(void)fputs(help_text, out);
}

static int wrong(char *why, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int wrong(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, size, format, args);
	va_end(args);
	return -EINVAL;
}

static int set_path(char *field, const char *name, const char *value, char *why, size_t size)
{
	if (!*value)
		return wrong(why, size, "--%s needs a directory", name);
	if (strlen(value) >= OPTIONS_PATH_MAX)
		return wrong(why, size, "--%s is longer than %d characters", name, OPTIONS_PATH_MAX - 1);
	strcpy(field, value);
	return 0;
}

static int set_sysroot(struct options *options, const char *value, char *why, size_t size)
{
	const struct {
		char *field;
		const char *below;
	} paths[] = {
		{ options->sysfs_root, "/sys" },
		{ options->kubelet_dir, KUBELET_DEVICE_PLUGINS_DIR },
		{ options->dev_dir, "/dev" },
		{ options->state_dir, PAIRS_DEFAULT_DIR },
	};

	if (!*value)
		return wrong(why, size, "--sysroot needs a directory");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if ((size_t)snprintf(paths[i].field, OPTIONS_PATH_MAX, "%s%s", value, paths[i].below) >=
		    OPTIONS_PATH_MAX)
			return wrong(why, size, "--sysroot is too long");
	options->events = false;
	return 0;
}

/* "domain/name", as Kubernetes wants extended resources. */
static int set_resource(const char **field, const char *name, const char *value, char *why, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t domain = strspn(value, allowed), rest;

	rest = value[domain] == '/' ? strspn(value + domain + 1, allowed) : 0;
	if (domain == 0 || rest == 0 || rest > 63 || domain > 190 || value[domain + 1 + rest] != '\0')
		return wrong(why, size, "--%s: '%s' is not of the form example.com/name", name, value);
	*field = value;
	return 0;
}

static int set_word(struct options *options, int option, const char *value, char *why, size_t size)
{
	switch (option) {
	case OPTION_MODE:
		if (!pairs_mode_is_valid(value))
			return wrong(why, size, "--mode: '%s' is none of paired, separate, none", value);
		options->mode = value;
		return 0;
	case OPTION_LOG_LEVEL:
		if (log_level_parse(value, &options->log_level) < 0)
			return wrong(why, size, "--log-level: '%s' is none of error, warning, info, debug",
				     value);
		return 0;
	case OPTION_LOG_FORMAT:
		if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
			return wrong(why, size, "--log-format: '%s' is none of text, json", value);
		options->log_format = strcmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
		return 0;
	case OPTION_RESCAN:
		if (num_parse_uint(value, 50, 3600000, &options->rescan_ms) < 0)
			return wrong(why, size,
				     "--rescan: '%s' is not a number of milliseconds from 50 to 3600000",
				     value);
		return 0;
	default:
		if (options->n_exclude >= OPTIONS_EXCLUDE_MAX)
			return wrong(why, size, "--exclude-nic: more than %d patterns", OPTIONS_EXCLUDE_MAX);
		options->exclude[options->n_exclude++] = value;
		return 0;
	}
}

static int set_option(struct options *options, int option, const char *value, char *why, size_t size)
{
	switch (option) {
	case OPTION_SYSROOT:
		return set_sysroot(options, value, why, size);
	case OPTION_SYSFS_ROOT:
		return set_path(options->sysfs_root, "sysfs-root", value, why, size);
	case OPTION_KUBELET_DIR:
		return set_path(options->kubelet_dir, "kubelet-dir", value, why, size);
	case OPTION_DEV_DIR:
		return set_path(options->dev_dir, "dev-dir", value, why, size);
	case OPTION_STATE_DIR:
		return set_path(options->state_dir, "state-dir", value, why, size);
	case OPTION_RESOURCE:
		return set_resource(&options->resource_gaudi, "resource", value, why, size);
	case OPTION_RESOURCE_NIC:
		return set_resource(&options->resource_nic, "rdma-resource", value, why, size);
	case OPTION_ONCE:
		options->once = true;
		return 0;
	case OPTION_VERSION:
		options->version = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	default:
		return set_word(options, option, value, why, size);
	}
}

int options_parse(int argc, char **argv, struct options *options, char *why, size_t size)
{
	int option, r;

	*options = (struct options){
		.sysfs_root = "/sys",
		.kubelet_dir = KUBELET_DEVICE_PLUGINS_DIR,
		.dev_dir = "/dev",
		.state_dir = PAIRS_DEFAULT_DIR,
		.events = true,
		.mode = "paired",
		.resource_gaudi = "habana.ai/gaudi",
		.resource_nic = "habana.ai/rdma",
		.rescan_ms = 5000,
		.log_level = LOG_LEVEL_INFO,
	};
	optind = 0; /* the parser keeps state between calls; 0 makes it begin anew */
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == ':')
			return wrong(why, size, "%s needs a value", argv[optind - 1]);
		if (option == '?')
			return wrong(why, size, "%s: no such option, or it takes no value", argv[optind - 1]);
		r = set_option(options, option, optarg, why, size);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return wrong(why, size, "'%s': arguments without an option name are not understood",
			     argv[optind]);
	if (strcmp(options->resource_gaudi, options->resource_nic) == 0)
		return wrong(why, size, "--resource and --rdma-resource are the same");
	return 0;
}
