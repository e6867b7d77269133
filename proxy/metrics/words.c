#include "proxy/metrics/words.h"

const char *words_direction(unsigned direction)
{
	static const char *const names[] = {[DIRECTION_INBOUND] = "inbound", [DIRECTION_OUTBOUND] = "outbound"};

	return names[direction];
}

const char *words_protocol(unsigned protocol)
{
	static const char *const names[] = {
	    [PROTOCOL_UNDETECTED] = "undetected", [PROTOCOL_HTTP1] = "http/1.1", [PROTOCOL_HTTP2] = "http/2",
	    [PROTOCOL_TLS] = "tls", [PROTOCOL_OPAQUE] = "opaque",
	};

	return names[protocol];
}

const char *words_phase(unsigned phase)
{
	static const char *const names[] = {
	    [STAGE_ACCEPT] = "accept", [STAGE_DETECT] = "detect", [STAGE_CONNECT] = "connect", [STAGE_OPAQUE] = "opaque",
	    [STAGE_IDLE] = "idle", [STAGE_HEAD] = "head", [STAGE_EXCHANGE] = "exchange", [STAGE_STREAMS] = "streams", [STAGE_TUNNEL] = "tunnel",
	    [STAGE_LINGER] = "closing", [STAGE_CLOSED] = "closed",
	    [PHASE_REQUEST] = "request", [PHASE_WAIT] = "wait", [PHASE_BACKOFF] = "backoff", [PHASE_RESPONSE] = "response",
	};
	_Static_assert(sizeof names / sizeof names[0] == PHASE_COUNT, "one word a stage and a phase");

	return names[phase];
}
