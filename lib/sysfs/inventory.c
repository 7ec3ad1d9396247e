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

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	free(inv->gaudi);
	free(inv->nic);
	free(inv->hidden);
	free(inv);
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

/* A new, zeroed element at the end of an array. */
static void *array_grow(void **array, size_t *n, size_t size)
{
	char *grown = reallocarray(*array, *n + 1, size);

	if (!grown)
		return NULL;
	*array = grown;
	return memset(grown + size * (*n)++, 0, size);
}

static void read_numa_node(const struct sysfs_root *root, const char *path, int *ret)
{
	if (!*path || sysfs_read_int(root, -1, INT_MAX, ret, "%s/numa_node", path) < 0)
		*ret = -1;
}

/* The mainline driver has no lease; what its status says is as near as one gets. */
static void read_mainline_status(const struct sysfs_root *root, const char *dir, struct gaudi *gaudi)
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

	gaudi->state = LEASE_UNKNOWN;
	if (sysfs_read(root, line, sizeof(line), "%s/status", dir) < 0) {
		strcpy(gaudi->reason, "status cannot be read");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(line, words[i].word) == 0)
			gaudi->state = words[i].state;
	if (gaudi->state != LEASE_FREE)
		(void)snprintf(gaudi->reason, sizeof(gaudi->reason), "the driver's status is \"%.200s\"",
			       line);
}

static void read_lease(const struct sysfs_root *root, const char *dir, struct gaudi *gaudi)
{
	char line[SYSFS_LINE_MAX];
	ssize_t n;

	gaudi->state = LEASE_UNKNOWN;
	n = sysfs_read(root, line, sizeof(line), "%s/state", dir);
	if (n < 0) {
		(void)snprintf(gaudi->reason, sizeof(gaudi->reason), "state cannot be read: %s",
			       strerror(-(int)n));
		return;
	}
	for (size_t i = LEASE_FREE; i < ARRAY_SIZE(lease_words); i++)
		if (strcmp(line, lease_words[i]) == 0)
			gaudi->state = i;
	if (gaudi->state == LEASE_UNKNOWN)
		(void)snprintf(gaudi->reason, sizeof(gaudi->reason), "unknown state \"%.200s\"", line);
	else if (gaudi->state != LEASE_FREE && /* which needs none */
		 sysfs_read(root, gaudi->reason, sizeof(gaudi->reason), "%s/reason", dir) < 0)
		gaudi->reason[0] = '\0';
}

void inventory_read_holder(const struct sysfs_root *root, const struct gaudi *gaudi, char *buf, size_t size)
{
	char pid[16] = "", owner[SYSFS_LINE_MAX] = "";
	bool has_pid, has_owner;

	has_pid =
		sysfs_read(root, pid, sizeof(pid), "class/accel/accel%u/device/owner_pid", gaudi->minor) > 0;
	has_owner =
		sysfs_read(root, owner, sizeof(owner), "class/accel/accel%u/device/owner", gaudi->minor) > 0;
	(void)snprintf(buf, size, "%s%s%s%s", has_pid ? "process " : "", has_pid ? pid : "",
		       has_pid && has_owner ? " in " : "", has_owner ? owner : "");
}

/* Which driver serves the accel device, as far as it is one of ours; false otherwise. */
static bool find_driver(const struct sysfs_root *root, const char *dir, struct gaudi *gaudi)
{
	char path[SYSFS_PATH_MAX];
	const char *name;

	if (sysfs_resolve(root, path, "%s/driver", dir) == 0) {
		name = strrchr(path, '/');
		name = name ? name + 1 : path;
		if (strcmp(name, "gaudi_p2p") == 0 || strcmp(name, "habanalabs") == 0) {
			gaudi->has_lease = strcmp(name, "gaudi_p2p") == 0;
			return text_copy(gaudi->driver, sizeof(gaudi->driver), name);
		}
		/* Virtual devices of ours hang on a bus whose driver is everybody's. */
		if (strcmp(name, "faux_driver") != 0)
			return false;
	}
	gaudi->has_lease = true;
	strcpy(gaudi->driver, "gaudi_p2p");
	return sysfs_exists(root, "%s/device_type", dir) && sysfs_exists(root, "%s/state", dir);
}

/* 0: gaudi is filled; -ENODEV: not a Gaudi, or not whole. */
static int scan_gaudi(const struct sysfs_root *root, const char *name, struct gaudi *gaudi)
{
	char dir[SYSFS_PATH_MAX], path[SYSFS_PATH_MAX], line[SYSFS_LINE_MAX];
	const char *last;
	int r;

	/* accel_controlD0 lies in the same class and has no number right behind "accel". */
	if (num_parse_suffix(name, "accel", &gaudi->minor) < 0)
		return -ENODEV;
	r = sysfs_resolve(root, dir, "class/accel/%s/device", name);
	if (r < 0) {
		log_debug("%s: no parent device, skipped: %s", name, strerror(-r));
		return -ENODEV;
	}
	if (!find_driver(root, dir, gaudi)) {
		log_debug("%s: not a Gaudi, skipped", name);
		return -ENODEV;
	}
	strcpy(path, dir);
	if (pci_function_of_path(path, gaudi->pci))
		strcpy(gaudi->path, path);
	gaudi->has_control = sysfs_exists(root, "class/accel/accel_controlD%u", gaudi->minor);
	read_numa_node(root, gaudi->path, &gaudi->numa_node);
	if (sysfs_read_int(root, 0, INT_MAX, &gaudi->module_id, "%s/module_id", dir) < 0)
		gaudi->module_id = -1;
	if (sysfs_read(root, line, sizeof(line), "%s/serial", dir) > 0 && pairs_id_is_valid(line))
		(void)text_copy(gaudi->serial, sizeof(gaudi->serial), line);
	if (gaudi->has_lease)
		read_lease(root, dir, gaudi);
	else
		read_mainline_status(root, dir, gaudi);
	last = strrchr(dir, '/');
	if (!text_copy(gaudi->id, sizeof(gaudi->id),
		       gaudi->serial[0] ? gaudi->serial
		       : gaudi->pci[0]	? gaudi->pci
		       : last		? last + 1
					: dir) ||
	    !pairs_id_is_valid(gaudi->id)) {
		log_debug("%s: no name to identify it by, skipped", name);
		return -ENODEV;
	}
	return 0;
}

static int gaudi_compare(const void *a, const void *b)
{
	const struct gaudi *x = a, *y = b;
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
		struct gaudi *a = &inv->gaudi[i];
		bool twice = false;

		for (size_t j = 0; a->serial[0] && j < inv->n_gaudi; j++)
			twice = twice || (j != i && strcmp(inv->gaudi[j].serial, a->serial) == 0);
		if (twice && a->pci[0])
			strcpy(a->id, a->pci);
	}
	if (inv->n_gaudi > 1)
		qsort(inv->gaudi, inv->n_gaudi, sizeof(*inv->gaudi), gaudi_compare);
	for (size_t i = 0; i < inv->n_gaudi; i++) {
		if (kept > 0 && strcmp(inv->gaudi[kept - 1].id, inv->gaudi[i].id) == 0)
			log_debug("accel%u: another node of %s, skipped", inv->gaudi[i].minor,
				  inv->gaudi[i].id);
		else if (kept++ != i)
			inv->gaudi[kept - 1] = inv->gaudi[i];
	}
	inv->n_gaudi = kept;
}

static int scan_gaudis(const struct sysfs_root *root, struct inventory *inv)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	int r = sysfs_list(root, "class/accel", &names);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		struct gaudi gaudi = {}, *added;

		if (scan_gaudi(root, names.name[i], &gaudi) < 0)
			continue;
		added = array_grow((void **)&inv->gaudi, &inv->n_gaudi, sizeof(*added));
		if (!added)
			return -ENOMEM;
		*added = gaudi;
	}
	gaudi_ids_make_unique(inv);
	return 0;
}

/* Fills path and PCI address from a device directory. */
static bool nic_locate(struct nic *nic, const char *dir)
{
	char path[SYSFS_PATH_MAX];

	strcpy(path, dir);
	if (!pci_function_of_path(path, nic->name.pci))
		return false;
	strcpy(nic->path, path);
	return true;
}

/* Which physical function a virtual one belongs to. */
static void read_physfn(const struct sysfs_root *root, struct nic *nic)
{
	char path[SYSFS_PATH_MAX];

	if (sysfs_resolve(root, path, "%s/physfn", nic->path) == 0)
		(void)pci_function_of_path(path, nic->physfn);
}

/* The function's first network interface, if it has one in this namespace. 0 or -ENOMEM. */
static int read_netdev(const struct sysfs_root *root, struct nic *nic)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	char path[SYSFS_PATH_MAX];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/net", nic->path) >= sizeof(path))
		return 0;
	r = sysfs_list(root, path, &names);
	if (r == 0 && names.n > 0 && pairs_name_is_valid(names.name[0]))
		(void)text_copy(nic->name.netdev, sizeof(nic->name.netdev), names.name[0]);
	return r == -ENOMEM ? r : 0;
}

/* A Soft-RoCE link names its interface; the interface knows the function, perhaps through a virtio child. */
static bool locate_soft(const struct sysfs_root *root, struct nic *nic)
{
	char netdev[SYSFS_LINE_MAX], dir[SYSFS_PATH_MAX];

	if (sysfs_read(root, netdev, sizeof(netdev), "class/infiniband/%s/parent", nic->name.rdma) <= 0 ||
	    !pairs_name_is_valid(netdev) || sysfs_resolve(root, dir, "class/net/%s/device", netdev) < 0 ||
	    !nic_locate(nic, dir))
		return false;
	nic->is_soft = true;
	return text_copy(nic->name.netdev, sizeof(nic->name.netdev), netdev);
}

/*
 * 0: nic is filled; 1: only hidden is (Soft-RoCE in another namespace); -ENODEV: half there, or on no PCI function;
 * -ENOMEM.
 */
static int scan_uverbs(const struct sysfs_root *root, const char *name, struct nic *nic,
		       struct hidden_uverbs *hidden)
{
	char dir[SYSFS_PATH_MAX], line[SYSFS_LINE_MAX];
	unsigned number;

	if (num_parse_suffix(name, "uverbs", &number) < 0 ||
	    !text_copy(nic->name.uverbs, sizeof(nic->name.uverbs), name))
		return -ENODEV;
	if (sysfs_read(root, line, sizeof(line), "class/infiniband_verbs/%s/ibdev", name) <= 0 ||
	    !pairs_name_is_valid(line) || !text_copy(nic->name.rdma, sizeof(nic->name.rdma), line)) {
		log_debug("%s: names no RDMA device, skipped", name);
		return -ENODEV;
	}
	/* sysfs shows only this namespace's RDMA devices, but every namespace's verbs nodes. */
	nic->is_visible = sysfs_exists(root, "class/infiniband/%s", line);
	if (sysfs_resolve(root, dir, "class/infiniband_verbs/%s/device", name) == 0) {
		if (!nic_locate(nic, dir)) {
			log_debug("%s (%s): not a PCI function, skipped", line, name);
			return -ENODEV;
		}
	} else if (!nic->is_visible) {
		strcpy(hidden->uverbs, nic->name.uverbs);
		strcpy(hidden->rdma, nic->name.rdma);
		return 1;
	} else if (!locate_soft(root, nic)) {
		log_debug("%s (%s): on no PCI function, skipped", line, name);
		return -ENODEV;
	}
	if (nic->is_visible &&
	    sysfs_read(root, line, sizeof(line), "class/infiniband/%s/node_guid", nic->name.rdma) > 0 &&
	    pairs_id_is_valid(line))
		(void)text_copy(nic->name.node_guid, sizeof(nic->name.node_guid), line);
	read_numa_node(root, nic->path, &nic->numa_node);
	read_physfn(root, nic);
	return nic->name.netdev[0] ? 0 : read_netdev(root, nic);
}

static int nic_compare(const void *a, const void *b)
{
	const struct nic *x = a, *y = b;
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
		qsort(inv->nic, inv->n_nic, sizeof(*inv->nic), nic_compare);
	for (size_t i = 0; i < inv->n_nic; i++) {
		if (kept > 0 && strcmp(inv->nic[kept - 1].name.pci, inv->nic[i].name.pci) == 0)
			log_debug("%s: another RDMA device of %s, skipped", inv->nic[i].name.rdma,
				  inv->nic[i].name.pci);
		else if (kept++ != i)
			inv->nic[kept - 1] = inv->nic[i];
	}
	inv->n_nic = kept;
}

static int nic_pci_compare(const void *pci, const void *nic)
{
	return strcmp(pci, ((const struct nic *)nic)->name.pci);
}

static struct nic *find_nic(const struct inventory *inv, const char *pci)
{
	if (inv->n_nic == 0)
		return NULL;
	return bsearch(pci, inv->nic, inv->n_nic, sizeof(*inv->nic), nic_pci_compare);
}

static void nics_find_vfs(struct inventory *inv)
{
	for (size_t i = 0; i < inv->n_nic; i++) {
		struct nic *physfn = inv->nic[i].physfn[0] ? find_nic(inv, inv->nic[i].physfn) : NULL;

		if (physfn)
			physfn->has_vfs = true;
	}
}

static int scan_nics(const struct sysfs_root *root, struct inventory *inv)
{
	_cleanup_(sysfs_names_done) struct sysfs_names names = {};
	int r = sysfs_list(root, "class/infiniband_verbs", &names);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		struct hidden_uverbs hidden = {}, *added_hidden;
		struct nic nic = {}, *added;

		r = scan_uverbs(root, names.name[i], &nic, &hidden);
		if (r == -ENOMEM)
			return r;
		if (r == 0) {
			added = array_grow((void **)&inv->nic, &inv->n_nic, sizeof(*added));
			if (!added)
				return -ENOMEM;
			*added = nic;
		} else if (r == 1) {
			added_hidden =
				array_grow((void **)&inv->hidden, &inv->n_hidden, sizeof(*added_hidden));
			if (!added_hidden)
				return -ENOMEM;
			*added_hidden = hidden;
		}
	}
	nics_make_unique(inv);
	nics_find_vfs(inv);
	return 0;
}

int inventory_scan(const struct sysfs_root *root, struct inventory **ret)
{
	_cleanup_(inventory_freep) struct inventory *inv = calloc(1, sizeof(*inv));
	int r;

	if (!inv)
		return -ENOMEM;
	r = scan_gaudis(root, inv);
	if (r < 0)
		return r;
	r = scan_nics(root, inv);
	if (r < 0)
		return r;
	inv->has_rdma_cm = sysfs_exists(root, "class/misc/rdma_cm");
	*ret = TAKE_PTR(inv);
	return 0;
}

static bool array_copy(void **copy, const void *array, size_t n, size_t size)
{
	*copy = n ? malloc(n * size) : NULL;
	if (*copy)
		memcpy(*copy, array, n * size);
	return *copy || n == 0;
}

int inventory_refresh(const struct sysfs_root *root, const struct inventory *old, struct inventory **ret)
{
	_cleanup_(inventory_freep) struct inventory *inv = malloc(sizeof(*inv));

	if (!inv)
		return -ENOMEM;
	*inv = *old;
	inv->gaudi = NULL;
	inv->nic = NULL;
	inv->hidden = NULL;
	if (!array_copy((void **)&inv->gaudi, old->gaudi, old->n_gaudi, sizeof(*old->gaudi)) ||
	    !array_copy((void **)&inv->nic, old->nic, old->n_nic, sizeof(*old->nic)) ||
	    !array_copy((void **)&inv->hidden, old->hidden, old->n_hidden, sizeof(*old->hidden)))
		return -ENOMEM;
	for (size_t i = 0; i < inv->n_gaudi; i++) {
		struct gaudi *gaudi = &inv->gaudi[i];
		char dir[SYSFS_PATH_MAX];

		/* A virtual device has no path; its node leads to it. */
		if (gaudi->path[0])
			strcpy(dir, gaudi->path);
		else
			(void)snprintf(dir, sizeof(dir), "class/accel/accel%u/device", gaudi->minor);
		memset(gaudi->reason, 0, sizeof(gaudi->reason));
		if (gaudi->has_lease)
			read_lease(root, dir, gaudi);
		else
			read_mainline_status(root, dir, gaudi);
	}
	*ret = TAKE_PTR(inv);
	return 0;
}

static int gaudi_id_compare(const void *id, const void *gaudi)
{
	return strcmp(id, ((const struct gaudi *)gaudi)->id);
}

const struct gaudi *inventory_find_gaudi(const struct inventory *inv, const char *id)
{
	if (inv->n_gaudi == 0)
		return NULL;
	return bsearch(id, inv->gaudi, inv->n_gaudi, sizeof(*inv->gaudi), gaudi_id_compare);
}

const struct nic *inventory_find_nic(const struct inventory *inv, const char *pci)
{
	return find_nic(inv, pci);
}

bool inventory_equal(const struct inventory *a, const struct inventory *b)
{
	/* Elements are zeroed before they are filled, so padding compares equal. */
	return a->n_gaudi == b->n_gaudi && a->n_nic == b->n_nic && a->n_hidden == b->n_hidden &&
	       a->has_rdma_cm == b->has_rdma_cm &&
	       (!a->n_gaudi || memcmp(a->gaudi, b->gaudi, a->n_gaudi * sizeof(*a->gaudi)) == 0) &&
	       (!a->n_nic || memcmp(a->nic, b->nic, a->n_nic * sizeof(*a->nic)) == 0) &&
	       (!a->n_hidden || memcmp(a->hidden, b->hidden, a->n_hidden * sizeof(*a->hidden)) == 0);
}
