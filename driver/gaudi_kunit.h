/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef GAUDI_KUNIT_H
#define GAUDI_KUNIT_H

/*
 * The cases of each KUnit suite, X(suite, case): here, so that tests/vm can ask for each by name and would miss one
 * that did not run.
 */
#define GAUDI_KUNIT_STATE(X)						\
	X(gaudi_state, first_is_draining)				\
	X(gaudi_state, lease_goes_round)				\
	X(gaudi_state, only_open_leads_to_owned)			\
	X(gaudi_state, only_end_leads_out_of_owned)			\
	X(gaudi_state, only_a_scrub_leads_to_free)			\
	X(gaudi_state, only_reset_leads_out_of_lost)			\
	X(gaudi_state, failed_scrub_loses)				\
	X(gaudi_state, reset_drains_whatever_was)			\
	X(gaudi_state, remove_loses_whatever_was)			\
	X(gaudi_state, all_else_is_refused)				\
	X(gaudi_state, names_are_the_abi)

#define GAUDI_KUNIT_OWNER(X)						\
	X(gaudi_owner, namespace_decides)				\
	X(gaudi_owner, cgroup_decides_on_the_host_network)		\
	X(gaudi_owner, dead_owner_is_nobody)				\
	X(gaudi_owner, same_pod_is_the_same)

#define GAUDI_KUNIT_EXPORT(X)						\
	X(gaudi_export, aligned_part_is_taken)				\
	X(gaudi_export, unaligned_part_is_refused)			\
	X(gaudi_export, empty_part_is_refused)				\
	X(gaudi_export, overflow_is_refused)				\
	X(gaudi_export, unknown_flags_are_refused)			\
	X(gaudi_export, contiguous_memory_is_one_range)			\
	X(gaudi_export, ranges_cover_the_part_without_gaps)		\
	X(gaudi_export, part_begins_and_ends_inside_blocks)

#define GAUDI_KUNIT_VA(X)						\
	X(gaudi_va, address_is_aligned_and_in_range)			\
	X(gaudi_va, free_hint_is_used)					\
	X(gaudi_va, taken_hint_is_replaced)				\
	X(gaudi_va, forced_hint_is_used_or_fails)			\
	X(gaudi_va, wild_hints_do_no_harm)				\
	X(gaudi_va, mapped_memory_cannot_be_freed)			\
	X(gaudi_va, only_exact_start_is_unmapped)

#define GAUDI_KUNIT_MEM(X)						\
	X(gaudi_mem, size_is_rounded_up_and_counted)			\
	X(gaudi_mem, impossible_sizes_are_refused)			\
	X(gaudi_mem, freed_memory_is_dirty_until_scrubbed)		\
	X(gaudi_mem, failed_scrub_keeps_memory_dirty)			\
	X(gaudi_mem, fresh_device_is_scrubbed_whole)			\
	X(gaudi_mem, reset_during_scrub_keeps_it_fresh)			\
	X(gaudi_mem, scrub_stops_for_reset)				\
	X(gaudi_mem, contiguous_memory_is_one_run)			\
	X(gaudi_mem, fragments_serve_who_does_not_mind)			\
	X(gaudi_mem, end_frees_everything)

#define GAUDI_KUNIT_ALL(X)						\
	GAUDI_KUNIT_STATE(X)						\
	GAUDI_KUNIT_OWNER(X)						\
	GAUDI_KUNIT_EXPORT(X)						\
	GAUDI_KUNIT_VA(X)						\
	GAUDI_KUNIT_MEM(X)

/* Inside the table of a suite: the function of a case has its name behind the suite's. */
#define GAUDI_KUNIT_CASE(suite, what) { .run_case = suite##_##what, .name = #what },

#endif
