// SPDX-License-Identifier: Apache-2.0
#include "meet.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "peer.h"
#include "stop.h"

/* For what all ranks do at the same time: connect to their neighbours, write the last checkpoint. */
#define TOGETHER_MS 120000

int meet_join(const struct meet_options *options, const struct hello *own, struct hello_plan *ret_plan,
	      struct meet **ret)
{
	_cleanup_(meet_closep) struct meet *meet = calloc(1, sizeof(*meet));
	int r;

	if (!meet)
		return log_error_errno(-ENOMEM, "cannot meet the other ranks");
	meet->rank = own->rank;
	meet->world = own->world;
	meet->deadline_ms = peer_now_ms() + options->join_ms;
	meet->n_peers = own->rank == 0 ? own->world : 1;
	meet->peer = calloc(meet->n_peers, sizeof(*meet->peer));
	if (!meet->peer)
		return log_error_errno(-ENOMEM, "cannot meet the other ranks");
	for (size_t i = 0; i < meet->n_peers; i++)
		meet->peer[i].fd = -EBADF;
	if (own->rank == 0)
		r = host_gather(meet, options, own, ret_plan);
	else
		r = join_host(meet, options, own, ret_plan);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(meet);
	return 0;
}

void meet_close(struct meet *meet)
{
	for (size_t i = 0; meet->peer && i < meet->n_peers; i++)
		peer_close(&meet->peer[i]);
	free(meet->peer);
	free(meet);
}

static int lost(const struct meet *meet, size_t i, int r)
{
	if (r == -ECANCELED)
		return r;
	if (r == -ECONNRESET || r == -EPIPE)
		log_error("rank %zu is gone%s", i,
			  meet->rank == 0 ? "" : ", or another one is and it has told us so");
	else if (r == -ETIMEDOUT)
		log_error("rank %zu says nothing for %d s", i, TOGETHER_MS / 1000);
	else
		log_error("rank %zu does not speak as it should", i);
	return -ECONNRESET;
}

/* A line that must be of that verb; its words are in w. */
static int hear(struct meet *meet, size_t i, const char *verb, struct words *w)
{
	char line[WORDS_LINE_SIZE];
	int r;

	r = peer_wait_line(&meet->peer[i], peer_now_ms() + TOGETHER_MS, line);
	if (r == 0)
		r = words_parse(w, line, strlen(line));
	if (r == 0 && strcmp(w->verb, verb) != 0)
		r = -EPROTO;
	return r < 0 ? lost(meet, i, r) : 0;
}

static int say(struct meet *meet, size_t i, const char *line)
{
	int r = peer_say(&meet->peer[i], line);

	return r < 0 ? lost(meet, i, r) : 0;
}

int meet_ready(struct meet *meet)
{
	struct words w;
	int r = 0;

	if (meet->rank != 0) {
		r = say(meet, 0, "ready\n");
		return r < 0 ? r : hear(meet, 0, "go", &w);
	}
	for (unsigned rank = 1; rank < meet->world && r == 0; rank++)
		r = hear(meet, rank, "ready", &w);
	for (unsigned rank = 1; rank < meet->world && r == 0; rank++)
		r = say(meet, rank, "go\n");
	return r;
}

int meet_check(struct meet *meet)
{
	struct pollfd poller[RING_WORLD_MAX];
	int n;

	for (size_t i = 0; i < meet->n_peers; i++)
		poller[i] = (struct pollfd){ .fd = meet->peer[i].fd, .events = POLLIN };
	n = poll(poller, meet->n_peers, 0);
	for (size_t i = 0; n > 0 && i < meet->n_peers; i++) {
		/* Who is done first says so while others still compute: that stays for meet_done(). */
		int r = poller[i].revents ? peer_receive(&meet->peer[i]) : 0;

		if (r < 0)
			return lost(meet, i, r);
	}
	return 0;
}

static int same_end(struct meet *meet, unsigned rank, const struct words *w, const struct checkpoint *end)
{
	uint64_t step, digest;

	if (words_u64(w, "step", 0, UINT64_MAX, &step) < 0 ||
	    words_u64(w, "digest", 0, UINT64_MAX, &digest) < 0)
		return lost(meet, rank, -EPROTO);
	if (step == end->step && digest == end->digest)
		return 0;
	log_error("rank %u ended at step %" PRIu64 " with weights %016" PRIx64 ", and we at %" PRIu64
		  " with %016" PRIx64 ": the gradients were not the same everywhere",
		  rank, step, digest, end->step, end->digest);
	return -EBADMSG;
}

static int done_all(struct meet *meet, const struct checkpoint *end)
{
	int r = 0;

	for (unsigned rank = 1; rank < meet->world && r == 0; rank++) {
		struct words w;

		r = hear(meet, rank, "done", &w);
		if (r == 0)
			r = same_end(meet, rank, &w, end);
	}
	for (unsigned rank = 1; rank < meet->world; rank++) {
		char line[64];

		if (r == 0)
			r = say(meet, rank, "bye\n");
		if (r != -EBADMSG)
			continue;
		(void)snprintf(line, sizeof(line), "refused why=%s\n", hello_refusal_word(HELLO_DIFFERENT));
		(void)peer_say(&meet->peer[rank], line);
	}
	return r;
}

int meet_done(struct meet *meet, const struct checkpoint *end)
{
	char line[WORDS_LINE_SIZE];
	struct words w;
	int r;

	if (meet->rank == 0)
		return done_all(meet, end);
	(void)snprintf(line, sizeof(line), "done step=%" PRIu64 " digest=0x%" PRIx64 "\n", end->step,
		       end->digest);
	r = say(meet, 0, line);
	if (r < 0)
		return r;
	r = peer_wait_line(&meet->peer[0], peer_now_ms() + TOGETHER_MS, line);
	if (r == 0)
		r = words_parse(&w, line, strlen(line));
	if (r < 0)
		return lost(meet, 0, r);
	if (strcmp(w.verb, "bye") == 0)
		return 0;
	if (strcmp(w.verb, "refused") != 0)
		return lost(meet, 0, -EPROTO);
	log_error("rank 0 says that not all ranks ended with the same weights");
	return -EBADMSG;
}
