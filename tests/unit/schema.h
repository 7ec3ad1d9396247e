/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a JSON value against a JSON schema: the keywords that our schemas
 * use, and a keyword that is not known here fails the test, so that none is
 * believed to be in force that is not. Patterns are POSIX extended ones. In
 * contrast to draft 7, keywords beside a $ref count.
 */
#ifndef SCHEMA_H
#define SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A schema from a file of the project; a file that cannot be read fails the test. The caller decrefs. */
json_t *schema_load(const char *path);

/* Whether value is what the schema allows; if not, why (size bytes) says where and what. */
bool schema_allows(const json_t *schema, const json_t *value, char *why, size_t size);

#endif
