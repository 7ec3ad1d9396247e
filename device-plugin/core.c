// SPDX-License-Identifier: Apache-2.0
#include "core.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "prefer.h"

void core_init(struct core *core, const struct core_options *options, struct pairs *old_pairs,
	       uint64_t now_ms)
{
	*core = (struct core){ .options = *options, .pairs = old_pairs, .started_ms = now_ms };
	core->was_persisted = old_pairs && old_pairs->n > 0;
	/* The pairs are the same: what differs is who may do without. */
	core->is_strict = strcmp(options->mode, "paired-strict") == 0;
	if (core->is_strict)
		core->options.mode = "paired";
}

static void device_done(struct device *device)
{
	gaudi_unref(device->gaudi);
	free(device->holder);
}

void core_done(struct core *core)
{
	for (size_t i = 0; i < core->n_device; i++)
		device_done(&core->device[i]);
	inventory_free(core->inventory);
	pairs_free(core->pairs);
	free(core->device);
	free(core->nic);
	*core = (struct core){};
}

static int device_id_compare(const void *id, const void *device)
{
	return strcmp(id, ((const struct device *)device)->gaudi->id);
}

struct device *core_find(const struct core *core, const char *id)
{
	if (core->n_device == 0)
		return NULL;
	return bsearch(id, core->device, core->n_device, sizeof(*core->device), device_id_compare);
}

static int nic_id_compare(const void *pci, const void *nic)
{
	return strcmp(pci, ((const struct core_nic *)nic)->name.pci);
}

const struct core_nic *core_find_nic(const struct core *core, const char *pci)
{
	if (core->n_nic == 0)
		return NULL;
	return bsearch(pci, core->nic, core->n_nic, sizeof(*core->nic), nic_id_compare);
}

bool core_offers_nics(const struct core *core)
{
	for (size_t i = 0; i < core->n_nic; i++)
		if (core->nic[i].is_offered)
			return true;
	return false;
}

static int pair_id_compare(const void *id, const void *pair)
{
	return strcmp(id, ((const struct pairs_pair *)pair)->gaudi);
}

const struct pairs_nic *core_nic_of(const struct core *core, const char *id)
{
	const struct pairs *pairs = core->pairs;
	const struct pairs_pair *pair = NULL;

	if (pairs && pairs->n > 0)
		pair = bsearch(id, pairs->pair, pairs->n, sizeof(*pair), pair_id_compare);
	/* Those of a file that no scan has confirmed yet may be in any order. */
	if (pairs && !pair)
		pair = pairs_find(pairs, id);
	return pair && pair->has_nic ? &pair->nic : NULL;
}

/* --- taking a scan --------------------------------------------------------- */

struct hold {
	const struct core *core;
	const struct inventory *inventory;
	uint64_t now_ms;
};

/*
 * Whether the pair of a Gaudi must stay as it is. Devices that this process
 * has never seen count as missing since its start: after a reboot the links
 * and drivers may come later than the plugin.
 */
static bool pair_is_held(const char *id, void *data)
{
	const struct hold *hold = data;
	const struct device *device = core_find(hold->core, id);
	const struct pairs_nic *nic = core_nic_of(hold->core, id);
	const struct gaudi *seen = inventory_find_gaudi(hold->inventory, id);
	uint64_t since;

	if (device && device->is_allocated)
		return true;
	if (device && seen && seen->state != LEASE_FREE && device->gaudi->has_lease)
		return true;
	if (!seen) {
		since = device ? device->health.since_ms : hold->core->started_ms;
		if (device && !device->health.vanished)
			return true;
		return hold->now_ms - since < HEALTH_VANISHED_MS;
	}
	if (nic && !pairing_nic_is_present(hold->inventory, nic, NULL)) {
		since = device && device->nic_missing_ms ? device->nic_missing_ms : hold->core->started_ms;
		if (device && !device->nic_missing_ms)
			return true;
		return hold->now_ms - since < CORE_NIC_MISSING_MS;
	}
	return false;
}

static void log_health(const struct device *device)
{
	const struct health *h = &device->health;

	if (h->healthy)
		log_fields(LOG_LEVEL_INFO,
			   LOG_FIELDS({ "device", device->gaudi->id }, { "health", "healthy" }),
			   "%s (accel%u): healthy", device->gaudi->id, device->gaudi->minor);
	else
		log_fields(LOG_LEVEL_WARNING,
			   LOG_FIELDS({ "device", device->gaudi->id }, { "health", "unhealthy" },
				      { "reason", h->reason }, { "recovery", health_recovery(h) }),
			   "%s (accel%u): unhealthy: %s (%s)", device->gaudi->id, device->gaudi->minor,
			   h->reason, health_recovery(h));
}

static void device_release(struct device *device)
{
	device->is_allocated = device->was_used = false;
}

/* Allocated until its lease was seen taken and then free again; there is no Deallocate. */
static void device_track_use(struct device *device, enum lease_state before)
{
	enum lease_state now = device->gaudi->state;

	if (!device->gaudi->has_lease || now == LEASE_UNKNOWN)
		return;
	if (now != LEASE_OWNED) {
		device->is_accounted = device->is_older = device->is_strangers = false;
		device->doubtful_ms = 0;
		free(TAKE_PTR(device->holder));
	} else if (device->is_allocated && before != LEASE_OWNED && before != LEASE_UNKNOWN) {
		device->is_accounted = true;
	}
	if (!device->is_allocated)
		return;
	if (now == LEASE_OWNED || lease_state_is_transient(now))
		device->was_used = true;
	else if (now == LEASE_FREE && device->was_used)
		device_release(device);
}

/* Takes what is known of a device now; true when its health changed. */
static bool device_judge(const struct core *core, struct device *device, const struct gaudi *seen,
			 uint64_t now_ms)
{
	struct health_input input = {
		.gaudi = seen,
		.lacks_nic = core->is_strict && !core_nic_of(core, device->gaudi->id),
	};

	if (device->is_strangers)
		input.stranger = device->holder ? device->holder : "somebody";
	if (!health_probe(&device->health, &input, now_ms))
		return false;
	log_health(device);
	return true;
}

static void device_probe(struct core *core, struct device *device, const struct inventory *inv,
			 uint64_t now_ms)
{
	struct gaudi *seen = inventory_find_gaudi(inv, device->gaudi->id);
	const struct pairs_nic *nic = core_nic_of(core, device->gaudi->id);

	if (seen && seen->state != device->gaudi->state && device->health.state != LEASE_UNKNOWN)
		log_fields(LOG_LEVEL_INFO,
			   LOG_FIELDS({ "device", seen->id }, { "lease", lease_state_name(seen->state) },
				      { "reason", seen->reason }),
			   "%s (accel%u): %s%s%s", seen->id, seen->minor, lease_state_name(seen->state),
			   seen->reason[0] ? ": " : "", seen->reason);
	if (seen) {
		(void)gaudi_ref(seen); /* it may be the same one */
		gaudi_unref(device->gaudi);
		device->gaudi = seen;
	}
	device_track_use(device, device->health.state);
	(void)device_judge(core, device, seen, now_ms);
	if (!nic || pairing_nic_is_present(inv, nic, NULL))
		device->nic_missing_ms = 0;
	else if (!device->nic_missing_ms)
		device->nic_missing_ms = now_ms;
}

static int device_compare(const void *a, const void *b)
{
	return strcmp(((const struct device *)a)->gaudi->id, ((const struct device *)b)->gaudi->id);
}

static size_t count_new(const struct core *core, const struct inventory *inv)
{
	size_t n = 0;

	for (size_t i = 0; i < inv->n_gaudi; i++)
		n += !core_find(core, inv->gaudi[i]->id);
	return n;
}

/* Adds the devices that are new; the array has room for all. */
static size_t devices_add(struct core *core, const struct inventory *inv)
{
	size_t added = 0;

	for (size_t i = 0; i < inv->n_gaudi; i++) {
		struct device *device;

		if (core_find(core, inv->gaudi[i]->id))
			continue;
		device = &core->device[core->n_device + added++];
		*device = (struct device){ .gaudi = gaudi_ref(inv->gaudi[i]) };
		health_init(&device->health);
		log_info("%s: found as accel%u (driver %s, NUMA node %d)%s", device->gaudi->id,
			 device->gaudi->minor, device->gaudi->driver, device->gaudi->numa_node,
			 device->gaudi->has_lease
				 ? ""
				 : ": this driver knows no leases, so nothing vouches that its memory "
				   "was wiped and is out of every NIC's reach");
	}
	core->n_device += added;
	if (added > 0)
		qsort(core->device, core->n_device, sizeof(*core->device), device_compare);
	return added;
}

static void devices_forget(struct core *core, uint64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < core->n_device; i++) {
		if (health_is_forgotten(&core->device[i].health, now_ms)) {
			log_fields(LOG_LEVEL_WARNING,
				   LOG_FIELDS({ "device", core->device[i].gaudi->id },
					      { "health", "forgotten" }),
				   "%s: forgotten, it has been gone for %d s", core->device[i].gaudi->id,
				   HEALTH_VANISHED_MS / 1000);
			device_done(&core->device[i]);
			continue;
		}
		if (kept != i)
			core->device[kept] = core->device[i];
		kept++;
	}
	core->n_device = kept;
}

static bool nic_is_single(const struct core *core, const struct pairing_options *pairing,
			  const struct inventory *inv, const struct pairs *pairs, const struct pairs_nic *nic)
{
	return strcmp(core->options.mode, "none") != 0 && pairing_nic_is_free(pairs, nic) &&
	       !pairing_nic_is_excluded(pairing, inv, nic);
}

static int core_nic_compare(const void *a, const void *b)
{
	return strcmp(((const struct core_nic *)a)->name.pci, ((const struct core_nic *)b)->name.pci);
}

/* What became of a function that is handed out by itself; before is NULL for a new one. */
static void log_nic(const struct core_nic *before, const struct core_nic *nic)
{
	const char *pci = nic->name.pci, *rdma = nic->name.rdma;

	if (!nic->is_offered)
		return;
	if (!before || !before->is_offered)
		log_fields(LOG_LEVEL_INFO, LOG_FIELDS({ "nic", pci }, { "health", "healthy" }),
			   "%s (%s): handed out by itself, no Gaudi is paired with it", pci, rdma);
	else if (nic->missing_ms && !before->missing_ms)
		log_fields(
			LOG_LEVEL_WARNING,
			LOG_FIELDS({ "nic", pci }, { "health", "unhealthy" }, { "reason", "gone" }),
			"%s (%s): unhealthy: gone: neither on the host nor in a pod (recovers when it is back)",
			pci, rdma);
	else if (!nic->missing_ms && before->missing_ms)
		log_fields(LOG_LEVEL_INFO, LOG_FIELDS({ "nic", pci }, { "health", "healthy" }),
			   "%s (%s): healthy", pci, rdma);
}

/* All Gaudis that an earlier process knew are there, so its left-over NICs are left over again. */
static bool gaudis_are_back(const struct core *core, const struct inventory *inv, const struct pairs *pairs)
{
	if (!core->was_persisted)
		return false;
	for (size_t i = 0; i < pairs->n; i++)
		if (!inventory_find_gaudi(inv, pairs->pair[i].gaudi))
			return false;
	return true;
}

static bool nic_is_due(const struct core *core, const struct inventory *inv, const struct core_nic *nic,
		       bool are_back, uint64_t now_ms)
{
	if (strcmp(core->options.mode, "paired") != 0)
		return true;
	if (inv->n_gaudi == 0)
		return false;
	return now_ms - nic->since_ms >= CORE_NIC_SINGLE_MS ||
	       (are_back && nic->since_ms - core->started_ms < CORE_NIC_SINGLE_MS);
}

static bool nic_is_new(const struct core *core, const struct pairing_options *pairing,
		       const struct inventory *inv, const struct pairs *pairs, const struct pairs_nic *nic)
{
	return !core_find_nic(core, nic->pci) && nic_is_single(core, pairing, inv, pairs, nic);
}

/* The functions for the second resource: those before that still stand, and new ones. */
static int update_nics(struct core *core, const struct pairing_options *pairing, const struct inventory *inv,
		       const struct pairs *pairs, uint64_t now_ms)
{
	bool are_back = gaudis_are_back(core, inv, pairs);
	size_t n = 0, max = core->n_nic;
	struct core_nic *list;

	for (size_t i = 0; i < inv->n_nic; i++)
		max += nic_is_new(core, pairing, inv, pairs, &inv->nic[i]->name);
	list = calloc(max + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < core->n_nic; i++) {
		struct core_nic nic = core->nic[i];

		if (pairing_nic_is_present(inv, &core->nic[i].name, &nic.name))
			nic.missing_ms = 0;
		else if (!nic.missing_ms)
			nic.missing_ms = now_ms;
		if (nic_is_single(core, pairing, inv, pairs, &nic.name) &&
		    (!nic.missing_ms || now_ms - nic.missing_ms < CORE_NIC_MISSING_MS))
			list[n++] = nic;
	}
	for (size_t i = 0; i < inv->n_nic; i++) {
		if (!nic_is_new(core, pairing, inv, pairs, &inv->nic[i]->name))
			continue;
		list[n++] = (struct core_nic){
			.name = inv->nic[i]->name,
			.numa_node = inv->nic[i]->numa_node,
			.since_ms = now_ms,
		};
	}
	for (size_t i = 0; i < n; i++)
		if (nic_is_due(core, inv, &list[i], are_back, now_ms))
			list[i].is_offered = true;
	for (size_t i = 0; i < n; i++)
		log_nic(core_find_nic(core, list[i].name.pci), &list[i]);
	if (n > 1)
		qsort(list, n, sizeof(*list), core_nic_compare);
	free(core->nic);
	core->nic = list;
	core->n_nic = n;
	return 0;
}

static void log_pairs(const struct pairs *before, const struct pairs *now, bool is_strict)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct pairs_pair *pair = &now->pair[i],
					*old = before ? pairs_find(before, pair->gaudi) : NULL;

		if (old && strcmp(old->nic.pci, pair->nic.pci) == 0)
			continue;
		if (pair->has_nic)
			log_fields(LOG_LEVEL_INFO,
				   LOG_FIELDS({ "device", pair->gaudi }, { "nic", pair->nic.pci }),
				   "%s: paired with NIC %s (%s%s%s, %s)", pair->gaudi, pair->nic.pci,
				   pair->nic.rdma, pair->nic.netdev[0] ? ", " : "", pair->nic.netdev,
				   pair->nic.uverbs[0] ? pair->nic.uverbs : "no verbs node");
		else if (strcmp(now->mode, "paired") == 0)
			log_info("%s: no NIC is left for it; it is %s", pair->gaudi,
				 is_strict ? "not handed out (paired-strict)" : "handed out alone");
	}
}

/* Somebody will miss them among the NICs. */
static void log_physical_functions(const struct inventory *before, const struct inventory *now)
{
	for (size_t i = 0; i < now->n_nic; i++) {
		const struct nic *old = before ? inventory_find_nic(before, now->nic[i]->name.pci) : NULL;

		if (now->nic[i]->has_vfs && !(old && old->has_vfs))
			log_info("%s (%s): not handed out itself, but its virtual functions",
				 now->nic[i]->name.pci, now->nic[i]->name.rdma);
	}
}

int core_update(struct core *core, struct inventory *inventory, uint64_t now_ms)
{
	_cleanup_(inventory_freep) struct inventory *inv = inventory;
	_cleanup_(pairs_freep) struct pairs *pairs = NULL;
	struct hold hold = { .core = core, .inventory = inv, .now_ms = now_ms };
	struct pairing_options pairing = {
		.mode = core->options.mode,
		.old = core->pairs,
		.is_held = pair_is_held,
		.data = &hold,
		.exclude = core->options.exclude,
		.n_exclude = core->options.n_exclude,
	};
	struct device *grown;
	int r, changed = CORE_DEVICES;

	grown = reallocarray(core->device, core->n_device + count_new(core, inv) + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	core->device = grown;
	r = pairing_update(inv, &pairing, &pairs);
	if (r < 0)
		return r;
	r = update_nics(core, &pairing, inv, pairs, now_ms);
	if (r < 0)
		return r;
	(void)devices_add(core, inv);
	/* Before the devices are judged, because a missing NIC may count against them. */
	if (!core->pairs || !pairs_equal(core->pairs, pairs)) {
		changed |= CORE_PAIRS;
		log_pairs(core->pairs, pairs, core->is_strict);
		pairs_free(core->pairs);
		core->pairs = TAKE_PTR(pairs);
	}
	for (size_t i = 0; i < core->n_device; i++)
		device_probe(core, &core->device[i], inv, now_ms);
	devices_forget(core, now_ms);
	log_physical_functions(core->inventory, inv);
	inventory_free(core->inventory);
	core->inventory = TAKE_PTR(inv);
	return changed;
}

uint64_t core_next_ms(const struct core *core, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < core->n_device; i++) {
		uint64_t due = health_next_ms(&core->device[i].health, now_ms);

		next = due < next ? due : next;
	}
	for (size_t i = 0; i < core->n_nic; i++) {
		uint64_t passed = now_ms - core->nic[i].since_ms;

		if (!core->nic[i].is_offered && passed < CORE_NIC_SINGLE_MS &&
		    CORE_NIC_SINGLE_MS - passed < next)
			next = CORE_NIC_SINGLE_MS - passed;
	}
	return next;
}

/* --- who holds what ----------------------------------------------------------- */

static bool contains(const char *const *list, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], id) == 0)
			return true;
	return false;
}

bool core_is_doubtful(const struct device *device)
{
	return device->gaudi->has_lease && device->gaudi->state == LEASE_OWNED && !device->is_accounted &&
	       (!device->is_allocated || device->is_older);
}

void core_allocate(struct core *core, const char *id, uint64_t now_ms)
{
	struct device *device = core_find(core, id);

	if (!device)
		return;
	/* Held, and not by the pod that gets it now. */
	device->is_older = core_is_doubtful(device);
	device->is_allocated = true;
	device->was_used = false;
	device->allocated_ms = now_ms;
}

uint64_t core_ask_ms(const struct core *core, uint64_t now_ms)
{
	uint64_t every = UINT64_MAX, passed = now_ms - core->asked_ms;

	if (core->n_device == 0)
		return UINT64_MAX;
	if (!core->was_asked)
		return 0;
	for (size_t i = 0; i < core->n_device; i++) {
		const struct device *device = &core->device[i];
		uint64_t wanted = UINT64_MAX;

		if (core_is_doubtful(device))
			wanted = device->is_strangers ? CORE_ASK_STRANGER_MS : CORE_ASK_DOUBT_MS;
		else if (device->is_allocated && !device->was_used)
			wanted = CORE_ASK_UNUSED_MS;
		every = wanted < every ? wanted : every;
	}
	if (every == UINT64_MAX)
		return UINT64_MAX;
	return passed < every ? every - passed : 0;
}

static void device_account(struct device *device, bool is_listed, size_t n_pods, uint64_t asked_ms,
			   uint64_t now_ms)
{
	uint64_t limit = n_pods > 0 ? CORE_STRANGER_MS : CORE_STRANGER_EMPTY_MS;

	if (is_listed && !device->is_allocated) {
		device->is_allocated = true;
		device->allocated_ms = asked_ms;
	} else if (!is_listed && device->is_allocated && n_pods > 0 &&
		   asked_ms >= device->allocated_ms + CORE_ALLOCATION_MS && !device->is_accounted) {
		log_debug("%s: no pod has it any more", device->gaudi->id);
		device_release(device);
	}
	if (is_listed && device->gaudi->state == LEASE_OWNED && !device->is_older)
		device->is_accounted = true;
	if (!core_is_doubtful(device)) {
		device->doubtful_ms = 0;
		device->is_strangers = false;
		return;
	}
	if (!device->doubtful_ms)
		device->doubtful_ms = asked_ms;
	device->is_strangers = now_ms - device->doubtful_ms >= limit;
}

bool core_account(struct core *core, const char *const *ids, size_t n, size_t n_pods, uint64_t asked_ms,
		  uint64_t now_ms)
{
	bool changed = false;

	core->was_asked = true;
	core->asked_ms = asked_ms;
	for (size_t i = 0; i < core->n_device; i++) {
		struct device *device = &core->device[i];
		bool was = device->is_strangers;

		device_account(device, contains(ids, n, device->gaudi->id), n_pods, asked_ms, now_ms);
		if (was != device->is_strangers)
			changed = device_judge(core, device,
					       inventory_find_gaudi(core->inventory, device->gaudi->id),
					       now_ms) ||
				  changed;
	}
	return changed;
}

/* --- answers ---------------------------------------------------------------- */

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is known of an id for the preference: of a Gaudi or a NIC, or nothing. */
static struct prefer_device candidate(const struct core *core, const char *id)
{
	const struct device *device = core_find(core, id);
	const struct core_nic *nic = device ? NULL : core_find_nic(core, id);
	const struct nic *seen = nic && core->inventory ? inventory_find_nic(core->inventory, id) : NULL;

	if (device)
		return (struct prefer_device){ .id = id,
					       .path = device->gaudi->path,
					       .numa_node = device->gaudi->numa_node,
					       .is_ready = device->gaudi->state == LEASE_FREE,
					       .has_nic = core_nic_of(core, id) != NULL };
	return (struct prefer_device){ .id = id,
				       .path = seen ? seen->path : "",
				       .numa_node = nic ? nic->numa_node : -1,
				       .is_ready = nic != NULL };
}

int core_prefer(const struct core *core, const char *const *available, size_t n_available,
		const char *const *must, size_t n_must, size_t size, const char **chosen)
{
	size_t k = size < n_available ? size : n_available, n = 0;
	_cleanup_free_ struct prefer_device *devices = calloc(n_available + 1, sizeof(*devices));
	_cleanup_free_ size_t *index = calloc(k + 1, sizeof(*index));
	_cleanup_free_ const char **ids = calloc(n_available + n_must + 1, sizeof(*ids));
	const char **musts = ids + n_available;
	int r;

	if (!devices || !index || !ids)
		return -ENOMEM;
	/* Sorted, because there may be hundreds of them, each of them perhaps twice. */
	for (size_t i = 0; i < n_available; i++)
		ids[i] = available[i];
	for (size_t i = 0; i < n_must; i++)
		musts[i] = must[i];
	qsort(ids, n_available, sizeof(*ids), text_compare);
	qsort(musts, n_must, sizeof(*musts), text_compare);
	for (size_t i = 0; i < n_available; i++) {
		if (i > 0 && strcmp(ids[i], ids[i - 1]) == 0)
			continue;
		devices[n] = candidate(core, ids[i]);
		devices[n++].must = bsearch(&ids[i], musts, n_must, sizeof(*musts), text_compare) != NULL;
	}
	r = prefer_choose(devices, n, k, index);
	for (int i = 0; i < r; i++)
		chosen[i] = devices[index[i]].id;
	return r;
}

enum core_ready core_is_ready(const struct core *core, const char *id, char *reason, size_t size)
{
	const struct device *device = core_find(core, id);
	const struct gaudi *gaudi = device ? device->gaudi : NULL;
	const char *colon = gaudi && gaudi->reason[0] ? ": " : "";

	if (!device) {
		(void)snprintf(reason, size, "device %s is not on this node", id);
		return CORE_NEVER;
	}
	if (device->health.vanished) {
		(void)snprintf(reason, size, "device %s is gone: unplugged, or its driver was unloaded", id);
		return CORE_NEVER;
	}
	if (gaudi->state == LEASE_FREE)
		return CORE_READY;
	if (gaudi->state == LEASE_LOST) {
		(void)snprintf(reason, size, "device %s is lost%s%s; it needs a reset", id, colon,
			       gaudi->reason);
		return CORE_NEVER;
	}
	if (device->health.cause == HEALTH_FOREIGN) {
		(void)snprintf(reason, size, "device %s: %s", id, device->health.reason);
		return CORE_WAIT;
	}
	(void)snprintf(reason, size, "device %s is still %s%s%s", id, lease_state_name(gaudi->state), colon,
		       gaudi->reason);
	return CORE_WAIT;
}
