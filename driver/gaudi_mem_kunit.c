// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: exports' arguments and ranges, device addresses, the allocator and its accounts; on a device that exists only
 * here, whose memory is a list of pages that were written or zeroed.
 */
#include <kunit/test.h>
#include <linux/fcntl.h>
#include <linux/slab.h>

#include "gaudi_device.h"
#include "gaudi_kunit.h"

#define FAKE_PAGES	64
#define PAGES(n)	((u64)(n) * GAUDI_PAGE_SIZE)

struct fake {
	struct gaudi_device gdev;
	struct gaudi_lease lease;
	bool dirty[FAKE_PAGES];
	unsigned int zeroed;	/* pages, counting again what was zeroed again */
	int fail_at;		/* page whose scrub fails, or -1 */
	bool reset_meanwhile;	/* a reset comes while the next step is scrubbed */
};

static int fake_zero(struct gaudi_device *gdev, u64 offset, size_t size)
{
	struct fake *f = container_of(gdev, struct fake, gdev);
	u64 i;

	for (i = offset / GAUDI_PAGE_SIZE; i < (offset + size) / GAUDI_PAGE_SIZE; i++) {
		if (f->fail_at == (int)i)
			return -EIO;
		f->dirty[i] = false;
		f->zeroed++;
	}
	if (f->reset_meanwhile) {
		f->reset_meanwhile = false;
		gdev->resets++;
	}
	return 0;
}

static const struct gaudi_backend fake_backend = { .zero = fake_zero };

static void fake_work(struct work_struct *work)
{
}

static int fake_init(struct kunit *test)
{
	struct fake *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->fail_at = -1;
	f->gdev.backend = &fake_backend;
	f->gdev.size = PAGES(FAKE_PAGES);
	mutex_init(&f->gdev.lock);
	INIT_LIST_HEAD(&f->gdev.exports);
	INIT_LIST_HEAD(&f->gdev.dirty);
	init_waitqueue_head(&f->gdev.wait);
	INIT_WORK(&f->gdev.work, fake_work);
	/* The cases do the worker's work. */
	disable_work(&f->gdev.work);
	ret = gpu_buddy_init(&f->gdev.buddy, f->gdev.size, GAUDI_PAGE_SIZE);
	if (ret)
		return ret;
	gpu_buddy_driver_set_lock(&f->gdev.buddy, &f->gdev.lock);

	f->lease.gdev = &f->gdev;
	xa_init_flags(&f->lease.allocs, XA_FLAGS_ALLOC1);
	xa_init_flags(&f->lease.maps, 0);
	INIT_LIST_HEAD(&f->lease.exports);
	gaudi_va_init(&f->lease);
	test->priv = f;
	return 0;
}

static void fake_exit(struct kunit *test)
{
	struct fake *f = test->priv;

	if (!f)
		return;
	mutex_lock(&f->gdev.lock);
	gaudi_va_done(&f->lease);
	gaudi_mem_free_all(&f->lease);
	gpu_buddy_free_list(&f->gdev.buddy, &f->gdev.dirty, 0);
	gpu_buddy_fini(&f->gdev.buddy);
	mutex_unlock(&f->gdev.lock);
	xa_destroy(&f->lease.allocs);
	xa_destroy(&f->lease.maps);
	mutex_destroy(&f->gdev.lock);
}

static u64 fake_alloc(struct kunit *test, u64 size, bool contiguous)
{
	struct fake *f = test->priv;
	u64 handle = 0;

	KUNIT_ASSERT_EQ(test, gaudi_mem_alloc(&f->lease, size, contiguous, &handle), 0);
	KUNIT_ASSERT_NE(test, handle, 0);
	return handle;
}

static int fake_scrub(struct fake *f)
{
	int ret;

	mutex_lock(&f->gdev.lock);
	ret = gaudi_mem_scrub(&f->gdev);
	mutex_unlock(&f->gdev.lock);
	return ret;
}

static unsigned int fake_ranges(struct kunit *test, u64 handle, u64 offset, u64 size, struct gaudi_range *ranges)
{
	struct fake *f = test->priv;
	struct gaudi_alloc *alloc = xa_load(&f->lease.allocs, handle);

	KUNIT_ASSERT_NOT_NULL(test, alloc);
	return gaudi_export_ranges(&f->gdev, alloc, offset, size, ranges);
}

/* Takes all memory page by page and frees every second page. */
static void fake_fragment(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handles[FAKE_PAGES];
	int i;

	for (i = 0; i < FAKE_PAGES; i++)
		handles[i] = fake_alloc(test, GAUDI_PAGE_SIZE, false);
	for (i = 0; i < FAKE_PAGES; i++) {
		struct gaudi_range range;

		KUNIT_ASSERT_EQ(test, fake_ranges(test, handles[i], 0, GAUDI_PAGE_SIZE, &range), 1);
		if (range.offset / GAUDI_PAGE_SIZE % 2)
			KUNIT_ASSERT_EQ(test, gaudi_mem_free(&f->lease, handles[i]), 0);
	}
	KUNIT_ASSERT_EQ(test, fake_scrub(f), 0);
}

/* --- export ---------------------------------------------------------------------------------- */
static int export_check(u64 va, u64 offset, u64 size, u32 flags)
{
	u64 end;

	return gaudi_export_check(va, offset, size, flags, &end);
}

static void gaudi_export_aligned_part_is_taken(struct kunit *test)
{
	u64 end = 0;

	KUNIT_EXPECT_EQ(test, gaudi_export_check(GAUDI_VA_BASE, PAGE_SIZE, 3 * PAGE_SIZE, O_RDWR | O_CLOEXEC, &end), 0);
	KUNIT_EXPECT_EQ(test, end, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE, O_RDONLY), 0);
}

static void gaudi_export_unaligned_part_is_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE + 1, 0, PAGE_SIZE, O_RDWR), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 512, PAGE_SIZE, O_RDWR), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE + 1, O_RDWR), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE - 1, O_RDWR), -EINVAL);
}

static void gaudi_export_empty_part_is_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, 0, O_RDWR), -EINVAL);
}

static void gaudi_export_overflow_is_refused(struct kunit *test)
{
	u64 top = -PAGE_SIZE, end;

	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, top, PAGE_SIZE, O_RDWR), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, PAGE_SIZE, top, O_RDWR), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, top, top, O_RDWR), -EINVAL);
	/* The largest that does not wrap around; that it is beyond every allocation is seen from its end. */
	KUNIT_EXPECT_EQ(test, gaudi_export_check(GAUDI_VA_BASE, top - PAGE_SIZE, PAGE_SIZE, O_RDWR, &end), 0);
	KUNIT_EXPECT_EQ(test, end, top);
}

static void gaudi_export_unknown_flags_are_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE, O_WRONLY), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE, O_ACCMODE), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE, O_RDWR | O_NONBLOCK), -EINVAL);
	KUNIT_EXPECT_EQ(test, export_check(GAUDI_VA_BASE, 0, PAGE_SIZE, O_RDWR | O_CREAT), -EINVAL);
}

static void gaudi_export_contiguous_memory_is_one_range(struct kunit *test)
{
	struct gaudi_range range;
	u64 handle = fake_alloc(test, PAGES(7), true);

	KUNIT_EXPECT_EQ(test, fake_ranges(test, handle, 0, PAGES(7), NULL), 1);
	KUNIT_EXPECT_EQ(test, fake_ranges(test, handle, 0, PAGES(7), &range), 1);
	KUNIT_EXPECT_EQ(test, range.start, 0);
	KUNIT_EXPECT_EQ(test, range.len, PAGES(7));
}

static void gaudi_export_ranges_cover_the_part_without_gaps(struct kunit *test)
{
	struct gaudi_range *ranges = kunit_kcalloc(test, 8, sizeof(*ranges), GFP_KERNEL);
	unsigned int i, n;
	u64 handle, at = 0;

	KUNIT_ASSERT_NOT_NULL(test, ranges);
	fake_fragment(test);
	handle = fake_alloc(test, PAGES(8), false);
	KUNIT_EXPECT_EQ(test, fake_ranges(test, handle, 0, PAGES(8), NULL), 8);
	n = fake_ranges(test, handle, 0, PAGES(8), ranges);
	KUNIT_ASSERT_EQ(test, n, 8);
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_EQ(test, ranges[i].start, at);
		KUNIT_EXPECT_EQ(test, ranges[i].len, GAUDI_PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, ranges[i].offset / GAUDI_PAGE_SIZE % 2, 1);
		if (i)
			KUNIT_EXPECT_GT(test, ranges[i].offset, ranges[i - 1].offset);
		at += ranges[i].len;
	}
}

static void gaudi_export_part_begins_and_ends_inside_blocks(struct kunit *test)
{
	struct gaudi_range *all = kunit_kcalloc(test, 4, sizeof(*all), GFP_KERNEL);
	struct gaudi_range *part = kunit_kcalloc(test, 4, sizeof(*part), GFP_KERNEL);
	u64 handle;

	KUNIT_ASSERT_NOT_NULL(test, all);
	KUNIT_ASSERT_NOT_NULL(test, part);
	fake_fragment(test);
	handle = fake_alloc(test, PAGES(4), false);
	KUNIT_ASSERT_EQ(test, fake_ranges(test, handle, 0, PAGES(4), all), 4);
	/* From the middle of the second block into the third. */
	KUNIT_ASSERT_EQ(test, fake_ranges(test, handle, PAGES(1) + SZ_32K, SZ_32K + SZ_4K, part), 2);
	KUNIT_EXPECT_EQ(test, part[0].start, 0);
	KUNIT_EXPECT_EQ(test, part[0].offset, all[1].offset + SZ_32K);
	KUNIT_EXPECT_EQ(test, part[0].len, SZ_32K);
	KUNIT_EXPECT_EQ(test, part[1].start, SZ_32K);
	KUNIT_EXPECT_EQ(test, part[1].offset, all[2].offset);
	KUNIT_EXPECT_EQ(test, part[1].len, SZ_4K);
}

/* --- device addresses ------------------------------------------------------------------------ */
static int va_map(struct kunit *test, u64 handle, u64 hint, bool force, u64 *va)
{
	struct fake *f = test->priv;

	*va = 0;
	return gaudi_va_map(&f->lease, handle, hint, force, va);
}

static void gaudi_va_address_is_aligned_and_in_range(struct kunit *test)
{
	u64 handle = fake_alloc(test, PAGES(3), false), a, b;

	KUNIT_ASSERT_EQ(test, va_map(test, handle, 0, false, &a), 0);
	KUNIT_ASSERT_EQ(test, va_map(test, handle, 0, false, &b), 0);
	KUNIT_EXPECT_GE(test, a, GAUDI_VA_BASE);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(a | b, GAUDI_PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, a + PAGES(3) <= b || b + PAGES(3) <= a);
}

static void gaudi_va_free_hint_is_used(struct kunit *test)
{
	u64 handle = fake_alloc(test, PAGES(2), false), va;

	KUNIT_EXPECT_EQ(test, va_map(test, handle, GAUDI_VA_BASE + PAGES(100), false, &va), 0);
	KUNIT_EXPECT_EQ(test, va, GAUDI_VA_BASE + PAGES(100));
	KUNIT_EXPECT_EQ(test, va_map(test, handle, GAUDI_VA_BASE + PAGES(102), true, &va), 0);
	KUNIT_EXPECT_EQ(test, va, GAUDI_VA_BASE + PAGES(102));
}

static void gaudi_va_taken_hint_is_replaced(struct kunit *test)
{
	u64 handle = fake_alloc(test, PAGES(2), false), hint = GAUDI_VA_BASE + PAGES(10), va;

	KUNIT_ASSERT_EQ(test, va_map(test, handle, hint, true, &va), 0);
	KUNIT_EXPECT_EQ(test, va_map(test, handle, hint + PAGES(1), false, &va), 0);
	KUNIT_EXPECT_TRUE(test, va >= hint + PAGES(2) || va + PAGES(2) <= hint);
}

static void gaudi_va_forced_hint_is_used_or_fails(struct kunit *test)
{
	u64 handle = fake_alloc(test, PAGES(2), false), hint = GAUDI_VA_BASE + PAGES(10), va;

	KUNIT_ASSERT_EQ(test, va_map(test, handle, hint, true, &va), 0);
	KUNIT_EXPECT_EQ(test, va_map(test, handle, hint, true, &va), -ENOMEM);
	KUNIT_EXPECT_EQ(test, va_map(test, handle, hint - PAGES(1), true, &va), -ENOMEM);
	KUNIT_EXPECT_EQ(test, va_map(test, handle, hint + PAGES(4) + PAGE_SIZE, true, &va), -ENOMEM);
}

static void gaudi_va_wild_hints_do_no_harm(struct kunit *test)
{
	static const u64 hints[] = {
		GAUDI_PAGE_SIZE, GAUDI_VA_BASE - GAUDI_PAGE_SIZE, 1ULL << 63, -(u64)GAUDI_PAGE_SIZE,
	};
	u64 handle = fake_alloc(test, PAGES(2), false), va;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hints); i++) {
		KUNIT_EXPECT_EQ(test, va_map(test, handle, hints[i], true, &va), -ENOMEM);
		KUNIT_EXPECT_EQ(test, va_map(test, handle, hints[i], false, &va), 0);
		KUNIT_EXPECT_GE(test, va, GAUDI_VA_BASE);
	}
}

static void gaudi_va_mapped_memory_cannot_be_freed(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle = fake_alloc(test, PAGES(1), false), a, b;

	KUNIT_ASSERT_EQ(test, va_map(test, handle, 0, false, &a), 0);
	KUNIT_ASSERT_EQ(test, va_map(test, handle, 0, false, &b), 0);
	KUNIT_EXPECT_EQ(test, gaudi_mem_free(&f->lease, handle), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, a), 0);
	KUNIT_EXPECT_EQ(test, gaudi_mem_free(&f->lease, handle), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, b), 0);
	KUNIT_EXPECT_EQ(test, gaudi_mem_free(&f->lease, handle), 0);
	KUNIT_EXPECT_EQ(test, va_map(test, handle, 0, false, &a), -EINVAL);
}

static void gaudi_va_only_exact_start_is_unmapped(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle = fake_alloc(test, PAGES(2), false), va;

	KUNIT_ASSERT_EQ(test, va_map(test, handle, 0, false, &va), 0);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, va + GAUDI_PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, va + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, va), 0);
	KUNIT_EXPECT_EQ(test, gaudi_va_unmap(&f->lease, va), -EINVAL);
}

/* --- allocator and accounts ------------------------------------------------------------------ */
static void gaudi_mem_size_is_rounded_up_and_counted(struct kunit *test)
{
	struct fake *f = test->priv;

	fake_alloc(test, 1, false);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, PAGES(1));
	fake_alloc(test, GAUDI_PAGE_SIZE + 1, false);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, PAGES(3));
	fake_alloc(test, PAGES(FAKE_PAGES - 3), false);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, PAGES(FAKE_PAGES));
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, 0);
}

static void gaudi_mem_impossible_sizes_are_refused(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle;

	KUNIT_EXPECT_EQ(test, gaudi_mem_alloc(&f->lease, 0, false, &handle), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_mem_alloc(&f->lease, PAGES(FAKE_PAGES) + 1, false, &handle), -ENOMEM);
	KUNIT_EXPECT_EQ(test, gaudi_mem_alloc(&f->lease, U64_MAX, false, &handle), -ENOMEM);
	KUNIT_EXPECT_EQ(test, gaudi_mem_free(&f->lease, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, gaudi_mem_free(&f->lease, U64_MAX), -EINVAL);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, 0);
	fake_alloc(test, PAGES(1), false);
	KUNIT_EXPECT_EQ(test, gaudi_mem_alloc(&f->lease, PAGES(FAKE_PAGES), false, &handle), -ENOMEM);
}

static void gaudi_mem_freed_memory_is_dirty_until_scrubbed(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle = fake_alloc(test, PAGES(5), false);

	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.dirty_bytes), 0);
	KUNIT_ASSERT_EQ(test, gaudi_mem_free(&f->lease, handle), 0);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.dirty_bytes), PAGES(5));
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, PAGES(FAKE_PAGES - 5));

	KUNIT_ASSERT_EQ(test, fake_scrub(f), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.dirty_bytes), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.scrubbed_bytes), PAGES(5));
	KUNIT_EXPECT_EQ(test, f->zeroed, 5);
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, PAGES(FAKE_PAGES));
}

static void gaudi_mem_failed_scrub_keeps_memory_dirty(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle = fake_alloc(test, PAGES(FAKE_PAGES), false);

	KUNIT_ASSERT_EQ(test, gaudi_mem_free(&f->lease, handle), 0);
	f->fail_at = FAKE_PAGES / 2;
	KUNIT_EXPECT_EQ(test, fake_scrub(f), -EIO);
	KUNIT_EXPECT_FALSE(test, list_empty(&f->gdev.dirty));
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, 0);
	KUNIT_EXPECT_GT(test, atomic64_read(&f->gdev.dirty_bytes), 0);
}

static void gaudi_mem_fresh_device_is_scrubbed_whole(struct kunit *test)
{
	struct fake *f = test->priv;
	int i;

	memset(f->dirty, true, sizeof(f->dirty));
	f->gdev.fresh = true;
	KUNIT_ASSERT_EQ(test, fake_scrub(f), 0);
	KUNIT_EXPECT_FALSE(test, f->gdev.fresh);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.dirty_bytes), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.scrubbed_bytes), PAGES(FAKE_PAGES));
	for (i = 0; i < FAKE_PAGES; i++)
		KUNIT_EXPECT_FALSE(test, f->dirty[i]);
}

static void gaudi_mem_reset_during_scrub_keeps_it_fresh(struct kunit *test)
{
	struct fake *f = test->priv;

	f->gdev.fresh = true;
	f->reset_meanwhile = true;
	KUNIT_ASSERT_EQ(test, fake_scrub(f), 0);
	KUNIT_EXPECT_TRUE(test, f->gdev.fresh);
	KUNIT_ASSERT_EQ(test, fake_scrub(f), 0);
	KUNIT_EXPECT_FALSE(test, f->gdev.fresh);
}

static void gaudi_mem_scrub_stops_for_reset(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle = fake_alloc(test, PAGES(2), false);

	KUNIT_ASSERT_EQ(test, gaudi_mem_free(&f->lease, handle), 0);
	f->gdev.resetting = true;
	KUNIT_EXPECT_EQ(test, fake_scrub(f), -ENODEV);
	KUNIT_EXPECT_EQ(test, f->zeroed, 0);
	KUNIT_EXPECT_FALSE(test, list_empty(&f->gdev.dirty));
}

static void gaudi_mem_contiguous_memory_is_one_run(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle;

	/* Sizes that are no power of two are made of several blocks. */
	fake_alloc(test, PAGES(1), false);
	handle = fake_alloc(test, PAGES(21), true);
	KUNIT_EXPECT_EQ(test, fake_ranges(test, handle, 0, PAGES(21), NULL), 1);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, PAGES(22));
}

static void gaudi_mem_fragments_serve_who_does_not_mind(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle;

	fake_fragment(test);
	KUNIT_EXPECT_EQ(test, gaudi_mem_alloc(&f->lease, PAGES(2), true, &handle), -ENOMEM);
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, PAGES(FAKE_PAGES / 2));
	handle = fake_alloc(test, PAGES(FAKE_PAGES / 2), false);
	KUNIT_EXPECT_EQ(test, fake_ranges(test, handle, 0, PAGES(FAKE_PAGES / 2), NULL), FAKE_PAGES / 2);
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, 0);
}

static void gaudi_mem_end_frees_everything(struct kunit *test)
{
	struct fake *f = test->priv;
	u64 handle, va;

	fake_alloc(test, PAGES(3), false);
	handle = fake_alloc(test, PAGES(4), true);
	KUNIT_ASSERT_EQ(test, gaudi_va_map(&f->lease, handle, 0, false, &va), 0);

	mutex_lock(&f->gdev.lock);
	gaudi_va_done(&f->lease);
	gaudi_mem_free_all(&f->lease);
	mutex_unlock(&f->gdev.lock);
	KUNIT_EXPECT_EQ(test, f->lease.allocated, 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&f->gdev.dirty_bytes), PAGES(7));
	KUNIT_EXPECT_TRUE(test, xa_empty(&f->lease.allocs));
	KUNIT_EXPECT_TRUE(test, xa_empty(&f->lease.maps));
	KUNIT_EXPECT_EQ(test, fake_scrub(f), 0);
	KUNIT_EXPECT_EQ(test, f->gdev.buddy.avail, PAGES(FAKE_PAGES));
	gaudi_va_init(&f->lease);
}

#define GAUDI_SUITE(suite, cases)						\
	static struct kunit_case suite##_cases[] = { cases(GAUDI_KUNIT_CASE) { } }; \
	static struct kunit_suite suite##_suite = {				\
		.name = #suite,							\
		.init = fake_init,						\
		.exit = fake_exit,						\
		.test_cases = suite##_cases,					\
	}

GAUDI_SUITE(gaudi_export, GAUDI_KUNIT_EXPORT);
GAUDI_SUITE(gaudi_va, GAUDI_KUNIT_VA);
GAUDI_SUITE(gaudi_mem, GAUDI_KUNIT_MEM);

kunit_test_suites(&gaudi_export_suite, &gaudi_va_suite, &gaudi_mem_suite);
