// SPDX-License-Identifier: Apache-2.0
#include "node/repeat.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

static bool goes_on(const struct repeat *repeat, const struct report *report)
{
	if (repeat->stay)
		return true;
	return repeat->wait && (report->outcome == REPORT_WAIT || report->outcome == REPORT_IN_USE);
}

void repeat_run(const struct repeat *repeat, struct report *report)
{
	const struct timespec interval = { .tv_sec = repeat->interval };
	char told[REPORT_TEXT_MAX] = "";
	sigset_t ends;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &ends, NULL);
	do {
		repeat->step(repeat->data, report);
		if (strcmp(report->text, told) != 0)
			report_tell(report);
		(void)strcpy(told, report->text);
	} while (goes_on(repeat, report) && sigtimedwait(&ends, NULL, &interval) < 0);
}
