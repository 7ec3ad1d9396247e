/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sysfs of its own for each input of fuzz_sysfs.c: a few slots with Gaudis
 * and NICs, which steps fill, empty, spoil and move about.
 */
#ifndef FUZZ_TREE_H
#define FUZZ_TREE_H

#include "fuzz_input.h"

/* Empty again. */
void fuzz_tree_begin(void);

/* Path of its sys. */
const char *fuzz_tree_sysfs(void);

/* One change, as the input says. */
void fuzz_tree_change(struct fuzz_input *in);

#endif
