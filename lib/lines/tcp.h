/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP by name. Lookups of names block, as getaddrinfo() does; nothing else here blocks
 * longer than it is told.
 */
#ifndef LINES_TCP_H
#define LINES_TCP_H

/*
 * Listens at a port of an address, or of all when host is NULL; not blocking. backlog as of listen().
 * 0 or -errno; -EADDRNOTAVAIL also when the name is not known, and then
 * *ret_why (may be NULL) says why in words that stay, else it is NULL.
 */
int tcp_listen(const char *host, const char *port, int backlog, int *ret_fd, const char **ret_why);

/* Connects to the first address of that name which answers within timeout_ms; blocking from then on. As above;
 * -ETIMEDOUT. */
int tcp_connect(const char *host, const char *port, unsigned timeout_ms, int *ret_fd, const char **ret_why);

#endif
