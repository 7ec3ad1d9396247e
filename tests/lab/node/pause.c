// SPDX-License-Identifier: Apache-2.0
/* First process of a pod's sandbox: holds its namespaces, buries its orphans, ends when told to. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* Before the first wait: a signal that comes early stays pending. */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return 1;

	for (;;) {
		int sig = sigwaitinfo(&set, NULL);

		if (sig == SIGINT || sig == SIGTERM)
			return 0;
		if (sig < 0 && errno != EINTR)
			return 1;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
