/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs. Each returns 0, or CNI_FAILED with error filled; *ret_document (NULL: print nothing) is the
 * caller's. */
#ifndef CNI_RDMA_VERBS_H
#define CNI_RDMA_VERBS_H

#include <jansson.h>

#include "cni.h"
#include "request.h"

int verbs_add(const struct request *req, json_t **ret_document, struct cni_error *error);
int verbs_del(const struct request *req, struct cni_error *error);
int verbs_check(const struct request *req, struct cni_error *error);
int verbs_status(const struct request *req, struct cni_error *error);
int verbs_gc(const struct request *req, struct cni_error *error);

/* Reads the environment and len bytes of configuration, does what they say, returns the document for standard
 * output. */
int verbs_run(const struct request_env *env, const char *input, size_t len, json_t **ret_document);

#endif
