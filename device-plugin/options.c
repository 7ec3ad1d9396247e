// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "config.h"
#include "kubelet/message.h"
#include "nearest.h"
#include "options_table.h"
#include "sysfs/pairs.h"

#define CDI_DIR "/var/run/cdi"

static const char *const pairing_words[] = { "paired", "paired-strict", "separate", "none", NULL };
static const char *const registration_words[] = { "auto", "register", "watcher", NULL };
static const char *const inject_words[] = { "devices", "cdi", "both", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug", NULL };
static const char *const format_words[] = { "text", "json", NULL };
/* In the order of enum options_once, behind ONCE_NO. */
static const char *const once_words[] = { "table", "json", NULL };
/* In the order of enum options_uninstall, behind UNINSTALL_NO. */
static const char *const uninstall_words[] = { "now", "stay", "look", NULL };

#define FIELD(field) .offset = offsetof(struct options, field)
#define ALL .places = PLACE_ALL
#define HERE .places = PLACE_COMMAND
#define BOTH .places = PLACE_COMMAND | PLACE_ENVIRONMENT

const struct option_def options_table[] = {
	{ "pairing", OPTION_PAIRING, ALL, FIELD(pairing), .words = pairing_words },
	{ "exclude-nic", OPTION_PATTERNS, ALL },
	{ "resource", OPTION_RESOURCE, ALL, FIELD(resource_gaudi) },
	{ "rdma-resource", OPTION_RESOURCE, ALL, FIELD(resource_nic) },
	{ "inject", OPTION_WORD, ALL, FIELD(inject), .words = inject_words },
	{ "registration", OPTION_WORD, ALL, FIELD(registration), .words = registration_words },
	{ "kubelet-dir", OPTION_PATH, ALL, FIELD(kubelet_dir) },
	{ "registry-dir", OPTION_PATH, ALL, FIELD(registry_dir) },
	{ "pod-resources", OPTION_PATH, ALL, FIELD(podresources) },
	{ "cdi-dir", OPTION_PATH, ALL, FIELD(cdi_dir) },
	{ "state-dir", OPTION_PATH, ALL, FIELD(state_dir) },
	{ "dev-dir", OPTION_PATH, ALL, FIELD(dev_dir) },
	{ "sysfs-root", OPTION_PATH, ALL, FIELD(sysfs_root) },
	{ "rescan", OPTION_NUMBER, ALL, FIELD(rescan_ms), .min = 50, .max = 3600000 },
	{ "log-level", OPTION_WORD, ALL, FIELD(log_level), .words = level_words },
	{ "log-format", OPTION_WORD, ALL, FIELD(log_format), .words = format_words },
	{ "sysroot", OPTION_PATH, BOTH, FIELD(sysroot) },
	{ "config", OPTION_PATH, BOTH, FIELD(config) },
	{ "once", OPTION_ONCE, HERE, FIELD(once), .words = once_words },
	{ "uninstall", OPTION_ONCE, HERE, FIELD(uninstall), .words = uninstall_words },
	{ "help", OPTION_FLAG, HERE, FIELD(help) },
	{ "version", OPTION_FLAG, HERE, FIELD(version) },
};
const size_t options_n = ARRAY_SIZE(options_table);

_Static_assert(sizeof(enum options_inject) == sizeof(unsigned), "words are stored as unsigned");

int options_wrong(struct options_parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(parser->why, parser->size, format, args);
	va_end(args);
	return -EINVAL;
}

const struct option_def *options_find(const struct options_parser *parser, const char *name)
{
	for (size_t i = 0; i < options_n; i++)
		if ((options_table[i].places & parser->place) && strcmp(options_table[i].name, name) == 0)
			return &options_table[i];
	return NULL;
}

void options_enter(struct options_parser *parser, enum option_place place)
{
	parser->place = place;
	parser->list_begun = false;
}

/* The name of an environment variable; name has space for it. */
static void environment_name(char *name, size_t size, const char *option)
{
	size_t n = (size_t)snprintf(name, size, OPTIONS_ENVIRONMENT "%s", option);

	for (size_t i = 0; i < n && i < size; i++)
		name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

int options_unknown(struct options_parser *parser, const char *where, const char *name)
{
	const char *words[ARRAY_SIZE(options_table)], *nearest;
	char text[64], variable[128];
	bool environment = parser->place == PLACE_ENVIRONMENT;
	size_t n = 0;

	for (size_t i = 0; i < options_n; i++)
		if (options_table[i].places & parser->place)
			words[n++] = options_table[i].name;
	(void)snprintf(text, sizeof(text), "%s", name);
	for (char *p = text; environment && *p; p++)
		*p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
	nearest = nearest_word(text, words, n);
	if (!nearest)
		return options_wrong(parser, "%s: no such option", where);
	if (environment)
		environment_name(variable, sizeof(variable), nearest);
	return options_wrong(parser, "%s: no such option; did you mean %s%s?", where,
			     parser->place == PLACE_COMMAND ? "--" : "", environment ? variable : nearest);
}

/* --- values ------------------------------------------------------------------ */

static int set_text(struct options_parser *parser, char *field, size_t max, const char *where,
		    const char *value)
{
	if (!*value)
		return options_wrong(parser, "%s needs a value", where);
	if (strlen(value) >= max)
		return options_wrong(parser, "%s is longer than %zu characters", where, max - 1);
	strcpy(field, value);
	return 0;
}

/* Letters and digits, with marks between them. */
static bool is_word_with(const char *text, size_t n, const char *marks, bool upper)
{
	if (n == 0 || strchr(marks, text[0]) || strchr(marks, text[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) &&
		    !(upper && isupper((unsigned char)text[i])) && !strchr(marks, text[i]))
			return false;
	return true;
}

/* A DNS name: labels with dots between them. */
static bool is_domain(const char *text, size_t n)
{
	while (n > 0) {
		const char *dot = memchr(text, '.', n);
		size_t label = dot ? (size_t)(dot - text) : n;

		if (!is_word_with(text, label, "-", false))
			return false;
		if (!dot)
			return true;
		text += label + 1;
		n -= label + 1;
	}
	return false;
}

/* What Kubernetes calls an extended resource; it would refuse others only when we register. */
static int set_resource(struct options_parser *parser, char *field, const char *where, const char *value)
{
	static const char own[] = "kubernetes.io/";
	const char *slash = strchr(value, '/');
	size_t domain = slash ? (size_t)(slash - value) : 0, rest = slash ? strlen(slash + 1) : 0;

	if (!is_domain(value, domain) || !is_word_with(slash + 1, rest, "._-", true) || rest > 63 ||
	    domain > 240)
		return options_wrong(parser, "%s: '%.64s' is not of the form example.com/name", where, value);
	if (strstr(value, own) || strncmp(value, "requests.", strlen("requests.")) == 0)
		return options_wrong(parser, "%s: '%.64s': Kubernetes keeps such names to itself", where,
				     value);
	return set_text(parser, field, OPTIONS_RESOURCE_MAX, where, value);
}

static int find_word(struct options_parser *parser, const char *const *words, const char *where,
		     const char *value, unsigned *ret)
{
	char all[256] = "";
	size_t n = 0, len = 0;
	const char *nearest;

	for (; words[n]; n++) {
		if (strcmp(words[n], value) == 0) {
			*ret = (unsigned)n;
			return 0;
		}
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", n ? ", " : "", words[n]);
	}
	nearest = nearest_word(value, words, n);
	return options_wrong(parser, "%s: '%.64s' is none of %s%s%s%s", where, value, all,
			     nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static int add_pattern(struct options_parser *parser, const char *where, const char *value)
{
	struct options *options = parser->options;
	size_t n;
	int r;

	if (!parser->list_begun)
		options->n_exclude = 0;
	parser->list_begun = true;
	n = options->n_exclude;
	if (n >= OPTIONS_EXCLUDE_MAX)
		return options_wrong(parser, "%s: more than %d patterns", where, OPTIONS_EXCLUDE_MAX);
	r = set_text(parser, options->exclude_text[n], OPTIONS_PATTERN_MAX, where, value);
	if (r < 0)
		return r;
	options->exclude[n] = options->exclude_text[n];
	options->n_exclude++;
	return 0;
}

/* Outside of the file, commas part them: a variable of the environment can be set only once. */
static int add_patterns(struct options_parser *parser, const char *where, const char *value)
{
	char one[OPTIONS_PATTERN_MAX];
	int r = 0;

	for (bool more = true; r == 0 && more;) {
		size_t n = parser->place == PLACE_FILE ? strlen(value) : strcspn(value, ",");

		more = value[n] == ',';
		if (n >= sizeof(one))
			return options_wrong(parser, "%s: '%.64s...' is longer than %zu characters", where,
					     value, sizeof(one) - 1);
		memcpy(one, value, n);
		one[n] = '\0';
		r = add_pattern(parser, where, one);
		value += n + 1;
	}
	return r;
}

int options_set(struct options_parser *parser, const struct option_def *def, const char *where,
		const char *value)
{
	char *field = (char *)parser->options + def->offset;
	unsigned index;
	int r;

	parser->options->given |= UINT64_C(1) << (def - options_table);
	switch (def->kind) {
	case OPTION_PATH:
		return set_text(parser, field, OPTIONS_PATH_MAX, where, value);
	case OPTION_RESOURCE:
		return set_resource(parser, field, where, value);
	case OPTION_PATTERNS:
		return add_patterns(parser, where, value);
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_NUMBER:
		if (num_parse_uint(value, def->min, def->max, (unsigned *)field) < 0)
			return options_wrong(parser, "%s: '%.64s' is not a number from %u to %u", where,
					     value, def->min, def->max);
		return 0;
	default:
		r = find_word(parser, def->words, where, value, &index);
		if (r < 0)
			return r;
		if (def->kind == OPTION_PAIRING)
			*(const char **)field = def->words[index];
		else
			*(unsigned *)field = index + (def->kind == OPTION_ONCE);
		return 0;
	}
}

/* --- command line ------------------------------------------------------------- */

/* One option of argv, of which *ret_value is NULL when it has none; *i is moved to its last word. */
static int next_flag(struct options_parser *parser, int argc, char **argv, int *i,
		     const struct option_def **ret_def, const char **ret_value)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	char name[64];

	if (strcmp(word, "-h") == 0)
		word = "--help";
	if (strncmp(word, "--", 2) != 0 && word[0] != '-')
		return options_wrong(parser, "'%.64s': arguments without an option name are not understood",
				     word);
	(void)snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - word) : (int)sizeof(name) - 1,
		       word);
	*ret_def = strncmp(name, "--", 2) == 0 ? options_find(parser, name + 2) : NULL;
	if (!*ret_def)
		return options_unknown(parser, name, name + strspn(name, "-"));
	*ret_value = equals ? equals + 1 : NULL;
	if ((*ret_def)->kind == OPTION_FLAG)
		return equals ? options_wrong(parser, "%s takes no value", name) : 0;
	if (equals || (*ret_def)->kind == OPTION_ONCE)
		return 0;
	if (*i + 1 >= argc)
		return options_wrong(parser, "%s needs a value", name);
	*ret_value = argv[++*i];
	return 0;
}

/* early: only those that the rest of the reading depends on, and the format of what is said of it. */
static int parse_command(struct options_parser *parser, int argc, char **argv, bool early)
{
	options_enter(parser, PLACE_COMMAND);
	for (int i = 1; i < argc; i++) {
		const struct option_def *def = NULL;
		const char *value = NULL;
		char where[64];
		int r = next_flag(parser, argc, argv, &i, &def, &value);

		if (r < 0)
			return r;
		if (early && def->kind != OPTION_FLAG && strcmp(def->name, "config") != 0 &&
		    strcmp(def->name, "log-format") != 0)
			continue;
		if (!value)
			value = def->words ? def->words[0] : "";
		(void)snprintf(where, sizeof(where), "--%s", def->name);
		r = options_set(parser, def, where, value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- environment --------------------------------------------------------------- */

/*
 * What Kubernetes itself sets in every container of a namespace that has a
 * Service called gaudi-device-plugin.
 */
static bool is_service_link(const char *rest)
{
	return strncmp(rest, "SERVICE_", strlen("SERVICE_")) == 0 ||
	       strncmp(rest, "PORT_", strlen("PORT_")) == 0 || strcmp(rest, "PORT") == 0;
}

/* The option that a variable of ours names, or NULL. */
static const struct option_def *find_variable(const char *variable)
{
	for (size_t i = 0; i < options_n; i++) {
		char name[128];

		environment_name(name, sizeof(name), options_table[i].name);
		if ((options_table[i].places & PLACE_ENVIRONMENT) && strcmp(name, variable) == 0)
			return &options_table[i];
	}
	return NULL;
}

static int parse_environment(struct options_parser *parser)
{
	const size_t prefix = strlen(OPTIONS_ENVIRONMENT);

	options_enter(parser, PLACE_ENVIRONMENT);
	for (char **entry = environ; entry && *entry; entry++) {
		const char *equals = strchr(*entry, '=');
		const struct option_def *def;
		char name[128];
		int r;

		if (!equals || strncmp(*entry, OPTIONS_ENVIRONMENT, prefix) != 0)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)(equals - *entry), *entry);
		if (is_service_link(name + prefix))
			continue;
		def = find_variable(name);
		if (!def)
			return options_unknown(parser, name, name + prefix);
		/* Templates leave a variable empty that they do not use. */
		if (equals[1] == '\0')
			continue;
		r = options_set(parser, def, name, equals + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- what came of it ----------------------------------------------------------- */

static size_t describe(const struct options *options, const struct option_def *def, char *text, size_t size)
{
	const char *field = (const char *)options + def->offset;
	size_t len = 0;

	switch (def->kind) {
	case OPTION_PATH:
	case OPTION_RESOURCE:
		return (size_t)snprintf(text, size, "%s=%s", def->name, field);
	case OPTION_PAIRING:
		return (size_t)snprintf(text, size, "%s=%s", def->name, options->pairing);
	case OPTION_WORD:
		return (size_t)snprintf(text, size, "%s=%s", def->name, def->words[*(const unsigned *)field]);
	case OPTION_ONCE:
		return (size_t)snprintf(text, size, "%s=%s", def->name,
					def->words[*(const unsigned *)field - 1]);
	case OPTION_NUMBER:
		return (size_t)snprintf(text, size, "%s=%u", def->name, *(const unsigned *)field);
	case OPTION_PATTERNS:
		for (size_t i = 0; i < options->n_exclude && len < size; i++)
			len += (size_t)snprintf(text + len, size - len, "%s%s=%s", i ? " " : "", def->name,
						options->exclude[i]);
		return len;
	default: /* flags, after which nothing runs that could be described */
		return 0;
	}
}

void options_describe(const struct options *options, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < options_n; i++) {
		if (!(options->given & UINT64_C(1) << i))
			continue;
		if (len > 0 && len + 1 < size)
			text[len++] = ' ';
		if (len < size)
			len += describe(options, &options_table[i], text + len, size - len);
	}
}

/* --- all of it ------------------------------------------------------------------ */

/* Paths that nobody chose lie below the sysroot. */
static int apply_sysroot(struct options_parser *parser)
{
	struct options *options = parser->options;

	if (!options->sysroot[0])
		return 0;
	for (size_t i = 0; i < options_n; i++) {
		const struct option_def *def = &options_table[i];
		char *field = (char *)options + def->offset, path[OPTIONS_PATH_MAX];

		if (def->kind != OPTION_PATH || !(def->places & PLACE_FILE) ||
		    (options->given & UINT64_C(1) << i))
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s%s", options->sysroot, field) >= sizeof(path))
			return options_wrong(parser, "--sysroot is too long");
		strcpy(field, path);
	}
	options->events = false;
	return 0;
}

/* What is read later wins. */
static int parse_places(struct options_parser *parser, int argc, char **argv)
{
	struct options *options = parser->options;
	const char *config = getenv(OPTIONS_ENVIRONMENT "CONFIG");
	char path[OPTIONS_PATH_MAX];
	int r = 0;

	if (!options->config[0] && config && *config)
		r = options_set(parser, find_variable(OPTIONS_ENVIRONMENT "CONFIG"),
				OPTIONS_ENVIRONMENT "CONFIG", config);
	strcpy(path, options->config);
	if (r == 0 && path[0])
		r = config_read(parser, path);
	if (r == 0)
		r = parse_environment(parser);
	if (r == 0)
		r = parse_command(parser, argc, argv, false);
	return r;
}

int options_parse(int argc, char **argv, struct options *options, char *why, size_t size)
{
	struct options_parser parser = { .options = options, .why = why, .size = size };
	int r;

	*options = (struct options){
		.sysfs_root = "/sys",
		.kubelet_dir = KUBELET_DEVICE_PLUGINS_DIR,
		.registry_dir = KUBELET_PLUGINS_REGISTRY_DIR,
		.podresources = KUBELET_POD_RESOURCES_SOCKET,
		.cdi_dir = CDI_DIR,
		.dev_dir = "/dev",
		.state_dir = PAIRS_DEFAULT_DIR,
		.events = true,
		.pairing = pairing_words[0],
		.resource_gaudi = "habana.ai/gaudi",
		.resource_nic = "habana.ai/rdma",
		.rescan_ms = 5000,
		.log_level = LOG_LEVEL_INFO,
	};
	r = parse_command(&parser, argc, argv, true);
	if (r < 0 || options->help || options->version)
		return r;
	r = parse_places(&parser, argc, argv);
	if (r == 0)
		r = apply_sysroot(&parser);
	if (r < 0)
		return r;
	if (strcmp(options->resource_gaudi, options->resource_nic) == 0)
		return options_wrong(&parser, "--resource and --rdma-resource are the same");
	if (options->once && options->uninstall)
		return options_wrong(&parser, "--once and --uninstall: say one of them");
	return 0;
}
