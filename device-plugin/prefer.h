/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the free Gaudis a pod should get.
 *
 * In this order: as few PCIe switches as possible; the smallest sum of
 * distances between all chosen; none that must still drain; the rest as
 * unbroken as possible (largest sum of squares of what is left per switch);
 * as many with a NIC as possible; then the lowest ids. Exact for up to PREFER_EXACT_MAX devices; with more, a
 * good choice is made first and then bettered for as long as that is quick.
 */
#ifndef DEVICE_PLUGIN_PREFER_H
#define DEVICE_PLUGIN_PREFER_H

#include <stdbool.h>
#include <stddef.h>

#define PREFER_EXACT_MAX 16
/* Of more, only so many are looked at, those with the lowest ids and all musts first. */
#define PREFER_MAX 1024

struct prefer_device {
	const char *id;
	const char *path; /* below the sysfs root; "": not known */
	int numa_node;	  /* -1: not known */
	bool is_ready;	  /* its lease is free */
	bool has_nic;	  /* is paired with one */
	bool must;	  /* has to be among the chosen */
};

/*
 * Chooses size of n devices and writes their indices to chosen (size entries,
 * ascending by id). The number chosen: size, or less when there are not as
 * many, or -ENOMEM. More musts than size: the first ones by id.
 */
int prefer_choose(const struct prefer_device *devices, size_t n, size_t size, size_t *chosen);

#endif
