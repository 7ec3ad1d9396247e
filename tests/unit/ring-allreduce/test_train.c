// SPDX-License-Identifier: Apache-2.0
/* Whole trainings: ranks as processes, memory that all of them see in place of Gaudis and NICs. */
#include "../unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "../../../deploy/examples/ring-allreduce/stop.h"
#include "../../../deploy/examples/ring-allreduce/train.h"
#include "../fakefs.h"
#include "lines/tcp.h"

#define RANKS_MAX 5
#define RAILS_MAX 2
#define WINDOW_SIZE 65536
#define QUEUE 64
#define STEPS 30

/* A rail's window, and the numbers of what arrived in it. One rank puts, one takes. */
struct fake_rail {
	uint8_t window[WINDOW_SIZE];
	uint32_t queue[QUEUE];
	volatile unsigned put, taken;
} __attribute__((aligned(64)));

static struct shared {
	struct fake_rail rail[RANKS_MAX][RAILS_MAX];
	int r[RANKS_MAX];
} * shared;

struct fake {
	unsigned rank, world;
	struct fake_end {
		struct fake_rail *own, *right;
		bool mute;    /* what it sends gets lost */
		bool revoked; /* its memory goes away at the first touch */
		uint8_t *gone;
	} end[RAILS_MAX];
};

static int end_send(void *data, size_t offset, size_t to_offset, size_t bytes, uint32_t number)
{
	struct fake_end *end = data;
	struct fake_rail *to = end->right;

	if (end->mute)
		return 0;
	if (to_offset + bytes > WINDOW_SIZE || to->put - to->taken >= QUEUE)
		return -EIO;
	memcpy(to->window + to_offset, end->own->window + offset, bytes);
	to->queue[to->put % QUEUE] = number;
	__sync_synchronize();
	to->put++;
	return 0;
}

static int end_sent(void *data)
{
	(void)data;
	return 1;
}

static int end_arrived(void *data, uint32_t *ret_number)
{
	struct fake_end *end = data;

	if (end->own->put == end->own->taken)
		return 0;
	__sync_synchronize();
	*ret_number = end->own->queue[end->own->taken % QUEUE];
	end->own->taken++;
	return 1;
}

/* Memory as after a revoke: to touch it raises SIGBUS. */
static uint8_t *memory_gone(void)
{
	int fd = memfd_create("gone", MFD_CLOEXEC);
	void *map = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

static unsigned rails_used = 1;

static int fake_open(void *data, unsigned world, const size_t *count, struct ring *ring,
		     struct hello_rail *place)
{
	struct fake *fake = data;

	for (unsigned i = 0; i < rails_used; i++) {
		struct fake_end *end = &fake->end[i];

		if (ring_window_size(world, count[i]) > WINDOW_SIZE)
			return -ENOMEM;
		end->own = &shared->rail[fake->rank][i];
		ring[i].window = end->revoked ? memory_gone() : end->own->window;
		ring[i].io = (struct ring_io){ end, end_send, end_sent, end_arrived };
		place[i] = (struct hello_rail){
			.in = { .qpn = fake->rank * 10 + i + 1, .mtu = IBV_MTU_1024 },
			.out = { .qpn = fake->rank * 10 + i + 1, .mtu = IBV_MTU_1024 },
			.size = WINDOW_SIZE,
		};
	}
	return 0;
}

static int fake_connect(void *data, unsigned i, const struct hello_rail *left, const struct hello_rail *right)
{
	struct fake *fake = data;
	unsigned to = (fake->rank + 1) % fake->world;

	/* The plan names those whom the ring expects. */
	if (right->in.qpn != to * 10 + i + 1 ||
	    left->out.qpn != (fake->rank + fake->world - 1) % fake->world * 10 + i + 1)
		return -EPROTO;
	fake->end[i].right = &shared->rail[to][i];
	return 0;
}

/* --- ranks as processes ---------------------------------------------------------- */

static char port[8];

struct fixture {
	struct fakefs *fs;
	unsigned world;
	unsigned pace_ms, step_ms;
	bool with_checkpoints, each_its_own;
	unsigned mute, revoked; /* rank + 1 */
	uint64_t seed_of_last;	/* of the last rank, unless 0 */
};

struct rank {
	pid_t pid;
	char out[64]; /* name of its output in fs */
};

static int setup(void **state)
{
	static struct fixture fixture;
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	fixture = (struct fixture){ .fs = fakefs_new(), .world = 2, .step_ms = 20000 };
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(tcp_listen("127.0.0.1", "0", 1, &fd, NULL), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
	rails_used = 1;
	*state = &fixture;
	return fixture.fs ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	fakefs_free(fixture->fs);
	return munmap(shared, sizeof(*shared));
}

static int rank_live(const struct fixture *fixture, unsigned rank, const char *folder)
{
	_cleanup_close_ int checkpoints = -EBADF;
	struct fake fake = { .rank = rank, .world = fixture->world };
	const struct train_rails rails = { fixture->world > 1 ? rails_used : 0, &fake, fake_open,
					   fake_connect };
	struct train_options options = {
		.job = "job",
		.rank = rank,
		.world = fixture->world,
		.meet = { .host = "127.0.0.1", .port = port, .join_ms = 30000, .hello_ms = 10000 },
		.steps = STEPS,
		.batch = 12,
		.hidden = 8,
		.rate = 0.1F,
		.seed = 3,
		.checkpoints = -EBADF,
		.every = 5,
		.step_ms = fixture->step_ms,
		.pace_ms = fixture->pace_ms,
	};

	fake.end[0].mute = fixture->mute == rank + 1;
	fake.end[0].revoked = fixture->revoked == rank + 1;
	if (fixture->seed_of_last && rank + 1 == fixture->world)
		options.seed = fixture->seed_of_last;
	if (fixture->with_checkpoints) {
		checkpoints = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		options.checkpoints = checkpoints;
	}
	return train_run(&options, &rails);
}

static struct rank rank_start(struct fixture *fixture, unsigned rank)
{
	static unsigned number;
	struct rank started;
	char folder[32];
	int fd;

	(void)snprintf(folder, sizeof(folder), "checkpoints-%u", fixture->each_its_own ? rank : 0);
	fakefs_mkdir(fixture->fs, folder);
	(void)snprintf(started.out, sizeof(started.out), "out-%u", number++);
	fakefs_put(fixture->fs, started.out, "");
	fd = open(fakefs_join(fixture->fs, started.out), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	(void)fflush(NULL);
	started.pid = fork();
	assert_true(started.pid >= 0);
	if (started.pid == 0) {
		(void)dup2(fd, STDOUT_FILENO);
		(void)dup2(fd, STDERR_FILENO);
		if (stop_init() < 0)
			_exit(9);
		shared->r[rank] = rank_live(fixture, rank, fakefs_join(fixture->fs, folder));
		(void)fflush(NULL);
		exit(0);
	}
	(void)close(fd);
	return started;
}

static const char *rank_says(struct fixture *fixture, const struct rank *rank)
{
	return fakefs_get(fixture->fs, rank->out);
}

/* Waits for its end; returns what it returned. */
static int rank_end(struct fixture *fixture, const struct rank *rank, unsigned number)
{
	int status;

	assert_int_equal(waitpid(rank->pid, &status, 0), rank->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("rank %u ended with %d:\n%s", number, status, rank_says(fixture, rank));
	return shared->r[number];
}

static void said(struct fixture *fixture, const struct rank *rank, const char *word)
{
	const char *all = rank_says(fixture, rank);

	if (!strstr(all, word))
		fail_msg("'%s' was not said, but:\n%s", word, all);
}

static void wait_said(struct fixture *fixture, const struct rank *rank, const char *word)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	for (unsigned i = 0; i < 4000; i++) {
		if (strstr(rank_says(fixture, rank), word))
			return;
		(void)nanosleep(&pause, NULL);
	}
	said(fixture, rank, word);
}

struct history {
	unsigned first, n;
	float loss[STEPS];
	char digest[17];
};

static struct history history_of(struct fixture *fixture, const struct rank *rank)
{
	_cleanup_free_ char *text = strdup(rank_says(fixture, rank));
	struct history history = { .n = 0 };
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned step;
		float loss;

		if (sscanf(line, "step=%u loss=%g ", &step, &loss) == 2) {
			assert_true(step < STEPS);
			if (history.n == 0)
				history.first = step;
			assert_int_equal(step, history.first + history.n);
			history.loss[step] = loss;
			history.n++;
		}
		(void)sscanf(line, "done step=30 digest=%16s", history.digest);
	}
	return history;
}

/* All ranks to the end; the history of each is the same. */
static struct history run_all(struct fixture *fixture)
{
	struct rank rank[RANKS_MAX];
	struct history history = { .n = 0 };

	for (unsigned i = 0; i < fixture->world; i++)
		rank[i] = rank_start(fixture, i);
	for (unsigned i = 0; i < fixture->world; i++) {
		int r = rank_end(fixture, &rank[i], i);
		struct history one = history_of(fixture, &rank[i]);

		if (r != 0)
			fail_msg("rank %u gives %d:\n%s", i, r, rank_says(fixture, &rank[i]));
		assert_int_equal(strlen(one.digest), 16);
		if (i > 0)
			assert_memory_equal(&one, &history, sizeof(one));
		history = one;
	}
	return history;
}

static struct history run_reference(struct fixture *fixture)
{
	struct fixture alone = *fixture;

	alone.world = 1;
	alone.with_checkpoints = false;
	return run_all(&alone);
}

static void compare(const struct history *got, const struct history *wanted)
{
	for (unsigned step = got->first; step < STEPS; step++)
		if (!(fabsf(got->loss[step] - wanted->loss[step]) <= 1e-4F * wanted->loss[step]))
			fail_msg("step %u: %g and not %g", step, (double)got->loss[step],
				 (double)wanted->loss[step]);
}

/* --- tests ------------------------------------------------------------------------ */

static void losses_do_not_depend_on_the_number_of_ranks_or_rails(void **state)
{
	struct fixture *fixture = *state;
	const struct history wanted = run_reference(fixture);

	assert_int_equal(wanted.n, STEPS);
	assert_true(wanted.loss[STEPS - 1] < wanted.loss[0]);
	for (unsigned world = 2; world <= RANKS_MAX; world++) {
		for (rails_used = 1; rails_used <= RAILS_MAX; rails_used++) {
			struct history got, again;

			fixture->world = world;
			memset(shared, 0, sizeof(*shared));
			got = run_all(fixture);
			assert_int_equal(got.n, STEPS);
			compare(&got, &wanted);
			memset(shared, 0, sizeof(*shared));
			again = run_all(fixture);
			assert_memory_equal(&got, &again, sizeof(got));
		}
	}
}

static void a_killed_rank_ends_all_and_all_go_on_from_the_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	struct history whole, rest;
	struct rank rank[2];
	int status;

	whole = run_all(fixture);
	memset(shared, 0, sizeof(*shared));
	fixture->with_checkpoints = true;
	fixture->each_its_own = true;
	fixture->pace_ms = 50;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	for (unsigned i = 0; i < 2; i++)
		wait_said(fixture, &rank[i], "checkpoint step=10 ");
	assert_int_equal(kill(rank[1].pid, SIGKILL), 0);
	assert_int_equal(waitpid(rank[1].pid, &status, 0), rank[1].pid);
	assert_int_equal(rank_end(fixture, &rank[0], 0), -ECONNRESET);
	said(fixture, &rank[0], "rank 1 is gone");
	/* New processes get memory that is zero, as the driver gives it. */
	memset(shared, 0, sizeof(*shared));
	fixture->pace_ms = 0;
	rest = run_all(fixture);
	assert_true(rest.first >= 10 && rest.first % 5 == 0 && rest.first < STEPS);
	assert_int_equal(rest.first + rest.n, STEPS);
	/* The same bits as without the interruption. */
	assert_string_equal(rest.digest, whole.digest);
	for (unsigned step = rest.first; step < STEPS; step++)
		assert_true(rest.loss[step] == whole.loss[step]);
}

static void a_training_that_is_over_only_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct history whole, nothing;

	fixture->with_checkpoints = true;
	whole = run_all(fixture);
	memset(shared, 0, sizeof(*shared));
	nothing = run_all(fixture);
	assert_int_equal(nothing.n, 0);
	assert_string_equal(nothing.digest, whole.digest);
}

static void data_of_an_earlier_run_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank[2];
	int r[2];

	(void)run_all(fixture);
	/* The windows still hold all of it, and this says that it has just arrived. */
	shared->rail[0][0].taken = shared->rail[0][0].put - 2;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	for (unsigned i = 0; i < 2; i++)
		r[i] = rank_end(fixture, &rank[i], i);
	assert_int_equal(r[0], -EBADMSG);
	said(fixture, &rank[0], "wrong data on ring 0: step 0 round 0");
	assert_int_equal(r[1], -ECONNRESET);
}

static void memory_that_is_taken_away_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank[2];
	int r[2];

	fixture->revoked = 2;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	for (unsigned i = 0; i < 2; i++)
		r[i] = rank_end(fixture, &rank[i], i);
	assert_int_equal(r[1], -EFAULT);
	said(fixture, &rank[1], "device memory was taken from this pod");
	assert_int_equal(r[0], -ECONNRESET);
}

static void a_neighbour_that_sends_nothing_ends_the_waiting(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank[2];

	fixture->mute = 2;
	fixture->step_ms = 1000;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rank_end(fixture, &rank[i], i), -ECONNRESET);
	said(fixture, &rank[0], "the neighbours did not answer for 1 s");
}

static void a_signal_abandons_the_step_and_the_others_notice(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank[2];

	/* Rank 1 waits in the middle of a step for what does not come. */
	fixture->mute = 1;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	wait_said(fixture, &rank[1], "start step=0 world=2 rails=1");
	assert_int_equal(kill(rank[1].pid, SIGTERM), 0);
	assert_int_equal(rank_end(fixture, &rank[1], 1), -ECANCELED);
	assert_int_equal(rank_end(fixture, &rank[0], 0), -ECONNRESET);
}

static void a_rank_with_other_options_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank[2];

	fixture->seed_of_last = 4;
	for (unsigned i = 0; i < 2; i++)
		rank[i] = rank_start(fixture, i);
	assert_int_equal(rank_end(fixture, &rank[1], 1), -EPERM);
	said(fixture, &rank[1], "it trains something else");
	assert_int_equal(kill(rank[0].pid, SIGTERM), 0);
	assert_int_equal(rank_end(fixture, &rank[0], 0), -ECANCELED);
	said(fixture, &rank[0], "trains something else (its options differ)");
}

static void a_checkpoint_that_cannot_be_written_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct rank rank;

	fixture->world = 1;
	fixture->with_checkpoints = true;
	fixture->pace_ms = 50;
	rank = rank_start(fixture, 0);
	wait_said(fixture, &rank, "start step=0");
	fakefs_remove(fixture->fs, "checkpoints-0");
	assert_int_equal(rank_end(fixture, &rank, 0), -ENOENT);
	said(fixture, &rank, "cannot write the checkpoint of step 5");
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	WITH(losses_do_not_depend_on_the_number_of_ranks_or_rails),
	WITH(a_killed_rank_ends_all_and_all_go_on_from_the_checkpoint),
	WITH(a_training_that_is_over_only_says_so),
	WITH(data_of_an_earlier_run_is_noticed),
	WITH(memory_that_is_taken_away_is_told),
	WITH(a_neighbour_that_sends_nothing_ends_the_waiting),
	WITH(a_signal_abandons_the_step_and_the_others_notice),
	WITH(a_rank_with_other_options_is_refused),
	WITH(a_checkpoint_that_cannot_be_written_is_an_error),
};

UNIT_MAIN(tests)
