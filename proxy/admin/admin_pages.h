#ifndef LAPSE_PROXY_ADMIN_ADMIN_PAGES_H
#define LAPSE_PROXY_ADMIN_ADMIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/http1/http1.h"

struct admin_context;
struct text;
struct walks;

/* The pages of the admin listener: a table of path, method and handler. */

struct admin_answer {
	int status;       /* 0: it comes later, through admin_answer_later() */
	const char *type; /* static; NULL: plain text */
	const char *allow; /* static; of a 405 */
	char *body;       /* owned, malloc(); NULL when empty */
	size_t length;
};

/* One request, borrowed from its client for as long as the call lasts. */
struct admin_call {
	const struct admin_context *context;
	struct walks *walks;
	void *client;                /* for admin_answer_later() */
	const struct message_head *head;
	struct slice fields;   /* the head's bytes */
	struct slice path, query, body;
	bool loopback;               /* it comes from this host */
	struct admin_answer *answer;
};

/* Fills call->answer, or starts what will answer later. */
void admin_pages_answer(struct admin_call *call);

/* A line of text; for errors and acknowledgements. */
void admin_pages_say(struct admin_call *call, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The body of an answer, as a stream: NULL when there is no memory, after which admin_pages_close() answers 503. */
FILE *admin_pages_open(struct admin_answer *answer);
void admin_pages_close(struct admin_answer *answer, FILE *out, int status, const char *type);

/* The value of a parameter of the query, else of a body of the same form, decoded. False: it is not there. What does not fit is cut,
 * and the text says so. */
bool admin_pages_parameter(const struct admin_call *call, const char *name, struct text *value);

/* Whether the header field, its name in lower case, holds these bytes. */
bool admin_pages_field_has(const struct admin_call *call, const char *name, const char *bytes);

/* The handlers that have a file of their own. */
typedef void admin_page(struct admin_call *call);
admin_page admin_metrics_page;
void admin_metrics_print_docs(FILE *to); /* the tables of docs/metrics.md */
admin_page admin_config_page;
admin_page admin_html_script;
admin_page admin_view_connections, admin_view_half_closed, admin_view_close;

#endif
