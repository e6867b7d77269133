#ifndef LAPSE_PROXY_METRICS_WORDS_H
#define LAPSE_PROXY_METRICS_WORDS_H

/* What is told of a connection in one of a few words, the same in records, metrics, pages and options. */

enum direction { DIRECTION_INBOUND, DIRECTION_OUTBOUND };

enum protocol {
	PROTOCOL_UNDETECTED, /* more bytes are needed */
	PROTOCOL_HTTP1,
	PROTOCOL_HTTP2,
	PROTOCOL_TLS,
	PROTOCOL_OPAQUE,
};

/* Where a connection is in its life. What holds in each stage, which timers run in it, which sides are read and what may come
 * next stands in the stage table of connection/conn.c. */
enum stage {
	STAGE_ACCEPT,   /* nothing is known yet; never waited in */
	STAGE_DETECT,   /* first bytes awaited; after the grace the server may be dialled, or connected and silent */
	STAGE_CONNECT,  /* opaque: the protocol is decided, the server is being dialled */
	STAGE_OPAQUE,   /* both legs up, bytes move both ways */
	STAGE_IDLE,     /* HTTP, no byte of a request has come; the server leg may be kept */
	STAGE_HEAD,     /* part of a request head is here */
	STAGE_EXCHANGE, /* one request is under way: conn->exchange is set */
	STAGE_STREAMS,  /* HTTP/2: both legs up, what the ends say to each other is understood on its way */
	STAGE_TUNNEL,   /* after 101 or a 2xx to CONNECT: as OPAQUE, under streamIdle */
	STAGE_LINGER,   /* ended, its reason is fixed; what is owed to the client is flushed, what it still sends is discarded */
	STAGE_CLOSED,   /* both sockets closed; only the sweep may touch it */
	STAGE_COUNT,
};

/* Where in its life a connection is, in the record's words: its stage, but for an exchange one of these. */
enum phase { PHASE_REQUEST = STAGE_COUNT, PHASE_WAIT, PHASE_BACKOFF, PHASE_RESPONSE, PHASE_COUNT };

/* Of an enum direction: "inbound", "outbound". */
const char *words_direction(unsigned direction);

/* Of an enum protocol: "undetected", "http/1.1", "http/2", "tls", "opaque". */
const char *words_protocol(unsigned protocol);

/* Of an enum stage or enum phase: "idle", "head", "request", "wait", "response", … */
const char *words_phase(unsigned phase);

#endif
