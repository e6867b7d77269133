#ifndef LAPSE_TESTS_UNIT_PROXY_DNS_SERVER_H
#define LAPSE_TESTS_UNIT_PROXY_DNS_SERVER_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/loop.h"

/* A name server of 127.0.0.1, UDP and TCP, on the test's own loop. It says of a name what its row says. */
enum dns_how {
	DNS_ANSWER,
	DNS_NXDOMAIN,
	DNS_SERVFAIL,
	DNS_REFUSED,
	DNS_SILENT,
	DNS_HELD,      /* dns_server_release() answers */
	DNS_TRUNCATED, /* by UDP, whole by TCP */
	DNS_CUT,       /* an answer that ends in the middle of a record */
	DNS_NOISE,     /* bytes that are no answer, then silence */
	DNS_OTHER,     /* the answer to another question, then silence */
	DNS_LENGTH,    /* a record longer than the message */
	DNS_LOOP,      /* a name that points at itself */
	DNS_MAPPED,    /* AAAA ::ffff:10.0.0.1 */
};

struct dns_row {
	const char *name; /* the last row has "*" and is for all other names */
	enum dns_how how;
	uint32_t ttl;
	int a, aaaa;    /* how many: 10.0.x.y and fd00::x.y from `first` on */
	int first;      /* the first one's number */
	int own;        /* so many of the A records are 127.0.0.1 instead, the first of all */
	int rotated;    /* the order begins with this one */
	bool twice;     /* each number stands there twice */
	const char *alias; /* CNAME to this before them, its TTL is alias_ttl */
	uint32_t alias_ttl;
	enum dns_how aaaa_how; /* when it is another; DNS_ANSWER = no */
};

struct dns_held {
	uint8_t query[512];
	size_t length;
	struct sockaddr_in peer;
};

struct dns_server {
	struct loop *loop;
	struct loop_source udp, listener, tcp;
	struct addr addr;
	const struct dns_row *rows;
	int queries, tcp_queries;
	int asks; /* A questions, those of one second counted once: c-ares tries again at once */
	int64_t asked_at;
	struct dns_held held[256];
	int held_count;
};

static inline uint8_t *dns_put(uint8_t *at, uint32_t value, int bytes)
{
	while (bytes--)
		*at++ = (uint8_t)(value >> 8 * bytes);
	return at;
}

static inline uint8_t *dns_put_name(uint8_t *at, const char *name)
{
	while (*name) {
		size_t length = strcspn(name, ".");

		*at++ = (uint8_t)length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	*at++ = 0;
	return at;
}

/* The question's name, "" for the root. Returns what follows it. */
static inline const uint8_t *dns_get_name(const uint8_t *at, char *name)
{
	char *out = name;

	while (*at) {
		if (out != name)
			*out++ = '.';
		memcpy(out, at + 1, *at);
		out += *at;
		at += *at + 1;
	}
	*out = '\0';
	return at + 1;
}

static inline uint8_t *dns_put_record(uint8_t *at, uint32_t owner, uint32_t type, uint32_t ttl, uint32_t length)
{
	at = dns_put(at, 0xc000 | owner, 2);
	at = dns_put(at, type, 2);
	at = dns_put(at, 1, 2);
	at = dns_put(at, ttl, 4);
	return dns_put(at, length, 2);
}

/* Returns the length of the answer, 0 = none. */
static inline size_t dns_answer(const struct dns_row *row, enum dns_how how, const uint8_t *query, bool tcp, uint8_t *answer)
{
	static const uint8_t rcodes[] = {[DNS_NXDOMAIN] = 3, [DNS_SERVFAIL] = 2, [DNS_REFUSED] = 5};
	char name[256];
	const uint8_t *end = dns_get_name(query + 12, name);
	int type = end[0] << 8 | end[1], count = 0;
	uint32_t owner = 12;
	size_t question = (size_t)(end + 4 - query);
	uint8_t *at = answer + question;

	if (how == DNS_SILENT)
		return 0;
	memcpy(answer, query, question);
	answer[2] = 0x85;
	answer[3] = how < sizeof rcodes ? rcodes[how] : 0;
	memset(answer + 6, 0, 6);
	if (how == DNS_NOISE) {
		memset(answer + 2, 0xff, 40);
		return 42;
	}
	if (how == DNS_OTHER)
		answer[13] ^= 1;
	if (how == DNS_TRUNCATED && !tcp) {
		answer[2] |= 2;
		return question;
	}
	if (answer[3])
		return question;
	if (row->alias) {
		at = dns_put_record(at, owner, 5, row->alias_ttl, (uint32_t)strlen(row->alias) + 2);
		owner = (uint32_t)(at - answer);
		at = dns_put_name(at, row->alias);
		answer[7]++;
	}
	count = type == 1 ? row->a : row->aaaa;
	for (int i = 0; i < count; i++) {
		int number = row->first + (i + row->rotated) % count / (row->twice ? 2 : 1);

		at = dns_put_record(at, how == DNS_LOOP ? (uint32_t)(at - answer) : owner, (uint32_t)type, row->ttl,
		                    how == DNS_LENGTH ? 9999 : type == 1 ? 4 : 16);
		if (type == 28) {
			at = dns_put(at, how == DNS_MAPPED ? 0 : 0xfd000000, 4);
			at = dns_put(dns_put(at, 0, 4), how == DNS_MAPPED ? 0xffff : 0, 4);
		}
		at = dns_put(at, type == 1 && i < row->own ? 0x7f000001 : 0x0a000000 | (uint32_t)number, 4);
	}
	count += answer[7];
	dns_put(answer + 6, (uint32_t)count, 2);
	return (size_t)(at - answer) - (how == DNS_CUT ? 3 : 0);
}

static inline size_t dns_reply(struct dns_server *server, const uint8_t *query, bool tcp, bool release, uint8_t *answer)
{
	const struct dns_row *row = server->rows;
	char name[256];
	const uint8_t *end = dns_get_name(query + 12, name);
	enum dns_how how;

	while (strcasecmp(row->name, name) != 0 && strcmp(row->name, "*") != 0)
		row++;
	how = end[1] == 28 && row->aaaa_how ? row->aaaa_how : row->how;
	if (how == DNS_HELD && !release)
		how = DNS_SILENT;
	return dns_answer(row, how, query, tcp, answer);
}

static inline void dns_server_udp(struct loop_source *source, uint32_t events)
{
	struct dns_server *server = (struct dns_server *)(void *)((char *)source - offsetof(struct dns_server, udp));
	struct dns_held *held = &server->held[server->held_count];
	socklen_t length = sizeof held->peer;
	uint8_t answer[16384];
	char name[256];
	size_t size;

	held->length = (size_t)recvfrom(source->fd, held->query, sizeof held->query, 0, (struct sockaddr *)&held->peer, &length);
	server->queries++;
	if (dns_get_name(held->query + 12, name)[1] == 1 && loop_now(server->loop) - server->asked_at >= 1000) {
		server->asked_at = loop_now(server->loop);
		server->asks++;
	}
	size = dns_reply(server, held->query, false, false, answer);
	if (size)
		sendto(source->fd, answer, size, 0, (struct sockaddr *)&held->peer, length);
	else if (server->held_count < 255)
		server->held_count++;
}

static inline void dns_server_release(struct dns_server *server)
{
	uint8_t answer[16384];

	while (server->held_count) {
		struct dns_held *held = &server->held[--server->held_count];
		size_t size = dns_reply(server, held->query, false, true, answer);

		if (size)
			sendto(server->udp.fd, answer, size, 0, (struct sockaddr *)&held->peer, sizeof held->peer);
	}
}

/* One connection at a time; a query comes in one piece. */
static inline void dns_server_tcp(struct loop_source *source, uint32_t events)
{
	struct dns_server *server = (struct dns_server *)(void *)((char *)source - offsetof(struct dns_server, tcp));
	uint8_t queries[4096], answer[16384];
	ssize_t got = recv(source->fd, queries, sizeof queries, 0);

	if (got <= 0) {
		loop_close(server->loop, source);
		return;
	}
	for (ssize_t at = 0; at + 2 < got; at += 2 + (queries[at] << 8 | queries[at + 1])) {
		size_t size = dns_reply(server, queries + at + 2, true, false, answer + 2);

		server->tcp_queries++;
		dns_put(answer, (uint32_t)size, 2);
		if (size)
			assert(send(source->fd, answer, size + 2, MSG_NOSIGNAL) == (ssize_t)size + 2);
	}
}

static inline void dns_server_accept(struct loop_source *source, uint32_t events)
{
	struct dns_server *server = (struct dns_server *)(void *)((char *)source - offsetof(struct dns_server, listener));
	int fd = accept(source->fd, NULL, NULL);

	if (server->tcp.fd >= 0)
		loop_close(server->loop, &server->tcp);
	server->tcp.fd = fd;
	assert(fd >= 0 && !loop_watch(server->loop, &server->tcp, EPOLLIN));
}

static inline void dns_server_open(struct dns_server *server, struct loop *loop)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof any;
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(!bind(tcp, (struct sockaddr *)&any, sizeof any) && !listen(tcp, 8));
	assert(!getsockname(tcp, (struct sockaddr *)&any, &length));
	assert(!bind(udp, (struct sockaddr *)&any, sizeof any));
	server->loop = loop;
	server->udp = (struct loop_source){.ready = dns_server_udp, .fd = udp};
	server->listener = (struct loop_source){.ready = dns_server_accept, .fd = tcp};
	server->tcp = (struct loop_source){.ready = dns_server_tcp, .fd = -1};
	assert(!addr_from_sockaddr((struct sockaddr *)&any, &server->addr));
	assert(!loop_watch(loop, &server->udp, EPOLLIN) && !loop_watch(loop, &server->listener, EPOLLIN));
}

static inline void dns_server_close(struct dns_server *server)
{
	loop_close(server->loop, &server->udp);
	loop_close(server->loop, &server->listener);
	loop_close(server->loop, &server->tcp);
}

#endif
