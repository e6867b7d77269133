#ifndef LAPSE_PROXY_EXCHANGE_MESSAGE_H
#define LAPSE_PROXY_EXCHANGE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/slice.h"

/* A request or a response, as an exchange knows it: what its head says, and how far its body has come. The protocol fills it in. */

enum message_framing { MESSAGE_NO_BODY, MESSAGE_LENGTH, MESSAGE_CHUNKED, MESSAGE_UNTIL_CLOSE };

/* Slices are of its bytes. */
struct message_head {
	struct slice method, target; /* requests */
	struct slice authority;      /* the target's own, where Host says another: that is what a proxy sends as Host; else empty */
	uint64_t content_length;           /* for MESSAGE_LENGTH */
	int32_t keep_alive_timeout_s;      /* `Keep-Alive: timeout=N`, -1 = not given */
	uint16_t status;                   /* responses */
	uint8_t minor;                     /* HTTP/1.minor, 0 or 1 */
	enum message_framing framing;
	bool keep_alive;   /* the sender means to keep the connection after this message (RFC 9112 §9.3) */
	bool idempotent;   /* RFC 9110 §9.2.2 */
	bool is_head, is_connect;
	bool expects_continue; /* Expect: 100-continue */
	bool upgrade;      /* Upgrade with Connection: upgrade */
	bool accepts_text; /* Accept allows text, or a wildcard */
	bool connection_auth; /* NTLM or Negotiate, which sign in a connection (RFC 4559 §6), is named */
	bool kube_probe;   /* User-Agent is a kubelet's probe */
};

/* A body on its way. All zero = none has begun. */
struct message_body {
	enum message_framing framing;
	uint64_t remaining; /* MESSAGE_LENGTH */
	void *chunked;      /* owned, one malloc(): what the protocol needs to follow chunks; NULL */
	bool complete;
};

/* Leaves one that is complete. */
static inline void message_body_free(struct message_body *body)
{
	free(body->chunked);
	*body = (struct message_body){.complete = true};
}

#endif
