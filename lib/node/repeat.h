/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a program that puts something onto a node: a step, again and again. */
#ifndef NODE_REPEAT_H
#define NODE_REPEAT_H

#include "node/report.h"

struct repeat {
	void (*step)(void *data, struct report *report);
	void *data;
	unsigned interval; /* seconds between two steps */
	bool wait; /* go on while the outcome is one that others may change: REPORT_WAIT, REPORT_IN_USE */
	bool stay; /* go on, whatever comes out */
};

/*
 * Runs steps until one ends it, or SIGTERM or SIGINT, which never cut a step in two (they stay blocked). Each new
 * outcome is told once. *report is that of the last step.
 */
void repeat_run(const struct repeat *repeat, struct report *report);

#endif
