#include "proxy/connection/tls_hello.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

#define BYTES(text) text, sizeof text - 1

/* Bytes that are put together, with length fields filled in behind. */
struct wire {
	uint8_t bytes[40000];
	size_t length;
};

static void put(struct wire *wire, const void *bytes, size_t length)
{
	memcpy(wire->bytes + wire->length, bytes, length);
	wire->length += length;
}

static size_t open_vector(struct wire *wire, size_t length_bytes)
{
	memset(wire->bytes + wire->length, 0, length_bytes);
	wire->length += length_bytes;
	return wire->length;
}

static void close_vector(struct wire *wire, size_t start, size_t length_bytes)
{
	size_t length = wire->length - start;

	for (size_t i = 1; i <= length_bytes; i++, length >>= 8)
		wire->bytes[start - i] = (uint8_t)length;
}

struct hello {
	const char *server_name;
	size_t server_name_length;
	const char *alpn; /* names, each behind its length byte */
	size_t alpn_length;
	size_t padding; /* an extension of that many bytes in front; 0 = none */
	bool no_extensions;
};

/* The handshake message, without a record around it. */
static void hello_message(struct wire *wire, const struct hello *hello)
{
	static const uint8_t random[32] = {1, 2, 3};
	static const uint8_t zeros[20000];
	size_t message, extensions, extension, list, name;

	wire->length = 0;
	put(wire, "\x01", 1);
	message = open_vector(wire, 3);
	put(wire, "\x03\x03", 2);
	put(wire, random, sizeof random);
	put(wire, BYTES("\x04sess"));
	put(wire, BYTES("\x00\x04\x13\x01\x13\x02"));
	put(wire, BYTES("\x01\x00"));
	if (!hello->no_extensions) {
		extensions = open_vector(wire, 2);
		if (hello->padding) {
			put(wire, "\x00\x15", 2);
			extension = open_vector(wire, 2);
			put(wire, zeros, hello->padding);
			close_vector(wire, extension, 2);
		}
		if (hello->server_name) {
			put(wire, "\x00\x00", 2);
			extension = open_vector(wire, 2);
			list = open_vector(wire, 2);
			put(wire, "\x00", 1);
			name = open_vector(wire, 2);
			put(wire, hello->server_name, hello->server_name_length);
			close_vector(wire, name, 2);
			close_vector(wire, list, 2);
			close_vector(wire, extension, 2);
		}
		if (hello->alpn) {
			put(wire, "\x00\x10", 2);
			extension = open_vector(wire, 2);
			list = open_vector(wire, 2);
			put(wire, hello->alpn, hello->alpn_length);
			close_vector(wire, list, 2);
			close_vector(wire, extension, 2);
		}
		close_vector(wire, extensions, 2);
	}
	close_vector(wire, message, 3);
}

/* The message in records of at most `most` bytes each. */
static void hello_records(struct wire *wire, const struct wire *message, size_t most)
{
	wire->length = 0;
	for (size_t at = 0; at < message->length; at += most) {
		size_t length = message->length - at < most ? message->length - at : most, record;

		put(wire, "\x16\x03\x01", 3);
		record = open_vector(wire, 2);
		put(wire, message->bytes + at, length);
		close_vector(wire, record, 2);
	}
}

static int parse(const struct guard *guard, const struct wire *wire, size_t length, struct tls_hello *out)
{
	return tls_hello_parse(guard_place(guard, wire->bytes, length), length, out);
}

#define TEN "abcdefghij"
#define FIFTY TEN TEN TEN TEN TEN
#define NAME_255 FIFTY FIFTY FIFTY FIFTY FIFTY "abcde"

static void reads(void **state)
{
	static const struct {
		struct hello hello;
		const char *server_name, *alpn;
	} rows[] = {
	    {{BYTES("example.org"), BYTES("\x02h2\x08http/1.1"), 0, false}, "example.org", "h2,http/1.1"},
	    {{BYTES("example.org"), NULL, 0, 0, false}, "example.org", ""},
	    {{NULL, 0, BYTES("\x08http/1.1"), 0, false}, "", "http/1.1"},
	    {{NULL, 0, NULL, 0, 0, false}, "", ""},
	    {{NULL, 0, NULL, 0, 0, true}, "", ""},
	    {{BYTES("x"), BYTES("\x02h2"), 5000, false}, "x", "h2"},
	    {{BYTES("a\nb\x7f\xc3\xa4 \"\0c"), NULL, 0, 0, false}, "a?b????\"?c", ""},
	    {{NULL, 0, BYTES("\x03h\r\n\x02\x1b["), 0, false}, "", "h\?\?,?["},
	    {{BYTES(NAME_255), NULL, 0, 0, false}, NAME_255, ""},
	    {{BYTES(NAME_255 "f"), NULL, 0, 0, false}, "", ""}, /* longer than a DNS name can be */
	};
	struct wire message, wire;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		static const size_t sizes[] = {16384, 4, 100, 1};

		hello_message(&message, &rows[i].hello);
		for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
			struct tls_hello out;

			hello_records(&wire, &message, sizes[size]);
			memset(&out, 'x', sizeof out);
			if (parse(*state, &wire, wire.length, &out))
				fail_msg("row %zu in records of %zu", i, sizes[size]);
			assert_string_equal(out.server_name, rows[i].server_name);
			assert_string_equal(out.alpn, rows[i].alpn);
		}
	}
}

/* At every prefix: not complete, and nothing written. What follows the hello changes nothing. */
static void waits_for_the_whole(void **state)
{
	const struct hello hello = {BYTES("example.org"), BYTES("\x02h2\x08http/1.1"), 0, false};
	static const size_t sizes[] = {16384, 7, 1};
	struct wire message, wire;
	struct tls_hello out, untouched;

	memset(&untouched, 'x', sizeof untouched);
	hello_message(&message, &hello);
	for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
		hello_records(&wire, &message, sizes[size]);
		for (size_t length = 0; length < wire.length; length++) {
			memset(&out, 'x', sizeof out);
			if (parse(*state, &wire, length, &out) != -EAGAIN)
				fail_msg("records of %zu: %zu of %zu bytes", sizes[size], length, wire.length);
			assert_memory_equal(&out, &untouched, sizeof out);
		}
		put(&wire, BYTES("\x14\x03\x03\x00\x01\x01\xff\xff"));
		assert_int_equal(parse(*state, &wire, wire.length, &out), 0);
		assert_string_equal(out.server_name, "example.org");
	}
}

/* More handshake bytes behind the hello in its last record. */
static void stops_where_the_message_does(void **state)
{
	const struct hello hello = {BYTES("example.org"), NULL, 0, 0, false};
	struct wire message, wire;
	struct tls_hello out;

	hello_message(&message, &hello);
	put(&message, BYTES("\x0e\x00\x00\x00"));
	hello_records(&wire, &message, 16384);
	assert_int_equal(parse(*state, &wire, wire.length, &out), 0);
	assert_string_equal(out.server_name, "example.org");
	assert_int_equal(parse(*state, &wire, wire.length - 4, &out), 0);
	assert_int_equal(parse(*state, &wire, wire.length - 5, &out), -EAGAIN);
}

static void alpn_is_cut_at_a_whole_name(void **state)
{
	struct hello hello = {.alpn_length = 0};
	struct wire message, wire;
	struct tls_hello out;
	uint8_t names[512];

	/* 31 + comma + 31 = 63 fit with the NUL; a byte more in the second does not. */
	for (size_t second = 30; second <= 33; second++) {
		memset(names, 'n', sizeof names);
		names[0] = 31;
		names[32] = (uint8_t)second;
		hello.alpn = (const char *)names;
		hello.alpn_length = 32 + 1 + second;
		hello_message(&message, &hello);
		hello_records(&wire, &message, 16384);
		assert_int_equal(parse(*state, &wire, wire.length, &out), 0);
		assert_int_equal(strlen(out.alpn), second <= 31 ? 32 + second : 31);
	}
	for (size_t first = 62; first <= 255; first++) {
		names[0] = (uint8_t)first;
		memset(names + 1, 'n', first);
		hello.alpn_length = 1 + first;
		hello_message(&message, &hello);
		hello_records(&wire, &message, 16384);
		assert_int_equal(parse(*state, &wire, wire.length, &out), 0);
		assert_int_equal(strlen(out.alpn), first <= 63 ? first : 0);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} rows[] = {
	    {BYTES("\x17\x03\x03\x00\x05\x01\x00\x00\x01\x00")},     /* application data */
	    {BYTES("G")},                                             /* no record */
	    {BYTES("\x16\x03\x01\x00\x00")},                         /* an empty record */
	    {BYTES("\x16\x03\x01\x40\x01")},                         /* over what is waited for */
	    {BYTES("\x16\x03\x01\x00\x04\x02\x00\x00\x00")},         /* a ServerHello */
	    {BYTES("\x16\x03\x01\x00\x04\x01\x00\x40\x00")},         /* a message over what is waited for */
	    {BYTES("\x16\x03\x01\x00\x04\x01\x00\x00\x00")},         /* empty */
	    {BYTES("\x16\x03\x01\x00\x02\x01\x00\x15\x03\x01\x00\x02")}, /* an alert in the middle of it */
	};
	struct wire wire;
	struct tls_hello out, untouched;

	memset(&untouched, 'x', sizeof untouched);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		wire.length = 0;
		put(&wire, rows[i].bytes, rows[i].length);
		memset(&out, 'x', sizeof out);
		if (parse(*state, &wire, wire.length, &out) != -EINVAL)
			fail_msg("row %zu", i);
		assert_memory_equal(&out, &untouched, sizeof out);
	}
}

/* A message of exactly the greatest length is read, in one record and in many; one byte more is refused. */
static void length_at_the_limit(void **state)
{
	struct hello hello = {.server_name = "limit", .server_name_length = 5, .padding = 1};
	static const size_t sizes[] = {16384, 8192, 8191, 1000};
	struct wire message, wire;
	struct tls_hello out;

	hello_message(&message, &hello);
	hello.padding += TLS_HELLO_MOST - message.length;
	hello_message(&message, &hello);
	assert_int_equal(message.length, TLS_HELLO_MOST);
	for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
		hello_records(&wire, &message, sizes[size]);
		assert_int_equal(parse(*state, &wire, wire.length - 1, &out), -EAGAIN);
		assert_int_equal(parse(*state, &wire, wire.length, &out), 0);
		assert_string_equal(out.server_name, "limit");
	}
	hello.padding++;
	hello_message(&message, &hello);
	hello_records(&wire, &message, 8192);
	assert_int_equal(parse(*state, &wire, wire.length, &out), -EINVAL);
}

/* Every byte of the message set to every value: 0, -EAGAIN or -EINVAL, strings that end, nothing read behind the end. */
static void survives_damage(void **state)
{
	const struct hello hello = {BYTES("example.org"), BYTES("\x02h2\x08http/1.1"), 0, false};
	struct wire message, wire;

	hello_message(&message, &hello);
	hello_records(&wire, &message, 90);
	for (size_t at = 0; at < wire.length; at++) {
		uint8_t before = wire.bytes[at];

		for (int byte = 0; byte < 256; byte++) {
			struct tls_hello out;
			int result;

			wire.bytes[at] = (uint8_t)byte;
			result = parse(*state, &wire, wire.length, &out);
			assert_true(result == 0 || result == -EAGAIN || result == -EINVAL);
			if (result == 0) {
				assert_non_null(memchr(out.server_name, 0, sizeof out.server_name));
				assert_non_null(memchr(out.alpn, 0, sizeof out.alpn));
			}
		}
		wire.bytes[at] = before;
	}
}

/* Length fields inside a message whose own length is right. */
static void vectors_stay_inside(void **state)
{
	const struct hello hello = {BYTES("example.org"), BYTES("\x02h2"), 0, false};
	/* Offsets into the message: session id, cipher suites, compression, extensions, the first extension. */
	static const struct {
		size_t at;
		int result;
	} rows[] = {{38, -EINVAL}, {43, -EINVAL}, {49, -EINVAL}, {51, -EINVAL}, {55, -EINVAL}};
	struct wire message, wire;
	struct tls_hello out;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		hello_message(&message, &hello);
		message.bytes[rows[i].at] = 0xff;
		hello_records(&wire, &message, 16384);
		if (parse(*state, &wire, wire.length, &out) != rows[i].result)
			fail_msg("a length of 0xff at %zu", rows[i].at);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads),
	    cmocka_unit_test(waits_for_the_whole),
	    cmocka_unit_test(stops_where_the_message_does),
	    cmocka_unit_test(alpn_is_cut_at_a_whole_name),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(length_at_the_limit),
	    cmocka_unit_test(survives_damage),
	    cmocka_unit_test(vectors_stay_inside),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
