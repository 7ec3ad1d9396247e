// SPDX-License-Identifier: Apache-2.0
#include "touch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

/* The innermost call; NULL when none is under way. */
static sigjmp_buf *volatile touch_jump;

static void on_sigbus(int signal_number)
{
	if (touch_jump)
		siglongjmp(*touch_jump, 1);
	/* Not ours: die of it, as without a handler. */
	(void)signal(signal_number, SIG_DFL);
	(void)raise(signal_number);
}

int p2p_touch(void (*fn)(void *data), void *data)
{
	struct sigaction action = { .sa_handler = on_sigbus }, old;
	sigjmp_buf *outer = touch_jump;
	sigjmp_buf jump;

	if (sigaction(SIGBUS, &action, &old) < 0)
		return negative_errno();
	if (sigsetjmp(jump, 1) != 0) {
		touch_jump = outer;
		(void)sigaction(SIGBUS, &old, NULL);
		return -EFAULT;
	}
	touch_jump = &jump;
	fn(data);
	touch_jump = outer;
	(void)sigaction(SIGBUS, &old, NULL);
	return 0;
}

struct search {
	const uint8_t *memory;
	size_t size, first;
};

static void search_do(void *data)
{
	static const uint8_t zeros[65536];
	struct search *search = data;
	size_t at = 0;

	while (at < search->size) {
		size_t n = search->size - at < sizeof(zeros) ? search->size - at : sizeof(zeros);

		if (memcmp(search->memory + at, zeros, n) != 0)
			break;
		at += n;
	}
	while (at < search->size && search->memory[at] == 0)
		at++;
	search->first = at;
}

int p2p_find_nonzero(const void *memory, size_t size, size_t *ret_first)
{
	struct search search = { .memory = memory, .size = size };
	int r = p2p_touch(search_do, &search);

	if (r == 0)
		*ret_first = search.first;
	return r;
}
