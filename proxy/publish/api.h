#ifndef LAPSE_PROXY_PUBLISH_API_H
#define LAPSE_PROXY_PUBLISH_API_H

#include <stddef.h>
#include <stdint.h>

struct api;
struct cluster;
struct dialer;
struct log;
struct loop;
struct yaml_node;

/* Requests to the API server that are short, one after the other, over one connection that is kept. Watches have connections of
 * their own (watcher.h). The program ignores SIGPIPE. */

enum {
	API_BODY_MOST = 8 << 20,    /* of an answer; more is an error of that request */
	API_REQUEST_MS = 30000,     /* a request has this long, from when it is its turn */
	API_QUEUE_MOST = 10000,     /* requests that wait */
};

struct api_request {
	const char *method, *path;  /* path with query, percent-encoded (api_escape()) */
	const char *content_type;   /* of the body, NULL = none */
	const char *body;
	size_t body_length;
	/* The answer is complete, or there is none: status 0 then, and error is a sentence. tree: the body as JSON, NULL when it is
	 * none. error of an answer that is no 2xx: what the API server said (Status.message), else its status in words; NULL of a 2xx
	 * one. retry_after_ms: -1 when the answer does not ask for a pause. All borrowed for the call, which may send and forget. */
	void (*done)(void *owner, int status, const struct yaml_node *tree, int64_t retry_after_ms, const char *error);
	void *owner;
};

/* cluster and log are borrowed for the api's life. 0 or -errno. */
int api_new(struct api **out, struct loop *loop, struct log *log, struct cluster *cluster);

/* Copied; queued, in order. 401 is answered once by a token read anew, and a kept connection that turns out to be gone by a fresh
 * one, before done() hears of it; everything else is the caller's to try again. While the API server cannot be reached what waits
 * fails with what was sent. 0, -ENOMEM, or -EAGAIN when API_QUEUE_MOST wait already. */
int api_send(struct api *api, const struct api_request *request);

/* done() is not called any more for what this owner sent; what was sent is sent. */
void api_forget(struct api *api, void *owner);

/* Before loop_free(); done() is called no more. Memory goes with the loop's next turn. NULL is fine. */
void api_free(struct api *api);

/* For watcher.h: how connections to this API server are made. Borrowed. */
struct dialer *api_dialer(struct api *api);

/* Status.message of an answer of the API server; NULL when it is no Status. Borrowed of the tree. */
const char *api_message(const struct yaml_node *tree);

/* Percent-encodes one segment of a path, or one value of a query. */
struct text;
void api_escape(struct text *out, const char *value);

#endif
