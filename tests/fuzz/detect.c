/* Protocol detection: nothing is read behind the bytes given, and a verdict once given holds however the bytes go on. */
#include "tests/fuzz/fuzz.h"

#include "proxy/connection/detect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum protocol first = PROTOCOL_UNDETECTED;
	for (size_t length = 0; length <= size; length += length < 512 ? 1 : 97) {
		uint8_t *bytes = exact_copy(data, length);
		enum protocol verdict = detect_protocol(bytes, length);
		free(bytes);
		HOLDS(verdict >= PROTOCOL_UNDETECTED && verdict <= PROTOCOL_OPAQUE);
		HOLDS(first == PROTOCOL_UNDETECTED || verdict == first);
		HOLDS(length > 0 || verdict == PROTOCOL_UNDETECTED);
		HOLDS(words_protocol(verdict)[0]);
		first = verdict;
	}
	first = detect_protocol(data, size);
	/* A request line ends within 16 KiB, the others show themselves sooner. */
	HOLDS(size < 16384 || first != PROTOCOL_UNDETECTED);
	HOLDS(first != PROTOCOL_HTTP2 || memcmp(data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) == 0);
	HOLDS(first != PROTOCOL_TLS || (data[0] == 22 && data[1] == 3 && data[5] == 1));
	HOLDS(first != PROTOCOL_HTTP1 || memchr(data, ' ', size));
	return 0;
}
