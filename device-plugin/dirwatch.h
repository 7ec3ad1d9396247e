/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events in a few directories that may come late, be replaced, or never come.
 */
#ifndef DEVICE_PLUGIN_DIRWATCH_H
#define DEVICE_PLUGIN_DIRWATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"

#define DIRWATCH_MAX 2

struct dirwatch;

struct dirwatch_options {
	const char *dirs[DIRWATCH_MAX]; /* must outlive the watch; NULL: fewer */
	/* A directory is there, for the first time or anew. */
	void (*appeared)(const char *dir, void *data);
	/* Something in one of them came, went or was replaced. */
	void (*changed)(void *data);
	void *data;
};

/* 0, -ENOMEM, or -EMFILE: the user's instances of inotify are used up. Looks for no directory yet. */
int dirwatch_new(struct loop *loop, const struct dirwatch_options *options, struct dirwatch **ret);
void dirwatch_free(struct dirwatch *watch);
DEFINE_CLEANUP(struct dirwatch *, dirwatch_free)

/*
 * Looks for those that are not there or are others by now; to be called now and
 * then, because a parent that is renamed makes no event. That there is none at
 * all is said once.
 */
void dirwatch_look(struct dirwatch *watch);

/* Whether one of them was there at the last look. */
bool dirwatch_has_any(const struct dirwatch *watch);

#endif
