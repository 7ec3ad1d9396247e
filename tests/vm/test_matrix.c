// SPDX-License-Identifier: Apache-2.0
/*
 * Every lease state x importer x event, each cell a test: matrix_STATE_IMPORTER_EVENT. What must hold is in the tables
 * below; what is common to all is in test_matrix/cell.c.
 *
 * In free, draining, scrubbing and lost the lease is over: "close", "kill", "netns" and "revoke" come from the former
 * owner, whose files are open still.
 *
 * Without LONG=1 only a part runs: all importers of "owned" with "close" and "revoke", and enough of the others that
 * every pair of state and event, state and importer, importer and event comes once.
 *
 * vm-modules: edu_peer
 */
#include "card.h"
#include "test_matrix/matrix.h"
#include "vm.h"

const struct matrix_kind matrix_kinds[IMPORTERS] = {
	[NONE] = { .none = true },
	[DYNAMIC] = { .kind = EDU_PEER_DYNAMIC, .invalidations = 1 },
	[REFAULTING] = { .kind = EDU_PEER_REFAULTING, .invalidations = 1 },
	[PINNED_REVOCABLE] = { .kind = EDU_PEER_PINNED_REVOCABLE, .invalidations = 1 },
	[PINNED] = { .kind = EDU_PEER_PINNED, .maps_on = true, .holds = true, .reason = "mapped by" },
	[SLOW] = { .kind = EDU_PEER_DYNAMIC, .delay_ms = 500, .invalidations = 1, .maps_on = true },
	[NEVER] = { .kind = EDU_PEER_DYNAMIC,
		    .delay_ms = EDU_PEER_NEVER,
		    .invalidations = 1,
		    .maps_on = true,
		    .holds = true,
		    .reason = "mapped by" },
	[KERNEL] = { .kind = EDU_PEER_KERNEL, .invalidations = 1 },
	[FENCE] = { .kind = EDU_PEER_FENCE, .invalidations = 1, .holds = true, .reason = "fence" },
};

/*
 * Cells that do not exist as they stand, and why. Their tests show that on the way, help, and go on. A device that is
 * draining with nobody who holds is never seen: the "free" cells of the same importers show that.
 */
const char *const matrix_impossible[STATES][2] = {
	[FREE][true] =
		"an importer that holds keeps the device draining; it lets go first, and stays attached",
	[SCRUBBING][true] =
		"an importer that holds keeps the device draining; it lets go first, and stays attached",
	[DRAINING][false] = "nothing is left to wait for; a second importer holds",
};

const struct matrix_outcome matrix_outcomes[STATES][EVENTS] = {
	[OWNED] = {
		[CLOSE]  = { "draining", -EBUSY,  NOBODY,  0, "free" },
		[KILL]   = { "draining", -EBUSY,  NOBODY,  0, "free" },
		[NETNS]  = { "draining", -EBUSY,  -ENODEV, 0, "free" },
		[REVOKE] = { "owned",    -EBUSY,  0,       1, "owned" },
		[UNPLUG] = { NULL,       -ENODEV, -ENODEV, 0, "free" },
		[UNBIND] = { NULL,       -ENODEV, -ENODEV, 0, "free" },
		[RESET]  = { "draining", -EBUSY,  -ENODEV, 0, "free" },
	},
	[FREE] = {
		[CLOSE]  = { "free", 0,       NOBODY,  0,       "free" },
		[KILL]   = { "free", 0,       NOBODY,  0,       "free" },
		[NETNS]  = { "free", 0,       -ENODEV, 0,       "free" },
		[REVOKE] = { "free", 0,       -ENODEV, -ENODEV, "free" },
		[UNPLUG] = { NULL,   -ENODEV, NOBODY,  0,       "free" },
		[UNBIND] = { NULL,   -ENODEV, NOBODY,  0,       "free" },
		[RESET]  = { "free", 0,       NOBODY,  0,       "free" },
	},
	[DRAINING] = {
		[CLOSE]  = { "draining", -EBUSY,  NOBODY,  0,       "free" },
		[KILL]   = { "draining", -EBUSY,  NOBODY,  0,       "free" },
		[NETNS]  = { "draining", -EBUSY,  -ENODEV, 0,       "free" },
		[REVOKE] = { "draining", -EBUSY,  -ENODEV, -ENODEV, "free" },
		[UNPLUG] = { NULL,       -ENODEV, NOBODY,  0,       "free" },
		[UNBIND] = { NULL,       -ENODEV, NOBODY,  0,       "free" },
		[RESET]  = { "draining", -EBUSY,  NOBODY,  0,       "free" },
	},
	[SCRUBBING] = {
		[CLOSE]  = { NULL, 0, NOBODY,  0,       "free" },
		[KILL]   = { NULL, 0, NOBODY,  0,       "free" },
		[NETNS]  = { NULL, 0, -ENODEV, 0,       "free" },
		[REVOKE] = { NULL, 0, -ENODEV, -ENODEV, "free" },
		[UNPLUG] = { NULL, 0, NOBODY,  0,       "free" },
		[UNBIND] = { NULL, 0, NOBODY,  0,       "free" },
		[RESET]  = { NULL, 0, NOBODY,  0,       "free" },
	},
	[LOST] = {
		[CLOSE]  = { "lost",     -EIO,    NOBODY,  0,       "lost" },
		[KILL]   = { "lost",     -EIO,    NOBODY,  0,       "lost" },
		[NETNS]  = { "lost",     -EIO,    -ENODEV, 0,       "lost" },
		[REVOKE] = { "lost",     -EIO,    -ENODEV, -ENODEV, "lost" },
		[UNPLUG] = { NULL,       -ENODEV, -ENODEV, 0,       "free" },
		[UNBIND] = { NULL,       -ENODEV, -ENODEV, 0,       "free" },
		[RESET]  = { "draining", -EBUSY,  -ENODEV, 0,       "free" },
	},
};

/*
 * Whether a cell runs without LONG=1. Seven events and nine importers: two diagonals of a state meet all its events and
 * importers, and those of five states all pairs of the two.
 */
#define DIAGONAL(i, e) (((i) - (e) + IMPORTERS) % IMPORTERS)
#define ALWAYS(s, e) ((s) == OWNED && ((e) == CLOSE || (e) == REVOKE))
#define SHORT(s, i, e) (ALWAYS(s, e) || DIAGONAL(i, e) == (s) || DIAGONAL(i, e) == (s) + STATES - 1)

#define CELL(state, STATE, importer, IMPORTER, event, EVENT)                                                 \
	TEST(matrix_##state##_##importer##_##event, .driver = "emulated=1 nonrevocable=hold open_wait_s=10", \
	     .seconds = 120, .only_long = !SHORT(STATE, IMPORTER, EVENT))                                    \
	{                                                                                                    \
		matrix_cell(STATE, IMPORTER, EVENT);                                                         \
	}

#define EVENTS_OF(state, STATE, importer, IMPORTER)            \
	CELL(state, STATE, importer, IMPORTER, close, CLOSE)   \
	CELL(state, STATE, importer, IMPORTER, kill, KILL)     \
	CELL(state, STATE, importer, IMPORTER, netns, NETNS)   \
	CELL(state, STATE, importer, IMPORTER, revoke, REVOKE) \
	CELL(state, STATE, importer, IMPORTER, unplug, UNPLUG) \
	CELL(state, STATE, importer, IMPORTER, unbind, UNBIND) \
	CELL(state, STATE, importer, IMPORTER, reset, RESET)

#define IMPORTERS_OF(state, STATE)                                  \
	EVENTS_OF(state, STATE, none, NONE)                         \
	EVENTS_OF(state, STATE, dynamic, DYNAMIC)                   \
	EVENTS_OF(state, STATE, refaulting, REFAULTING)             \
	EVENTS_OF(state, STATE, pinned_revocable, PINNED_REVOCABLE) \
	EVENTS_OF(state, STATE, pinned, PINNED)                     \
	EVENTS_OF(state, STATE, slow, SLOW)                         \
	EVENTS_OF(state, STATE, never, NEVER)                       \
	EVENTS_OF(state, STATE, kernel, KERNEL)                     \
	EVENTS_OF(state, STATE, fence, FENCE)

IMPORTERS_OF(owned, OWNED)
IMPORTERS_OF(free, FREE)
IMPORTERS_OF(draining, DRAINING)
IMPORTERS_OF(scrubbing, SCRUBBING)
IMPORTERS_OF(lost, LOST)
