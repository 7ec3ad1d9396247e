// SPDX-License-Identifier: Apache-2.0
#include "stop.h"

#include <signal.h>

#include "base/cleanup.h"

static volatile sig_atomic_t asked, immediate;

static void on_signal(int signal_number)
{
	(void)signal_number;
	asked = 1;
	if (immediate)
		_exit(STOP_STATUS);
}

int stop_init(void)
{
	/* Without SA_RESTART, so that waits end. */
	struct sigaction action = { .sa_handler = on_signal };

	if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
		return negative_errno();
	return 0;
}

bool stop_asked(void)
{
	return asked;
}

void stop_at_once(bool at_once)
{
	immediate = at_once;
	/* It came just before. */
	if (at_once && asked)
		_exit(STOP_STATUS);
}
