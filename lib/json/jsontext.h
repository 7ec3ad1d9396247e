/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON out of text and back, by jansson, whole or not at all.
 *
 * Short of memory, jansson 2.14 leaves bytes out and goes on: its scanner does
 * not look whether strbuffer_append_byte() had room (load.c), and its writer
 * leaves out names (dump.c). Half a name would be another name. Here every want
 * of memory is an error.
 *
 * Not for two threads at once: jansson has one set of allocation functions.
 */
#ifndef JSON_JSONTEXT_H
#define JSON_JSONTEXT_H

#include <jansson.h>
#include <stddef.h>

/*
 * flags are jansson's, JSON_REJECT_DUPLICATES for what is ours: a second key of
 * the same name would silently replace the first. error may be NULL. *ret is
 * freed by json_decref(). 0, or with *ret NULL -EBADMSG (error says where and
 * why) or -ENOMEM.
 */
int jsontext_parse(const char *text, size_t len, size_t flags, json_t **ret, json_error_t *error);

/* What went wrong with r of jsontext_parse(), for people, into why (size bytes). */
void jsontext_explain(int r, const json_error_t *error, char *why, size_t size);

/* The text of value (NULL is borne), to be freed by free(); NULL: out of memory, or not to be written with these flags. */
char *jsontext_format(const json_t *value, size_t flags);

#endif
