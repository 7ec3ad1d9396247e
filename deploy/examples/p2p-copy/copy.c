// SPDX-License-Identifier: Apache-2.0
#include "copy.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/log.h"
#include "lines/line.h"
#include "lines/tcp.h"
#include "pattern.h"
#include "p2p/rc.h"
#include "p2p/window.h"

#define GREETING "gaudi-p2p-copy-1"
#define SIZE_LIMIT (UINT64_C(1) << 40)
#define CHUNK (1U << 20)
#define WAIT_SECONDS 300
#define CONNECT_MS 30000

/* One end: device memory, connection. */
struct end {
	struct p2p_window window;
	uint64_t size; /* bytes that are copied; the window may be larger */
	struct rc *rc;
};

#define END_INIT                          \
	{                                 \
		.window = P2P_WINDOW_INIT \
	}

static void end_done(struct end *end)
{
	if (end->rc)
		rc_close(end->rc);
	p2p_window_done(&end->window);
}

static int end_open(struct end *end, unsigned index)
{
	char why[P2P_WHY_SIZE];
	int r = p2p_window_open(&end->window, index, why, sizeof(why));

	if (r < 0)
		log_error("%s", why);
	else
		printf("using %s and %s\n", end->window.pair.accel, end->window.pair.uverbs);
	return r;
}

static int end_prepare(struct end *end, uint64_t size)
{
	char why[P2P_WHY_SIZE];
	int r = p2p_window_alloc(&end->window, size, why, sizeof(why));

	if (r < 0) {
		log_error("%s", why);
		return r;
	}
	end->size = size;
	r = rc_open(end->window.nic, 0, &end->rc);
	if (r < 0)
		log_error("cannot make a connection: %s", p2p_describe(P2P_ACTION_GID, r));
	return r;
}

static int say(int fd, const char *line)
{
	int r = line_send(fd, line, strlen(line), -EBADF);

	if (r < 0)
		return log_error_errno(r, "cannot talk to the peer");
	return 0;
}

/* Receives a line whose verb must be the one given. */
static int hear(int fd, const char *verb, struct words *w)
{
	char line[WORDS_LINE_SIZE];
	int r;

	r = line_read(fd, line, sizeof(line), WAIT_SECONDS);
	if (r == 0)
		r = words_parse(w, line, strlen(line));
	if (r == 0 && strcmp(w->verb, verb) != 0)
		r = -EPROTO;
	if (r < 0)
		return log_error_errno(r, "the peer did not say '%s'", verb);
	return 0;
}

static int complain_tcp(int r, const struct copy_options *options, const char *what, const char *why)
{
	const char *host = options->host ? options->host : "any address";

	if (why)
		log_error("%s port %s: %s", host, options->port, why);
	else
		(void)log_error_errno(r, "cannot %s %s port %s", what, host, options->port);
	return r;
}

static int introduce(struct end *end, int fd)
{
	struct rc_address address;
	char text[RC_ADDRESS_TEXT];
	char line[WORDS_LINE_SIZE];

	rc_address(end->rc, &address);
	rc_address_format(&address, text);
	(void)snprintf(line, sizeof(line), GREETING " %s rkey=0x%x addr=0x%" PRIx64 " size=%" PRIu64 "\n",
		       text, end->window.mr->rkey, p2p_memory_device_address(end->window.mem), end->size);
	return say(fd, line);
}

static int meet(struct end *end, const struct words *peer)
{
	struct rc_address address;
	int r;

	r = rc_address_parse(peer, &address);
	if (r == 0)
		r = rc_connect(end->rc, &address);
	if (r < 0)
		return log_error_errno(r, "cannot connect to the peer's queue pair");
	return 0;
}

static int send_all(struct end *end, const struct words *peer)
{
	struct rc_outcome outcome;
	struct rc_transfer transfer = {
		.opcode = IBV_WR_RDMA_WRITE,
		.local = p2p_memory_device_address(end->window.mem),
		.lkey = end->window.mr->lkey,
		.length = end->size,
		.chunk = CHUNK,
	};
	uint64_t rkey;
	int r;

	if (words_u64(peer, "rkey", 0, UINT32_MAX, &rkey) < 0 ||
	    words_u64(peer, "addr", 0, UINT64_MAX, &transfer.remote) < 0) {
		log_error("the peer did not say where to write");
		return -EPROTO;
	}
	transfer.rkey = (uint32_t)rkey;
	r = rc_transfer(end->rc, &transfer, &outcome);
	if (r < 0)
		return log_error_errno(r, "the transfer stopped");
	if (outcome.status != IBV_WC_SUCCESS) {
		log_error("the transfer failed after %" PRIu64 " bytes: %s", outcome.bytes,
			  rc_status_name(outcome.status));
		return -EIO;
	}
	printf("wrote %" PRIu64 " bytes by RDMA in %.3f s: %.1f MiB/s\n", outcome.bytes, outcome.seconds,
	       (double)outcome.bytes / 1048576 / outcome.seconds);
	return 0;
}

static int send_steps(struct end *end, const struct copy_options *options, int fd)
{
	char line[64];
	struct words w;
	uint64_t seed;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return log_error_errno(negative_errno(), "no random numbers");
	r = end_open(end, options->index);
	if (r == 0)
		r = end_prepare(end, options->size);
	if (r == 0)
		r = pattern_fill(end->window.map, end->size, seed);
	if (r == 0)
		r = introduce(end, fd);
	if (r == 0)
		r = hear(fd, GREETING, &w);
	if (r == 0)
		r = meet(end, &w);
	if (r == 0)
		r = send_all(end, &w);
	if (r < 0)
		return r;
	(void)snprintf(line, sizeof(line), "done seed=%" PRIu64 "\n", seed);
	r = say(fd, line);
	if (r == 0)
		r = hear(fd, "same", &w);
	if (r == 0)
		printf("the receiver found every byte as sent\n");
	return r;
}

static int recv_steps(struct end *end, const struct copy_options *options, int fd)
{
	uint64_t size, seed;
	size_t first;
	struct words w;
	int r;

	r = end_open(end, options->index);
	if (r == 0)
		r = hear(fd, GREETING, &w);
	if (r == 0 && (words_u64(&w, "size", 4096, SIZE_LIMIT, &size) < 0 || size % 4096))
		r = log_error_errno(-EPROTO, "the sender's size is no multiple of 4096");
	if (r == 0)
		r = end_prepare(end, size);
	if (r == 0)
		r = meet(end, &w);
	if (r == 0)
		r = introduce(end, fd);
	if (r == 0)
		r = hear(fd, "done", &w);
	if (r == 0 && words_u64(&w, "seed", 0, UINT64_MAX, &seed) < 0)
		r = log_error_errno(-EPROTO, "the sender did not say what it sent");
	if (r == 0)
		r = pattern_compare(end->window.map, end->size, seed, &first);
	if (r < 0)
		return r;
	if (first != end->size) {
		(void)say(fd, "different\n");
		log_error("the first difference is at byte %zu", first);
		return -EBADMSG;
	}
	printf("received %" PRIu64 " bytes, every one as sent\n", end->size);
	return say(fd, "same\n");
}

int copy_send(const struct copy_options *options)
{
	struct end end = END_INIT;
	_cleanup_close_ int fd = -EBADF;
	const char *why;
	int r;

	r = tcp_connect(options->host, options->port, CONNECT_MS, &fd, &why);
	if (r < 0)
		return complain_tcp(r, options, "reach", why);
	r = send_steps(&end, options, fd);
	end_done(&end);
	return r;
}

int copy_recv(const struct copy_options *options)
{
	struct end end = END_INIT;
	_cleanup_close_ int listening = -EBADF, fd = -EBADF;
	struct pollfd poller = { .events = POLLIN };
	const char *why;
	int r;

	r = tcp_listen(options->host, options->port, 1, &listening, &why);
	if (r < 0)
		return complain_tcp(r, options, "listen at", why);
	printf("waiting for the sender at port %s\n", options->port);
	(void)fflush(stdout);
	poller.fd = listening;
	if (poll(&poller, 1, -1) < 0)
		return log_error_errno(negative_errno(), "cannot wait for the sender");
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return log_error_errno(negative_errno(), "cannot accept the sender");
	r = recv_steps(&end, options, fd);
	end_done(&end);
	return r;
}
