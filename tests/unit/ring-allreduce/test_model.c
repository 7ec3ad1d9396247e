// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <math.h>
#include <string.h>

#include "../../../deploy/examples/ring-allreduce/model.h"

#define HIDDEN 5
#define BATCH 12

static float loss_at(struct model *model)
{
	_cleanup_free_ float *unused = calloc(model_count(model), sizeof(float));

	return model_backward(model, 3, 0, BATCH, BATCH, unused);
}

static void gradients_are_those_of_finite_differences(void **state)
{
	_cleanup_(model_freep) struct model *model = NULL;
	_cleanup_free_ float *gradient = NULL;
	const float nudge = 1e-2F;
	size_t n;

	(void)state;
	assert_int_equal(model_new(HIDDEN, 7, &model), 0);
	n = model_count(model);
	assert_int_equal(n, HIDDEN * 16 + HIDDEN + 4 * HIDDEN + 4);
	gradient = calloc(n, sizeof(float));
	assert_true(model_backward(model, 3, 0, BATCH, BATCH, gradient) > 0);
	for (size_t i = 0; i < n; i++) {
		float *weight = model_weights(model) + i, was = *weight, up, down, slope;

		*weight = was + nudge;
		up = loss_at(model);
		*weight = was - nudge;
		down = loss_at(model);
		*weight = was;
		slope = (up - down) / (2 * nudge);
		if (fabsf(slope - gradient[i]) > 1e-4F + 0.01F * fabsf(slope))
			fail_msg("weight %zu: the loss changes by %g, the gradient says %g", i, (double)slope,
				 (double)gradient[i]);
	}
}

static void shares_add_up_to_the_batch(void **state)
{
	_cleanup_(model_freep) struct model *model = NULL;
	_cleanup_free_ float *whole = NULL, *parts = NULL;
	float loss, sum = 0;
	size_t n;

	(void)state;
	assert_int_equal(model_new(HIDDEN, 7, &model), 0);
	n = model_count(model);
	whole = calloc(n, sizeof(float));
	parts = calloc(n, sizeof(float));
	loss = model_backward(model, 9, 0, BATCH, BATCH, whole);
	sum += model_backward(model, 9, 0, 5, BATCH, parts);
	sum += model_backward(model, 9, 5, 0, BATCH, parts);
	sum += model_backward(model, 9, 5, 7, BATCH, parts);
	assert_true(fabsf(sum - loss) < 1e-6F);
	for (size_t i = 0; i < n; i++)
		assert_true(fabsf(whole[i] - parts[i]) < 1e-6F);
}

static void all_follows_from_the_seed(void **state)
{
	_cleanup_(model_freep) struct model *a = NULL, *b = NULL, *c = NULL;

	(void)state;
	assert_int_equal(model_new(HIDDEN, 7, &a), 0);
	assert_int_equal(model_new(HIDDEN, 7, &b), 0);
	assert_int_equal(model_new(HIDDEN, 8, &c), 0);
	assert_memory_equal(model_weights(a), model_weights(b), model_count(a) * sizeof(float));
	assert_memory_not_equal(model_weights(a), model_weights(c), model_count(a) * sizeof(float));
	assert_true(loss_at(a) == loss_at(b));
	assert_true(loss_at(a) != loss_at(c));
}

static void it_learns(void **state)
{
	_cleanup_(model_freep) struct model *model = NULL;
	_cleanup_free_ float *gradient = NULL;
	float first = 0, last = 0;

	(void)state;
	assert_int_equal(model_new(32, 1, &model), 0);
	gradient = calloc(model_count(model), sizeof(float));
	for (uint64_t step = 0; step < 300; step++) {
		memset(gradient, 0, model_count(model) * sizeof(float));
		last = model_backward(model, step, 0, 64, 64, gradient);
		if (step == 0)
			first = last;
		model_descend(model, gradient, 0.1F);
	}
	if (!(last < first / 4))
		fail_msg("the loss went from %g to %g only", (double)first, (double)last);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(gradients_are_those_of_finite_differences),
	cmocka_unit_test(shares_add_up_to_the_batch),
	cmocka_unit_test(all_follows_from_the_seed),
	cmocka_unit_test(it_learns),
};

UNIT_MAIN(tests)
