// SPDX-License-Identifier: Apache-2.0
#include "prefer.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "sysfs/pci.h"

/* C(16, 8) is 12870: up to 16 devices every choice is looked at. */
#define WAYS_MAX 20000

struct chooser {
	const struct prefer_device *devices;
	size_t n, size;
	size_t *order; /* position -> index of the device; musts first, then by id */
	size_t n_must;
	size_t *group; /* switch of a position */
	size_t n_groups;
	unsigned *distance;  /* n * n, by position */
	size_t *taken;	     /* of a group, scratch */
	size_t *total;	     /* of a group */
	size_t *pick, *best; /* positions, ascending */
	struct prefer_score best_score;
	bool has_best;
};

static int order_compare(const void *a, const void *b, void *data)
{
	const struct prefer_device *devices = data;
	const struct prefer_device *x = &devices[*(const size_t *)a], *y = &devices[*(const size_t *)b];

	if (x->must != y->must)
		return x->must ? -1 : 1;
	return strcmp(x->id, y->id);
}

static bool same_switch(const struct prefer_device *a, const struct prefer_device *b)
{
	size_t len = pci_switch_len(a->path);

	return *a->path && len == pci_switch_len(b->path) && strncmp(a->path, b->path, len) == 0;
}

static const struct prefer_device *device_at(const struct chooser *c, size_t position)
{
	return &c->devices[c->order[position]];
}

static void chooser_measure(struct chooser *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct prefer_device *a = device_at(c, i);

		c->n_must += a->must;
		c->group[i] = c->n_groups;
		for (size_t j = 0; j < i; j++) {
			const struct prefer_device *b = device_at(c, j);
			unsigned distance = pci_distance(a->path, a->numa_node, b->path, b->numa_node);

			c->distance[i * c->n + j] = c->distance[j * c->n + i] = distance;
			if (c->group[i] == c->n_groups && same_switch(a, b))
				c->group[i] = c->group[j];
		}
		c->total[c->group[i]]++;
		c->n_groups += c->group[i] == c->n_groups;
	}
}

static struct prefer_score score_of(struct chooser *c, const size_t *pick)
{
	struct prefer_score score = { .broken = (unsigned long long)c->n * c->n };

	memset(c->taken, 0, c->n_groups * sizeof(*c->taken));
	for (size_t i = 0; i < c->size; i++) {
		score.switches += c->taken[c->group[pick[i]]]++ == 0;
		score.not_ready += !device_at(c, pick[i])->is_ready;
		for (size_t j = 0; j < i; j++)
			score.distance += c->distance[pick[i] * c->n + pick[j]];
	}
	for (size_t g = 0; g < c->n_groups; g++)
		score.broken -= (unsigned long long)(c->total[g] - c->taken[g]) * (c->total[g] - c->taken[g]);
	return score;
}

static int score_compare(const struct prefer_score *a, const struct prefer_score *b)
{
	if (a->switches != b->switches)
		return a->switches < b->switches ? -1 : 1;
	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	if (a->not_ready != b->not_ready)
		return a->not_ready < b->not_ready ? -1 : 1;
	return a->broken < b->broken ? -1 : a->broken > b->broken;
}

/* Ties: the choice that comes first in ascending positions. */
static void consider(struct chooser *c)
{
	struct prefer_score score = score_of(c, c->pick);
	int r = c->has_best ? score_compare(&score, &c->best_score) : -1;

	for (size_t i = 0; r == 0 && i < c->size; i++)
		if (c->pick[i] != c->best[i])
			r = c->pick[i] < c->best[i] ? -1 : 1;
	if (r >= 0 && c->has_best)
		return;
	memcpy(c->best, c->pick, c->size * sizeof(*c->best));
	c->best_score = score;
	c->has_best = true;
}

/* Number of ways to choose k of n, WAYS_MAX + 1 when there are more than WAYS_MAX. */
static size_t count_ways(size_t n, size_t k)
{
	size_t ways = 1;

	k = k < n - k ? k : n - k;
	for (size_t i = 1; i <= k; i++) {
		ways = ways * (n - k + i) / i;
		if (ways > WAYS_MAX)
			return WAYS_MAX + 1;
	}
	return ways;
}

/* Every choice that begins with the musts, in ascending order. */
static void choose_exact(struct chooser *c)
{
	size_t i;

	for (i = 0; i < c->size; i++)
		c->pick[i] = i;
	for (;;) {
		consider(c);
		for (i = c->size; i > c->n_must && c->pick[i - 1] == c->n - c->size + i - 1; i--)
			;
		if (i <= c->n_must)
			return;
		c->pick[i - 1]++;
		for (; i < c->size; i++)
			c->pick[i] = c->pick[i - 1] + 1;
	}
}

/* What adding a position costs, in the order of the score's fields; added[] holds distance sums. */
static bool adds_less(const struct chooser *c, const unsigned long long *added, size_t a, size_t b)
{
	bool new_a = c->taken[c->group[a]] == 0, new_b = c->taken[c->group[b]] == 0;
	size_t left_a = c->total[c->group[a]] - c->taken[c->group[a]];
	size_t left_b = c->total[c->group[b]] - c->taken[c->group[b]];

	if (new_a != new_b)
		return new_b;
	if (added[a] != added[b])
		return added[a] < added[b];
	if (device_at(c, a)->is_ready != device_at(c, b)->is_ready)
		return device_at(c, a)->is_ready;
	if (left_a != left_b)
		return left_a < left_b;
	return a < b;
}

static int position_compare(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* Grows a choice from the musts and, if there are none, from seed. */
static void choose_greedy(struct chooser *c, size_t seed, unsigned long long *added, bool *in)
{
	size_t n = 0;

	memset(added, 0, c->n * sizeof(*added));
	memset(in, 0, c->n * sizeof(*in));
	memset(c->taken, 0, c->n_groups * sizeof(*c->taken));
	while (n < c->size) {
		size_t next = SIZE_MAX;

		if (n < c->n_must)
			next = n;
		else if (n == 0)
			next = seed;
		for (size_t i = 0; n >= c->n_must && n > 0 && i < c->n; i++)
			if (!in[i] && (next == SIZE_MAX || adds_less(c, added, i, next)))
				next = i;
		in[next] = true;
		c->pick[n++] = next;
		c->taken[c->group[next]]++;
		for (size_t i = 0; i < c->n; i++)
			added[i] += c->distance[next * c->n + i];
	}
	qsort(c->pick, c->size, sizeof(*c->pick), position_compare);
	consider(c);
}

static int chooser_run(struct chooser *c)
{
	_cleanup_free_ unsigned long long *added = NULL;
	_cleanup_free_ bool *in = NULL;

	chooser_measure(c);
	if (c->n_must >= c->size) {
		for (size_t i = 0; i < c->size; i++)
			c->best[i] = i;
		return 0;
	}
	if (count_ways(c->n - c->n_must, c->size - c->n_must) <= WAYS_MAX) {
		choose_exact(c);
		return 0;
	}
	added = calloc(c->n, sizeof(*added));
	in = calloc(c->n, sizeof(*in));
	if (!added || !in)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		bool first = true;

		/* One beginning per switch is enough: its members are alike. */
		for (size_t j = 0; j < i; j++)
			first = first && c->group[j] != c->group[i];
		if (first)
			choose_greedy(c, i, added, in);
		if (c->n_must > 0)
			break;
	}
	return 0;
}

static int index_compare(const void *a, const void *b, void *data)
{
	const struct prefer_device *devices = data;

	return strcmp(devices[*(const size_t *)a].id, devices[*(const size_t *)b].id);
}

int prefer_choose(const struct prefer_device *devices, size_t n, size_t size, size_t *chosen)
{
	size_t k = size < n ? size : n;
	_cleanup_free_ size_t *numbers = calloc(6 * n + 1, sizeof(*numbers));
	_cleanup_free_ unsigned *distance = calloc(n * n + 1, sizeof(*distance));
	struct chooser c = { .devices = devices, .n = n, .size = k, .distance = distance };
	int r;

	if (k == 0)
		return 0;
	if (!numbers || !distance)
		return -ENOMEM;
	c.order = numbers;
	c.group = numbers + n;
	c.taken = numbers + 2 * n;
	c.total = numbers + 3 * n;
	c.pick = numbers + 4 * n;
	c.best = numbers + 5 * n;
	for (size_t i = 0; i < n; i++)
		c.order[i] = i;
	qsort_r(c.order, n, sizeof(*c.order), order_compare, (void *)devices);
	r = chooser_run(&c);
	if (r < 0)
		return r;
	for (size_t i = 0; i < k; i++)
		chosen[i] = c.order[c.best[i]];
	qsort_r(chosen, k, sizeof(*chosen), index_compare, (void *)devices);
	return (int)k;
}
