#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/options.h"

/* A pipe with a log at its writing end. */
struct fixture {
	int fds[2];
	struct log *log;
	size_t length;
	char read[1 << 20];
};

static struct fixture *setup(enum log_format format, size_t ring_bytes)
{
	static struct fixture fixture;

	assert_int_equal(pipe2(fixture.fds, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(log_new(&fixture.log, fixture.fds[1], format, LOG_INFO, ring_bytes), 0);
	fixture.length = 0;
	fixture.read[0] = '\0';
	return &fixture;
}

static void teardown(struct fixture *fixture)
{
	log_free(fixture->log);
	close(fixture->fds[0]);
	close(fixture->fds[1]);
}

/* Adds what the pipe holds to fixture->read. */
static char *drain(struct fixture *fixture)
{
	ssize_t got;

	while ((got = read(fixture->fds[0], fixture->read + fixture->length, sizeof fixture->read - 1 - fixture->length)) > 0)
		fixture->length += (size_t)got;
	fixture->read[fixture->length] = '\0';
	return fixture->read;
}

/* Behind the timestamp of a line, without its newline. */
static const char *body(struct fixture *fixture)
{
	char *line = drain(fixture), *at = strchr(line, 'Z');

	assert_non_null(at);
	assert_int_equal(fixture->length, strlen(line));
	assert_int_equal(line[fixture->length - 1], '\n');
	line[fixture->length - 1] = '\0';
	assert_null(strchr(line, '\n'));
	return at + 1;
}

static void assert_ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);

	assert_true(length >= strlen(end));
	assert_string_equal(text + length - strlen(end), end);
}

/* ---- a reader of JSON objects, strict enough to refuse what a parser would ---- */

static bool json_utf8(const unsigned char **at)
{
	unsigned int size = **at < 0x80 ? 1 : **at < 0xc2 ? 0 : **at < 0xe0 ? 2 : **at < 0xf0 ? 3 : **at < 0xf5 ? 4 : 0;
	uint32_t code = **at & (size == 1 ? 0x7f : 0x7fu >> size);

	for (unsigned int i = 1; i < size; i++) {
		if (((*at)[i] & 0xc0) != 0x80)
			return false;
		code = code << 6 | ((*at)[i] & 0x3f);
	}
	*at += size;
	uint32_t least = size == 3 ? 0x800 : size == 4 ? 0x10000 : 0;
	return size > 0 && code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool json_string(const unsigned char **at)
{
	if (*(*at)++ != '"')
		return false;
	while (**at != '"') {
		if (**at < ' ')
			return false;
		if (**at != '\\') {
			if (!json_utf8(at))
				return false;
		} else if ((*at)[1] == 'u') {
			for (int i = 2; i < 6; i++)
				if (strchr("0123456789abcdef", (*at)[i]) == NULL || (*at)[i] == '\0')
					return false;
			*at += 6;
		} else if ((*at)[1] != '\0' && strchr("\"\\/bfnrt", (*at)[1]) != NULL) {
			*at += 2;
		} else {
			return false;
		}
	}
	++*at;
	return true;
}

static bool json_value(const unsigned char **at)
{
	if (**at == '"')
		return json_string(at);
	if (strncmp((const char *)*at, "true", 4) == 0) {
		*at += 4;
		return true;
	}
	size_t length = strspn((const char *)*at, "-0123456789.");
	*at += length;
	return length > 0;
}

static bool json_object(const char *text)
{
	const unsigned char *at = (const void *)text;

	if (*at++ != '{')
		return false;
	do {
		if (!json_string(&at) || *at++ != ':' || !json_value(&at))
			return false;
	} while (*at++ == ',');
	return at[-1] == '}' && *at == '\0';
}

/* ---- lines ---- */

static void logfmt_fields(void **state)
{
	struct fixture *fixture = setup(LOG_TEXT, 0);
	struct log_line line;

	log_begin(&line, fixture->log, LOG_WARN, "connection closed");
	log_string(&line, "reason", "idle_timeout");
	log_string(&line, "empty", "");
	log_bytes(&line, "client", "10.1.0.7:40112xxx", 14);
	log_number(&line, "requests", -14);
	log_number(&line, "least", INT64_MIN);
	log_seconds(&line, "open_s", 4210349);
	log_end(&line);
	assert_string_equal(body(fixture), " level=warn msg=\"connection closed\" reason=idle_timeout empty=\"\""
					   " client=10.1.0.7:40112 requests=-14 least=-9223372036854775808 open_s=4210.3");
	assert_int_equal(strncmp(fixture->read, "ts=20", 5), 0);
	teardown(fixture);
}

static void json_fields(void **state)
{
	struct fixture *fixture = setup(LOG_JSON, 0);
	struct log_line line;

	log_begin(&line, fixture->log, LOG_ERROR, "say \"no\"");
	log_string(&line, "path", "/a b\\c");
	log_number(&line, "n", 9223372036854775807);
	log_seconds(&line, "s", 1);
	log_end(&line);
	assert_string_equal(body(fixture), "\",\"level\":\"error\",\"msg\":\"say \\\"no\\\"\",\"path\":\"/a b\\\\c\","
					   "\"n\":9223372036854775807,\"s\":0.0}");
	assert_true(json_object(fixture->read));
	teardown(fixture);
}

static void seconds_are_rounded(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {{0, "0.0"}, {49, "0.0"}, {50, "0.1"}, {-49, "0.0"}, {-50, "-0.1"}, {59999, "60.0"}, {60000, "60.0"},
	{3600000, "3600.0"},
		    {-1500, "-1.5"}, {INT64_MAX, "9223372036854775.8"}, {INT64_MIN, "-9223372036854775.8"}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture *fixture = setup(LOG_TEXT, 0);
		struct log_line line;

		log_begin(&line, fixture->log, LOG_INFO, "m");
		log_seconds(&line, "s", rows[i].ms);
		log_end(&line);
		assert_string_equal(strstr(body(fixture), " s=") + 3, rows[i].text);
		teardown(fixture);
	}
}

static void precise_seconds_keep_microseconds(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} rows[] = {{0, "0.000000"}, {1, "0.000001"}, {999999, "0.999999"}, {1000000, "1.000000"}, {-1500000, "-1.500000"},
		    {INT64_C(3600000042), "3600.000042"}, {INT64_MAX, "9223372036854.775807"}, {INT64_MIN, "-9223372036854.775808"}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture *fixture = setup(LOG_JSON, 0);
		struct log_line line;
		char expected[64];

		log_begin(&line, fixture->log, LOG_INFO, "m");
		log_precise_seconds(&line, "s", rows[i].us);
		log_end(&line);
		snprintf(expected, sizeof expected, ",\"s\":%s}", rows[i].text);
		body(fixture);
		assert_ends_with(fixture->read, expected);
		assert_true(json_object(fixture->read));
		teardown(fixture);
	}
}

static void escapes(void **state)
{
	static const struct {
		const char *value, *bare, *quoted; /* bare NULL: quoted in logfmt too */
		size_t length;
	} rows[] = {
		{"plain-/:;,.{}[]'", "plain-/:;,.{}[]'", "plain-/:;,.{}[]'", 0},
		{"a b", NULL, "a b", 0},
		{"a=b", NULL, "a=b", 0},
		{"a\"b", NULL, "a\\\"b", 0},
		{"a\\b", NULL, "a\\\\b", 0},
		{"a\nb\r\t", NULL, "a\\nb\\r\\t", 0},
		{"a\0b", NULL, "a\\u0000b", 3},
		{"\x1b[31m", NULL, "\\u001b[31m", 0},
		{"\x7f", NULL, "\\u007f", 0},
		{"\xc2\x9b", NULL, "\\u009b", 0},               /* CSI in one character */
		{"\xc2\xa0", NULL, "\xc2\xa0", 0},
		{"z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80", NULL, "z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80", 0},
		{"\xff", NULL, "\\ufffd", 0},
		{"\x80", NULL, "\\ufffd", 0},
		{"\xc3", NULL, "\\ufffd", 0},                   /* cut */
		{"\xe2\x82", NULL, "\\ufffd\\ufffd", 0},
		{"\xc0\xaf", NULL, "\\ufffd\\ufffd", 0},        /* overlong */
		{"\xe0\x80\xaf", NULL, "\\ufffd\\ufffd\\ufffd", 0},
		{"\xed\xa0\x80", NULL, "\\ufffd\\ufffd\\ufffd", 0}, /* surrogate */
		{"\xf4\x90\x80\x80", NULL, "\\ufffd\\ufffd\\ufffd\\ufffd", 0},
		{"\xf0\x8f\xbf\xbf", NULL, "\\ufffd\\ufffd\\ufffd\\ufffd", 0},
		{"\xc3(", NULL, "\\ufffd(", 0},
	};

	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct fixture *fixture = setup((enum log_format)format, 0);
			struct log_line line;
			char expected[128];

			log_begin(&line, fixture->log, LOG_INFO, "m");
			log_bytes(&line, "k", rows[i].value, rows[i].length > 0 ? rows[i].length : strlen(rows[i].value));
			log_end(&line);
			if (format == LOG_JSON)
				snprintf(expected, sizeof expected, "\"k\":\"%s\"}", rows[i].quoted);
			else if (rows[i].bare != NULL)
				snprintf(expected, sizeof expected, " k=%s", rows[i].bare);
			else
				snprintf(expected, sizeof expected, " k=\"%s\"", rows[i].quoted);
			body(fixture);
			assert_ends_with(fixture->read, expected);
			if (format == LOG_JSON)
				assert_true(json_object(fixture->read));
			teardown(fixture);
		}
	}
}

/* Values of every length around the limit, of characters of every size, then fields that no longer fit. */
static void overlong_lines_are_cut(void **state)
{
	static const char *const units[] = {"x", "\x01", "\"", "\xc3\xbc", "\xf0\x9f\x98\x80", "\xff", " "};
	static char value[3 * LOG_LINE_SIZE];

	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		for (size_t unit = 0; unit < sizeof units / sizeof *units; unit++) {
			size_t length = unit == 0 ? 3900 : 600;
			for (; length < LOG_LINE_SIZE + 20; length += length < 3900 ? 97 : 1) {
				struct fixture *fixture = setup((enum log_format)format, 0);
				struct log_line line;
				size_t size = strlen(units[unit]);

				for (size_t i = 0; i < length; i++)
					value[i] = units[unit][i % size];
				log_begin(&line, fixture->log, LOG_INFO, "m");
				log_bytes(&line, "k", value, length - length % size);
				log_number(&line, "n", 1);
				log_string(&line, "s", "t");
				log_end(&line);
				drain(fixture);
				assert_in_range(fixture->length, 1, LOG_LINE_SIZE);
				bool cut = strstr(body(fixture), "truncated") != NULL;
				if (format == LOG_JSON)
					assert_true(json_object(fixture->read));
				if (format == LOG_JSON)
					assert_ends_with(fixture->read, cut ? ",\"truncated\":true}" : ",\"n\":1,\"s\":\"t\"}");
				else
					assert_ends_with(fixture->read, cut ? " truncated=true" : " n=1 s=t");
				if (length > LOG_LINE_SIZE)
					assert_true(cut);
				teardown(fixture);
			}
		}
	}
}

static void random_bytes_stay_json(void **state)
{
	srand(3);
	for (int round = 0; round < 3000; round++) {
		struct fixture *fixture = setup(LOG_JSON, 0);
		struct log_line line;
		char value[64];

		for (size_t i = 0; i < sizeof value; i++)
			value[i] = (char)(rand() % 3 == 0 ? rand() : 0xc0 | rand() % 64);
		log_begin(&line, fixture->log, LOG_INFO, "m");
		log_bytes(&line, "k", value, sizeof value);
		log_end(&line);
		body(fixture);
		assert_true(json_object(fixture->read));
		teardown(fixture);
	}
}

/* ---- levels, ring, descriptor ---- */

static void levels(void **state)
{
	struct fixture *fixture = setup(LOG_TEXT, 0);

	assert_false(log_wants(fixture->log, LOG_DEBUG));
	assert_true(log_wants(fixture->log, LOG_INFO));
	log_message(fixture->log, LOG_DEBUG, "no");
	assert_string_equal(drain(fixture), "");
	log_set_level(fixture->log, LOG_OFF);
	assert_false(log_wants(fixture->log, LOG_ERROR));
	assert_false(log_wants(fixture->log, LOG_OFF));
	log_set_level(fixture->log, LOG_DEBUG);
	log_message(fixture->log, LOG_DEBUG, "%s %d", "yes", 5);
	assert_string_equal(body(fixture), " level=debug msg=\"yes 5\"");
	teardown(fixture);
}

static void ring_waits_for_flush(void **state)
{
	struct fixture *fixture = setup(LOG_TEXT, 1 << 16);

	log_message(fixture->log, LOG_INFO, "one");
	log_message(fixture->log, LOG_INFO, "two");
	assert_string_equal(drain(fixture), "");
	assert_false(log_flush(fixture->log));
	assert_non_null(strstr(drain(fixture), "msg=one\n"));
	assert_non_null(strstr(fixture->read, "msg=two\n"));
	fixture->length = 0;
	log_message(fixture->log, LOG_INFO, "three");
	log_free(fixture->log); /* the last flush */
	assert_non_null(strstr(drain(fixture), "msg=three\n"));
	close(fixture->fds[0]);
	close(fixture->fds[1]);
}

/* Every line is whole, and every line is either read or counted as dropped. */
static void check_lines(struct fixture *fixture, int written)
{
	int lines = 0, last = -1;

	drain(fixture);
	for (char *line = fixture->read, *end; *line != '\0'; line = end + 1) {
		int number;

		end = strchr(line, '\n');
		assert_non_null(end);
		assert_int_equal(strncmp(line, "ts=20", 5), 0);
		assert_int_equal(end[-1], '.');
		const char *at = strstr(line, " msg=\"line ");
		assert_non_null(at);
		assert_int_equal(sscanf(at, " msg=\"line %d\"", &number), 1);
		assert_true(number > last);
		last = number;
		lines++;
	}
	assert_int_equal(lines + (int)log_dropped(fixture->log), written);
}

static void full_pipe_drops_and_counts(void **state)
{
	static const size_t rings[] = {0, 1, LOG_LINE_SIZE, 10000, 1 << 16};

	for (size_t ring = 0; ring < sizeof rings / sizeof *rings; ring++) {
		struct fixture *fixture = setup(LOG_TEXT, rings[ring]);
		int written = 0;
		char padding[300];

		assert_true(fcntl(fixture->fds[1], F_SETPIPE_SZ, 8192) > 0);
		memset(padding, '.', sizeof padding);
		for (int burst = 0; burst < 5; burst++) {
			for (int i = 0; i < 500; i++) {
				struct log_line line;
				char message[32];

				snprintf(message, sizeof message, "line %d", written++);
				log_begin(&line, fixture->log, LOG_INFO, message);
				log_bytes(&line, "padding", padding, 1 + (size_t)(i * 7) % sizeof padding);
				log_end(&line);
			}
			assert_true(log_flush(fixture->log)); /* the pipe is full */
			drain(fixture);
		}
		while (log_flush(fixture->log))
			drain(fixture);
		assert_true(log_dropped(fixture->log) > 0);
		check_lines(fixture, written);
		teardown(fixture);
	}
}

static void writes_are_whole_lines_up_to_pipe_buf(void **state)
{
	struct fixture *fixture = setup(LOG_TEXT, 1 << 16);
	int fds[2];
	char packet[1 << 16];

	/* A socket of packets shows the borders of the writes. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	log_free(fixture->log);
	assert_int_equal(log_new(&fixture->log, fds[1], LOG_TEXT, LOG_INFO, 1 << 16), 0);
	for (int i = 0; i < 200; i++)
		log_message(fixture->log, LOG_INFO, "%0*d", 1 + i * 3, i);
	assert_false(log_flush(fixture->log));
	ssize_t got, packets = 0, lines = 0;
	while ((got = read(fds[0], packet, sizeof packet)) > 0) {
		assert_in_range(got, 1, PIPE_BUF);
		assert_int_equal(strncmp(packet, "ts=", 3), 0);
		assert_int_equal(packet[got - 1], '\n');
		for (ssize_t i = 0; i < got; i++)
			lines += packet[i] == '\n';
		packets++;
	}
	assert_int_equal(lines, 200);
	assert_in_range(packets, 10, 40);
	teardown(fixture);
	close(fds[0]);
	close(fds[1]);
}

static void limit(void **state)
{
	struct log_limit bucket = {0};
	uint64_t suppressed = 99;
	int passed = 0;

	for (int i = 0; i < 200; i++)
		passed += log_limit_pass(&bucket, 1000000, 50, &suppressed);
	assert_int_equal(passed, 50);
	assert_int_equal(bucket.suppressed, 150);
	assert_int_equal(suppressed, 0);
	assert_true(log_limit_spent(&bucket, 1000019, 50));
	assert_false(log_limit_spent(&bucket, 1000020, 50));
	assert_false(log_limit_pass(&bucket, 1000019, 50, &suppressed)); /* a token takes 20 ms */
	assert_true(log_limit_pass(&bucket, 1000020, 50, &suppressed));
	assert_int_equal(suppressed, 151);
	assert_false(log_limit_pass(&bucket, 1000021, 50, &suppressed));
	assert_true(log_limit_pass(&bucket, 1000041, 50, &suppressed));
	assert_int_equal(suppressed, 1);

	/* after a long pause one bucket and no more; a steady flow passes at the rate */
	for (int i = passed = 0; i < 200; i++)
		passed += log_limit_pass(&bucket, INT64_C(1) << 40, 50, &suppressed);
	assert_int_equal(passed, 50);
	for (int i = passed = 0; i < 10000; i++)
		passed += log_limit_pass(&bucket, (INT64_C(1) << 40) + i, 50, &suppressed);
	assert_in_range(passed, 498, 501);
}

static void parsers(void **state)
{
	static const char *const levels_in_order[] = {"debug", "info", "warn", "error", "off"};
	enum log_level level = LOG_WARN;
	enum log_format format = LOG_TEXT;
	struct option_call call = {0};
	TEXT_ON_STACK(accepted, 64);

	for (int i = 0; i < 5; i++) {
		call.value = levels_in_order[i];
		assert_int_equal(log_parse_level(&call, &level, &accepted), 0);
		assert_int_equal(level, i);
		assert_string_equal(log_level_name(level), levels_in_order[i]);
	}
	call.value = "json";
	assert_int_equal(log_parse_format(&call, &format, &accepted), 0);
	assert_int_equal(format, LOG_JSON);
	assert_string_equal(accepted.data, "");
	call.value = "INFO";
	assert_int_equal(log_parse_level(&call, &level, &accepted), -EINVAL);
	assert_string_equal(accepted.data, "debug, info, warn, error or off");
	assert_int_equal(log_parse_format(&call, &format, &accepted), -EINVAL);
	assert_int_equal(level, LOG_OFF);
	assert_int_equal(format, LOG_JSON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logfmt_fields),
		cmocka_unit_test(json_fields),
		cmocka_unit_test(seconds_are_rounded),
		cmocka_unit_test(precise_seconds_keep_microseconds),
		cmocka_unit_test(escapes),
		cmocka_unit_test(overlong_lines_are_cut),
		cmocka_unit_test(random_bytes_stay_json),
		cmocka_unit_test(levels),
		cmocka_unit_test(ring_waits_for_flush),
		cmocka_unit_test(full_pipe_drops_and_counts),
		cmocka_unit_test(writes_are_whole_lines_up_to_pipe_buf),
		cmocka_unit_test(limit),
		cmocka_unit_test(parsers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
