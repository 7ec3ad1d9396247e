// SPDX-License-Identifier: Apache-2.0
#include "inventory.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "pci.h"

static const char *const lease_words[] = {
	[LEASE_UNKNOWN] = "unknown",   [LEASE_FREE] = "free",		[LEASE_OWNED] = "owned",
	[LEASE_DRAINING] = "draining", [LEASE_SCRUBBING] = "scrubbing", [LEASE_LOST] = "lost",
};

const char *lease_state_name(enum lease_state state)
{
	return lease_words[state];
}

bool lease_state_is_transient(enum lease_state state)
{
	return state == LEASE_DRAINING || state == LEASE_SCRUBBING;
}

/* --- the parts of an inventory ------------------------------------------------ */

/* Copies text to *at and moves that behind it; returns the copy. */
static const char *text_put(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*at, text, size);

	*at += size;
	return copy;
}

struct gaudi *gaudi_new(const struct gaudi *from)
{
	/* For most the attributes lie in the function. */
	bool is_function = strcmp(from->path, from->dir) == 0;
	size_t texts = strlen(from->id) + strlen(from->serial) + strlen(from->dir) +
		       (is_function ? 0 : strlen(from->path) + 1) + strlen(from->reason) + 4;
	struct gaudi *gaudi = malloc(sizeof(*gaudi) + texts);
	char *at = (char *)(gaudi + 1);

	if (!gaudi)
		return NULL;
	*gaudi = *from;
	gaudi->refs = 1;
	gaudi->id = text_put(&at, from->id);
	gaudi->serial = text_put(&at, from->serial);
	gaudi->dir = text_put(&at, from->dir);
	gaudi->path = is_function ? gaudi->dir : text_put(&at, from->path);
	gaudi->reason = text_put(&at, from->reason);
	return gaudi;
}

struct gaudi *gaudi_ref(struct gaudi *gaudi)
{
	gaudi->refs++;
	return gaudi;
}

void gaudi_unref(struct gaudi *gaudi)
{
	if (gaudi && --gaudi->refs == 0)
		free(gaudi);
}

struct nic *nic_new(const struct nic *from)
{
	struct nic *nic = malloc(sizeof(*nic) + strlen(from->path) + 1);
	char *at = (char *)(nic + 1);

	if (!nic)
		return NULL;
	*nic = *from;
	nic->refs = 1;
	nic->path = text_put(&at, from->path);
	return nic;
}

static struct nic *nic_ref(struct nic *nic)
{
	nic->refs++;
	return nic;
}

static void nic_unref(struct nic *nic)
{
	if (--nic->refs == 0)
		free(nic);
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	for (size_t i = 0; i < inv->n_gaudi; i++)
		gaudi_unref(inv->gaudi[i]);
	for (size_t i = 0; i < inv->n_nic; i++)
		nic_unref(inv->nic[i]);
	free(inv->gaudi);
	free(inv->nic);
	free(inv->hidden);
	free(inv);
}

/* --- the lease ------------------------------------------------------------------ */

/* The mainline driver has no lease; what its status says is as near as one gets. */
static void read_mainline_status(const struct sysfs_root *root, struct gaudi *gaudi,
				 char reason[SYSFS_LINE_MAX])
{
	static const struct {
		const char *word;
		enum lease_state state;
	} words[] = {
		{ "operational", LEASE_FREE },
		{ "in device creation", LEASE_SCRUBBING },
		{ "in reset", LEASE_SCRUBBING },
		{ "in reset after release", LEASE_SCRUBBING },
		{ "in reset after device release", LEASE_SCRUBBING },
		{ "disabled", LEASE_LOST },
		{ "needs reset", LEASE_LOST },
	};
	char line[SYSFS_LINE_MAX];
	ssize_t n = sysfs_read(root, line, sizeof(line), "%s/status", gaudi->dir);

	if (n < 0) {
		strcpy(reason, "status cannot be read");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(line, words[i].word) == 0)
			gaudi->state = words[i].state;
	if (gaudi->state != LEASE_FREE)
		(void)snprintf(reason, SYSFS_LINE_MAX, "the driver's status is \"%.200s\"", line);
}

static void read_lease(const struct sysfs_root *root, struct gaudi *gaudi, char reason[SYSFS_LINE_MAX])
{
	char line[SYSFS_LINE_MAX];
	ssize_t n = sysfs_read(root, line, sizeof(line), "%s/state", gaudi->dir);

	if (n < 0) {
		(void)snprintf(reason, SYSFS_LINE_MAX, "state cannot be read: %s", strerror(-(int)n));
		return;
	}
	for (size_t i = LEASE_FREE; i < ARRAY_SIZE(lease_words); i++)
		if (strcmp(line, lease_words[i]) == 0)
			gaudi->state = i;
	if (gaudi->state == LEASE_UNKNOWN)
		(void)snprintf(reason, SYSFS_LINE_MAX, "unknown state \"%.200s\"", line);
	else if (gaudi->state != LEASE_FREE && /* which needs none */
		 sysfs_read(root, reason, SYSFS_LINE_MAX, "%s/reason", gaudi->dir) < 0)
		reason[0] = '\0';
}

/* State and reason. What could not be read is LEASE_UNKNOWN with a reason that says so. */
static void read_state(const struct sysfs_root *root, struct gaudi *gaudi, char reason[SYSFS_LINE_MAX])
{
	gaudi->state = LEASE_UNKNOWN;
	gaudi->reason = reason;
	reason[0] = '\0';
	if (gaudi->has_lease)
		read_lease(root, gaudi, reason);
	else
		read_mainline_status(root, gaudi, reason);
}

void inventory_read_holder(const struct sysfs_root *root, const struct gaudi *gaudi, char *buf, size_t size)
{
	char pid[16] = "", owner[SYSFS_LINE_MAX] = "";
	bool has_pid, has_owner;

	has_pid = sysfs_read(root, pid, sizeof(pid), "%s/owner_pid", gaudi->dir) > 0;
	has_owner = sysfs_read(root, owner, sizeof(owner), "%s/owner", gaudi->dir) > 0;
	(void)snprintf(buf, size, "%s%s%s%s", has_pid ? "process " : "", has_pid ? pid : "",
		       has_pid && has_owner ? " in " : "", has_owner ? owner : "");
}

/* --- scanning ---------------------------------------------------------------------- */

struct netdev {
	char *function; /* path of the PCI function it belongs to */
	char name[16];
};

struct scan {
	const struct sysfs_root *root;
	struct inventory *inv;
	struct sysfs_names rdma; /* RDMA devices of this namespace */
	struct netdev *netdev;	 /* sorted by function */
	size_t n_netdev;
};

static void scan_done(struct scan *scan)
{
	sysfs_names_done(&scan->rdma);
	for (size_t i = 0; i < scan->n_netdev; i++)
		free(scan->netdev[i].function);
	free(scan->netdev);
}

/* Copies text into a field; false (and the field untouched) when it does not fit. */
static bool text_copy(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	memcpy(field, text, len + 1);
	return true;
}

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void read_numa_node(struct scan *scan, const char *function, int *ret)
{
	if (!*function || sysfs_read_int(scan->root, -1, INT_MAX, ret, "%s/numa_node", function) < 0)
		*ret = -1;
}

/* Which driver serves the accel device, as far as it is one of ours; false otherwise. */
static bool find_driver(const struct sysfs_root *root, const char *dir, struct gaudi *gaudi)
{
	static const char *const drivers[] = { "gaudi_p2p", "habanalabs" };
	char link[SYSFS_PATH_MAX];

	gaudi->has_lease = true;
	gaudi->driver = drivers[0];
	if (sysfs_link(root, link, sizeof(link), "%s/driver", dir) == 0) {
		const char *name = last_component(link);

		if (strcmp(name, drivers[1]) == 0) {
			gaudi->has_lease = false;
			gaudi->driver = drivers[1];
			return true;
		}
		if (strcmp(name, drivers[0]) == 0)
			return true;
		/* Virtual devices of ours hang on a bus whose driver is everybody's. */
		if (strcmp(name, "faux_driver") != 0)
			return false;
	}
	return sysfs_exists(root, "%s/device_type", dir) && sysfs_exists(root, "%s/state", dir);
}

/* 0: a Gaudi was added; -ENODEV: not a Gaudi, or not whole; -ENOMEM. */
static int scan_gaudi(struct scan *scan, const struct sysfs_names *names, const char *name)
{
	char dir[SYSFS_PATH_MAX], path[SYSFS_PATH_MAX], serial[64] = "", line[SYSFS_LINE_MAX];
	char reason[SYSFS_LINE_MAX], control[32];
	struct gaudi gaudi = { .serial = serial, .dir = dir, .path = "" };
	int r;

	/* accel_controlD0 lies in the same class and has no number right behind "accel". */
	if (num_parse_suffix(name, "accel", &gaudi.minor) < 0)
		return -ENODEV;
	r = sysfs_device_of(scan->root, "accel", name, dir);
	if (r < 0) {
		log_debug("%s: no parent device, skipped: %s", name, strerror(-r));
		return -ENODEV;
	}
	if (!find_driver(scan->root, dir, &gaudi)) {
		log_debug("%s: not a Gaudi, skipped", name);
		return -ENODEV;
	}
	strcpy(path, dir);
	if (pci_function_of_path(path, gaudi.pci))
		gaudi.path = path;
	(void)snprintf(control, sizeof(control), "accel_controlD%u", gaudi.minor);
	gaudi.has_control = sysfs_names_has(names, control);
	read_numa_node(scan, gaudi.path, &gaudi.numa_node);
	if (sysfs_read_int(scan->root, 0, INT_MAX, &gaudi.module_id, "%s/module_id", dir) < 0)
		gaudi.module_id = -1;
	if (sysfs_read(scan->root, line, sizeof(line), "%s/serial", dir) > 0 && pairs_id_is_valid(line))
		(void)text_copy(serial, sizeof(serial), line);
	read_state(scan->root, &gaudi, reason);
	gaudi.id = serial[0] ? serial : gaudi.pci[0] ? gaudi.pci : last_component(dir);
	if (!pairs_id_is_valid(gaudi.id)) {
		log_debug("%s: no name to identify it by, skipped", name);
		return -ENODEV;
	}
	scan->inv->gaudi[scan->inv->n_gaudi] = gaudi_new(&gaudi);
	if (!scan->inv->gaudi[scan->inv->n_gaudi])
		return -ENOMEM;
	scan->inv->n_gaudi++;
	return 0;
}

static int gaudi_compare(const void *a, const void *b)
{
	const struct gaudi *x = *(struct gaudi *const *)a, *y = *(struct gaudi *const *)b;
	int r = strcmp(x->id, y->id);

	return r ? r : (x->minor > y->minor) - (x->minor < y->minor);
}

/*
 * Two cards that claim one serial are told apart by address; the kubelet would
 * merge them. Of two nodes of one card, as they may seem to be there while its
 * driver is bound again, one is enough: the next scan sees what has stayed.
 */
static void gaudi_ids_make_unique(struct inventory *inv)
{
	size_t kept = 0;

	for (size_t i = 0; i < inv->n_gaudi; i++) {
		struct gaudi *a = inv->gaudi[i];
		bool twice = false;

		for (size_t j = 0; a->serial[0] && j < inv->n_gaudi; j++)
			twice = twice || (j != i && strcmp(inv->gaudi[j]->serial, a->serial) == 0);
		if (twice && a->pci[0])
			a->id = a->pci;
	}
	if (inv->n_gaudi > 1)
		qsort(inv->gaudi, inv->n_gaudi, sizeof(struct gaudi *), gaudi_compare);
	for (size_t i = 0; i < inv->n_gaudi; i++) {
		struct gaudi *gaudi = inv->gaudi[i];

		if (kept > 0 && strcmp(inv->gaudi[kept - 1]->id, gaudi->id) == 0) {
			log_debug("accel%u: another node of %s, skipped", gaudi->minor, gaudi->id);
			gaudi_unref(gaudi);
		} else {
			inv->gaudi[kept++] = gaudi;
		}
	}
	inv->n_gaudi = kept;
}

static int scan_gaudis(struct scan *scan)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	int r = sysfs_list(scan->root, "class/accel", &names);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	scan->inv->gaudi = calloc(names.n + 1, sizeof(struct gaudi *));
	if (!scan->inv->gaudi)
		return -ENOMEM;
	for (size_t i = 0; i < names.n; i++)
		if (scan_gaudi(scan, &names, names.name[i]) == -ENOMEM)
			return -ENOMEM;
	gaudi_ids_make_unique(scan->inv);
	return 0;
}

static int netdev_compare(const void *a, const void *b)
{
	const struct netdev *x = a, *y = b;
	int r = strcmp(x->function, y->function);

	return r ? r : strverscmp(x->name, y->name);
}

/* 0 also for one that belongs to no device. */
static int scan_netdev(struct scan *scan, const char *name)
{
	struct netdev *netdev = &scan->netdev[scan->n_netdev];
	char function[SYSFS_PATH_MAX];

	if (!pairs_name_is_valid(name) || !text_copy(netdev->name, sizeof(netdev->name), name) ||
	    sysfs_device_of(scan->root, "net", name, function) < 0)
		return 0;
	netdev->function = strdup(function);
	if (!netdev->function)
		return -ENOMEM;
	scan->n_netdev++;
	return 0;
}

static int scan_netdevs(struct scan *scan)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	int r = sysfs_list(scan->root, "class/net", &names);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	scan->netdev = calloc(names.n + 1, sizeof(*scan->netdev));
	if (!scan->netdev)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = scan_netdev(scan, names.name[i]);
	if (scan->n_netdev > 1)
		qsort(scan->netdev, scan->n_netdev, sizeof(*scan->netdev), netdev_compare);
	return r;
}

/* The function's first network interface, if it has one in this namespace. */
static void find_netdev(const struct scan *scan, struct nic *nic)
{
	size_t lo = 0, hi = scan->n_netdev;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(scan->netdev[mid].function, nic->path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < scan->n_netdev && strcmp(scan->netdev[lo].function, nic->path) == 0)
		strcpy(nic->name.netdev, scan->netdev[lo].name);
}

/* Shortens path, of a device, to that of its function, and fills the address. */
static bool nic_locate(struct nic *nic, char *path)
{
	if (!pci_function_of_path(path, nic->name.pci))
		return false;
	nic->path = path;
	return true;
}

/* Which physical function a virtual one belongs to. */
static void read_physfn(struct scan *scan, struct nic *nic)
{
	char link[SYSFS_PATH_MAX];

	if (sysfs_link(scan->root, link, sizeof(link), "%s/physfn", nic->path) == 0 &&
	    pci_addr_is_valid(last_component(link)))
		(void)text_copy(nic->physfn, sizeof(nic->physfn), last_component(link));
}

/* A Soft-RoCE link names its interface; the interface knows the function, perhaps through a virtio child. */
static bool locate_soft(struct scan *scan, struct nic *nic, char path[SYSFS_PATH_MAX])
{
	char netdev[SYSFS_LINE_MAX];

	if (sysfs_read(scan->root, netdev, sizeof(netdev), "class/infiniband/%s/parent", nic->name.rdma) <=
		    0 ||
	    !pairs_name_is_valid(netdev) || sysfs_device_of(scan->root, "net", netdev, path) < 0 ||
	    !nic_locate(nic, path))
		return false;
	nic->is_soft = true;
	return text_copy(nic->name.netdev, sizeof(nic->name.netdev), netdev);
}

/* 1, or -ENOMEM. Few nodes have any, and most of those few. */
static int add_hidden(struct inventory *inv, const struct nic *nic)
{
	struct hidden_uverbs *grown = reallocarray(inv->hidden, inv->n_hidden + 1, sizeof(*grown)), *hidden;

	if (!grown)
		return -ENOMEM;
	inv->hidden = grown;
	hidden = &grown[inv->n_hidden++];
	*hidden = (struct hidden_uverbs){};
	strcpy(hidden->uverbs, nic->name.uverbs);
	strcpy(hidden->rdma, nic->name.rdma);
	return 1;
}

/*
 * Where the NIC of a verbs node is. 0: nic and path are filled; 1: Soft-RoCE in another namespace, which was added
 * to the hidden ones; -ENODEV: on no PCI function; -ENOMEM.
 */
static int locate_uverbs(struct scan *scan, const char *name, struct nic *nic, char path[SYSFS_PATH_MAX])
{
	if (sysfs_device_of(scan->root, "infiniband_verbs", name, path) == 0) {
		if (nic_locate(nic, path))
			return 0;
		log_debug("%s (%s): not a PCI function, skipped", nic->name.rdma, name);
		return -ENODEV;
	}
	if (!nic->is_visible)
		return add_hidden(scan->inv, nic);
	if (locate_soft(scan, nic, path))
		return 0;
	log_debug("%s (%s): on no PCI function, skipped", nic->name.rdma, name);
	return -ENODEV;
}

/* 0: something was added; -ENODEV: half there, or on no PCI function; -ENOMEM. */
static int scan_uverbs(struct scan *scan, const char *name)
{
	char path[SYSFS_PATH_MAX], line[SYSFS_LINE_MAX];
	struct inventory *inv = scan->inv;
	struct nic nic = {}, *added;
	unsigned number;
	int r;

	if (num_parse_suffix(name, "uverbs", &number) < 0 ||
	    !text_copy(nic.name.uverbs, sizeof(nic.name.uverbs), name))
		return -ENODEV;
	if (sysfs_read(scan->root, line, sizeof(line), "class/infiniband_verbs/%s/ibdev", name) <= 0 ||
	    !pairs_name_is_valid(line) || !text_copy(nic.name.rdma, sizeof(nic.name.rdma), line)) {
		log_debug("%s: names no RDMA device, skipped", name);
		return -ENODEV;
	}
	/* sysfs shows only this namespace's RDMA devices, but every namespace's verbs nodes. */
	nic.is_visible = sysfs_names_has(&scan->rdma, line);
	r = locate_uverbs(scan, name, &nic, path);
	if (r != 0)
		return r < 0 ? r : 0;
	if (nic.is_visible &&
	    sysfs_read(scan->root, line, sizeof(line), "class/infiniband/%s/node_guid", nic.name.rdma) > 0 &&
	    pairs_id_is_valid(line))
		(void)text_copy(nic.name.node_guid, sizeof(nic.name.node_guid), line);
	read_numa_node(scan, nic.path, &nic.numa_node);
	read_physfn(scan, &nic);
	if (!nic.name.netdev[0])
		find_netdev(scan, &nic);
	added = nic_new(&nic);
	if (!added)
		return -ENOMEM;
	inv->nic[inv->n_nic++] = added;
	return 0;
}

static int nic_compare(const void *a, const void *b)
{
	const struct nic *x = *(struct nic *const *)a, *y = *(struct nic *const *)b;
	int r = strcmp(x->name.pci, y->name.pci);

	if (r)
		return r;
	if (x->is_soft != y->is_soft)
		return x->is_soft ? 1 : -1;
	return strverscmp(x->name.rdma, y->name.rdma);
}

/* One per function: a pod gets functions, and the hardware's own RDMA device stands before a soft one. */
static void nics_make_unique(struct inventory *inv)
{
	size_t kept = 0;

	if (inv->n_nic > 1)
		qsort(inv->nic, inv->n_nic, sizeof(struct nic *), nic_compare);
	for (size_t i = 0; i < inv->n_nic; i++) {
		struct nic *nic = inv->nic[i];

		if (kept > 0 && strcmp(inv->nic[kept - 1]->name.pci, nic->name.pci) == 0) {
			log_debug("%s: another RDMA device of %s, skipped", nic->name.rdma, nic->name.pci);
			nic_unref(nic);
		} else {
			inv->nic[kept++] = nic;
		}
	}
	inv->n_nic = kept;
}

static int nic_pci_compare(const void *pci, const void *nic)
{
	return strcmp(pci, (*(struct nic *const *)nic)->name.pci);
}

static struct nic *find_nic(const struct inventory *inv, const char *pci)
{
	struct nic **found = NULL;

	if (inv->n_nic > 0)
		found = bsearch(pci, inv->nic, inv->n_nic, sizeof(struct nic *), nic_pci_compare);
	return found ? *found : NULL;
}

static void nics_find_vfs(struct inventory *inv)
{
	for (size_t i = 0; i < inv->n_nic; i++) {
		struct nic *physfn = inv->nic[i]->physfn[0] ? find_nic(inv, inv->nic[i]->physfn) : NULL;

		if (physfn)
			physfn->has_vfs = true;
	}
}

static int scan_nics(struct scan *scan)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	struct inventory *inv = scan->inv;
	int r = sysfs_list(scan->root, "class/infiniband_verbs", &names);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = sysfs_list(scan->root, "class/infiniband", &scan->rdma);
	if (r == 0 || r == -ENOENT)
		r = scan_netdevs(scan);
	if (r < 0)
		return r;
	inv->nic = calloc(names.n + 1, sizeof(struct nic *));
	if (!inv->nic)
		return -ENOMEM;
	for (size_t i = 0; i < names.n; i++)
		if (scan_uverbs(scan, names.name[i]) == -ENOMEM)
			return -ENOMEM;
	nics_make_unique(inv);
	nics_find_vfs(inv);
	return 0;
}

int inventory_scan(const struct sysfs_root *root, struct inventory **ret)
{
	_cleanup_(inventory_freep) struct inventory *inv = calloc(1, sizeof(*inv));
	struct sysfs_root noting = *root;
	_cleanup_(scan_done) struct scan scan = { .root = &noting, .inv = inv };
	int r, shortage = 0;

	if (!inv)
		return -ENOMEM;
	noting.shortage = &shortage;
	r = scan_gaudis(&scan);
	if (r == 0)
		r = scan_nics(&scan);
	if (r < 0)
		return r;
	inv->has_rdma_cm = sysfs_exists(&noting, "class/misc/rdma_cm");
	/* What could not be looked at is not gone. */
	if (shortage < 0)
		return shortage;
	*ret = TAKE_PTR(inv);
	return 0;
}

/* --- the next inventory ------------------------------------------------------------------- */

/* The Gaudi with its state read anew: the same one when that has not changed. NULL: no memory. */
static struct gaudi *gaudi_refresh(const struct sysfs_root *root, struct gaudi *old)
{
	char reason[SYSFS_LINE_MAX];
	struct gaudi now = *old;

	read_state(root, &now, reason);
	if (now.state == old->state && strcmp(now.reason, old->reason) == 0)
		return gaudi_ref(old);
	return gaudi_new(&now);
}

int inventory_refresh(const struct sysfs_root *root, const struct inventory *old, struct inventory **ret)
{
	_cleanup_(inventory_freep) struct inventory *inv = calloc(1, sizeof(*inv));

	if (!inv)
		return -ENOMEM;
	inv->has_rdma_cm = old->has_rdma_cm;
	inv->gaudi = calloc(old->n_gaudi + 1, sizeof(struct gaudi *));
	inv->nic = calloc(old->n_nic + 1, sizeof(struct nic *));
	inv->hidden = calloc(old->n_hidden + 1, sizeof(*inv->hidden));
	if (!inv->gaudi || !inv->nic || !inv->hidden)
		return -ENOMEM;
	for (; inv->n_nic < old->n_nic; inv->n_nic++)
		inv->nic[inv->n_nic] = nic_ref(old->nic[inv->n_nic]);
	for (; inv->n_hidden < old->n_hidden; inv->n_hidden++)
		inv->hidden[inv->n_hidden] = old->hidden[inv->n_hidden];
	for (; inv->n_gaudi < old->n_gaudi; inv->n_gaudi++) {
		inv->gaudi[inv->n_gaudi] = gaudi_refresh(root, old->gaudi[inv->n_gaudi]);
		if (!inv->gaudi[inv->n_gaudi])
			return -ENOMEM;
	}
	*ret = TAKE_PTR(inv);
	return 0;
}

/* --- looking things up ---------------------------------------------------------------------- */

static int gaudi_id_compare(const void *id, const void *gaudi)
{
	return strcmp(id, (*(struct gaudi *const *)gaudi)->id);
}

struct gaudi *inventory_find_gaudi(const struct inventory *inv, const char *id)
{
	struct gaudi **found = NULL;

	if (inv->n_gaudi > 0)
		found = bsearch(id, inv->gaudi, inv->n_gaudi, sizeof(struct gaudi *), gaudi_id_compare);
	return found ? *found : NULL;
}

const struct nic *inventory_find_nic(const struct inventory *inv, const char *pci)
{
	return find_nic(inv, pci);
}

static bool gaudi_equal(const struct gaudi *a, const struct gaudi *b)
{
	return a == b ||
	       (a->minor == b->minor && a->has_control == b->has_control && a->has_lease == b->has_lease &&
		a->state == b->state && a->numa_node == b->numa_node && a->module_id == b->module_id &&
		strcmp(a->pci, b->pci) == 0 && strcmp(a->id, b->id) == 0 &&
		strcmp(a->driver, b->driver) == 0 && strcmp(a->serial, b->serial) == 0 &&
		strcmp(a->dir, b->dir) == 0 && strcmp(a->path, b->path) == 0 &&
		strcmp(a->reason, b->reason) == 0);
}

static bool nic_equal(const struct nic *a, const struct nic *b)
{
	return a == b ||
	       (a->numa_node == b->numa_node && a->is_soft == b->is_soft && a->is_visible == b->is_visible &&
		a->has_vfs == b->has_vfs && strcmp(a->physfn, b->physfn) == 0 &&
		/* zeroed before it was filled, so padding compares equal */
		memcmp(&a->name, &b->name, sizeof(a->name)) == 0 && strcmp(a->path, b->path) == 0);
}

bool inventory_equal(const struct inventory *a, const struct inventory *b)
{
	if (a->n_gaudi != b->n_gaudi || a->n_nic != b->n_nic || a->n_hidden != b->n_hidden ||
	    a->has_rdma_cm != b->has_rdma_cm)
		return false;
	for (size_t i = 0; i < a->n_gaudi; i++)
		if (!gaudi_equal(a->gaudi[i], b->gaudi[i]))
			return false;
	for (size_t i = 0; i < a->n_nic; i++)
		if (!nic_equal(a->nic[i], b->nic[i]))
			return false;
	return a->n_hidden == 0 || memcmp(a->hidden, b->hidden, a->n_hidden * sizeof(*a->hidden)) == 0;
}
