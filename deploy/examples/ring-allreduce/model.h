/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small model with real gradients: a perceptron of two layers (tanh between
 * them) that learns to imitate another one, by gradient descent on the mean squared
 * error. Everything is a function of the seed: the teacher, the first weights,
 * and sample i of step t, so that any process can compute any share of the
 * batch without asking anyone.
 */
#ifndef RING_ALLREDUCE_MODEL_H
#define RING_ALLREDUCE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define MODEL_INPUTS 16
#define MODEL_OUTPUTS 4
/* Then a chunk with all gradients fits into one message of every NIC: Soft-RoCE takes 8 MiB, others more. */
#define MODEL_HIDDEN_MAX 65536

struct model;

/* -ENOMEM. hidden: 1 to MODEL_HIDDEN_MAX. */
int model_new(unsigned hidden, uint64_t seed, struct model **ret);
void model_free(struct model *model);
DEFINE_CLEANUP(struct model *, model_free)

/* How many weights there are, and they themselves: model_count() floats. */
size_t model_count(const struct model *model);
float *model_weights(struct model *model);

/*
 * The share of samples first .. first + n - 1 of a step's batch: adds to gradient (model_count() floats,
 * which the caller has set to 0) the sum over these samples of the gradients of the loss of each, divided
 * by batch, and returns the same of the losses. The shares of all samples of the batch added up are gradient
 * and loss of the whole batch.
 */
float model_backward(struct model *model, uint64_t step, unsigned first, unsigned n, unsigned batch,
		     float *gradient);

/* weights -= rate * gradient */
void model_descend(struct model *model, const float *gradient, float rate);

#endif
