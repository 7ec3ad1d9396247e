/* SPDX-License-Identifier: Apache-2.0 */
/* What came out of a program that changes a node, in words for an administrator, with the next step where there is one. */
#ifndef NODE_REPORT_H
#define NODE_REPORT_H

#include <stdbool.h>

#define REPORT_TEXT_MAX 1024

/* Also the exit status of the program; 2 is for a wrong command line. */
enum report_outcome {
	REPORT_DONE = 0,
	REPORT_FAILED = 1,  /* somebody has to do something */
	REPORT_REBOOT = 3,  /* all that can be done before a reboot is done */
	REPORT_WAIT = 4,    /* something that others do is missing */
	REPORT_MISSING = 5, /* only looked: there is something to do */
	REPORT_IN_USE = 6,  /* pods use what is to be changed */
};

struct report {
	enum report_outcome outcome;
	char text[REPORT_TEXT_MAX];
};

/* Both return false, so that a step can end with them. */
bool report_end(struct report *report, enum report_outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* REPORT_FAILED: "cannot WHAT /PATH: ERROR", and what to do about it. error is -errno. */
bool report_broken(struct report *report, int error, const char *what, const char *path);

/* One line of the log, as bad as the outcome. */
void report_tell(const struct report *report);

#endif
