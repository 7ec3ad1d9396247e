// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"

static int port_has_name(const char *device, const char *name)
{
	char path[512], buffer[128] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/name", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buffer, sizeof(buffer) - 1);
	close(fd);
	return n > 0 && !strncmp(buffer, name, strlen(name)) && buffer[strlen(name)] == '\n';
}

static int port_open_once(const char *name)
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	int r = -ENOENT;

	if (!dir)
		return -ENOENT;
	while ((entry = readdir(dir))) {
		char path[300];

		if (!port_has_name(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		r = open(path, O_RDWR | O_CLOEXEC);
		if (r < 0)
			r = -errno;
		break;
	}
	closedir(dir);
	return r;
}

int port_open(const char *name)
{
	int i, r = -ENOENT;

	/* Ports come up after the device, on their own time. */
	for (i = 0; i < 200; i++) {
		r = port_open_once(name);
		if (r != -ENOENT)
			break;
		usleep(50000);
	}
	return r;
}

int port_read_line(int fd, char *line, size_t size)
{
	size_t used = 0;

	for (;;) {
		char c;
		ssize_t n = read(fd, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			/* The host's end is not connected (yet). */
			usleep(50000);
			continue;
		}
		if (c == '\n')
			break;
		if (used + 1 >= size)
			return -EMSGSIZE;
		line[used++] = c;
	}
	line[used] = 0;
	return (int)used;
}
