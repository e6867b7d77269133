#ifndef LAPSE_PROXY_HTTP2_SESSION_H
#define LAPSE_PROXY_HTTP2_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "proxy/http2/frame.h"
#include "proxy/http2/stream.h"
#include "proxy/metrics/words.h"

struct conn;
struct header_reader;

/* HTTP/2 observed: what both ends say to each other goes on as it came, and is understood on the way. Frames of our own go out only where
 * a timer, a limit or the proxy's end demands it. */

/* The two ways that frames go: up to the server, down to the client. Also the index of what a stream knows of both. */
enum flow_way { FLOW_UP, FLOW_DOWN, FLOW_WAYS };

/* A header block under way: HEADERS or PUSH_PROMISE, and the CONTINUATIONs behind it. */
struct block {
	struct buf anew;   /* owned: its fields as literals, where it is written anew */
	uint32_t stream, promised;
	uint8_t type, flags;
	uint8_t lead[5];   /* the priority, or the promised stream */
	uint32_t size;     /* bytes of its frames */
	bool open;
	bool dropped;      /* it does not go on at all */
	/* What has been read of it so far: */
	bool connect, grpc;
	bool probe;        /* by a kubelet */
	int8_t grpc_status;
	uint16_t status;
	int64_t grpc_timeout; /* ms, 0 = none */
};

/* A receiver's wish for the size of a dynamic table, in a SETTINGS frame that was not acknowledged yet. */
struct flow_wish {
	bool any;
	uint32_t least, last; /* where one frame names it more than once */
};

enum {
	FLOW_HELD = FRAME_HEAD + FRAME_FIXED_MOST,
	FLOW_WISHES = 8,
	SESSION_DEBUG = 64,
};

struct flow {
	struct header_reader *reader; /* owned */
	struct buf own;       /* frames of ours for its receiver: they wait for the end of the frame and block under way */
	struct block block;
	struct frame frame;   /* under way where `inside` */
	uint32_t left;        /* of its payload */
	uint32_t padding;     /* the last bytes of that */
	bool inside;
	bool dropping;        /* the frame does not go on, or not as it came */
	bool anew;            /* every header block is written anew: the receiver's dynamic table is not the sender's any more */
	bool emptied;         /* and that was told so */
	bool anew_over;       /* one was too long for that */
	bool greeted;         /* its sender's first SETTINGS has passed */
	bool goaway;          /* the sender's GOAWAY has passed: */
	uint32_t goaway_last, goaway_code;
	char goaway_debug[SESSION_DEBUG]; /* the beginning of what it says beside that, "" */
	uint8_t held[FLOW_HELD], held_length; /* the beginning of a frame that cannot be judged yet, */
	uint8_t passed;       /* and how much of that has gone on all the same: then the rest follows, whatever it is */
	uint8_t setting[6], setting_have;
	struct flow_wish wish;              /* of the SETTINGS frame under way, which this sender says about the other way's blocks */
	struct flow_wish wishes[FLOW_WISHES]; /* about this way's blocks, oldest first */
	uint8_t wish_count;
	struct flow_wish awaited; /* acknowledged: the next block must begin with these sizes */
	int64_t granted;      /* SETTINGS_INITIAL_WINDOW_SIZE of its sender: for DATA of a stream the other way */
	int64_t window;       /* left of the connection's, for DATA this way */
	int64_t blocked_since, blocked_ms; /* that was used up: since when, 0 = it is not; and for how long in all */
	int64_t moved;        /* ms: a byte of the frame under way came */
	uint32_t credit;      /* bytes of DATA that were dropped and are to be given back to their sender */
	uint64_t frames;      /* seen so far */
};

struct session {
	struct conn *conn;
	struct flow flows[FLOW_WAYS];
	struct streams streams;
	uint8_t preface;         /* bytes of it that the client has sent */
	struct buf list;         /* owned: the fields of the request head under way, where somebody asks for them */
	bool keep_list;
	bool list_over;          /* they were too many to be kept */
	uint32_t method[2], path[2], authority[2]; /* offset in the list, and length */
	uint32_t last_client;    /* the greatest stream that the client has opened */
	uint32_t opened, failed; /* streams */
	uint32_t resets;         /* streams that we ended at the server */
	uint32_t lost;           /* streams that were answered because the server's connection ended; then nothing of ours goes there any more */
	uint32_t open_at_end;
	int64_t longest_ms;
	uint8_t ping[8];         /* ours to the client, while `ping_out` */
	bool ping_out;
	bool parted;             /* a frame was dropped or written by us such that what follows cannot go on unread */
	enum { GOING_NOT, GOING_WANTED, GOING_ANNOUNCED, GOING_FINAL } going; /* our own GOAWAY to the client */
	uint32_t final;          /* the last stream that it names */
	int64_t going_at;        /* ms: when it was announced */
	uint32_t told_last;      /* the smallest last stream of any GOAWAY to the client; FRAME_LAST_ID: there was none */
	const struct stream *telling; /* whose record is being written, NULL: the connection's */
	int64_t alarm_at;        /* no timer of a stream is due before this; INT64_MAX = none is */
	bool leaving;            /* the connection is about to end, by a timer that counts with it */
	bool no_memory;
	char fault[96];          /* why it is unread from here on */
};

/* For a connection that is HTTP/2, by its preface or its server's SETTINGS; conn->session is set. 0 or -ENOMEM. */
int session_new(struct conn *conn);

/* Its memory but for what the record of the connection tells. */
void session_clear(struct session *session);

int64_t session_now(const struct session *session);

/* Streams that are neither over nor cut. */
static inline uint32_t session_open(const struct session *session)
{
	return session->streams.count - session->streams.cut;
}

#endif
