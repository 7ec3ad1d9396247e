/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks of the driver, each beside a peer in the same guest: vfio-pci, which exports the BAR of the second card, or
 * the kernel's own vgem for handles. Rounds of both alternate, and medians are compared.
 *
 * A result is a line "bench: {JSON}" with what DESIGN's bench.json has.
 */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench {
	const char *name;
	const char *unit; /* "ns" or "MiB/s" */
	const char *peer;
	/* One round; returns the value. */
	double (*ours)(void *context);
	double (*theirs)(void *context);
	void *context;
};

#define BENCH_ROUNDS_MAX 31

/* Rounds, and iterations inside one: few when only its working is tested, many with BENCH=1. */
unsigned int bench_rounds(void);
unsigned int bench_iterations(unsigned int many);
/* Measures and prints; fails nothing. Returns the median of ours. */
double bench_run(const struct bench *bench);
/* Sorts the values. */
double bench_median(double *value, unsigned int n);
/* A result that was found otherwise; the name with that of its part. Of a unit with a '/' much is good, of others little. */
void bench_result(const char *name, double value, const char *unit, const char *peer, double peer_value);
uint64_t bench_now(void); /* ns, monotonic */

/* --- driver_vfio.c: the card under vfio-pci. A failure fails the test ------------------------ */
struct bench_vfio {
	int container, group, device;
	uint64_t size;	 /* of the BAR */
	uint64_t config; /* offset of the config space in @device */
	uint8_t *memory; /* the BAR, mapped */
};

/* Takes the card from whatever drives it. */
void bench_vfio_open(struct bench_vfio *vfio, unsigned int card);
/* A dma-buf of @ranges pieces of @size bytes, every second piece of the BAR if there is more than one. fd or -errno */
int bench_vfio_export(struct bench_vfio *vfio, uint64_t offset, uint64_t size, unsigned int ranges);
/*
 * Sends the device to sleep, which revokes its dma-bufs, or wakes it. Of the ways to have vfio-pci revoke this is the one
 * that costs nothing else: a reset waits for the bus, and with its memory disabled QEMU rearranges its address space.
 */
void bench_vfio_sleep(struct bench_vfio *vfio, bool sleep);
void bench_vfio_close(struct bench_vfio *vfio);

#endif
