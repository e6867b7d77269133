#ifndef LAPSE_PROXY_CONNECTION_CONN_H
#define LAPSE_PROXY_CONNECTION_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/addr.h"
#include "lib/reason.h"
#include "lib/timeouts.h"
#include "lib/wheel.h"
#include "proxy/connection/deadline.h"
#include "proxy/leg/input.h"
#include "proxy/leg/leg.h"
#include "proxy/metrics/words.h"

struct exchange;
struct policy_target;
struct proto;
struct session;
struct terms;
struct tls_hello;
struct upstream;
struct worker;

/* TCP_INFO of the client's and the server's socket at an end, as tcp(7) names it, and what it had not acknowledged. */
struct ending_legs {
	struct ending_leg {
		bool known, connecting;
		uint32_t rtt_us, retransmits, unacked, probes, notsent, last_data_recv_ms, last_ack_recv_ms;
		uint64_t undelivered; /* bytes in our queue and the kernel's */
	} client, server;
};

/* How and why a connection ended, or one exchange on it. REASON_NONE: it has not. */
struct ending {
	enum reason_id reason : 8;
	enum reason_by by : 8;     /* BY_PEER is resolved to the side that acted first */
	enum timeout_id timer : 8; /* the one that fired, TIMEOUT_NONE */
	uint8_t phase;             /* at that moment: conn_phase() */
	int64_t at;                /* when it was decided; a lingering end comes later */
	int64_t idle_ms;           /* since a byte last moved or was acknowledged, then */
	char *detail;              /* owned; NULL: the reason's own sentence */
	struct ending_legs *legs;  /* owned; the kernel's view of both legs when a timer fired or at an abnormal end, NULL otherwise */
};

/* HTTP that could not be read further, since when it is a tunnel. */
struct unread {
	int64_t instants[INSTANT_COUNT]; /* of its request under way, until the server's next byte */
	char words[];                    /* which message it was, and why */
};

/* There is one for every client, idle ones too: its size is what an idle connection costs. */
struct conn {
	union {
		struct wheel_timer timer;
		struct loop_deferred deferred; /* in STAGE_CLOSED, when the timer is no more */
	};
	struct worker *worker;
	struct conn *next, **link; /* in the worker's list */
	TAILQ_ENTRY(conn) line;    /* of the idle ones, while in_line: place.c's */
	uint64_t id;               /* from 1, of this process */
	const struct proto *proto;
	int64_t instants[INSTANT_OF_CONN];
	int64_t alarm_at; /* when conn->alarm is due */

	struct terms *terms;                /* a use: what holds for the last request, or the opaque connection */
	const struct policy_target *target; /* what applies to the destination; gone with the policy it is of: steer.c's */

	struct leg client;
	struct upstream *upstream;    /* owned while attached, NULL */
	struct exchange *exchange;    /* owned, STAGE_EXCHANGE only */
	union {
		struct input_scan scan; /* of the head in hand */
		uint32_t discarded;     /* bytes, while it lingers */
	};

	struct addr client_addr, server_addr; /* server_addr: the original destination */
	struct addr dial;                /* where its rule sends it; AF_UNSPEC: the original destination */
	uint32_t aimed;                  /* which policy of its worker's `target` is of */
	enum stage stage : 8;
	enum reason_id refusal : 8;      /* a TCPRoute that leads nowhere; REASON_NONE */
	enum reason_id close_after : 8;  /* end with this reason after the response under way; REASON_NONE = keep alive */
	enum alarm alarm : 8;            /* conn_arm() */
	enum direction direction : 1;
	enum protocol protocol : 3;
	enum reason_by first_fin : 3;    /* the side that finished first; BY_PEER: none has */
	bool broken : 1;                 /* a fault of ours: ends as internal_error with conn_settle() */
	bool half_closed : 1;            /* counted as that */
	bool admitted : 1;               /* counted in proxy->admitted */
	bool in_line : 1;
	bool only_probes : 1;            /* every request so far was a kubelet's probe, and none failed */
	bool client_held : 1;            /* conn_hold_client() */
	uint8_t http_minor : 1;          /* of the last request */
	uint8_t loops : 2;               /* dials for the request at hand that the redirect caught and that were made anew, CONN_LOOPS_MOST */
	uint16_t last_status;
	uint32_t requests, retries;
	uint32_t passed;                   /* of what the client leg holds: sent to the server already (http1/partial.h) */
	uint32_t answered_by;              /* a mark of the server that the last answer came from, 0 = none */
	uint32_t server_legs;              /* server legs that were let go */
	uint32_t server_reused;            /* of the last one: exchanges it had carried before, and what happened on it */
	uint8_t server_events[LEG_EVENTS];
	uint64_t sent_server;              /* by legs already let go */
	uint64_t received_server;
	uint64_t sent_counted, received_counted; /* of the client's bytes, in the metrics already */
	union {                            /* owned, NULL */
		struct tls_hello *tls;     /* PROTOCOL_TLS */
		char *last_request;        /* PROTOCOL_HTTP1: "GET /path" with --log-paths */
		struct session *session;   /* PROTOCOL_HTTP2: its ended streams are gone, what its record tells stays */
		void *seen;
	};
	struct unread *unread; /* owned, NULL */
	struct ending ending;
};

/* The only writer of conn->stage. What the stage table does not allow leaves the stage as it is, and the connection ends as
 * internal_error with the event at hand. Disarms the alarm, and holds the client no longer. */
void conn_enter(struct conn *conn, enum stage stage);

/* Arms the alarm in place of the one that is; disarms it. One that does not belong to the stage is a fault, as above. */
void conn_arm(struct conn *conn, enum alarm alarm, int64_t at);
void conn_disarm(struct conn *conn);

/* The client has sent as much as is taken in this stage for now: it is not read until it is held no longer, or the stage is another. */
void conn_hold_client(struct conn *conn, bool hold);

/* The sides that are to be read now: what the stage table says, but for one that has finished, a client that is held, and one whose bytes
 * would go where others wait to be written. Pure. */
enum { CONN_CLIENT = 1, CONN_SERVER = 2 };
unsigned conn_reads(const struct conn *conn);
bool conn_reads_client(const struct conn *conn);
bool conn_reads_server(const struct conn *conn);

/* A stage or an enum phase. */
unsigned conn_phase(const struct conn *conn);

/* What is to be done about it next. */
struct deadline conn_deadline(const struct conn *conn);

/* The next of its timers that is due. `unacknowledged` only while something is. */
struct deadline conn_next_timer(const struct conn *conn);

/* Where a server leg is to lead. */
static inline const struct addr *conn_destination(const struct conn *conn)
{
	return conn->dial.family ? &conn->dial : &conn->server_addr;
}

int64_t conn_now(const struct conn *conn);

/* Brings the byte counters up to what the legs have moved. */
void conn_count_bytes(struct conn *conn);

/* A byte moved. */
void conn_touch(struct conn *conn);

/* The connection is half-closed: one leg has had its FIN and the other has not. Makes keep-alive faster, so that conntrack keeps
 * the flow (research: CLOSE_WAIT is forgotten after 60 s of silence). */
void conn_half_closed(struct conn *conn);

/* What the timer is set to for this connection, and where. */
const struct timeout_value *conn_timeout(const struct conn *conn, enum timeout_id timer);

/* A dial that the redirect caught is made anew so often. */
enum { CONN_LOOPS_MOST = 3 };

/* So much of what a client goes on sending is read and thrown away, for so long; nobody wants it. */
enum { CONN_DISCARD_MOST = 1024 * 1024, CONN_DISCARD_MS = 2000 };

#endif
