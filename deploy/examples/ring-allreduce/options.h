/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user chose: --join-timeout on the command line, or
 * RING_ALLREDUCE_JOIN_TIMEOUT in the environment; the command line wins.
 */
#ifndef RING_ALLREDUCE_OPTIONS_H
#define RING_ALLREDUCE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_ENVIRONMENT "RING_ALLREDUCE_"
#define OPTIONS_TEXT_SIZE 256
#define OPTIONS_PEERS_SIZE 8192
#define OPTIONS_WHY_SIZE 320

struct options {
	/* As given. */
	char rank_text[16]; /* "": JOB_COMPLETION_INDEX */
	char peers[OPTIONS_PEERS_SIZE];
	char service[OPTIONS_TEXT_SIZE];
	char job[OPTIONS_TEXT_SIZE];
	char checkpoint_dir[OPTIONS_TEXT_SIZE];
	unsigned world, port;
	unsigned steps, batch, hidden, every, seed;
	unsigned join_s, step_s, pace_ms;
	float rate;
	bool device;
	bool help;

	/* What follows from it. */
	unsigned rank;
	char host[OPTIONS_TEXT_SIZE]; /* of rank 0; "": there is no other rank */
	char port_text[8];
};

/*
 * 0, or -EINVAL with a sentence in why. With help set, the rest was not looked at. hostname is that of this
 * pod: in an Indexed Job JOB-INDEX, from which that of rank 0 follows.
 */
int options_parse(int argc, char **argv, char **environment, const char *hostname, struct options *options,
		  char why[OPTIONS_WHY_SIZE]);

void options_help(FILE *out);

#endif
