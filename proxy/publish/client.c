#include "proxy/publish/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/loop.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/publish/cluster.h"
#include "proxy/publish/dialer.h"
#include "proxy/publish/response.h"
#include "proxy/publish/tls.h"

enum client_stage { STAGE_IDLE, STAGE_NAME, STAGE_CONNECT, STAGE_HANDSHAKE, STAGE_EXCHANGE };
enum { READ_SIZE = 32 << 10, READS_MOST = 8, NAME_RETRY_MS = 20, SENTENCE_SIZE = 512, ADDRESSES_MOST = 16 };

struct client {
	struct loop_source source; /* idle and open: a kept connection */
	struct wheel_timer timer, dial_timer;
	struct loop_deferred deferred;
	struct dialer *dialer;
	struct loop *loop;
	const struct client_events *events;
	void *owner;
	struct tls *tls;
	struct response *response;
	enum client_stage stage;
	/* The request; text owned until its end. */
	char *method, *path, *content_type, *body;
	size_t body_length;
	int64_t silence_ms;
	struct buf out;      /* of it, not sent yet */
	size_t address;      /* which is tried */
	uint32_t turn;       /* another number with every beginning and end: who called back may be gone */
	bool reused, token_tried, refused_token;
	char last[SENTENCE_SIZE]; /* why the address before this one failed */
};

#define client_container(pointer, member) ((struct client *)(void *)((char *)(pointer) - offsetof(struct client, member)))

static void client_dial(struct client *client);

/* --- the end of things --- */

static void client_close(struct client *client)
{
	tls_free(client->tls);
	client->tls = NULL;
	if (client->source.fd >= 0)
		loop_close(client->loop, &client->source);
	buf_release(&client->out);
	wheel_cancel(loop_wheel(client->loop), &client->dial_timer);
}

static void client_forget(struct client *client)
{
	free(client->method);
	free(client->path);
	free(client->content_type);
	free(client->body);
	client->method = client->path = client->content_type = client->body = NULL;
	client->stage = STAGE_IDLE;
	client->turn++;
	wheel_cancel(loop_wheel(client->loop), &client->timer);
}

static void client_end(struct client *client, enum client_fault fault, const char *error)
{
	if (fault != CLIENT_FINE)
		client_close(client);
	client_forget(client);
	client->events->end(client->owner, fault, error);
}

void client_stop(struct client *client)
{
	client_close(client);
	client_forget(client);
}

void client_rest(struct client *client)
{
	if (client->stage == STAGE_IDLE)
		client_close(client);
}

static void client_swept(struct loop_deferred *deferred)
{
	struct client *client = client_container(deferred, deferred);

	response_free(client->response);
	free(client);
}

void client_free(struct client *client)
{
	if (client == NULL)
		return;
	client_stop(client);
	client->deferred.run = client_swept;
	loop_defer(client->loop, &client->deferred);
}

/* --- the response --- */

static bool client_on_head(void *owner, const struct response_head *head)
{
	struct client *client = owner;
	uint32_t turn = client->turn;

	if (head->status == 401 && !client->token_tried && cluster_refresh(dialer_cluster(client->dialer), loop_now(client->loop), true)) {
		client->refused_token = true;
		return false;
	}
	return client->events->head(client->owner, head) && client->turn == turn;
}

static bool client_on_body(void *owner, const char *bytes, size_t length)
{
	struct client *client = owner;
	uint32_t turn = client->turn;

	return client->events->body(client->owner, bytes, length) && client->turn == turn;
}

static const struct response_events client_responses = {client_on_head, client_on_body};

/* The connection at hand is of no use; the request goes on another one. */
static void client_again(struct client *client)
{
	client_close(client);
	client_dial(client);
}

static void client_lost(struct client *client, const char *error)
{
	/* A server may close a connection at rest at any time (RFC 9112 section 9.3.1.1): nothing came, so nothing was taken up. */
	if (client->reused && !response_begun(client->response)) {
		client->reused = false;
		client_again(client);
		return;
	}
	client_end(client, CLIENT_LOST, error);
}

/* True: the request is still under way, and its connection open. */
static bool client_feed(struct client *client, const char *bytes, size_t length)
{
	TEXT_ON_STACK(error, SENTENCE_SIZE);
	uint32_t turn = client->turn;
	int result = length > 0 ? response_feed(client->response, bytes, length, &error) : response_end(client->response, &error);

	if (client->turn != turn) /* the owner did something else in a call */
		return false;
	if (result == 0)
		return true;
	if (client->refused_token) {
		client->refused_token = false;
		client->token_tried = true;
		client->reused = false;
		client_again(client);
		return false;
	}
	if (result == -ECANCELED) {
		client_stop(client);
		return false;
	}
	if (result < 0) {
		client_lost(client, error.data);
		return false;
	}
	if (!response_keeps(client->response) || buf_length(&client->out) > 0)
		client_close(client);
	client_end(client, CLIENT_FINE, NULL);
	return false;
}

/* --- bytes --- */

/* What a system call said, as tls_read() and tls_write() say it. */
static ssize_t client_moved(ssize_t count, struct text *error)
{
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	text_string(error, strerror(errno));
	return -EPROTO;
}

static ssize_t client_read(struct client *client, char *bytes, size_t size, struct text *error)
{
	if (client->tls != NULL)
		return tls_read(client->tls, bytes, size, error);
	return client_moved(recv(client->source.fd, bytes, size, 0), error);
}

static ssize_t client_write(struct client *client, const void *bytes, size_t length, struct text *error)
{
	if (client->tls != NULL)
		return tls_write(client->tls, bytes, length, error);
	return client_moved(send(client->source.fd, bytes, length, MSG_NOSIGNAL), error);
}

/* False: the connection does not take what is left, and never will. */
static bool client_flush(struct client *client, struct text *error)
{
	while (buf_length(&client->out) > 0) {
		ssize_t count = client_write(client, buf_bytes(&client->out), buf_length(&client->out), error);

		if (count < 0)
			return count == -EAGAIN;
		buf_consume(&client->out, (size_t)count);
	}
	return true;
}

static void client_watch(struct client *client)
{
	bool write = buf_length(&client->out) > 0 || (client->tls != NULL && tls_wants_write(client->tls));

	loop_watch(client->loop, &client->source, EPOLLIN | EPOLLRDHUP | (write ? EPOLLOUT : 0));
}

/* Reads what is there. A server may answer, and close, before it has taken all: its answer counts. */
static void client_exchange(struct client *client)
{
	char bytes[READ_SIZE];
	TEXT_ON_STACK(error, SENTENCE_SIZE);
	TEXT_ON_STACK(unsent, SENTENCE_SIZE);
	bool sent = client_flush(client, &unsent);

	for (int reads = 0; reads < READS_MOST || (client->tls != NULL && tls_pending(client->tls)); reads++) {
		ssize_t count = client_read(client, bytes, sizeof bytes, &error);

		if (count == -EAGAIN)
			break;
		if (count < 0) {
			client_lost(client, error.data);
			return;
		}
		if (!client_feed(client, bytes, (size_t)count))
			return;
		if (count == 0)
			return;
	}
	if (!sent)
		client_lost(client, unsent.data);
	else
		client_watch(client);
}

/* --- the request --- */

static int client_compose(struct client *client)
{
	struct cluster *cluster = dialer_cluster(client->dialer);
	const char *host = cluster_host(cluster), *token = cluster_token(cluster);
	bool colons = strchr(host, ':') != NULL;
	char *head = NULL;
	int length = asprintf(&head,
	                      "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: lapse-publish/" LAPSE_VERSION
	                      "\r\nAccept: application/json\r\n%s%s%s",
	                      client->method, cluster_prefix(cluster), client->path, colons ? "[" : "", host, colons ? "]" : "",
	                      cluster_port(cluster), token != NULL ? "Authorization: Bearer " : "", token != NULL ? token : "",
	                      token != NULL ? "\r\n" : "");
	char more[256] = "\r\n";
	int result = -ENOMEM;

	if (client->content_type != NULL)
		snprintf(more, sizeof more, "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", client->content_type, client->body_length);
	buf_release(&client->out);
	if (length >= 0 && buf_append(&client->out, head, (size_t)length) == 0 && buf_append(&client->out, more, strlen(more)) == 0 &&
	    (client->body_length == 0 || buf_append(&client->out, client->body, client->body_length) == 0))
		result = 0;
	if (length >= 0) {
		explicit_bzero(head, (size_t)length);
		free(head);
	}
	return result;
}

static void client_begin(struct client *client)
{
	client->stage = STAGE_EXCHANGE;
	response_begin(client->response);
	wheel_cancel(loop_wheel(client->loop), &client->dial_timer);
	wheel_arm(loop_wheel(client->loop), &client->timer, loop_now(client->loop) + client->silence_ms);
	if (client_compose(client) != 0) {
		client_end(client, CLIENT_LOST, "out of memory");
		return;
	}
	/* Sent from the loop, so that end() never comes from inside client_send(). */
	loop_watch(client->loop, &client->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

/* --- the connection --- */

static void client_next_address(struct client *client, const char *error)
{
	snprintf(client->last, sizeof client->last, "%s", error);
	client->address++;
	client_again(client);
}

static void client_shake(struct client *client)
{
	TEXT_ON_STACK(error, SENTENCE_SIZE);
	int result = tls_handshake(client->tls, &error);

	if (result == 0)
		client_begin(client);
	else if (result == -EAGAIN)
		loop_watch(client->loop, &client->source, tls_wants_write(client->tls) ? EPOLLOUT : EPOLLIN);
	else
		client_next_address(client, error.data);
}

static void client_connected(struct client *client)
{
	struct cluster *cluster = dialer_cluster(client->dialer);
	TEXT_ON_STACK(error, SENTENCE_SIZE);

	sock_set_nodelay(client->source.fd);
	sock_set_keepalive(client->source.fd, 30, 10, 3); /* a watch is silent for long; a vanished server is known in a minute */
	if (!cluster_tls(cluster)) {
		client_begin(client);
		return;
	}
	const struct tls_context *context = dialer_tls(client->dialer, &error);
	if (context == NULL || tls_new(&client->tls, context, client->source.fd, cluster_tls_name(cluster)) != 0) {
		client_end(client, CLIENT_UNREACHABLE, context == NULL && error.length > 0 ? error.data : "out of memory");
		return;
	}
	client->stage = STAGE_HANDSHAKE;
	client_shake(client);
}

/* The next address is dialled, or none is left. */
static void client_dial(struct client *client)
{
	struct wheel *wheel = loop_wheel(client->loop);
	int64_t now = loop_now(client->loop);
	const struct addr *addresses;
	size_t count;
	TEXT_ON_STACK(error, SENTENCE_SIZE);
	int result = dialer_addresses(client->dialer, &addresses, &count, &error);

	client->stage = STAGE_NAME;
	if (result == -EAGAIN) {
		wheel_arm(wheel, &client->dial_timer, now + NAME_RETRY_MS);
		return;
	}
	if (result != 0) {
		client_end(client, CLIENT_UNREACHABLE, error.data);
		return;
	}
	for (; client->address < count && client->address < ADDRESSES_MOST; client->address++) {
		struct addr addr = addresses[client->address];

		addr.port = cluster_port(dialer_cluster(client->dialer));
		int fd = sock_connect(&addr);
		if (fd >= 0) {
			client->source.fd = fd;
			client->source.armed = 0;
			client->stage = STAGE_CONNECT;
			wheel_arm(wheel, &client->dial_timer, now + CLIENT_ADDRESS_MS);
			loop_watch(client->loop, &client->source, EPOLLOUT);
			return;
		}
		char text[ADDR_TEXT_SIZE];
		snprintf(client->last, sizeof client->last, "%s: %s", addr_format(&addr, text), strerror(-fd));
	}
	client_end(client, CLIENT_UNREACHABLE, *client->last != '\0' ? client->last : "no address");
}

static void client_dial_due(struct wheel_timer *timer)
{
	struct client *client = client_container(timer, dial_timer);
	TEXT_ON_STACK(error, SENTENCE_SIZE);

	if (client->stage == STAGE_NAME) {
		client_dial(client);
		return;
	}
	text_printf(&error, "%s:%u %s in %d s", cluster_host(dialer_cluster(client->dialer)), cluster_port(dialer_cluster(client->dialer)),
	            client->stage == STAGE_CONNECT ? "does not answer" : "does not complete the TLS handshake", CLIENT_ADDRESS_MS / 1000);
	client_next_address(client, error.data);
}

static void client_due(struct wheel_timer *timer)
{
	struct client *client = client_container(timer, timer);

	if (client->stage != STAGE_EXCHANGE)
		client_end(client, CLIENT_UNREACHABLE, *client->last != '\0' ? client->last : "no connection in time");
	else
		client_end(client, CLIENT_SILENT, "the API server went silent");
}

static void client_ready(struct loop_source *source, uint32_t events)
{
	struct client *client = client_container(source, source);
	TEXT_ON_STACK(error, SENTENCE_SIZE);

	(void)events;
	switch (client->stage) {
	case STAGE_CONNECT: {
		int result = sock_error(source->fd);
		if (result == 0) {
			client_connected(client);
			break;
		}
		text_printf(&error, "%s:%u: %s", cluster_host(dialer_cluster(client->dialer)), cluster_port(dialer_cluster(client->dialer)),
		            strerror(-result));
		client_next_address(client, error.data);
		break;
	}
	case STAGE_HANDSHAKE:
		client_shake(client);
		break;
	case STAGE_EXCHANGE:
		client_exchange(client);
		break;
	default: /* kept, and it has ended: there is nothing else that may come */
		client_close(client);
	}
}

int client_new(struct client **out, struct dialer *dialer, const struct client_events *events, void *owner)
{
	struct client *client = calloc(1, sizeof *client);

	if (client == NULL || (client->response = response_new(&client_responses, client)) == NULL) {
		free(client);
		return -ENOMEM;
	}
	client->source = (struct loop_source){.ready = client_ready, .fd = -1};
	client->timer.fire = client_due;
	client->dial_timer.fire = client_dial_due;
	client->dialer = dialer;
	client->loop = dialer_loop(dialer);
	client->events = events;
	client->owner = owner;
	*out = client;
	return 0;
}

int client_send(struct client *client, const struct client_request *request)
{
	client->method = strdup(request->method);
	client->path = strdup(request->path);
	client->content_type = request->content_type != NULL ? strdup(request->content_type) : NULL;
	client->body = request->body_length > 0 ? malloc(request->body_length) : NULL;
	if (client->method == NULL || client->path == NULL || (request->content_type != NULL && client->content_type == NULL) ||
	    (request->body_length > 0 && client->body == NULL)) {
		client_forget(client);
		return -ENOMEM;
	}
	if (request->body_length > 0)
		memcpy(client->body, request->body, request->body_length);
	client->body_length = request->body_length;
	client->silence_ms = request->silence_ms;
	client->address = 0;
	client->token_tried = client->refused_token = false;
	*client->last = '\0';
	client->turn++;
	cluster_refresh(dialer_cluster(client->dialer), loop_now(client->loop), false);
	client->reused = client->source.fd >= 0;
	if (client->reused) {
		client_begin(client);
		return 0;
	}
	client->stage = STAGE_NAME;
	wheel_arm(loop_wheel(client->loop), &client->timer, loop_now(client->loop) + CLIENT_DIAL_MS);
	wheel_arm(loop_wheel(client->loop), &client->dial_timer, loop_now(client->loop)); /* end() never comes from in here */
	return 0;
}

void client_wait(struct client *client, int64_t milliseconds)
{
	if (client->stage == STAGE_EXCHANGE)
		wheel_arm(loop_wheel(client->loop), &client->timer, loop_now(client->loop) + milliseconds);
}
