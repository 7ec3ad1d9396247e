// SPDX-License-Identifier: Apache-2.0
/* The meeting as ranks other than 0 see it. */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "lines/tcp.h"
#include "peer.h"
#include "stop.h"

#define CONNECT_MS 5000
#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 3000
/* Names of pods that do not run yet are not known: what goes wrong is told now and then, not each time. */
#define TELL_MS 15000

static int refused(enum hello_refusal refusal)
{
	/* These end by themselves: a process of ours that dies, a machine that was too slow. */
	if (refusal == HELLO_TAKEN || refusal == HELLO_SLOW)
		return -EAGAIN;
	log_error("rank 0 does not let us in: %s", hello_refusal_text(refusal));
	return -EPERM;
}

/* Rank 0's answer, which may take as long as the last rank takes to come. */
static int plan_wait(struct meet *meet, const struct hello *own, struct hello_plan *ret)
{
	struct hello_plan plan = { .begun = false };
	char line[WORDS_LINE_SIZE];
	int r = 0;

	while (r == 0) {
		enum hello_refusal refusal;
		struct words w;

		r = peer_wait_line(&meet->peer[0], meet->deadline_ms, line);
		if (r < 0)
			return r;
		if (words_parse(&w, line, strlen(line)) == 0 && strcmp(w.verb, "refused") == 0)
			return refused(hello_refusal_parse(words_get(&w, "why"), &refusal) < 0 ? HELLO_GARBAGE
											       : refusal);
		r = hello_plan_take(&plan, own->rails, line);
	}
	if (r < 0) {
		log_error(
			"what listens there does not speak like rank 0 of ring-allreduce: check --peers, --service and --port");
		return -EPERM;
	}
	*ret = plan;
	return 0;
}

static int join_try(struct meet *meet, const struct meet_options *options, const struct hello *own,
		    struct hello_plan *ret, const char **ret_why)
{
	char text[HELLO_TEXT_SIZE];
	size_t len = hello_format(own, text);
	int r;

	/* Lookups of names cannot be interrupted. */
	stop_at_once(true);
	r = tcp_connect(options->host, options->port, CONNECT_MS, &meet->peer[0].fd, ret_why);
	stop_at_once(false);
	if (r == 0)
		r = peer_send(&meet->peer[0], text, len);
	if (r == 0)
		r = plan_wait(meet, own, ret);
	if (r < 0)
		peer_close(&meet->peer[0]);
	return r;
}

static void pause_ms(unsigned ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	/* A signal ends it, as it should. */
	(void)nanosleep(&pause, NULL);
}

int join_host(struct meet *meet, const struct meet_options *options, const struct hello *own,
	      struct hello_plan *ret_plan)
{
	uint64_t told = 0;
	unsigned pause = PAUSE_FIRST_MS;

	for (;;) {
		const char *why = NULL;
		int r = join_try(meet, options, own, ret_plan, &why);
		uint64_t now = peer_now_ms();

		if (r == 0 || r == -EPERM)
			return r;
		if (r == -ECANCELED || stop_asked())
			return -ECANCELED;
		if (!why)
			why = r == -EAGAIN ? hello_refusal_text(HELLO_TAKEN) : strerrordesc_np(-r);
		if (now >= meet->deadline_ms) {
			log_error("rank 0 at %s port %s did not take us in within %u s: %s", options->host,
				  options->port, options->join_ms / 1000, why);
			return -ETIMEDOUT;
		}
		if (told == 0 || now - told >= TELL_MS) {
			log_info("waiting for rank 0 at %s port %s: %s", options->host, options->port, why);
			told = now;
		}
		pause_ms(pause);
		if (stop_asked())
			return -ECANCELED;
		pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
	}
}
