// SPDX-License-Identifier: Apache-2.0
/* The program at the edge: environment and standard input in, one document out, log lines to standard error.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fileio.h"
#include "base/log.h"
#include "json/jsontext.h"
#include "verbs.h"

/*
 * The end of a call that has no memory to say anything better. What is half done is on record, and the
 * next ADD or DEL puts it right, as after any other sudden death.
 */
static void __attribute__((noreturn)) end_without_memory(void)
{
	static const char document[] =
		"{\"cniVersion\":\"1.0.0\",\"code\":11,\"msg\":\"cni-rdma: out of memory\",\"details\":\"nothing to do: the "
		"kubelet tries again by itself; if it lasts, the node or the runtime's memory limit is too small\"}\n";

	(void)fileio_write_all(STDOUT_FILENO, document, sizeof(document) - 1);
	_exit(EXIT_FAILURE);
}

/* Reads to the end; -EFBIG when there is more than a configuration can be. */
static int read_input(char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (len == size) {
			char *grown;

			if (size >= REQUEST_MAX_BYTES)
				return -EFBIG;
			size = size ? 2 * size : 16384;
			grown = realloc(text, size);
			if (!grown)
				return -ENOMEM;
			text = grown;
		}
		n = read(STDIN_FILENO, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return negative_errno();
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

static int print(const json_t *document)
{
	_cleanup_free_ char *text = jsontext_format(document, JSON_COMPACT);
	int r;

	if (!text)
		end_without_memory();
	r = fileio_write_all(STDOUT_FILENO, text, strlen(text));
	return r < 0 ? r : fileio_write_all(STDOUT_FILENO, "\n", 1);
}

int main(void)
{
	const struct request_env env = {
		.command = getenv("CNI_COMMAND"),
		.container = getenv("CNI_CONTAINERID"),
		.netns = getenv("CNI_NETNS"),
		.ifname = getenv("CNI_IFNAME"),
		.args = getenv("CNI_ARGS"),
		.path = getenv("CNI_PATH"),
		.trusted_paths = getenv("CNI_RDMA_TRUSTED_PATHS"),
	};
	_cleanup_free_ char *input = NULL;
	json_auto_t *document = NULL;
	size_t len = 0;
	int r;

	log_init("cni-rdma", LOG_LEVEL_INFO, LOG_TEXT);
	signal(SIGPIPE, SIG_IGN); /* a caller that went away must not stop a move halfway */
	r = read_input(&input, &len);
	if (r < 0) {
		struct cni_error error = { 0 };

		cni_error_set(&error, CNI_ERR_IO, r, "cannot read the configuration from standard input");
		document = cni_error_document(&error, cni_version_text(CNI_VERSIONS - 1));
	} else {
		r = verbs_run(&env, input, len, &document);
	}
	if (r < 0 && !document)
		end_without_memory();
	if (document && print(document) < 0)
		log_error("cannot write to standard output");
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
