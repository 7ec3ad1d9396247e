/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of lease states, importers and events. One cell: a pod gets a card into the state, with the importer on
 * its memory; the event happens; the data in test_matrix.c say what must hold then; and in the end the next owner
 * gets zeroed memory that the old importer does not reach.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum matrix_state { OWNED, FREE, DRAINING, SCRUBBING, LOST, STATES };
enum matrix_event { CLOSE, KILL, NETNS, REVOKE, UNPLUG, UNBIND, RESET, EVENTS };
enum matrix_importer {
	NONE,
	DYNAMIC,
	REFAULTING,
	PINNED_REVOCABLE,
	PINNED,
	SLOW,
	NEVER,
	KERNEL,
	FENCE,
	IMPORTERS
};

/* An importer, and what it does when its memory is revoked. */
struct matrix_kind {
	bool none; /* nobody imports; all below is zero */
	uint32_t kind;
	uint32_t delay_ms;
	uint32_t invalidations; /* that one revoke means for it */
	bool maps_on;		/* it is mapped after that */
	bool holds;		/* the device waits until it is told to let go */
	const char *reason;	/* what sysfs says of the device meanwhile */
};

/* ioctl answer for which no file, or nobody who may use it, is left. */
#define NOBODY 1

/* What must hold after an event in a state. */
struct matrix_outcome {
	const char *held; /* state while an importer holds; NULL: the device is gone */
	int open;	  /* what open() answers to the next owner meanwhile */
	int owner;	  /* what ALLOC answers to the old owner */
	int revoke;	  /* REVOKE only: what it answers: exports revoked, or an errno */
	const char *end;  /* state after all have let go, and the card is back if it was taken away */
};

extern const struct matrix_kind matrix_kinds[IMPORTERS];
extern const struct matrix_outcome matrix_outcomes[STATES][EVENTS];
/* Why a state cannot be reached with an importer that holds, or with one that does not; NULL: it can. */
extern const char *const matrix_impossible[STATES][2];

/* The owner, in a network namespace of its own. The test holds copies of its files. */
struct matrix_pod {
	pid_t pid; /* 0: dead */
	int sock;
	int netns; /* -1: let go of */
	int accel; /* -1: closed */
	int dmabuf;
	uint64_t va;
	uint64_t handle;
};

void matrix_pod_start(struct matrix_pod *pod, unsigned int card, bool big);
/* The pod's process closes its accel file; how long that took. */
double matrix_pod_close(struct matrix_pod *pod);
void matrix_pod_kill(struct matrix_pod *pod);
/* The process ends and nothing of the namespace is left. */
void matrix_pod_end(struct matrix_pod *pod);
/* The test itself goes into the pod's namespace, and home again. */
void matrix_pod_enter(struct matrix_pod *pod);
void matrix_pod_leave(void);

struct matrix {
	enum matrix_state state;
	enum matrix_event event;
	const struct matrix_kind *kind;
	const struct matrix_outcome *must;
	unsigned int card;
	char pci[32];
	struct matrix_pod pod;
	uint8_t *memory; /* the CPU's mapping of the export */
	int peer;	 /* -1: none */
	int anchor;	 /* an importer that keeps the device draining, -1: none */
	int64_t where;	 /* of the secret in the card's file */
};

#define MATRIX_SIZE (1u << 20)
/* The secret's place in the export. */
#define MATRIX_OFFSET 0x12340
extern const char matrix_secret[31];

/* reach.c: gets the card into the state, from free. */
void matrix_reach(struct matrix *m);
bool matrix_is_held(const struct matrix *m);
/* Every importer lets go. */
void matrix_let_go(struct matrix *m);
/* For a while the device stays in the state, and memory is not scrubbed. */
void matrix_stays(struct matrix *m, const char *state);

void matrix_cell(enum matrix_state state, enum matrix_importer importer, enum matrix_event event);

#endif
