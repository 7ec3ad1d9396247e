/* SPDX-License-Identifier: Apache-2.0 */
/* PCI functions by their place in the tree of bridges. */
#ifndef SYSFS_PCI_H
#define SYSFS_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True for "0000:05:00.0", also with a longer domain ("10000:e1:00.0"). */
bool pci_addr_is_valid(const char *text);

/*
 * Finds the PCI function that a device path ("devices/pci0000:00/.../0000:06:00.0/virtio3")
 * belongs to: the deepest address in it. Its address goes to addr (24 bytes),
 * and path is cut behind it. False when there is none; both are then untouched.
 */
bool pci_function_of_path(char *path, char addr[24]);

/*
 * How far two functions are apart, from their paths and NUMA nodes (-1: not
 * known). 0: the same function. Then, each class above all of the one before:
 * bridges passed below a common host bridge's port, same host bridge, same
 * NUMA node, unknown, other NUMA node. An empty path is nowhere, so unknown.
 */
unsigned pci_distance(const char *path_a, int numa_a, const char *path_b, int numa_b);

/* What the distance means, for people: "same switch", "same host bridge", ... */
const char *pci_distance_name(unsigned distance);

/*
 * The same for many functions at once. A place is a path with its components
 * as numbers, equal numbers for equal components below equal parents, so that
 * two places are compared without looking at text.
 */
#define PCI_DEPTH_MAX 40

struct pci_place {
	unsigned depth; /* components; 0: nowhere */
	unsigned host;	/* of these, up to and with the host bridge; 0: there is none */
	int group;	/* equal for functions under one switch (pci_switch_len()); -1: nowhere, in none */
	int numa_node;
	uint16_t node[PCI_DEPTH_MAX];
};

/*
 * Places of n functions, at most 1024; only places made by one call may be
 * compared. A path with more than PCI_DEPTH_MAX components is nowhere. 0 or -ENOMEM.
 */
int pci_places(const char *const *paths, const int *numa_nodes, size_t n, struct pci_place *places);

/* As pci_distance() of their paths. */
unsigned pci_place_distance(const struct pci_place *a, const struct pci_place *b);

/*
 * Length of the part of path that names the switch the function hangs under:
 * up to the bridge above the port that it is plugged into. Functions with
 * equal parts share a switch. A function in a root port is alone: all of it.
 */
size_t pci_switch_len(const char *path);

#endif
