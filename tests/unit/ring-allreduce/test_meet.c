// SPDX-License-Identifier: Apache-2.0
/* Rank 0 and others as processes of their own, over loopback, and strangers in between. */
#include "../unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "../../../deploy/examples/ring-allreduce/meet.h"
#include "../../../deploy/examples/ring-allreduce/stop.h"
#include "lines/tcp.h"

#define JOIN_MS 20000
#define HELLO_MS 700
#define RANKS 3

static const char hello_of_1[] =
	"ring-allreduce-1 job=job rank=1 world=3 rails=1 config=0x7\n"
	"in rail=0 qpn=11 psn=2 mtu=3 gid=00000000000000000000ffff0a000001 rkey=0x1 addr=0x1000 size=64\n"
	"out rail=0 qpn=12 psn=2 mtu=3 gid=00000000000000000000ffff0a000001\nend\n";

/* What ranks tell the test, in memory that all see. */
static struct shared {
	struct hello_plan plan[RANKS];
	int r[RANKS];
} * shared;

static char port[8];

/* A port that nobody uses now. */
static void port_choose(void)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(tcp_listen("127.0.0.1", "0", 1, &fd, NULL), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
}

static int setup(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	port_choose();
	return shared == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(shared, sizeof(*shared));
}

static struct hello hello_make(unsigned rank)
{
	struct hello hello = { .job = "job", .rank = rank, .world = RANKS, .rails = 1, .config = 7 };

	hello.rail[0] = (struct hello_rail){
		.in = { .qpn = rank * 10 + 1, .psn = 2, .mtu = IBV_MTU_1024 },
		.out = { .qpn = rank * 10 + 2, .psn = 2, .mtu = IBV_MTU_1024 },
		.address = 0x1000,
		.size = 64,
		.rkey = rank,
	};
	return hello;
}

/* What a rank does after the meeting. */
enum after {
	AFTER_DONE,	 /* ready, done */
	AFTER_DIE,	 /* goes without a word */
	AFTER_DIFFERENT, /* done, with other weights */
	AFTER_WATCH,	 /* ready, then looks until somebody is gone */
};

struct rank {
	pid_t pid;
	int log; /* what it writes to standard error */
};

static int rank_live(const struct hello *hello, unsigned join_ms, enum after after)
{
	const struct meet_options options = {
		.host = "127.0.0.1",
		.port = port,
		.join_ms = join_ms,
		.hello_ms = HELLO_MS,
	};
	_cleanup_(meet_closep) struct meet *meet = NULL;
	struct checkpoint end = { .step = 9, .digest = after == AFTER_DIFFERENT };
	int r;

	r = meet_join(&options, hello, &shared->plan[hello->rank], &meet);
	if (r < 0 || after == AFTER_DIE)
		return r;
	r = meet_ready(meet);
	while (r == 0 && after == AFTER_WATCH) {
		const struct timespec pause = { .tv_nsec = 5000000 };

		(void)nanosleep(&pause, NULL);
		r = stop_asked() ? -ECANCELED : meet_check(meet);
	}
	return r < 0 ? r : meet_done(meet, &end);
}

static struct rank rank_start(const struct hello *hello, unsigned join_ms, enum after after)
{
	struct rank rank;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	(void)fflush(NULL);
	rank.pid = fork();
	assert_true(rank.pid >= 0);
	if (rank.pid == 0) {
		(void)dup2(pipes[1], STDERR_FILENO);
		if (stop_init() < 0)
			_exit(9);
		shared->r[hello->rank] = rank_live(hello, join_ms, after);
		exit(0);
	}
	(void)close(pipes[1]);
	rank.log = pipes[0];
	return rank;
}

static struct rank rank_usual(unsigned number, enum after after)
{
	const struct hello hello = hello_make(number);

	return rank_start(&hello, JOIN_MS, after);
}

/* Waits for its end; what it said must have the word in it. Returns what it returned. */
static int rank_end(struct rank rank, unsigned number, const char *word)
{
	char log[8192];
	size_t len = 0;
	ssize_t n;
	int status;

	while ((n = read(rank.log, log + len, sizeof(log) - 1 - len)) > 0)
		len += (size_t)n;
	log[len] = '\0';
	(void)close(rank.log);
	assert_int_equal(waitpid(rank.pid, &status, 0), rank.pid);
	/* A signal in the middle of a lookup ends the process there. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == STOP_STATUS)
		return -ECANCELED;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("rank %u ended with %d:\n%s", number, status, log);
	if (word && !strstr(log, word))
		fail_msg("rank %u did not say '%s' but:\n%s", number, word, log);
	return shared->r[number];
}

static void pause_ms(unsigned ms)
{
	const struct timespec pause = { .tv_nsec = (long)ms * 1000000 };

	(void)nanosleep(&pause, NULL);
}

/* A connection to rank 0, as soon as it listens. */
static int stranger(void)
{
	int fd = -EBADF;

	for (unsigned i = 0; i < 2000 && tcp_connect("127.0.0.1", port, 1000, &fd, NULL) < 0; i++)
		pause_ms(5);
	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* All that rank 0 answers until it closes; it must do so within 10 s. */
static void hears(int fd, const char *wanted)
{
	char text[256] = "";
	size_t len = 0;

	for (;;) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&poller, 1, 10000), 1);
		n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	(void)close(fd);
	/* A reset may overtake the word, when there was more to read. */
	if (len > 0 || strcmp(wanted, "") == 0)
		assert_string_equal(text, wanted);
}

static void ranks_learn_their_neighbours(void **state)
{
	struct rank rank[RANKS];

	(void)state;
	/* The last one first: rank 0 does not listen yet. */
	for (unsigned i = RANKS; i-- > 0;)
		rank[i] = rank_usual(i, AFTER_DONE);
	for (unsigned i = 0; i < RANKS; i++)
		assert_int_equal(rank_end(rank[i], i, NULL), 0);
	for (unsigned i = 0; i < RANKS; i++) {
		const struct hello_plan *plan = &shared->plan[i];

		assert_true(plan->run == shared->plan[0].run && plan->run != 0);
		assert_int_equal(plan->from.step, 0);
		assert_int_equal(plan->left[0].out.qpn, (i + RANKS - 1) % RANKS * 10 + 2);
		assert_int_equal(plan->right[0].in.qpn, (i + 1) % RANKS * 10 + 1);
		assert_int_equal(plan->right[0].rkey, (i + 1) % RANKS);
	}
}

static void all_go_on_from_the_newest_common_checkpoint(void **state)
{
	static const struct checkpoint_set have[RANKS] = {
		{ .item = { { 60, 6 }, { 50, 5 }, { 40, 4 } }, .n = 3 },
		{ .item = { { 50, 5 }, { 40, 4 } }, .n = 2 },
		{ .item = { { 50, 99 }, { 40, 4 } }, .n = 2 }, /* its 50 is another one */
	};
	struct rank rank[RANKS];

	(void)state;
	for (unsigned i = 0; i < RANKS; i++) {
		struct hello hello = hello_make(i);

		hello.have = have[i];
		rank[i] = rank_start(&hello, JOIN_MS, AFTER_DONE);
	}
	assert_int_equal(rank_end(rank[0], 0, "somebody has a checkpoint of step 60"), 0);
	for (unsigned i = 1; i < RANKS; i++)
		assert_int_equal(rank_end(rank[i], i, NULL), 0);
	for (unsigned i = 0; i < RANKS; i++) {
		assert_int_equal(shared->plan[i].from.step, 40);
		assert_int_equal(shared->plan[i].from.digest, 4);
	}
}

static void no_common_checkpoint_is_the_beginning(void **state)
{
	struct rank rank[RANKS];

	(void)state;
	for (unsigned i = 0; i < RANKS; i++) {
		struct hello hello = hello_make(i);

		if (i > 0)
			hello.have = (struct checkpoint_set){ .item = { { 30, 3 } }, .n = 1 };
		rank[i] = rank_start(&hello, JOIN_MS, AFTER_DONE);
	}
	assert_int_equal(rank_end(rank[0], 0, "somebody has a checkpoint of step 30"), 0);
	for (unsigned i = 1; i < RANKS; i++) {
		assert_int_equal(rank_end(rank[i], i, NULL), 0);
		assert_int_equal(shared->plan[i].from.step, 0);
	}
}

static void strangers_are_refused_and_disturb_nobody(void **state)
{
	static const struct {
		const char *text, *answer;
	} bad[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "refused why=garbage\n" },
		{ "ring-allreduce-1 job=other rank=1 world=3 rails=0 config=0x7\nend\n",
		  "refused why=other-job\n" },
		{ "ring-allreduce-1 job=job rank=1 world=4 rails=0 config=0x7\nend\n",
		  "refused why=world\n" },
		{ "ring-allreduce-1 job=job rank=0 world=3 rails=0 config=0x7\nend\n", "refused why=rank\n" },
		{ "ring-allreduce-1 job=job rank=3 world=3 rails=0 config=0x7\nend\n", "refused why=rank\n" },
		{ "ring-allreduce-1 job=job rank=1 world=3 rails=0 config=0x8\nend\n",
		  "refused why=options\n" },
		{ "ring-allreduce-1 job=job rank=1 world=3 rails=0 config=0x7\nend\n",
		  "refused why=rails\n" },
		{ "ring-allreduce-1 job=job rank=1 world=3 rails=1 config=0x7\nend\n",
		  "refused why=garbage\n" },
		{ "ready\n", "refused why=garbage\n" },
		/* More than was asked for. */
		{ "ring-allreduce-1 job=other rank=1 world=3 rails=0 config=0x7\nend\nready\n",
		  "refused why=garbage\n" },
	};
	struct rank rank[RANKS];
	char endless[3000];

	(void)state;
	memset(endless, 'x', sizeof(endless));
	rank[0] = rank_usual(0, AFTER_DONE);
	rank[1] = rank_usual(1, AFTER_DONE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = stranger();

		say(fd, bad[i].text, strlen(bad[i].text));
		hears(fd, bad[i].answer);
	}
	/* A line without an end; a zero byte; one that goes in the middle of a word. */
	int fd = stranger();

	say(fd, endless, sizeof(endless));
	hears(fd, "refused why=garbage\n");
	fd = stranger();
	say(fd, "ring\0allreduce\n", 15);
	hears(fd, "refused why=garbage\n");
	fd = stranger();
	say(fd, "ring-allr", 9);
	(void)close(fd);
	/* One that says nothing, and one that says a letter at a time. */
	fd = stranger();
	hears(fd, "refused why=slow\n");
	fd = stranger();
	for (unsigned i = 0; i < 20; i++) {
		pause_ms(HELLO_MS / 10);
		(void)send(fd, "r", 1, MSG_NOSIGNAL);
	}
	hears(fd, "refused why=slow\n");
	rank[2] = rank_usual(2, AFTER_DONE);
	assert_int_equal(rank_end(rank[0], 0, "somebody at 127.0.0.1 is not let in: it is of another job"),
			 0);
	assert_int_equal(rank_end(rank[1], 1, NULL), 0);
	assert_int_equal(rank_end(rank[2], 2, NULL), 0);
}

static void a_crowd_that_says_nothing_holds_nobody_up_for_ever(void **state)
{
	struct rank rank[RANKS];
	int crowd[80];

	(void)state;
	rank[0] = rank_usual(0, AFTER_DONE);
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
		crowd[i] = stranger();
	rank[1] = rank_usual(1, AFTER_DONE);
	rank[2] = rank_usual(2, AFTER_DONE);
	for (unsigned i = 0; i < RANKS; i++)
		assert_int_equal(rank_end(rank[i], i, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
		(void)close(crowd[i]);
}

static void a_rank_that_is_here_is_not_replaced_and_may_come_again(void **state)
{
	struct rank rank[RANKS];
	int first, second;

	(void)state;
	rank[0] = rank_usual(0, AFTER_DONE);
	first = stranger();
	say(first, hello_of_1, strlen(hello_of_1));
	second = stranger();
	say(second, hello_of_1, strlen(hello_of_1));
	hears(second, "refused why=taken\n");
	/* The first one dies; the one that comes then is taken. */
	(void)close(first);
	rank[1] = rank_usual(1, AFTER_DONE);
	rank[2] = rank_usual(2, AFTER_DONE);
	assert_int_equal(rank_end(rank[0], 0, "rank 1 went before all were there"), 0);
	assert_int_equal(rank_end(rank[1], 1, NULL), 0);
	assert_int_equal(rank_end(rank[2], 2, NULL), 0);
}

static void a_rank_that_does_not_come_is_named(void **state)
{
	const struct hello zero = hello_make(0), two = hello_make(2);
	struct rank rank[RANKS];

	(void)state;
	rank[0] = rank_start(&zero, 1500, AFTER_DONE);
	rank[2] = rank_start(&two, 3000, AFTER_DONE);
	assert_int_equal(rank_end(rank[0], 0, "these ranks did not come within 1 s: 1"), -ETIMEDOUT);
	assert_int_equal(rank_end(rank[2], 2, "did not take us in within 3 s"), -ETIMEDOUT);
}

static void another_job_at_that_address_is_told_and_final(void **state)
{
	const struct hello zero = hello_make(0);
	struct hello other = hello_make(1);
	struct rank rank[2];

	(void)state;
	rank[0] = rank_start(&zero, 4000, AFTER_DONE);
	strcpy(other.job, "other");
	rank[1] = rank_start(&other, JOIN_MS, AFTER_DONE);
	assert_int_equal(rank_end(rank[1], 1, "it is of another job: --job differs"), -EPERM);
	assert_int_equal(rank_end(rank[0], 0, NULL), -ETIMEDOUT);
}

/* Something else listens where rank 0 should. */
static void somebody_else_at_that_address_is_told(void **state)
{
	_cleanup_close_ int listening = -EBADF, fd = -EBADF;
	struct pollfd poller = { .events = POLLIN };
	struct rank rank;

	(void)state;
	assert_int_equal(tcp_listen("127.0.0.1", port, 1, &listening, NULL), 0);
	rank = rank_usual(1, AFTER_DONE);
	poller.fd = listening;
	assert_int_equal(poll(&poller, 1, 10000), 1);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	say(fd, "220 mail ESMTP\r\n", 16);
	assert_int_equal(rank_end(rank, 1, "does not speak like rank 0"), -EPERM);
}

static void who_goes_is_noticed_by_all(void **state)
{
	struct rank rank[RANKS];

	(void)state;
	for (unsigned i = 0; i < RANKS; i++)
		rank[i] = rank_usual(i, i == 2 ? AFTER_DIE : AFTER_WATCH);
	assert_int_equal(rank_end(rank[2], 2, NULL), 0);
	assert_int_equal(rank_end(rank[0], 0, "rank 2 is gone"), -ECONNRESET);
	assert_int_equal(rank_end(rank[1], 1, "rank 0 is gone"), -ECONNRESET);
}

static void a_killed_rank_is_noticed_while_the_others_compute(void **state)
{
	struct rank rank[RANKS];
	int status;

	(void)state;
	for (unsigned i = 0; i < RANKS; i++)
		rank[i] = rank_usual(i, AFTER_WATCH);
	/* Once it has its plan, all were there. */
	while (*(volatile uint64_t *)&shared->plan[1].run == 0)
		pause_ms(5);
	assert_int_equal(kill(rank[1].pid, SIGKILL), 0);
	assert_int_equal(waitpid(rank[1].pid, &status, 0), rank[1].pid);
	(void)close(rank[1].log);
	assert_int_equal(rank_end(rank[0], 0, "rank 1 is gone"), -ECONNRESET);
	assert_int_equal(rank_end(rank[2], 2, "rank 0 is gone"), -ECONNRESET);
}

static void other_weights_at_the_end_are_an_error_for_all(void **state)
{
	struct rank rank[RANKS];

	(void)state;
	for (unsigned i = 0; i < RANKS; i++)
		rank[i] = rank_usual(i, i == 1 ? AFTER_DIFFERENT : AFTER_DONE);
	assert_int_equal(rank_end(rank[0], 0, "rank 1 ended at step 9 with weights"), -EBADMSG);
	assert_int_equal(rank_end(rank[1], 1, "not all ranks ended with the same weights"), -EBADMSG);
	assert_int_equal(rank_end(rank[2], 2, "not all ranks ended with the same weights"), -EBADMSG);
}

static void a_signal_ends_the_waiting(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rank rank = rank_usual(i, AFTER_DONE);
		struct pollfd poller = { .fd = rank.log, .events = POLLIN };

		/* It says that it waits. */
		assert_int_equal(poll(&poller, 1, 10000), 1);
		assert_int_equal(kill(rank.pid, SIGTERM), 0);
		assert_int_equal(rank_end(rank, i, "waiting"), -ECANCELED);
	}
}

static void a_port_that_is_taken_is_told(void **state)
{
	_cleanup_close_ int listening = -EBADF;

	(void)state;
	assert_int_equal(tcp_listen("127.0.0.1", port, 1, &listening, NULL), 0);
	assert_int_equal(rank_end(rank_usual(0, AFTER_DONE), 0, "cannot wait for the other ranks at port"),
			 -EADDRINUSE);
}

#define ON_PORT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	ON_PORT(ranks_learn_their_neighbours),
	ON_PORT(all_go_on_from_the_newest_common_checkpoint),
	ON_PORT(no_common_checkpoint_is_the_beginning),
	ON_PORT(strangers_are_refused_and_disturb_nobody),
	ON_PORT(a_crowd_that_says_nothing_holds_nobody_up_for_ever),
	ON_PORT(a_rank_that_is_here_is_not_replaced_and_may_come_again),
	ON_PORT(a_rank_that_does_not_come_is_named),
	ON_PORT(another_job_at_that_address_is_told_and_final),
	ON_PORT(somebody_else_at_that_address_is_told),
	ON_PORT(who_goes_is_noticed_by_all),
	ON_PORT(a_killed_rank_is_noticed_while_the_others_compute),
	ON_PORT(other_weights_at_the_end_are_an_error_for_all),
	ON_PORT(a_signal_ends_the_waiting),
	ON_PORT(a_port_that_is_taken_is_told),
};

UNIT_MAIN(tests)
