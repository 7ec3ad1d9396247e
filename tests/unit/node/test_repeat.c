// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <signal.h>
#include <string.h>

#include "node/repeat.h"

struct script {
	const enum report_outcome *outcomes;
	unsigned steps;
	unsigned signal_at; /* the step that ends with SIGTERM to ourselves; 0: none */
};

static void step(void *data, struct report *report)
{
	struct script *script = data;

	(void)report_end(report, script->outcomes[script->steps], "step %u", script->steps);
	if (++script->steps == script->signal_at)
		(void)raise(SIGTERM);
}

static unsigned steps_of(struct script *script, bool wait, bool stay, struct report *report)
{
	repeat_run(
		&(struct repeat){ .step = step, .data = script, .interval = 0, .wait = wait, .stay = stay },
		report);
	return script->steps;
}

static void one_step_without_being_told_to_wait(void **state)
{
	static const enum report_outcome outcomes[] = { REPORT_WAIT };
	struct script script = { .outcomes = outcomes };
	struct report report;

	(void)state;
	assert_int_equal(steps_of(&script, false, false, &report), 1);
	assert_int_equal(report.outcome, REPORT_WAIT);
}

static void waits_for_what_others_may_change_and_no_longer(void **state)
{
	static const enum report_outcome outcomes[] = { REPORT_WAIT, REPORT_IN_USE, REPORT_FAILED };
	static const enum report_outcome good[] = { REPORT_IN_USE, REPORT_DONE };
	struct script script = { .outcomes = outcomes }, ends_well = { .outcomes = good };
	struct report report;

	(void)state;
	assert_int_equal(steps_of(&script, true, false, &report), 3);
	assert_int_equal(report.outcome, REPORT_FAILED);
	assert_int_equal(steps_of(&ends_well, true, false, &report), 2);
	assert_int_equal(report.outcome, REPORT_DONE);
	assert_string_equal(report.text, "step 1");
}

static void stays_until_sigterm_which_lets_a_step_end(void **state)
{
	static const enum report_outcome outcomes[] = { REPORT_DONE, REPORT_FAILED, REPORT_DONE };
	struct script script = { .outcomes = outcomes, .signal_at = 3 };
	struct report report;

	(void)state;
	assert_int_equal(steps_of(&script, true, true, &report), 3);
	assert_string_equal(report.text, "step 2");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(one_step_without_being_told_to_wait),
	cmocka_unit_test(waits_for_what_others_may_change_and_no_longer),
	cmocka_unit_test(stays_until_sigterm_which_lets_a_step_end),
};

UNIT_MAIN(tests)
