/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of a device's lease, as tables. The driver, its KUnit suite and, through cpp, the Promela model of
 * tests/model take them from here, so what the model proves is proven for this table. There is no other way for a state
 * to change: gaudi_lease_event() looks the event up, and a pair that is not here is a bug.
 *
 * The model defines GAUDI_STATE_TABLES_ONLY: it cannot read C.
 */
#ifndef GAUDI_STATE_H
#define GAUDI_STATE_H

/* X(state, name in sysfs and uevents) */
#define GAUDI_STATES(X)									\
	X(FREE, "free")		/* all memory is zero, nobody can reach any */		\
	X(OWNED, "owned")	/* one lease lives */					\
	X(DRAINING, "draining")	/* lease over, an importer still maps memory of it */	\
	X(SCRUBBING, "scrubbing") /* nobody maps anything, memory is being zeroed */	\
	X(LOST, "lost")		/* zero cannot be proven; only a reset or a new probe leads out */

/* X(event, name) */
#define GAUDI_EVENTS(X)									\
	X(OPEN, "open")		/* a new owner */					\
	X(END, "end")		/* last close, owner dead or idle, or before any event that has no row in owned */ \
	X(LET_GO, "let go")	/* no importer holds anything, nor does one of a former binding */ \
	X(SCRUBBED, "scrubbed")	/* nothing is dirty */					\
	X(NOT_ZERO, "not zero")	/* memory did not read back as zero */			\
	X(RESET, "reset")	/* the card is about to be reset: what memory holds is unknown */ \
	X(REMOVE, "remove")	/* the driver lets go of the card, for good */

/* X(state, event, next state). END is the only way out of owned: no lease survives its state. */
#define GAUDI_TRANSITIONS(X)								\
	X(FREE, OPEN, OWNED)								\
	X(OWNED, END, DRAINING)								\
	X(DRAINING, LET_GO, SCRUBBING)							\
	X(SCRUBBING, SCRUBBED, FREE)							\
	X(SCRUBBING, NOT_ZERO, LOST)							\
	X(DRAINING, NOT_ZERO, LOST)	/* freed memory, scrubbed while the owner left */ \
	X(FREE, RESET, DRAINING)							\
	X(DRAINING, RESET, DRAINING)							\
	X(SCRUBBING, RESET, DRAINING)							\
	X(LOST, RESET, DRAINING)							\
	X(FREE, REMOVE, LOST)								\
	X(DRAINING, REMOVE, LOST)							\
	X(SCRUBBING, REMOVE, LOST)							\
	X(LOST, REMOVE, LOST)

/* Of a device that is being bound: somebody may still map its memory on behalf of a former binding. */
#define GAUDI_STATE_FIRST	DRAINING

#ifndef GAUDI_STATE_TABLES_ONLY

#define GAUDI_STATE_ENUM(state, name)	GAUDI_STATE_##state,
#define GAUDI_EVENT_ENUM(event, name)	GAUDI_EVENT_##event,
#define GAUDI_ONE_MORE(word, name)	+ 1

enum gaudi_state { GAUDI_STATES(GAUDI_STATE_ENUM) };
enum gaudi_event { GAUDI_EVENTS(GAUDI_EVENT_ENUM) };

/* Apart, so that a switch over all states is complete. */
enum {
	GAUDI_STATE_COUNT = 0 GAUDI_STATES(GAUDI_ONE_MORE),
	GAUDI_EVENT_COUNT = 0 GAUDI_EVENTS(GAUDI_ONE_MORE),
};

#undef GAUDI_STATE_ENUM
#undef GAUDI_EVENT_ENUM
#undef GAUDI_ONE_MORE

enum gaudi_state gaudi_state_first(void);
int gaudi_state_next(enum gaudi_state state, enum gaudi_event event);
const char *gaudi_state_name(enum gaudi_state state);
const char *gaudi_event_name(enum gaudi_event event);

#endif
#endif
