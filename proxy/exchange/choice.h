#ifndef LAPSE_PROXY_EXCHANGE_CHOICE_H
#define LAPSE_PROXY_EXCHANGE_CHOICE_H

#include <stdbool.h>

struct addr;
struct conn;
struct header_edits;
struct request_head;

/* What the policy says, applied to requests: the rule of each, where that sends it, and what is changed on its way. */

enum { REWRITE_LEVELS = 2 };

/* How a head is to be changed on its way. All zero = not at all. */
struct rewrite {
	bool close;                          /* `Connection: close` instead of what it says */
	const struct addr *forwarded;        /* Forwarded (RFC 7239, 4) for this client, at the end of the last such field, else one of its own */
	bool x_forwarded_for;                /* X-Forwarded-For instead, an address without quotes and brackets */
	const char *target;                  /* the request's new path and query, NULL = as it is; not for "*" and CONNECT */
	const char *host;                    /* the new Host, NULL = as it is; also the authority of an absolute-form target */
	const char *target_host;             /* the host that the target names, where Host says another: for Host, if nothing else is; NULL */
	const struct header_edits *edits[REWRITE_LEVELS]; /* of the rule and of the backend, in this order; NULL = none */
};

/* A request begins: conn->target and its terms are the newest policy's, and *rewrite, which is all zero before, says how its head is to be
 * changed where no rule says more. False: no memory, and the exchange is over. */
bool choice_begin(struct conn *conn, struct rewrite *rewrite);

/* Then, where policy_target_has_routes(conn->target): conn->terms are those of its rule (and stay until the next one begins), and
 * *rewrite says how its head is to be changed on its way, until the end of the round. False: the proxy has answered it. */
bool choice_request(struct conn *conn, const struct request_head *head, struct rewrite *rewrite);

/* How the head of its response is to be changed. */
void choice_rewrite_response(const struct conn *conn, struct rewrite *rewrite);

#endif
