// SPDX-License-Identifier: Apache-2.0
/* The program at the edge: environment and standard input in, one document out, log lines to standard error.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fileio.h"
#include "base/log.h"
#include "verbs.h"

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
	_cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);
	int r;

	r = text ? fileio_write_all(STDOUT_FILENO, text, strlen(text)) : -ENOMEM;
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
	if (document && print(document) < 0)
		log_error("cannot write to standard output");
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
