// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables of gaudi_state.h as functions. Pure: no device, no lock.
 */
#include <linux/errno.h>

#include "gaudi_state.h"

#define GAUDI_PAIR(state, event)	((state) * GAUDI_EVENT_COUNT + (event))
#define GAUDI_PASTE(a, b)		a##b
#define GAUDI_STATE_OF(state)		GAUDI_PASTE(GAUDI_STATE_, state)

/* Of a device that is being bound. */
enum gaudi_state gaudi_state_first(void)
{
	return GAUDI_STATE_OF(GAUDI_STATE_FIRST);
}

/* The state after @event in @state, or -EINVAL: that cannot happen. Two rows for one pair do not compile. */
int gaudi_state_next(enum gaudi_state state, enum gaudi_event event)
{
#define GAUDI_ROW(from, what, to)						\
	case GAUDI_PAIR(GAUDI_STATE_##from, GAUDI_EVENT_##what):		\
		return GAUDI_STATE_##to;

	switch (GAUDI_PAIR(state, event)) {
	GAUDI_TRANSITIONS(GAUDI_ROW)
	default:
		return -EINVAL;
	}
#undef GAUDI_ROW
}

const char *gaudi_state_name(enum gaudi_state state)
{
#define GAUDI_NAME(what, name)	[GAUDI_STATE_##what] = name,
	static const char *const names[] = { GAUDI_STATES(GAUDI_NAME) };
#undef GAUDI_NAME

	return names[state];
}

const char *gaudi_event_name(enum gaudi_event event)
{
#define GAUDI_NAME(what, name)	[GAUDI_EVENT_##what] = name,
	static const char *const names[] = { GAUDI_EVENTS(GAUDI_NAME) };
#undef GAUDI_NAME

	return names[event];
}
