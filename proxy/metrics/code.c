#include "proxy/metrics/code.h"

#include <stdio.h>

static const struct {
	const char *name, *sentence;
} codes[] = {
    [CODE_NO_ERROR] = {"NO_ERROR", "nothing was wrong"},
    [CODE_PROTOCOL_ERROR] = {"PROTOCOL_ERROR", "the other side broke a rule of HTTP/2"},
    [CODE_INTERNAL_ERROR] = {"INTERNAL_ERROR", "it met an error of its own"},
    [CODE_FLOW_CONTROL_ERROR] = {"FLOW_CONTROL_ERROR", "the other side sent more than its window allowed"},
    [CODE_SETTINGS_TIMEOUT] = {"SETTINGS_TIMEOUT", "its SETTINGS were not acknowledged in time"},
    [CODE_STREAM_CLOSED] = {"STREAM_CLOSED", "a frame came on a stream that had ended"},
    [CODE_FRAME_SIZE_ERROR] = {"FRAME_SIZE_ERROR", "a frame had a wrong size"},
    [CODE_REFUSED_STREAM] = {"REFUSED_STREAM", "it did no work on it, so the request may be sent again"},
    [CODE_CANCEL] = {"CANCEL", "it does not want the rest"},
    [CODE_COMPRESSION_ERROR] = {"COMPRESSION_ERROR", "a header block could not be decoded"},
    [CODE_CONNECT_ERROR] = {"CONNECT_ERROR", "the connection that a CONNECT asked for broke"},
    [CODE_ENHANCE_YOUR_CALM] = {"ENHANCE_YOUR_CALM", "the other side asks too much of it"},
    [CODE_INADEQUATE_SECURITY] = {"INADEQUATE_SECURITY", "the connection is not secure enough for it"},
    [CODE_HTTP_1_1_REQUIRED] = {"HTTP_1_1_REQUIRED", "it wants HTTP/1.1 for this"},
    [CODE_OTHER] = {"OTHER", "a code that RFC 9113 does not know"},
};

_Static_assert(sizeof codes / sizeof codes[0] == CODE_COUNT, "one row per code");

enum error_code code_of(uint32_t number)
{
	return number < CODE_OTHER ? (enum error_code)number : CODE_OTHER;
}

const char *code_text(uint32_t number, char out[static CODE_TEXT_SIZE])
{
	if (number < CODE_OTHER)
		return codes[number].name;
	snprintf(out, CODE_TEXT_SIZE, "%u", number);
	return out;
}

const char *code_name(unsigned code)
{
	return codes[code].name;
}

const char *code_sentence(unsigned code)
{
	return codes[code].sentence;
}
