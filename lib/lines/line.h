/* SPDX-License-Identifier: Apache-2.0 */
/* Lines over stream sockets, and descriptors beside them. */
#ifndef LINES_LINE_H
#define LINES_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "lines/words.h"

/* A listening or connected Unix socket; -ENAMETOOLONG when the path does not fit (107 bytes). */
int line_listen(const char *path, int *ret_fd);
int line_connect(const char *path, int *ret_fd);

/*
 * Receives more bytes of a line into buf, which holds *len of size. At most one
 * descriptor is taken and handed to *fd when that is negative; any others are closed. 1: a newline
 * is there; 0: not yet; -ECONNRESET: the peer closed; -EMSGSIZE: a line longer than size.
 */
int line_receive(int socket_fd, char *buf, size_t size, size_t *len, int *fd);

/*
 * Takes the first line out of buf, without its newline, into ret (size bytes, terminated). 1; 0: there is no whole
 * line; -EMSGSIZE: it does not fit.
 */
int line_take(char *buf, size_t *len, char *ret, size_t size);

/* Sends all of it, the descriptor (unless negative) with its first byte. Never raises SIGPIPE. */
int line_send(int socket_fd, const char *text, size_t len, int fd);

/* Receives one line and cuts its newline, waiting up to seconds. -ETIMEDOUT. */
int line_read(int socket_fd, char *buf, size_t size, unsigned seconds);

#endif
