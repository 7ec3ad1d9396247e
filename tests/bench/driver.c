// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "driver.h"
#include "vm.h"

static bool is_bench(void)
{
	const char *value = getenv("BENCH");

	return value && !strcmp(value, "1");
}

unsigned int bench_rounds(void)
{
	return is_bench() ? BENCH_ROUNDS_MAX : 3;
}

unsigned int bench_iterations(unsigned int many)
{
	return is_bench() ? many : (many + 9) / 10;
}

uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double bench_median(double *value, unsigned int n)
{
	qsort(value, n, sizeof(*value), compare);
	return value[n / 2];
}

/* Ratio: how many times the peer's cost ours is, so that up to 1 is good for every unit. */
void bench_result(const char *name, double value, const char *unit, const char *peer, double peer_value)
{
	double ratio = strchr(unit, '/') ? peer_value / value : value / peer_value;

	vm_note("bench: {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"peer\": \"%s\", "
		"\"peer_value\": %.6g, \"ratio\": %.3f}",
		name, value, unit, peer, peer_value, ratio);
}

double bench_run(const struct bench *bench)
{
	double ours[BENCH_ROUNDS_MAX], theirs[BENCH_ROUNDS_MAX], middle;
	char name[64];
	unsigned int i, n = bench_rounds();

	/* The first time of everything is of no interest. */
	bench->ours(bench->context);
	bench->theirs(bench->context);
	for (i = 0; i < n; i++) {
		if (i & 1)
			theirs[i] = bench->theirs(bench->context);
		ours[i] = bench->ours(bench->context);
		if (!(i & 1))
			theirs[i] = bench->theirs(bench->context);
	}
	middle = bench_median(ours, n);
	snprintf(name, sizeof(name), "driver/%s", bench->name);
	bench_result(name, middle, bench->unit, bench->peer, bench_median(theirs, n));
	return middle;
}
