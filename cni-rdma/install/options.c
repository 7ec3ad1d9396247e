// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/num.h"
#include "install.h"

#define INTERVAL_MAX 3600

void options_help(FILE *out)
{
	(void)fputs(
		"usage: cni-rdma-install install|uninstall|status [option...]\n"
		"\n"
		"Puts the CNI plugin cni-rdma onto this node:\n"
		"  /opt/cni/bin/cni-rdma             the program\n"
		"  /etc/modprobe.d/gaudi-p2p.conf    one network namespace for each RDMA device, from boot\n"
		"  /etc/cni/net.d/*.conflist         its entry, last in the list that the runtime takes (the first)\n"
		"Each file is replaced as a whole, what is right already is left alone, and what was there\n"
		"before is kept in /var/lib/cni/cni-rdma-install.\n"
		"\n"
		"  install    once; may be repeated\n"
		"  uninstall  everything back; refused while pods have NICs, which it names\n"
		"  status     only looks: exit status 0 when all is in place and works\n"
		"\n"
		"  --wait           try again until there is a pod network, or no pod has a NIC\n"
		"  --stay           as --wait, and then watch that it stays so, until SIGTERM (for a DaemonSet);\n"
		"                   SIGTERM takes nothing away\n"
		"  --interval=N     seconds between two looks (10)\n"
		"  --root=DIR       the node's file system (/)\n"
		"  --source=DIR     where cni-rdma, cni-rdma.json and gaudi-p2p.conf are (the folder of this program)\n"
		"  --bin=DIR        the runtime's bin_dir (/opt/cni/bin)\n"
		"  --conf=DIR       the runtime's conf_dir (/etc/cni/net.d); k3s:\n"
		"                   /var/lib/rancher/k3s/agent/etc/cni/net.d\n"
		"\n"
		"exit status: 0 done; 1 failed, the last line says what to do; 2 wrong option; 3 the node needs a\n"
		"reboot; 4 no pod network or no RDMA yet; 5 (status) something is missing; 6 pods have NICs\n",
		out);
}

static const char *inside(const char *path)
{
	return path + strspn(path, "/");
}

static int parse_verb(const char *word, enum verb *ret)
{
	if (strcmp(word, "install") == 0)
		*ret = VERB_INSTALL;
	else if (strcmp(word, "uninstall") == 0)
		*ret = VERB_UNINSTALL;
	else if (strcmp(word, "status") == 0)
		*ret = VERB_STATUS;
	else
		return -EINVAL;
	return 0;
}

static int check(const struct options *options, const char *word, char *why, size_t size)
{
	if (options->verb == VERB_NONE) {
		(void)snprintf(why, size, "%s%s: say install, uninstall or status", word ?: "nothing to do",
			       word ? " is no verb" : "");
		return -EINVAL;
	}
	if (!*options->bin || !*options->conf || strlen(options->bin) > 1024 ||
	    strlen(options->conf) > 1024) {
		(void)snprintf(why, size, "--bin and --conf name folders of the node");
		return -EINVAL;
	}
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size)
{
	static const struct option known[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "source", required_argument, NULL, 's' },
		{ "bin", required_argument, NULL, 'b' },
		{ "conf", required_argument, NULL, 'c' },
		{ "interval", required_argument, NULL, 'i' },
		{ "wait", no_argument, NULL, 'w' },
		{ "stay", no_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = { .root = "/", .bin = INSTALL_BIN, .conf = INSTALL_CONF, .interval = 10 };
	int c;

	opterr = 0;
	optind = 0; /* a test parses more than once */
	while ((c = getopt_long(argc, argv, "h", known, NULL)) >= 0) {
		if (c == 'r')
			options.root = optarg;
		else if (c == 's')
			options.source = optarg;
		else if (c == 'b')
			options.bin = inside(optarg);
		else if (c == 'c')
			options.conf = inside(optarg);
		else if (c == 'w')
			options.wait = true;
		else if (c == 'S')
			options.wait = options.stay = true;
		else if (c == 'h')
			options.help = true;
		else if (c != 'i' || num_parse_uint(optarg, 1, INTERVAL_MAX, &options.interval) < 0) {
			(void)snprintf(why, size, "%s: %s", argv[optind - 1],
				       c == 'i' ? "seconds, from 1 to 3600"
						: "no such option, or its value is missing");
			return -EINVAL;
		}
	}
	if (!options.help) {
		const char *word = optind < argc ? argv[optind] : NULL;

		if (word && (optind + 1 < argc || parse_verb(word, &options.verb) < 0))
			options.verb = VERB_NONE;
		if (check(&options, word, why, size) < 0)
			return -EINVAL;
	}
	*ret = options;
	return 0;
}
