/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-serial ports of the test guest, by name. */
#ifndef VM_PORTS_H
#define VM_PORTS_H

#include <stddef.h>

/* Opens the port, close-on-exec. Returns its descriptor, or -errno. */
int port_open(const char *name);

/*
 * Reads one line without its newline into @line; blocks. Returns its length, or
 * -errno: -EPIPE when the host is gone, -EMSGSIZE for a line that is too long.
 */
int port_read_line(int fd, char *line, size_t size);

#endif
