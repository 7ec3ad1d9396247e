// SPDX-License-Identifier: Apache-2.0
#include "peer.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lines/line.h"
#include "stop.h"

#define SEND_MS 5000

uint64_t peer_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void peer_close(struct peer *peer)
{
	closep(&peer->fd);
	*peer = (struct peer){ .fd = -EBADF };
}

int peer_receive(struct peer *peer)
{
	_cleanup_close_ int unwanted = -EBADF;
	int r = line_receive(peer->fd, peer->buf, sizeof(peer->buf), &peer->len, &unwanted);

	return r < 0 ? r : 0;
}

int peer_line(struct peer *peer, char line[WORDS_LINE_SIZE])
{
	return line_take(peer->buf, &peer->len, line, WORDS_LINE_SIZE);
}

int peer_send(struct peer *peer, const char *text, size_t len)
{
	uint64_t deadline = peer_now_ms() + SEND_MS;

	while (len > 0) {
		struct pollfd poller = { .fd = peer->fd, .events = POLLOUT };
		ssize_t n = send(peer->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		uint64_t now;

		if (n >= 0) {
			text += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return negative_errno();
		now = peer_now_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&poller, 1, (int)(deadline - now)) < 0 && errno != EINTR)
			return negative_errno();
	}
	return 0;
}

int peer_say(struct peer *peer, const char *line)
{
	return peer_send(peer, line, strlen(line));
}

int peer_wait_line(struct peer *peer, uint64_t deadline_ms, char line[WORDS_LINE_SIZE])
{
	for (;;) {
		struct pollfd poller = { .fd = peer->fd, .events = POLLIN };
		int r = peer_line(peer, line);

		if (r != 0)
			return r < 0 ? r : 0;
		if (stop_asked())
			return -ECANCELED;
		if (peer_now_ms() >= deadline_ms)
			return -ETIMEDOUT;
		r = poll(&poller, 1, PEER_TICK_MS);
		if (r < 0 && errno != EINTR)
			return negative_errno();
		r = r > 0 ? peer_receive(peer) : 0;
		if (r < 0)
			return r;
	}
}
