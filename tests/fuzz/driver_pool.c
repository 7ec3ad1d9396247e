// SPDX-License-Identifier: Apache-2.0
/* What a fuzzing process knows, and how it chooses. */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "driver.h"
#include "vm.h"

/* splitmix64 */
uint64_t fuzz_random(struct fuzz *f)
{
	uint64_t z = (f->random += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t fuzz_below(struct fuzz *f, uint64_t n)
{
	return fuzz_random(f) % n;
}

bool fuzz_once_in(struct fuzz *f, uint64_t n)
{
	return fuzz_below(f, n) == 0;
}

uint64_t fuzz_value(struct fuzz *f)
{
	static const uint64_t values[] = { 0,
					   1,
					   2,
					   4095,
					   4096,
					   65535,
					   65536,
					   1 << 20,
					   64 << 20,
					   INT32_MAX,
					   1ull << 31,
					   UINT32_MAX,
					   1ull << 32,
					   1ull << 44,
					   1ull << 63,
					   UINT64_MAX,
					   UINT64_MAX - 4095,
					   UINT64_MAX - 65535 };

	switch (fuzz_below(f, 5)) {
	case 0:
		return fuzz_random(f);
	case 1:
		return f->handles.n ? f->handles.thing[fuzz_below(f, f->handles.n)].value : 1;
	case 2:
		return f->addresses.n ? f->addresses.thing[fuzz_below(f, f->addresses.n)].value : 1ull << 44;
	default:
		return values[fuzz_below(f, sizeof(values) / sizeof(values[0]))];
	}
}

bool fuzz_mutate(struct fuzz *f, void *argument, size_t size)
{
	unsigned int n;

	if (!fuzz_once_in(f, 6))
		return false;
	for (n = 1 + (unsigned int)fuzz_below(f, 3); n; n--) {
		size_t width = fuzz_once_in(f, 2) ? 4 : 8;
		uint64_t value = fuzz_value(f);

		memcpy((char *)argument + fuzz_below(f, size / width) * width, &value, width);
	}
	return true;
}

void fuzz_called(struct fuzz *f)
{
	atomic_fetch_add(&f->shared->calls, 1);
	atomic_fetch_add(&f->shared->worker[f->worker].calls, 1);
}

int fuzz_ioctl(struct fuzz *f, const struct fuzz_file *file, unsigned long cmd, void *argument)
{
	int r;

	fuzz_called(f);
	r = ioctl(file->fd, cmd, argument);
	if (r < 0)
		r = -errno;
	if (file->kind == FUZZ_ACCEL && file->tenant != f->tenant && !f->shares_files)
		CHECK_MSG(r == -EPERM || r == -ENODEV,
			  "the accel file of tenant %u answers %d to tenant %u (ioctl %lx)", file->tenant, r,
			  f->tenant, cmd);
	return r;
}

bool fuzz_is_stranger(const struct fuzz *f, const struct fuzz_file *file)
{
	return !f->shares_files && file->tenant != f->tenant && f->tenant >= FUZZ_TENANTS_GRANTED;
}

/* --- files ---------------------------------------------------------------------- */
unsigned int fuzz_count(const struct fuzz *f, enum fuzz_kind kind)
{
	unsigned int i, n = 0;

	for (i = 0; i < f->nr_files; i++)
		n += f->file[i].kind == kind;
	return n;
}

/* Mostly one that serves us, if there is one: what it answers to strangers is soon asked. */
struct fuzz_file *fuzz_pick(struct fuzz *f, enum fuzz_kind kind)
{
	unsigned int n = fuzz_count(f, kind), i, chosen;
	bool ours = !fuzz_once_in(f, 4);

	if (!n)
		return NULL;
	chosen = (unsigned int)fuzz_below(f, n);
	for (i = 0; ours && i < f->nr_files; i++) {
		unsigned int at = (chosen + i) % f->nr_files;

		if (f->file[at].kind == kind && f->file[at].tenant == f->tenant)
			return &f->file[at];
	}
	for (i = 0;; i++)
		if (f->file[i].kind == kind && !chosen--)
			return &f->file[i];
}

int fuzz_keep(struct fuzz *f, struct fuzz_file file)
{
	if (file.fd < 0)
		return file.fd;
	if (f->nr_files == FUZZ_FILES) {
		close(file.fd);
		return -EMFILE;
	}
	f->file[f->nr_files++] = file;
	return 0;
}

void fuzz_drop(struct fuzz *f, struct fuzz_file *file)
{
	close(file->fd);
	*file = f->file[--f->nr_files];
}

/* --- handles, addresses, views --------------------------------------------------- */
void fuzz_put(struct fuzz_pool *pool, struct fuzz *f, struct fuzz_thing thing)
{
	if (pool->n < FUZZ_THINGS)
		pool->thing[pool->n++] = thing;
	else
		pool->thing[fuzz_below(f, FUZZ_THINGS)] = thing;
}

/* One of the file's lease, if there is one; else any. */
struct fuzz_thing *fuzz_get(struct fuzz_pool *pool, struct fuzz *f, const struct fuzz_file *file)
{
	unsigned int tries;
	struct fuzz_thing *thing = NULL;

	for (tries = 0; pool->n && tries < 8; tries++) {
		thing = &pool->thing[fuzz_below(f, pool->n)];
		if (thing->lease == file->lease)
			break;
	}
	return thing;
}

void fuzz_forget(struct fuzz_pool *pool, struct fuzz_thing *thing)
{
	*thing = pool->thing[--pool->n];
}
