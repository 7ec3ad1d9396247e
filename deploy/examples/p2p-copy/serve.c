// SPDX-License-Identifier: Apache-2.0
/* The server that holds a Gaudi and does one step at a time, as told over its socket. */
#include "serve.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "lines/line.h"
#include "state.h"

#define CLIENTS 4
#define WATCH_POLL_MS 5

struct client {
	int fd; /* -EBADF when free */
	int passed;
	size_t len;
	char buf[WORDS_LINE_SIZE];
};

struct server {
	int listening;
	int signals;
	struct client client[CLIENTS];
	struct state state;
	bool ended_by_signal;
};

static const struct command *const tables[] = { commands_memory, commands_rdma, commands_foreign };

static const struct command *command_find(const char *verb)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct command *c = tables[t]; c->verb; c++)
			if (strcmp(c->verb, verb) == 0)
				return c;
	return NULL;
}

void serve_help(FILE *out)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct command *c = tables[t]; c->verb; c++)
			fprintf(out, "  %s %s\n      %s\n", c->verb, c->arguments, c->help);
}

static void client_close(struct client *client)
{
	closep(&client->fd);
	closep(&client->passed);
	client->fd = -EBADF;
	client->passed = -EBADF;
	client->len = 0;
}

static void client_answer(struct server *server, struct client *client, size_t len)
{
	struct reply reply = { .text = "" };
	const struct command *command;
	struct words w;
	int r;

	r = words_parse(&w, client->buf, len);
	command = r == 0 ? command_find(w.verb) : NULL;
	if (r < 0)
		(void)reply_fail(&reply, r, "parse", "a line is VERB key=value ...");
	else if (!command)
		(void)reply_fail(&reply, -ENOSYS, "parse", "no such command");
	else
		(void)command->run(&server->state, &w, &client->passed, &reply);
	log_info("%.*s -> %s", (int)len, client->buf, reply.text);
	len = reply_finish(&reply);
	r = line_send(client->fd, reply.text, len, -EBADF);
	closep(&client->passed);
	client->passed = -EBADF;
	if (r < 0)
		client_close(client);
}

static void client_input(struct server *server, struct client *client)
{
	int r = line_receive(client->fd, client->buf, sizeof(client->buf), &client->len, &client->passed);

	if (r < 0) {
		client_close(client);
		return;
	}
	while (client->fd >= 0) {
		char *newline = memchr(client->buf, '\n', client->len);
		size_t line;

		if (!newline)
			break;
		line = (size_t)(newline - client->buf);
		client_answer(server, client, line);
		if (client->fd < 0)
			break;
		client->len -= line + 1;
		memmove(client->buf, newline + 1, client->len);
	}
}

static void server_accept(struct server *server)
{
	int fd = accept4(server->listening, NULL, NULL, SOCK_CLOEXEC);

	for (unsigned i = 0; i < CLIENTS && fd >= 0; i++)
		if (server->client[i].fd < 0)
			server->client[i].fd = TAKE_FD(fd);
	/* More clients than that are turned away. */
	closep(&fd);
}

static int server_round(struct server *server)
{
	struct pollfd poller[2 + CLIENTS] = {
		{ .fd = server->listening, .events = POLLIN },
		{ .fd = server->signals, .events = POLLIN },
	};
	bool soon = watch_step(&server->state.watch);

	for (unsigned i = 0; i < CLIENTS; i++)
		poller[2 + i] = (struct pollfd){ .fd = server->client[i].fd, .events = POLLIN };
	if (poll(poller, ARRAY_SIZE(poller), soon ? WATCH_POLL_MS : -1) < 0)
		return errno == EINTR ? 0 : negative_errno();
	if (poller[1].revents) {
		server->state.quit = true;
		server->ended_by_signal = true;
	}
	if (poller[0].revents)
		server_accept(server);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (poller[2 + i].revents && server->client[i].fd >= 0)
			client_input(server, &server->client[i]);
	return 0;
}

/* As process 1 of a container, SIGTERM has no default action: take it by hand. */
static int signals_open(int *ret_fd)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return negative_errno();
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return negative_errno();
	*ret_fd = fd;
	return 0;
}

int serve_run(const char *path)
{
	_cleanup_free_ struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->listening = -EBADF;
	server->signals = -EBADF;
	for (unsigned i = 0; i < CLIENTS; i++)
		server->client[i] = (struct client){ .fd = -EBADF, .passed = -EBADF };
	state_init(&server->state);
	r = signals_open(&server->signals);
	if (r == 0)
		r = line_listen(path, &server->listening);
	if (r == 0)
		log_info("listening at %s", path);
	while (r == 0 && !server->state.quit)
		r = server_round(server);
	for (unsigned i = 0; i < CLIENTS; i++)
		client_close(&server->client[i]);
	/*
	 * A program that is told to end need not tidy up, and one that means harm would not: the kernel
	 * takes everything back with the process, and what it must not take back, a peer holds.
	 */
	if (!server->ended_by_signal)
		state_done(&server->state);
	if (server->listening >= 0)
		(void)unlink(path);
	closep(&server->listening);
	closep(&server->signals);
	return r;
}

int serve_ask(const char *path, char *const *lines, int n)
{
	_cleanup_close_ int fd = -EBADF;
	char answer[REPLY_SIZE + 1];
	char line[WORDS_LINE_SIZE];
	int r;

	r = line_connect(path, &fd);
	for (int i = 0; i < n && r == 0; i++) {
		int len = snprintf(line, sizeof(line), "%s\n", lines[i]);

		if (len >= (int)sizeof(line))
			return -EMSGSIZE;
		r = line_send(fd, line, (size_t)len, -EBADF);
		if (r == 0)
			r = line_read(fd, answer, sizeof(answer), 300);
		if (r < 0)
			break;
		printf("%s\n", answer);
		if (strncmp(answer, "ok", 2) != 0)
			return -EREMOTEIO;
	}
	return r;
}
