// SPDX-License-Identifier: Apache-2.0
/* Commands on the Gaudi and its memory. */
#include <inttypes.h>
#include <string.h>

#include "pattern.h"
#include "p2p/touch.h"
#include "state.h"

#define SIZE_LIMIT (UINT64_C(1) << 40)

static int need_device(const struct state *s, struct reply *reply)
{
	if (s->dev)
		return 0;
	return reply_fail(reply, -ENODEV, "arguments", "no Gaudi is open; say open first");
}

static int fail_p2p(struct reply *reply, enum p2p_action action, int r, const char *doing)
{
	return reply_fail(reply, r, doing, p2p_describe(action, r));
}

static int command_open(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const char *path = words_get(w, "path");
	uint64_t index = 0;
	struct p2p_info info;
	int r;

	(void)fd;
	if (s->dev)
		return reply_fail(reply, -EBUSY, "open", "this program has its Gaudi open already");
	r = words_u64(w, "index", 0, P2P_PAIRS_MAX - 1, &index);
	if (r < 0 && r != -ENOENT)
		return reply_bad(reply, "index");
	if (!path) {
		struct p2p_pair pairs[P2P_PAIRS_MAX];
		size_t n;

		r = p2p_pairs_from_env(pairs, P2P_PAIRS_MAX, &n);
		if (r == 0 && index >= n)
			r = -ERANGE;
		if (r < 0)
			return fail_p2p(reply, P2P_ACTION_PAIRS, r, "open");
		s->pair = pairs[index];
		path = s->pair.accel;
	}
	r = p2p_open(path, &s->dev);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_OPEN, r, "open");
	r = p2p_info(s->dev, &info);
	if (r < 0) {
		p2p_close(TAKE_PTR(s->dev));
		return fail_p2p(reply, P2P_ACTION_OPEN, r, "info");
	}
	reply_add(reply,
		  "ok accel=%s uverbs=%s memory=%" PRIu64 " free=%" PRIu64 " page=%" PRIu64 " module=%u",
		  path, s->pair.uverbs[0] ? s->pair.uverbs : "none", info.memory_size, info.memory_free,
		  info.page_size, info.module_id);
	return 0;
}

static int command_close_accel(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	(void)w;
	(void)fd;
	if (need_device(s, reply) < 0)
		return -ENODEV;
	for (unsigned i = 0; i < SLOTS; i++)
		s->slot[i].mem = NULL; /* goes with the device */
	p2p_close(TAKE_PTR(s->dev));
	reply_add(reply, "ok");
	return 0;
}

static int slot_alloc(struct state *s, const char *name, uint64_t size, struct reply *reply)
{
	struct slot *slot = state_slot_new(s, name);
	int r;

	if (!slot)
		return reply_fail(reply, -EEXIST, "alloc", "that name is taken, or there are too many");
	slot->size = size;
	r = p2p_alloc(s->dev, size, &slot->mem);
	if (r < 0) {
		slot->name[0] = '\0';
		return fail_p2p(reply, P2P_ACTION_ALLOC, r, "alloc");
	}
	slot->iova = p2p_memory_device_address(slot->mem);
	r = p2p_export(slot->mem, 0, size, &slot->dmabuf);
	if (r == 0)
		r = p2p_dmabuf_map(slot->dmabuf, size, true, &slot->map);
	if (r < 0) {
		int action = slot->dmabuf < 0 ? P2P_ACTION_EXPORT : P2P_ACTION_MAP;

		(void)slot_drop(slot);
		return fail_p2p(reply, action, r, action == P2P_ACTION_EXPORT ? "export" : "map");
	}
	return 0;
}

static int command_alloc(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const char *name = words_name(w, "name");
	uint64_t size;
	int r;

	(void)fd;
	if (need_device(s, reply) < 0)
		return -ENODEV;
	if (!name)
		return reply_bad(reply, "name");
	if (words_u64(w, "size", 4096, SIZE_LIMIT, &size) < 0)
		return reply_bad(reply, "size");
	r = slot_alloc(s, name, size, reply);
	if (r == 0)
		reply_add(reply, "ok size=%" PRIu64 " addr=0x%" PRIx64, size, state_slot(s, name)->iova);
	return r;
}

/* Takes the longest runs first, so that few suffice for the whole device. */
static int command_alloc_all(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct p2p_info info;
	struct reply ignored = { .text = "" };
	uint64_t total = 0, size;
	unsigned runs = 0;
	int r;

	(void)w;
	(void)fd;
	if (need_device(s, reply) < 0)
		return -ENODEV;
	r = p2p_info(s->dev, &info);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_OPEN, r, "info");
	for (size = info.memory_size; size >= info.page_size && size > 0 && runs < SLOTS;) {
		char name[NAME_SIZE];

		(void)snprintf(name, sizeof(name), "all%u", runs);
		ignored.len = 0;
		r = slot_alloc(s, name, size, &ignored);
		if (r == -ENOMEM) {
			size = size / 2 / info.page_size * info.page_size;
			continue;
		}
		if (r < 0)
			return reply_fail(reply, r, "alloc-all", p2p_describe(P2P_ACTION_ALLOC, r));
		total += size;
		runs++;
		if (size > info.memory_size - total)
			size = info.memory_size - total;
	}
	reply_add(reply, "ok bytes=%" PRIu64 " runs=%u memory=%" PRIu64, total, runs, info.memory_size);
	return 0;
}

static struct slot *need_mapped(struct state *s, const struct words *w, struct reply *reply)
{
	struct slot *slot = state_slot(s, words_name(w, "name"));

	if (!slot)
		(void)reply_bad(reply, "name");
	else if (!slot->map)
		(void)reply_fail(reply, -ENXIO, "map", "that memory has no CPU mapping");
	return slot && slot->map ? slot : NULL;
}

/* offset and length keys, both optional: the part of a slot that a command works on. */
static int slot_part(const struct slot *slot, const struct words *w, uint64_t *ret_offset,
		     uint64_t *ret_length)
{
	uint64_t offset = 0, length;
	int r;

	r = words_u64(w, "offset", 0, slot->size - 1, &offset);
	if (r < 0 && r != -ENOENT)
		return r;
	length = slot->size - offset;
	r = words_u64(w, "length", 1, slot->size - offset, &length);
	if (r < 0 && r != -ENOENT)
		return r;
	if (offset % 8 || length % 8)
		return -EINVAL;
	*ret_offset = offset;
	*ret_length = length;
	return 0;
}

static int fail_touch(struct reply *reply, int r)
{
	return reply_fail(reply, r, "touch",
			  r == -EFAULT ? "the mapping was revoked (SIGBUS)" : "cannot watch for SIGBUS");
}

static int command_fill(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = need_mapped(s, w, reply);
	uint64_t seed, offset, length;
	int r;

	(void)fd;
	if (!slot)
		return -EINVAL;
	if (words_u64(w, "seed", 0, UINT64_MAX, &seed) < 0)
		return reply_bad(reply, "seed");
	if (slot_part(slot, w, &offset, &length) < 0)
		return reply_bad(reply, "offset, length");
	r = pattern_fill((char *)slot->map + offset, length, seed);
	if (r < 0)
		return fail_touch(reply, r);
	reply_add(reply, "ok bytes=%" PRIu64, length);
	return 0;
}

static int command_verify(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = need_mapped(s, w, reply);
	uint64_t seed, offset, length;
	size_t first;
	int r;

	(void)fd;
	if (!slot)
		return -EINVAL;
	if (words_u64(w, "seed", 0, UINT64_MAX, &seed) < 0)
		return reply_bad(reply, "seed");
	if (slot_part(slot, w, &offset, &length) < 0)
		return reply_bad(reply, "offset, length");
	r = pattern_compare((char *)slot->map + offset, length, seed, &first);
	if (r < 0)
		return fail_touch(reply, r);
	reply_add(reply, "ok same=%d checked=%" PRIu64 " first_difference=%zu", first == length, length,
		  first);
	return 0;
}

/* One slot, or all of them. */
static int command_is_zero(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	const char *name = words_get(w, "name");
	uint64_t checked = 0;

	(void)fd;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &s->slot[i];
		size_t first;
		int r;

		if (!slot->name[0] || !slot->map || (name && strcmp(slot->name, name) != 0))
			continue;
		r = p2p_find_nonzero(slot->map, slot->size, &first);
		if (r < 0)
			return fail_touch(reply, r);
		checked += first;
		if (first != slot->size) {
			reply_add(reply, "ok zero=0 checked=%" PRIu64 " in=%s at=%zu", checked, slot->name,
				  first);
			return 0;
		}
	}
	if (checked == 0)
		return reply_bad(reply, "name");
	reply_add(reply, "ok zero=1 checked=%" PRIu64, checked);
	return 0;
}

/* Does the CPU mapping still answer? */
static int command_touch(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = need_mapped(s, w, reply);
	size_t first;
	int r;

	(void)fd;
	if (!slot)
		return -EINVAL;
	r = p2p_find_nonzero(slot->map, 8, &first);
	if (r < 0 && r != -EFAULT)
		return fail_touch(reply, r);
	reply_add(reply, "ok sigbus=%d", r == -EFAULT);
	return 0;
}

/* Exports once more: what does the driver say now? */
static int command_export(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = state_slot(s, words_name(w, "name"));
	_cleanup_close_ int dmabuf = -EBADF;
	uint64_t offset, length;
	int r;

	(void)fd;
	if (!slot || !slot->mem)
		return reply_bad(reply, "name");
	if (slot_part(slot, w, &offset, &length) < 0)
		return reply_bad(reply, "offset, length");
	r = p2p_export(slot->mem, offset, length, &dmabuf);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_EXPORT, r, "export");
	reply_add(reply, "ok");
	return 0;
}

static int command_drop(struct state *s, const struct words *w, int *fd, struct reply *reply)
{
	struct slot *slot = state_slot(s, words_name(w, "name"));
	int r;

	(void)fd;
	if (!slot)
		return reply_bad(reply, "name");
	if (s->watch.into == slot)
		s->watch.active = false;
	r = slot_drop(slot);
	if (r < 0)
		return fail_p2p(reply, P2P_ACTION_FREE, r, "drop");
	reply_add(reply, "ok");
	return 0;
}

const struct command commands_memory[] = {
	{ "open", "[index=N | path=NODE]", "open the pod's N-th Gaudi", command_open },
	{ "close-accel", "", "close the Gaudi; regions and mappings stay, dead", command_close_accel },
	{ "alloc", "name=M size=BYTES", "allocate, export and map device memory", command_alloc },
	{ "alloc-all", "", "allocate the whole device as all0, all1, ...", command_alloc_all },
	{ "fill", "name=M seed=N [offset= length=]", "write a pattern", command_fill },
	{ "verify", "name=M seed=N [offset= length=]", "compare with a pattern", command_verify },
	{ "is-zero", "[name=M]", "is every byte zero?", command_is_zero },
	{ "touch", "name=M", "does the CPU mapping still answer?", command_touch },
	{ "export", "name=M [offset= length=]", "export once more", command_export },
	{ "drop", "name=M", "unregister, unmap, close and free", command_drop },
	{ NULL, NULL, NULL, NULL },
};
