#include "proxy/http2/header.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"

#define BLOCK(text) (struct slice){(const uint8_t *)text, sizeof text - 1}

struct seen {
	char text[4096];
	size_t length;
	unsigned count, never;
};

static void note(void *owner, const struct header_line *line)
{
	struct seen *seen = owner;

	seen->count++;
	seen->never += line->never_indexed;
	seen->length += (size_t)snprintf(seen->text + seen->length, sizeof seen->text - seen->length, "%.*s=%.*s;", (int)line->name.length,
	                                 (const char *)line->name.bytes, (int)line->value.length, (const char *)line->value.bytes);
}

static int read_block(struct header_reader *reader, struct slice block, struct seen *seen)
{
	*seen = (struct seen){0};
	return header_read(reader, block, true, note, seen);
}

/* RFC 7541 C.3: three requests on one connection, the table in use; byte by byte. */
static void test_read(void **state)
{
	static const struct {
		struct slice block;
		const char *fields;
	} requests[] = {
	    {BLOCK("\x82\x86\x84\x41\x0fwww.example.com"), ":method=GET;:scheme=http;:path=/;:authority=www.example.com;"},
	    {BLOCK("\x82\x86\x84\xbe\x58\x08no-cache"), ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;"},
	    {BLOCK("\x82\x87\x85\xbf\x40\x0a" "custom-key\x0c" "custom-value"),
	     ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;custom-key=custom-value;"},
	};
	struct header_reader *reader;
	struct seen seen;

	assert_int_equal(header_reader_new(&reader), 0);
	assert_int_equal(header_table_size(reader), 4096);
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		seen = (struct seen){0};
		for (size_t at = 0; at < requests[i].block.length; at++)
			assert_int_equal(header_read(reader, (struct slice){requests[i].block.bytes + at, 1}, false, note, &seen), 0);
		assert_int_equal(header_read(reader, BLOCK(""), true, note, &seen), 0);
		assert_string_equal(seen.text, requests[i].fields);
	}
	header_reader_free(reader);
}

/* Never stricter than the receiver whose shadow it is: sizes up to 64 KiB, and no update is asked for. */
static void test_sizes(void **state)
{
	struct header_reader *reader;
	struct seen seen;

	assert_int_equal(header_reader_new(&reader), 0);
	assert_int_equal(read_block(reader, BLOCK("\x20\x82"), &seen), 0); /* 0 */
	assert_int_equal(header_table_size(reader), 0);
	assert_int_equal(read_block(reader, BLOCK("\x3f\xe1\xff\x03\x82"), &seen), 0); /* 65,536 */
	assert_int_equal(header_table_size(reader), 65536);
	assert_int_equal(read_block(reader, BLOCK("\x3f\xe2\xff\x03\x82"), &seen), -EBADMSG);
	header_reader_free(reader);
}

static void test_bad(void **state)
{
	static const struct slice blocks[] = {BLOCK("\x80"), BLOCK("\xff\x80\x01"), BLOCK("\x82\x20"), BLOCK("\x00\x7f\xff"), BLOCK("\x00\x83\xff\xff\xff\x00"), BLOCK("\x40")};
	struct header_reader *reader;
	struct seen seen;

	for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
		assert_int_equal(header_reader_new(&reader), 0);
		assert_int_equal(read_block(reader, blocks[i], &seen), -EBADMSG);
		header_reader_free(reader);
	}
}

/* What is written is read as it was, and leaves no trace in the table. */
static void test_write(void **state)
{
	static char many[70000];
	struct header_line secret = {BLOCK("x-secret"), BLOCK("s"), true}, empty = {BLOCK("x-empty"), BLOCK(""), false};
	struct header_reader *reader;
	struct buf block = {0};
	struct seen seen;

	assert_int_equal(header_reader_new(&reader), 0);
	assert_int_equal(header_put_size(&block, 0) | header_put_text(&block, ":status", "504") | header_put(&block, &secret) | header_put(&block, &empty), 0);
	assert_int_equal(read_block(reader, (struct slice){buf_bytes(&block), buf_length(&block)}, &seen), 0);
	assert_string_equal(seen.text, ":status=504;x-secret=s;x-empty=;");
	assert_int_equal(seen.never, 1);
	assert_int_equal(header_table_size(reader), 0);
	assert_int_equal(read_block(reader, BLOCK("\xbe"), &seen), -EBADMSG); /* the first entry of the table: there is none */
	header_reader_free(reader);
	buf_release(&block);
	/* Lengths around the bounds of their prefix. */
	for (size_t length = 120; length < 300; length++) {
		memset(many, 'v', length);
		many[length] = '\0';
		assert_int_equal(header_reader_new(&reader), 0);
		assert_int_equal(header_put_text(&block, "n", many), 0);
		assert_int_equal(read_block(reader, (struct slice){buf_bytes(&block), buf_length(&block)}, &seen), 0);
		assert_int_equal(seen.length, length + 3);
		header_reader_free(reader);
		buf_release(&block);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_read),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
