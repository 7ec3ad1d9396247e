// SPDX-License-Identifier: Apache-2.0
#include "pairing.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "pci.h"

/* What decides between equal distances, each above every sum of what follows, of PAIRS_MAX pairs. */
#define DISTANCE_UNIT (1LL << 34)
#define RANK_UNIT (1LL << 18) /* virtual functions before it on the same physical one */
#define RANK_MAX 63
#define ORDER_MAX 255 /* how far the orders of the addresses differ */

/* State of the Hungarian method; index 0 of rows and columns stands for "none". */
struct assignment {
	size_t n, m;
	const long long *cost;
	long long *u, *v;  /* potentials of rows and columns */
	long long *min;	   /* smallest reduced cost seen of a column */
	size_t *row, *way; /* row matched to a column; column before it on the path */
	bool *used;
};

/* One step along the cheapest reduced edge from column j0; returns the column reached. */
static size_t assignment_step(struct assignment *a, size_t j0)
{
	long long delta = LLONG_MAX;
	size_t i0 = a->row[j0], j1 = 0;

	a->used[j0] = true;
	for (size_t j = 1; j <= a->m; j++) {
		long long reduced;

		if (a->used[j])
			continue;
		reduced = a->cost[(i0 - 1) * a->m + j - 1] - a->u[i0] - a->v[j];
		if (reduced < a->min[j]) {
			a->min[j] = reduced;
			a->way[j] = j0;
		}
		if (a->min[j] < delta) {
			delta = a->min[j];
			j1 = j;
		}
	}
	for (size_t j = 0; j <= a->m; j++) {
		if (a->used[j]) {
			a->u[a->row[j]] += delta;
			a->v[j] -= delta;
		} else {
			a->min[j] -= delta;
		}
	}
	return j1;
}

static void assignment_run(struct assignment *a)
{
	for (size_t i = 1; i <= a->n; i++) {
		size_t j = 0;

		a->row[0] = i;
		for (size_t k = 0; k <= a->m; k++) {
			a->min[k] = LLONG_MAX / 2;
			a->used[k] = false;
		}
		do {
			j = assignment_step(a, j);
		} while (a->row[j] != 0);
		do {
			size_t before = a->way[j];

			a->row[j] = a->row[before];
			j = before;
		} while (j != 0);
	}
}

int pairing_assign(size_t n_rows, size_t n_columns, const long long *cost, size_t *column)
{
	_cleanup_free_ long long *u = calloc(n_rows + 1, sizeof(*u));
	_cleanup_free_ long long *v = calloc(n_columns + 1, sizeof(*v));
	_cleanup_free_ long long *min = calloc(n_columns + 1, sizeof(*min));
	_cleanup_free_ size_t *row = calloc(n_columns + 1, sizeof(*row));
	_cleanup_free_ size_t *way = calloc(n_columns + 1, sizeof(*way));
	_cleanup_free_ bool *used = calloc(n_columns + 1, sizeof(*used));
	struct assignment a = {
		.n = n_rows,
		.m = n_columns,
		.cost = cost,
		.u = u,
		.v = v,
		.min = min,
		.row = row,
		.way = way,
		.used = used,
	};

	if (!u || !v || !min || !row || !way || !used)
		return -ENOMEM;
	assignment_run(&a);
	for (size_t j = 1; j <= n_columns; j++)
		if (row[j] > 0)
			column[row[j] - 1] = j - 1;
	return 0;
}

bool pairing_nic_is_excluded(const struct pairing_options *options, const struct inventory *inv,
			     const struct pairs_nic *nic)
{
	const struct nic *found = inventory_find_nic(inv, nic->pci);

	if (found && found->has_vfs)
		return true;
	for (size_t i = 0; i < options->n_exclude; i++)
		if (fnmatch(options->exclude[i], nic->pci, 0) == 0 ||
		    fnmatch(options->exclude[i], nic->rdma, 0) == 0 ||
		    (nic->netdev[0] && fnmatch(options->exclude[i], nic->netdev, 0) == 0))
			return true;
	return false;
}

bool pairing_nic_is_present(const struct inventory *inv, const struct pairs_nic *nic, struct pairs_nic *now)
{
	const struct nic *found = inventory_find_nic(inv, nic->pci);
	const struct hidden_uverbs *hidden = NULL;
	struct pairs_nic known = *nic;

	if (found && found->is_visible) {
		known = found->name;
		/* The interface may be in a pod while the RDMA device is not, halfway through a move. */
		if (!known.netdev[0])
			strcpy(known.netdev, nic->netdev);
		if (!known.node_guid[0])
			strcpy(known.node_guid, nic->node_guid);
	} else if (found) {
		/* Inside a pod it may have another name; its host name is the one that comes back. */
		strcpy(known.uverbs, found->name.uverbs);
	} else {
		for (size_t i = 0; i < inv->n_hidden; i++) {
			const struct hidden_uverbs *h = &inv->hidden[i];

			if (strcmp(h->rdma, nic->rdma) == 0 &&
			    (!hidden || strcmp(h->uverbs, nic->uverbs) == 0))
				hidden = h;
		}
		if (!hidden)
			return false;
		strcpy(known.uverbs, hidden->uverbs);
	}
	if (now)
		*now = known;
	return true;
}

bool pairing_nic_is_free(const struct pairs *p, const struct pairs_nic *nic)
{
	return !pairs_find_nic(p, nic->pci) && !pairs_find_rdma(p, nic->rdma);
}

static bool is_held(const struct pairing_options *options, const char *id)
{
	return options->is_held && options->is_held(id, options->data);
}

/* Takes over the old pairs that stand. */
static int keep_pairs(const struct inventory *inv, const struct pairing_options *options, struct pairs *p)
{
	bool pairing = strcmp(options->mode, "paired") == 0;

	for (size_t i = 0; options->old && i < options->old->n; i++) {
		const struct pairs_pair *pair = &options->old->pair[i];
		bool held = is_held(options, pair->gaudi), stands;
		struct pairs_nic nic = pair->nic;
		int r = 0;

		stands = pairing && pair->has_nic && inventory_find_gaudi(inv, pair->gaudi) &&
			 pairing_nic_is_present(inv, &pair->nic, &nic) &&
			 !pairing_nic_is_excluded(options, inv, &nic);
		if (held && pair->has_nic)
			(void)pairing_nic_is_present(inv, &pair->nic, &nic);
		if (held || stands)
			r = pairs_add(p, pair->gaudi, pair->has_nic ? &nic : NULL);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

struct candidates {
	const struct gaudi **gaudi;
	const struct nic **nic;
	size_t n_gaudi, n_nic;
};

static void find_candidates(const struct inventory *inv, const struct pairing_options *options,
			    const struct pairs *p, struct candidates *c)
{
	bool pairing = strcmp(options->mode, "paired") == 0;

	for (size_t i = 0; i < inv->n_gaudi; i++)
		if (!pairs_find(p, inv->gaudi[i]->id))
			c->gaudi[c->n_gaudi++] = inv->gaudi[i];
	for (size_t i = 0; pairing && i < inv->n_nic; i++) {
		const struct nic *nic = inv->nic[i];

		/* Inside a pod and in no pair of ours: somebody else gave it out. */
		if (nic->is_visible && pairing_nic_is_free(p, &nic->name) &&
		    !pairing_nic_is_excluded(options, inv, &nic->name))
			c->nic[c->n_nic++] = nic;
	}
}

static long long at_most(size_t value, long long max)
{
	return (long long)value < max ? (long long)value : max;
}

/* How many virtual functions of the same physical one stand before it, handed out or not. */
static size_t rank_of(const struct inventory *inv, const struct nic *nic)
{
	size_t rank = 0;

	for (size_t i = 0; nic->physfn[0] && inv->nic[i] != nic; i++)
		rank += strcmp(inv->nic[i]->physfn, nic->physfn) == 0;
	return rank;
}

/* partner[i] is the index of the NIC of Gaudi i, or SIZE_MAX. */
static int match(const struct inventory *inv, const struct candidates *c, size_t *partner)
{
	bool turned = c->n_gaudi > c->n_nic;
	size_t n = turned ? c->n_nic : c->n_gaudi, m = turned ? c->n_gaudi : c->n_nic;
	_cleanup_free_ long long *cost = calloc(n * m + 1, sizeof(*cost));
	_cleanup_free_ size_t *column = calloc(n + 1, sizeof(*column));
	int r;

	if (!cost || !column)
		return -ENOMEM;
	for (size_t g = 0; g < c->n_gaudi; g++)
		partner[g] = SIZE_MAX;
	for (size_t k = 0; k < c->n_nic; k++) {
		const struct nic *nic = c->nic[k];
		long long rank = at_most(rank_of(inv, nic), RANK_MAX);

		for (size_t g = 0; g < c->n_gaudi; g++) {
			const struct gaudi *gaudi = c->gaudi[g];
			unsigned distance =
				pci_distance(gaudi->path, gaudi->numa_node, nic->path, nic->numa_node);

			/* Equally far: keep the order of the addresses. */
			cost[turned ? k * m + g : g * m + k] = distance * DISTANCE_UNIT + rank * RANK_UNIT +
							       at_most(g > k ? g - k : k - g, ORDER_MAX);
		}
	}
	r = pairing_assign(n, m, cost, column);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		partner[turned ? column[i] : i] = turned ? i : column[i];
	return 0;
}

int pairing_update(const struct inventory *inv, const struct pairing_options *options, struct pairs **ret)
{
	_cleanup_(pairs_freep) struct pairs *p = pairs_new(options->mode);
	_cleanup_free_ const struct gaudi **gaudi = calloc(inv->n_gaudi + 1, sizeof(*gaudi));
	_cleanup_free_ const struct nic **nic = calloc(inv->n_nic + 1, sizeof(*nic));
	_cleanup_free_ size_t *partner = calloc(inv->n_gaudi + 1, sizeof(*partner));
	struct candidates c = { .gaudi = gaudi, .nic = nic };
	int r;

	if (!pairs_mode_is_valid(options->mode))
		return -EINVAL;
	if (!p || !gaudi || !nic || !partner)
		return -ENOMEM;
	r = keep_pairs(inv, options, p);
	if (r < 0)
		return r;
	find_candidates(inv, options, p, &c);
	r = match(inv, &c, partner);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c.n_gaudi; i++) {
		r = pairs_add(p, gaudi[i]->id, partner[i] == SIZE_MAX ? NULL : &nic[partner[i]]->name);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(p);
	return 0;
}
