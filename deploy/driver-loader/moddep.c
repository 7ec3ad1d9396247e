// SPDX-License-Identifier: Apache-2.0
#include "moddep.h"

#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fileio.h"
#include "node/nodefile.h"

#define BLANKS " \t\r"
#define MODPROBE_D "etc/modprobe.d"

void moddep_done(struct moddep *dep)
{
	free(dep->text);
	free(dep->needs);
}

bool moddep_name(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *end = strstr(name, ".ko");
	size_t n = end ? (size_t)(end - name) : 0;

	if (n == 0 || n >= size || (end[3] != '\0' && end[3] != '.'))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = name[i] == '-' ? '_' : name[i];
	ret[n] = '\0';
	return true;
}

/* "PATH: PATH ...", where the last of those it needs is to be loaded first. */
static int parse_line(const char *line, struct moddep *ret)
{
	_cleanup_(moddep_done) struct moddep dep = { .text = strdup(line) };
	char *rest, *word;
	size_t max = 0;

	if (!dep.text)
		return -ENOMEM;
	rest = dep.text;
	dep.path = strsep(&rest, ":");
	for (const char *at = rest; at && *at; at++)
		max += *at == ' ';
	dep.needs = calloc(max + 1, sizeof(*dep.needs));
	if (!dep.needs)
		return -ENOMEM;
	while ((word = strsep(&rest, BLANKS)))
		if (*word)
			dep.needs[dep.n++] = word;
	for (size_t i = 0; i < dep.n / 2; i++) {
		char *other = dep.needs[dep.n - 1 - i];

		dep.needs[dep.n - 1 - i] = dep.needs[i];
		dep.needs[i] = other;
	}
	*ret = dep;
	dep = (struct moddep){ 0 };
	return 0;
}

int moddep_find(int root, const char *release, const char *module, struct moddep *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], name[128];
	char *rest, *line;
	int r;

	(void)snprintf(path, sizeof(path), "lib/modules/%s/modules.dep", release);
	r = fileio_read(root, path, NODEFILE_MAX, &text, NULL);
	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *colon = strchr(line, ':');
		bool found;

		if (!colon)
			continue;
		*colon = '\0';
		found = moddep_name(line, name, sizeof(name)) && strcmp(name, module) == 0;
		*colon = ':';
		if (found)
			return parse_line(line, ret);
	}
	return -ENOENT;
}

static bool same_module(const char *a, const char *b)
{
	while (*a && (*a == *b || (*a == '-' && *b == '_') || (*a == '_' && *b == '-')))
		a++, b++;
	return *a == *b;
}

/* Lines that end in a backslash go on; a '#' in front makes a comment. */
static int take_options(char *text, const char *module, char *ret, size_t size)
{
	char *rest = text, *line;

	for (char *at = text; (at = strstr(at, "\\\n"));)
		memcpy(at, "  ", 2);
	while ((line = strsep(&rest, "\n"))) {
		const char *verb, *name;
		size_t used = strlen(ret);
		int n;

		line += strspn(line, BLANKS);
		verb = strsep(&line, BLANKS);
		line += line ? strspn(line, BLANKS) : 0;
		name = strsep(&line, BLANKS);
		if (!line || strcmp(verb, "options") != 0 || !same_module(name, module))
			continue;
		line += strspn(line, BLANKS);
		n = snprintf(ret + used, size - used, "%s%s", used ? " " : "", line);
		if (n < 0 || (size_t)n >= size - used)
			return -EMSGSIZE;
	}
	return 0;
}

static int is_conf(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

int moddep_options(int root, const char *module, char *ret, size_t size)
{
	struct dirent **entries = NULL;
	int n = scandirat(root, MODPROBE_D, &entries, is_conf, alphasort), r = 0;

	ret[0] = '\0';
	if (n < 0)
		return errno == ENOENT ? 0 : negative_errno();
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *text = NULL;
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), MODPROBE_D "/%s", entries[i]->d_name);
		if (r == 0)
			r = fileio_read(root, path, NODEFILE_MAX, &text, NULL);
		if (r == 0)
			r = take_options(text, module, ret, size);
		free(entries[i]);
	}
	free(entries);
	return r;
}
