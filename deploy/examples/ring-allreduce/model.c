// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the teacher; the pupil has as many as the user says. */
#define TEACHER_HIDDEN 8

enum stream {
	STREAM_TEACHER = 1,
	STREAM_WEIGHTS,
	STREAM_SAMPLES,
};

/* Weights lie in one array: first layer (hidden rows of inputs), its biases, second layer, its biases. */
struct layers {
	unsigned hidden;
	const float *w1, *b1, *w2, *b2;
};

struct model {
	unsigned hidden;
	uint64_t seed;
	size_t count;
	float *weights;
	float *active;	/* outputs of the hidden layer for one sample */
	float *teacher; /* weights */
};

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Number i of a stream, evenly spread over -1 .. 1; exact in float, so the same on every machine. */
static float number(uint64_t seed, enum stream stream, uint64_t i)
{
	uint64_t bits = splitmix64(splitmix64(seed + ((uint64_t)stream << 56)) + i);

	return (float)(int32_t)((bits >> 40) - (1 << 23)) / (float)(1 << 23);
}

static size_t count_of(unsigned hidden)
{
	return (size_t)hidden * (MODEL_INPUTS + 1 + MODEL_OUTPUTS) + MODEL_OUTPUTS;
}

static struct layers layers_of(const float *weights, unsigned hidden)
{
	struct layers layers = { .hidden = hidden, .w1 = weights };

	layers.b1 = layers.w1 + (size_t)hidden * MODEL_INPUTS;
	layers.w2 = layers.b1 + hidden;
	layers.b2 = layers.w2 + (size_t)MODEL_OUTPUTS * hidden;
	return layers;
}

/* Weights of a layer are the smaller the more of them are added up. */
static void weights_begin(float *weights, unsigned hidden, uint64_t seed, enum stream stream)
{
	const size_t first = (size_t)hidden * MODEL_INPUTS, biases = first + hidden;

	for (size_t i = 0; i < count_of(hidden); i++) {
		float scale = i < biases ? MODEL_INPUTS : (float)hidden;

		weights[i] = number(seed, stream, i) / sqrtf(scale);
	}
}

int model_new(unsigned hidden, uint64_t seed, struct model **ret)
{
	_cleanup_(model_freep) struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return -ENOMEM;
	model->hidden = hidden;
	model->seed = seed;
	model->count = count_of(hidden);
	model->weights = calloc(model->count, sizeof(float));
	model->active = calloc(hidden > TEACHER_HIDDEN ? hidden : TEACHER_HIDDEN, sizeof(float));
	model->teacher = calloc(count_of(TEACHER_HIDDEN), sizeof(float));
	if (!model->weights || !model->active || !model->teacher)
		return -ENOMEM;
	weights_begin(model->weights, hidden, seed, STREAM_WEIGHTS);
	weights_begin(model->teacher, TEACHER_HIDDEN, seed, STREAM_TEACHER);
	*ret = TAKE_PTR(model);
	return 0;
}

void model_free(struct model *model)
{
	free(model->weights);
	free(model->active);
	free(model->teacher);
	free(model);
}

size_t model_count(const struct model *model)
{
	return model->count;
}

float *model_weights(struct model *model)
{
	return model->weights;
}

static void forward(const struct layers *layers, const float *input, float *active, float *output)
{
	for (unsigned h = 0; h < layers->hidden; h++) {
		float sum = layers->b1[h];

		for (unsigned i = 0; i < MODEL_INPUTS; i++)
			sum += layers->w1[(size_t)h * MODEL_INPUTS + i] * input[i];
		active[h] = tanhf(sum);
	}
	for (unsigned o = 0; o < MODEL_OUTPUTS; o++) {
		float sum = layers->b2[o];

		for (unsigned h = 0; h < layers->hidden; h++)
			sum += layers->w2[(size_t)o * layers->hidden + h] * active[h];
		output[o] = sum;
	}
}

/* Adds one sample's gradient, given that of the loss by the outputs; active is of that sample. */
static void backward(const struct layers *layers, const float *input, const float *active,
		     const float *by_output, float *gradient)
{
	const unsigned hidden = layers->hidden;
	float *w1 = gradient, *b1 = w1 + (size_t)hidden * MODEL_INPUTS, *w2 = b1 + hidden;
	float *b2 = w2 + (size_t)MODEL_OUTPUTS * hidden;

	for (unsigned h = 0; h < hidden; h++) {
		float by_active = 0;

		for (unsigned o = 0; o < MODEL_OUTPUTS; o++) {
			by_active += by_output[o] * layers->w2[(size_t)o * hidden + h];
			w2[(size_t)o * hidden + h] += by_output[o] * active[h];
		}
		by_active *= 1 - active[h] * active[h];
		for (unsigned i = 0; i < MODEL_INPUTS; i++)
			w1[(size_t)h * MODEL_INPUTS + i] += by_active * input[i];
		b1[h] += by_active;
	}
	for (unsigned o = 0; o < MODEL_OUTPUTS; o++)
		b2[o] += by_output[o];
}

float model_backward(struct model *model, uint64_t step, unsigned first, unsigned n, unsigned batch,
		     float *gradient)
{
	const struct layers pupil = layers_of(model->weights, model->hidden);
	const struct layers teacher = layers_of(model->teacher, TEACHER_HIDDEN);
	float input[MODEL_INPUTS], wanted[MODEL_OUTPUTS], output[MODEL_OUTPUTS], by_output[MODEL_OUTPUTS];
	const float scale = 1 / (float)MODEL_OUTPUTS / (float)batch;
	float loss = 0;

	for (unsigned sample = first; sample < first + n; sample++) {
		for (unsigned i = 0; i < MODEL_INPUTS; i++)
			input[i] = number(model->seed, STREAM_SAMPLES,
					  (step * batch + sample) * MODEL_INPUTS + i);
		forward(&teacher, input, model->active, wanted);
		forward(&pupil, input, model->active, output);
		for (unsigned o = 0; o < MODEL_OUTPUTS; o++) {
			float error = output[o] - wanted[o];

			loss += error * error * scale;
			by_output[o] = 2 * error * scale;
		}
		backward(&pupil, input, model->active, by_output, gradient);
	}
	return loss;
}

void model_descend(struct model *model, const float *gradient, float rate)
{
	for (size_t i = 0; i < model->count; i++)
		model->weights[i] -= rate * gradient[i];
}
