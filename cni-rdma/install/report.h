/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ends. Both return false, so that a step can end with them. */
#ifndef CNI_INSTALL_REPORT_H
#define CNI_INSTALL_REPORT_H

#include "install.h"

bool report_end(struct install_report *report, enum install_outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* INSTALL_FAILED: "cannot WHAT /PATH: ERROR", and what to do about it. error is -errno. */
bool report_broken(struct install_report *report, int error, const char *what, const char *path);

#endif
