#ifndef LAPSE_PROXY_EXCHANGE_EXCHANGE_H
#define LAPSE_PROXY_EXCHANGE_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/loop.h"
#include "proxy/connection/cause.h"
#include "proxy/connection/deadline.h"
#include "proxy/exchange/message.h"
#include "proxy/leg/input.h"
#include "proxy/metrics/metrics.h"

struct access;
struct conn;
struct ending;
struct terms;
struct worker;

/* What the owner set for requests. */
struct exchange_settings {
	bool log_paths, access_log, no_reason_headers;
	bool grpc_deadline; /* a gRPC client's own is a timer of ours */
	enum forwarded { FORWARDED_NONE, FORWARDED_RFC7239, FORWARDED_X_FOR } forwarded; /* what names the client to inbound requests */
};

/* A request is kept for another attempt up to this many bytes. */
enum { EXCHANGE_REPLAY_MOST = 65536 };

/* One request and its response, over as many attempts as it takes. */
struct exchange {
	struct loop_deferred deferred; /* once it is over */
	struct worker *worker;
	struct message_head request;  /* its slices are gone */
	struct message_head response; /* likewise; valid once response_head */
	struct message_body request_body, response_body;
	struct input_scan scan; /* of the response head */
	struct buf replay;      /* the request as sent so far, while replayable */
	uint64_t leg_sent;      /* what the server leg had sent before this attempt */
	uint64_t leg_received;
	bool replayable;
	bool request_body_bytes; /* some of its body has come */
	const struct terms *terms; /* the connection's, once they were chosen for this request; NULL: none were, its target has no routes */
	char *target;           /* owned; the rewritten target, NULL = as it came */
	int64_t instants[INSTANT_COUNT]; /* its own: INSTANT_REQUEST and after */
	int64_t started_us;     /* loop_now_us() when its head was complete */
	uint16_t status;        /* what the client got, 0 = nothing yet; 101 and 2xx to CONNECT included */
	bool through;           /* and it got all of it */
	enum reason_id ended;   /* why it is over; REASON_NONE: well, or it is not */
	bool own_answer;        /* which is the proxy's */
	enum reason_id failure; /* and says this; REASON_NONE: a redirect */
	enum reason_id refusal; /* its rule has nothing dialled for it; REASON_NONE */
	struct access *access;  /* owned; NULL without --access-log */
	uint32_t attempt;       /* from 1; those that a reused leg cost are not counted */
	uint16_t attempt_status; /* the answer that the attempt before this one had, 0 = none */
	bool counted;           /* this attempt, by exchange_count_attempt() */
	bool waiting;           /* for the next attempt */
	uint32_t discarded;     /* bytes of the request that the server takes no more */
	bool reused;            /* this attempt runs on a leg that has served before */
	bool server_dirty;      /* the leg must not be used again */
	bool server_full;       /* a read from it filled the buffer: more may lie behind the response, unseen */
	bool response_head;     /* parsed, and on its way to the client */
};

/* Takes over the connection's next request, whose head has been parsed; its body is the protocol's to begin. conn enters
 * STAGE_EXCHANGE. 0 or -ENOMEM, then nothing has changed. */
int exchange_begin(struct conn *conn, const struct message_head *head);

/* Finds a server leg: the connection's own, an idle one, or a new one. A failure ends the exchange. */
void exchange_acquire(struct conn *conn);

/* The attempt is over: counts what the backend made of it, once. reason: of its failure, REASON_NONE. What was cancelled before a
 * response, by a timeout or a client that went, is not counted. */
void exchange_count_attempt(struct conn *conn, enum reason_id reason);

/* There will be none: what was kept of the request is let go. */
void exchange_forget_request(struct conn *conn);

/* Another attempt, with what was kept of the request. */
void exchange_retry(struct conn *conn);

/* The proxy's own answer: a redirect there. */
void exchange_redirect(struct conn *conn, int status, const char *location);

/* The same request on a fresh leg. */
void exchange_again(struct conn *conn, enum metric_source cause);

/* Whether the dial met what conntrack keeps of a connection that was reset; another port will do. */
bool exchange_looped(const struct conn *conn);

/* Whether the client has had an answer of the server it is asking now. */
bool exchange_had_answer(const struct conn *conn);

/* After each event: where the request's last byte has gone to the server's socket, or its answer has begun, what counts from there
 * begins. */
void exchange_note_request_end(struct conn *conn);

/* More of the request for the server, if that is not over. A failure is handled by reading on: the server's last words may explain it. */
void exchange_send(struct conn *conn, const uint8_t *bytes, size_t length);

/* The exchange cannot succeed: a synthesised answer where the client has seen no response yet, else the connection is cut.
 * With an answer and a complete request the client's connection lives on; so it does, while nothing was dialled for the request, if its
 * rest comes within CONN_DISCARD_MS and CONN_DISCARD_MOST bytes. */
void exchange_fail(struct conn *conn, struct cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The client did not send its whole request within what is discarded of it behind an answer of the proxy's own: its connection ends. */
void exchange_discard_over(struct conn *conn);

/* The exchange has failed on a connection that lives on: its record. */
void exchange_tell(struct conn *conn, const struct ending *why);

/* No memory for going on: the connection ends. */
void exchange_no_memory(struct conn *conn);

/* The client has finished, if the request is not over: its FIN follows its last byte to the server. */
void exchange_client_finished(struct conn *conn);

/* The connection to the server ended or was refused as it does when an idle one has gone stale, and nothing was answered: the client's
 * connection ends the same way, since its own rules for that apply. */
void exchange_end_unanswered(struct conn *conn, struct cause cause, bool reset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Where it is, while it is under way: a stage, or an enum phase. */
unsigned exchange_phase(const struct conn *conn);

/* The next of its own timers, of those in `timers` (DEADLINE_OF_REQUEST). */
struct deadline exchange_deadline(const struct conn *conn, uint32_t timers);

/* The dial failed with -errno, or, error 0, `connect` fired. */
void exchange_dial_failed(struct conn *conn, int error);

/* It is over, as exchange_end() has it, and the client's connection waits for the next request; or closes behind its last response. */
void exchange_rest(struct conn *conn, const struct ending *why);
void exchange_close_client(struct conn *conn);

/* If the exchange is not over: when request and response are through and handed to the client: rest the server leg, go idle or close. */
void exchange_finish_if_complete(struct conn *conn);

/* The exchange is over, if there is one: it is counted, and the connection has none any more; its memory is there until the end of the
 * round. Not well: why, and where that is not the connection's own ending, it has its own record. NULL: well, or it is not known to be
 * otherwise. The stage is the caller's business. */
void exchange_end(struct conn *conn, const struct ending *why);

#endif
