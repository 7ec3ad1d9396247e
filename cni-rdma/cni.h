/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol's words: versions, error codes, the documents on standard
 * output. Nothing here does I/O; containernetworking/cni SPEC.md is the source.
 */
#ifndef CNI_RDMA_CNI_H
#define CNI_RDMA_CNI_H

#include <jansson.h>
#include <stdbool.h>

enum cni_version {
	CNI_0_3_0,
	CNI_0_3_1,
	CNI_0_4_0,
	CNI_1_0_0,
	CNI_1_1_0,
	CNI_VERSIONS,
};

enum cni_code {
	CNI_ERR_VERSION = 1,
	CNI_ERR_FIELD = 2,
	CNI_ERR_CONTAINER = 3,
	CNI_ERR_ENVIRONMENT = 4,
	CNI_ERR_IO = 5,
	CNI_ERR_DECODE = 6,
	CNI_ERR_CONFIG = 7,
	CNI_ERR_NETNS = 8,
	CNI_ERR_TRY_AGAIN = 11,
	CNI_ERR_UNAVAILABLE = 50, /* STATUS: ADD would fail */
	CNI_ERR_NOT_EXCLUSIVE = 100,
	CNI_ERR_NO_DEVICE = 101,
	CNI_ERR_CANNOT_MOVE = 102,
	CNI_ERR_OWNED = 103,
	CNI_ERR_NO_GID = 104,
	CNI_ERR_CHARDEV = 105,
	CNI_ERR_NOT_HELD = 106,
};

/* What a verb that failed leaves behind: msg says what happened, details what to do about it. */
struct cni_error {
	int code; /* enum cni_code, or what an IPAM plugin said; 0: none yet */
	char msg[512];
	char details[1024];
};

/* Returned by whatever has filled a struct cni_error. */
#define CNI_FAILED (-ECANCELED)

/*
 * Fills error: code, what happened, and the usual next step of that code as
 * details. The first failure stays: what fails while cleaning up after it is not
 * the reason. With r < 0 its text is appended, and a shortage (is_shortage()) is CNI_ERR_TRY_AGAIN whatever the
 * code says: what could not be looked at is not missing. Returns CNI_FAILED.
 */
int cni_error_set(struct cni_error *error, int code, int r, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Replaces the details. Returns CNI_FAILED. */
int cni_error_explain(struct cni_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "1.0.0" to its number; -EPROTONOSUPPORT: not one of ours. */
int cni_version_parse(const char *text, enum cni_version *ret);
const char *cni_version_text(enum cni_version version);

/* The documents; new references, NULL: out of memory. version is echoed as it was asked. */
json_t *cni_error_document(const struct cni_error *error, const char *version);
json_t *cni_version_document(const char *version);

#endif
