// SPDX-License-Identifier: Apache-2.0
#include "train.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "digest.h"
#include "model.h"
#include "p2p/touch.h"
#include "peer.h"
#include "stop.h"

/* Between two looks at a NIC that has nothing: the software NIC needs the processor too. */
#define POLL_PAUSE_NS 50000
/* Between two looks at the other ranks and the signal. */
#define CHECK_MS 20

struct train {
	const struct train_options *options;
	const struct train_rails *rails;
	struct model *model;
	size_t count; /* of weights; the vector has the loss behind them */
	float *vector;
	struct ring ring[HELLO_RAILS_MAX];
	size_t first[HELLO_RAILS_MAX]; /* of each rail in the vector */
	struct meet *meet;
	uint64_t config; /* of what checkpoints depend on */
	uint64_t next_check_ms;
};

static void train_done(struct train *train)
{
	if (train->meet)
		meet_close(train->meet);
	if (train->model)
		model_free(train->model);
	free(train->vector);
}

static uint64_t config_of(const struct train_options *options)
{
	const uint32_t order = 1; /* in the machine's order of bytes, as the numbers on the rings are */
	uint64_t digest = DIGEST_EMPTY;

	digest = digest_add(digest, &order, sizeof(order));
	digest = digest_add(digest, &options->seed, sizeof(options->seed));
	digest = digest_add(digest, &options->batch, sizeof(options->batch));
	digest = digest_add(digest, &options->hidden, sizeof(options->hidden));
	return digest_add(digest, &options->rate, sizeof(options->rate));
}

static int train_prepare(struct train *train)
{
	const struct train_options *options = train->options;
	int r;

	train->config = config_of(options);
	r = model_new(options->hidden, options->seed, &train->model);
	if (r == 0) {
		train->count = model_count(train->model);
		train->vector = calloc(train->count + 1, sizeof(float));
		r = train->vector ? 0 : -ENOMEM;
	}
	if (r < 0)
		return log_error_errno(r, "cannot make the model");
	return 0;
}

/* --- checkpoints -------------------------------------------------------------- */

static int checkpoints_find(struct train *train, struct checkpoint_set *ret)
{
	const struct train_options *options = train->options;
	struct checkpoint_set set = { .n = 0 }, usable = { .n = 0 };
	int r = 0;

	if (options->checkpoints >= 0)
		r = checkpoint_scan(options->checkpoints, options->rank, train->config, train->count, &set);
	if (r < 0)
		return log_error_errno(r, "cannot read the folder of checkpoints");
	/* Those of a longer training cannot be gone on from: it is over there. */
	for (size_t i = 0; i < set.n; i++)
		if (set.item[i].step <= options->steps)
			usable.item[usable.n++] = set.item[i];
	*ret = usable;
	return 0;
}

static int checkpoint_load(struct train *train, const struct checkpoint *from)
{
	int r;

	if (from->step == 0)
		return 0;
	r = checkpoint_read(train->options->checkpoints, train->config, from, model_weights(train->model),
			    train->count);
	if (r < 0)
		return log_error_errno(r, "cannot read the checkpoint of step %" PRIu64 " any more",
				       from->step);
	return 0;
}

static int checkpoint_save(struct train *train, uint64_t step)
{
	const struct train_options *options = train->options;
	const float *weights = model_weights(train->model);
	int r;

	if (options->checkpoints < 0 || (step % options->every && step != options->steps))
		return 0;
	r = checkpoint_write(options->checkpoints, options->rank, train->config, step, weights, train->count);
	if (r < 0)
		return log_error_errno(r, "cannot write the checkpoint of step %" PRIu64, step);
	printf("checkpoint step=%" PRIu64 " digest=%016" PRIx64 "\n", step,
	       checkpoint_digest(weights, train->count));
	return 0;
}

/* --- the others ---------------------------------------------------------------- */

static int rings_open(struct train *train, struct hello *hello)
{
	const struct train_options *options = train->options;
	const struct train_rails *rails = train->rails;
	size_t count[HELLO_RAILS_MAX];

	for (unsigned i = 0; i < rails->n; i++) {
		train->first[i] = ring_chunk_first(rails->n, train->count + 1, i);
		count[i] = ring_chunk_count(rails->n, train->count + 1, i);
		train->ring[i] = (struct ring){
			.rank = options->rank,
			.world = options->world,
			.count = count[i],
		};
	}
	return rails->open(rails->data, options->world, count, train->ring, hello->rail);
}

static int others_meet(struct train *train, struct hello *hello, struct checkpoint *ret_from)
{
	const struct train_options *options = train->options;
	struct hello_plan plan = { .run = 0 };
	int r;

	(void)snprintf(hello->job, sizeof(hello->job), "%s", options->job);
	hello->rank = options->rank;
	hello->world = options->world;
	hello->rails = train->rails->n;
	hello->config = digest_add(train->config, &options->steps, sizeof(options->steps));
	hello->config = digest_add(hello->config, &options->every, sizeof(options->every));
	r = rings_open(train, hello);
	if (r == 0)
		r = meet_join(&options->meet, hello, &plan, &train->meet);
	for (unsigned i = 0; i < train->rails->n && r == 0; i++) {
		train->ring[i].run = plan.run;
		r = train->rails->connect(train->rails->data, i, &plan.left[i], &plan.right[i]);
	}
	if (r == 0)
		*ret_from = plan.from;
	return r;
}

/* Whether it is time to give up waiting. */
static int others_check(struct train *train, uint64_t deadline_ms)
{
	uint64_t now = peer_now_ms();

	if (now < train->next_check_ms)
		return 0;
	train->next_check_ms = now + CHECK_MS;
	if (stop_asked())
		return -ECANCELED;
	if (now >= deadline_ms) {
		log_error("the neighbours did not answer for %u s", train->options->step_ms / 1000);
		return -ECONNRESET;
	}
	return train->meet ? meet_check(train->meet) : 0;
}

/* --- a step -------------------------------------------------------------------- */

/* One look at one ring, where touching its memory may fail. */
struct turn {
	struct ring *ring;
	float *vector;
	uint64_t step;
	enum { TURN_BEGIN, TURN_GO_ON, TURN_END } what;
	int r;
};

static void turn_do(void *data)
{
	struct turn *turn = data;

	if (turn->what == TURN_BEGIN)
		turn->r = ring_begin(turn->ring, turn->step, turn->vector);
	else if (turn->what == TURN_GO_ON)
		turn->r = ring_progress(turn->ring);
	else
		ring_result(turn->ring, turn->vector);
}

static int ring_turn(struct train *train, unsigned i, uint64_t step, int what)
{
	struct turn turn = {
		.ring = &train->ring[i],
		.vector = train->vector + train->first[i],
		.step = step,
		.what = what,
	};
	int r = p2p_touch(turn_do, &turn);

	if (r < 0)
		log_error("device memory was taken from this pod");
	else if (turn.r == -EBADMSG)
		log_error("wrong data on ring %u: %s", i, turn.ring->why);
	return r < 0 ? r : turn.r;
}

/* The sum over all ranks of the vector, in place. */
static int all_reduce(struct train *train, uint64_t step)
{
	const struct timespec pause = { .tv_nsec = POLL_PAUSE_NS };
	uint64_t deadline = peer_now_ms() + train->options->step_ms;
	const unsigned n = train->rails->n;
	uint32_t done = 0;
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = ring_turn(train, i, step, TURN_BEGIN);
	while (r == 0 && done != (UINT32_C(1) << n) - 1) {
		for (unsigned i = 0; i < n && r >= 0; i++) {
			if (done & UINT32_C(1) << i)
				continue;
			r = ring_turn(train, i, step, TURN_GO_ON);
			if (r == 1)
				done |= UINT32_C(1) << i;
		}
		if (r >= 0)
			r = others_check(train, deadline);
		if (r == 0)
			(void)nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < n && r == 0; i++)
		r = ring_turn(train, i, step, TURN_END);
	return r;
}

/* Samples of the batch for each rank: cut as the ring cuts its vector. */
static int step_do(struct train *train, uint64_t step, float *ret_loss)
{
	const struct train_options *options = train->options;
	unsigned first = (unsigned)ring_chunk_first(options->world, options->batch, options->rank);
	unsigned n = (unsigned)ring_chunk_count(options->world, options->batch, options->rank);
	int r = 0;

	memset(train->vector, 0, (train->count + 1) * sizeof(float));
	train->vector[train->count] =
		model_backward(train->model, step, first, n, options->batch, train->vector);
	if (options->world > 1)
		r = all_reduce(train, step);
	if (r < 0)
		return r;
	*ret_loss = train->vector[train->count];
	model_descend(train->model, train->vector, options->rate);
	return 0;
}

static int pace(struct train *train, uint64_t until_ms)
{
	for (;;) {
		uint64_t now = peer_now_ms(), left = until_ms > now ? until_ms - now : 0;
		const struct timespec pause = { .tv_nsec =
							(left < CHECK_MS ? (long)left : CHECK_MS) * 1000000 };
		int r = others_check(train, UINT64_MAX);

		if (r < 0 || left == 0)
			return r;
		(void)nanosleep(&pause, NULL);
	}
}

/* steps: from .. options->steps - 1; a checkpoint of step s is what is after s steps. */
static int train_steps(struct train *train, uint64_t from)
{
	const struct train_options *options = train->options;
	struct checkpoint end = { .step = options->steps };
	float loss = 0;
	int r = 0;

	for (uint64_t step = from; step < options->steps; step++) {
		uint64_t begin = peer_now_ms();

		r = stop_asked() ? -ECANCELED : step_do(train, step, &loss);
		if (r < 0)
			return r;
		printf("step=%" PRIu64 " loss=%.9g seconds=%.3f\n", step, (double)loss,
		       (double)(peer_now_ms() - begin) / 1000);
		r = checkpoint_save(train, step + 1);
		(void)fflush(stdout);
		if (r == 0 && options->pace_ms)
			r = pace(train, begin + options->pace_ms);
		if (r < 0)
			return r;
	}
	end.digest = checkpoint_digest(model_weights(train->model), train->count);
	if (train->meet)
		r = meet_done(train->meet, &end);
	if (r == 0)
		printf("done step=%" PRIu64 " digest=%016" PRIx64 "\n", end.step, end.digest);
	(void)fflush(stdout);
	return r;
}

int train_run(const struct train_options *options, const struct train_rails *rails)
{
	struct train train = { .options = options, .rails = rails };
	struct checkpoint from = { .step = 0 };
	struct hello hello = { .rank = 0 };
	int r;

	r = train_prepare(&train);
	if (r == 0)
		r = checkpoints_find(&train, &hello.have);
	if (r == 0 && options->world > 1)
		r = others_meet(&train, &hello, &from);
	else if (r == 0 && hello.have.n > 0)
		from = hello.have.item[0];
	if (r == 0)
		r = checkpoint_load(&train, &from);
	if (r == 0 && train.meet)
		r = meet_ready(train.meet);
	if (r == 0) {
		printf("start step=%" PRIu64 " world=%u rails=%u weights=%zu\n", from.step, options->world,
		       options->world > 1 ? rails->n : 0, train.count);
		(void)fflush(stdout);
		r = train_steps(&train, from.step);
	}
	train_done(&train);
	return r;
}
