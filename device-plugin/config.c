// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "json/jsontext.h"

#define WHERE_MAX (OPTIONS_PATH_MAX + 80)

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_NULL:
		return "null";
	default:
		return "true or false";
	}
}

static int set_string(struct options_parser *parser, const struct option_def *def, const char *where,
		      const json_t *value)
{
	if (!json_is_string(value))
		return options_wrong(parser, "%s: must be a string, not %s", where, type_name(value));
	if (strlen(json_string_value(value)) != json_string_length(value))
		return options_wrong(parser, "%s: holds a zero byte", where);
	return options_set(parser, def, where, json_string_value(value));
}

static int set_list(struct options_parser *parser, const struct option_def *def, const char *where,
		    const json_t *list)
{
	int r = 0;

	if (!json_is_array(list))
		return options_wrong(parser, "%s: must be a list of strings, not %s", where, type_name(list));
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = set_string(parser, def, where, json_array_get(list, i));
	return r;
}

static int set_number(struct options_parser *parser, const struct option_def *def, const char *where,
		      const json_t *value)
{
	char text[32];

	if (!json_is_integer(value))
		return options_wrong(parser, "%s: must be a whole number, not %s", where,
				     json_is_real(value) ? "one with a fraction" : type_name(value));
	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return options_set(parser, def, where, text);
}

static int set_key(struct options_parser *parser, const char *path, const char *key, const json_t *value)
{
	const struct option_def *def = options_find(parser, key);
	char where[WHERE_MAX];

	(void)snprintf(where, sizeof(where), "%s: \"%.64s\"", path, key);
	if (!def)
		return options_unknown(parser, where, key);
	switch (def->kind) {
	case OPTION_PATTERNS:
		return set_list(parser, def, where, value);
	case OPTION_NUMBER:
		return set_number(parser, def, where, value);
	default:
		return set_string(parser, def, where, value);
	}
}

static int check_version(struct options_parser *parser, const char *path, const json_t *root)
{
	const json_t *version = json_object_get(root, "version");

	if (!version)
		return options_wrong(parser, "%s: \"version\" is missing; this program knows version %d",
				     path, CONFIG_VERSION);
	if (!json_is_integer(version) || json_integer_value(version) != CONFIG_VERSION)
		return options_wrong(parser, "%s: \"version\" must be %d, the one that this program knows",
				     path, CONFIG_VERSION);
	return 0;
}

int config_read(struct options_parser *parser, const char *path)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *root = NULL;
	json_error_t error;
	const char *key;
	json_t *value;
	size_t len;
	int r = fileio_read(AT_FDCWD, path, CONFIG_MAX_BYTES, &text, &len);

	if (r == -EMSGSIZE)
		return options_wrong(parser, "%s: larger than %d bytes, not a configuration", path,
				     CONFIG_MAX_BYTES);
	if (r < 0)
		return options_wrong(parser, "%s: cannot read the configuration: %s", path, strerror(-r));
	/* A key that is there twice has two values, and nobody knows which one is meant. */
	r = jsontext_parse(text, len, JSON_REJECT_DUPLICATES, &root, &error);
	if (r == -ENOMEM)
		return options_wrong(parser, "%s: out of memory", path);
	if (r < 0)
		return options_wrong(parser, "%s: line %d, column %d: %s", path, error.line, error.column,
				     error.text);
	if (!json_is_object(root))
		return options_wrong(parser, "%s: must be a JSON object, not %s", path, type_name(root));
	options_enter(parser, PLACE_FILE);
	/* First: of a later version the keys may mean something else. */
	r = check_version(parser, path, root);
	if (r < 0)
		return r;
	json_object_foreach(root, key, value) {
		/* Editors find the schema by the second. */
		if (strcmp(key, "version") == 0 || strcmp(key, "$schema") == 0)
			continue;
		r = set_key(parser, path, key, value);
		if (r < 0)
			return r;
	}
	return 0;
}
