/* ClientHello: nothing is read behind the bytes given, a verdict once given holds however the bytes go on, and what is reported
 * is printable text. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "proxy/connection/tls_hello.h"

static void is_text(const char *text, size_t size)
{
	HOLDS(memchr(text, '\0', size));
	for (; *text; text++)
		HOLDS(*text >= ' ' && *text <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello first, hello, untouched;
	int verdict = -EAGAIN;
	/* Every split of a short hello, some of a long one. */
	size_t step = size > 512 ? size / 256 : 1;
	memset(&first, 0, sizeof first);
	memset(&untouched, 0x5a, sizeof untouched);
	for (size_t length = 0; length <= size; length += step) {
		uint8_t *bytes = exact_copy(data, length);
		hello = untouched;
		int result = tls_hello_parse(bytes, length, &hello);
		free(bytes);
		HOLDS(result == 0 || result == -EAGAIN || result == -EINVAL);
		HOLDS(verdict == -EAGAIN || result == verdict);
		if (result != 0) {
			HOLDS(memcmp(&hello, &untouched, sizeof hello) == 0);
		} else {
			is_text(hello.server_name, sizeof hello.server_name);
			is_text(hello.alpn, sizeof hello.alpn);
			if (verdict == 0)
				HOLDS(strcmp(hello.server_name, first.server_name) == 0 && strcmp(hello.alpn, first.alpn) == 0);
			first = hello;
		}
		verdict = result;
	}
	return 0;
}
