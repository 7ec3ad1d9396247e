// SPDX-License-Identifier: Apache-2.0
#include "lines/words.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

int words_parse(struct words *w, const char *line, size_t len)
{
	char *save = NULL;

	if (len >= sizeof(w->line))
		return -EMSGSIZE;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			return -EINVAL;
	memcpy(w->line, line, len);
	w->line[len] = '\0';
	w->n = 0;
	w->verb = strtok_r(w->line, " ", &save);
	if (!w->verb)
		return -EINVAL;
	for (char *word; (word = strtok_r(NULL, " ", &save));) {
		char *equals = strchr(word, '=');

		if (!equals || equals == word)
			return -EINVAL;
		if (w->n == WORDS_MAX)
			return -E2BIG;
		*equals = '\0';
		if (words_get(w, word))
			return -EINVAL;
		w->word[w->n].key = word;
		w->word[w->n].value = equals + 1;
		w->n++;
	}
	return 0;
}

const char *words_get(const struct words *w, const char *key)
{
	for (unsigned i = 0; i < w->n; i++)
		if (strcmp(w->word[i].key, key) == 0)
			return w->word[i].value;
	return NULL;
}

int words_u64(const struct words *w, const char *key, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *value = words_get(w, key);
	uint64_t number;
	int r;

	if (!value)
		return -ENOENT;
	if (strncmp(value, "0x", 2) != 0)
		return num_parse_u64(value, min, max, ret);
	r = num_parse_hex(value, max, &number);
	if (r < 0)
		return r;
	if (number < min)
		return -ERANGE;
	*ret = number;
	return 0;
}

const char *words_name(const struct words *w, const char *key)
{
	const char *value = words_get(w, key);
	size_t len = value ? strlen(value) : 0;

	if (len == 0 || len > 31)
		return NULL;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)value[i]) && value[i] != '-' && value[i] != '_')
			return NULL;
	return value;
}

void reply_add(struct reply *reply, const char *format, ...)
{
	static const char cut[] = "...";
	size_t room = REPLY_SIZE - sizeof(cut) - reply->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(reply->text + reply->len, room, format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n < room) {
		reply->len += (size_t)n;
		return;
	}
	reply->len += room - 1;
	memcpy(reply->text + reply->len, cut, sizeof(cut));
}

size_t reply_finish(struct reply *reply)
{
	size_t len = strlen(reply->text);

	memcpy(reply->text + len, "\n", 2);
	return len + 1;
}

const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error < 0 ? -error : error) : "0";

	return name ? name : "EUNKNOWN";
}

int reply_fail(struct reply *reply, int error, const char *doing, const char *text)
{
	reply->len = 0;
	reply_add(reply, "err errno=%s doing=%s text=%s", errno_name(error), doing, text);
	return error;
}
