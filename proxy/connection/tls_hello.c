#include "proxy/connection/tls_hello.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* A cursor over bytes that never runs past its end: a read beyond it fails the whole parse. */
struct reader {
	const uint8_t *at, *end;
	bool failed;
};

static size_t tls_hello_left(const struct reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

static uint32_t tls_hello_number(struct reader *reader, size_t bytes)
{
	uint32_t value = 0;

	if (tls_hello_left(reader) < bytes) {
		reader->failed = true;
		reader->at = reader->end;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | *reader->at++;
	return value;
}

/* A vector with a length field of length_bytes in front. */
static struct reader tls_hello_vector(struct reader *reader, size_t length_bytes)
{
	size_t length = tls_hello_number(reader, length_bytes);
	struct reader vector = {reader->at, reader->at, false};

	if (length > tls_hello_left(reader)) {
		reader->failed = vector.failed = true;
		reader->at = reader->end;
		return vector;
	}
	vector.end = reader->at + length;
	reader->at = vector.end;
	return vector;
}

static size_t tls_hello_copy(char *out, size_t size, struct reader name)
{
	size_t length = tls_hello_left(&name);

	if (length >= size)
		return 0;
	for (size_t i = 0; i < length; i++)
		out[i] = name.at[i] > 0x20 && name.at[i] < 0x7f ? (char)name.at[i] : '?';
	out[length] = '\0';
	return length;
}

static void tls_hello_server_name(struct reader extension, struct tls_hello *hello)
{
	struct reader names = tls_hello_vector(&extension, 2);

	while (tls_hello_left(&names) && !names.failed) {
		uint32_t type = tls_hello_number(&names, 1);
		struct reader name = tls_hello_vector(&names, 2);

		if (type == 0 && !names.failed) {
			tls_hello_copy(hello->server_name, sizeof hello->server_name, name);
			return;
		}
	}
}

static void tls_hello_alpn(struct reader extension, struct tls_hello *hello)
{
	struct reader names = tls_hello_vector(&extension, 2);
	size_t used = 0;

	while (tls_hello_left(&names) && !names.failed) {
		struct reader name = tls_hello_vector(&names, 1);
		size_t room = sizeof hello->alpn - used, comma = used ? 1 : 0;

		if (names.failed || tls_hello_left(&name) + comma >= room)
			return;
		if (comma)
			hello->alpn[used++] = ',';
		used += tls_hello_copy(hello->alpn + used, room - comma, name);
	}
}

static int tls_hello_body(struct reader body, struct tls_hello *hello)
{
	enum { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16 };
	struct reader extensions;

	tls_hello_number(&body, 2); /* legacy_version */
	for (int i = 0; i < 8; i++)
		tls_hello_number(&body, 4); /* random */
	tls_hello_vector(&body, 1);         /* legacy_session_id */
	tls_hello_vector(&body, 2);         /* cipher_suites */
	tls_hello_vector(&body, 1);         /* legacy_compression_methods */
	if (body.failed)
		return -EINVAL;
	if (!tls_hello_left(&body))
		return 0; /* no extensions at all */
	extensions = tls_hello_vector(&body, 2);
	while (tls_hello_left(&extensions) && !extensions.failed) {
		uint32_t type = tls_hello_number(&extensions, 2);
		struct reader extension = tls_hello_vector(&extensions, 2);

		if (type == EXTENSION_SERVER_NAME)
			tls_hello_server_name(extension, hello);
		else if (type == EXTENSION_ALPN)
			tls_hello_alpn(extension, hello);
	}
	return body.failed || extensions.failed ? -EINVAL : 0;
}

/* Copies the handshake bytes out of their records until the message is whole. */
static int tls_hello_collect(struct reader records, uint8_t message[static TLS_HELLO_MOST], size_t *message_length)
{
	size_t have = 0, want = 4;

	while (have < want) {
		size_t left = tls_hello_left(&records), record;

		if (left && records.at[0] != 22)
			return -EINVAL;
		if (left < 5)
			return -EAGAIN;
		record = (size_t)records.at[3] << 8 | records.at[4];
		records.at += 5;
		left = tls_hello_left(&records);
		if (!record || have + record > TLS_HELLO_MOST)
			return -EINVAL;
		memcpy(message + have, records.at, left < record ? left : record);
		have += left < record ? left : record;
		records.at += left < record ? left : record;
		if (have >= 4) {
			want = 4 + ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]);
			if (message[0] != 1 || want > TLS_HELLO_MOST)
				return -EINVAL;
		}
		if (have < want && left < record)
			return -EAGAIN;
	}
	*message_length = want;
	return 0;
}

int tls_hello_parse(const uint8_t *bytes, size_t length, struct tls_hello *out)
{
	uint8_t message[TLS_HELLO_MOST];
	struct tls_hello hello = {0};
	size_t message_length;
	int result = tls_hello_collect((struct reader){bytes, bytes + length, false}, message, &message_length);

	if (result)
		return result;
	result = tls_hello_body((struct reader){message + 4, message + message_length, false}, &hello);
	if (!result)
		*out = hello;
	return result;
}
