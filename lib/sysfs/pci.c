// SPDX-License-Identifier: Apache-2.0
#include "pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	/* More bridges than PCI can number in one path. */
	DISTANCE_HOST_BRIDGE = 1000,
	DISTANCE_NUMA = 2000,
	DISTANCE_UNKNOWN = 3000,
	DISTANCE_FAR = 4000,
};

/* Length of the hexadecimal number at text when it has min to max digits, else 0. */
static size_t hex_len(const char *text, size_t min, size_t max)
{
	size_t n = strspn(text, "0123456789abcdef");

	return n >= min && n <= max ? n : 0;
}

/* Length of the PCI address at text, else 0. What follows it is not looked at. */
static size_t addr_len(const char *text)
{
	size_t n = hex_len(text, 4, 8);

	if (n == 0 || text[n] != ':' || hex_len(text + n + 1, 2, 2) == 0 || text[n + 3] != ':' ||
	    hex_len(text + n + 4, 2, 2) == 0 || text[n + 6] != '.' || text[n + 7] < '0' || text[n + 7] > '7')
		return 0;
	return n + 8;
}

bool pci_addr_is_valid(const char *text)
{
	size_t n = addr_len(text);

	return n > 0 && text[n] == '\0';
}

bool pci_function_of_path(char *path, char addr[24])
{
	const char *found = NULL;
	size_t found_len = 0;

	for (const char *p = path; p; p = strchr(p, '/')) {
		size_t n;

		p += *p == '/';
		n = addr_len(p);
		if (n > 0 && (p[n] == '/' || p[n] == '\0')) {
			found = p;
			found_len = n;
		}
	}
	if (!found)
		return false;
	memcpy(addr, found, found_len);
	addr[found_len] = '\0';
	path[found - path + found_len] = '\0';
	return true;
}

/* End of the host bridge's component ("pci0000:00"), which other buses may stand before; 0 when there is none. */
static size_t host_bridge_end(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		size_t n;

		p += *p == '/';
		if (strncmp(p, "pci", 3) != 0)
			continue;
		n = hex_len(p + 3, 4, 8);
		if (n > 0 && p[3 + n] == ':' && hex_len(p + 4 + n, 2, 2) > 0 &&
		    (p[6 + n] == '/' || p[6 + n] == '\0'))
			return (size_t)(p - path) + 6 + n;
	}
	return 0;
}

static unsigned count_slashes(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Length of the components that both paths begin with. */
static size_t common_len(const char *a, const char *b)
{
	size_t common = 0;

	for (size_t i = 0;; i++) {
		if ((a[i] == '/' || a[i] == '\0') && (b[i] == '/' || b[i] == '\0'))
			common = i;
		if (a[i] != b[i] || a[i] == '\0')
			return common;
	}
}

/* Of functions that share nothing but perhaps their NUMA node. */
static unsigned numa_distance(int numa_a, int numa_b)
{
	if (numa_a < 0 || numa_b < 0)
		return DISTANCE_UNKNOWN;
	return numa_a == numa_b ? DISTANCE_NUMA : DISTANCE_FAR;
}

unsigned pci_distance(const char *path_a, int numa_a, const char *path_b, int numa_b)
{
	size_t common = common_len(path_a, path_b), host = host_bridge_end(path_a);
	unsigned hops;

	if (*path_a && strcmp(path_a, path_b) == 0)
		return 0;
	if (host == 0 || common < host)
		return numa_distance(numa_a, numa_b);
	hops = count_slashes(path_a + common) + count_slashes(path_b + common);
	return common > host ? hops : DISTANCE_HOST_BRIDGE + hops;
}

const char *pci_distance_name(unsigned distance)
{
	if (distance == 0)
		return "same function";
	if (distance <= 4)
		return "same switch";
	if (distance < DISTANCE_HOST_BRIDGE)
		return "same root port";
	if (distance < DISTANCE_NUMA)
		return "same host bridge";
	if (distance < DISTANCE_UNKNOWN)
		return "same NUMA node";
	return distance < DISTANCE_FAR ? "unknown" : "other NUMA node";
}

size_t pci_switch_len(const char *path)
{
	size_t len = strlen(path), last = len, host = host_bridge_end(path);

	/* host bridge/root port/upstream/downstream/function: cut the last two, if that leaves a switch. */
	if (host == 0 || count_slashes(path + host) < 4)
		return len;
	for (unsigned cut = 0; cut < 2; cut++)
		while (last > 0 && path[--last] != '/')
			;
	return last;
}

/* --- many at once ------------------------------------------------------------- */

static int path_compare(const void *a, const void *b, void *data)
{
	const char *const *paths = data;

	return strcmp(paths[*(const size_t *)a], paths[*(const size_t *)b]);
}

static unsigned count_components(const char *path)
{
	return *path ? count_slashes(path) + 1 : 0;
}

/* Components of the part of path with that length, which ends where one ends. */
static unsigned components_of_len(const char *path, size_t len)
{
	unsigned n = len > 0;

	for (size_t i = 0; i < len; i++)
		n += path[i] == '/';
	return n;
}

/* The numbers of its components: those that it shares with before are the same. */
static void place_fill(struct pci_place *place, const char *path, const struct pci_place *before,
		       unsigned common, uint16_t *next)
{
	place->depth = count_components(path);
	if (place->depth > PCI_DEPTH_MAX)
		place->depth = 0;
	if (place->depth == 0)
		return;
	for (unsigned k = 0; k < place->depth; k++)
		place->node[k] = k < common ? before->node[k] : (*next)++;
	place->host = components_of_len(path, host_bridge_end(path));
	place->group = place->node[components_of_len(path, pci_switch_len(path)) - 1];
}

int pci_places(const char *const *paths, const int *numa_nodes, size_t n, struct pci_place *places)
{
	_cleanup_free_ size_t *order = calloc(n + 1, sizeof(*order));
	const struct pci_place *before = NULL;
	const char *path_before = "";
	uint16_t next = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	/* Sorted, so that whoever shares a parent with somebody shares it with his neighbour. */
	qsort_r(order, n, sizeof(*order), path_compare, (void *)paths);
	for (size_t i = 0; i < n; i++) {
		struct pci_place *place = &places[order[i]];
		const char *path = paths[order[i]];

		*place = (struct pci_place){ .numa_node = numa_nodes[order[i]], .group = -1 };
		place_fill(place, path, before, components_of_len(path, common_len(path, path_before)),
			   &next);
		if (place->depth > 0) {
			before = place;
			path_before = path;
		}
	}
	return 0;
}

static unsigned common_depth(const struct pci_place *a, const struct pci_place *b)
{
	unsigned max = a->depth < b->depth ? a->depth : b->depth, n = 0;

	while (n < max && a->node[n] == b->node[n])
		n++;
	return n;
}

unsigned pci_place_distance(const struct pci_place *a, const struct pci_place *b)
{
	unsigned common = common_depth(a, b), hops = a->depth + b->depth - 2 * common;

	if (a->depth > 0 && hops == 0)
		return 0;
	if (a->host == 0 || common < a->host)
		return numa_distance(a->numa_node, b->numa_node);
	return common > a->host ? hops : DISTANCE_HOST_BRIDGE + hops;
}
