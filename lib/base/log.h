/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines of the programs, one per event, to standard error.
 *
 * Libraries log at debug level only; the programs say each failure once, at
 * their edge. Lines begin with the syslog level in angle brackets when
 * standard error is the journal, with the program's name otherwise; with
 * LOG_JSON a line is one JSON object {"time","level",FIELDS,"msg"}, time in UTC.
 *
 * Not for threads that log at the same time as log_init() runs.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

enum log_format {
	LOG_TEXT,
	LOG_JSON,
};

/*
 * Sets name (kept by pointer; NULL: the program's own), level and format.
 * Without a call: info, text.
 */
void log_init(const char *name, enum log_level level, enum log_format format);

bool log_enabled(enum log_level level);

/*
 * Writes one line. With error != 0 (either sign), ": " and its text are
 * appended. Control characters become '?', so that a peer's text cannot forge
 * a second line. Keeps errno. Returns -abs(error).
 */
int log_full(enum log_level level, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a reader of JSON lines picks out; text lines do not have it. Empty values are left out. */
struct log_field {
	const char *key; /* NULL ends the list */
	const char *value;
};

#define LOG_FIELDS(...) ((const struct log_field[]){ __VA_ARGS__, { NULL, NULL } })

/* As log_full(), with fields. The message says the same in words. */
void log_fields(enum log_level level, const struct log_field *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Between the two, what is no warning or error is kept and written at the end, or
 * when some kilobytes have come together: for who answers somebody, and shall not
 * let him wait for whoever reads our log. They nest.
 */
void log_hold(void);
void log_release(void);

#define log_error(...) ((void)log_full(LOG_LEVEL_ERROR, 0, __VA_ARGS__))
#define log_warning(...) ((void)log_full(LOG_LEVEL_WARNING, 0, __VA_ARGS__))
#define log_info(...) ((void)log_full(LOG_LEVEL_INFO, 0, __VA_ARGS__))
#define log_debug(...) ((void)(log_enabled(LOG_LEVEL_DEBUG) && log_full(LOG_LEVEL_DEBUG, 0, __VA_ARGS__)))

/* As above with the text of an error; they return it: return log_error_errno(r, "cannot ..."). */
#define log_error_errno(error, ...) log_full(LOG_LEVEL_ERROR, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_full(LOG_LEVEL_WARNING, error, __VA_ARGS__)
#define log_info_errno(error, ...) log_full(LOG_LEVEL_INFO, error, __VA_ARGS__)
#define log_debug_errno(error, ...) log_full(LOG_LEVEL_DEBUG, error, __VA_ARGS__)

#endif
