// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool report_end(struct install_report *report, enum install_outcome outcome, const char *format, ...)
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
	default:
		return "";
	}
}

bool report_broken(struct install_report *report, int error, const char *what, const char *path)
{
	return report_end(report, INSTALL_FAILED, "cannot %s /%s: %s%s", what, path, strerror(-error),
			  advice(error));
}
