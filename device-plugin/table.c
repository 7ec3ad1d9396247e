// SPDX-License-Identifier: Apache-2.0
#include "table.h"

#include <errno.h>
#include <string.h>

#include "sysfs/pci.h"

enum {
	COLUMN_GAUDI,
	COLUMN_NODE,
	COLUMN_NUMA,
	COLUMN_LEASE,
	COLUMN_HEALTH,
	COLUMN_NIC,
	COLUMN_RDMA,
	COLUMN_INTERFACE,
	COLUMN_VERBS,
	COLUMN_DISTANCE,
	COLUMN_MAX,
};

struct row {
	char cell[COLUMN_MAX][64];
	const char *reason; /* behind the last column, "" for none */
};

static const struct row head = {
	.cell = { "GAUDI", "NODE", "NUMA", "LEASE", "HEALTH", "NIC", "RDMA", "INTERFACE", "VERBS",
		  "DISTANCE" },
	.reason = "",
};

static void set(struct row *row, unsigned column, const char *text)
{
	(void)snprintf(row->cell[column], sizeof(row->cell[column]), "%s", *text ? text : "-");
}

static void set_numa(struct row *row, int node)
{
	if (node >= 0)
		(void)snprintf(row->cell[COLUMN_NUMA], sizeof(row->cell[COLUMN_NUMA]), "%d", node);
}

static void set_nic(struct row *row, const struct pairs_nic *nic)
{
	set(row, COLUMN_NIC, nic->pci);
	set(row, COLUMN_RDMA, nic->rdma);
	set(row, COLUMN_INTERFACE, nic->netdev);
	set(row, COLUMN_VERBS, nic->uverbs);
}

static struct row *row_begin(struct row *row)
{
	for (unsigned column = 0; column < COLUMN_MAX; column++)
		set(row, column, "");
	row->reason = "";
	return row;
}

const char *table_distance(const struct core *core, const struct gaudi *gaudi, const struct pairs_nic *nic)
{
	const struct nic *seen = inventory_find_nic(core->inventory, nic->pci);

	if (seen && seen->is_visible)
		return pci_distance_name(
			pci_distance(gaudi->path, gaudi->numa_node, seen->path, seen->numa_node));
	return pairing_nic_is_present(core->inventory, nic, NULL) ? "in a pod" : "not there now";
}

bool table_nic_is_excluded(const struct core *core, const struct pairs_nic *nic)
{
	const struct pairing_options pairing = {
		.exclude = core->options.exclude,
		.n_exclude = core->options.n_exclude,
	};

	return pairing_nic_is_excluded(&pairing, core->inventory, nic) &&
	       !pairs_find_nic(core->pairs, nic->pci);
}

static void row_of_gaudi(struct row *row, const struct core *core, const struct device *device)
{
	const struct gaudi *gaudi = device->gaudi;
	const struct pairs_nic *nic = core_nic_of(core, gaudi->id);

	set(row, COLUMN_GAUDI, gaudi->id);
	(void)snprintf(row->cell[COLUMN_NODE], sizeof(row->cell[COLUMN_NODE]), "accel%u", gaudi->minor);
	set_numa(row, gaudi->numa_node);
	set(row, COLUMN_LEASE, lease_state_name(gaudi->state));
	set(row, COLUMN_HEALTH, device->health.healthy ? "Healthy" : "Unhealthy");
	if (nic) {
		set_nic(row, nic);
		set(row, COLUMN_DISTANCE, table_distance(core, gaudi, nic));
	}
	row->reason = device->health.reason;
}

static void row_of_nic(struct row *row, const struct pairs_nic *nic, int numa_node, bool is_missing,
		       const char *use)
{
	set_nic(row, nic);
	set_numa(row, numa_node);
	set(row, COLUMN_HEALTH, is_missing ? "Unhealthy" : "Healthy");
	set(row, COLUMN_DISTANCE, use);
}

static void print(FILE *out, const struct row *row, const int *width)
{
	for (unsigned column = 0; column < COLUMN_MAX; column++)
		(void)fprintf(out, "%s%-*s", column ? "  " : "", column + 1 < COLUMN_MAX ? width[column] : 0,
			      row->cell[column]);
	(void)fprintf(out, "%s%s\n", row->reason[0] ? "  " : "", row->reason);
}

int table_print(FILE *out, const struct core *core)
{
	size_t n = 0, max = core->n_device + core->n_nic + core->inventory->n_nic;
	_cleanup_free_ struct row *rows = calloc(max + 1, sizeof(*rows));
	int width[COLUMN_MAX];

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < core->n_device; i++)
		row_of_gaudi(row_begin(&rows[n++]), core, &core->device[i]);
	for (size_t i = 0; i < core->n_nic; i++)
		row_of_nic(row_begin(&rows[n++]), &core->nic[i].name, core->nic[i].numa_node,
			   core->nic[i].missing_ms, "by itself");
	for (size_t i = 0; i < core->inventory->n_nic; i++) {
		const struct nic *nic = core->inventory->nic[i];

		if (table_nic_is_excluded(core, &nic->name))
			row_of_nic(row_begin(&rows[n++]), &nic->name, nic->numa_node, false, "excluded");
	}
	for (unsigned column = 0; column < COLUMN_MAX; column++) {
		width[column] = (int)strlen(head.cell[column]);
		for (size_t i = 0; i < n; i++)
			if ((int)strlen(rows[i].cell[column]) > width[column])
				width[column] = (int)strlen(rows[i].cell[column]);
	}
	print(out, &head, width);
	for (size_t i = 0; i < n; i++)
		print(out, &rows[i], width);
	if (core->n_device == 0)
		(void)fputs(
			"no Gaudi: is the driver loaded (gaudi_p2p, or mainline habanalabs)? ls /sys/class/accel\n",
			out);
	return 0;
}
