// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "test_matrix/matrix.h"
#include "vm.h"

/* How long a device is watched that must not change its state. */
#define WATCH 0.25

const char matrix_secret[31] = "what the former owner computed";

static bool takes_the_card(enum matrix_event event)
{
	return event == UNPLUG || event == UNBIND || event == RESET;
}

bool matrix_is_held(const struct matrix *m)
{
	return m->kind->holds || m->anchor >= 0;
}

static int import_as(struct matrix *m, uint32_t kind, uint32_t delay_ms)
{
	int peer = peer_open();

	matrix_pod_enter(&m->pod);
	CHECK_EQ(peer_attach(peer, m->pod.dmabuf, kind, delay_ms), 0);
	matrix_pod_leave();
	CHECK_EQ(peer_map(peer), 0);
	return peer;
}

/* An owner with an importer and a mapping for the CPU on memory that holds a secret. */
static void own(struct matrix *m)
{
	WAIT_FOR(card_state_is(m->card, "free"), 60);
	matrix_pod_start(&m->pod, m->card, m->state == SCRUBBING);
	matrix_pod_enter(&m->pod);
	m->memory = mmap(NULL, MATRIX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->pod.dmabuf, 0);
	matrix_pod_leave();
	CHECK(m->memory != MAP_FAILED);
	m->peer = m->kind->none ? -1 : import_as(m, m->kind->kind, m->kind->delay_ms);
	/* The engine needs a fifth of a second for a copy: once per importer and event is enough. */
	if (m->peer < 0 || m->state != OWNED)
		memcpy(m->memory + MATRIX_OFFSET, matrix_secret, sizeof(matrix_secret));
	else
		CHECK_EQ(peer_write(m->peer, MATRIX_OFFSET, matrix_secret, sizeof(matrix_secret)), 0);
	CHECK_EQ(memcmp(m->memory + MATRIX_OFFSET, matrix_secret, sizeof(matrix_secret)), 0);
	m->where = host_find(m->card, matrix_secret);
	CHECK_MSG(m->where >= 0, "what the importer wrote is not in the card's memory");
}

/*
 * Ends the lease so that the event still has its object: before an event of the owner's files these stay open, so that a
 * reset has to end the lease; else the owner closes them.
 */
static void end_lease(struct matrix *m)
{
	if (takes_the_card(m->event)) {
		close(m->pod.accel);
		m->pod.accel = -1;
		matrix_pod_close(&m->pod);
	} else {
		CHECK_EQ(card_reset(m->card), 0);
	}
}

/* It lets go when its time has come, and not before that the device goes on. */
static void wait_for_slow(struct matrix *m)
{
	struct edu_peer_state state;
	char now[64];

	do {
		if (card_attribute(m->card, "state", now, sizeof(now)) < 0)
			now[0] = 0;
		peer_state(m->peer, &state);
		CHECK_MSG(!state.mapped || (strcmp(now, "scrubbing") && strcmp(now, "free")),
			  "the device is %s, and an importer maps its memory", now);
	} while (state.mapped);
}

void matrix_let_go(struct matrix *m)
{
	struct edu_peer_state state;

	if (m->anchor >= 0) {
		CHECK_EQ(peer_unmap(m->anchor), 0);
		close(m->anchor);
		m->anchor = -1;
	}
	if (m->peer < 0)
		return;
	if (m->kind->kind == EDU_PEER_FENCE)
		CHECK_EQ(peer_signal(m->peer), 0);
	else if (m->kind->holds)
		CHECK_EQ(peer_unmap(m->peer), 0);
	else
		wait_for_slow(m);
	WAIT_FOR((peer_state(m->peer, &state), !state.mapped && !state.pinned && !state.fences), 10);
}

void matrix_stays(struct matrix *m, const char *state)
{
	double end = vm_now() + WATCH;

	do {
		char now[64] = "";

		card_attribute(m->card, "state", now, sizeof(now));
		CHECK_MSG(!strcmp(now, state), "the device is %s, not %s, while an importer holds", now,
			  state);
		vm_sleep(0.02);
	} while (vm_now() < end);
	CHECK_MSG(host_find(m->card, matrix_secret) == m->where,
		  "memory was scrubbed under an importer that holds");
}

/* The device cannot come past draining by itself: this shows it, and then helps. */
static void come_past_draining(struct matrix *m)
{
	if (m->kind->holds)
		matrix_stays(m, "draining");
	matrix_let_go(m);
}

static void reach_free(struct matrix *m)
{
	own(m);
	end_lease(m);
	come_past_draining(m);
	WAIT_FOR(card_state_is(m->card, "free"), 30);
	CHECK(host_is_zero(m->card, 0, 0));
}

static void reach_draining(struct matrix *m)
{
	own(m);
	if (!m->kind->holds)
		m->anchor = import_as(m, EDU_PEER_DYNAMIC, EDU_PEER_NEVER);
	end_lease(m);
	CHECK(card_state_is(m->card, "draining"));
}

/* Scrubbing ends by itself, and whoever looks too late tries again. */
static void reach_scrubbing(struct matrix *m)
{
	double give_up = vm_now() + 75;

	do {
		double end = vm_now() + 30;

		own(m);
		end_lease(m);
		come_past_draining(m);
		while (card_state_is(m->card, "draining") && vm_now() < end)
			continue;
		if (card_state_is(m->card, "scrubbing"))
			return;
		munmap(m->memory, MATRIX_SIZE);
		matrix_pod_end(&m->pod);
		close(m->pod.accel);
		close(m->pod.dmabuf);
		close(m->peer);
	} while (vm_now() < give_up);
	CHECK_MSG(false, "the scrub was over too fast, again and again");
}

/* A card that does not answer cannot be scrubbed: what the owner frees then is the end of his lease. */
static void reach_lost(struct matrix *m)
{
	uint64_t handle;

	own(m);
	matrix_pod_enter(&m->pod);
	CHECK_EQ(card_alloc(m->pod.accel, CARD_PAGE, 0, &handle), 0);
	card_decode(m->card, false);
	CHECK_EQ(card_free(m->pod.accel, handle), 0);
	WAIT_FOR(card_state_is(m->card, "lost"), 30);
	card_decode(m->card, true);
	matrix_pod_leave();
	CHECK_EQ(card_open(m->card, 0), -EIO);
}

void matrix_reach(struct matrix *m)
{
	static void (*const reach[STATES])(struct matrix * m) = {
		[OWNED] = own,
		[FREE] = reach_free,
		[DRAINING] = reach_draining,
		[SCRUBBING] = reach_scrubbing,
		[LOST] = reach_lost,
	};

	if (matrix_impossible[m->state][m->kind->holds])
		vm_note("cannot be: %s", matrix_impossible[m->state][m->kind->holds]);
	reach[m->state](m);
}
