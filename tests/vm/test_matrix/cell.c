// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card.h"
#include "test_matrix/matrix.h"
#include "vm.h"

static const char stale[] = "written by the former owner's device";
#define NEXT_OWNER 0x77
/* Where somebody writes while nobody drives the card: at its end. */
#define PLANT_SIZE 4096

/* As the way into these states needs it. */
static bool importers_have_let_go(const struct matrix *m)
{
	return m->state == FREE || m->state == SCRUBBING;
}

static bool card_goes(const struct matrix *m)
{
	return m->event == UNPLUG || m->event == UNBIND;
}

/* --- the event ------------------------------------------------------------------- */
static void revoke_all(struct matrix *m)
{
	matrix_pod_enter(&m->pod);
	CHECK_EQ(card_revoke_all(m->pod.accel), m->must->revoke);
	matrix_pod_leave();
}

static void happen(struct matrix *m)
{
	double start;

	/* The process's file shall be the last one. */
	if (m->pod.accel >= 0 && (m->event == CLOSE || m->event == KILL)) {
		close(m->pod.accel);
		m->pod.accel = -1;
	}
	start = vm_now();
	switch (m->event) {
	case CLOSE:
		matrix_pod_close(&m->pod);
		break;
	case KILL:
		matrix_pod_kill(&m->pod);
		break;
	case NETNS:
		matrix_pod_end(&m->pod);
		/* It dies some time after its last process. */
		if (m->state == OWNED)
			WAIT_FOR(raises_sigbus(m->memory), 10);
		else
			vm_sleep(0.1);
		break;
	case REVOKE:
		revoke_all(m);
		break;
	case UNPLUG:
		host_card_remove(m->card);
		WAIT_FOR(!card_is_there(m->card), 30);
		break;
	case UNBIND:
		CHECK_EQ(card_bind(m->pci, false), 0);
		break;
	default:
		CHECK_EQ(card_reset(m->card), 0);
	}
	if (m->event != UNPLUG)
		CHECK_MSG(vm_now() - start < 5, "it took %.1f s: it waited for somebody", vm_now() - start);
}

static void come_back(struct matrix *m)
{
	/* Whoever drove it meanwhile: nothing is known about its memory. */
	host_plant(m->card, host_card_size(m->card) - PLANT_SIZE, PLANT_SIZE, 0x33);
	if (m->event == UNPLUG)
		host_card_add(m->card);
	else
		CHECK_EQ(card_bind(m->pci, true), 0);
	WAIT_FOR(card_is_there(m->card), 60);
}

/* --- what must hold then ----------------------------------------------------------- */
static void check_importer(struct matrix *m)
{
	struct edu_peer_state state;
	int r;

	if (m->peer < 0)
		return;
	peer_state(m->peer, &state);
	CHECK_EQ(state.invalidations, m->kind->invalidations);
	r = peer_map(m->peer);
	if (m->kind->maps_on && !importers_have_let_go(m)) {
		/* A slow one may have let go by now, the others have not. */
		if (m->kind->holds)
			CHECK_EQ(r, -EBUSY);
		if (r == -EBUSY)
			return;
	}
	CHECK_EQ(r, -ENODEV);
	peer_state(m->peer, &state);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(state.pinned, 0);
	CHECK_EQ(state.refaults, 0);
	CHECK_EQ(state.refault_error, m->kind->kind == EDU_PEER_REFAULTING ? -ENODEV : 0);
	if (m->kind->kind == EDU_PEER_KERNEL)
		CHECK_EQ(peer_read(m->peer, 0, &r, sizeof(r)), -ENXIO);
}

static void check_owner(struct matrix *m)
{
	int late = peer_open(), r;
	uint64_t handle;

	if (m->pod.netns >= 0)
		matrix_pod_enter(&m->pod);
	CHECK_EQ(peer_attach(late, m->pod.dmabuf, EDU_PEER_DYNAMIC, 0), -ENODEV);
	CHECK(mmap(NULL, MATRIX_SIZE, PROT_READ, MAP_SHARED, m->pod.dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
	r = m->pod.accel < 0 ? NOBODY : card_alloc(m->pod.accel, CARD_PAGE, 0, &handle);
	CHECK_EQ(r, m->must->owner);
	if (!r)
		CHECK_EQ(card_free(m->pod.accel, handle), 0);
	matrix_pod_leave();
	CHECK(raises_sigbus(m->memory));
	CHECK(raises_sigbus(m->memory + MATRIX_OFFSET));
	close(late);
}

static void check_reason(struct matrix *m, const char *words)
{
	char reason[128] = "";

	WAIT_FOR(card_attribute(m->card, "reason", reason, sizeof(reason)) >= 0 && strstr(reason, words), 10);
}

static void check_held(struct matrix *m, bool came_back)
{
	const char *state = came_back ? "draining" : m->must->held;
	char back[sizeof(matrix_secret)] = "";

	WAIT_FOR(card_state_is(m->card, state), 10);
	CHECK_EQ(card_open(m->card, O_NONBLOCK), came_back ? -EBUSY : m->must->open);
	if (came_back)
		check_reason(m, "since before the device was bound");
	else if (!strcmp(state, "draining"))
		check_reason(m, m->anchor >= 0 ? "mapped by" : m->kind->reason);
	matrix_stays(m, state);
	/* It goes on reading the old owner's memory, in which nobody else's can be. */
	if (m->state == OWNED && m->kind->holds && m->kind->maps_on && m->event != UNPLUG) {
		CHECK_EQ(peer_read(m->peer, MATRIX_OFFSET, back, sizeof(back)), 0);
		CHECK_EQ(memcmp(back, matrix_secret, sizeof(back)), 0);
	}
}

/* Revoked, but still his: he can give the memory back once nobody holds it. */
static void check_owned(struct matrix *m, bool held)
{
	struct matrix_pod *pod = &m->pod;

	matrix_pod_enter(pod);
	if (held)
		CHECK_EQ(card_unmap(pod->accel, pod->va), -EINVAL);
	matrix_let_go(m);
	CHECK(card_state_is(m->card, "owned"));
	/* A fence's hold ends some time after its signal. */
	WAIT_FOR(!card_unmap(pod->accel, pod->va), 10);
	CHECK_EQ(card_free(pod->accel, pod->handle), 0);
	WAIT_FOR(card_attribute_is(m->card, "dirty_bytes", "0"), 30);
	matrix_pod_leave();
	CHECK(host_is_zero(m->card, 0, 0));
	close(pod->accel);
	pod->accel = -1;
	matrix_pod_close(pod);
}

/* What the former owner left open does not reach the next one. */
static void check_next_owner(struct matrix *m)
{
	uint8_t *memory, back[64] = { 0 };
	struct card_buffer next;
	unsigned long faults;
	size_t i;

	card_buffer_make(&next, m->card, MATRIX_SIZE);
	memory = mmap(NULL, MATRIX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, next.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	for (i = 0; i < MATRIX_SIZE; i++)
		CHECK_MSG(!memory[i], "byte %zu of the next owner is not zero", i);
	memset(memory, NEXT_OWNER, MATRIX_SIZE);

	if (m->peer >= 0) {
		faults = iommu_faults();
		CHECK_EQ(peer_map(m->peer), -ENODEV);
		if (m->kind->kind == EDU_PEER_KERNEL) {
			CHECK_EQ(peer_write(m->peer, MATRIX_OFFSET, stale, sizeof(stale)), -ENXIO);
		} else {
			CHECK_EQ(peer_write(m->peer, MATRIX_OFFSET, stale, sizeof(stale)), 0);
			if (m->state == OWNED)
				CHECK_EQ(peer_read(m->peer, MATRIX_OFFSET, back, sizeof(back)), 0);
			WAIT_FOR(iommu_faults() > faults, 10);
		}
		CHECK_EQ(host_find(m->card, stale), -1);
		for (i = 0; i < sizeof(back); i++)
			CHECK_MSG(back[i] != NEXT_OWNER, "the old importer reads the next owner's memory");
	}
	CHECK(raises_sigbus(m->memory));
	/* The last of the old files is closed: that ends nobody's lease. */
	close(m->pod.accel);
	matrix_pod_end(&m->pod);
	close(m->pod.dmabuf);
	close(m->peer);
	CHECK(card_state_is(m->card, "owned"));
	for (i = 0; i < MATRIX_SIZE; i++)
		CHECK(memory[i] == NEXT_OWNER);
}

void matrix_cell(enum matrix_state state, enum matrix_importer importer, enum matrix_event event)
{
	struct matrix m = {
		.state = state,
		.event = event,
		.kind = &matrix_kinds[importer],
		.must = &matrix_outcomes[state][event],
		.peer = -1,
		.anchor = -1,
	};
	bool held;

	/* DMA of the old importer is to fault; the next owner's checks count that. */
	host_allow_log("DMAR:");
	card_pci(m.card, m.pci, sizeof(m.pci));
	matrix_reach(&m);
	held = matrix_is_held(&m) && !importers_have_let_go(&m);
	happen(&m);
	if (state == FREE && m.must->held)
		CHECK_MSG(event == RESET || card_state_is(m.card, m.must->held),
			  "the device did not stay free");
	check_importer(&m);
	check_owner(&m);
	if (card_goes(&m)) {
		CHECK(!card_is_there(m.card));
		if (!importers_have_let_go(&m))
			CHECK(host_find(m.card, matrix_secret) == m.where);
		come_back(&m);
	}
	if (held)
		check_held(&m, card_goes(&m));
	if (!strcmp(m.must->end, "owned"))
		check_owned(&m, held);
	else
		matrix_let_go(&m);
	if (!strcmp(m.must->end, "lost")) {
		check_reason(&m, "did not read back as zero");
		CHECK_EQ(card_open(m.card, 0), -EIO);
		CHECK_EQ(card_reset(m.card), 0);
	}
	WAIT_FOR(card_state_is(m.card, "free"), 30);
	CHECK_MSG(host_is_zero(m.card, 0, 0), "the device is free, and its memory is not zero");
	check_next_owner(&m);
}
