// SPDX-License-Identifier: Apache-2.0
#include "table.h"

#include <string.h>

#include "sysfs/pci.h"

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void print_numa(char *buf, size_t size, int node)
{
	if (node < 0)
		(void)snprintf(buf, size, "-");
	else
		(void)snprintf(buf, size, "%d", node);
}

static void print_device(FILE *out, const struct core *core, const struct device *device)
{
	const struct gaudi *gaudi = &device->gaudi;
	const struct pairs_nic *nic = core_nic_of(core, gaudi->id);
	const struct nic *seen = nic ? inventory_find_nic(core->inventory, nic->pci) : NULL;
	const char *distance = "-";
	char numa[16], node[32];

	print_numa(numa, sizeof(numa), gaudi->numa_node);
	(void)snprintf(node, sizeof(node), "accel%u", gaudi->minor);
	if (seen && seen->is_visible)
		distance = pci_distance_name(
			pci_distance(gaudi->path, gaudi->numa_node, seen->path, seen->numa_node));
	else if (nic)
		distance = pairing_nic_is_present(core->inventory, nic, NULL) ? "in a pod" : "not there now";
	(void)fprintf(out, "%-16s %-8s %-5s %-10s %-10s %-14s %-9s %-12s %-10s %s%s%s\n", gaudi->id, node,
		      numa, lease_state_name(gaudi->state), device->health.healthy ? "Healthy" : "Unhealthy",
		      nic ? nic->pci : "-", nic ? nic->rdma : "-", nic ? or_dash(nic->netdev) : "-",
		      nic ? or_dash(nic->uverbs) : "-", distance, device->health.reason[0] ? "  " : "",
		      device->health.reason);
}

void table_print(FILE *out, const struct core *core)
{
	(void)fprintf(out, "%-16s %-8s %-5s %-10s %-10s %-14s %-9s %-12s %-10s %s\n", "GAUDI", "NODE", "NUMA",
		      "LEASE", "HEALTH", "NIC", "RDMA", "INTERFACE", "VERBS", "DISTANCE");
	for (size_t i = 0; i < core->n_device; i++)
		print_device(out, core, &core->device[i]);
	if (core->n_device == 0)
		(void)fputs(
			"no Gaudi: is the driver loaded (gaudi_p2p, or mainline habanalabs)? ls /sys/class/accel\n",
			out);
	for (size_t i = 0; i < core->n_nic; i++) {
		const struct core_nic *nic = &core->nic[i];
		char numa[16];

		print_numa(numa, sizeof(numa), nic->numa_node);
		(void)fprintf(out, "%-16s %-8s %-5s %-10s %-10s %-14s %-9s %-12s %-10s %s\n", "-", "-", numa,
			      "-", nic->missing_ms ? "Unhealthy" : "Healthy", nic->name.pci, nic->name.rdma,
			      or_dash(nic->name.netdev), or_dash(nic->name.uverbs), "by itself");
	}
}
