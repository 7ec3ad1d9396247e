// SPDX-License-Identifier: Apache-2.0
/* The meeting as rank 0 sees it: strangers come too, and must not disturb. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/log.h"
#include "lines/tcp.h"
#include "peer.h"
#include "stop.h"

/* Who has connected and is not known yet. More than that wait in the kernel's queue. */
#define GUESTS_MAX 32
#define TELL_MS 15000

struct guest {
	struct peer peer;
	uint64_t deadline_ms;
	struct hello hello;
	char name[64]; /* where from */
};

struct host {
	struct meet *meet;
	const struct meet_options *options;
	const struct hello *own;
	int listening;
	struct guest guest[GUESTS_MAX];
	struct hello *member; /* by rank; those with a connection in meet->peer count */
	uint64_t told;
};

static unsigned members(const struct host *host)
{
	unsigned n = 1;

	for (unsigned rank = 1; rank < host->meet->world; rank++)
		n += host->meet->peer[rank].fd >= 0;
	return n;
}

static void guest_refuse(struct guest *guest, enum hello_refusal refusal)
{
	char line[64];

	log_warning("%s is not let in: it %s", guest->name,
		    refusal == HELLO_GARBAGE  ? "does not speak like a rank of ring-allreduce"
		    : refusal == HELLO_JOB    ? "is of another job"
		    : refusal == HELLO_WORLD  ? "counts another number of ranks"
		    : refusal == HELLO_RANK   ? "has a rank that is none of those awaited"
		    : refusal == HELLO_RAILS  ? "has another number of Gaudis"
		    : refusal == HELLO_CONFIG ? "trains something else (its options differ)"
		    : refusal == HELLO_TAKEN  ? "has a rank that is here already"
					      : "took too long to introduce itself");
	(void)snprintf(line, sizeof(line), "refused why=%s\n", hello_refusal_word(refusal));
	/* Whatever fits at once: nobody waits for a stranger. */
	(void)send(guest->peer.fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	peer_close(&guest->peer);
}

static void guest_accept(struct host *host)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	struct guest *guest = NULL;
	char text[48];
	int fd;

	for (unsigned i = 0; i < GUESTS_MAX && !guest; i++)
		if (host->guest[i].peer.fd < 0)
			guest = &host->guest[i];
	if (!guest)
		return;
	fd = accept4(host->listening, (struct sockaddr *)&address, &size, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	*guest = (struct guest){ .peer.fd = fd, .deadline_ms = peer_now_ms() + host->options->hello_ms };
	if (getnameinfo((struct sockaddr *)&address, size, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
		(void)snprintf(text, sizeof(text), "an unknown address");
	(void)snprintf(guest->name, sizeof(guest->name), "somebody at %s", text);
}

static void guest_join(struct host *host, struct guest *guest)
{
	enum hello_refusal refusal;
	unsigned rank = guest->hello.rank;

	if (!hello_is_welcome(host->own, &guest->hello, &refusal)) {
		guest_refuse(guest, refusal);
		return;
	}
	if (host->meet->peer[rank].fd >= 0) {
		guest_refuse(guest, HELLO_TAKEN);
		return;
	}
	host->member[rank] = guest->hello;
	host->meet->peer[rank] = guest->peer;
	guest->peer.fd = -EBADF;
	log_info("rank %u is here (%s): %u of %u", rank, guest->name + strlen("somebody at "), members(host),
		 host->meet->world);
}

static void guest_hear(struct host *host, struct guest *guest)
{
	char line[WORDS_LINE_SIZE];
	int r = peer_receive(&guest->peer), more;

	if (r == -EMSGSIZE) {
		guest_refuse(guest, HELLO_GARBAGE);
		return;
	}
	if (r < 0) {
		peer_close(&guest->peer);
		return;
	}
	while ((more = peer_line(&guest->peer, line)) == 1) {
		r = hello_take(&guest->hello, line);
		/* Nobody has more to say before he hears of us. */
		if (r == 1 && guest->peer.len == 0) {
			guest_join(host, guest);
			return;
		}
		if (r != 0) {
			guest_refuse(guest, HELLO_GARBAGE);
			return;
		}
	}
	if (more < 0)
		guest_refuse(guest, HELLO_GARBAGE);
}

/* One who was here already: he may go again, and has nothing to say. */
static void member_hear(struct host *host, unsigned rank)
{
	struct peer *peer = &host->meet->peer[rank];
	int r = peer_receive(peer);

	if (r == 0 && peer->len == 0)
		return;
	log_warning("rank %u %s before all were there", rank, r < 0 ? "went" : "said what nobody asked");
	peer_close(peer);
}

/* One round: waits a little for anything to happen. */
static int host_round(struct host *host)
{
	struct pollfd poller[GUESTS_MAX + RING_WORLD_MAX + 1];
	const unsigned world = host->meet->world;
	unsigned room = 0, n = 0;
	int r;

	for (unsigned rank = 0; rank < world; rank++)
		poller[n++] = (struct pollfd){ .fd = host->meet->peer[rank].fd, .events = POLLIN };
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		poller[n++] = (struct pollfd){ .fd = host->guest[i].peer.fd, .events = POLLIN };
		room += host->guest[i].peer.fd < 0;
	}
	poller[n++] = (struct pollfd){ .fd = room ? host->listening : -1, .events = POLLIN };
	r = poll(poller, n, PEER_TICK_MS);
	if (r < 0)
		return errno == EINTR ? 0 : negative_errno();
	/* Members first: a rank that died and comes again finds its place free. */
	for (unsigned rank = 1; rank < world; rank++)
		if (poller[rank].revents)
			member_hear(host, rank);
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = &host->guest[i];

		if (poller[world + i].revents)
			guest_hear(host, guest);
		if (guest->peer.fd >= 0 && peer_now_ms() >= guest->deadline_ms)
			guest_refuse(guest, HELLO_SLOW);
	}
	if (poller[n - 1].revents)
		guest_accept(host);
	return 0;
}

static void tell_missing(struct host *host, bool error)
{
	char text[128] = "";
	size_t len = 0;

	for (unsigned rank = 1; rank < host->meet->world; rank++)
		if (host->meet->peer[rank].fd < 0 && len < sizeof(text) - 16)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len ? ", " : "",
						rank);
	if (error)
		log_error("these ranks did not come within %u s: %s", host->options->join_ms / 1000, text);
	else
		log_info("waiting at port %s for ranks %s", host->options->port, text);
}

static int host_wait(struct host *host)
{
	while (members(host) < host->meet->world) {
		uint64_t now = peer_now_ms();
		int r;

		if (stop_asked())
			return -ECANCELED;
		if (now >= host->meet->deadline_ms) {
			tell_missing(host, true);
			return -ETIMEDOUT;
		}
		if (host->told == 0 || now - host->told >= TELL_MS) {
			tell_missing(host, false);
			host->told = now;
		}
		r = host_round(host);
		if (r < 0)
			return log_error_errno(r, "cannot wait for the other ranks");
	}
	return 0;
}

/* The newest checkpoint that all have. */
static struct checkpoint host_choose(const struct host *host)
{
	struct checkpoint_set common = host->own->have;
	struct checkpoint chosen = { .step = 0 };
	uint64_t newest = common.n ? common.item[0].step : 0;

	for (unsigned rank = 1; rank < host->meet->world; rank++) {
		const struct checkpoint_set *have = &host->member[rank].have;

		if (have->n && have->item[0].step > newest)
			newest = have->item[0].step;
		checkpoint_set_cut(&common, have);
	}
	if (common.n)
		chosen = common.item[0];
	if (chosen.step < newest)
		log_warning(
			"somebody has a checkpoint of step %" PRIu64
			", but the newest that every rank can read is of %s%" PRIu64
			": a folder that all pods share, or pods that stay on their nodes, would lose less",
			newest, chosen.step ? "step " : "the beginning, step ", chosen.step);
	return chosen;
}

static int host_tell(struct host *host, struct hello_plan *ret)
{
	struct hello_plan plan = { .from = host_choose(host) };
	const unsigned world = host->meet->world, rails = host->own->rails;
	char text[HELLO_TEXT_SIZE];

	if (getrandom(&plan.run, sizeof(plan.run), 0) != sizeof(plan.run))
		return log_error_errno(negative_errno(), "no random numbers");
	/* Its own last: ret is what stays. */
	for (unsigned rank = world; rank-- > 0;) {
		size_t bytes = rails * sizeof(plan.left[0]), len;
		int r;

		memcpy(plan.left, host->member[(rank + world - 1) % world].rail, bytes);
		memcpy(plan.right, host->member[(rank + 1) % world].rail, bytes);
		if (rank == 0)
			break;
		len = hello_plan_format(&plan, rails, text);
		r = peer_send(&host->meet->peer[rank], text, len);
		if (r < 0) {
			log_error_errno(r, "rank %u went as soon as all were there", rank);
			return -ECONNRESET;
		}
	}
	*ret = plan;
	return 0;
}

static int gather(struct host *host, struct hello_plan *ret_plan)
{
	const struct meet_options *options = host->options;
	const char *why;
	int r;

	r = tcp_listen(options->host, options->port, SOMAXCONN, &host->listening, &why);
	if (r < 0) {
		log_error("cannot wait for the other ranks at port %s: %s", options->port,
			  why ? why : strerrordesc_np(-r));
		return r;
	}
	r = host_wait(host);
	if (r == 0)
		r = host_tell(host, ret_plan);
	return r;
}

int host_gather(struct meet *meet, const struct meet_options *options, const struct hello *own,
		struct hello_plan *ret_plan)
{
	_cleanup_free_ struct hello *member = calloc(meet->world, sizeof(*member));
	_cleanup_free_ struct host *host = calloc(1, sizeof(*host));
	int r;

	if (!member || !host)
		return log_error_errno(-ENOMEM, "cannot wait for the other ranks");
	host->meet = meet;
	host->options = options;
	host->own = own;
	host->listening = -EBADF;
	host->member = member;
	member[0] = *own;
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		host->guest[i].peer.fd = -EBADF;
	r = gather(host, ret_plan);
	/* From here on nobody can connect: who comes late tries again, and finds us in the next run. */
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		peer_close(&host->guest[i].peer);
	closep(&host->listening);
	return r;
}
