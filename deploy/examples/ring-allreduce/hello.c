// SPDX-License-Identifier: Apache-2.0
#include "hello.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GREETING "ring-allreduce-1"

static const struct {
	const char *word, *text;
} refusals[HELLO_REFUSALS] = {
	[HELLO_GARBAGE] = { "garbage",
			    "it did not understand us: is it another version of ring-allreduce, or "
			    "another program?" },
	[HELLO_JOB] = { "other-job", "it is of another job: --job differs" },
	[HELLO_WORLD] = { "world", "it counts another number of ranks: --world or --peers differ" },
	[HELLO_RANK] = { "rank", "our rank is none that it waits for: check --rank or JOB_COMPLETION_INDEX" },
	[HELLO_RAILS] = { "rails", "it has another number of Gaudis: every pod must ask for as many" },
	[HELLO_CONFIG] = { "options",
			   "it trains something else: seed, batch, hidden, rate, steps or checkpoint differ" },
	[HELLO_TAKEN] = { "taken", "our rank is there already" },
	[HELLO_SLOW] = { "slow", "we took too long to introduce ourselves" },
	[HELLO_DIFFERENT] = { "different", "our weights are not the same as its own" },
};

const char *hello_refusal_word(enum hello_refusal refusal)
{
	return refusals[refusal].word;
}

const char *hello_refusal_text(enum hello_refusal refusal)
{
	return refusals[refusal].text;
}

int hello_refusal_parse(const char *word, enum hello_refusal *ret)
{
	for (unsigned i = 0; word && i < HELLO_REFUSALS; i++) {
		if (strcmp(refusals[i].word, word) == 0) {
			*ret = (enum hello_refusal)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* --- out --------------------------------------------------------------------- */

struct text {
	char *at;
	size_t len;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* HELLO_TEXT_SIZE is enough for all lines there can be; were it not, the rest would be missed. */
static void add(struct text *text, const char *format, ...)
{
	size_t room = HELLO_TEXT_SIZE - text->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at + text->len, room, format, args);
	va_end(args);
	if (n > 0)
		text->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void add_in(struct text *text, const char *verb, unsigned i, const struct hello_rail *rail)
{
	char address[RC_ADDRESS_TEXT];

	rc_address_format(&rail->in, address);
	add(text, "%s rail=%u %s rkey=0x%x addr=0x%" PRIx64 " size=%" PRIu64 "\n", verb, i, address,
	    rail->rkey, rail->address, rail->size);
}

static void add_out(struct text *text, const char *verb, unsigned i, const struct hello_rail *rail)
{
	char address[RC_ADDRESS_TEXT];

	rc_address_format(&rail->out, address);
	add(text, "%s rail=%u %s\n", verb, i, address);
}

size_t hello_format(const struct hello *hello, char bytes[HELLO_TEXT_SIZE])
{
	struct text text = { .at = bytes };

	add(&text, GREETING " job=%s rank=%u world=%u rails=%u config=0x%" PRIx64 "\n", hello->job,
	    hello->rank, hello->world, hello->rails, hello->config);
	for (unsigned i = 0; i < hello->rails; i++) {
		add_in(&text, "in", i, &hello->rail[i]);
		add_out(&text, "out", i, &hello->rail[i]);
	}
	for (size_t i = 0; i < hello->have.n; i++)
		add(&text, "have step=%" PRIu64 " digest=0x%" PRIx64 "\n", hello->have.item[i].step,
		    hello->have.item[i].digest);
	add(&text, "end\n");
	return text.len;
}

size_t hello_plan_format(const struct hello_plan *plan, unsigned rails, char bytes[HELLO_TEXT_SIZE])
{
	struct text text = { .at = bytes };

	add(&text, "plan run=0x%" PRIx64 " step=%" PRIu64 " digest=0x%" PRIx64 "\n", plan->run,
	    plan->from.step, plan->from.digest);
	for (unsigned i = 0; i < rails; i++) {
		add_out(&text, "left", i, &plan->left[i]);
		add_in(&text, "right", i, &plan->right[i]);
	}
	add(&text, "end\n");
	return text.len;
}

/* --- in ---------------------------------------------------------------------- */

static bool job_is_plain(const char *job)
{
	size_t len = job ? strlen(job) : 0;

	if (len == 0 || len >= HELLO_JOB_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)job[i]) && !strchr("-_.", job[i]))
			return false;
	return true;
}

static int begin_take(struct hello *hello, const struct words *w)
{
	const char *job = words_get(w, "job");
	uint64_t rank, world, rails;

	if (hello->begun || !job_is_plain(job) || words_u64(w, "rank", 0, RING_WORLD_MAX - 1, &rank) < 0 ||
	    words_u64(w, "world", 1, RING_WORLD_MAX, &world) < 0 ||
	    words_u64(w, "rails", 0, HELLO_RAILS_MAX, &rails) < 0 ||
	    words_u64(w, "config", 0, UINT64_MAX, &hello->config) < 0)
		return -EINVAL;
	memcpy(hello->job, job, strlen(job) + 1);
	hello->rank = (unsigned)rank;
	hello->world = (unsigned)world;
	hello->rails = (unsigned)rails;
	hello->begun = true;
	return 0;
}

/* The address of one rail's connection, each rail once. */
static int rail_take(const struct words *w, unsigned rails, uint32_t *seen, unsigned *ret_i,
		     struct rc_address *ret)
{
	uint64_t i;

	if (words_u64(w, "rail", 0, HELLO_RAILS_MAX - 1, &i) < 0 || i >= rails || (*seen & 1U << i) ||
	    rc_address_parse(w, ret) < 0)
		return -EINVAL;
	*seen |= 1U << i;
	*ret_i = (unsigned)i;
	return 0;
}

static int in_take(const struct words *w, unsigned rails, uint32_t *seen, struct hello_rail *rail)
{
	struct hello_rail got = { .rkey = 0 };
	uint64_t rkey;
	unsigned i;

	if (words_u64(w, "rkey", 0, UINT32_MAX, &rkey) < 0 ||
	    words_u64(w, "addr", 0, UINT64_MAX, &got.address) < 0 ||
	    words_u64(w, "size", 1, UINT64_MAX - got.address, &got.size) < 0 ||
	    rail_take(w, rails, seen, &i, &got.in) < 0)
		return -EINVAL;
	rail[i].in = got.in;
	rail[i].address = got.address;
	rail[i].size = got.size;
	rail[i].rkey = (uint32_t)rkey;
	return 0;
}

static int out_take(const struct words *w, unsigned rails, uint32_t *seen, struct hello_rail *rail)
{
	struct rc_address address;
	unsigned i;

	if (rail_take(w, rails, seen, &i, &address) < 0)
		return -EINVAL;
	rail[i].out = address;
	return 0;
}

static int have_take(struct checkpoint_set *set, const struct words *w)
{
	struct checkpoint item;

	if (set->n == CHECKPOINT_OFFER || words_u64(w, "step", 1, UINT64_MAX, &item.step) < 0 ||
	    words_u64(w, "digest", 0, UINT64_MAX, &item.digest) < 0)
		return -EINVAL;
	/* Newest first, each once. */
	if (set->n > 0 && item.step >= set->item[set->n - 1].step)
		return -EINVAL;
	set->item[set->n++] = item;
	return 0;
}

static uint32_t all_of(unsigned rails)
{
	return (UINT32_C(1) << rails) - 1;
}

int hello_take(struct hello *hello, const char *line)
{
	struct words w;

	if (words_parse(&w, line, strlen(line)) < 0)
		return -EINVAL;
	if (strcmp(w.verb, GREETING) == 0)
		return begin_take(hello, &w);
	if (!hello->begun)
		return -EINVAL;
	if (strcmp(w.verb, "in") == 0)
		return in_take(&w, hello->rails, &hello->ins, hello->rail);
	if (strcmp(w.verb, "out") == 0)
		return out_take(&w, hello->rails, &hello->outs, hello->rail);
	if (strcmp(w.verb, "have") == 0)
		return have_take(&hello->have, &w);
	if (strcmp(w.verb, "end") == 0)
		return hello->ins == all_of(hello->rails) && hello->outs == all_of(hello->rails) ? 1
												 : -EINVAL;
	return -EINVAL;
}

int hello_plan_take(struct hello_plan *plan, unsigned rails, const char *line)
{
	struct words w;

	if (words_parse(&w, line, strlen(line)) < 0)
		return -EINVAL;
	if (strcmp(w.verb, "plan") == 0) {
		if (plan->begun || words_u64(&w, "run", 0, UINT64_MAX, &plan->run) < 0 ||
		    words_u64(&w, "step", 0, UINT64_MAX, &plan->from.step) < 0 ||
		    words_u64(&w, "digest", 0, UINT64_MAX, &plan->from.digest) < 0)
			return -EINVAL;
		plan->begun = true;
		return 0;
	}
	if (!plan->begun)
		return -EINVAL;
	if (strcmp(w.verb, "left") == 0)
		return out_take(&w, rails, &plan->lefts, plan->left);
	if (strcmp(w.verb, "right") == 0)
		return in_take(&w, rails, &plan->rights, plan->right);
	if (strcmp(w.verb, "end") == 0)
		return plan->lefts == all_of(rails) && plan->rights == all_of(rails) ? 1 : -EINVAL;
	return -EINVAL;
}

bool hello_is_welcome(const struct hello *own, const struct hello *other, enum hello_refusal *ret_refusal)
{
	if (strcmp(own->job, other->job) != 0)
		*ret_refusal = HELLO_JOB;
	else if (own->world != other->world)
		*ret_refusal = HELLO_WORLD;
	else if (other->rank >= own->world || other->rank == own->rank)
		*ret_refusal = HELLO_RANK;
	else if (own->config != other->config)
		*ret_refusal = HELLO_CONFIG;
	else if (own->rails != other->rails)
		*ret_refusal = HELLO_RAILS;
	else
		return true;
	return false;
}
