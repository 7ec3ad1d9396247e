// SPDX-License-Identifier: Apache-2.0
#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Longer words are no typing errors of ours. */
#define NEAREST_MAX 48

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Damerau's distance in its simple form: no letter takes part in two changes. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t row[3][NEAREST_MAX + 1], *before = row[0], *last = row[1], *now = row[2];

	for (size_t j = 0; j <= m; j++)
		last[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *turn = before;

		now[0] = i;
		for (size_t j = 1; j <= m; j++) {
			now[j] = least(least(last[j], now[j - 1]) + 1,
				       last[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = turn;
	}
	return last[m];
}

const char *nearest_word(const char *text, const char *const *words, size_t n)
{
	size_t len = strlen(text), best = 0;
	const char *found = NULL;

	if (len == 0 || len > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t other = strlen(words[i]), d;

		if (other > NEAREST_MAX)
			continue;
		d = distance(text, len, words[i], other);
		/* A third of the letters wrong is still a typing error, more is another word. */
		if (d <= (other > len ? other : len) / 3 + 1 && d < other && (!found || d < best)) {
			found = words[i];
			best = d;
		}
	}
	return found;
}
