// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "json/jsontext.h"
#include "nodes.h"
#include "table.h"

#define FORMAT_VERSION 1

/* Words of the driver may hold anything; JSON holds UTF-8 only. */
static json_t *text(const char *words)
{
	char ascii[1024];
	size_t n = 0;

	for (; words[n] && n < sizeof(ascii) - 1; n++)
		ascii[n] = words[n] >= ' ' && words[n] <= '~' ? words[n] : '?';
	ascii[n] = '\0';
	return json_string(ascii);
}

/* What is not known is null, so that a reader need not know our ways to say so. */
static json_t *text_or_null(const char *words)
{
	return *words ? text(words) : json_null();
}

static json_t *number_or_null(int number)
{
	return number >= 0 ? json_integer(number) : json_null();
}

static json_t *nodes_json(const struct node *nodes, size_t n)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(list, json_string(nodes[i].path)) < 0)
			return NULL;
	return json_incref(list);
}

static json_t *gaudi_json(const struct core *core, const struct device *device)
{
	const struct gaudi *gaudi = device->gaudi;
	const struct pairs_nic *nic = core_nic_of(core, gaudi->id);
	struct node nodes[NODES_MAX];
	size_t n = nodes_of_gaudi(core, gaudi, nodes);

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
			 " s:s, s:o, s:b, s:o, s:o, s:o, s:o}",
			 "id", gaudi->id, "pci", text_or_null(gaudi->pci), "serial",
			 text_or_null(gaudi->serial), "module", number_or_null(gaudi->module_id), "driver",
			 text(gaudi->driver), "numa", number_or_null(gaudi->numa_node), "path",
			 text_or_null(gaudi->path), "nodes", nodes_json(nodes, n), "lease",
			 lease_state_name(gaudi->state), "lease_reason", text_or_null(gaudi->reason),
			 "healthy", device->health.healthy, "reason", text_or_null(device->health.reason),
			 "recovery", text_or_null(health_recovery(&device->health)), "nic",
			 nic ? json_string(nic->pci) : json_null(), "distance",
			 nic ? json_string(table_distance(core, gaudi, nic)) : json_null());
}

static const char *use_of(const struct core *core, const struct pairs_nic *nic)
{
	if (pairs_find_nic(core->pairs, nic->pci))
		return "paired";
	if (core_find_nic(core, nic->pci))
		return "single";
	return table_nic_is_excluded(core, nic) ? "excluded" : "unused";
}

static json_t *nic_json(const struct core *core, const struct pairs_nic *nic)
{
	const struct nic *seen = inventory_find_nic(core->inventory, nic->pci);
	const struct pairs_pair *pair = pairs_find_nic(core->pairs, nic->pci);
	bool on_host = seen && seen->is_visible,
	     present = on_host || pairing_nic_is_present(core->inventory, nic, NULL);
	struct node nodes[NODES_MAX];
	size_t n = nodes_of_nic(core, nic, nodes);

	return json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "pci", nic->pci, "rdma", nic->rdma,
		"netdev", text_or_null(nic->netdev), "node_guid", text_or_null(nic->node_guid), "numa",
		seen ? number_or_null(seen->numa_node) : json_null(), "path",
		seen ? text_or_null(seen->path) : json_null(), "soft",
		seen ? json_boolean(seen->is_soft) : json_null(), "nodes", nodes_json(nodes, n), "where",
		on_host	  ? "host"
		: present ? "pod"
			  : "gone",
		"use", use_of(core, nic), "gaudi", pair ? json_string(pair->gaudi) : json_null());
}

static json_t *gaudis_json(const struct core *core)
{
	json_auto_t *list = json_array();

	/* The _new functions take the reference also when they fail, and refuse NULL. */
	for (size_t i = 0; i < core->n_device; i++)
		if (json_array_append_new(list, gaudi_json(core, &core->device[i])) < 0)
			return NULL;
	return json_incref(list);
}

/* Those that are seen, and those that only the pairing knows. */
static json_t *nics_json(const struct core *core)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < core->inventory->n_nic; i++)
		if (json_array_append_new(list, nic_json(core, &core->inventory->nic[i]->name)) < 0)
			return NULL;
	for (size_t i = 0; i < core->pairs->n; i++) {
		const struct pairs_pair *pair = &core->pairs->pair[i];

		if (pair->has_nic && !inventory_find_nic(core->inventory, pair->nic.pci) &&
		    json_array_append_new(list, nic_json(core, &pair->nic)) < 0)
			return NULL;
	}
	return json_incref(list);
}

int table_print_json(FILE *out, const struct core *core, const struct options *options)
{
	json_auto_t *root =
		json_pack("{s:i, s:s, s:{s:s, s:s}, s:o, s:o}", "version", FORMAT_VERSION, "pairing",
			  options->pairing, "resources", "gaudi", options->resource_gaudi, "nic",
			  options->resource_nic, "gaudis", gaudis_json(core), "nics", nics_json(core));
	_cleanup_free_ char *text = jsontext_format(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (!text)
		return -ENOMEM;
	return fputs(text, out) == EOF || fputc('\n', out) == EOF ? -EIO : 0;
}
