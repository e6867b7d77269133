#include "proxy/admin/admin.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/addr.h"
#include "lib/loop.h"
#include "lib/sock.h"
#include "lib/wheel.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/admin/walk.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/reply.h"

enum {
	CLIENTS = 64,     /* at a time; more wait in the kernel's queue */
	HEAD_MOST = 4096,
	BODY_MOST = 4096,
	CLIENT_MS = 5000, /* to send the request, and between two signs of taking the answer */
	ANSWER_MS = 30000, /* to take all of it */
	TURN_MS = 250,    /* what each has, when others wait */
	PAUSE_MS = 100,   /* until the next try of accepting that was not possible */
	BACKLOG = 128,
	SENDING_MOST = 64 << 10, /* bytes of an answer in the kernel: left to itself it takes megabytes, also of who is let go then */
	WAITING_MOST = 8 << 20, /* bytes of answers not taken yet, in all */
};

enum state {
	ADMIN_READING,  /* the request is not complete */
	ADMIN_WORKING,  /* the answer is being gathered */
	ADMIN_WRITING,
	ADMIN_ANSWERED, /* only its FIN is awaited */
};

struct admin_client {
	struct loop_deferred deferred;
	struct loop_source source;
	struct wheel_timer timer;
	struct admin *admin;
	struct admin_client *next, **link; /* the youngest first */
	struct input_scan scan;
	int64_t since, answered_at;
	enum state state;
	bool loopback;
	size_t length; /* of request */
	size_t expected; /* of request, once its head is known; 0 before */
	struct message_head head;
	size_t head_length;
	char start[512]; /* the answer's head */
	size_t start_length, sent; /* of head and body together */
	char *body; /* owned */
	size_t body_length;
	uint8_t request[HEAD_MOST + BODY_MOST];
};

struct admin {
	struct loop_source source;
	struct wheel_timer resume; /* accepting is paused */
	struct admin_context context;
	struct walks *walks;
	struct admin_client *clients;
	int client_count;
	size_t waiting; /* bytes of bodies, all clients */
};

#define client_of(pointer, member) ((struct admin_client *)(void *)((char *)(pointer) - offsetof(struct admin_client, member)))

static const struct http1_limits admin_limits = {
    .head_bytes = HEAD_MOST, .fields = 64, .target_bytes = 2048, .chunk_extension_bytes = 0};

/* --- the end of a client --- */

static void admin_client_swept(struct loop_deferred *deferred)
{
	free(client_of(deferred, deferred));
}

static void admin_client_drop_body(struct admin_client *client)
{
	client->admin->waiting -= client->body_length;
	client->body_length = 0;
	free(client->body);
	client->body = NULL;
}

static void admin_client_end(struct admin_client *client)
{
	struct admin *admin = client->admin;

	if (client->state == ADMIN_WORKING)
		walk_forget(admin->walks, client);
	admin_client_drop_body(client);
	wheel_cancel(loop_wheel(admin->context.loop), &client->timer);
	loop_close(admin->context.loop, &client->source);
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	if (admin->client_count-- == CLIENTS) {
		wheel_cancel(loop_wheel(admin->context.loop), &admin->resume);
		(void)loop_watch(admin->context.loop, &admin->source, EPOLLIN);
	}
	client->deferred.run = admin_client_swept;
	loop_defer(admin->context.loop, &client->deferred);
}

static void admin_client_expired(struct wheel_timer *timer)
{
	admin_client_end(client_of(timer, timer));
}

/* The one that has been at it longest, of those whose turn is over; silent ones before those that still take their answer. NULL: there
 * is none. */
static struct admin_client *admin_slowest(const struct admin *admin)
{
	struct admin_client *slowest = NULL;
	int64_t now = loop_now(admin->context.loop);

	for (struct admin_client *each = admin->clients; each; each = each->next) {
		if (now - each->since < TURN_MS || each->state == ADMIN_WORKING)
			continue;
		if (!slowest || each->state != ADMIN_WRITING || slowest->state == ADMIN_WRITING)
			slowest = each;
	}
	return slowest;
}

/* --- answers --- */

static void admin_client_await(struct admin_client *client, int64_t milliseconds)
{
	struct loop *loop = client->admin->context.loop;

	wheel_arm(loop_wheel(loop), &client->timer, loop_now(loop) + milliseconds);
}

/* Sends what the socket takes. */
static void admin_client_write(struct admin_client *client)
{
	size_t all = client->start_length + client->body_length, in_start;
	struct loop *loop = client->admin->context.loop;
	int64_t left = client->answered_at + ANSWER_MS - loop_now(loop);
	ssize_t sent = 0;

	while (client->sent < all) {
		in_start = client->sent < client->start_length ? client->start_length - client->sent : 0;
		struct iovec parts[] = {
		    {client->start + client->start_length - in_start, in_start},
		    {in_start ? client->body : client->body + (client->sent - client->start_length), all - client->sent - in_start},
		};
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = client->body_length ? 2 : 1};

		sent = sendmsg(client->source.fd, &message, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		client->sent += (size_t)sent;
	}
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		admin_client_end(client);
	} else if (client->sent < all) {
		admin_client_await(client, left < CLIENT_MS ? left : CLIENT_MS);
		if (loop_watch(loop, &client->source, EPOLLOUT))
			admin_client_end(client);
	} else {
		client->state = ADMIN_ANSWERED;
		admin_client_drop_body(client);
		shutdown(client->source.fd, SHUT_WR);
		admin_client_await(client, CLIENT_MS);
		if (loop_watch(loop, &client->source, EPOLLIN))
			admin_client_end(client);
	}
}

/* Makes room for an answer: whoever takes longest to take theirs goes. */
static void admin_make_room(struct admin *admin, const struct admin_client *own, size_t length)
{
	while (admin->waiting + length > WAITING_MOST) {
		struct admin_client *oldest = NULL;

		for (struct admin_client *each = admin->clients; each; each = each->next)
			if (each != own && each->state == ADMIN_WRITING)
				oldest = each;
		if (!oldest)
			return;
		admin_client_end(oldest);
	}
}

static const char *admin_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 403:
		return "Forbidden";
	case 405:
		return "Method Not Allowed";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 421:
		return "Misdirected Request";
	default:
		return reply_phrase(status);
	}
}

/* Takes over the answer's body. */
static void admin_client_answer(struct admin_client *client, struct admin_answer *answer)
{
	struct admin *admin = client->admin;
	const char *type = answer->type ? answer->type : "text/plain; charset=utf-8";

	client->start_length = (size_t)snprintf(client->start, sizeof client->start,
	                                        "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\ncache-control: no-store\r\n"
	                                        "x-content-type-options: nosniff\r\n"
	                                        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; "
	                                        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n"
	                                        "%s%s%sconnection: close\r\n\r\n",
	                                        answer->status, admin_phrase(answer->status), type, answer->length,
	                                        answer->allow ? "allow: " : "", answer->allow ? answer->allow : "",
	                                        answer->allow ? "\r\n" : "");
	if (client->head.is_head) {
		free(answer->body);
		*answer = (struct admin_answer){0};
	}
	admin_make_room(admin, client, answer->length);
	client->body = answer->body;
	client->body_length = answer->length;
	admin->waiting += answer->length;
	client->state = ADMIN_WRITING;
	client->answered_at = loop_now(admin->context.loop);
	admin_client_write(client);
}

void admin_answer_later(void *client, struct admin_answer *answer)
{
	admin_client_answer(client, answer);
}

/* --- requests --- */

static void admin_client_refuse(struct admin_client *client, int status, const char *why)
{
	struct admin_answer answer = {.status = status, .body = strdup(why)};

	answer.length = answer.body ? strlen(answer.body) : 0;
	admin_client_answer(client, &answer);
}

static void admin_client_handle(struct admin_client *client)
{
	const struct slice target = client->head.target;
	const uint8_t *question = memchr(target.bytes, '?', target.length);
	size_t path_length = question ? (size_t)(question - target.bytes) : target.length;
	struct admin_answer answer = {0};
	struct admin_call call = {
	    .context = &client->admin->context,
	    .walks = client->admin->walks,
	    .client = client,
	    .head = &client->head,
	    .fields = {client->request, client->head_length},
	    .path = {target.bytes, path_length},
	    .query = {target.bytes + path_length + (question ? 1 : 0), target.length - path_length - (question ? 1 : 0)},
	    .body = {client->request + client->head_length, client->expected - client->head_length},
	    .loopback = client->loopback,
	    .answer = &answer,
	};

	client->state = ADMIN_WORKING;
	wheel_cancel(loop_wheel(client->admin->context.loop), &client->timer);
	admin_pages_answer(&call);
	if (answer.status)
		admin_client_answer(client, &answer);
	else if (loop_watch(client->admin->context.loop, &client->source, EPOLLET)) /* only its death would be of interest */
		admin_client_end(client);
}

/* The head is looked for, then the body awaited. */
static void admin_client_request(struct admin_client *client)
{
	struct http1_error error;
	int result;

	if (!client->expected) {
		result = http1_read_head(&client->scan, HTTP1_REQUEST, client->request, client->length < HEAD_MOST ? client->length : HEAD_MOST,
		                         NULL, &admin_limits, &client->head_length, &client->head, &error);
		if (result == -EAGAIN && client->length < HEAD_MOST)
			return;
		if (result == -EAGAIN)
			error = (struct http1_error){.status = 431};
		if (result) {
			client->head = (struct message_head){0};
			admin_client_refuse(client, error.status, "this is not a request that is understood here\n");
			return;
		}
		if (client->head.framing == MESSAGE_CHUNKED) {
			admin_client_refuse(client, 411, "a body needs a Content-Length here\n");
			return;
		}
		if (client->head.framing == MESSAGE_LENGTH && client->head.content_length > BODY_MOST) {
			admin_client_refuse(client, 413, "a body has at most 4096 bytes here\n");
			return;
		}
		client->expected = client->head_length + (client->head.framing == MESSAGE_LENGTH ? (size_t)client->head.content_length : 0);
	}
	if (client->length >= client->expected)
		admin_client_handle(client);
}

static void admin_client_ready(struct loop_source *source, uint32_t events)
{
	struct admin_client *client = client_of(source, source);
	uint8_t rest[512];
	ssize_t got;

	if (client->state == ADMIN_WORKING) { /* EPOLLERR or EPOLLHUP, nothing else is watched */
		admin_client_end(client);
		return;
	}
	if (client->state == ADMIN_WRITING) {
		admin_client_write(client);
		return;
	}
	if (client->state == ADMIN_ANSWERED)
		got = recv(source->fd, rest, sizeof rest, 0);
	else
		got = recv(source->fd, client->request + client->length, sizeof client->request - client->length, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		admin_client_end(client);
		return;
	}
	if (client->state == ADMIN_ANSWERED)
		return;
	client->length += (size_t)got;
	admin_client_request(client);
}

/* --- the listener --- */

static void admin_pause(struct admin *admin, int64_t milliseconds)
{
	(void)loop_watch(admin->context.loop, &admin->source, 0);
	wheel_arm(loop_wheel(admin->context.loop), &admin->resume, loop_now(admin->context.loop) + milliseconds);
}

static void admin_resume(struct wheel_timer *timer)
{
	struct admin *admin = (struct admin *)(void *)((char *)timer - offsetof(struct admin, resume));

	if (loop_watch(admin->context.loop, &admin->source, EPOLLIN))
		admin_pause(admin, PAUSE_MS);
}

static void admin_accepted(struct admin *admin, int fd, const struct addr *peer)
{
	struct admin_client *client = calloc(1, sizeof *client);
	struct loop *loop = admin->context.loop;

	if (!client) {
		struct loop_source gone = {.fd = fd};

		loop_close(loop, &gone);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SENDING_MOST}, sizeof(int));
	client->admin = admin;
	client->source = (struct loop_source){.fd = fd, .ready = admin_client_ready};
	client->timer.fire = admin_client_expired;
	client->loopback = addr_is_loopback(peer);
	client->since = loop_now(loop);
	client->next = admin->clients;
	client->link = &admin->clients;
	if (client->next)
		client->next->link = &client->next;
	admin->clients = client;
	admin->client_count++;
	admin_client_await(client, CLIENT_MS);
	if (loop_watch(loop, &client->source, EPOLLIN))
		admin_client_end(client);
}

static void admin_ready(struct loop_source *source, uint32_t events)
{
	struct admin *admin = (struct admin *)(void *)((char *)source - offsetof(struct admin, source));
	struct sockaddr_storage from;
	socklen_t length = sizeof from;
	struct addr peer = {0};
	int fd;

	if (admin->client_count >= CLIENTS) {
		struct admin_client *slowest = admin_slowest(admin);

		if (!slowest) {
			admin_pause(admin, PAUSE_MS);
			return;
		}
		admin_client_end(slowest);
	}
	fd = accept4(source->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		(void)addr_from_sockaddr((struct sockaddr *)&from, &peer); /* none is no loopback address */
		admin_accepted(admin, fd, &peer);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		admin_pause(admin, PAUSE_MS);
	}
}

int admin_new(struct admin **out, const struct addr *addr, const struct admin_context *context)
{
	struct admin *admin = calloc(1, sizeof *admin);
	int result, fd;

	if (!admin)
		return -ENOMEM;
	fd = sock_listen(addr, BACKLOG, false);
	admin->source = (struct loop_source){.fd = fd < 0 ? -1 : fd, .ready = admin_ready};
	admin->resume.fire = admin_resume;
	admin->context = *context;
	result = fd < 0 ? fd : walk_new(&admin->walks, context->proxy);
	if (!result)
		result = loop_watch(context->loop, &admin->source, EPOLLIN);
	if (result)
		admin_free(admin);
	else
		*out = admin;
	return result;
}

void admin_idle(struct admin *admin)
{
	if (admin)
		walk_collect(admin->walks);
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	while (admin->clients)
		admin_client_end(admin->clients);
	walk_free(admin->walks);
	wheel_cancel(loop_wheel(admin->context.loop), &admin->resume);
	loop_close(admin->context.loop, &admin->source);
	free(admin);
}
