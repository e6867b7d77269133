#include "proxy/admin.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/loop.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/http1.h"
#include "proxy/reply.h"
#include "proxy/worker.h"

enum {
	CLIENTS = 64,      /* at a time; more wait in the kernel's queue */
	REQUEST_MOST = 4096,
	CLIENT_MS = 5000,  /* a client that has not sent its request by then is let go */
	PAUSE_MS = 100,    /* without a descriptor, until the next try */
	BACKLOG = 128,
};

struct admin_client {
	struct loop_deferred deferred;
	struct loop_source source;
	struct wheel_timer timer;
	struct admin *admin;
	struct admin_client *next, **link;
	struct http1_scan scan;
	size_t length;
	bool answered; /* only its FIN is awaited */
	uint8_t request[REQUEST_MOST];
};

struct admin {
	struct loop_source source;
	struct wheel_timer resume; /* accepting is paused: no descriptor was left */
	struct loop *loop;
	const struct proxy *proxy;
	struct admin_client *clients;
	int client_count;
};

#define client_of(pointer, member) ((struct admin_client *)(void *)((char *)(pointer) - offsetof(struct admin_client, member)))

static const struct http1_limits admin_limits = {
    .head_bytes = REQUEST_MOST, .fields = 64, .target_bytes = 1024, .chunk_extension_bytes = 0};

static void admin_client_swept(struct loop_deferred *deferred)
{
	free(client_of(deferred, deferred));
}

static void admin_client_end(struct admin_client *client)
{
	struct admin *admin = client->admin;

	wheel_cancel(loop_wheel(admin->loop), &client->timer);
	loop_close(admin->loop, &client->source);
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	if (admin->client_count-- == CLIENTS)
		(void)loop_watch(admin->loop, &admin->source, EPOLLIN);
	client->deferred.run = admin_client_swept;
	loop_defer(admin->loop, &client->deferred);
}

static void admin_client_expired(struct wheel_timer *timer)
{
	admin_client_end(client_of(timer, timer));
}

/* The answer is small: a socket that does not take it whole at once belongs to nobody who waits for it. */
static void admin_answer(struct admin_client *client, int status, const char *phrase, const char *body)
{
	TEXT_ON_STACK(text, 512);

	text_printf(&text, "HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %zu\r\n", status, phrase,
	            strlen(body));
	if (status == 405)
		text_string(&text, "allow: GET, HEAD\r\n");
	text_printf(&text, "connection: close\r\n\r\n%s", body);
	client->answered = true;
	if (send(client->source.fd, text_bytes, text.length, MSG_NOSIGNAL) < 0)
		return;
	shutdown(client->source.fd, SHUT_WR);
}

static void admin_handle(struct admin_client *client, const struct http1_head *head)
{
	bool draining = atomic_load_explicit(&client->admin->proxy->drain, memory_order_relaxed) != DRAIN_NONE;
	TEXT_ON_STACK(path, 64);

	for (size_t i = 0; i < head->target.length && head->target.bytes[i] != '?'; i++)
		text_char(&path, (char)head->target.bytes[i]);
	if (head->method.length != 3 && !head->is_head)
		admin_answer(client, 405, "Method Not Allowed", "only GET is answered here\n");
	else if (strcmp(path_bytes, "/live") == 0)
		admin_answer(client, 200, "OK", head->is_head ? "" : "live\n");
	else if (strcmp(path_bytes, "/ready") == 0 && draining)
		admin_answer(client, 503, "Service Unavailable", head->is_head ? "" : "draining\n");
	else if (strcmp(path_bytes, "/ready") == 0)
		admin_answer(client, 200, "OK", head->is_head ? "" : "ready\n");
	else
		admin_answer(client, 404, "Not Found", "there is /ready and /live\n");
}

static void admin_request(struct admin_client *client)
{
	struct http1_head head;
	struct http1_error error;
	size_t head_length;
	int result = http1_scan_head(&client->scan, HTTP1_REQUEST, client->request, client->length, &admin_limits, &head_length, &error);

	if (result == -EAGAIN && client->length < REQUEST_MOST)
		return;
	if (!result)
		result = http1_parse_head(HTTP1_REQUEST, client->request, head_length, NULL, &admin_limits, &head, &error);
	else if (result == -EAGAIN)
		error = (struct http1_error){.status = 431};
	if (result)
		admin_answer(client, error.status, reply_phrase(error.status), "this is not a request that is understood here\n");
	else
		admin_handle(client, &head);
}

static void admin_client_ready(struct loop_source *source, uint32_t events)
{
	struct admin_client *client = client_of(source, source);
	uint8_t rest[512];
	ssize_t got;

	if (client->answered)
		got = recv(source->fd, rest, sizeof rest, 0);
	else
		got = recv(source->fd, client->request + client->length, REQUEST_MOST - client->length, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		admin_client_end(client);
		return;
	}
	if (client->answered)
		return;
	client->length += (size_t)got;
	admin_request(client);
}

static void admin_ready(struct loop_source *source, uint32_t events)
{
	struct admin *admin = (struct admin *)(void *)((char *)source - offsetof(struct admin, source));
	struct admin_client *client;
	int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			(void)loop_watch(admin->loop, source, 0);
			wheel_arm(loop_wheel(admin->loop), &admin->resume, loop_now(admin->loop) + PAUSE_MS);
		}
		return;
	}
	client = calloc(1, sizeof *client);
	if (!client) {
		struct loop_source gone = {.fd = fd};

		loop_close(admin->loop, &gone);
		return;
	}
	client->admin = admin;
	client->source = (struct loop_source){.fd = fd, .ready = admin_client_ready};
	client->timer.fire = admin_client_expired;
	client->next = admin->clients;
	client->link = &admin->clients;
	if (client->next)
		client->next->link = &client->next;
	admin->clients = client;
	if (++admin->client_count == CLIENTS)
		(void)loop_watch(admin->loop, source, 0);
	wheel_arm(loop_wheel(admin->loop), &client->timer, loop_now(admin->loop) + CLIENT_MS);
	if (loop_watch(admin->loop, &client->source, EPOLLIN))
		admin_client_end(client);
}

static void admin_resume(struct wheel_timer *timer)
{
	struct admin *admin = (struct admin *)(void *)((char *)timer - offsetof(struct admin, resume));

	if (admin->client_count < CLIENTS)
		(void)loop_watch(admin->loop, &admin->source, EPOLLIN);
}

int admin_new(struct admin **out, const struct addr *addr, struct loop *loop, const struct proxy *proxy)
{
	struct admin *admin = calloc(1, sizeof *admin);
	int result, fd;

	if (!admin)
		return -ENOMEM;
	fd = sock_listen(addr, BACKLOG, false);
	admin->source = (struct loop_source){.fd = fd < 0 ? -1 : fd, .ready = admin_ready};
	admin->resume.fire = admin_resume;
	admin->loop = loop;
	admin->proxy = proxy;
	result = fd < 0 ? fd : loop_watch(loop, &admin->source, EPOLLIN);
	if (result)
		admin_free(admin);
	else
		*out = admin;
	return result;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	while (admin->clients)
		admin_client_end(admin->clients);
	wheel_cancel(loop_wheel(admin->loop), &admin->resume);
	loop_close(admin->loop, &admin->source);
	free(admin);
}
