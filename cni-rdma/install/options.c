// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <string.h>

#include "install.h"

void options_help(FILE *out)
{
	(void)fputs(
		"usage: cni-rdma-install install|uninstall|status|absent [option...]\n"
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
		"  absent     only looks: exit status 0 when nothing of it is left on this node\n"
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
		"  --no-chain       no entry in the list, and out of it again where this program put it: for Multus, where\n"
		"                   pods name a network of cni-rdma\n"
		"\n"
		"exit status: 0 done; 1 failed, the last line says what to do; 2 wrong option; 3 the node needs a\n"
		"reboot; 4 no pod network or no RDMA yet; 5 (status, absent) it is not so; 6 pods have NICs\n",
		out);
}

static const char *take(int c, void *data)
{
	struct options *options = data;

	if (c == 'b')
		options->bin = nodeopts_inside(optarg);
	else if (c == 'c')
		options->conf = nodeopts_inside(optarg);
	else
		options->no_chain = true;
	return NULL;
}

int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size)
{
	static const struct option table[] = {
		{ "bin", required_argument, NULL, 'b' },
		{ "conf", required_argument, NULL, 'c' },
		{ "no-chain", no_argument, NULL, 'n' },
		NODEOPTS_TABLE,
	};
	struct options options = { .node = NODEOPTS_INIT, .bin = INSTALL_BIN, .conf = INSTALL_CONF };
	int r = nodeopts_parse(argc, argv, table, take, &options, &options.node, why, size);

	if (r < 0)
		return r;
	if (!options.node.help &&
	    (!*options.bin || !*options.conf || strlen(options.bin) > 1024 || strlen(options.conf) > 1024)) {
		(void)snprintf(why, size, "--bin and --conf name folders of the node");
		return -EINVAL;
	}
	*ret = options;
	return 0;
}
