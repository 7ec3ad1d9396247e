// SPDX-License-Identifier: Apache-2.0
/*
 * The supervisor of the fuzzing processes. It goes by rounds: a round has namespaces of its own, processes live and die
 * in it, and after it both cards must be free and zero, whatever is left in sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/habanalabs_accel.h>

#include "card.h"
#include "driver.h"
#include "vm.h"

/* Calls of a round. */
#define ROUND 25000
/* Seconds in which a process must get on; it is killed then, and must die of it. */
#define STUCK 10
#define STUCK_DEAD 120
/* Seconds for a card to become free, with everybody dead. */
#define FREE_WAIT 90

static struct fuzz_op ops[FUZZ_OPS_MAX];
static unsigned int nr_ops, sum_weights;

static void collect_ops(void)
{
	const struct fuzz_op *const tables[] = { fuzz_memory_ops, fuzz_import_ops, fuzz_world_ops };
	const struct fuzz_op *op;
	unsigned int i;

	for (i = 0; i < 3; i++)
		for (op = tables[i]; op->name; op++) {
			CHECK(nr_ops < FUZZ_OPS_MAX);
			sum_weights += op->weight;
			ops[nr_ops++] = *op;
		}
}

/* --- a process ------------------------------------------------------------------------ */
static void run_ops(struct fuzz *f, unsigned int calls)
{
	struct fuzz_shared *shared = f->shared;

	while (calls-- && !atomic_load(&shared->stop)) {
		unsigned int chosen = (unsigned int)fuzz_below(f, sum_weights), i = 0;

		while (chosen >= ops[i].weight)
			chosen -= ops[i++].weight;
		atomic_store(&shared->worker[f->worker].op, i);
		switch (ops[i].run(f)) {
		case FUZZ_NOTHING:
			break;
		case 0:
			atomic_fetch_add(&shared->op[i].done, 1);
			/* fall through */
		default:
			atomic_fetch_add(&shared->op[i].tried, 1);
		}
	}
}

int fuzz_fork(struct fuzz *f, bool share_files, bool leave, unsigned int calls)
{
	int pid;

	fflush(stdout);
	pid = share_files ? (int)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0) : fork();
	if (pid) {
		f->shares_files = f->shares_files || share_files;
		/* Both know the same; they shall not do the same. */
		fuzz_random(f);
		return pid < 0 ? -errno : pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	f->depth++;
	f->random ^= 0x5deece66d;
	f->shares_files = f->shares_files || share_files;
	if (leave) {
		if (unshare(CLONE_NEWNET))
			_exit(0);
		f->tenant = 1000 + atomic_fetch_add(&f->shared->leases, 1);
	}
	run_ops(f, calls);
	fflush(stdout);
	_exit(0);
}

static pid_t start_worker(const struct fuzz *base, unsigned int worker, int netns)
{
	struct fuzz_shared *shared = base->shared;
	unsigned int life = atomic_fetch_add(&shared->worker[worker].life, 1);
	struct rlimit files = { .rlim_cur = 256, .rlim_max = 256 };
	struct fuzz f = *base;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid) {
		atomic_store(&shared->worker[worker].pid, pid);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK_EQ(setns(netns, CLONE_NEWNET), 0);
	setrlimit(RLIMIT_NOFILE, &files);
	f.worker = worker;
	f.tenant = worker % FUZZ_TENANTS;
	f.random = shared->seed + ((uint64_t)worker << 56) + ((uint64_t)life << 24);
	run_ops(&f, 100 + (unsigned int)fuzz_below(&f, 4000));
	fflush(stdout);
	_exit(0);
}

/* --- a round --------------------------------------------------------------------------- */
struct round {
	struct fuzz base;
	int netns[FUZZ_TENANTS];
	int mailbox[FUZZ_WORKERS][2];
	struct {
		pid_t pid;
		unsigned long calls;
		double since; /* of no call */
		bool killed;
	} worker[FUZZ_WORKERS];
};

static const char *words_of(struct fuzz_shared *shared, unsigned int worker)
{
	return ops[atomic_load(&shared->worker[worker].op)].name;
}

/* Kills who does not get on, and now and then anybody. */
static void watch(struct round *round)
{
	struct fuzz_shared *shared = round->base.shared;
	unsigned int i;

	for (i = 0; i < FUZZ_WORKERS; i++) {
		unsigned long calls = atomic_load(&shared->worker[i].calls);
		double now = vm_now();

		if (!round->worker[i].pid)
			continue;
		if (calls != round->worker[i].calls && !round->worker[i].killed) {
			round->worker[i].calls = calls;
			round->worker[i].since = now;
		}
		CHECK_MSG(now - round->worker[i].since < STUCK_DEAD,
			  "seed %llu: a process does not die of being killed in \"%s\"",
			  (unsigned long long)shared->seed, words_of(shared, i));
		if (!round->worker[i].killed &&
		    (now - round->worker[i].since > STUCK || fuzz_once_in(&round->base, 400))) {
			round->worker[i].killed = true;
			kill(round->worker[i].pid, SIGKILL);
		}
	}
}

/* Takes note of the dead; returns whether there was one. */
static bool reap(struct round *round, bool revive)
{
	struct fuzz_shared *shared = round->base.shared;
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);
	unsigned int i;

	if (pid <= 0)
		return false;
	CHECK_MSG(!WIFEXITED(status) || !WEXITSTATUS(status), "seed %llu: a process found a fault, see above",
		  (unsigned long long)shared->seed);
	CHECK_MSG(!WIFSIGNALED(status) || WTERMSIG(status) == SIGKILL,
		  "seed %llu: a process died of signal %d", (unsigned long long)shared->seed,
		  WTERMSIG(status));
	for (i = 0; i < FUZZ_WORKERS; i++) {
		if (round->worker[i].pid != pid)
			continue;
		round->worker[i].pid = 0;
		round->worker[i].killed = false;
		round->worker[i].since = vm_now();
		if (revive)
			round->worker[i].pid = start_worker(&round->base, i, round->netns[i % FUZZ_TENANTS]);
	}
	return true;
}

static int new_netns(void)
{
	int fd;

	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void check_cards(struct fuzz_shared *shared)
{
	struct hl_info_dram_usage usage = { 0 };
	struct hl_info_hw_ip_info ip = { 0 };
	unsigned int i;
	char text[256];
	int fd;

	for (i = 0; i < FUZZ_CARDS; i++) {
		double end = vm_now() + FREE_WAIT;

		while (!card_state_is(i, "free")) {
			if (vm_now() > end) {
				card_attribute(i, "state", text, sizeof(text));
				vm_note("card %u: %s", i, text);
				card_attribute(i, "reason", text, sizeof(text));
				vm_fail(__FILE__, __LINE__,
					"seed %llu: card %u is not free after everybody died: %s",
					(unsigned long long)shared->seed, i, text);
			}
			vm_sleep(0.05);
		}
		CHECK_MSG(host_is_zero(i, 0, 0), "seed %llu: card %u is free and not zero",
			  (unsigned long long)shared->seed, i);
		fd = card_open(i, O_NONBLOCK);
		CHECK_MSG(fd >= 0, "seed %llu: card %u is free, and cannot be opened: %s",
			  (unsigned long long)shared->seed, i, strerror(-fd));
		CHECK_EQ(card_info(fd, HL_INFO_HW_IP_INFO, &ip, sizeof(ip)), 0);
		CHECK_EQ(card_info(fd, HL_INFO_DRAM_USAGE, &usage, sizeof(usage)), 0);
		CHECK_EQ(usage.dram_free_mem, ip.dram_size);
		close(fd);
	}
}

static void run_round(struct fuzz_shared *shared, uint64_t target, double end, double *report, double start)
{
	struct round round = { .base = { .shared = shared } };
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	unsigned int i;

	CHECK(home >= 0);
	round.base.random = shared->seed ^ atomic_load(&shared->calls);
	round.base.mailbox = round.mailbox;
	for (i = 0; i < FUZZ_TENANTS; i++)
		round.netns[i] = new_netns();
	CHECK_EQ(setns(home, CLONE_NEWNET), 0);
	for (i = 0; i < FUZZ_WORKERS; i++)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, round.mailbox[i]), 0);
	atomic_store(&shared->stop, false);
	for (i = 0; i < FUZZ_WORKERS; i++) {
		round.worker[i].since = vm_now();
		round.worker[i].pid = start_worker(&round.base, i, round.netns[i % FUZZ_TENANTS]);
	}

	while (atomic_load(&shared->calls) < target && vm_now() < end) {
		watch(&round);
		while (reap(&round, true))
			;
		if (vm_now() > *report) {
			*report = vm_now() + 10;
			vm_note("fuzz: %lu calls in %.0f s", atomic_load(&shared->calls), vm_now() - start);
		}
		vm_sleep(0.02);
	}

	atomic_store(&shared->stop, true);
	for (i = 0; i < FUZZ_WORKERS; i++) {
		/* Half of them just stop. */
		if (round.worker[i].pid && (i & 1))
			kill(round.worker[i].pid, SIGKILL);
		round.worker[i].killed = i & 1;
		round.worker[i].since = vm_now();
	}
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			break;
		if (pid > 0) {
			CHECK_MSG(!WIFEXITED(status) || !WEXITSTATUS(status),
				  "seed %llu: a process found a fault", (unsigned long long)shared->seed);
			for (i = 0; i < FUZZ_WORKERS; i++)
				if (round.worker[i].pid == pid)
					round.worker[i].pid = 0;
			continue;
		}
		watch(&round);
		vm_sleep(0.02);
	}
	/* The namespaces die now, while files of their leases are in flight still. */
	for (i = 0; i < FUZZ_TENANTS; i++)
		close(round.netns[i]);
	check_cards(shared);
	for (i = 0; i < FUZZ_WORKERS; i++) {
		close(round.mailbox[i][0]);
		close(round.mailbox[i][1]);
	}
	close(home);
}

/* --- all ---------------------------------------------------------------------------------- */
static void report_ops(struct fuzz_shared *shared)
{
	unsigned int i;

	for (i = 0; i < nr_ops; i++)
		vm_note("fuzz: %-24s %8lu tried, %8lu done", ops[i].name, atomic_load(&shared->op[i].tried),
			atomic_load(&shared->op[i].done));
}

void fuzz_driver(const struct fuzz_options *options)
{
	struct fuzz_shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start = vm_now(), end = options->seconds ? start + options->seconds : start + 1e9,
	       report = start + 10;
	unsigned int i;

	CHECK(shared != MAP_FAILED);
	collect_ops();
	/* What children leave behind is ours to reap. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shared->seed = options->seed;
	for (i = 0; i < FUZZ_CARDS; i++) {
		shared->node[i] = card_index(i);
		CHECK(shared->node[i] >= 0);
	}
	vm_note("fuzz: SEED=%llu, %llu calls", (unsigned long long)options->seed,
		(unsigned long long)options->calls);
	while (atomic_load(&shared->calls) < options->calls && vm_now() < end) {
		uint64_t target = atomic_load(&shared->calls) + ROUND;

		run_round(shared, target < options->calls ? target : options->calls, end, &report, start);
	}
	report_ops(shared);
	vm_note("fuzz: %lu calls in %.0f s, SEED=%llu", atomic_load(&shared->calls), vm_now() - start,
		(unsigned long long)options->seed);
	/* What never gets in tests nothing. */
	if (options->calls >= 50000)
		for (i = 0; i < nr_ops; i++)
			CHECK_MSG(atomic_load(&shared->op[i].done), "seed %llu: \"%s\" never succeeded",
				  (unsigned long long)options->seed, ops[i].name);
}
