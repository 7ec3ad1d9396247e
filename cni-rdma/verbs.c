// SPDX-License-Identifier: Apache-2.0
#include "verbs.h"

static int run(const struct request *req, json_t **ret_document, struct cni_error *error)
{
	switch (req->command) {
	case REQUEST_ADD:
		return verbs_add(req, ret_document, error);
	case REQUEST_DEL:
		return verbs_del(req, error);
	case REQUEST_CHECK:
		return verbs_check(req, error);
	case REQUEST_STATUS:
		return verbs_status(req, error);
	case REQUEST_GC:
		return verbs_gc(req, error);
	case REQUEST_VERSION:
		*ret_document = cni_version_document(
			req->version_text[0] ? req->version_text : cni_version_text(CNI_VERSIONS - 1));
		return *ret_document ? 0 : cni_error_set(error, CNI_ERR_IO, -ENOMEM, "VERSION");
	}
	return cni_error_set(error, CNI_ERR_ENVIRONMENT, 0, "unknown verb");
}

int verbs_run(const struct request_env *env, const char *input, size_t len, json_t **ret_document)
{
	_cleanup_(request_done) struct request req;
	struct cni_error error = { 0 };
	int r;

	*ret_document = NULL;
	r = request_parse(&req, env, input, len, &error);
	if (r == 0)
		r = run(&req, ret_document, &error);
	if (r < 0)
		*ret_document = cni_error_document(
			&error, req.version_text[0] ? req.version_text : cni_version_text(CNI_VERSIONS - 1));
	return r;
}
