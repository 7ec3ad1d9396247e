// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "loader.h"
#include "node/nodefile.h"
#include "node/repeat.h"
#include "options.h"
#include "sys.h"

static void install(void *data, struct report *report)
{
	loader_install(data, report);
}

static void uninstall(void *data, struct report *report)
{
	loader_uninstall(data, report);
}

/* All is known: what the node shall be, and where it is. */
static int run(const struct options *options, struct loader *loader)
{
	const enum verb verb = options->node.verb;
	struct report report = { 0 };
	const struct repeat repeat = { .step = verb == VERB_UNINSTALL || verb == VERB_ABSENT ? uninstall
											     : install,
				       .data = loader,
				       .interval = options->node.interval,
				       .wait = options->node.wait && !loader->look,
				       .stay = options->node.stay && !loader->look };

	repeat_run(&repeat, &report);
	loader_done(loader);
	return (int)report.outcome;
}

int main(int argc, char **argv)
{
	static struct loader loader; /* room for many cards */
	_cleanup_close_ int root = -EBADF, source = -EBADF;
	struct options options;
	struct utsname name;
	char why[256];

	log_init("gaudi-driver-loader", LOG_LEVEL_INFO, LOG_TEXT);
	if (options_parse(argc, argv, &options, why, sizeof(why)) < 0) {
		log_error("%s (--help shows all)", why);
		return 2;
	}
	if (options.node.help) {
		options_help(stdout);
		return EXIT_SUCCESS;
	}
	root = RET_NERRNO(open(options.node.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (root < 0)
		return log_error_errno(root, "cannot open %s", options.node.root), REPORT_FAILED;
	source = nodefile_open_source(options.node.source);
	if (source < 0)
		return log_error_errno(source, "cannot open the folder of the files to install"),
		       REPORT_FAILED;
	(void)uname(&name);
	loader = (struct loader){ .root = root,
				  .source = source,
				  .sys = &sys_real,
				  .release = name.release,
				  .machine = name.machine,
				  .conf = options.conf,
				  .pod_resources = options.pod_resources,
				  .params = options.params,
				  .policy = options.policy,
				  .look = nodeopts_looks(&options.node) };
	return run(&options, &loader);
}
