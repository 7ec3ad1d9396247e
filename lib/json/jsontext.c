// SPDX-License-Identifier: Apache-2.0
#include "jsontext.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static json_malloc_t allocate;
static bool was_short;

static void *allocate_and_note(size_t size)
{
	void *memory = allocate(size);

	if (!memory)
		was_short = true;
	return memory;
}

static void notice_begin(json_free_t *release)
{
	json_get_alloc_funcs(&allocate, release);
	was_short = false;
	json_set_alloc_funcs(allocate_and_note, *release);
}

int jsontext_parse(const char *text, size_t len, size_t flags, json_t **ret, json_error_t *error)
{
	json_free_t release;

	notice_begin(&release);
	*ret = json_loadb(text, len, flags, error);
	json_set_alloc_funcs(allocate, release);
	if (!was_short)
		return *ret ? 0 : -EBADMSG;
	json_decref(*ret);
	*ret = NULL;
	return -ENOMEM;
}

void jsontext_explain(int r, const json_error_t *error, char *why, size_t size)
{
	if (r == -ENOMEM)
		(void)snprintf(why, size, "out of memory");
	else
		(void)snprintf(why, size, "line %d: %s", error->line, error->text);
}

char *jsontext_format(const json_t *value, size_t flags)
{
	json_free_t release;
	char *text;

	notice_begin(&release);
	text = value ? json_dumps(value, flags) : NULL;
	json_set_alloc_funcs(allocate, release);
	if (!was_short)
		return text;
	free(text);
	return NULL;
}
