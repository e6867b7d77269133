#ifndef LAPSE_PROXY_EXCHANGE_ANSWER_H
#define LAPSE_PROXY_EXCHANGE_ANSWER_H

#include <stdbool.h>

#include "lib/reason.h"

/* The proxy's own answer to a request. The protocol writes it. */
struct answer {
	int status;
	const char *location; /* of a redirect, which has neither reason nor body, at most LOCATION_MOST bytes; NULL otherwise */
	enum reason_id reason;
	const char *detail;  /* without full stop */
	bool reason_headers; /* lapse-reason, lapse-detail and Proxy-Status (RFC 9209); without, there is no body either */
	bool body;           /* the client accepts text and the request was not HEAD */
	bool close;
};

enum { LOCATION_MOST = 16384 };

#endif
