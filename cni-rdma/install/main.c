// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "install.h"
#include "mode.h"
#include "node/nodefile.h"
#include "node/repeat.h"
#include "options.h"

/* One look at the node, and what is to be done. */
struct job {
	struct install in;
	enum verb verb;
};

static void step(void *data, struct report *report)
{
	const struct job *job = data;

	if (job->verb == VERB_UNINSTALL || job->verb == VERB_ABSENT)
		install_remove(&job->in, report);
	else
		install_put(&job->in, report);
}

int main(int argc, char **argv)
{
	struct job job = { .in = { .is_shared = mode_is_shared, .set_exclusive = mode_set_exclusive } };
	_cleanup_close_ int root = -EBADF, source = -EBADF;
	struct report report = { 0 };
	struct options options;
	char why[256];

	log_init("cni-rdma-install", LOG_LEVEL_INFO, LOG_TEXT);
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
	if (options.node.verb == VERB_INSTALL || options.node.verb == VERB_STATUS) {
		source = nodefile_open_source(options.node.source);
		if (source < 0)
			return log_error_errno(source, "cannot open the folder of the files to install"),
			       REPORT_FAILED;
	}
	job.verb = options.node.verb;
	job.in.root = root;
	job.in.source = source;
	job.in.bin = options.bin;
	job.in.conf = options.conf;
	job.in.no_chain = options.no_chain;
	job.in.look = nodeopts_looks(&options.node);
	repeat_run(&(struct repeat){ .step = step,
				     .data = &job,
				     .interval = options.node.interval,
				     .wait = options.node.wait && !job.in.look,
				     .stay = options.node.stay && !job.in.look },
		   &report);
	return (int)report.outcome;
}
