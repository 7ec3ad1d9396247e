// SPDX-License-Identifier: Apache-2.0
#include "chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "json/jsontext.h"

static bool is_ours(const json_t *plugin)
{
	const char *type = json_string_value(json_object_get(plugin, "type"));

	return type && strcmp(type, CHAIN_TYPE) == 0;
}

int chain_parse(const char *text, size_t len, json_t **ret, char *why, size_t size)
{
	json_auto_t *list = NULL;
	json_error_t error;
	int r = jsontext_parse(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &list, &error);

	if (r < 0) {
		jsontext_explain(r, &error, why, size);
		return r;
	}
	if (json_array_size(json_object_get(list, "plugins")) == 0) {
		(void)snprintf(why, size, "it has no \"plugins\"");
		return -EBADMSG;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

json_t *chain_entry(const json_t *list)
{
	json_t *plugin;
	size_t i;

	json_array_foreach(json_object_get(list, "plugins"), i, plugin)
		if (is_ours(plugin))
			return plugin;
	return NULL;
}

/* A string's end, one behind its closing quote; text is valid JSON, and begins with the opening one. */
static const char *skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* The end of the value that begins at at. */
static const char *skip_value(const char *at)
{
	int depth = 0;

	do {
		if (*at == '"') {
			at = skip_string(at);
			continue;
		}
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		else if (depth == 0)
			return at + strcspn(at, ",]} \t\r\n"); /* a number or a word */
		at++;
	} while (depth > 0 && *at);
	return at;
}

/* The first plugin; NULL: there is no key of that spelling. */
static const char *find_plugins(const char *text)
{
	static const char key[] = "\"plugins\"";
	const char *at = skip_blanks(text);

	while (*at == '{' || *at == ',') {
		const char *name = skip_blanks(at + 1), *value;

		if (*name != '"')
			return NULL;
		value = skip_blanks(skip_blanks(skip_string(name)) + 1); /* behind the colon */
		if (strncmp(name, key, strlen(key)) == 0)
			return *value == '[' ? skip_blanks(value + 1) : NULL;
		at = skip_blanks(skip_value(value));
	}
	return NULL;
}

/* Where the i-th plugin begins and ends, and where the one before it ended (for the first: where it begins). */
struct span {
	const char *before, *begin, *end;
};

static int find_span(const char *text, size_t i, struct span *ret)
{
	struct span span = { 0 };
	const char *at = find_plugins(text);

	if (!at)
		return -EBADMSG;
	span = (struct span){ .before = at, .begin = at, .end = skip_value(at) };
	while (i-- > 0) {
		at = skip_blanks(span.end);
		if (*at != ',')
			return -EBADMSG;
		at = skip_blanks(at + 1);
		span = (struct span){ .before = span.end, .begin = at, .end = skip_value(at) };
	}
	*ret = span;
	return 0;
}

static size_t index_of_ours(const json_t *list)
{
	const json_t *plugins = json_object_get(list, "plugins");
	size_t i = 0;

	while (i < json_array_size(plugins) && !is_ours(json_array_get(plugins, i)))
		i++;
	return i;
}

/* text up to from, what is new, and text from to on. */
static int splice(const char *text, const char *from, const char *between, const char *new, const char *to,
		  char **ret)
{
	int n = asprintf(ret, "%.*s%s%s%s", (int)(from - text), text, between, new, to);

	return n < 0 ? -ENOMEM : 0;
}

int chain_put(const char *text, const json_t *list, const char *entry, char **ret)
{
	size_t i = index_of_ours(list), n = json_array_size(json_object_get(list, "plugins"));
	struct span span;
	int r;

	r = find_span(text, i < n ? i : n - 1, &span);
	if (r < 0)
		return r;
	return i < n ? splice(text, span.begin, "", entry, span.end, ret)
		     : splice(text, span.end, ",\n    ", entry, span.end, ret);
}

int chain_take(const char *text, const json_t *list, char **ret)
{
	struct span span, next;
	size_t i = index_of_ours(list);
	int r = find_span(text, i, &span);

	if (r < 0)
		return r;
	/* The first goes with the comma behind it, any other with the one before it. */
	if (i == 0 && find_span(text, 1, &next) == 0)
		return splice(text, span.begin, "", "", next.begin, ret);
	return splice(text, span.before, "", "", span.end, ret);
}

bool chain_is_list(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, ".conflist") == 0;
}

bool chain_is_network(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (chain_is_list(name) || strcmp(dot, ".conf") == 0 || strcmp(dot, ".json") == 0);
}

int chain_first(int dirfd, const char *path, char **ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ char *first = NULL;
	struct dirent *entry;
	int r;

	r = fileio_opendir(dirfd, path, &dir);
	if (r < 0)
		return r;
	while ((entry = readdir(dir))) {
		char *name;

		if (entry->d_type == DT_DIR || !chain_is_network(entry->d_name) ||
		    (first && strcmp(entry->d_name, first) >= 0))
			continue;
		name = strdup(entry->d_name);
		if (!name)
			return -ENOMEM;
		free(first);
		first = name;
	}
	if (!first)
		return -ENOENT;
	*ret = TAKE_PTR(first);
	return 0;
}
