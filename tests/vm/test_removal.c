// SPDX-License-Identifier: Apache-2.0
/*
 * Whatever happens to a card, and whatever is alive then: nobody waits for ever, nothing reaches the memory afterwards, what
 * is left in programs' hands answers -ENODEV, and the card comes back clean.
 *
 * vm-modules: edu_peer
 */
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>
#include <gaudi_p2p.h>

#include "card.h"
#include "event.h"
#include "vm.h"

#define EMULATED "emulated=1"
#define MIB (1u << 20)
#define CARD 1
#define OTHER 0
/* What the host writes to see whether somebody writes over it. */
#define WITNESS 0x5a
/* No event may take longer, on a machine as slow as this one. */
#define PROMPT 10
#define DMA_FAULTS "DMAR:.*(fault|PTE (Read|Write) access is not set)"

static void happen(const struct card_event *event)
{
	double start = vm_now();

	event->happen(CARD);
	CHECK_MSG(vm_now() - start < PROMPT, "it took %.1f s", vm_now() - start);
}

/* The next owner has a card of zeros, although whoever reached the old one's memory still tries. */
static void check_comes_back(const struct card_event *event)
{
	int fd;

	if (event->undo) {
		host_plant(CARD, 0, 0, WITNESS);
		vm_sleep(0.4);
		CHECK_MSG(host_is_filled(CARD, 0, 0, WITNESS), "something wrote to a card that is gone");
		event->undo(CARD);
	}
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	fd = card_open(CARD, 0);
	CHECK_MSG(fd >= 0, "the card cannot be opened again: %s", strerror(-fd));
	CHECK_MSG(host_is_zero(CARD, 0, 0), "its memory is not zero");
	vm_sleep(0.4);
	CHECK_MSG(host_is_zero(CARD, 0, 0), "something writes to the next owner's memory");
	close(fd);
}

/* --- files ------------------------------------------------------------------------------ */
static void check_ioctls(int fd, int expected)
{
	uint64_t buffer[32];
	unsigned int nr;

	for (nr = 0; nr < 256; nr++) {
		memset(buffer, 0, sizeof(buffer));
		CHECK_MSG(ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', nr, 64), buffer) == -1 &&
				  errno == expected,
			  "ioctl %#x answers %s", nr, strerror(errno));
	}
}

static void check_accel_file(struct card_buffer *buffer)
{
	uint64_t number;

	check_ioctls(buffer->fd, ENODEV);
	CHECK_EQ(card_alloc(buffer->fd, MIB, 0, &number), -ENODEV);
	CHECK_EQ(card_map(buffer->fd, buffer->handle, &number), -ENODEV);
	CHECK_EQ(card_export(buffer->fd, buffer->va, 0, MIB), -ENODEV);
	CHECK_EQ(card_unmap(buffer->fd, buffer->va), -ENODEV);
	CHECK_EQ(card_free(buffer->fd, buffer->handle), -ENODEV);
	CHECK_EQ(card_revoke_all(buffer->fd), -ENODEV);
	CHECK_EQ(card_info(buffer->fd, HL_INFO_DEVICE_STATUS, &number, sizeof(number)), -ENODEV);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, buffer->fd, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
}

static void check_dmabuf_file(int dmabuf)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	int peer = peer_open(), kind;

	CHECK(ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) == -1);
	CHECK_EQ(errno, ENODEV);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dmabuf, 0) == MAP_FAILED);
	CHECK_EQ(errno, ENODEV);
	for (kind = 0; kind < EDU_PEER_KINDS; kind++)
		CHECK_EQ(peer_attach(peer, dmabuf, kind, 0), -ENODEV);
	close(peer);
}

/* A file's node opened again by way of the file. */
static int reopen(int fd)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

static void check_fdinfo(int fd)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	CHECK(vm_read(path, text, sizeof(text)) > 0);
}

EACH_EVENT(open_files, EMULATED)
{
	struct card_buffer buffer;
	int control, other, r;
	uint64_t status;

	other = card_open(OTHER, 0);
	CHECK(other >= 0);
	card_buffer_make(&buffer, CARD, MIB);
	control = card_open_control(CARD);
	CHECK(control >= 0);
	happen(event);

	check_accel_file(&buffer);
	check_dmabuf_file(buffer.dmabuf);
	check_fdinfo(buffer.fd);
	check_fdinfo(buffer.dmabuf);
	r = card_info(control, HL_INFO_DEVICE_STATUS, &status, sizeof(status));
	CHECK_EQ(r, event->undo ? -ENODEV : 0);
	if (event->undo) {
		r = reopen(buffer.fd);
		CHECK_MSG(r == -ENODEV || r == -ENXIO, "the old node opens: %s", strerror(-r));
		r = reopen(control);
		CHECK_MSG(r == -ENODEV || r == -ENXIO, "the old control node opens: %s", strerror(-r));
	}
	check_comes_back(event);
	/* The new binding does not make the old files young. */
	check_accel_file(&buffer);
	check_dmabuf_file(buffer.dmabuf);
	if (event->undo)
		CHECK_EQ(card_info(control, HL_INFO_DEVICE_STATUS, &status, sizeof(status)), -ENODEV);
	/* The other card's owner saw nothing of all that. */
	CHECK(card_state_is(OTHER, "owned"));
	CHECK_EQ(card_info(other, HL_INFO_DEVICE_STATUS, &status, sizeof(status)), 0);
}

/* --- memory in programs --------------------------------------------------------------------- */
static void write_for_ever(void *argument)
{
	volatile uint64_t *memory = argument;
	uint64_t i;

	for (i = 0;; i++)
		memory[i % (MIB / sizeof(*memory))] = i | 1;
}

EACH_EVENT(cpu_mappings, EMULATED)
{
	struct card_buffer buffer;
	int status, i;
	uint8_t *memory;
	pid_t writer[2];

	card_buffer_make(&buffer, CARD, MIB);
	memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.dmabuf, 0);
	CHECK(memory != MAP_FAILED);
	memset(memory, 0xee, MIB);
	for (i = 0; i < 2; i++)
		writer[i] = vm_child(false, write_for_ever, memory);
	vm_sleep(0.1);
	/* The last file that knows of the export, but for the mappings. */
	close(buffer.dmabuf);
	happen(event);
	for (i = 0; i < 2; i++) {
		WAIT_FOR(waitpid(writer[i], &status, WNOHANG) == writer[i], PROMPT);
		CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "a writer ended by status %#x",
			  status);
	}
	CHECK(raises_sigbus(memory));
	check_comes_back(event);
	CHECK(raises_sigbus(memory));
	CHECK(raises_sigbus(memory + MIB - 1));
}

/* --- importers ------------------------------------------------------------------------------- */
struct dma_loop {
	int peer;
	uint64_t offset;
};

static void dma_for_ever(void *argument)
{
	const struct dma_loop *loop = argument;
	char data[EDU_PEER_DMA_MAX];

	memset(data, 0xdd, sizeof(data));
	/* Until the peer itself is gone. */
	while (peer_write(loop->peer, loop->offset, data, sizeof(data)) != -ENODEV)
		;
	vm_sleep(3600);
}

static pid_t dma_start(int peer, uint64_t offset)
{
	struct dma_loop loop = { .peer = peer, .offset = offset };

	return vm_child(false, dma_for_ever, &loop);
}

static void dma_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

EACH_EVENT(running_dma, EMULATED)
{
	static const uint32_t kinds[] = { EDU_PEER_DYNAMIC, EDU_PEER_PINNED_REVOCABLE, EDU_PEER_REFAULTING };
	struct edu_peer_state state;
	struct card_buffer buffer;
	int peer[3], i;
	pid_t loop[2];

	card_buffer_make(&buffer, CARD, MIB);
	for (i = 0; i < 3; i++)
		peer[i] = peer_of(buffer.dmabuf, kinds[i], 0);
	/* Two are enough: the engine takes 0.1 s for each. */
	for (i = 0; i < 2; i++)
		loop[i] = dma_start(peer[i], i * 4096u);
	WAIT_FOR(host_peek(CARD, 0) == 0xdd || !host_is_zero(CARD, 0, 0), 5);
	host_allow_log(DMA_FAULTS);
	happen(event);
	for (i = 0; i < 3; i++) {
		peer_state(peer[i], &state);
		CHECK_EQ(state.mapped, 0);
		CHECK_EQ(state.pinned, 0);
		CHECK_EQ(peer_map(peer[i]), -ENODEV);
	}
	check_comes_back(event);
	for (i = 0; i < 2; i++)
		dma_stop(loop[i]);
}

/* An importer that cannot let go is not waited for, but who comes next waits for it. */
EACH_EVENT_IN_TIME(a_pinned_importer, EMULATED " nonrevocable=hold")
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	int peer;
	pid_t loop;

	card_buffer_make(&buffer, CARD, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	loop = dma_start(peer, 0);
	host_allow_log(DMA_FAULTS);
	happen(event);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 1);
	check_accel_file(&buffer);
	if (event->undo)
		event->undo(CARD);
	vm_sleep(0.3);
	CHECK(card_state_is(CARD, "draining"));
	CHECK_EQ(card_open(CARD, O_NONBLOCK), -EBUSY);
	dma_stop(loop);
	close(peer);
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	CHECK(host_is_zero(CARD, 0, 0));
}

EACH_EVENT_IN_TIME(a_kernel_mapping, EMULATED)
{
	struct edu_peer_state state;
	struct card_buffer buffer;
	char data[16] = "kernel";
	int peer;

	card_buffer_make(&buffer, CARD, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_KERNEL, 0);
	CHECK_EQ(peer_write(peer, 0, data, sizeof(data)), 0);
	CHECK(host_find(CARD, data) >= 0);
	happen(event);
	peer_state(peer, &state);
	CHECK_EQ(state.mapped, 0);
	CHECK_EQ(state.pinned, 0);
	CHECK_EQ(peer_write(peer, 0, data, sizeof(data)), -ENXIO);
	CHECK_EQ(peer_map(peer), -ENODEV);
	check_comes_back(event);
	CHECK_EQ(peer_map(peer), -ENODEV);
}

EACH_EVENT_IN_TIME(announced_work, EMULATED)
{
	struct card_buffer buffer;
	int peer;

	card_buffer_make(&buffer, CARD, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_FENCE, 0);
	happen(event);
	if (event->undo)
		event->undo(CARD);
	vm_sleep(0.2);
	CHECK(card_state_is(CARD, "draining"));
	CHECK_EQ(peer_signal(peer), 0);
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	CHECK(host_is_zero(CARD, 0, 0));
}

/* --- what goes on in the driver ------------------------------------------------------------------ */
EACH_EVENT(a_scrub_going_on, EMULATED)
{
	struct card_buffer buffer;

	card_buffer_make(&buffer, CARD, 60 * MIB);
	host_plant(CARD, 0, 0, 0x33);
	close(buffer.dmabuf);
	close(buffer.fd);
	while (card_state_is(CARD, "draining"))
		;
	happen(event);
	check_comes_back(event);
}

struct opener {
	int answers;
	int peer, dmabuf; /* of the parent: not ours to keep open */
};

static void open_and_report(void *argument)
{
	const struct opener *opener = argument;
	int fd;

	close(opener->peer);
	close(opener->dmabuf);
	fd = card_open(CARD, 0);
	CHECK_EQ(write(opener->answers, &fd, sizeof(fd)), sizeof(fd));
}

/* Openers that wait for a drain: a card that goes sends them away, a card that stays keeps them. */
EACH_EVENT(waiting_openers, EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	struct opener opener;
	int answers[2], fd, i, won = 0;
	pid_t child[3];

	CHECK_EQ(pipe2(answers, O_CLOEXEC), 0);
	card_buffer_make(&buffer, CARD, MIB);
	opener.peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	opener.dmabuf = buffer.dmabuf;
	opener.answers = answers[1];
	close(buffer.fd);
	for (i = 0; i < 3; i++)
		child[i] = vm_child(false, open_and_report, &opener);
	vm_sleep(0.3);
	CHECK(card_state_is(CARD, "draining"));
	happen(event);
	if (!event->undo)
		close(opener.peer);
	for (i = 0; i < 3; i++) {
		vm_child_end(child[i]);
		CHECK_EQ(read(answers[0], &fd, sizeof(fd)), sizeof(fd));
		won += fd >= 0;
		/* Who comes second to the card that stays finds an owner. */
		CHECK_MSG(fd >= 0 || fd == (event->undo ? -ENODEV : -EBUSY), "open answered %d", fd);
	}
	CHECK(event->undo ? !won : won);
	if (event->undo) {
		event->undo(CARD);
		close(opener.peer);
	}
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	CHECK(host_is_zero(CARD, 0, 0));
}

/* A REVOKE that waits for an importer who cannot let go. */
static void revoke_and_wait(void *argument)
{
	struct gaudi_p2p_revoke args = { .flags = GAUDI_P2P_REVOKE_ALL, .timeout_ms = 60000 };
	const int *fd = argument;

	CHECK(ioctl(*fd, DRM_IOCTL_GAUDI_P2P_REVOKE, &args) == -1);
	CHECK_EQ(errno, ENODEV);
}

/* Calls that wait, for an importer and for a scrub. */
static void allocate_for_ever(void *argument)
{
	const int *fd = argument;
	uint64_t handle;
	int r;

	do {
		r = card_alloc(*fd, 60 * MIB, 0, &handle);
		if (!r)
			r = card_free(*fd, handle);
	} while (!r);
	CHECK_EQ(r, -ENODEV);
}

EACH_EVENT(an_owner_who_waits, EMULATED " nonrevocable=hold")
{
	struct card_buffer buffer;
	pid_t child[2];
	int peer;

	card_buffer_make(&buffer, CARD, MIB);
	peer = peer_of(buffer.dmabuf, EDU_PEER_PINNED, 0);
	child[0] = vm_child(false, revoke_and_wait, &buffer.fd);
	child[1] = vm_child(false, allocate_for_ever, &buffer.fd);
	vm_sleep(0.3);
	happen(event);
	vm_child_end(child[0]);
	vm_child_end(child[1]);
	close(peer);
	if (event->undo)
		event->undo(CARD);
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	CHECK(host_is_zero(CARD, 0, 0));
}

static void read_for_ever(void *argument)
{
	static const char *const names[] = { "state",		"reason",	  "owner",	 "owner_pid",
					     "allocated_bytes", "exported_bytes", "dirty_bytes", "status",
					     "pci_addr",	"uevent" };
	char text[512];
	uint64_t answer;
	unsigned int i;
	int control;

	(void)argument;
	for (;;) {
		for (i = 0; i < sizeof(names) / sizeof(*names); i++)
			card_attribute(CARD, names[i], text, sizeof(text));
		control = card_is_there(CARD) ? card_open_control(CARD) : -1;
		if (control < 0)
			continue;
		card_info(control, HL_INFO_OPEN_STATS, &answer, sizeof(answer));
		close(control);
	}
}

EACH_EVENT(readers_of_its_state, EMULATED)
{
	struct card_buffer buffer;
	pid_t reader[3];
	int i;

	for (i = 0; i < 3; i++)
		reader[i] = vm_child(false, read_for_ever, NULL);
	for (i = 0; i < 3; i++) {
		card_buffer_make(&buffer, CARD, MIB);
		happen(event);
		if (event->undo)
			event->undo(CARD);
		close(buffer.dmabuf);
		close(buffer.fd);
	}
	for (i = 0; i < 3; i++)
		dma_stop(reader[i]);
	WAIT_FOR(card_state_is(CARD, "free"), 30);
	CHECK(host_is_zero(CARD, 0, 0));
}

/* The kernel forgets the device and finds it again: to the driver an unbind, but the BAR is assigned anew. */
TEST(pci_remove_and_rescan_bring_a_clean_card, .driver = EMULATED)
{
	struct card_buffer buffer;

	card_buffer_make(&buffer, CARD, MIB);
	happen(&event_remove);
	check_accel_file(&buffer);
	check_comes_back(&event_remove);
}
