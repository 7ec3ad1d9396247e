// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <string.h>

#define POLICY "nonrevocable"

void options_help(FILE *out)
{
	(void)fputs(
		"usage: gaudi-driver-loader install|uninstall|status|absent [option...]\n"
		"\n"
		"Puts the driver gaudi_p2p onto this node: the module that dkms has built for the running kernel,\n"
		"else modules/RELEASE/gaudi_p2p.ko of the image; and /etc/udev/rules.d/60-gaudi-p2p.rules, with\n"
		"dkms also /etc/modules-load.d/gaudi-p2p.conf. What was changed stands in\n"
		"/var/lib/gaudi-p2p/driver-loader.\n"
		"\n"
		"  install    loads it. In the place of another version only when no Gaudi is in use: until then\n"
		"             the loader holds free cards, so that no pod is given one, and names who has the others\n"
		"  uninstall  unloads it, in the same way, and takes the files back; one that the node loaded by itself\n"
		"             stays, with the policy that it had\n"
		"  status     only looks: exit status 0 when the right version is loaded, with the right policy\n"
		"  absent     only looks: exit status 0 when nothing from here is left on this node\n"
		"\n"
		"  --wait           try again until no Gaudi is in use, or there is a module for this kernel\n"
		"  --stay           as --wait, and then watch that it stays so, until SIGTERM (for a DaemonSet);\n"
		"                   SIGTERM gives back held cards and takes nothing away\n"
		"  --interval=N     seconds between two looks (10)\n"
		"  --nonrevocable=auto|refuse|hold\n"
		"                   importers that cannot revoke: auto (default) is hold where RDMA namespaces are\n"
		"                   exclusive and cni-rdma is in the pod network, which ends what they hold, else\n"
		"                   refuse. With cni-rdma under Multus say hold\n"
		"  --param=NAME=VALUE\n"
		"                   for the module, any number of times, over those of /etc/modprobe.d\n"
		"  --pod-resources=PATH\n"
		"                   the kubelet's socket (/var/lib/kubelet/pod-resources/kubelet.sock), which tells\n"
		"                   who has a Gaudi; none: this node has no kubelet\n"
		"  --conf=DIR       where the pod network is configured (/etc/cni/net.d)\n"
		"  --root=DIR       the node's file system (/)\n"
		"  --source=DIR     where modules/ and etc/ are (the folder of this program)\n"
		"\n"
		"exit status: 0 done; 1 failed, the last line says what to do; 2 wrong option; 4 no module for this\n"
		"kernel yet, or the kubelet does not answer; 5 (status, absent) it is not so; 6 Gaudis are in use\n",
		out);
}

static int parse_policy(const char *word, struct options *options)
{
	if (strcmp(word, "auto") == 0)
		options->policy = LOADER_POLICY_AUTO;
	else if (strcmp(word, "refuse") == 0)
		options->policy = LOADER_POLICY_REFUSE;
	else if (strcmp(word, "hold") == 0)
		options->policy = LOADER_POLICY_HOLD;
	else
		return -EINVAL;
	return 0;
}

/* The policy has an option of its own, with words for each choice. */
static int parse_param(const char *word, struct options *options)
{
	size_t used = strlen(options->params);
	const char *equals = strchr(word, '=');
	int n;

	if (!equals || equals == word || strpbrk(word, " \t\n\"") ||
	    strncmp(word, POLICY "=", sizeof(POLICY)) == 0)
		return -EINVAL;
	n = snprintf(options->params + used, sizeof(options->params) - used, "%s%s", used ? " " : "", word);
	return n < 0 || (size_t)n >= sizeof(options->params) - used ? -EINVAL : 0;
}

static const char *take(int c, void *data)
{
	struct options *options = data;

	switch (c) {
	case 'c':
		options->conf = nodeopts_inside(optarg);
		return *options->conf && strlen(options->conf) < 1024 ? NULL : "a folder of the node";
	case 'k':
		options->pod_resources = strcmp(optarg, "none") == 0 ? NULL : optarg;
		return *optarg == '/' || !options->pod_resources ? NULL : "the path of a socket, or none";
	case 'n':
		return parse_policy(optarg, options) < 0 ? "auto, refuse or hold" : NULL;
	default:
		return parse_param(optarg, options) < 0
			       ? "NAME=VALUE of a module parameter; for nonrevocable say --nonrevocable"
			       : NULL;
	}
}

int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size)
{
	static const struct option table[] = {
		{ "conf", required_argument, NULL, 'c' },
		{ "pod-resources", required_argument, NULL, 'k' },
		{ "nonrevocable", required_argument, NULL, 'n' },
		{ "param", required_argument, NULL, 'p' },
		NODEOPTS_TABLE,
	};
	struct options options = { .node = NODEOPTS_INIT,
				   .conf = LOADER_CONF,
				   .pod_resources = LOADER_POD_RESOURCES };
	int r = nodeopts_parse(argc, argv, table, take, &options, &options.node, why, size);

	if (r == 0)
		*ret = options;
	return r;
}
