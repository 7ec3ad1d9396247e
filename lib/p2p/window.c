// SPDX-License-Identifier: Apache-2.0
#include "window.h"

#include <errno.h>
#include <stdio.h>

struct words {
	char *why;
	size_t size;
};

static int failed(const struct words *words, int r, enum p2p_action action, const char *what,
		  const char *which)
{
	(void)snprintf(words->why, words->size, "cannot %s%s: %s", what, which, p2p_describe(action, r));
	return r;
}

int p2p_window_open(struct p2p_window *w, unsigned index, char *why, size_t size)
{
	const struct words words = { why, size };
	int r;

	r = p2p_open_index(index, &w->dev, &w->pair);
	if (r == -ENOENT || r == -ERANGE || r == -EINVAL || r == -E2BIG)
		return failed(&words, r, P2P_ACTION_PAIRS, "find this pod's Gaudi", "");
	if (r < 0)
		return failed(&words, r, P2P_ACTION_OPEN, "open the Gaudi", "");
	if (!w->pair.uverbs[0]) {
		(void)snprintf(
			why, size,
			"%s has no RDMA NIC: the node has fewer NICs than Gaudis, or GAUDI_P2P_PAIRS is not set",
			w->pair.accel);
		return -ENXIO;
	}
	r = p2p_nic_open(w->pair.uverbs, &w->nic);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_NIC, "open ", w->pair.uverbs);
	return 0;
}

int p2p_window_alloc(struct p2p_window *w, uint64_t bytes, char *why, size_t size)
{
	const struct words words = { why, size };
	const char *accel = w->pair.accel;
	struct p2p_info info;
	int r;

	r = p2p_info(w->dev, &info);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_OPEN, "ask ", accel);
	if (info.page_size > 0 && bytes <= UINT64_MAX - info.page_size)
		bytes = (bytes + info.page_size - 1) / info.page_size * info.page_size;
	r = p2p_alloc(w->dev, bytes, &w->mem);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_ALLOC, "allocate memory of ", accel);
	w->size = bytes;
	r = p2p_export(w->mem, 0, bytes, &w->dmabuf);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_EXPORT, "export memory of ", accel);
	r = p2p_dmabuf_map(w->dmabuf, bytes, true, &w->map);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_MAP, "map memory of ", accel);
	r = p2p_register(w->nic, w->dmabuf, 0, bytes, p2p_memory_device_address(w->mem),
			 IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, &w->mr);
	if (r < 0)
		return failed(&words, r, P2P_ACTION_REGISTER, "register with its NIC the memory of ", accel);
	return 0;
}

void p2p_window_done(struct p2p_window *w)
{
	if (w->mr)
		(void)p2p_unregister(w->mr);
	if (w->map)
		p2p_dmabuf_unmap(w->map, w->size);
	closep(&w->dmabuf);
	if (w->mem)
		(void)p2p_free(w->mem);
	if (w->nic)
		p2p_nic_close(w->nic);
	if (w->dev)
		p2p_close(w->dev);
	*w = (struct p2p_window)P2P_WINDOW_INIT;
}
