/* responder BODY_BYTES PORT…: the app. Answers every HTTP/1.1 request without a body with the same 200, on kept connections.
 * A request is what ends in an empty line; nothing else of it is looked at.
 *
 * responder opaque PORT…: the app for bytes that are no protocol; the first one says which way they go (bench.h). */
#include "tests/bench/bench.h"

enum { BATCH = 256, READ_MOST = 65536, SEND_MOST = 262144 };

struct source {
	int fd;
	bool listens; /* no client but where they come from */
	bool blocked, sends;
	uint8_t matched;   /* bytes of CR LF CR LF seen at the end of what came */
	size_t offset;     /* of the answer under way */
	uint64_t to_answer;
};

struct answer {
	char *bytes;
	size_t length;
};

static struct answer make_answer(size_t body)
{
	char head[128];
	int length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);
	struct answer answer = {.bytes = malloc((size_t)length + body), .length = (size_t)length + body};

	NEED(answer.bytes);
	memcpy(answer.bytes, head, (size_t)length);
	memset(answer.bytes + length, 'x', body);
	return answer;
}

static void accept_all(int epoll_fd, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct source *client = calloc(1, sizeof *client);

		NEED(client);
		client->fd = fd;
		no_delay(fd);
		watch(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, client);
	}
}

static uint64_t count_requests(struct source *client, const char *bytes, size_t length)
{
	uint64_t count = 0;

	for (size_t i = 0; i < length; i++) {
		char wanted = client->matched & 1 ? '\n' : '\r';

		if (bytes[i] == wanted)
			client->matched++;
		else
			client->matched = bytes[i] == '\r';
		if (client->matched == 4) {
			client->matched = 0;
			count++;
		}
	}
	return count;
}

/* False: the connection is over. */
static bool answer_client(int epoll_fd, struct source *client, const struct answer *answer)
{
	while (client->to_answer) {
		ssize_t put = send(client->fd, answer->bytes + client->offset, answer->length - client->offset, MSG_NOSIGNAL);

		if (put < 0 && errno != EAGAIN)
			return false;
		if (put < 0) {
			if (!client->blocked)
				watch(epoll_fd, EPOLL_CTL_MOD, client->fd, EPOLLOUT, client);
			client->blocked = true;
			return true;
		}
		client->offset += (size_t)put;
		if (client->offset == answer->length) {
			client->offset = 0;
			client->to_answer--;
		}
	}
	if (client->blocked)
		watch(epoll_fd, EPOLL_CTL_MOD, client->fd, EPOLLIN, client);
	client->blocked = false;
	return true;
}

static bool serve_client(int epoll_fd, struct source *client, const struct answer *answer, uint32_t events)
{
	char bytes[READ_MOST];
	ssize_t got;

	if (events & EPOLLOUT)
		return answer_client(epoll_fd, client, answer);
	got = recv(client->fd, bytes, sizeof bytes, 0);
	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	client->to_answer += count_requests(client, bytes, (size_t)got);
	return answer_client(epoll_fd, client, answer);
}

/* False: the connection is over. */
static bool serve_opaque(int epoll_fd, struct source *client, const struct answer *block, uint32_t events)
{
	char bytes[READ_MOST];

	if (events & EPOLLIN) {
		ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);

		if (got <= 0)
			return got < 0 && errno == EAGAIN;
		if (!client->sends && bytes[0] == OPAQUE_DOWN[0]) {
			client->sends = true;
			watch(epoll_fd, EPOLL_CTL_MOD, client->fd, EPOLLIN | EPOLLOUT, client);
		}
	}
	if (events & EPOLLOUT)
		return send(client->fd, block->bytes, block->length, MSG_NOSIGNAL) > 0 || errno == EAGAIN;
	return true;
}

int main(int argc, char **argv)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[BATCH];
	struct answer answer;
	bool opaque;

	NEED(argc >= 3 && epoll_fd >= 0);
	raise_file_limit();
	opaque = !strcmp(argv[1], "opaque");
	answer = make_answer(opaque ? SEND_MOST : strtoul(argv[1], NULL, 10));
	for (int i = 2; i < argc; i++) {
		struct source *listener = calloc(1, sizeof *listener);

		NEED(listener);
		*listener = (struct source){.fd = listen_at(atoi(argv[i])), .listens = true};
		watch(epoll_fd, EPOLL_CTL_ADD, listener->fd, EPOLLIN, listener);
	}
	for (;;) {
		int count = epoll_wait(epoll_fd, events, BATCH, -1);

		for (int i = 0; i < count; i++) {
			struct source *source = events[i].data.ptr;

			if (source->listens) {
				accept_all(epoll_fd, source->fd);
			} else if (!(opaque ? serve_opaque : serve_client)(epoll_fd, source, &answer, events[i].events)) {
				close(source->fd);
				free(source);
			}
		}
	}
}
