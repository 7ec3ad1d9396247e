// SPDX-License-Identifier: Apache-2.0
#include "prefer.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "sysfs/pci.h"

/* Steps that may be spent on many devices, so that an answer takes well under a millisecond. */
#define GREEDY_STEPS 50000
#define SEARCH_STEPS 60000

/* How good a choice is: smaller is better, field by field. None shrinks when a device is added. */
struct score {
	unsigned long long switches;
	unsigned long long distance;
	unsigned long long not_ready;
	unsigned long long broken; /* by how much the sum of squares of what is left shrinks */
	unsigned long long alone;  /* without a NIC */
};

struct chooser {
	const struct prefer_device *devices;
	size_t n, size;
	size_t *order; /* position -> index of the device; musts first, then by id */
	size_t n_must;
	size_t *group; /* switch of a position */
	size_t n_groups;
	size_t biggest;	    /* group */
	uint16_t *distance; /* n * n, by position */
	unsigned nearest;   /* smallest distance of two */
	size_t *taken;	    /* of a group */
	size_t *total;	    /* of a group */
	size_t *ahead;	    /* of a group: members behind the position the search is at */
	size_t *pick;	    /* positions, ascending */
	size_t *best;	    /* the same */
	struct score best_score;
	bool is_guess; /* best is from the greedy choice: an equal one found in order stands before it */
	unsigned long long left; /* steps */
};

static int order_compare(const void *a, const void *b, void *data)
{
	const struct prefer_device *devices = data;
	const struct prefer_device *x = &devices[*(const size_t *)a], *y = &devices[*(const size_t *)b];

	if (x->must != y->must)
		return x->must ? -1 : 1;
	return strcmp(x->id, y->id);
}

static bool is_ready(const struct chooser *c, size_t position)
{
	return c->devices[c->order[position]].is_ready;
}

static bool is_alone(const struct chooser *c, size_t position)
{
	return !c->devices[c->order[position]].has_nic;
}

static unsigned distance_of(const struct chooser *c, size_t a, size_t b)
{
	return c->distance[a * c->n + b];
}

static int chooser_measure(struct chooser *c)
{
	_cleanup_free_ struct pci_place *places = calloc(c->n + 1, sizeof(*places));
	_cleanup_free_ const char **paths = calloc(c->n + 1, sizeof(*paths));
	_cleanup_free_ int *numa_nodes = calloc(c->n + 1, sizeof(*numa_nodes));
	int r;

	if (!places || !paths || !numa_nodes)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		paths[i] = c->devices[c->order[i]].path;
		numa_nodes[i] = c->devices[c->order[i]].numa_node;
	}
	r = pci_places(paths, numa_nodes, c->n, places);
	if (r < 0)
		return r;
	c->nearest = UINT16_MAX;
	for (size_t i = 0; i < c->n; i++) {
		c->n_must += c->devices[c->order[i]].must;
		c->group[i] = c->n_groups;
		for (size_t j = 0; j < i; j++) {
			unsigned distance = pci_place_distance(&places[i], &places[j]);

			c->distance[i * c->n + j] = c->distance[j * c->n + i] = (uint16_t)distance;
			c->nearest = distance < c->nearest ? distance : c->nearest;
			if (places[i].group >= 0 && places[i].group == places[j].group)
				c->group[i] = c->group[j];
		}
		if (++c->total[c->group[i]] > c->biggest)
			c->biggest = c->total[c->group[i]];
		c->n_groups += c->group[i] == c->n_groups;
	}
	return 0;
}

static int score_compare(const struct score *a, const struct score *b)
{
	if (a->switches != b->switches)
		return a->switches < b->switches ? -1 : 1;
	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	if (a->not_ready != b->not_ready)
		return a->not_ready < b->not_ready ? -1 : 1;
	if (a->broken != b->broken)
		return a->broken < b->broken ? -1 : 1;
	return a->alone < b->alone ? -1 : a->alone > b->alone;
}

/* The score with one more position; the n before it are in c->pick. */
static struct score score_add(const struct chooser *c, struct score score, size_t n, size_t position)
{
	size_t group = c->group[position];

	score.switches += c->taken[group] == 0;
	score.not_ready += !is_ready(c, position);
	score.alone += is_alone(c, position);
	/* left squared minus (left - 1) squared */
	score.broken += 2 * (c->total[group] - c->taken[group]) - 1;
	for (size_t i = 0; i < n; i++)
		score.distance += distance_of(c, c->pick[i], position);
	return score;
}

/* --- searching all choices ------------------------------------------------------ */

/* The smallest sum of distances from what is chosen to so many positions at or behind one. */
static unsigned long long least_reach(const struct chooser *c, size_t n, size_t position, size_t missing)
{
	uint32_t least[PREFER_EXACT_MAX];
	unsigned long long sum = 0;
	size_t found = 0;

	for (size_t i = position; i < c->n; i++) {
		uint32_t reach = 0;
		size_t at;

		for (size_t k = 0; k < n; k++)
			reach += distance_of(c, c->pick[k], i);
		if (found == missing && reach >= least[found - 1])
			continue;
		if (found < missing)
			found++;
		for (at = found - 1; at > 0 && least[at - 1] > reach; at--)
			least[at] = least[at - 1];
		least[at] = reach;
	}
	for (size_t i = 0; i < found; i++)
		sum += least[i];
	return sum;
}

/* What no choice that goes on from here can be better than: n are chosen, the next is at or behind position. */
static struct score score_bound(const struct chooser *c, struct score score, size_t n, size_t position)
{
	size_t missing = c->size - n, room = 0;

	for (size_t g = 0; g < c->n_groups; g++)
		room += c->taken[g] ? c->ahead[g] : 0;
	if (missing > room)
		score.switches += (missing - room + c->biggest - 1) / c->biggest;
	score.distance += (unsigned long long)c->nearest * (missing * (missing - 1) / 2);
	if (c->n <= PREFER_EXACT_MAX)
		score.distance += least_reach(c, n, position, missing);
	else
		score.distance += (unsigned long long)c->nearest * missing * n;
	score.broken += missing;
	return score;
}

static void search(struct chooser *c, size_t n, size_t position, struct score score)
{
	struct score bound;
	int r;

	if (n == c->size) {
		r = score_compare(&score, &c->best_score);
		if (r < 0 || (r == 0 && c->is_guess)) {
			memcpy(c->best, c->pick, c->size * sizeof(*c->best));
			c->best_score = score;
			c->is_guess = false;
		}
		return;
	}
	if (c->n - position < c->size - n || c->left < c->n_groups + n + 1)
		return;
	c->left -= c->n_groups + n + 1;
	bound = score_bound(c, score, n, position);
	r = score_compare(&bound, &c->best_score);
	if (r > 0 || (r == 0 && !c->is_guess))
		return;
	c->ahead[c->group[position]]--;
	c->pick[n] = position;
	bound = score_add(c, score, n, position);
	c->taken[c->group[position]]++;
	search(c, n + 1, position + 1, bound);
	c->taken[c->group[position]]--;
	if (position >= c->n_must)
		search(c, n, position + 1, score);
	c->ahead[c->group[position]]++;
}

static void search_all(struct chooser *c)
{
	c->left = c->n <= PREFER_EXACT_MAX ? ULLONG_MAX : SEARCH_STEPS;
	memset(c->taken, 0, c->n_groups * sizeof(*c->taken));
	memcpy(c->ahead, c->total, c->n_groups * sizeof(*c->ahead));
	search(c, 0, 0, (struct score){});
}

/* --- a good choice to begin with ------------------------------------------------- */

static int position_compare(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

static void take_if_better(struct chooser *c)
{
	struct score score = {};
	int r;

	qsort(c->pick, c->size, sizeof(*c->pick), position_compare);
	memset(c->taken, 0, c->n_groups * sizeof(*c->taken));
	for (size_t i = 0; i < c->size; i++) {
		score = score_add(c, score, i, c->pick[i]);
		c->taken[c->group[c->pick[i]]]++;
	}
	r = c->is_guess ? score_compare(&score, &c->best_score) : -1;
	for (size_t i = 0; r == 0 && i < c->size; i++)
		if (c->pick[i] != c->best[i])
			r = c->pick[i] < c->best[i] ? -1 : 1;
	if (r >= 0)
		return;
	memcpy(c->best, c->pick, c->size * sizeof(*c->best));
	c->best_score = score;
	c->is_guess = true;
}

/* What adding a position costs, in the order of the score's fields, as one number. */
static uint64_t cost_of(const struct chooser *c, size_t position, uint32_t added)
{
	size_t group = c->group[position];

	return (uint64_t)(c->taken[group] == 0) << 60 | (uint64_t)added << 30 |
	       (uint64_t)!is_ready(c, position) << 29 | (uint64_t)(c->total[group] - c->taken[group]) << 15 |
	       (uint64_t)is_alone(c, position) << 14 | position;
}

/* Grows a choice from the musts and, if there are none, from seed. added: sums of distances to the chosen. */
static void choose_greedy(struct chooser *c, size_t seed, uint32_t *added, bool *in)
{
	memset(added, 0, c->n * sizeof(*added));
	memset(in, 0, c->n * sizeof(*in));
	memset(c->taken, 0, c->n_groups * sizeof(*c->taken));
	for (size_t n = 0; n < c->size; n++) {
		size_t next = n < c->n_must ? n : seed;
		uint64_t least = UINT64_MAX;

		for (size_t i = 0; n >= c->n_must && n > 0 && i < c->n; i++) {
			uint64_t cost = in[i] ? UINT64_MAX : cost_of(c, i, added[i]);

			if (cost < least) {
				least = cost;
				next = i;
			}
		}
		in[next] = true;
		c->pick[n] = next;
		c->taken[c->group[next]]++;
		for (size_t i = 0; i < c->n; i++)
			added[i] += c->distance[next * c->n + i];
	}
	take_if_better(c);
}

static int choose_well(struct chooser *c)
{
	_cleanup_free_ uint32_t *added = calloc(c->n, sizeof(*added));
	_cleanup_free_ bool *in = calloc(c->n, sizeof(*in)), *seen = calloc(c->n, sizeof(*seen));
	size_t runs = GREEDY_STEPS / (c->n * c->size) + 1, stride = (c->n_groups + runs - 1) / runs;

	if (!added || !in || !seen)
		return -ENOMEM;
	/* One beginning per switch is enough, as its members are alike. */
	for (size_t i = 0; i < c->n; i++) {
		if (seen[c->group[i]])
			continue;
		seen[c->group[i]] = true;
		if (c->group[i] % stride == 0)
			choose_greedy(c, i, added, in);
		if (c->n_must > 0)
			break;
	}
	return 0;
}

/* --- both ------------------------------------------------------------------------- */

static int chooser_run(struct chooser *c)
{
	int r = chooser_measure(c);

	if (r < 0)
		return r;
	if (c->n_must >= c->size || c->n == c->size) {
		for (size_t i = 0; i < c->size; i++)
			c->best[i] = i;
		return 0;
	}
	r = choose_well(c);
	if (r < 0)
		return r;
	search_all(c);
	return 0;
}

static int index_compare(const void *a, const void *b, void *data)
{
	const struct prefer_device *devices = data;

	return strcmp(devices[*(const size_t *)a].id, devices[*(const size_t *)b].id);
}

int prefer_choose(const struct prefer_device *devices, size_t n, size_t size, size_t *chosen)
{
	size_t m = n < PREFER_MAX ? n : PREFER_MAX, k = size < m ? size : m;
	_cleanup_free_ size_t *numbers = calloc(6 * m + 1, sizeof(*numbers));
	_cleanup_free_ size_t *order = calloc(n + 1, sizeof(*order));
	_cleanup_free_ uint16_t *distance = calloc(m * m + 1, sizeof(*distance));
	struct chooser c = { .devices = devices, .n = m, .size = k, .distance = distance, .order = order };
	int r;

	if (k == 0)
		return 0;
	if (!numbers || !order || !distance)
		return -ENOMEM;
	c.group = numbers;
	c.taken = numbers + m;
	c.total = numbers + 2 * m;
	c.ahead = numbers + 3 * m;
	c.pick = numbers + 4 * m;
	c.best = numbers + 5 * m;
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
