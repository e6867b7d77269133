#ifndef LAPSE_PROXY_PUBLISH_CLIENT_H
#define LAPSE_PROXY_PUBLISH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct dialer;
struct response_head;

/* One connection to the API server at a time, and one request on it at a time. A kept connection that turns out to be gone is made
 * anew, and a 401 is answered by a token read anew, each once a request, before its owner hears of it. */

enum client_fault {
	CLIENT_FINE,        /* the response is complete */
	CLIENT_UNREACHABLE, /* no connection, or none that TLS accepts */
	CLIENT_LOST,        /* a connection that ended, or said what is no response */
	CLIENT_SILENT,      /* nothing came in time */
};

enum { CLIENT_DIAL_MS = 10000, CLIENT_ADDRESS_MS = 4000 };

struct client_request {
	const char *method, *path;
	const char *content_type; /* NULL = no body */
	const char *body;
	size_t body_length;
	int64_t silence_ms;       /* until the head has come; after that client_wait() says */
};

/* False: no more is wanted, the connection is closed and end() does not come. end() comes at most once a request, last; error is a
 * sentence, NULL for CLIENT_FINE. From any of them client_send(), client_stop() and client_free() may be called. */
struct client_events {
	bool (*head)(void *owner, const struct response_head *head);
	bool (*body)(void *owner, const char *bytes, size_t length);
	void (*end)(void *owner, enum client_fault fault, const char *error);
};

/* 0 or -ENOMEM. dialer and events are borrowed. */
int client_new(struct client **out, struct dialer *dialer, const struct client_events *events, void *owner);
void client_free(struct client *client); /* NULL is fine; memory goes with the loop's next turn */

/* Copied. While none is under way. 0 or -ENOMEM. */
int client_send(struct client *client, const struct client_request *request);

/* What is under way ends as CLIENT_SILENT after that many milliseconds from now. */
void client_wait(struct client *client, int64_t milliseconds);

/* Ends what is under way, without end(), and its connection. */
void client_stop(struct client *client);
/* Closes the connection if it is kept and idle. */
void client_rest(struct client *client);

#endif
