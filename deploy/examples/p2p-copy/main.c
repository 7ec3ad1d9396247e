// SPDX-License-Identifier: Apache-2.0
/* p2p-copy: device memory of one Gaudi into that of another by RDMA, by hand or step by step. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "copy.h"
#include "events.h"
#include "serve.h"

static void help(FILE *out)
{
	fputs("p2p-copy: copies memory of one Gaudi into that of another by RDMA, between two pods\n"
	      "\n"
	      "By hand. In the pod that receives, then in the one that sends:\n"
	      "  p2p-copy recv [--port 7471] [--index 0]\n"
	      "  p2p-copy send HOST [--port 7471] [--index 0] [--size 64M]\n"
	      "HOST is the address of the receiving pod in the pod network; only addresses of queue pairs go that\n"
	      "way. The data goes from Gaudi to NIC to NIC to Gaudi. --index chooses among the pod's Gaudis.\n"
	      "\n"
	      "Step by step. A server that holds a Gaudi, and a client that tells it what to do:\n"
	      "  p2p-copy serve --socket PATH\n"
	      "  p2p-copy ask PATH 'COMMAND key=value ...' ['COMMAND ...' ...]\n"
	      "An answer is 'ok key=value ...' or 'err errno=NAME doing=WHAT text=WORDS'. ask stops at the first\n"
	      "'err' and exits 1.\n"
	      "\n"
	      "On the node, as a witness: prints changes of state of all Gaudis; --probe also tries to open one that\n"
	      "drains:\n"
	      "  p2p-copy events [--probe]\n"
	      "\n"
	      "Commands of serve:\n",
	      out);
	serve_help(out);
}

/* "64M": bytes, or with K, M or G. */
static int size_parse(const char *text, uint64_t *ret)
{
	char digits[24];
	size_t len = strlen(text);
	unsigned shift = 0;

	if (len == 0 || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, len + 1);
	if (digits[len - 1] == 'K')
		shift = 10;
	else if (digits[len - 1] == 'M')
		shift = 20;
	else if (digits[len - 1] == 'G')
		shift = 30;
	if (shift)
		digits[len - 1] = '\0';
	if (num_parse_u64(digits, 1, (UINT64_C(1) << 40) >> shift, ret) < 0)
		return -EINVAL;
	*ret <<= shift;
	return *ret % 4096 ? -EINVAL : 0;
}

static int usage(const char *text, const char *what)
{
	log_error("%s%s; p2p-copy --help explains", text, what);
	return 2;
}

static int copy_main(int argc, char **argv, bool sending)
{
	struct copy_options options = { .size = UINT64_C(64) << 20, .port = "7471" };
	unsigned port;

	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (argv[i][0] != '-') {
			if (!sending || options.host)
				return usage("one word too many: ", argv[i]);
			options.host = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--port") == 0) {
			if (num_parse_uint(value, 1, 65535, &port) < 0)
				return usage("--port wants a number up to 65535, not ", value);
			options.port = value;
		} else if (strcmp(argv[i], "--index") == 0) {
			if (num_parse_uint(value, 0, 63, &options.index) < 0)
				return usage("--index wants a number up to 63, not ", value);
		} else if (sending && strcmp(argv[i], "--size") == 0) {
			if (size_parse(value, &options.size) < 0)
				return usage("--size wants a multiple of 4096 bytes, up to 1024G, not ",
					     value);
		} else {
			return usage("unknown option ", argv[i]);
		}
		i++;
	}
	if (sending && !options.host)
		return usage("send wants the address of the receiving pod", "");
	return (sending ? copy_send(&options) : copy_recv(&options)) < 0;
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";
	int r;

	log_init("p2p-copy", LOG_LEVEL_INFO, LOG_TEXT);
	if (strcmp(role, "--help") == 0 || strcmp(role, "help") == 0) {
		help(stdout);
		return 0;
	}
	if (strcmp(role, "send") == 0 || strcmp(role, "recv") == 0)
		return copy_main(argc, argv, strcmp(role, "send") == 0);
	if (strcmp(role, "serve") == 0) {
		if (argc != 4 || strcmp(argv[2], "--socket") != 0)
			return usage("serve wants --socket PATH", "");
		r = serve_run(argv[3]);
		return r < 0 ? (log_error_errno(r, "cannot serve at %s", argv[3]), 1) : 0;
	}
	if (strcmp(role, "ask") == 0) {
		if (argc < 4)
			return usage("ask wants the server's socket and a command", "");
		r = serve_ask(argv[2], argv + 3, argc - 3);
		if (r < 0 && r != -EREMOTEIO)
			log_error_errno(r, "cannot ask %s", argv[2]);
		return r < 0;
	}
	if (strcmp(role, "events") == 0)
		return events_run(argc > 2 && strcmp(argv[2], "--probe") == 0) < 0;
	return usage("the first word is send, recv, serve, ask or events, not ", *role ? role : "nothing");
}
