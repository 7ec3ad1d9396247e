/* SPDX-License-Identifier: Apache-2.0 */
/* The Gaudis that gaudi_p2p drives, from /sys/class/accel, and who uses them. */
#ifndef DRIVER_LOADER_CARDS_H
#define DRIVER_LOADER_CARDS_H

#include "loader.h"

struct card {
	char name[32];	  /* accelN */
	char device[64];  /* PCI address, or another bus' name */
	char serial[128]; /* "" where it has none */
	char state[32];	  /* see driver/README.md */
	char reason[256];
	char owner[128];
	char owner_pid[32];
};

struct cards {
	struct card list[LOADER_CARDS_MAX];
	size_t n;
};

/* 0, -E2BIG, or an error of reading. A card that goes away meanwhile is left out. */
int cards_load(int root, struct cards *ret);

/* The pod that the kubelet has given the card to, or NULL. */
const char *cards_pod(const struct card *card, const struct loader_grants *grants);

/* "0000:05:00.0 is draining: REASON (netns:[1], process 2)" */
void cards_describe(const struct card *card, const char *pod, char *text, size_t size);

#endif
