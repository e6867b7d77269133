#ifndef LAPSE_PROXY_EXPLAIN_EXPLAIN_PRINT_H
#define LAPSE_PROXY_EXPLAIN_EXPLAIN_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/metrics/words.h"
#include "proxy/policy/policy.h"

/* What becomes of the header fields of one name: first all that are removed, then those set, then those added. */
enum explain_action { EXPLAIN_SET, EXPLAIN_ADD, EXPLAIN_REMOVE, EXPLAIN_ACTIONS };

struct explain_edit {
	enum explain_action action;
	const char *name, *value; /* value NULL: removed */
};

struct explain_edits {
	struct explain_edit *items; /* no name twice for the same action, whatever its case */
	size_t count;
};

/* What applies to a request or connection, ready to be printed. All borrowed. */
struct explanation {
	const char *to; /* as given */
	enum direction direction;
	const char *from_namespace;     /* NULL = our own */
	const char *request;            /* as asked, NULL: an opaque connection */
	const char *service;            /* "default/web", NULL = none */
	uint16_t port;                  /* of the Service, 0 = not known */
	bool undocumented;              /* no document of the Service was read: any name and port would be answered */
	bool opaque_port;               /* no request is read: config.linkerd.io/opaque-ports, or --opaque-ports */
	bool http2;                     /* of what rules do, its stream gets the timeouts alone */
	bool grpc, enforced;            /* a call; whose own deadline is a timer of ours */
	int64_t grpc_timeout;           /* ms, that deadline; 0 = none */
	struct policy_choice choice;
	struct policy_rule_view rule;   /* where choice.rule is one */
	int status;                     /* of our own answer, 0: the request goes on */
	const char *location;           /* of a redirect, NULL = none */
	const char *host, *path;        /* that the backend sees instead, NULL = as they are */
	struct explain_edits request_headers, response_headers;
};

void explain_print_json(const struct explanation *explanation, FILE *out);
void explain_print_text(const struct explanation *explanation, FILE *out);

#endif
