// SPDX-License-Identifier: Apache-2.0
#include "pattern.h"

#include <endian.h>
#include <string.h>

#include "p2p/touch.h"

enum work {
	WORK_FILL,
	WORK_COMPARE,
	WORK_ZERO,
};

struct job {
	enum work work;
	uint8_t *memory;
	size_t size;
	uint64_t seed;
	size_t first;
};

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static void job_words(struct job *job)
{
	uint64_t *words = (uint64_t *)(void *)job->memory;

	for (size_t i = 0; i < job->size / 8; i++) {
		uint64_t word = htole64(splitmix64(job->seed + i));

		if (job->work == WORK_FILL) {
			words[i] = word;
		} else if (words[i] != word) {
			job->first = i * 8;
			return;
		}
	}
	job->first = job->size;
}

static void job_do(void *data)
{
	struct job *job = data;

	switch (job->work) {
	case WORK_FILL:
	case WORK_COMPARE:
		job_words(job);
		break;
	case WORK_ZERO:
		memset(job->memory, 0, job->size);
		break;
	}
}

int pattern_fill(void *memory, size_t size, uint64_t seed)
{
	struct job job = { .work = WORK_FILL, .memory = memory, .size = size, .seed = seed };

	return p2p_touch(job_do, &job);
}

/* The memory is only read. */
static uint8_t *readable(const void *memory)
{
	return (uint8_t *)(uintptr_t)memory;
}

int pattern_compare(const void *memory, size_t size, uint64_t seed, size_t *ret_first)
{
	struct job job = { .work = WORK_COMPARE, .memory = readable(memory), .size = size, .seed = seed };
	int r = p2p_touch(job_do, &job);

	if (r == 0)
		*ret_first = job.first;
	return r;
}

int pattern_zero(void *memory, size_t size)
{
	struct job job = { .work = WORK_ZERO, .memory = memory, .size = size };

	return p2p_touch(job_do, &job);
}
