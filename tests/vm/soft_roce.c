// SPDX-License-Identifier: Apache-2.0
/*
 * Soft-RoCE's dma-buf import, with stock libibverbs and programs: data between the
 * memories of two cards, revoke, importers that cannot revoke, rdma_cm after moves.
 * A is the side whose memory is taken away, B its peer.
 *
 * vm-modules: rdma_rxe ib_uverbs rdma_ucm veth virtio_net
 * vm-libs: -libverbs
 * vm-files: build/soft-roce/guest:/ /usr/bin/ip:/usr/bin/ip /usr/bin/rdma:/usr/bin/rdma /usr/bin/rping:/usr/bin/rping
 * vm-files: /usr/lib/x86_64-linux-gnu/libgcc_s.so.1:/usr/lib/x86_64-linux-gnu/libgcc_s.so.1
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "card.h"
#include "event.h"
#include "slot.h"
#include "soft_roce.h"
#include "vm.h"

#define REVOCABLE "/sys/module/rdma_rxe/parameters/revocable"

#define KIB 1024L
#define MIB (1024L * 1024)
#define ALL \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

/* A region does not begin where its buffer begins, and its addresses are not its offsets. */
#define OFFSET 0x2010L
#define IOVA 0x7f0000000010L
#define BUFFER_SIZE (2 * MIB)
#define LENGTH (BUFFER_SIZE - 3 * OFFSET)

struct side side_a = { .netns = "a", .rdma = "rxe_a", .card = 0 };
struct side side_b = { .netns = "b", .rdma = "rxe_b", .card = 1 };

static bool card_is(const struct side *s, const char *state)
{
	return card_state_is(s->card, state);
}

/* Attachments of an RDMA device, as the kernel lists them. */
static int attachments(const struct side *s)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	char line[256];
	int n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, s->rdma) != NULL;
	fclose(f);
	return n;
}

/* The network laid and both sides up. */
static void begin_on(void (*network)(void), bool revocable)
{
	CHECK_EQ(vm_write(REVOCABLE, revocable ? "1" : "0"), 0);
	network();
	CHECK_EQ(side_start(&side_a), 0);
	CHECK_EQ(side_start(&side_b), 0);
}

static void begin(bool revocable)
{
	begin_on(net_up, revocable);
}

struct region {
	struct side *s;
	long buffer, mr, lkey, rkey;
};

static long region_reg(struct region *r)
{
	r->mr = CALL(r->s, do_reg, r->buffer, OFFSET, LENGTH, IOVA, ALL);
	r->lkey = r->s->ret[0];
	r->rkey = r->s->ret[1];
	return r->mr < 0 ? r->mr : 0;
}

static long region_new(struct region *r, struct side *s, int kind)
{
	long x;

	r->s = s;
	if (kind == BUFFER_GAUDI) {
		x = CALL(s, do_card_open, 0);
		if (x < 0)
			return x;
	}
	r->buffer = CALL(s, do_buffer_new, kind, BUFFER_SIZE, O_RDWR | O_CLOEXEC);
	return r->buffer < 0 ? r->buffer : region_reg(r);
}

/* A queue pair of each side, connected to each other. */
static long connect_qps(long q)
{
	long na = CALL(&side_a, do_qp_new, q), nb = CALL(&side_b, do_qp_new, q), r;
	long gid_a[2] = { side_a.ret[0], side_a.ret[1] };

	if (na < 0 || nb < 0)
		return na < 0 ? na : nb;
	r = CALL(&side_a, do_qp_connect, q, nb, side_b.ret[0], side_b.ret[1]);
	return r < 0 ? r : CALL(&side_b, do_qp_connect, q, na, gid_a[0], gid_a[1]);
}

static long reconnect_qps(long q)
{
	long r = CALL(&side_a, do_qp_free, q);

	if (r == 0)
		r = CALL(&side_b, do_qp_free, q);
	return r < 0 ? r : connect_qps(q);
}

/* One operation of `from` between its own region and the peer's; its completion status. */
static long op(struct region *from, struct region *to, long opcode, long length, long operand)
{
	long r = CALL(from->s, do_send, 0, opcode, IOVA, length, from->lkey, IOVA, to->rkey, operand);

	return r < 0 ? r : CALL(from->s, do_poll, 60000);
}

/* B begins to write to, or read from, A's region without end; returns when it has done so once. side_wait() ends it. */
static void traffic_begin(const struct region *a, const struct region *b, long opcode)
{
	atomic_store(side_b.traffic, 0);
	CHECK_EQ(POST(&side_b, do_traffic, 0, opcode, IOVA, 256 * KIB, b->lkey, IOVA, a->rkey, 0), 0);
	WAIT_FOR(atomic_load(side_b.traffic), 60);
}

static void data_moves(int kind)
{
	struct region a, b;
	long before;

	CHECK_EQ(region_new(&a, &side_a, kind), 0);
	CHECK_EQ(region_new(&b, &side_b, kind), 0);
	CHECK_EQ(connect_qps(0), 0);

	CHECK_EQ(CALL(&side_a, do_buffer_fill, a.buffer, OFFSET, LENGTH, 1), 0);
	CHECK_EQ(op(&a, &b, IBV_WR_RDMA_WRITE, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_buffer_check, b.buffer, OFFSET, LENGTH, 1), 0);

	CHECK_EQ(CALL(&side_b, do_buffer_fill, b.buffer, OFFSET, LENGTH, 2), 0);
	CHECK_EQ(op(&a, &b, IBV_WR_RDMA_READ, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_a, do_buffer_check, a.buffer, OFFSET, LENGTH, 2), 0);

	CHECK_EQ(CALL(&side_a, do_buffer_fill, a.buffer, OFFSET, 64 * KIB + 5, 3), 0);
	CHECK_EQ(CALL(&side_b, do_recv, 0, IOVA, LENGTH, b.lkey), 0);
	CHECK_EQ(op(&a, &b, IBV_WR_SEND, 64 * KIB + 5, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_poll, 10000), IBV_WC_SUCCESS);
	CHECK_EQ(side_b.ret[1], 64 * KIB + 5);
	CHECK_EQ(CALL(&side_b, do_buffer_check, b.buffer, OFFSET, 64 * KIB + 5, 3), 0);

	CHECK_EQ(CALL(&side_b, do_buffer_poke, b.buffer, OFFSET, 40), 0);
	CHECK_EQ(op(&a, &b, IBV_WR_ATOMIC_FETCH_AND_ADD, 8, 2), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_a, do_buffer_peek, a.buffer, OFFSET), 0);
	CHECK_EQ(side_a.ret[0], 40);
	CHECK_EQ(CALL(&side_b, do_buffer_peek, b.buffer, OFFSET), 0);
	CHECK_EQ(side_b.ret[0], 42);
	/* Swaps when it compares equal, and only then. */
	CHECK_EQ(op(&a, &b, IBV_WR_ATOMIC_CMP_AND_SWP, 8, 41), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_buffer_peek, b.buffer, OFFSET), 0);
	before = side_b.ret[0];
	CHECK_EQ(before, 42);
	CHECK_EQ(op(&a, &b, IBV_WR_ATOMIC_CMP_AND_SWP, 8, 42), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_buffer_peek, b.buffer, OFFSET), 0);
	CHECK_EQ(side_b.ret[0], ~42L);
	CHECK_EQ(op(&a, &b, IBV_WR_ATOMIC_WRITE, 8, 77), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_buffer_peek, b.buffer, OFFSET), 0);
	CHECK_EQ(side_b.ret[0], 77);

	/* One byte beyond both regions. */
	CHECK_EQ(op(&a, &b, IBV_WR_RDMA_WRITE, LENGTH + 1, 0), IBV_WC_REM_ACCESS_ERR);
	CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
	CHECK_EQ(CALL(&side_b, do_dereg, b.mr), 0);
}

TEST(soft_roce_data_moves_udmabuf, .initial_netns = true)
{
	begin(true);
	data_moves(BUFFER_UDMABUF);
}

TEST(soft_roce_data_moves_gaudi, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	begin(true);
	data_moves(BUFFER_GAUDI);
}

TEST(soft_roce_bad_registrations_are_refused, .initial_netns = true)
{
	struct region ok = { .s = &side_a };
	long fd, buffer;

	begin(true);
	buffer = CALL(&side_a, do_buffer_new, BUFFER_UDMABUF, BUFFER_SIZE, 0);
	CHECK_EQ(buffer, 0);
	fd = CALL(&side_a, do_buffer_fd, buffer);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, 0, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, BUFFER_SIZE, 4096, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 4096, BUFFER_SIZE, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, BUFFER_SIZE + 1, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, -4096, 8192, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 4096, -1, 0, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, 8192, -4096, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 8, 4096, 16, ALL), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, 4096, 0, IBV_ACCESS_REMOTE_WRITE), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_reg_fd, 999, 0, 4096, 0, ALL), -EBADF);
	CHECK_EQ(CALL(&side_a, do_reg_fd, -1, 0, 4096, 0, ALL), -EBADF);
	CHECK_EQ(CALL(&side_a, do_reg_fd, 0, 0, 4096, 0, ALL), -EINVAL);

	/* What a region of pages could do. */
	CHECK_EQ(region_reg(&ok), 0);
	CHECK_EQ(CALL(&side_a, do_rereg, ok.mr, IBV_ACCESS_LOCAL_WRITE), -EOPNOTSUPP);
	CHECK_EQ(CALL(&side_a, do_advise, ok.mr, IOVA, 4096, IBV_ADVISE_MR_FLAG_FLUSH), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_advise, ok.mr, IOVA, 4096, 0), -EINVAL);
	CHECK_EQ(CALL(&side_a, do_dereg, ok.mr), 0);
}

TEST(soft_roce_read_only_dmabuf_is_not_written, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	long buffer, fd;

	begin(true);
	CHECK_EQ(CALL(&side_a, do_card_open, 0), 0);
	buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, BUFFER_SIZE, O_RDONLY | O_CLOEXEC);
	CHECK_EQ(buffer, 0);
	fd = CALL(&side_a, do_buffer_fd, buffer);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, 4096, 0, ALL), -EACCES);
	CHECK_EQ(CALL(&side_a, do_reg_fd, fd, 0, 4096, 0, IBV_ACCESS_REMOTE_READ), 0);
}

/* A's memory is taken back; what everyone then sees. */
static void check_revoked(struct region *a, struct region *b, long again)
{
	static const long ops[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD };
	long keys[32], r;

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(reconnect_qps(0), 0);
		CHECK_EQ(op(b, a, ops[i], i == 2 ? 8 : 64 * KIB, 1), IBV_WC_REM_ACCESS_ERR);
		CHECK_EQ(reconnect_qps(0), 0);
		CHECK_EQ(op(a, b, ops[i], i == 2 ? 8 : 64 * KIB, 1), IBV_WC_LOC_PROT_ERR);
	}
	CHECK_EQ(reconnect_qps(0), 0);
	CHECK_EQ(op(b, a, IBV_WR_ATOMIC_WRITE, 8, 1), IBV_WC_REM_ACCESS_ERR);

	CHECK_EQ(reconnect_qps(0), 0);
	CHECK_EQ(CALL(&side_b, do_recv, 0, IOVA, LENGTH, b->lkey), 0);
	CHECK_EQ(op(a, b, IBV_WR_SEND, 4096, 0), IBV_WC_LOC_PROT_ERR);
	CHECK_EQ(CALL(&side_b, do_poll, 100), -ETIMEDOUT);

	CHECK_EQ(reconnect_qps(0), 0);
	CHECK_EQ(CALL(&side_b, do_poll, 0), -ETIMEDOUT);
	CHECK_EQ(CALL(&side_a, do_recv, 0, IOVA, LENGTH, a->lkey), 0);
	CHECK_EQ(op(b, a, IBV_WR_SEND, 4096, 0), IBV_WC_REM_OP_ERR);
	CHECK_EQ(CALL(&side_a, do_poll, 10000), IBV_WC_LOC_QP_OP_ERR);

	/* Nobody gets the key, or its index, while the dead region is there. */
	r = CALL(&side_a, do_buffer_new, BUFFER_HOST, MIB, 0);
	CHECK_EQ(r >= 0, 1);
	for (int i = 0; i < 32; i++) {
		keys[i] = CALL(&side_a, do_reg, r, 0, 4096, 0, ALL);
		CHECK_EQ(keys[i] >= 0, 1);
		CHECK_EQ(side_a.ret[1] >> 8 == a->rkey >> 8, 0);
	}
	for (int i = 0; i < 32; i++)
		CHECK_EQ(CALL(&side_a, do_dereg, keys[i]), 0);

	CHECK_EQ(CALL(&side_a, do_reg, a->buffer, OFFSET, LENGTH, IOVA, ALL), again);
	CHECK_EQ(CALL(&side_a, do_dereg, a->mr), 0);
	CHECK_EQ(CALL(&side_b, do_dereg, b->mr), 0);
}

TEST(soft_roce_revoke_kills_the_region, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	struct region a, b;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(&b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	CHECK_EQ(op(&b, &a, IBV_WR_RDMA_WRITE, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_a, do_buffer_revoke, a.buffer), 0);
	CHECK_EQ(side_a.ret[0], 1);
	CHECK_EQ(side_a.ret[1], 0);
	check_revoked(&a, &b, -ENODEV);
}

/* The card is free for the next owner although the dead region lives on. */
TEST(soft_roce_end_of_the_lease_kills_the_region, .driver = "emulated=1", .seconds = 90,
     .initial_netns = true)
{
	struct region a, b;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(&b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	CHECK_EQ(op(&b, &a, IBV_WR_RDMA_READ, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_a, do_card_close, 0), 0);
	WAIT_FOR(card_is(&side_a, "free"), 20);
	check_revoked(&a, &b, -ENODEV);
}

TEST(soft_roce_revoke_ends_traffic, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	struct region a, b;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(&b, &side_b, BUFFER_GAUDI), 0);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(i ? reconnect_qps(0) : connect_qps(0), 0);
		traffic_begin(&a, &b, i & 1 ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE);
		CHECK_EQ(CALL(&side_a, do_buffer_revoke, a.buffer), 0);
		CHECK_EQ(side_a.ret[1], 0);
		CHECK_EQ(side_wait(&side_b), IBV_WC_REM_ACCESS_ERR);
		CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
		CHECK_EQ(CALL(&side_a, do_buffer_free, a.buffer), 0);
		a.buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, BUFFER_SIZE, O_RDWR | O_CLOEXEC);
		CHECK_EQ(region_reg(&a), 0);
	}
}

TEST(soft_roce_revoke_beats_registration, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	long won = 0;

	begin(true);
	CHECK_EQ(CALL(&side_a, do_card_open, 0), 0);
	for (long i = 0; i < 60; i++) {
		long buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, 64 * KIB, O_RDWR | O_CLOEXEC);

		CHECK(buffer >= 0);
		CHECK_EQ(CALL(&side_a, do_race, buffer, i * 10000), 0);
		CHECK(side_a.ret[0] == 0 || side_a.ret[0] == ENODEV);
		CHECK_EQ(side_a.ret[1], 0);
		won += side_a.ret[0] == 0;
		CHECK_EQ(CALL(&side_a, do_buffer_free, buffer), 0);
	}
	vm_note("the registration won %ld of 60 races", won);
	CHECK_EQ(CALL(&side_a, do_card_close, 0), 0);
	WAIT_FOR(card_is(&side_a, "free"), 20);
}

TEST(soft_roce_refuse_keeps_others_out, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	struct region a;

	begin(false);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), -EOPNOTSUPP);
	CHECK_EQ(vm_write(REVOCABLE, "1"), 0);
	CHECK_EQ(region_reg(&a), 0);
}

/* A registers with an importer that cannot revoke, then closes the card; B still reaches the memory. */
static void hold_begin(struct region *a, struct region *b)
{
	begin(false);
	CHECK_EQ(region_new(a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	CHECK_EQ(CALL(&side_a, do_buffer_fill, a->buffer, OFFSET, LENGTH, 7), 0);
	CHECK_EQ(CALL(&side_a, do_card_close, 0), 0);
	WAIT_FOR(card_is(&side_a, "draining"), 5);
	CHECK_EQ(op(b, a, IBV_WR_RDMA_READ, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(CALL(&side_b, do_buffer_check, b->buffer, OFFSET, LENGTH, 7), 0);
	vm_sleep(1);
	CHECK(card_is(&side_a, "draining"));
}

TEST(soft_roce_held_until_dereg, .driver = "emulated=1 nonrevocable=hold", .seconds = 90,
     .initial_netns = true)
{
	struct region a, b;

	hold_begin(&a, &b);
	CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
	WAIT_FOR(card_is(&side_a, "free"), 20);
}

/* What the CNI plugin's DEL does. */
TEST(soft_roce_held_until_the_device_moves, .driver = "emulated=1 nonrevocable=hold", .seconds = 90,
     .initial_netns = true)
{
	struct region a, b;

	hold_begin(&a, &b);
	CHECK_EQ(net_run("ip netns exec a rdma dev set rxe_a netns first"), 0);
	WAIT_FOR(card_is(&side_a, "free"), 20);
	/* A's own process is still there, with nothing in its hands. */
	CHECK_EQ(CALL(&side_a, do_reg, a.buffer, OFFSET, LENGTH, IOVA, ALL), -EIO);
	/* The library takes "device gone" for done. */
	CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
	CHECK_EQ(net_run("rdma dev show rxe_a"), 0);
}

TEST(soft_roce_held_until_the_process_dies, .driver = "emulated=1 nonrevocable=hold", .seconds = 90,
     .initial_netns = true)
{
	struct region a, b;

	hold_begin(&a, &b);
	side_stop(&side_a);
	WAIT_FOR(card_is(&side_a, "free"), 20);
}

/* Also without a Gaudi: a region of any exporter dies with the move. */
TEST(soft_roce_move_destroys_regions, .initial_netns = true)
{
	struct region a, b;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_UDMABUF), 0);
	CHECK_EQ(region_new(&b, &side_b, BUFFER_UDMABUF), 0);
	CHECK_EQ(connect_qps(0), 0);
	traffic_begin(&a, &b, IBV_WR_RDMA_WRITE);
	CHECK_EQ(attachments(&side_a), 1);
	CHECK_EQ(net_run("ip netns exec a rdma dev set rxe_a netns first"), 0);
	CHECK_EQ(attachments(&side_a), 0);
	CHECK_EQ(CALL(&side_a, do_reg, a.buffer, OFFSET, LENGTH, IOVA, ALL), -EIO);
	CHECK_EQ(side_wait(&side_b), IBV_WC_RETRY_EXC_ERR);
}

TEST(soft_roce_foreign_import_is_refused, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	long buffer, fd;

	begin(true);
	CHECK_EQ(CALL(&side_a, do_card_open, 0), 0);
	buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, BUFFER_SIZE, O_RDWR | O_CLOEXEC);
	CHECK_EQ(buffer, 0);
	fd = CALL(&side_a, do_buffer_fd, buffer);
	fd = CALL(&side_b, do_steal_fd, side_a.pid, fd);
	CHECK_EQ(fd >= 0, 1);
	CHECK_EQ(CALL(&side_b, do_reg_fd, fd, 0, 4096, 0, ALL), -EPERM);
}

/* Pages of the device behind a CPU mapping: no driver gets them by address, past attach and past revoke. */
TEST(soft_roce_cannot_register_a_cpu_mapping, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	long buffer;

	begin(true);
	CHECK_EQ(CALL(&side_a, do_card_open, 0), 0);
	buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, BUFFER_SIZE, O_RDWR | O_CLOEXEC);
	CHECK_EQ(buffer, 0);
	CHECK_EQ(CALL(&side_a, do_reg_plain, buffer), -EFAULT);
	CHECK_EQ(CALL(&side_a, do_buffer_fill, buffer, 0, BUFFER_SIZE, 3), 0);
	CHECK_EQ(CALL(&side_a, do_reg_plain, buffer), -EFAULT);
	CHECK_EQ(CALL(&side_a, do_buffer_check, buffer, 0, BUFFER_SIZE, 3), 0);
}

/* A file of a process that will not get it back; the test's own number of it. */
static int take_fd(pid_t pid, long fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), ours;

	CHECK(pidfd >= 0);
	ours = syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);
	CHECK(ours >= 0);
	close(pidfd);
	return ours;
}

/*
 * A registers, leaves its RDMA device's file in a socket in a socket, and dies: the region lives as long as the file. The
 * socket's end is in other hands.
 */
static int region_in_flight(struct region *a)
{
	long socket;
	int end;

	CHECK_EQ(region_new(a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(CALL(&side_a, do_buffer_fill, a->buffer, OFFSET, LENGTH, 7), 0);
	socket = CALL(&side_a, do_uverbs_away, 0);
	CHECK(socket >= 0);
	end = take_fd(side_a.pid, socket);
	side_stop(&side_a);
	return end;
}

TEST(soft_roce_region_in_flight_is_revoked, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	struct region a;
	int end;

	begin(true);
	end = region_in_flight(&a);
	WAIT_FOR(card_is(&side_a, "free"), 20);
	CHECK_EQ(attachments(&side_a), 1);
	CHECK(host_is_zero(0, 0, 0));
	close(end);
	WAIT_FOR(attachments(&side_a) == 0, 20);
}

/* Here nothing but the move of the RDMA device can end it: nobody knows where the file is. */
TEST(soft_roce_region_in_flight_is_held_until_the_device_moves, .driver = "emulated=1 nonrevocable=hold",
     .seconds = 90, .initial_netns = true)
{
	struct region a;
	int end;

	begin(false);
	end = region_in_flight(&a);
	WAIT_FOR(card_is(&side_a, "draining"), 20);
	vm_sleep(1.5);
	CHECK(card_is(&side_a, "draining"));
	CHECK_EQ(net_run("ip netns exec a rdma dev set rxe_a netns first"), 0);
	WAIT_FOR(card_is(&side_a, "free"), 20);
	CHECK(host_is_zero(0, 0, 0));
	CHECK_EQ(attachments(&side_a), 0);
	close(end);
}

/* B has A's RDMA device file, protection domain and dma-buf: who registers is B nevertheless. */
TEST(soft_roce_stolen_rdma_file_registers_nothing, .driver = "emulated=1", .seconds = 90,
     .initial_netns = true)
{
	long uverbs, domain, dmabuf, buffer;

	begin(true);
	CHECK_EQ(CALL(&side_a, do_card_open, 0), 0);
	buffer = CALL(&side_a, do_buffer_new, BUFFER_GAUDI, BUFFER_SIZE, O_RDWR | O_CLOEXEC);
	CHECK_EQ(buffer, 0);
	dmabuf = CALL(&side_a, do_buffer_fd, buffer);
	uverbs = CALL(&side_a, do_uverbs_fd, 0);
	domain = side_a.ret[0];
	CHECK_EQ(CALL(&side_a, do_reg_stolen, uverbs, domain, dmabuf), 0);
	uverbs = CALL(&side_b, do_steal_fd, side_a.pid, uverbs);
	dmabuf = CALL(&side_b, do_steal_fd, side_a.pid, dmabuf);
	CHECK(uverbs >= 0 && dmabuf >= 0);
	CHECK_EQ(CALL(&side_b, do_reg_stolen, uverbs, domain, dmabuf), -EPERM);
	/* What A registered itself, and all that hangs on it, ends with A although B has its file. */
	side_stop(&side_a);
	WAIT_FOR(card_is(&side_a, "free"), 20);
}

/* B registers memory of A's card, and loses exactly that. */
TEST(soft_roce_granted_pod_registers_until_it_is_taken_back, .driver = "emulated=1", .seconds = 90,
     .initial_netns = true)
{
	struct region a, b = { .s = &side_b }, host;
	long fd;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(&host, &side_b, BUFFER_HOST), 0);
	CHECK_EQ(connect_qps(0), 0);
	fd = CALL(&side_b, do_steal_fd, side_a.pid, CALL(&side_a, do_buffer_fd, a.buffer));
	CHECK_EQ(fd >= 0, 1);
	CHECK_EQ(CALL(&side_b, do_reg_fd, fd, OFFSET, LENGTH, IOVA, ALL), -EPERM);
	CHECK_EQ(CALL(&side_a, do_buffer_grant, a.buffer, side_b.pid, 0), 0);
	b.mr = CALL(&side_b, do_reg_fd, fd, OFFSET, LENGTH, IOVA, ALL);
	CHECK_EQ(b.mr >= 0, 1);
	b.lkey = side_b.ret[0];
	b.rkey = side_b.ret[1];
	CHECK_EQ(op(&b, &a, IBV_WR_RDMA_WRITE, LENGTH, 0), IBV_WC_SUCCESS);
	CHECK_EQ(op(&a, &b, IBV_WR_RDMA_READ, LENGTH, 0), IBV_WC_SUCCESS);

	CHECK_EQ(CALL(&side_a, do_buffer_grant, a.buffer, side_b.pid, 1), 0);
	CHECK_EQ(side_a.ret[0], 0);
	CHECK_EQ(op(&b, &a, IBV_WR_RDMA_WRITE, 4096, 0), IBV_WC_LOC_PROT_ERR);
	CHECK_EQ(reconnect_qps(0), 0);
	CHECK_EQ(op(&a, &b, IBV_WR_RDMA_WRITE, 4096, 0), IBV_WC_REM_ACCESS_ERR);
	CHECK_EQ(CALL(&side_b, do_reg_fd, fd, OFFSET, LENGTH, IOVA, ALL), -EPERM);
	CHECK_EQ(reconnect_qps(0), 0);
	CHECK_EQ(op(&host, &a, IBV_WR_RDMA_WRITE, LENGTH, 0), IBV_WC_SUCCESS);
}

TEST(soft_roce_killed_under_traffic, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	begin(true);
	for (int i = 0; i < 4; i++) {
		struct region a, b;
		struct side *victim = i & 1 ? &side_a : &side_b;

		CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
		CHECK_EQ(region_new(&b, &side_b, BUFFER_GAUDI), 0);
		CHECK_EQ(connect_qps(0), 0);
		traffic_begin(&a, &b, i & 2 ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE);
		side_stop(victim);
		if (victim == &side_a)
			/* Silence, or a remote access error when the memory goes before the queue pair. */
			CHECK(side_wait(&side_b) > IBV_WC_SUCCESS);
		side_stop(&side_a);
		side_stop(&side_b);
		WAIT_FOR(card_is(&side_a, "free"), 20);
		WAIT_FOR(card_is(&side_b, "free"), 20);
		CHECK_EQ(side_start(&side_a), 0);
		CHECK_EQ(side_start(&side_b), 0);
	}
}

TEST(soft_roce_link_deleted_under_traffic, .driver = "emulated=1", .seconds = 90, .initial_netns = true)
{
	struct region a, b;

	begin(true);
	CHECK_EQ(region_new(&a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(&b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	traffic_begin(&a, &b, IBV_WR_RDMA_WRITE);
	CHECK_EQ(attachments(&side_a), 1);
	CHECK_EQ(net_run("ip netns exec a rdma link del rxe_a"), 0);
	CHECK_EQ(attachments(&side_a), 0);
	CHECK_EQ(side_wait(&side_b), IBV_WC_RETRY_EXC_ERR);
	CHECK_EQ(CALL(&side_a, do_reg, a.buffer, OFFSET, LENGTH, IOVA, ALL), -EIO);
	CHECK_EQ(net_run("ip netns exec b rdma link del rxe_b"), 0);
}

/* --- what befalls card and NIC ---------------------------------------------------- */
static void make_traffic(struct region *a, struct region *b)
{
	CHECK_EQ(region_new(a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	traffic_begin(a, b, IBV_WR_RDMA_WRITE);
}

static void check_card_is_clean(unsigned int card)
{
	WAIT_FOR(card_state_is(card, "free"), 30);
	CHECK(host_is_zero(card, 0, 0));
}

EACH_EVENT(soft_roce_traffic, "emulated=1", .seconds = 90, .initial_netns = true)
{
	unsigned int card = side_a.card;
	struct region a, b;

	begin(true);
	make_traffic(&a, &b);
	event->happen(card);
	CHECK_EQ(side_wait(&side_b), IBV_WC_REM_ACCESS_ERR);
	CHECK_EQ(CALL(&side_a, do_reg, a.buffer, OFFSET, LENGTH, IOVA, ALL), -ENODEV);
	/* The dead region keeps nobody waiting. */
	if (event->undo)
		event->undo(card);
	check_card_is_clean(card);
	CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
	CHECK_EQ(attachments(&side_a), 0);
}

/* A region that cannot be revoked: the card comes back, and waits for its end. */
EACH_EVENT_IN_TIME(soft_roce_traffic_that_holds, "emulated=1 nonrevocable=hold", .seconds = 90,
		   .initial_netns = true)
{
	unsigned int card = side_a.card;
	struct region a, b;

	begin(false);
	make_traffic(&a, &b);
	event->happen(card);
	if (event->undo)
		event->undo(card);
	vm_sleep(0.3);
	CHECK(card_state_is(card, "draining"));
	CHECK_EQ(CALL(&side_a, do_dereg, a.mr), 0);
	CHECK_EQ(side_wait(&side_b), IBV_WC_REM_ACCESS_ERR);
	check_card_is_clean(card);
}

/*
 * Regions on the machine's NICs, used and at rest: Soft-RoCE waits 50 s for each queue pair with packets that a NIC had not
 * sent when it was taken away, and warns (__rxe_cleanup() in rxe_pool.c). The card must come back even so.
 */
static void regions_begin(struct region *a, struct region *b)
{
	begin_on(net_up_nics, false);
	CHECK_EQ(region_new(a, &side_a, BUFFER_GAUDI), 0);
	CHECK_EQ(region_new(b, &side_b, BUFFER_GAUDI), 0);
	CHECK_EQ(connect_qps(0), 0);
	CHECK_EQ(op(b, a, IBV_WR_RDMA_WRITE, LENGTH, 0), IBV_WC_SUCCESS);
	WAIT_FOR(CALL(&side_a, do_unsent) == 0 && CALL(&side_b, do_unsent) == 0, 20);
	host_allow_log("WARNING: .*__rxe_cleanup|Modules linked in:");
}

TEST(soft_roce_pulled_nic_lets_the_card_go, .driver = "emulated=1 nonrevocable=hold", .seconds = 180,
     .initial_netns = true)
{
	unsigned int card = side_a.card;
	struct region a, b;

	regions_begin(&a, &b);
	CHECK_EQ(CALL(&side_a, do_card_close, 0), 0);
	vm_sleep(0.2);
	CHECK(card_state_is(card, "draining"));
	host_nic_remove(0);
	WAIT_FOR(card_state_is(card, "free"), 120);
	check_card_is_clean(card);
	CHECK_EQ(attachments(&side_a), 0);
	host_nic_add(0);
}

/* The kernel takes the cards away first, then the NICs, and only with those go the regions. */
TEST(soft_roce_nics_and_cards_ripped_out_together, .driver = "emulated=1 nonrevocable=hold", .seconds = 240,
     .initial_netns = true, .topology = "switch")
{
	struct region a, b;

	regions_begin(&a, &b);
	slot_rip_out(SLOT_SWITCH);
	WAIT_FOR(!card_is_there(0) && !card_is_there(1), 60);
	WAIT_FOR(!attachments(&side_a) && !attachments(&side_b), 120);
	CHECK_EQ(CALL(&side_a, do_reg, a.buffer, OFFSET, LENGTH, IOVA, ALL), -EIO);
}

/* rping is a stock program; it needs QP1 on both devices. */
static void check_rdma_cm(void)
{
	pid_t server = net_spawn("ip netns exec a rping -s -a 10.9.0.1 -C 3"), client;

	CHECK(server > 0);
	vm_sleep(0.5);
	client = net_spawn("ip netns exec b rping -c -a 10.9.0.1 -C 3");
	CHECK(client > 0);
	CHECK_EQ(net_wait(client), 0);
	CHECK_EQ(net_wait(server), 0);
}

TEST(soft_roce_rdma_cm_works_after_moves, .initial_netns = true)
{
	begin(true);
	check_rdma_cm();
	side_stop(&side_a);
	side_stop(&side_b);
	CHECK_EQ(net_run("ip netns exec a rdma dev set rxe_a netns first"), 0);
	CHECK_EQ(net_run("rdma dev set rxe_a netns a"), 0);
	CHECK_EQ(net_run("ip netns exec b rdma dev set rxe_b netns first"), 0);
	CHECK_EQ(net_run("rdma dev set rxe_b netns b"), 0);
	/* Its address comes back a moment later; a side waits for that. */
	CHECK_EQ(side_start(&side_a), 0);
	CHECK_EQ(side_start(&side_b), 0);
	check_rdma_cm();
}
