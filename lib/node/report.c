// SPDX-License-Identifier: Apache-2.0
#include "node/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

bool report_end(struct report *report, enum report_outcome outcome, const char *format, ...)
{
	va_list args;

	report->outcome = outcome;
	va_start(args, format);
	(void)vsnprintf(report->text, sizeof(report->text), format, args);
	va_end(args);
	return false;
}

static const char *advice(int error)
{
	switch (-error) {
	case EROFS:
		return "; mount that folder writable";
	case ENOSPC:
	case EDQUOT:
		return "; make room on that file system";
	case EACCES:
	case EPERM:
		return "; run this as root";
	case EBUSY:
		return "; it is mounted here: mount the folder above it in its place";
	case ENOTEMPTY:
		return "; what is in it is not from here: look at it, and remove it by hand";
	default:
		return "";
	}
}

bool report_broken(struct report *report, int error, const char *what, const char *path)
{
	return report_end(report, REPORT_FAILED, "cannot %s /%s: %s%s", what, path, strerror(-error),
			  advice(error));
}

void report_tell(const struct report *report)
{
	if (report->outcome == REPORT_DONE)
		log_info("%s", report->text);
	else if (report->outcome == REPORT_FAILED)
		log_error("%s", report->text);
	else
		log_warning("%s", report->text);
}
