/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of nodes embedded in their objects. The head is a node of its own;
 * an unlinked node points to itself, so unlinking twice is harmless.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *node)
{
	node->next = node;
	node->prev = node;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_unlink(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)

/* The body may unlink or free the current node, no other. */
#define list_for_each_safe(node, tmp, head)                                 \
	for ((node) = (head)->next, (tmp) = (node)->next; (node) != (head); \
	     (node) = (tmp), (tmp) = (node)->next)

#endif
