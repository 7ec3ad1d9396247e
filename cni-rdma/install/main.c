// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "install.h"
#include "mode.h"
#include "options.h"

static int open_source(const char *folder)
{
	char self[PATH_MAX];
	ssize_t n;

	if (folder)
		return RET_NERRNO(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return negative_errno();
	self[n] = '\0';
	*(strrchr(self, '/') + 1) = '\0';
	return RET_NERRNO(open(self, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void run(const struct options *options, const struct install *in, struct install_report *report)
{
	if (options->verb == VERB_UNINSTALL)
		install_remove(in, report);
	else
		install_put(in, report);
}

static void tell(const struct install_report *report)
{
	if (report->outcome == INSTALL_DONE)
		log_info("%s", report->text);
	else if (report->outcome == INSTALL_FAILED)
		log_error("%s", report->text);
	else
		log_warning("%s", report->text);
}

/* What time or somebody else may change. */
static bool may_pass(const struct options *options, const struct install_report *report)
{
	if (options->stay)
		return true;
	return options->wait && (report->outcome == INSTALL_WAIT || report->outcome == INSTALL_IN_USE);
}

/* Until it is done, or for good; each new state is told once. */
static void repeat(const struct options *options, const struct install *in, struct install_report *report)
{
	const struct timespec interval = { .tv_sec = options->interval };
	char told[INSTALL_TEXT_MAX] = "";
	sigset_t ends;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	/* A step is never cut in two: a signal waits for the end of it. */
	(void)sigprocmask(SIG_BLOCK, &ends, NULL);
	do {
		run(options, in, report);
		if (strcmp(report->text, told) != 0)
			tell(report);
		(void)strcpy(told, report->text);
	} while (may_pass(options, report) && sigtimedwait(&ends, NULL, &interval) < 0);
}

int main(int argc, char **argv)
{
	struct install in = { .is_shared = mode_is_shared, .set_exclusive = mode_set_exclusive };
	_cleanup_close_ int root = -EBADF, source = -EBADF;
	struct install_report report = { 0 };
	struct options options;
	char why[256];

	log_init("cni-rdma-install", LOG_LEVEL_INFO, LOG_TEXT);
	if (options_parse(argc, argv, &options, why, sizeof(why)) < 0) {
		log_error("%s (--help shows all)", why);
		return 2;
	}
	if (options.help) {
		options_help(stdout);
		return EXIT_SUCCESS;
	}
	root = RET_NERRNO(open(options.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (root < 0)
		return log_error_errno(root, "cannot open %s", options.root), INSTALL_FAILED;
	if (options.verb != VERB_UNINSTALL) {
		source = open_source(options.source);
		if (source < 0)
			return log_error_errno(source, "cannot open the folder of the files to install"),
			       INSTALL_FAILED;
	}
	in.root = root;
	in.source = source;
	in.bin = options.bin;
	in.conf = options.conf;
	in.look = options.verb == VERB_STATUS;
	if (in.look) {
		install_put(&in, &report);
		tell(&report);
	} else {
		repeat(&options, &in, &report);
	}
	return (int)report.outcome;
}
