// SPDX-License-Identifier: Apache-2.0
#include "pattern.h"

#include <endian.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"

/* One thread touches device memory at a time, so one place to jump to is enough. */
static sigjmp_buf guard_jump;
static volatile sig_atomic_t guard_armed;

static void on_sigbus(int signal_number)
{
	if (guard_armed)
		siglongjmp(guard_jump, 1);
	/* Not ours: die of it, as without a handler. */
	(void)signal(signal_number, SIG_DFL);
	(void)raise(signal_number);
}

enum work {
	WORK_FILL,
	WORK_COMPARE,
	WORK_NONZERO,
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

static void job_nonzero(struct job *job)
{
	static const uint8_t zeros[65536];
	size_t at = 0;

	while (at < job->size) {
		size_t n = job->size - at < sizeof(zeros) ? job->size - at : sizeof(zeros);

		if (memcmp(job->memory + at, zeros, n) != 0)
			break;
		at += n;
	}
	while (at < job->size && job->memory[at] == 0)
		at++;
	job->first = at;
}

static void job_do(struct job *job)
{
	switch (job->work) {
	case WORK_FILL:
	case WORK_COMPARE:
		job_words(job);
		break;
	case WORK_NONZERO:
		job_nonzero(job);
		break;
	case WORK_ZERO:
		memset(job->memory, 0, job->size);
		break;
	}
}

static int job_guarded(struct job *job)
{
	struct sigaction action = { .sa_handler = on_sigbus }, old;

	if (sigaction(SIGBUS, &action, &old) < 0)
		return negative_errno();
	if (sigsetjmp(guard_jump, 1) != 0) {
		guard_armed = 0;
		(void)sigaction(SIGBUS, &old, NULL);
		return -EFAULT;
	}
	guard_armed = 1;
	job_do(job);
	guard_armed = 0;
	(void)sigaction(SIGBUS, &old, NULL);
	return 0;
}

int pattern_fill(void *memory, size_t size, uint64_t seed)
{
	struct job job = { .work = WORK_FILL, .memory = memory, .size = size, .seed = seed };

	return job_guarded(&job);
}

static int job_find(struct job *job, size_t *ret_first)
{
	int r = job_guarded(job);

	if (r == 0)
		*ret_first = job->first;
	return r;
}

/* The memory is only read. */
static uint8_t *readable(const void *memory)
{
	return (uint8_t *)(uintptr_t)memory;
}

int pattern_compare(const void *memory, size_t size, uint64_t seed, size_t *ret_first)
{
	struct job job = { .work = WORK_COMPARE, .memory = readable(memory), .size = size, .seed = seed };

	return job_find(&job, ret_first);
}

int pattern_find_nonzero(const void *memory, size_t size, size_t *ret_first)
{
	struct job job = { .work = WORK_NONZERO, .memory = readable(memory), .size = size };

	return job_find(&job, ret_first);
}

int pattern_zero(void *memory, size_t size)
{
	struct job job = { .work = WORK_ZERO, .memory = memory, .size = size };

	return job_guarded(&job);
}
