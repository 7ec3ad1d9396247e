// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <string.h>

void state_init(struct state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < SLOTS; i++)
		s->slot[i].dmabuf = -EBADF;
	for (unsigned i = 0; i < HELD; i++)
		s->held[i].fd = -EBADF;
}

void state_done(struct state *s)
{
	s->watch.active = false;
	for (unsigned i = 0; i < LINKS; i++)
		if (s->link[i].rc)
			rc_close(s->link[i].rc);
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slot[i].name[0])
			(void)slot_drop(&s->slot[i]);
	for (unsigned i = 0; i < HELD; i++)
		closep(&s->held[i].fd);
	if (s->nic)
		p2p_nic_close(s->nic);
	if (s->dev)
		p2p_close(s->dev);
}

int slot_drop(struct slot *slot)
{
	int first = 0;
	int r;

	if (slot->mr) {
		r = p2p_unregister(slot->mr);
		if (r < 0)
			return r;
		slot->mr = NULL;
	}
	if (slot->map) {
		p2p_dmabuf_unmap(slot->map, slot->size);
		slot->map = NULL;
	}
	closep(&slot->dmabuf);
	slot->dmabuf = -EBADF;
	if (slot->mem) {
		first = p2p_free(slot->mem);
		if (first < 0)
			return first;
		slot->mem = NULL;
	}
	slot->name[0] = '\0';
	return 0;
}

/* The three tables differ in the type of their entries only; each entry begins with its name. */
#define DEFINE_TABLE(type, table, count)                                                \
	struct type *state_##type(struct state *s, const char *name)                    \
	{                                                                               \
		for (unsigned i = 0; name && i < (count); i++)                          \
			if (s->table[i].name[0] && strcmp(s->table[i].name, name) == 0) \
				return &s->table[i];                                    \
		return NULL;                                                            \
	}                                                                               \
	struct type *state_##type##_new(struct state *s, const char *name)              \
	{                                                                               \
		if (!name || strlen(name) >= NAME_SIZE || state_##type(s, name))        \
			return NULL;                                                    \
		for (unsigned i = 0; i < (count); i++) {                                \
			if (!s->table[i].name[0]) {                                     \
				memcpy(s->table[i].name, name, strlen(name) + 1);       \
				return &s->table[i];                                    \
			}                                                               \
		}                                                                       \
		return NULL;                                                            \
	}

DEFINE_TABLE(slot, slot, SLOTS)
DEFINE_TABLE(link, link, LINKS)
DEFINE_TABLE(held, held, HELD)

int reply_bad(struct reply *reply, const char *key)
{
	char text[96] = "missing, unknown or out of bounds: ";

	strncat(text, key, 40);
	return reply_fail(reply, -EINVAL, "arguments", text);
}
