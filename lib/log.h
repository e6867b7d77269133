#ifndef LAPSE_LIB_LOG_H
#define LAPSE_LIB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/text.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_TEXT, LOG_JSON };

/* Option parsers (lib/options.h) for enum log_level and enum log_format fields live with their tables here. */
struct option_call;
int log_parse_level(const struct option_call *call, void *field, struct text *accepted);
int log_parse_format(const struct option_call *call, void *field, struct text *accepted);

/* One writer of log lines: one thread, one bounded ring. Never blocks: when the descriptor takes no more and the ring is full,
 * lines are dropped and counted. */
struct log;

/* fd is borrowed and should be non-blocking (log_open_fd()). ring_bytes 0: write each line at once (command-line programs).
 * 0 or -ENOMEM. */
int log_new(struct log **out, int fd, enum log_format format, enum log_level level, size_t ring_bytes);
void log_free(struct log *log); /* one last log_flush() */

/* A non-blocking descriptor for the same file as fd: a new one through /proc/self/fd where permitted, so that others who share
 * fd keep blocking writes, else fd itself made non-blocking. */
int log_open_fd(int fd);

/* Standard descriptors that are closed lead to /dev/null from now on: otherwise the next socket becomes "standard output" and is sent
 * the log. Before anything else is opened. */
void log_fill_standard(void);

/* "debug" and back. 0 or -EINVAL. */
const char *log_level_name(enum log_level level);
int log_find_level(const char *name, enum log_level *level);

/* Any thread, as log_dropped() below. */
void log_set_level(struct log *log, enum log_level level);
bool log_wants(const struct log *log, enum log_level level);

/* Writes whole lines, at most PIPE_BUF bytes a time, so lines of several writers on one pipe never mix.
 * Returns true when something is left because the descriptor takes no more now. */
bool log_flush(struct log *log);
uint64_t log_dropped(const struct log *log);
/* The last write failed, and not because its reader is slow: a full disk, a pipe that nobody reads any more. */
bool log_failing(const struct log *log);

/* A line under construction, on the caller's stack. logfmt: key=value, quoted when it holds blanks, quotes, '=', control bytes
 * or nothing; JSON: one object. The same names in both. Control bytes, quotes, backslashes and invalid UTF-8 are escaped. */
#define LOG_LINE_SIZE 4096 /* PIPE_BUF; a longer line is cut, ends with truncated=true, and stays valid JSON */
struct log_line {
	struct log *log;
	enum log_format format;
	struct text text;
	char bytes[LOG_LINE_SIZE];
};

/* ts, level and msg; then fields; then the line goes out. Call only when log_wants(). */
void log_begin(struct log_line *line, struct log *log, enum log_level level, const char *message);
void log_string(struct log_line *line, const char *key, const char *value);
void log_bytes(struct log_line *line, const char *key, const char *value, size_t length);
void log_number(struct log_line *line, const char *key, int64_t value);
void log_bool(struct log_line *line, const char *key, bool value);
/* milliseconds as seconds with one decimal: 4210.3 */
void log_seconds(struct log_line *line, const char *key, int64_t milliseconds);
/* the same from microseconds, all of them: 0.001234 */
void log_precise_seconds(struct log_line *line, const char *key, int64_t microseconds);
void log_end(struct log_line *line);

/* A line of message and nothing else; format as printf. Checks log_wants() itself. */
void log_message(struct log *log, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A token bucket: `rate` tokens a second, at most `rate` at once. */
struct log_limit {
	int64_t at;          /* ms of the last refill, 0 = never used */
	int64_t millitokens;
	uint64_t suppressed; /* since the last line that passed */
};

/* True when a line may pass; then *suppressed is how many were held back since the last one, and the count restarts. */
bool log_limit_pass(struct log_limit *limit, int64_t now_ms, int rate, uint64_t *suppressed);

/* Whether log_limit_pass() would hold a line back now. */
bool log_limit_spent(const struct log_limit *limit, int64_t now_ms, int rate);

#endif
