// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fileio.h"

#define LINE_MAX_BYTES 2048

static const struct {
	const char *name;
	int syslog; /* as systemd's sd-daemon(3) numbers them */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

static const char *log_name;
static enum log_level log_max = LOG_LEVEL_INFO;
static enum log_format log_style = LOG_TEXT;
static bool log_to_journal;

void log_init(const char *name, enum log_level level, enum log_format format)
{
	log_name = name;
	log_max = level;
	log_style = format;
	log_to_journal = getenv("JOURNAL_STREAM") && !isatty(STDERR_FILENO);
}

bool log_enabled(enum log_level level)
{
	return level <= log_max;
}

/* Appends src with what would end a line or a JSON string made harmless; leaves room for the end. */
static size_t append_escaped(char *line, size_t len, const char *src)
{
	for (; *src && len < LINE_MAX_BYTES - 8; src++) {
		unsigned char c = (unsigned char)*src;

		/* What is not ASCII may be half a character, which no reader of JSON forgives. */
		if (c < 0x20 || c == 0x7f || (log_style == LOG_JSON && c > 0x7f))
			c = '?';
		if (log_style == LOG_JSON && (c == '"' || c == '\\'))
			line[len++] = '\\';
		line[len++] = (char)c;
	}
	line[len] = '\0';
	return len;
}

static size_t append_fields(char *line, size_t len, const struct log_field *fields)
{
	for (; fields && fields->key; fields++) {
		/* Beyond the half a message might not fit any more; escaped, a value is twice as long at most. */
		if (!fields->value[0] ||
		    len + strlen(fields->key) + 2 * strlen(fields->value) + 8 > LINE_MAX_BYTES / 2)
			continue;
		len += (size_t)snprintf(line + len, LINE_MAX_BYTES - len, "\"%s\":\"", fields->key);
		len = append_escaped(line, len, fields->value);
		len += (size_t)snprintf(line + len, LINE_MAX_BYTES - len, "\",");
	}
	return len;
}

static size_t append_head(char *line, enum log_level level, const struct log_field *fields)
{
	int n;

	if (log_style == LOG_JSON) {
		struct timespec now = { 0 };
		struct tm tm = { 0 };
		char stamp[32];

		(void)clock_gettime(CLOCK_REALTIME, &now);
		(void)gmtime_r(&now.tv_sec, &tm);
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
		n = snprintf(line, LINE_MAX_BYTES, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",", stamp,
			     now.tv_nsec / 1000000, levels[level].name);
		n = (int)append_fields(line, (size_t)n, fields);
		n += snprintf(line + n, LINE_MAX_BYTES - (size_t)n, "\"msg\":\"");
	} else if (log_to_journal) {
		n = snprintf(line, LINE_MAX_BYTES, "<%d>", levels[level].syslog);
	} else {
		n = snprintf(line, LINE_MAX_BYTES, "%.64s: %s%s",
			     log_name ? log_name : program_invocation_short_name,
			     level == LOG_LEVEL_INFO ? "" : levels[level].name,
			     level == LOG_LEVEL_INFO ? "" : ": ");
	}
	return n > 0 ? (size_t)n : 0;
}

static char held[8192];
static size_t held_len;
static unsigned holds;

static void write_held(void)
{
	(void)fileio_write_all(STDERR_FILENO, held, held_len);
	held_len = 0;
}

/* One write, so that lines do not mix with others'. */
static void write_out(enum log_level level, const char *line, size_t len)
{
	bool keep = holds > 0 && level > LOG_LEVEL_WARNING && len < sizeof(held);

	if (held_len > 0 && (!keep || len > sizeof(held) - held_len))
		write_held();
	if (!keep) {
		(void)fileio_write_all(STDERR_FILENO, line, len);
		return;
	}
	memcpy(held + held_len, line, len);
	held_len += len;
}

void log_hold(void)
{
	holds++;
}

void log_release(void)
{
	if (--holds == 0 && held_len > 0)
		write_held();
}

static void write_line(enum log_level level, const struct log_field *fields, int error, const char *text)
{
	char line[LINE_MAX_BYTES];
	size_t len = append_head(line, level, fields);

	len = append_escaped(line, len, text);
	if (error) {
		len = append_escaped(line, len, ": ");
		len = append_escaped(line, len, strerror(error));
	}
	len += (size_t)snprintf(line + len, sizeof(line) - len, "%s\n", log_style == LOG_JSON ? "\"}" : "");
	write_out(level, line, len);
}

int log_full(enum log_level level, int error, const char *format, ...)
{
	char text[LINE_MAX_BYTES / 2];
	int saved = errno;
	va_list args;

	error = error < 0 ? -error : error;
	if (level <= log_max) {
		va_start(args, format);
		(void)vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		write_line(level, NULL, error, text);
	}
	errno = saved;
	return -error;
}

void log_fields(enum log_level level, const struct log_field *fields, const char *format, ...)
{
	char text[LINE_MAX_BYTES / 2];
	int saved = errno;
	va_list args;

	if (level > log_max)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	write_line(level, fields, 0, text);
	errno = saved;
}
