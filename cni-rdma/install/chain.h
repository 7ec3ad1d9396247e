/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's pod network as a CNI configuration list, and our entry in it. Text and
 * JSON only; files are install.c's.
 */
#ifndef CNI_INSTALL_CHAIN_H
#define CNI_INSTALL_CHAIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CHAIN_MAX_BYTES (1u << 20)
#define CHAIN_TYPE "cni-rdma"

/* The list in text; -EBADMSG: it is none, and why (size bytes) says what is wrong. The caller drops *ret. */
int chain_parse(const char *text, size_t len, json_t **ret, char *why, size_t size);

/* Our entry, or NULL. Borrowed. */
json_t *chain_entry(const json_t *list);

/*
 * The text of list (parsed from that same text) with entry as ours, last or in the place of the one that is
 * there, and without ours. All else stays byte for byte: it is not ours to write anew, and jansson, out of memory,
 * may cut a string short without a word. 0 and *ret, which the caller
 * frees; -ENOMEM; -EBADMSG: the key "plugins" is written in a way that is not found.
 */
int chain_put(const char *text, const json_t *list, const char *entry, char **ret);
int chain_take(const char *text, const json_t *list, char **ret);

/*
 * The file in the folder that container runtimes take the pod network from: the first by name of
 * *.conf, *.conflist and *.json. The caller frees *ret. -ENOENT: none.
 */
int chain_first(int dirfd, const char *path, char **ret);

/* By the file's name. */
bool chain_is_network(const char *name);
bool chain_is_list(const char *name);

#endif
