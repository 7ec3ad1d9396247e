/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease protocol of gaudi_p2p, for spin. The states, the events and what follows from what are the driver's own
 * table; every EVENT() names the driver's function that posts it, and tests/model/run compares both lists.
 *
 * One card (two bindings of it in turn: the old one may live on as a ghost), one block of memory, two pods, two exports,
 * one or two importers of any kind, a CNI plugin, somebody who resets, unbinds and binds the card.
 *
 * What a lock protects against in the driver is one atomic step here, unless something that does not take the lock can
 * come in between: steps under gaudi_device.lock meet importers (which know only the dma-resv of an export), and flags
 * and counters that are read without it.
 *
 * RULE(name) is true; in the mutant "name" it is false. The variants are chosen by macros, see VARIANTS in run.
 */
#define GAUDI_STATE_TABLES_ONLY
#include "gaudi_state.h"

#define NAME(word, text)	word,
mtype:state = { GAUDI_STATES(NAME) NO_STATE }
mtype:event = { GAUDI_EVENTS(NAME) NO_EVENT }
mtype:block = { ZERO, OUT, DIRTY, TAKEN }
mtype:kind = { DYNAMIC, FENCE, REVOCABLE, PINNED, CPU }
mtype:at = { AWAY, ATTACHED, MAPPED }

#define NONE	7

#ifdef HOLD
#define REFUSE	false
#else
#define REFUSE	true
#endif

/* Of the mutant, set before the first step: a rule, or a row of the table and its other next state (GONE: none). */
byte mutant, mutated_row, mutated_next;
#define GONE		255
#define RULE(name)	(mutant != M_##name)

/* A property that must hold whenever it is passed. */
#define CLAIM(text, condition)							\
	if									\
	:: !(condition) -> c_code { printf("violated: %s\n", text); }; assert(false) \
	:: else									\
	fi
#define SAY_ONCE(text)	c_code { static int said; if (!said) { said = 1; printf("reached: %s\n", text); } }

/* --- what there is --------------------------------------------------------------------------------------------------- */
/* A binding of the card: struct gaudi_device. */
typedef device {
	mtype:state state;
	mtype:block block;	/* the memory, as its allocator knows it */
	bit lock;
	bit wanted;		/* somebody waits for the lock: mutexes are fair enough that loops do not starve him */
	bit gone;		/* drm_dev_unplug() was called */
	bit removed;		/* gaudi_device_remove() has come to its event */
	bit resetting;
	bit fresh;
	bit reset_seen;		/* .resets is not what the scrub saw when it began */
	bit queued, running, disabled;	/* the worker */
	bit owner_died;		/* that work is queued */
	bit unproven;		/* ghost: a scrub failed, and no reset since */
	byte holds;
	byte lease;		/* pod or NONE */
	byte files;		/* open files */
}

typedef export {
	bit used;
	bit fd;			/* somebody has a file descriptor of it */
	bit revoked;
	bit going;		/* is being revoked right now */
	bit over;		/* its lease has ended */
	byte on;		/* a device */
	byte by;		/* a pod */
	byte attached;
	byte holds;
}

typedef importer_state {
	mtype:at at;
	mtype:kind kind;
	byte exp;		/* an export */
	bit told;		/* its invalidate callback ran, it unmaps later */
	bit fence;		/* unmapped, work announced by a fence goes on */
	bit watched;		/* the exporter counts that fence as a hold */
	bit reach;		/* its hardware (or the CPU) reaches the memory */
}

typedef pod_state {
	bit over;		/* its lease has ended */
	bit dead;		/* its network namespace died */
	bit quiet;		/* nothing of it is left but sockets elsewhere */
	bit waits;		/* in open, or in ALLOC for freed memory; wake() ends it */
	bit closes;		/* in close or exit */
}

device dev[2];
export ex[2];
importer_state importers[2];
pod_state pod[2];
byte current;			/* the binding that open() reaches, or NONE */
bit nonzero;			/* what the card's memory really holds */
bit in_reset;			/* the hardware is being reset right now */
bit env_busy;			/* in remove, or in reset's prepare or done */

#define REACHED		(importers[0].reach || importers[1].reach)
#define GHOST(d)	(dev[1 - (d)].holds > 0)
#if REMOVALS
#define FILES(change)	change
#else
#define FILES(change)	skip
#endif
#define USABLE(e)	(ex[e].used && (ex[e].fd || ex[e].attached > 0))

/* --- the table ------------------------------------------------------------------------------------------------------- */
hidden byte row;
hidden mtype:state next;

#define ROW(from, what, to)							\
	:: dev[d].state == from && ev == what ->				\
		row = __COUNTER__; next = to; SAY_ONCE("row " #from " " #what)
#define MUTATED_NEXT(state, text)	:: mutated_next == __COUNTER__ -> next = state;

/* gaudi_lease_event(). What it means to be in a state, in the words of gaudi_state.h, is claimed at each change. */
inline event(d, ev)
{
	if
	GAUDI_TRANSITIONS(ROW)
	:: else -> CLAIM("every event has a row in the state it meets", false)
	fi;
	if
	:: row == mutated_row ->
		if
		GAUDI_STATES(MUTATED_NEXT)
		:: else -> CLAIM("every event has a row in the state it meets", false)
		fi
	:: else
	fi;
	if
	:: dev[d].state != next && RULE(change_wakes_waiters) -> wake()
	:: else
	fi;
	dev[d].state = next;
	CLAIM("owned is who has a lease", (dev[d].lease != NONE) == (dev[d].state == OWNED));
	CLAIM("lost is who failed to be zero, until reset, or was removed",
	      (dev[d].unproven || dev[d].removed) == (dev[d].state == LOST));
	CLAIM("nobody maps what is scrubbed", dev[d].state != SCRUBBING || !REACHED);
	CLAIM("nothing is scrubbed during a reset", dev[d].state != SCRUBBING || !dev[d].resetting);
	CLAIM("free memory is zero and nobody reaches it",
	      dev[d].state != FREE || (!REACHED && !nonzero && !dev[d].fresh && dev[d].block == ZERO))
}

#define EVENT(d, function, ev)	SAY_ONCE("call " #function " " #ev); event(d, ev)

inline wake()
{
	pod[0].waits = 0;
	pod[1].waits = 0
}

/* queue_work(): nothing happens while the work is disabled. */
inline queue(d)
{
	if
	:: !dev[d].disabled -> dev[d].queued = 1
	:: else
	fi
}

/* --- holds and exports ----------------------------------------------------------------------------------------------- */
inline export_forget(e)
{
	if
	:: !ex[e].fd && ex[e].attached == 0 && ex[e].holds == 0 ->
		ex[e].used = 0;
		ex[e].revoked = 0;
		ex[e].going = 0;
		ex[e].over = 0;
		ex[e].on = 0;
		ex[e].by = 0
	:: else
	fi
}

inline hold_get(i)
{
	if
	:: RULE(mapping_is_a_hold) -> ex[importers[i].exp].holds++
	:: else
	fi
}

hidden byte held, holder, other, pick;

/* gaudi_hold_put() and gaudi_device_kick() */
inline export_hold_put(e)
{
	holder = ex[e].on;
	other = 1 - holder;
	ex[e].holds--;
	if
	:: ex[e].holds == 0 && ex[e].revoked ->
		dev[holder].holds--;
		if
		:: dev[holder].holds == 0 && ex[e].over && RULE(last_hold_starts_worker) ->
			queue(holder);
			if
			:: RULE(last_hold_of_ghost_starts_new_worker) -> queue(other)
			:: else
			fi
		:: else
		fi
	:: else
	fi
}

inline hold_put(i)
{
	if
	:: RULE(mapping_is_a_hold) ->
		held = importers[i].exp;
		export_hold_put(held)
	:: else
	fi
}

/* The exporter calls an importer's invalidate; dma-resv held. What it does at once, and what later, is its kind. */
inline invalidate(i)
{
	if
	:: importers[i].at == MAPPED && importers[i].kind == DYNAMIC ->
		importers[i].reach = 0;
		importers[i].at = ATTACHED;
		hold_put(i)
	:: importers[i].at == MAPPED && importers[i].kind == FENCE ->
		importers[i].at = ATTACHED;
		importers[i].fence = 1;
		hold_put(i);
		if
		:: RULE(fence_is_a_hold) ->
			importers[i].watched = 1;
			hold_get(i)
		:: else
		fi
	:: importers[i].at == MAPPED && importers[i].kind == REVOCABLE ->
		importers[i].told = 1
	:: else
	fi
}

inline invalidate_all(e)
{
	if
	:: importers[0].exp == e -> invalidate(0)
	:: else
	fi;
	if
	:: importers[1].exp == e -> invalidate(1)
	:: else
	fi
}

/* gaudi_revoke_export(), of those exports that are .going; the device's lock is held. */
inline revoke_choose(e, yes)
{
	if
	:: USABLE(e) && !ex[e].revoked && (yes) -> ex[e].going = 1
	:: else
	fi
}

/* With a hold of its own, until the invalidate callbacks have run. */
inline revoke_flag(e)
{
	if
	:: ex[e].going && ex[e].used ->
		ex[e].revoked = 1;
		if
		:: RULE(revocation_is_a_hold) -> ex[e].holds++
		:: else
		fi;
		if
		:: ex[e].holds > 0 -> dev[ex[e].on].holds++
		:: else
		fi
	:: else
	fi
}

inline revoke_let_go(e)
{
	if
	:: ex[e].going && ex[e].revoked && RULE(revocation_is_a_hold) -> export_hold_put(e)
	:: else
	fi
}

inline revoke_invalidate(i)
{
	if
	:: ex[importers[i].exp].going && RULE(revoke_invalidates) -> invalidate(i)
	:: else
	fi
}

inline zap(i)
{
	if
	:: importers[i].at == MAPPED && importers[i].kind == CPU && ex[importers[i].exp].going && RULE(revoke_zaps) ->
		importers[i].reach = 0;
		importers[i].at = ATTACHED
	:: else
	fi
}

inline revoke_begin()
{
	if
	:: RULE(revoked_before_zap)
	:: else -> zap(0); zap(1)
	fi
}

/* Under the dma-resv, which map and page faults hold too. The steps of two exports do not meet: they are taken together. */
inline revoke_under_resv()
{
	if
	:: RULE(revoked_before_invalidate) ->
		revoke_flag(0);
		revoke_flag(1);
		revoke_invalidate(0);
		revoke_invalidate(1);
		revoke_let_go(0);
		revoke_let_go(1)
	:: else ->
		revoke_invalidate(0);
		revoke_invalidate(1)
	fi
}

/* After it, the CPU's mappings are taken away. */
inline revoke_after_resv()
{
	if
	:: RULE(revoked_before_invalidate)
	:: else ->
		revoke_flag(0);
		revoke_flag(1);
		revoke_let_go(0);
		revoke_let_go(1)
	fi;
	if
	:: RULE(revoked_before_zap) -> zap(0); zap(1)
	:: else
	fi;
	ex[0].going = 0;
	ex[1].going = 0
}

inline export_ends(e, d)
{
	if
	:: ex[e].used && ex[e].on == d && ex[e].by == dev[d].lease -> ex[e].over = 1
	:: else
	fi
}

/* gaudi_lease_end_locked() */
inline end_lease(d)
{
	if
	:: dev[d].lease != NONE ->
		atomic {
			export_ends(0, d);
			export_ends(1, d);
			pod[dev[d].lease].over = 1;
			dev[d].lease = NONE;
			EVENT(d, gaudi_lease_end_locked, END);
			revoke_choose(0, ex[0].on == d && RULE(end_revokes));
			revoke_choose(1, ex[1].on == d && RULE(end_revokes));
			revoke_begin()
		};
		atomic { revoke_under_resv() };
		atomic {
			revoke_after_resv();
			if
			:: dev[d].block == OUT -> dev[d].block = DIRTY
			:: else
			fi;
			if
			:: RULE(end_starts_worker) -> queue(d)
			:: else
			fi
		}
	:: else
	fi
}

/* For who must not starve him who waits in take_lock(). */
#define UNLOCKED(d)	(!dev[d].lock && !dev[d].wanted)

inline take_lock(d)
{
	dev[d].wanted = 1;
	atomic { !dev[d].lock -> dev[d].lock = 1; dev[d].wanted = 0 }
}

/* gaudi_owner_dies(), in the cleanup of the namespace or by the poll */
inline owner_dies(p, d)
{
	pod[p].dead = 1;
	if
	:: RULE(death_ends_lease) -> dev[d].owner_died = 1
	:: else
	fi
}

/* Nobody may do this in close, exit, remove or reset; mutants do. */
inline wait_for_importers(d)
{
	(dev[d].holds == 0)
}

/* --- pods ------------------------------------------------------------------------------------------------------------ */
#define MINE(e)		(ex[e].used && ex[e].on == d && ex[e].by == p && !ex[e].over)
#define BUSY(e)		(MINE(e) && (ex[e].holds > 0 || (!ex[e].revoked && USABLE(e))))

proctype a_pod(byte p)
{
	byte d;

end_without_device:
	atomic {
		current != NONE ->
		d = current;
		FILES(dev[d].files++)
	};
open:
	/* gaudi_lease_take() */
	atomic {
		UNLOCKED(d) ->
		if
		:: dev[d].gone || dev[d].state == LOST -> goto closed
		:: !dev[d].gone && dev[d].state == OWNED && !pod[1 - p].quiet -> goto closed
		:: !dev[d].gone && dev[d].state == OWNED && pod[1 - p].quiet -> dev[d].lock = 1
		:: !dev[d].gone && (dev[d].state == DRAINING || dev[d].state == SCRUBBING) ->
			pod[p].waits = 1;
			goto wait
		:: !dev[d].gone && dev[d].state == FREE ->
			CLAIM("no new owner while an old mapping lives", !REACHED);
			dev[d].lease = p;
			EVENT(d, gaudi_lease_take, OPEN);
			goto owner
		fi
	};
	end_lease(d);
	atomic { pod[p].waits = 1; dev[d].lock = 0 };
wait:
	if
	:: atomic { !pod[p].waits || dev[d].gone -> pod[p].waits = 0; goto open }
#ifdef OPEN_TIMES_OUT
	:: atomic { dev[d].state == DRAINING || dev[d].state == SCRUBBING -> goto closed }
#endif
	fi;

owner:
	do
	/* ALLOC */
	:: atomic {
		!dev[d].lock && !pod[p].over && dev[d].block == ZERO ->
		CLAIM("no byte is handed out that is not zero", !nonzero);
		CLAIM("nobody reaches memory that is handed out", !REACHED);
		dev[d].block = OUT
	}
	/* ALLOC that waits until freed memory is scrubbed */
	:: atomic {
		!dev[d].lock && !pod[p].over && (dev[d].block == DIRTY || dev[d].block == TAKEN) ->
		pod[p].waits = 1
	};
		!pod[p].waits
	/* EXPORT; the other pod has less to do, it is there to be the next owner */
	:: atomic {
		p == 0 && !dev[d].lock && (!ex[0].used || !ex[1].used) &&
		((!pod[p].over && dev[d].block == OUT) || !RULE(no_export_after_end)) ->
		if
		:: !ex[0].used -> pick = 0
		:: else -> pick = 1
		fi;
		ex[pick].used = 1;
		ex[pick].fd = 1;
		ex[pick].on = d;
		ex[pick].by = p;
		ex[pick].over = pod[p].over
	}
	/* UNMAP and FREE */
	:: atomic {
		!dev[d].lock && !pod[p].over && dev[d].block == OUT &&
		((!BUSY(0) && !BUSY(1)) || !RULE(free_refuses_what_is_exported)) ->
		if
		:: RULE(freed_memory_is_dirty) -> dev[d].block = DIRTY
		:: else -> dev[d].block = ZERO
		fi;
		if
		:: RULE(free_starts_worker) -> queue(d)
		:: else
		fi
	}
	/* REVOKE */
	:: atomic {
		p == 0 && UNLOCKED(d) && !pod[p].over && ((MINE(0) && !ex[0].revoked) || (MINE(1) && !ex[1].revoked)) ->
		dev[d].lock = 1;
		if
		:: MINE(0) && !ex[0].revoked -> revoke_choose(0, true)
		:: MINE(1) && !ex[1].revoked -> revoke_choose(1, true)
		fi;
		revoke_begin()
	};
		atomic { revoke_under_resv() };
		atomic {
			revoke_after_resv();
			dev[d].lock = 0
		}
	/* the last close, by hand or in exit */
	:: atomic { pod[p].closes = 1; break }
#ifdef OWNER_DIES
	/* The first pod is gone, but somebody else still has its file. */
	:: atomic {
		p == 0 && !pod[p].over ->
		owner_dies(p, d)
	};
		atomic { pod[p].over -> goto closed }
	:: atomic { p == 0 && !pod[p].over -> pod[p].quiet = 1 };
		atomic { pod[p].over -> goto closed }
#endif
	od;

	/* gaudi_lease_close() */
	atomic {
		!dev[d].lock ->
		if
		:: dev[d].lease == p && RULE(close_ends_lease) -> dev[d].lock = 1
		:: else -> goto closed
		fi
	};
	end_lease(d);
	if
	:: RULE(close_does_not_wait)
	:: else -> dev[d].lock = 0; wait_for_importers(d); take_lock(d)
	fi;
	atomic { dev[d].lock = 0; goto closed };

closed:
	atomic {
		CLAIM("who has closed has no lease", dev[d].lease != p);
		pod[p].closes = 0;
		pod[p].over = 0;
		pod[p].dead = 0;
		pod[p].quiet = 0;
		pod[p].waits = 0;
		FILES(dev[d].files--);
		d = 0;
		goto end_without_device
	}
}

/* gaudi_owner_poll(): only sockets are left of the owner. */
proctype poll()
{
end_poll:
	do
	:: atomic {
		current != NONE && dev[current].lease == 0 && pod[0].quiet && !pod[0].dead &&
		RULE(idle_owner_is_looked_for) ->
		owner_dies(0, current)
	}
	od
}

/* gaudi_lease_owner_died_work() */
proctype undertaker()
{
	byte d;

end_undertaker:
	do
	:: atomic {
		current != NONE && dev[current].owner_died && UNLOCKED(current) ->
		d = current;
		dev[d].owner_died = 0;
		if
		:: dev[d].lease == 0 && pod[0].dead -> dev[d].lock = 1
		:: else -> goto end_undertaker
		fi
	};
		end_lease(d);
		atomic { dev[d].lock = 0; d = 0 }
	od
}

/* --- importers, and the NIC that they are on ------------------------------------------------------------------------- */
inline unmap(i)
{
	importers[i].reach = 0;
	importers[i].told = 0;
	importers[i].at = ATTACHED;
	if
	:: importers[i].kind != CPU -> hold_put(i)
	:: else
	fi
}

inline fence_signals(i)
{
	importers[i].fence = 0;
	importers[i].reach = 0;
	if
	:: importers[i].watched ->
		importers[i].watched = 0;
		hold_put(i)
	:: else
	fi
}

inline detach(i)
{
	importers[i].at = AWAY;
	importers[i].kind = 0;
	ex[importers[i].exp].attached--;
	if
	:: importers[i].exp == 0 -> export_forget(0)
	:: else -> export_forget(1)
	fi;
	importers[i].exp = 0
}

hidden byte stranger;

proctype importer(byte i)
{
end_importer:
	do
	/* attach (or mmap), in the task that imports */
	:: atomic {
		importers[i].at == AWAY && (ex[0].fd || ex[1].fd) ->
		if
		:: ex[0].fd -> pick = 0
		:: ex[1].fd -> pick = 1
		fi;
		if
		:: importers[i].kind = DYNAMIC
#ifdef MANY_KINDS
		:: importers[i].kind = CPU
		:: importers[i].kind = REVOCABLE
		:: importers[i].kind = FENCE
#endif
		:: importers[i].kind = PINNED
		fi;
		if
		:: stranger = 0
		:: stranger = 1
		fi;
		if
		:: ex[pick].over || ex[pick].revoked || (stranger && RULE(strangers_are_refused)) ||
		   (REFUSE && importers[i].kind == PINNED && RULE(nonrevocable_are_refused)) ->
			importers[i].kind = 0
		:: else ->
			CLAIM("nobody but the owner imports", !stranger);
			importers[i].at = ATTACHED;
			importers[i].exp = pick;
			ex[pick].attached++
		fi
	}
	/* map, pin or vmap: in any task, at any time, under the dma-resv alone */
	:: atomic {
		importers[i].at == ATTACHED && importers[i].kind != CPU && !importers[i].fence &&
		(!ex[importers[i].exp].revoked || !RULE(map_checks_revoked)) ->
		hold_get(i);
		importers[i].at = MAPPED;
		importers[i].reach = 1
	}
	/* a page fault */
	:: atomic {
		importers[i].at == ATTACHED && importers[i].kind == CPU &&
		(!ex[importers[i].exp].revoked || !RULE(fault_checks_revoked)) ->
		importers[i].at = MAPPED;
		importers[i].reach = 1
	}
	/* the hardware writes, or the CPU */
	:: atomic {
		importers[i].reach && !nonzero ->
		CLAIM("no write by a mapping of an ended lease reaches the next owner",
		      current == NONE || !ex[importers[i].exp].over ||
		      (dev[current].state != FREE && dev[current].state != OWNED && dev[current].state != SCRUBBING));
		nonzero = 1
	}
#ifndef SILENT
	/* told by invalidate: the importer obeys, in its own time */
	:: atomic { importers[i].told -> unmap(i) }
	:: atomic { importers[i].fence -> fence_signals(i) }
#ifndef USERS_STAY
	/* its user is done */
	:: atomic { importers[i].at == MAPPED && !importers[i].told -> unmap(i) }
#endif
#endif
	:: atomic { importers[i].at == ATTACHED && !importers[i].fence -> detach(i) }
	/* whoever has it closes the dma-buf's file descriptor */
	:: atomic { ex[i].fd -> ex[i].fd = 0; export_forget(i) }
	od
}

/*
 * The pod's NIC is moved out of its namespace (CNI DEL, or the namespace died), which destroys every memory region on it:
 * no mapping, no attachment, no announced work is left.
 */
inline move_nic(i)
{
	if
	:: importers[i].fence -> fence_signals(i)
	:: else
	fi;
	if
	:: importers[i].at == MAPPED -> unmap(i)
	:: else
	fi;
	detach(i)
}

#define ON_OLD_NIC(i)	(importers[i].at != AWAY && importers[i].kind != CPU && ex[importers[i].exp].over)

proctype cni()
{
end_cni:
	do
	:: atomic { ON_OLD_NIC(0) && RULE(move_destroys_mappings) -> move_nic(0) }
	:: atomic { ON_OLD_NIC(1) && RULE(move_destroys_mappings) -> move_nic(1) }
	od
}

/* --- the worker ------------------------------------------------------------------------------------------------------ */
#define AWAY_OR_IN_RESET(d)	(dev[d].resetting || dev[d].gone)

proctype worker(byte d)
{
	bit fresh, took, wrong;

end_worker:
	atomic {
		dev[d].queued && UNLOCKED(d) ->
		dev[d].queued = 0;
		dev[d].running = 1;
		dev[d].lock = 1;
		goto step
	};

	/* gaudi_lease_step() */
step:
	atomic {
		if
		:: RULE(worker_does_not_wait)
		:: else -> wait_for_importers(d)
		fi;
		if
		:: AWAY_OR_IN_RESET(d) && RULE(worker_minds_reset_and_removal) -> goto out
		:: else
		fi;
		if
		:: dev[d].state == DRAINING ->
			if
			:: (dev[d].holds > 0 && RULE(holds_are_waited_for)) ||
			   (GHOST(d) && RULE(ghosts_are_waited_for)) -> goto out
			:: else -> EVENT(d, gaudi_lease_step, LET_GO); goto step
			fi
		:: (dev[d].state == OWNED || dev[d].state == SCRUBBING) && (dev[d].fresh || dev[d].block == DIRTY) ->
			fresh = dev[d].fresh;
			took = (dev[d].block == DIRTY);
			dev[d].block = (took -> TAKEN : dev[d].block);
			dev[d].reset_seen = 0;
			if
			:: took && !RULE(memory_is_free_after_its_scrub) -> dev[d].block = ZERO; took = 0
			:: else
			fi;
			dev[d].lock = 0
		:: dev[d].state == SCRUBBING && !dev[d].fresh && dev[d].block != DIRTY ->
			EVENT(d, gaudi_lease_step, SCRUBBED);
			goto out
		:: else -> goto out
		fi
	};

	/* gaudi_mem_scrub(): without the lock */
	atomic {
		if
		:: AWAY_OR_IN_RESET(d) -> wrong = 1; goto scrub_gave_up
		:: else
		fi
	};
	atomic {
		CLAIM("nobody touches a card in reset", !in_reset);
		CLAIM("nobody maps what is scrubbed", !REACHED);
		if
		:: nonzero = 0
#ifdef BROKEN
		:: wrong = RULE(scrub_is_read_back)
#endif
		fi
	};
	atomic {
		UNLOCKED(d) ->
		dev[d].lock = 1;
		if
		:: wrong ->
			dev[d].block = (took -> DIRTY : dev[d].block);
			wrong = 0;
			took = 0;
			fresh = 0;
			if
			:: AWAY_OR_IN_RESET(d) && RULE(failure_minds_reset_and_removal) -> goto step
			:: else -> goto lost
			fi
		:: else
		fi;
		dev[d].block = (took -> ZERO : dev[d].block);
		took = 0;
		if
		:: fresh && (!dev[d].reset_seen || !RULE(reset_during_scrub_counts)) -> dev[d].fresh = 0
		:: else
		fi;
		fresh = 0;
		if
		:: RULE(scrub_wakes_waiters) -> wake()
		:: else
		fi;
		goto step
	};

	/* gaudi_lease_scrub() */
lost:
	end_lease(d);
	atomic {
		dev[d].unproven = 1;
		EVENT(d, gaudi_lease_scrub, NOT_ZERO);
		goto step
	};

scrub_gave_up:
	atomic {
		UNLOCKED(d) ->
		dev[d].lock = 1;
		wrong = 0;
		dev[d].block = (took -> DIRTY : dev[d].block);
		took = 0;
		fresh = 0;
		goto step
	};

out:
	atomic {
		dev[d].lock = 0;
		dev[d].running = 0;
		goto end_worker
	}
}

/* --- the card: reset, unbind, bind ----------------------------------------------------------------------------------- */
inline anything_is_in_memory()
{
	if
	:: nonzero = 1
	:: skip
	fi
}

/* gaudi_device_reset_prepare() and gaudi_device_reset_done(); the caller holds the lock of the PCI device. */
inline reset(d)
{
	env_busy = 1;
	take_lock(d);
	if
	:: RULE(reset_ends_lease) -> end_lease(d)
	:: else
	fi;
	atomic {
		if
		:: RULE(reset_makes_memory_unknown) -> dev[d].fresh = 1
		:: else
		fi;
		dev[d].reset_seen = 1;
		dev[d].resetting = 1;
		dev[d].unproven = 0;
		EVENT(d, gaudi_device_reset_prepare, RESET)
	};
	if
	:: RULE(reset_does_not_wait_for_importers)
	:: else -> dev[d].lock = 0; wait_for_importers(d); take_lock(d)
	fi;
	dev[d].lock = 0;
	if
	:: RULE(reset_stops_worker) ->
		atomic { dev[d].disabled = 1; dev[d].queued = 0 };
		!dev[d].running
	:: else
	fi;
	atomic { in_reset = 1; anything_is_in_memory() };
	in_reset = 0;
	if
#ifdef BROKEN
	/* gaudi_device_reset_failed(): the bus did not come back */
	:: atomic {
		!dev[d].lock ->
		dev[d].unproven = 1;
		EVENT(d, gaudi_device_reset_failed, NOT_ZERO);
		env_busy = 0
	}
#endif
	:: atomic { !dev[d].lock -> dev[d].resetting = 0 };
		atomic {
			dev[d].disabled = 0;
			if
			:: RULE(reset_starts_worker) -> dev[d].queued = 1
			:: else
			fi;
			env_busy = 0
		}
	fi
}

/* gaudi_device_remove() */
inline remove(d)
{
	env_busy = 1;
	atomic {
		dev[d].gone = 1;
		current = NONE
	};
	take_lock(d);
	if
	:: RULE(remove_ends_lease) -> end_lease(d)
	:: else
	fi;
	atomic {
		dev[d].removed = 1;
		dev[d].unproven = 0;
		EVENT(d, gaudi_device_remove, REMOVE)
	};
	dev[d].lock = 0;
	if
	:: RULE(remove_does_not_wait_for_importers)
	:: else -> wait_for_importers(d)
	fi;
	atomic { dev[d].disabled = 1; dev[d].queued = 0 };
	atomic { !dev[d].running -> env_busy = 0; anything_is_in_memory() }
}

/* gaudi_device_create() and gaudi_device_register(), once the binding before the last one is forgotten. */
inline bind(d)
{
	atomic {
		dev[d].holds == 0 && dev[d].files == 0 && !dev[d].running &&
		!(ex[0].used && ex[0].on == d) && !(ex[1].used && ex[1].on == d) ->
		dev[d].state = GAUDI_STATE_FIRST;
		dev[d].block = ZERO;
		dev[d].lease = NONE;
		dev[d].gone = 0;
		dev[d].removed = 0;
		dev[d].unproven = 0;
		dev[d].reset_seen = 0;
		dev[d].resetting = 0;
		dev[d].disabled = 1;
		dev[d].fresh = RULE(probe_makes_memory_unknown)
	};
	atomic {
		if
		:: !GHOST(d) || !RULE(probe_minds_ghosts) -> EVENT(d, gaudi_device_register, LET_GO)
		:: else
		fi;
		current = d
	};
	atomic { dev[d].disabled = 0; dev[d].queued = 1 }
}

proctype card()
{
	byte d, resets = RESETS, removals = REMOVALS;

	bind(0);
end_card:
	do
	:: resets > 0 -> resets = (resets == ANY -> ANY : resets - 1);
		reset(d)
	:: removals > 0 -> removals = (removals == ANY -> ANY : removals - 1);
		remove(d);
		d = 1 - d;
end_rebind:
		bind(d)
	od
}

init {
	atomic {
		c_code {
			now.mutant = atoi(getenv("MUTANT"));
			now.mutated_row = atoi(getenv("MUTATED_ROW"));
			now.mutated_next = atoi(getenv("MUTATED_NEXT"));
		};
		nonzero = 1;	/* what the last driver left */
		current = NONE;
		dev[0].lease = NONE;
		dev[1].lease = NONE;
		dev[0].state = LOST;
		dev[1].state = LOST;
		dev[0].disabled = 1;
		dev[1].disabled = 1;
		importers[0].at = AWAY;
		importers[1].at = AWAY;
		run card();
		run worker(0);
#if REMOVALS
		run worker(1);
#endif
		run a_pod(0);
#if PODS > 1
		run a_pod(1);
#endif
#ifdef OWNER_DIES
		run poll();
		run undertaker();
#endif
		run importer(0);
#if IMPORTERS > 1
		run importer(1);
#endif
#ifdef CNI
		run cni();
#endif
	}
}

/* --- properties over time, with weak fairness ------------------------------------------------------------------------ */
#define IN_BETWEEN(d)	(dev[d].state == DRAINING || dev[d].state == SCRUBBING)

/* Importers that cannot be told may keep it; all others let go, and then the device gets on. */
ltl drain_ends { []<>(!IN_BETWEEN(0) || REACHED) && []<>(!IN_BETWEEN(1) || REACHED) }
/* Where every importer lets go by itself, or loses its NIC: whatever happened, it ends. */
ltl drain_always_ends { []<>!IN_BETWEEN(0) && []<>!IN_BETWEEN(1) }
ltl close_returns { [](pod[0].closes -> <>!pod[0].closes) }
ltl remove_and_reset_return { [](env_busy -> <>!env_busy) }
ltl open_answers { [](pod[0].waits -> <>!pod[0].waits) }
ltl gone_owner_loses_lease { []((pod[0].dead || pod[0].quiet) -> <>pod[0].over) }
