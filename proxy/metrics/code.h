#ifndef LAPSE_PROXY_METRICS_CODE_H
#define LAPSE_PROXY_METRICS_CODE_H

#include <stdint.h>

/* HTTP/2's error codes, of RST_STREAM and GOAWAY (RFC 9113 §7). */
enum error_code {
	CODE_NO_ERROR,
	CODE_PROTOCOL_ERROR,
	CODE_INTERNAL_ERROR,
	CODE_FLOW_CONTROL_ERROR,
	CODE_SETTINGS_TIMEOUT,
	CODE_STREAM_CLOSED,
	CODE_FRAME_SIZE_ERROR,
	CODE_REFUSED_STREAM,
	CODE_CANCEL,
	CODE_COMPRESSION_ERROR,
	CODE_CONNECT_ERROR,
	CODE_ENHANCE_YOUR_CALM,
	CODE_INADEQUATE_SECURITY,
	CODE_HTTP_1_1_REQUIRED,
	CODE_OTHER, /* any that is none of these */
	CODE_COUNT,
};

enum error_code code_of(uint32_t number);

/* "CANCEL", or the number. */
enum { CODE_TEXT_SIZE = 24 };
const char *code_text(uint32_t number, char out[static CODE_TEXT_SIZE]);

/* "CANCEL"; of others "OTHER". */
const char *code_name(unsigned code);

/* What a peer means that sends it, as a clause: "it did no work on this and will not", "the server's own error". */
const char *code_sentence(unsigned code);

#endif
