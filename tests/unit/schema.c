// SPDX-License-Identifier: Apache-2.0
#include "schema.h"

#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

struct check {
	const json_t *root; /* for $ref */
	char *why;
	size_t size;
};

static bool check(struct check *c, const json_t *schema, const json_t *value, const char *at);

static bool no(struct check *c, const char *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool no(struct check *c, const char *at, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)snprintf(c->why, c->size, "%s: %s", at[0] ? at : "/", text);
	return false;
}

static bool is_type(const char *type, const json_t *value)
{
	static const struct {
		const char *name;
		json_type type;
	} types[] = {
		{ "object", JSON_OBJECT },   { "array", JSON_ARRAY }, { "string", JSON_STRING },
		{ "integer", JSON_INTEGER }, { "null", JSON_NULL },
	};

	if (strcmp(type, "boolean") == 0)
		return json_is_boolean(value);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i].name) == 0)
			return json_typeof(value) == types[i].type;
	fail_msg("type %s is not known here", type);
	return false;
}

static bool is_one_of(const json_t *list, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), value))
			return true;
	return false;
}

static bool has_type(const json_t *types, const json_t *value)
{
	if (json_is_string(types))
		return is_type(json_string_value(types), value);
	for (size_t i = 0; i < json_array_size(types); i++)
		if (is_type(json_string_value(json_array_get(types, i)), value))
			return true;
	return false;
}

static bool matches(const char *pattern, const char *text)
{
	regex_t regex;
	bool found;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	found = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return found;
}

static bool check_properties(struct check *c, const json_t *schema, const json_t *object, const char *at)
{
	const json_t *known = json_object_get(schema, "properties"),
		     *others = json_object_get(schema, "additionalProperties"),
		     *required = json_object_get(schema, "required"), *value;
	char below[512];
	const char *key;

	for (size_t i = 0; i < json_array_size(required); i++)
		if (!json_object_get(object, json_string_value(json_array_get(required, i))))
			return no(c, at, "%s is missing", json_string_value(json_array_get(required, i)));
	json_object_foreach((json_t *)object, key, value) {
		const json_t *rule = json_object_get(known, key);

		if (!rule)
			rule = others;
		if (json_is_false(rule))
			return no(c, at, "%s is not known", key);
		(void)snprintf(below, sizeof(below), "%s/%s", at, key);
		if (rule && !json_is_true(rule) && !check(c, rule, value, below))
			return false;
	}
	return true;
}

static bool check_items(struct check *c, const json_t *rule, const json_t *list, const char *at)
{
	char below[512];

	for (size_t i = 0; i < json_array_size(list); i++) {
		(void)snprintf(below, sizeof(below), "%s/%zu", at, i);
		if (!check(c, rule, json_array_get(list, i), below))
			return false;
	}
	return true;
}

static bool check_ref(struct check *c, const char *ref, const json_t *value, const char *at)
{
	static const char prefix[] = "#/definitions/";
	const json_t *schema;

	assert_true(strncmp(ref, prefix, strlen(prefix)) == 0);
	schema = json_object_get(json_object_get(c->root, "definitions"), ref + strlen(prefix));
	assert_non_null(schema);
	return check(c, schema, value, at);
}

/* Keywords of strings and numbers, which say nothing of other values. */
static bool check_scalar(struct check *c, const char *keyword, const json_t *rule, const json_t *value,
			 const char *at)
{
	json_int_t limit = json_integer_value(rule), n;

	if (strcmp(keyword, "pattern") == 0)
		return !json_is_string(value) || matches(json_string_value(rule), json_string_value(value)) ||
		       no(c, at, "'%s' does not match %s", json_string_value(value), json_string_value(rule));
	if (strcmp(keyword, "minimum") == 0 || strcmp(keyword, "maximum") == 0) {
		if (!json_is_integer(value))
			return true;
		n = json_integer_value(value);
	} else if (strcmp(keyword, "minLength") == 0 || strcmp(keyword, "maxLength") == 0) {
		if (!json_is_string(value))
			return true;
		n = (json_int_t)json_string_length(value);
	} else if (strcmp(keyword, "minItems") == 0 || strcmp(keyword, "maxItems") == 0) {
		if (!json_is_array(value))
			return true;
		n = (json_int_t)json_array_size(value);
	} else {
		fail_msg("%s: the keyword %s is not known here", at, keyword);
		return false;
	}
	if (strncmp(keyword, "min", 3) == 0 ? n < limit : n > limit)
		return no(c, at, "%lld is beyond %s %lld", (long long)n, keyword, (long long)limit);
	return true;
}

static bool is_annotation(const char *keyword)
{
	static const char *const words[] = { "$schema",	 "$id",		"title",    "description", "default",
					     "examples", "definitions", "required", "properties" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(keyword, words[i]) == 0)
			return true;
	return false;
}

static bool check_keyword(struct check *c, const char *keyword, const json_t *rule, const json_t *value,
			  const char *at)
{
	struct check aside = { .root = c->root, .why = (char[512]){ "" }, .size = 512 };

	if (is_annotation(keyword))
		return true;
	if (strcmp(keyword, "type") == 0)
		return has_type(rule, value) || no(c, at, "has the wrong type");
	if (strcmp(keyword, "enum") == 0)
		return is_one_of(rule, value) || no(c, at, "is none of the words allowed");
	if (strcmp(keyword, "const") == 0)
		return json_equal(rule, value) || no(c, at, "is not the value that it must be");
	if (strcmp(keyword, "$ref") == 0)
		return check_ref(c, json_string_value(rule), value, at);
	if (strcmp(keyword, "not") == 0)
		return !check(&aside, rule, value, at) || no(c, at, "is what it must not be");
	if (strcmp(keyword, "additionalProperties") == 0)
		return true; /* with properties */
	if (strcmp(keyword, "items") == 0)
		return !json_is_array(value) || check_items(c, rule, value, at);
	return check_scalar(c, keyword, rule, value, at);
}

static bool check(struct check *c, const json_t *schema, const json_t *value, const char *at)
{
	const char *keyword;
	json_t *rule;

	assert_true(json_is_object(schema));
	json_object_foreach((json_t *)schema, keyword, rule) {
		if (!check_keyword(c, keyword, rule, value, at))
			return false;
	}
	return !json_is_object(value) || check_properties(c, schema, value, at);
}

json_t *schema_load(const char *path)
{
	json_error_t error;
	json_t *schema = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (!schema)
		fail_msg("%s: line %d: %s", path, error.line, error.text);
	return schema;
}

bool schema_allows(const json_t *schema, const json_t *value, char *why, size_t size)
{
	struct check c = { .root = schema, .why = why, .size = size };

	return check(&c, schema, value, "");
}
