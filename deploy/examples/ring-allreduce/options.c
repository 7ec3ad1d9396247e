// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "hello.h"
#include "model.h"
#include "ring.h"

#define DAY_S 86400

enum kind {
	KIND_TEXT,
	KIND_NUMBER,
	KIND_RATE,
	KIND_DEVICE,
	KIND_HELP,
};

struct def {
	const char *name;
	enum kind kind;
	size_t offset;
	unsigned min, max; /* of a number; max of a text: its size */
};

#define FIELD(field) .offset = offsetof(struct options, field)
#define TEXT(field) KIND_TEXT, FIELD(field), .max = sizeof(((struct options *)0)->field)
#define NUMBER(field, from, to) KIND_NUMBER, FIELD(field), .min = (from), .max = (to)

static const struct def defs[] = {
	{ "rank", TEXT(rank_text) },
	{ "world", NUMBER(world, 1, RING_WORLD_MAX) },
	{ "peers", TEXT(peers) },
	{ "service", TEXT(service) },
	{ "port", NUMBER(port, 1, 65535) },
	{ "job", TEXT(job) },
	{ "device", KIND_DEVICE, FIELD(device) },
	{ "steps", NUMBER(steps, 1, 1000000000) },
	{ "batch", NUMBER(batch, 1, 1000000) },
	{ "hidden", NUMBER(hidden, 1, MODEL_HIDDEN_MAX) },
	{ "rate", KIND_RATE, FIELD(rate) },
	{ "seed", NUMBER(seed, 0, UINT32_MAX) },
	{ "checkpoint-dir", TEXT(checkpoint_dir) },
	{ "checkpoint-every", NUMBER(every, 1, 1000000000) },
	{ "join-timeout", NUMBER(join_s, 1, DAY_S) },
	{ "step-timeout", NUMBER(step_s, 1, DAY_S) },
	{ "pace", NUMBER(pace_ms, 0, 60000) },
	{ "help", KIND_HELP, FIELD(help) },
};

static int wrong(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, OPTIONS_WHY_SIZE, format, args);
	va_end(args);
	return -EINVAL;
}

static const struct def *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++)
		if (strlen(defs[i].name) == len && strncmp(defs[i].name, name, len) == 0)
			return &defs[i];
	return NULL;
}

static int set_rate(float *ret, const char *where, const char *value, char *why)
{
	char *end;
	float rate;

	errno = 0;
	rate = strtof(value, &end);
	/* Written so that NaN fails too; strtof() would take blanks in front. */
	if (errno || *end || !isdigit((unsigned char)value[0]) || !(rate > 0 && rate <= 10))
		return wrong(why, "%s: '%.64s' is not a number above 0 and up to 10", where, value);
	*ret = rate;
	return 0;
}

static int set(struct options *options, const struct def *def, const char *where, const char *value,
	       char *why)
{
	char *field = (char *)options + def->offset;

	switch (def->kind) {
	case KIND_NUMBER:
		if (num_parse_uint(value, def->min, def->max, (unsigned *)(void *)field) < 0)
			return wrong(why, "%s: '%.64s' is not a number from %u to %u", where, value, def->min,
				     def->max);
		return 0;
	case KIND_RATE:
		return set_rate((float *)(void *)field, where, value, why);
	case KIND_DEVICE:
		if (strcmp(value, "gaudi") != 0 && strcmp(value, "none") != 0)
			return wrong(why, "%s: '%.64s' is neither gaudi nor none", where, value);
		options->device = strcmp(value, "gaudi") == 0;
		return 0;
	case KIND_HELP:
		options->help = true;
		return 0;
	case KIND_TEXT:
		if (!*value)
			return wrong(why, "%s needs a value", where);
		if (strlen(value) >= def->max)
			return wrong(why, "%s is longer than %u characters", where, def->max - 1);
		memcpy(field, value, strlen(value) + 1);
		return 0;
	}
	return -EINVAL;
}

/* --- the two places ------------------------------------------------------------ */

static int parse_command(int argc, char **argv, struct options *options, char *why)
{
	for (int i = 1; i < argc; i++) {
		const char *word = strcmp(argv[i], "-h") == 0 ? "--help" : argv[i];
		size_t len = strcspn(word, "=");
		const struct def *def = strncmp(word, "--", 2) == 0 ? find(word + 2, len - 2) : NULL;
		const char *value = word[len] ? word + len + 1 : NULL;
		char where[64];
		int r;

		if (!def)
			return wrong(why, "'%.64s': no such option", word);
		(void)snprintf(where, sizeof(where), "--%s", def->name);
		if (def->kind == KIND_HELP && value)
			return wrong(why, "%s takes no value", where);
		if (def->kind != KIND_HELP && !value) {
			if (i + 1 >= argc)
				return wrong(why, "%s needs a value", where);
			value = argv[++i];
		}
		r = set(options, def, where, value, why);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What Kubernetes sets by itself where there is a Service called ring-allreduce. */
static bool is_service_link(const char *rest, const char *value)
{
	return strncmp(rest, "SERVICE_", 8) == 0 || strncmp(rest, "PORT_", 5) == 0 ||
	       (strncmp(rest, "PORT=", 5) == 0 && strstr(value, "://"));
}

static int parse_environment(char **environment, struct options *options, char *why)
{
	const size_t prefix = strlen(OPTIONS_ENVIRONMENT);

	for (; environment && *environment; environment++) {
		const char *rest = *environment + prefix;
		const char *equals = strchr(*environment, '=');
		const struct def *def;
		char name[64], where[96];
		size_t len;
		int r;

		if (!equals || strncmp(*environment, OPTIONS_ENVIRONMENT, prefix) != 0 ||
		    is_service_link(rest, equals + 1))
			continue;
		len = (size_t)(equals - rest);
		(void)snprintf(where, sizeof(where), "%.*s", (int)(len + prefix), *environment);
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, rest);
		for (char *p = name; *p; p++)
			*p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
		def = find(name, strlen(name));
		if (!def || def->kind == KIND_HELP || len >= sizeof(name))
			return wrong(why, "%.80s in the environment: no such option", where);
		/* Templates leave a variable empty that they do not use. */
		if (equals[1] == '\0')
			continue;
		r = set(options, def, where, equals + 1, why);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *variable(char **environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=' &&
		    (*environment)[len + 1])
			return *environment + len + 1;
	return NULL;
}

/* --- what follows --------------------------------------------------------------- */

/* "HOST", "HOST:PORT" or "[IPV6]:PORT", len characters. */
static int address_parse(const char *text, size_t len, struct options *options, char *why)
{
	char copy[OPTIONS_TEXT_SIZE], *host = copy, *port = NULL;
	unsigned number = options->port;

	if (len == 0 || len >= sizeof(copy))
		return wrong(why, "--peers: an address in it is empty or too long");
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (copy[0] == '[') {
		char *end = strchr(copy, ']');

		if (!end || (end[1] && end[1] != ':'))
			return wrong(why, "--peers: '%.64s' is not of the form [ADDRESS]:PORT", copy);
		host = copy + 1;
		port = end[1] ? end + 2 : NULL;
		*end = '\0';
	} else if ((port = strchr(copy, ':'))) {
		if (strchr(port + 1, ':'))
			return wrong(why, "--peers: '%.64s': an IPv6 address wants brackets", copy);
		*port++ = '\0';
	}
	if (!*host || (port && num_parse_uint(port, 1, 65535, &number) < 0))
		return wrong(why, "--peers: '%.*s' is not of the form HOST:PORT", (int)(len < 64 ? len : 64),
			     text);
	memcpy(options->host, host, strlen(host) + 1);
	options->port = number;
	return 0;
}

/* The first is where all meet; the others say how many there are. */
static int peers_parse(struct options *options, char *why)
{
	struct options scratch = { .port = options->port };
	const char *rest = options->peers;
	unsigned n = 0;

	for (;;) {
		size_t len = strcspn(rest, ",");
		int r = address_parse(rest, len, n == 0 ? options : &scratch, why);

		if (r < 0)
			return r;
		n++;
		if (!rest[len])
			break;
		rest += len + 1;
	}
	if (n > RING_WORLD_MAX)
		return wrong(why, "--peers: %u are more than %d ranks", n, RING_WORLD_MAX);
	if (options->world && options->world != n)
		return wrong(why, "--peers names %u ranks, and --world says %u", n, options->world);
	options->world = n;
	return 0;
}

/* In an Indexed Job a pod is called JOB-INDEX, and behind a headless Service JOB-INDEX.SERVICE. */
static int service_host(struct options *options, const char *hostname, char *why)
{
	const char *dash = strrchr(hostname, '-');
	size_t stem = dash ? (size_t)(dash - hostname) : 0;
	unsigned index;
	int n;

	if (stem == 0 || num_parse_uint(dash + 1, 0, UINT32_MAX, &index) < 0 || index != options->rank)
		return wrong(
			why,
			"--service: this host is called '%.64s', and not JOB-%u as rank %u of an Indexed Job is; say --peers",
			hostname, options->rank, options->rank);
	n = snprintf(options->host, sizeof(options->host), "%.*s-0.%s", (int)stem, hostname,
		     options->service);
	if (n < 0 || (size_t)n >= sizeof(options->host))
		return wrong(why, "--service: the name of rank 0 would be too long");
	return 0;
}

static int finish(struct options *options, char **environment, const char *hostname, char *why)
{
	const char *rank =
		options->rank_text[0] ? options->rank_text : variable(environment, "JOB_COMPLETION_INDEX");
	int r = 0;

	if (options->peers[0] && options->service[0])
		return wrong(why, "--peers and --service are two ways to say the same: give one");
	if (options->peers[0])
		r = peers_parse(options, why);
	if (r < 0)
		return r;
	if (!options->world)
		return wrong(why, "how many ranks are there? say --world or --peers");
	if (rank && num_parse_uint(rank, 0, options->world - 1, &options->rank) < 0)
		return wrong(why, "the rank '%.16s' is not a number from 0 to %u", rank, options->world - 1);
	if (!rank && options->world > 1)
		return wrong(why, "which rank is this? say --rank, or run in an Indexed Job");
	if (options->world > 1 && !options->device)
		return wrong(why, "--device=none is for --world=1: ranks exchange gradients in the memory "
				  "of Gaudis only");
	if (options->world == 1 && options->device)
		return wrong(why, "a single rank exchanges nothing and uses no Gaudi: say --device=none");
	if (options->world > 1 && options->service[0])
		r = service_host(options, hostname, why);
	if (r < 0)
		return r;
	if (options->world > 1 && !options->host[0])
		return wrong(why, "where is rank 0? say --service or --peers");
	for (const char *p = options->job; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return wrong(why, "--job may have letters, digits, '-', '_' and '.'");
	if (strlen(options->job) >= HELLO_JOB_SIZE)
		return wrong(why, "--job is longer than %d characters", HELLO_JOB_SIZE - 1);
	(void)snprintf(options->port_text, sizeof(options->port_text), "%u", options->port & 0xffff);
	return 0;
}

int options_parse(int argc, char **argv, char **environment, const char *hostname, struct options *options,
		  char why[OPTIONS_WHY_SIZE])
{
	int r;

	*options = (struct options){
		.job = "ring-allreduce",
		.port = 7475,
		.device = true,
		.steps = 200,
		.batch = 64,
		.hidden = 256,
		.rate = 0.05F,
		.seed = 1,
		.every = 20,
		.join_s = 600,
		.step_s = 60,
	};
	r = parse_environment(environment, options, why);
	if (r == 0)
		r = parse_command(argc, argv, options, why);
	if (r < 0 || options->help)
		return r;
	return finish(options, environment, hostname, why);
}

void options_help(FILE *out)
{
	(void)fputs(
		"ring-allreduce: trains a small model on several Gaudis, data-parallel\n"
		"\n"
		"Every rank (a pod) computes the gradients of its share of each batch. They lie in the memory of its\n"
		"Gaudis and go round a ring: NIC to NIC by RDMA, from Gaudi to Gaudi, until every rank has their sum.\n"
		"A pod with several Gaudis uses all of them: each, with its NIC, carries its part of the gradients.\n"
		"\n"
		"  ring-allreduce --world=1 --device=none            the reference: one process, no device\n"
		"  ring-allreduce --world=4 --service=ring-allreduce as a pod of an Indexed Job (ring-allreduce.yaml)\n"
		"  ring-allreduce --rank=1 --peers=10.0.0.7,10.0.0.8 by hand: rank 1 of 2\n"
		"\n"
		"It prints 'step=S loss=L seconds=T' for each step. The losses do not depend on the number of ranks, up\n"
		"to the rounding of float32 sums; with the same number they are the same bits in every run.\n"
		"\n"
		"Who takes part (all ranks must say the same, except --rank):\n"
		"  --world N             number of ranks\n"
		"  --rank R              this one, from 0; default: JOB_COMPLETION_INDEX of an Indexed Job\n"
		"  --service NAME        rank 0 is JOB-0.NAME, JOB from this pod's host name: headless Service NAME\n"
		"  --peers HOST[:PORT],..  instead: addresses, as many as ranks; the first is that of rank 0\n"
		"  --port P              TCP port of rank 0 (7475)\n"
		"  --job TEXT            ranks of another job are refused; best the UID of the Job\n"
		"  --device gaudi|none   none: no Gaudi, for --world=1 only\n"
		"What is trained:\n"
		"  --steps N (200)  --batch N (64, of all ranks together)  --hidden N (256)  --rate X (0.05)\n"
		"  --seed N (1)          weights and samples follow from it\n"
		"Checkpoints:\n"
		"  --checkpoint-dir DIR  where every rank writes the weights; at the start all go on from the newest step\n"
		"                        that each of them can read. Without it: from the beginning each time\n"
		"  --checkpoint-every N  steps (20)\n"
		"Time:\n"
		"  --join-timeout S      for all ranks to come (600)\n"
		"  --step-timeout S      for neighbours to answer (60)\n"
		"  --pace MS             each step takes at least that long (0)\n"
		"\n"
		"In the environment: RING_ALLREDUCE_CHECKPOINT_DIR and so on; the command line wins.\n"
		"\n"
		"Exit status: 0 trained; 1 failed, or not all ranks came in time; 2 wrong options; 3 another rank is gone: start\n"
		"all again, they go on from the last checkpoint; 4 device memory was not zero when it was handed out; 143 told\n"
		"to stop (SIGTERM)\n",
		out);
}
