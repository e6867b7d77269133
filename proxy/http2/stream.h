#ifndef LAPSE_PROXY_HTTP2_STREAM_H
#define LAPSE_PROXY_HTTP2_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/timeouts.h"

struct slab;
struct terms;

/* Where a stream is in its life; what that means stands in the table of stream.c. A stream that has not begun, or is over, is none. */
enum stream_stage {
	STREAM_REQUEST,  /* the client has not finished, and no response head has come */
	STREAM_WAIT,     /* it has */
	STREAM_RESPONSE, /* the response's head has passed, or the stream was promised by the server */
	STREAM_ANSWERED, /* the whole response has; the client goes on with its request */
	STREAM_CUT,      /* ended by us: what either end still sends on it is dropped */
	STREAM_STAGES,
};

enum { STREAM_CUT_MS = 10000 }; /* so long it is known as that */

/* One direction of a gRPC call, as messages: a byte of flags, four of a length, so many bytes. */
struct stream_messages {
	uint32_t complete, size, left; /* size and left: of the one under way */
	uint8_t head[5], have;
};

struct stream {
	struct stream *next; /* of its bucket */
	uint32_t id;
	enum stream_stage stage : 8;
	bool client_ended : 1; /* END_STREAM or RST_STREAM has passed, or was seen of a cut one */
	bool server_ended : 1;
	bool pushed : 1;
	bool connect : 1;      /* its method is CONNECT: a tunnel once that was answered with a 2xx */
	bool grpc : 1;
	bool deadline_over : 1; /* and has ended it */
	bool enforced : 1;     /* grpc_timeout is a timer of ours */
	bool reset : 1;        /* by a peer: */
	bool reset_by : 1;     /* an enum flow_way: its sender's */
	bool late : 1;         /* cut inside a frame or block towards the client: how it ends there is decided behind that */
	int8_t grpc_status;    /* -1 = none came; more than 16 is 2 (UNKNOWN) */
	uint16_t own_status;   /* of the answer that a cut one got from us, 0 = none */
	uint8_t why;           /* of a cut one: enum reason_id */
	uint16_t status;       /* of the response, 0 = no head of it has passed; 1xx are none */
	uint32_t reset_code;
	uint32_t heads[2];     /* bytes of its frames that are not DATA's, up and down */
	uint32_t first_us;     /* from its beginning to the response's head, 0 = there was none */
	int64_t begun_us;      /* loop_now_us() when its request head was complete */
	int64_t last;          /* ms: a byte of its DATA or HEADERS moved, or was acknowledged; of a cut one: when it was cut */
	int64_t request_end;   /* ms: the last of its request passed, or its response's head did; 0 = neither */
	int64_t grpc_timeout;  /* ms, what its client asked for; 0 = nothing */
	struct terms *terms;   /* a use; NULL once it is cut */
	char *request;         /* owned, NULL: "POST /path" for log lines */
	char *detail;          /* owned, NULL: of a cut one, the sentence that its client gets */
	uint64_t data[2];      /* bytes of DATA that have passed: up, to the server, and down */
	uint64_t mark[2];      /* what each leg had sent or was about to, when the stream's last byte went that way */
	int64_t credit[2];     /* window left for DATA up and down, without SETTINGS_INITIAL_WINDOW_SIZE */
	struct stream_messages messages[2];
};

/* The streams of one connection by their identifier. All zero = none. */
struct streams {
	struct stream **buckets; /* owned, NULL */
	uint32_t size;           /* a power of two */
	uint32_t count;          /* all there are */
	uint32_t cut;            /* of these: ended by us */
};

/* NULL when there is none, or no memory for a new one. The memory is the slab's. */
struct stream *stream_find(const struct streams *streams, uint32_t id);
struct stream *stream_new(struct streams *streams, struct slab *memory, uint32_t id);

/* It is no more; what it has a use of has been let go. */
void stream_free(struct streams *streams, struct slab *memory, struct stream *stream);

/* Every stream, one a call, in no order; at: 0 at first. The one returned may be freed before the next call. NULL: there are no more. */
struct stream_walk {
	uint32_t bucket;
	struct stream *next;
};
struct stream *stream_next(const struct streams *streams, struct stream_walk *walk);

/* The only writer of stream->stage. False: the table does not know that step, and nothing has changed. */
bool stream_enter(struct stream *stream, enum stream_stage stage);

/* An enum phase, for records. */
unsigned stream_phase(const struct stream *stream);

/* Whether that timer runs for each stream; else it is the connection's, or none of HTTP/2. */
bool stream_is_timed(enum timeout_id id);

/* When its next timer is due, INT64_MAX = never, and which. Pure. */
enum { STREAM_FORGET = TIMEOUT_NONE, STREAM_GRPC_DEADLINE = TIMEOUT_NONE + 1 }; /* beside an enum timeout_id: a cut one is to be forgotten;
                                                                                * its client's own deadline, where that is enforced */
int64_t stream_deadline(const struct stream *stream, unsigned *timer);

/* Bytes of its DATA, without padding. */
void stream_messages_feed(struct stream_messages *messages, const uint8_t *bytes, size_t length);

/* Whether every message begun is complete. */
bool stream_messages_whole(const struct stream_messages *messages);

#endif
