// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <time.h>

#include "base/fileio.h"
#include "netns.h"
#include "place.h"

#define GIDS_LOOKED_AT 32 /* addresses of one netdev come first in the table */
#define NETDEVS_MAX 16

/* Runs inside the namespace. */
static int open_inside(void *arg)
{
	struct place *place = arg;
	int r;

	r = netns_sysfs(&place->sys_fd);
	if (r == 0)
		r = nlchan_open(NETLINK_RDMA, &place->rdma);
	if (r == 0)
		r = nlchan_open(NETLINK_ROUTE, &place->rt);
	return r;
}

int place_open(int netns_fd, const struct place *host, struct place **ret)
{
	_cleanup_close_ int fd = netns_fd;
	_cleanup_(place_freep) struct place *place = NULL;
	int r;

	place = calloc(1, sizeof(*place));
	if (!place)
		return -ENOMEM;
	place->sys_fd = -EBADF;
	place->netns_fd = TAKE_FD(fd);
	r = host ? netns_call(host->netns_fd, place->netns_fd, open_inside, place, "look")
		 : open_inside(place);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(place);
	return 0;
}

void place_free(struct place *place)
{
	if (place->rdma)
		nlchan_close(place->rdma);
	if (place->rt)
		nlchan_close(place->rt);
	closep(&place->sys_fd);
	closep(&place->netns_fd);
	free(place);
}

/* *ret NULL: it is not there, and so has no devices. What cannot be read may have some. */
static int open_dir(int dirfd, const char *path, DIR **ret)
{
	int r;

	*ret = NULL;
	r = fileio_opendir(dirfd, path, ret);
	return r == -ENOENT || r == -ENODEV ? 0 : r;
}

struct netdevs {
	char name[NETDEVS_MAX][IFNAMSIZ];
	size_t n;
};

static int collect_netdevs(int dirfd, const char *path, struct netdevs *found)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	int r = open_dir(dirfd, path, &dir);

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || found->n == NETDEVS_MAX || strlen(entry->d_name) >= IFNAMSIZ)
			continue;
		strcpy(found->name[found->n++], entry->d_name);
	}
	return r;
}

static int list_netdevs(const struct place *place, const char *pci, struct netdevs *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[300];
	int r;

	ret->n = 0;
	snprintf(path, sizeof(path), "bus/pci/devices/%s", pci);
	r = open_dir(place->sys_fd, path, &dir);
	if (r == 0 && !dir)
		return -ENXIO;
	if (r == 0)
		r = collect_netdevs(dirfd(dir), "net", ret);
	/* virtio puts one device of its own between the function and the netdev */
	while (r == 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "virtio", 6) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/net", entry->d_name);
		r = collect_netdevs(dirfd(dir), path, ret);
	}
	return r;
}

int place_find_netdev(const struct place *place, const char *pci, const char *hint, struct rtlink *ret)
{
	struct netdevs found;
	size_t pick = 0;
	int r = list_netdevs(place, pci, &found);

	if (r < 0)
		return r;
	if (found.n == 0)
		return -ENODEV;
	if (found.n > 1) {
		while (pick < found.n && strcmp(found.name[pick], hint) != 0)
			pick++;
		if (pick == found.n)
			return -ENOTUNIQ;
	}
	return rtlink_get(place->rt, found.name[pick], ret);
}

int place_is_connected(const struct place *place, const char *netdev)
{
	char path[64], mode[32];
	int r;

	snprintf(path, sizeof(path), "class/net/%s/mode", netdev);
	r = (int)fileio_read_attr(place->sys_fd, path, mode, sizeof(mode));
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return strcmp(mode, "datagram") != 0;
}

int place_name_netdevs(const struct place *place, const char *pci, char *buf, size_t size)
{
	struct netdevs found;
	size_t len = 0;
	int r = list_netdevs(place, pci, &found);

	buf[0] = '\0';
	if (r < 0)
		return r;
	for (size_t i = 0; i < found.n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? ", " : "", found.name[i]);
	return 0;
}

static int hard_rdma_name(const struct place *place, const char *pci, char *buf, size_t size)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "bus/pci/devices/%.24s/infiniband", pci);
	r = open_dir(place->sys_fd, path, &dir);
	if (r < 0)
		return r;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= size)
			continue;
		strcpy(buf, entry->d_name);
		return 0;
	}
	return -ENODEV;
}

int place_find_rdma(const struct place *place, const char *pci, unsigned netdev_index,
		    struct rdmanl_device *ret)
{
	char name[RDMANL_NAME_MAX];
	int r = hard_rdma_name(place, pci, name, sizeof(name));

	if (r == 0)
		return rdmanl_find(place->rdma, name, ret);
	if (r == -ENODEV && netdev_index)
		return rdmanl_find_ndev(place->rdma, netdev_index, ret);
	return r;
}

int place_classify(const struct place *place, const char *pci, const char *rdma, enum rdma_kind *ret)
{
	char path[128], text[RDMANL_NAME_MAX];
	int r;

	/* Only rxe has this attribute; it names the netdev under it. */
	snprintf(path, sizeof(path), "class/infiniband/%s/parent", rdma);
	*ret = RDMA_SOFT;
	if (faccessat(place->sys_fd, path, F_OK, 0) == 0)
		return 0;
	if (errno != ENOENT)
		return negative_errno();
	*ret = RDMA_ALIEN;
	r = hard_rdma_name(place, pci, text, sizeof(text));
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	snprintf(path, sizeof(path), "class/infiniband/%s/ports/1/link_layer", rdma);
	r = (int)fileio_read_attr(place->sys_fd, path, text, sizeof(text));
	*ret = r > 0 && strcmp(text, "InfiniBand") == 0 ? RDMA_INFINIBAND : RDMA_ROCE;
	return r < 0 ? r : 0;
}

/* Inside the namespace: /proc/sys/net is that of whoever opens it. */
static int skip_dad(void *arg)
{
	const char *netdev = arg;
	_cleanup_close_ int fd = -EBADF;
	char path[80];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_dad", netdev);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : negative_errno();
	return fileio_write_all(fd, "0", 1);
}

int place_skip_dad(const struct place *host, const struct place *place, const char *netdev)
{
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "%s", netdev);
	return netns_call(host->netns_fd, place->netns_fd, skip_dad, name, "dad");
}

static void gid_of_address(const struct rtlink_address *address, struct in6_addr *ret)
{
	if (address->family == AF_INET6) {
		*ret = address->v6;
		return;
	}
	*ret = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&ret->s6_addr[12], &address->v4, 4);
}

/* 1, 0, or -errno: it cannot be read. */
static int has_gid(const struct place *place, const char *rdma, const struct in6_addr *want)
{
	static const struct in6_addr zero;

	for (int i = 0; i < GIDS_LOOKED_AT; i++) {
		struct in6_addr gid;
		char path[160], text[64];
		int r;

		snprintf(path, sizeof(path), "class/infiniband/%s/ports/1/gids/%d", rdma, i);
		r = (int)fileio_read_attr(place->sys_fd, path, text, sizeof(text));
		if (is_shortage(r))
			return r;
		if (r < 0 || inet_pton(AF_INET6, text, &gid) != 1)
			continue; /* an empty entry, or the table's end */
		if (want ? memcmp(&gid, want, sizeof(gid)) == 0 : memcmp(&gid, &zero, sizeof(gid)) != 0)
			return 1;
	}
	return 0;
}

/* The table is filled by work that the kernel queues at netdev events, and changes of it send no event to us.
 */
int place_wait_gid(const struct place *place, const char *rdma, const struct rtlink_address *address,
		   unsigned timeout_ms)
{
	long pause_us = 500, waited_us = 0;
	struct in6_addr want;

	if (address)
		gid_of_address(address, &want);
	for (;;) {
		struct timespec pause = { .tv_nsec = pause_us * 1000 };
		int r = has_gid(place, rdma, address ? &want : NULL);

		if (r != 0)
			return r < 0 ? r : 0;
		if (waited_us >= (long)timeout_ms * 1000)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
		waited_us += pause_us;
		if (pause_us < 20000)
			pause_us *= 2;
	}
}
