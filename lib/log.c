#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/options.h"

/* Kept free behind the fields for what log_end() adds: a quote, ,"truncated":true} and the newline. */
#define LOG_TAIL 32

struct log {
	int fd;
	enum log_format format;
	_Atomic int level;         /* set and read by any thread */
	bool immediate;
	bool failing;              /* the last write failed for good */
	bool inside;               /* the last write ended within a line */
	bool torn;                 /* the rest of that line was dropped: the file lacks its newline */
	_Atomic uint64_t dropped;  /* written by the log's own thread, read by any */
	size_t start, end, capacity; /* of bytes; start is the beginning of a line unless the kernel took only a part of one */
	char bytes[];
};

static const char *const log_level_names[] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error", [LOG_OFF] = "off",
};

const char *log_level_name(enum log_level level)
{
	return log_level_names[level];
}

int log_find_level(const char *name, enum log_level *level)
{
	for (int each = LOG_DEBUG; each <= LOG_OFF; each++) {
		if (strcmp(name, log_level_names[each]) == 0) {
			*level = (enum log_level)each;
			return 0;
		}
	}
	return -EINVAL;
}

int log_parse_level(const struct option_call *call, void *field, struct text *accepted)
{
	int result = log_find_level(call->value, field);

	if (result)
		text_string(accepted, "debug, info, warn, error or off");
	return result;
}

int log_parse_format(const struct option_call *call, void *field, struct text *accepted)
{
	if (strcmp(call->value, "text") == 0) {
		*(enum log_format *)field = LOG_TEXT;
	} else if (strcmp(call->value, "json") == 0) {
		*(enum log_format *)field = LOG_JSON;
	} else {
		text_string(accepted, "text or json");
		return -EINVAL;
	}
	return 0;
}

int log_new(struct log **out, int fd, enum log_format format, enum log_level level, size_t ring_bytes)
{
	size_t capacity = ring_bytes < LOG_LINE_SIZE ? LOG_LINE_SIZE : ring_bytes;
	struct log *log = malloc(sizeof *log + capacity);

	if (log == NULL)
		return -ENOMEM;
	*log = (struct log){.fd = fd, .format = format, .immediate = ring_bytes == 0, .capacity = capacity};
	log_set_level(log, level);
	*out = log;
	return 0;
}

void log_free(struct log *log)
{
	if (log == NULL)
		return;
	log_flush(log);
	free(log);
}

int log_open_fd(int fd)
{
	char path[40];
	struct stat stat;

	/* A regular file never makes a writer wait, and a second opening of it would have an offset of its own. */
	if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode))
		return fd;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int own = open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_NOCTTY | O_CLOEXEC);
	if (own >= 0)
		return own;
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	return fd;
}

void log_fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void log_set_level(struct log *log, enum log_level level)
{
	atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

bool log_wants(const struct log *log, enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed) && level != LOG_OFF;
}

uint64_t log_dropped(const struct log *log)
{
	return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

bool log_failing(const struct log *log)
{
	return log->failing;
}

/* The descriptor is broken: nobody will ever read what is waiting. */
static void log_drop_all(struct log *log)
{
	uint64_t lines = 0;

	log->failing = true;
	log->torn |= log->inside;
	log->inside = false;
	for (size_t i = log->start; i < log->end; i++)
		lines += log->bytes[i] == '\n';
	log->dropped += lines;
	log->start = log->end = 0;
}

/* A disk that was full took a part of a line: what follows begins on a line of its own. */
static ssize_t log_write_newline(struct log *log)
{
	ssize_t written = write(log->fd, "\n", 1);

	if (written > 0)
		log->torn = false;
	return written;
}

static ssize_t log_write_lines(struct log *log)
{
	const char *from = log->bytes + log->start;
	size_t length = log->end - log->start;
	ssize_t written;

	if (length > PIPE_BUF) /* every line fits: LOG_LINE_SIZE is PIPE_BUF */
		length = (size_t)((const char *)memrchr(from, '\n', PIPE_BUF) - from) + 1;
	written = write(log->fd, from, length);
	if (written > 0) {
		log->start += (size_t)written;
		log->inside = from[written - 1] != '\n';
		log->failing = false;
	}
	return written;
}

bool log_flush(struct log *log)
{
	while (log->start < log->end) {
		ssize_t written = log->torn ? log_write_newline(log) : log_write_lines(log);

		if (written > 0) {
			continue;
		} else if (written == 0 || errno == EAGAIN) {
			return true;
		} else if (errno != EINTR) {
			log_drop_all(log);
			return false;
		}
	}
	log->start = log->end = 0;
	return false;
}

/* Makes room for a whole line or says that there is none. */
static bool log_make_room(struct log *log, size_t length)
{
	if (length <= log->capacity - log->end)
		return true;
	log_flush(log);
	if (length > log->capacity - (log->end - log->start))
		return false;
	memmove(log->bytes, log->bytes + log->start, log->end - log->start);
	log->end -= log->start;
	log->start = 0;
	return true;
}

static void log_queue(struct log *log, const char *line, size_t length)
{
	if (!log_make_room(log, length)) { /* much at once: what is waiting goes out now, as far as it may */
		log_flush(log);
		if (!log_make_room(log, length)) {
			log->dropped++;
			return;
		}
	}
	memcpy(log->bytes + log->end, line, length);
	log->end += length;
	if (log->immediate)
		log_flush(log);
}

/* Quoted and escaped; cut between two characters when the line is full. The closing quote has its place in LOG_TAIL. */
static void log_quote(struct text *text, const char *value, size_t length)
{
	const unsigned char *bytes = (const void *)value;
	size_t at = 0;

	text_char(text, '"');
	while (at < length && !text->truncated) {
		size_t run = at;
		while (run < length && json_is_plain(bytes[run]))
			run++;
		text_append(text, value + at, run - at);
		at = run;
		if (at == length)
			break;
		char escaped[JSON_ESCAPED_SIZE];
		size_t taken, size = json_escape(bytes + at, length - at, escaped, &taken);
		if (size > text->size - 1 - text->length)
			text->truncated = true;
		else
			text_append(text, escaped, size);
		at += taken;
	}
	text->data[text->length++] = '"';
}

/* Whether logfmt can carry the value as it is. */
static bool log_is_bare(const char *value, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!json_is_plain((unsigned char)value[i]) || value[i] == ' ' || value[i] == '=')
			return false;
	}
	return length > 0;
}

/* The key with all that surrounds it. False when the line has no room for it and `value` bytes more, or is already cut. */
static bool log_key(struct log_line *line, const char *key, size_t value)
{
	struct text *text = &line->text;
	size_t length = strlen(key);

	if (text->truncated || text->length + length + value + sizeof ",\"\":" >= text->size) {
		text->truncated = true;
		return false;
	}
	if (line->format == LOG_JSON) {
		text_append(text, text->length == 0 ? "{\"" : ",\"", 2);
		text_append(text, key, length);
		text_append(text, "\":", 2);
	} else {
		if (text->length > 0)
			text_char(text, ' ');
		text_append(text, key, length);
		text_char(text, '=');
	}
	return true;
}

void log_bytes(struct log_line *line, const char *key, const char *value, size_t length)
{
	if (!log_key(line, key, 2)) /* a quote and one character */
		return;
	if (line->format == LOG_TEXT && log_is_bare(value, length))
		text_append(&line->text, value, length);
	else
		log_quote(&line->text, value, length);
}

void log_string(struct log_line *line, const char *key, const char *value)
{
	log_bytes(line, key, value, strlen(value));
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
	char digits[24];
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
	size_t at = sizeof digits;

	do
		digits[--at] = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (value < 0)
		digits[--at] = '-';
	if (log_key(line, key, sizeof digits))
		text_append(&line->text, digits + at, sizeof digits - at);
}

void log_bool(struct log_line *line, const char *key, bool value)
{
	if (log_key(line, key, 8))
		text_string(&line->text, value ? "true" : "false");
}

void log_seconds(struct log_line *line, const char *key, int64_t milliseconds)
{
	uint64_t tenths = ((milliseconds < 0 ? -(uint64_t)milliseconds : (uint64_t)milliseconds) + 50) / 100;

	if (log_key(line, key, 24))
		text_printf(&line->text, "%s%llu.%llu", milliseconds < 0 && tenths > 0 ? "-" : "",
			    (unsigned long long)(tenths / 10), (unsigned long long)(tenths % 10));
}

void log_precise_seconds(struct log_line *line, const char *key, int64_t microseconds)
{
	uint64_t size = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;

	if (log_key(line, key, 24))
		text_printf(&line->text, "%s%llu.%06llu", microseconds < 0 ? "-" : "", (unsigned long long)(size / 1000000),
			    (unsigned long long)(size % 1000000));
}

void log_begin(struct log_line *line, struct log *log, enum log_level level, const char *message)
{
	char time[CLOCK_TEXT_SIZE];

	line->log = log;
	line->format = log->format;
	text_init(&line->text, line->bytes, sizeof line->bytes - LOG_TAIL);
	clock_format(clock_realtime_ms(), time);
	log_string(line, "ts", time);
	log_string(line, "level", log_level_names[level]);
	log_string(line, "msg", message);
}

void log_end(struct log_line *line)
{
	struct text *text = &line->text;
	bool json = line->format == LOG_JSON;

	text->size = sizeof line->bytes;
	if (text->truncated)
		text_string(text, json ? ",\"truncated\":true" : " truncated=true");
	text_string(text, json ? "}\n" : "\n");
	log_queue(line->log, text->data, text->length);
}

void log_message(struct log *log, enum log_level level, const char *format, ...)
{
	char message[2048];
	struct log_line line;
	va_list arguments;

	if (!log_wants(log, level))
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	log_begin(&line, log, level, message);
	log_end(&line);
}

/* What the bucket holds now: `rate` tokens a second are `rate` millitokens a millisecond; a second fills it. */
static int64_t log_limit_held(const struct log_limit *limit, int64_t now_ms, int rate)
{
	int64_t most = (int64_t)rate * 1000, elapsed = now_ms - limit->at, held = limit->millitokens;

	if (limit->at == 0 || elapsed >= 1000)
		return most;
	if (elapsed > 0)
		held += elapsed * rate;
	return held < most ? held : most;
}

bool log_limit_spent(const struct log_limit *limit, int64_t now_ms, int rate)
{
	return log_limit_held(limit, now_ms, rate) < 1000;
}

bool log_limit_pass(struct log_limit *limit, int64_t now_ms, int rate, uint64_t *suppressed)
{
	limit->millitokens = log_limit_held(limit, now_ms, rate);
	limit->at = now_ms;
	if (limit->millitokens < 1000) {
		limit->suppressed++;
		return false;
	}
	limit->millitokens -= 1000;
	*suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
