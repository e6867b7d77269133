#include "proxy/publish/api.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/client.h"
#include "proxy/publish/dialer.h"
#include "proxy/publish/json.h"
#include "proxy/publish/response.h"

struct api_waiting {
	struct api_waiting *next;
	struct api_request request; /* its texts are owned; done NULL: forgotten */
};

struct api {
	struct loop_deferred deferred;
	struct loop *loop;
	struct dialer *dialer;
	struct client *client;
	struct api_waiting *first, **last; /* the first one is under way when `busy` */
	size_t count;
	bool busy;
	struct response_head head;
	struct buf body;
	bool too_large;
};

static void api_next(struct api *api);

static void api_waiting_free(struct api_waiting *waiting)
{
	free((void *)waiting->request.method);
	free((void *)waiting->request.path);
	free((void *)waiting->request.content_type);
	free((void *)waiting->request.body);
	free(waiting);
}

static struct api_waiting *api_take(struct api *api)
{
	struct api_waiting *waiting = api->first;

	api->first = waiting->next;
	if (api->first == NULL)
		api->last = &api->first;
	api->count--;
	return waiting;
}

static void api_fail(struct api_waiting *waiting, const char *error)
{
	if (waiting->request.done != NULL)
		waiting->request.done(waiting->request.owner, 0, NULL, -1, error);
	api_waiting_free(waiting);
}

const char *api_message(const struct yaml_node *tree)
{
	const struct yaml_node *kind = tree != NULL ? yaml_field(tree, "kind") : NULL, *message = tree != NULL ? yaml_field(tree, "message") : NULL;

	if (kind == NULL || kind->type != YAML_SCALAR || strcmp(kind->text, "Status") != 0)
		return NULL;
	return message != NULL && message->type == YAML_SCALAR && message->length > 0 ? message->text : NULL;
}

/* --- what comes back --- */

static bool api_on_head(void *owner, const struct response_head *head)
{
	struct api *api = owner;

	api->head = *head;
	return true;
}

static bool api_on_body(void *owner, const char *bytes, size_t length)
{
	struct api *api = owner;

	if (buf_length(&api->body) + length > API_BODY_MOST)
		api->too_large = true;
	else if (!api->too_large && buf_append(&api->body, bytes, length) != 0)
		api->too_large = true;
	return true;
}

static void api_answer(struct api *api, struct api_waiting *waiting)
{
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error wrong;
	TEXT_ON_STACK(error, 512);
	const struct api_request *request = &waiting->request;
	int status = api->head.status, result = 0;

	if (api->too_large) {
		text_printf(&error, "the answer is larger than %d MiB", API_BODY_MOST >> 20);
		status = 0;
	} else if (api->head.json && buf_length(&api->body) > 0) {
		result = json_parse(&arena, (const char *)buf_bytes(&api->body), buf_length(&api->body), &tree, &wrong);
	}
	if (result != 0) {
		text_printf(&error, "the answer cannot be read: %s", result == -EBADMSG ? wrong.text : "out of memory");
		status = 0;
	}
	buf_release(&api->body);
	if (status != 0 && (status < 200 || status > 299)) {
		const char *message = api_message(tree);
		if (message != NULL)
			text_string(&error, message);
		else
			text_printf(&error, "the API server answered %d", status);
	}
	if (request->done != NULL)
		request->done(request->owner, status, tree, api->head.retry_after_ms, error.length > 0 ? error.data : NULL);
	arena_free(&arena);
	api_waiting_free(waiting);
}

static void api_on_end(void *owner, enum client_fault fault, const char *error)
{
	struct api *api = owner;
	struct api_waiting *waiting = api_take(api);

	if (fault == CLIENT_FINE) {
		api_answer(api, waiting); /* still busy: what it sends waits */
	} else {
		/* What waits now fails with it, but not what it sends from done(). */
		size_t others = fault == CLIENT_UNREACHABLE ? api->count : 0;

		buf_release(&api->body);
		api_fail(waiting, error);
		for (; others > 0 && api->first != NULL; others--)
			api_fail(api_take(api), error);
	}
	api->busy = false;
	api_next(api);
}

static const struct client_events api_events = {api_on_head, api_on_body, api_on_end};

/* --- the queue --- */

static void api_next(struct api *api)
{
	while (!api->busy && api->first != NULL && api->client != NULL) {
		const struct api_request *request = &api->first->request;
		struct client_request sent = {
		    request->method, request->path, request->content_type, request->body, request->body_length, API_REQUEST_MS,
		};

		if (request->done == NULL) { /* forgotten before it was sent: a write may matter all the same */
			if (strcmp(request->method, "GET") == 0) {
				api_waiting_free(api_take(api));
				continue;
			}
		}
		api->too_large = false;
		api->head = (struct response_head){.retry_after_ms = -1};
		if (client_send(api->client, &sent) != 0) {
			api_fail(api_take(api), "out of memory");
			continue;
		}
		api->busy = true;
	}
}

static const char *api_copy(const char *bytes, size_t length, bool *lacking)
{
	char *copy = bytes != NULL ? malloc(length + 1) : NULL;

	if (bytes == NULL)
		return NULL;
	if (copy == NULL) {
		*lacking = true;
		return NULL;
	}
	memcpy(copy, bytes, length);
	copy[length] = '\0';
	return copy;
}

int api_send(struct api *api, const struct api_request *request)
{
	struct api_waiting *waiting;
	bool lacking = false;

	if (api->count >= API_QUEUE_MOST)
		return -EAGAIN;
	waiting = calloc(1, sizeof *waiting);
	if (waiting == NULL)
		return -ENOMEM;
	waiting->request = *request;
	waiting->request.method = api_copy(request->method, strlen(request->method), &lacking);
	waiting->request.path = api_copy(request->path, strlen(request->path), &lacking);
	waiting->request.content_type =
	    api_copy(request->content_type, request->content_type != NULL ? strlen(request->content_type) : 0, &lacking);
	waiting->request.body = api_copy(request->body, request->body_length, &lacking);
	if (lacking) {
		api_waiting_free(waiting);
		return -ENOMEM;
	}
	*api->last = waiting;
	api->last = &waiting->next;
	api->count++;
	api_next(api);
	return 0;
}

void api_forget(struct api *api, void *owner)
{
	for (struct api_waiting *waiting = api->first; waiting != NULL; waiting = waiting->next)
		if (waiting->request.owner == owner)
			waiting->request.done = NULL;
}

struct dialer *api_dialer(struct api *api)
{
	return api->dialer;
}

int api_new(struct api **out, struct loop *loop, struct log *log, struct cluster *cluster)
{
	struct api *api = calloc(1, sizeof *api);

	if (api == NULL)
		return -ENOMEM;
	api->last = &api->first;
	api->loop = loop;
	int result = dialer_new(&api->dialer, loop, log, cluster);
	if (result == 0)
		result = client_new(&api->client, api->dialer, &api_events, api);
	if (result != 0) {
		dialer_free(api->dialer);
		free(api);
		return result;
	}
	*out = api;
	return 0;
}

static void api_swept(struct loop_deferred *deferred)
{
	free((struct api *)(void *)((char *)deferred - offsetof(struct api, deferred)));
}

void api_free(struct api *api)
{
	if (api == NULL)
		return;
	client_free(api->client);
	api->client = NULL;
	while (api->first != NULL)
		api_waiting_free(api_take(api));
	buf_release(&api->body);
	dialer_free(api->dialer);
	api->deferred.run = api_swept;
	loop_defer(api->loop, &api->deferred);
}

void api_escape(struct text *out, const char *value)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

	for (; *value != '\0'; value++) {
		if (strchr(plain, *value) != NULL)
			text_char(out, *value);
		else
			text_printf(out, "%%%02X", (unsigned char)*value);
	}
}
