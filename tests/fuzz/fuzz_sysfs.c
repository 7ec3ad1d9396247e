// SPDX-License-Identifier: Apache-2.0
/*
 * Discovery and what is decided from it: lib/sysfs and the plugin's core. The first byte picks one of:
 *   'T'  steps that change a sysfs under the plugin (fuzz_tree.h), scan it, allocate, ask
 *   'P'  the text of a pairing file         'E'  a device event of the kernel
 *   'D'  paths of devices
 */
#include <errno.h>
#include <string.h>

#include "../../device-plugin/core.h"
#include "../../device-plugin/grant.h"
#include "../../device-plugin/watch.h"
#include "base/log.h"
#include "fuzz_input.h"
#include "fuzz_tree.h"
#include "sysfs/pci.h"

#define STEPS_MAX 32
#define IDS_MAX 16

/* --- what holds at every moment ------------------------------------------------ */

static void check_inventory(const struct inventory *inv)
{
	for (size_t i = 0; i < inv->n_gaudi; i++) {
		fuzz_assert(pairs_id_is_valid(inv->gaudi[i]->id));
		fuzz_assert(inventory_find_gaudi(inv, inv->gaudi[i]->id) == inv->gaudi[i]);
		fuzz_assert(i == 0 || strcmp(inv->gaudi[i - 1]->id, inv->gaudi[i]->id) < 0);
	}
	for (size_t i = 0; i < inv->n_nic; i++) {
		fuzz_assert(pci_addr_is_valid(inv->nic[i]->name.pci));
		fuzz_assert(inventory_find_nic(inv, inv->nic[i]->name.pci) == inv->nic[i]);
		fuzz_assert(i == 0 || strcmp(inv->nic[i - 1]->name.pci, inv->nic[i]->name.pci) < 0);
	}
}

static void check_pairs(const struct pairs *pairs)
{
	_cleanup_(pairs_freep) struct pairs *again = NULL;
	_cleanup_free_ char *text = pairs_format(pairs);
	char why[128];

	for (size_t i = 0; i < pairs->n; i++) {
		const struct pairs_pair *pair = &pairs->pair[i];

		fuzz_assert(pairs_find(pairs, pair->gaudi) == pair);
		fuzz_assert(!pair->has_nic || pairs_find_nic(pairs, pair->nic.pci) == pair);
	}
	fuzz_assert(text && pairs_parse(text, strlen(text), &again, why, sizeof(why)) == 0);
	fuzz_assert(pairs_equal(pairs, again));
}

static void check_core(const struct core *core)
{
	check_inventory(core->inventory);
	check_pairs(core->pairs);
	for (size_t i = 0; i < core->n_device; i++) {
		const struct device *device = &core->device[i];
		const struct health *h = &device->health;

		fuzz_assert(core_find(core, device->gaudi->id) == device);
		fuzz_assert(h->healthy == !h->reason[0] && h->healthy == (h->cause == HEALTH_FINE));
		fuzz_assert(!h->healthy || inventory_find_gaudi(core->inventory, device->gaudi->id));
		fuzz_assert(!h->healthy || device->gaudi->state != LEASE_LOST);
		fuzz_assert(!h->healthy || !core->is_strict || core_nic_of(core, device->gaudi->id) ||
			    h->failed > 0);
	}
	for (size_t i = 0; i < core->n_nic; i++) {
		fuzz_assert(core_find_nic(core, core->nic[i].name.pci) == &core->nic[i]);
		fuzz_assert(!pairs_find_nic(core->pairs, core->nic[i].name.pci));
	}
}

/* --- a plugin while its machine changes ------------------------------------------ */

struct run {
	struct core core;
	struct sysfs_root root;
	uint64_t now_ms;
};

/* What was allocated keeps its NIC. */
static void scan(struct run *run)
{
	_cleanup_(pairs_freep) struct pairs *before = NULL;
	_cleanup_(inventory_freep) struct inventory *refreshed = NULL;
	struct core *core = &run->core;
	struct inventory *inv = NULL;
	_cleanup_free_ char *text = core->pairs ? pairs_format(core->pairs) : NULL;

	if (text)
		fuzz_assert(pairs_parse(text, strlen(text), &before, NULL, 0) == 0);
	fuzz_assert(inventory_scan(&run->root, &inv) == 0);
	fuzz_assert(inventory_refresh(&run->root, inv, &refreshed) == 0);
	fuzz_assert(inventory_equal(inv, refreshed));
	/* The marks of before the scan decide: it may find that the use has ended. */
	for (size_t i = 0; before && i < before->n; i++) {
		const struct device *device = core_find(core, before->pair[i].gaudi);

		if (!device || !device->is_allocated)
			before->pair[i].gaudi[0] = '\0';
	}
	fuzz_assert(core_update(core, inv, run->now_ms) >= 0);
	for (size_t i = 0; before && i < before->n; i++) {
		const struct pairs_pair *pair =
			before->pair[i].gaudi[0] ? pairs_find(core->pairs, before->pair[i].gaudi) : NULL;

		fuzz_assert(!before->pair[i].gaudi[0] || pair);
		fuzz_assert(!pair || (pair->has_nic == before->pair[i].has_nic &&
				      strcmp(pair->nic.pci, before->pair[i].nic.pci) == 0));
	}
	check_core(core);
	(void)core_next_ms(core, run->now_ms);
	(void)core_ask_ms(core, run->now_ms);
}

/* A function may be a Gaudi and a NIC. */
static size_t add_id(const char **ids, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(ids[i], id) == 0)
			return n;
	ids[n] = id;
	return n + 1;
}

/* Some of the ids there are, picked by the bits of a byte. */
static size_t pick_ids(const struct core *core, unsigned bits, const char **ids)
{
	size_t n = 0;

	for (size_t i = 0; i < core->n_device && n < IDS_MAX - 1; i++)
		if (bits & 1u << i % 8)
			n = add_id(ids, n, core->device[i].gaudi->id);
	for (size_t i = 0; i < core->n_nic && n < IDS_MAX - 1; i++)
		if (bits & 128)
			n = add_id(ids, n, core->nic[i].name.pci);
	if (bits & 64)
		n = add_id(ids, n, "nobody");
	return n;
}

static void ask(struct run *run, struct fuzz_input *in)
{
	const char *ids[IDS_MAX], *musts[IDS_MAX], *chosen[IDS_MAX];
	size_t n = pick_ids(&run->core, fuzz_byte(in), ids), n_must, size = fuzz_byte(in) % IDS_MAX;
	_cleanup_(grant_done) struct grant grant = {};
	_cleanup_(grant_done) struct grant nics = {};
	char why[256] = "";
	int r;

	n_must = pick_ids(&run->core, fuzz_byte(in), musts);
	size = size < n ? size : n;
	r = core_prefer(&run->core, ids, n, musts, n_must, size, chosen);
	fuzz_assert(r == (int)size);
	for (int i = 0; i < r; i++)
		for (int k = 0; k < i; k++)
			fuzz_assert(strcmp(chosen[i], chosen[k]) != 0);
	r = grant_build(&run->core, NULL, ids, n, &grant, why, sizeof(why));
	fuzz_assert(r == 0 ? grant.n_node >= n : why[0] != '\0');
	why[0] = '\0';
	r = grant_build_nics(&run->core, NULL, ids, n, &nics, why, sizeof(why));
	fuzz_assert(r == 0 || why[0] != '\0');
	for (size_t i = 0; i < n; i++)
		(void)core_is_ready(&run->core, ids[i], why, sizeof(why));
	if (fuzz_byte(in) % 2)
		for (size_t i = 0; i < n; i++)
			core_allocate(&run->core, ids[i], run->now_ms);
}

static void account(struct run *run, struct fuzz_input *in)
{
	const char *ids[IDS_MAX];
	size_t n = pick_ids(&run->core, fuzz_byte(in), ids);
	uint64_t asked_ms = run->now_ms - fuzz_byte(in);

	if (!run->core.inventory)
		return;
	(void)core_account(&run->core, ids, n, fuzz_byte(in) % 2, asked_ms, run->now_ms);
	check_core(&run->core);
}

static void run_tree(struct fuzz_input *in)
{
	static const char *const modes[] = { "paired", "paired-strict", "separate", "none" };
	static const char *const exclude[] = { "rxe1", "ens*" };
	static const unsigned pauses[] = { 0, 1, 500, 1000, 5000, 20000, 30000, 60000 };
	uint8_t first = fuzz_byte(in);
	struct core_options options = { .mode = modes[first % 4],
					.exclude = exclude,
					.n_exclude = first / 4 % 3 };
	struct run run = { .root = SYSFS_ROOT_INIT, .now_ms = 100000 };

	fuzz_tree_begin();
	fuzz_assert(sysfs_root_open(&run.root, fuzz_tree_sysfs()) == 0);
	core_init(&run.core, &options, NULL, run.now_ms);
	for (unsigned step = 0; step < STEPS_MAX && in->len > 0; step++) {
		uint8_t what = fuzz_byte(in);

		run.now_ms += pauses[what / 32];
		if (what % 8 == 0)
			scan(&run);
		else if (what % 8 == 1)
			ask(&run, in);
		else if (what % 8 == 2)
			account(&run, in);
		else
			fuzz_tree_change(in);
	}
	scan(&run);
	core_done(&run.core);
	sysfs_root_done(&run.root);
}

/* --- texts -------------------------------------------------------------------- */

static void run_pairs(const struct fuzz_input *in)
{
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	char why[256] = "";
	int r = pairs_parse((const char *)in->data, in->len, &pairs, why, sizeof(why));

	fuzz_assert(r == 0 ? pairs != NULL : !pairs && why[0]);
	if (pairs)
		check_pairs(pairs);
}

static void run_paths(struct fuzz_input *in)
{
	char text[4][SYSFS_PATH_MAX] = {}, addr[24];
	const char *paths[4];
	int numa_nodes[4];
	struct pci_place places[4];

	for (unsigned i = 0; i < 4; i++) {
		size_t len;
		const uint8_t *bytes = fuzz_bytes(in, fuzz_byte(in), &len);

		memcpy(text[i], bytes, len);
		paths[i] = text[i];
		numa_nodes[i] = fuzz_byte(in) % 3 - 1;
	}
	fuzz_assert(pci_places(paths, numa_nodes, 4, places) == 0);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 4; k++) {
			unsigned distance = pci_distance(paths[i], numa_nodes[i], paths[k], numa_nodes[k]);

			fuzz_assert(distance ==
				    pci_distance(paths[k], numa_nodes[k], paths[i], numa_nodes[i]));
			fuzz_assert(pci_distance_name(distance)[0]);
			/* Deeper than anything real is nowhere there, and odd orders may seem farther. */
			fuzz_assert(places[i].depth == 0 || places[k].depth == 0 ||
				    pci_place_distance(&places[i], &places[k]) >= distance);
		}
	for (unsigned i = 0; i < 4; i++) {
		fuzz_assert(pci_switch_len(text[i]) <= strlen(text[i]));
		if (pci_function_of_path(text[i], addr))
			fuzz_assert(pci_addr_is_valid(addr) && strstr(text[i], addr));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input in = { data, len };

	log_init("fuzz", LOG_LEVEL_ERROR, LOG_TEXT);
	switch (fuzz_byte(&in)) {
	case 'T':
		run_tree(&in);
		break;
	case 'P':
		run_pairs(&in);
		break;
	case 'E':
		(void)watch_event_news((const char *)in.data, in.len);
		break;
	case 'D':
		run_paths(&in);
		break;
	default:
		break;
	}
	return 0;
}
