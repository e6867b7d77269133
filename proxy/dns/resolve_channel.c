#include "proxy/dns/resolve_channel.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include "lib/loop.h"
#include "lib/text.h"
#include "lib/wheel.h"

/* c-ares answers from inside its own functions, perhaps while it is being asked: answers only take notes, and the queue moves when
 * c-ares has returned. */
enum {
	UNDER_WAY_MOST = 64,
	TTL_LEAST = 1, /* seconds */
	TTL_MOST = 3600,
	NAME_MOST = 253, /* of the dotted text without the last dot */
	/* c-ares's own differ by version, up to 75 s in silence. When all tries are over resolve.c says so and asks again. */
	TRY_MS = 2000, /* of the first, doubled after */
	TRIES = 2,
};

/* A descriptor of c-ares, who closes it. */
struct resolve_socket {
	struct loop_source source;
	struct loop_deferred deferred;
	struct resolve_channel *channel;
	struct resolve_socket *next;
};

struct resolve_channel {
	struct loop *loop;
	ares_channel ares;
	struct resolve_socket *sockets;
	struct wheel_timer timer; /* of c-ares */
	struct resolve_question *first, **last;
	int under_way;
};

#define resolve_channel_container(pointer, type, member) \
	((struct type *)(void *)((char *)(pointer) - offsetof(struct type, member)))

/* --- what comes back --- */

static int resolve_channel_compare(const struct addr *a, const struct addr *b)
{
	int order = memcmp(a->bytes, b->bytes, sizeof a->bytes);

	return order ? order : (a->scope > b->scope) - (a->scope < b->scope);
}

/* Into its place among the sorted; the greatest goes when there are too many, so the same ones stay whatever the order. */
static void resolve_channel_keep(struct resolve_reply *reply, const struct addr *addr)
{
	struct addr *kept = reply->addresses;
	size_t place = reply->count;
	int order = 1;

	while (place && (order = resolve_channel_compare(addr, &kept[place - 1])) < 0)
		place--;
	if (order == 0 || place == RESOLVE_ADDRESSES_MOST)
		return;
	if (reply->count == RESOLVE_ADDRESSES_MOST)
		reply->count--;
	memmove(&kept[place + 1], &kept[place], (reply->count - place) * sizeof *kept);
	kept[place] = *addr;
	reply->count++;
}

static int resolve_channel_lower(int a, int b)
{
	return a < b ? a : b;
}

static void resolve_channel_collect(const struct ares_addrinfo *info, uint8_t family, struct resolve_reply *reply)
{
	int ttl = TTL_MOST;

	for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next)
		ttl = resolve_channel_lower(ttl, cname->ttl);
	for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
		struct addr addr;

		/* An IPv4-mapped address in an AAAA record is not what an AAAA record is for. */
		if (addr_from_sockaddr(node->ai_addr, &addr) || addr.family != family)
			continue;
		reply->records++;
		ttl = resolve_channel_lower(ttl, node->ai_ttl);
		if (addr_is_loopback(&addr) || addr_is_unspecified(&addr))
			reply->own++;
		else
			resolve_channel_keep(reply, &addr);
	}
	/* RFC 2181 section 8: a TTL with the highest bit set is zero. */
	reply->ttl_ms = (int64_t)(ttl < TTL_LEAST ? TTL_LEAST : ttl) * 1000;
}

static enum resolve_outcome resolve_channel_outcome(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return OUTCOME_ADDRESSES;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_EBADNAME: /* what is no name does not exist */
		return OUTCOME_NOTHING;
	default:
		return OUTCOME_FAILURE;
	}
}

static void resolve_channel_answered(void *owner, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolve_question *question = owner;
	struct resolve_reply reply;

	reply.outcome = resolve_channel_outcome(status);
	reply.error = reply.outcome == OUTCOME_FAILURE ? ares_strerror(status) : NULL;
	reply.ttl_ms = 0;
	reply.records = reply.own = reply.count = 0;
	if (info && status == ARES_SUCCESS)
		resolve_channel_collect(info, question->family, &reply);
	if (info)
		ares_freeaddrinfo(info);
	if (reply.outcome == OUTCOME_ADDRESSES && !reply.count)
		reply.outcome = OUTCOME_NOTHING; /* an alias and nothing behind it, say */
	question->channel->under_way--;
	question->asked = false;
	question->answered(question, &reply);
}

/* --- asking --- */

static void resolve_channel_send(struct resolve_channel *channel, struct resolve_question *question)
{
	const struct ares_addrinfo_hints hints = {.ai_family = question->family, .ai_flags = ARES_AI_NOSORT};
	size_t length = strlen(question->name);
	char text[NAME_MOST + 2];

	channel->under_way++;
	question->asked = true;
	if (length > NAME_MOST) {
		resolve_channel_answered(question, ARES_EBADNAME, 0, NULL);
		return;
	}
	/* With a dot at the end no search domain is tried, and nothing looks like an address. */
	snprintf(text, sizeof text, "%s%s", question->name, length && question->name[length - 1] == '.' ? "" : ".");
	ares_getaddrinfo(channel->ares, text, NULL, &hints, resolve_channel_answered, question);
}

bool resolve_channel_withdraw(struct resolve_question *question)
{
	if (question->link) {
		*question->link = question->next;
		if (question->next)
			question->next->link = question->link;
		else
			question->channel->last = question->link;
		question->link = NULL;
	}
	return !question->asked;
}

/* After whatever may have ended or added work. */
static void resolve_channel_settle(struct resolve_channel *channel)
{
	struct timeval wait;

	while (channel->first && channel->under_way < UNDER_WAY_MOST) {
		struct resolve_question *question = channel->first;

		resolve_channel_withdraw(question);
		resolve_channel_send(channel, question);
	}
	if (ares_timeout(channel->ares, NULL, &wait))
		wheel_arm(loop_wheel(channel->loop), &channel->timer,
		          loop_now(channel->loop) + (int64_t)wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1);
	else
		wheel_cancel(loop_wheel(channel->loop), &channel->timer);
}

void resolve_channel_ask(struct resolve_channel *channel, struct resolve_question *question)
{
	question->channel = channel;
	question->next = NULL;
	question->link = channel->last;
	*channel->last = question;
	channel->last = &question->next;
	resolve_channel_settle(channel);
}

static void resolve_channel_expired(struct wheel_timer *timer)
{
	struct resolve_channel *channel = resolve_channel_container(timer, resolve_channel, timer);

	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolve_channel_settle(channel);
}

/* --- the sockets of c-ares --- */

static void resolve_channel_ready(struct loop_source *source, uint32_t events)
{
	struct resolve_channel *channel = resolve_channel_container(source, resolve_socket, source)->channel;
	const uint32_t failed = EPOLLERR | EPOLLHUP;
	ares_socket_t fd = source->fd;

	ares_process_fd(channel->ares, events & (EPOLLIN | failed) ? fd : ARES_SOCKET_BAD,
	                events & (EPOLLOUT | failed) ? fd : ARES_SOCKET_BAD);
	resolve_channel_settle(channel);
}

static void resolve_channel_swept(struct loop_deferred *deferred)
{
	free(resolve_channel_container(deferred, resolve_socket, deferred));
}

/* c-ares is about to close the descriptor. */
static void resolve_channel_drop(struct resolve_channel *channel, struct resolve_socket **link)
{
	struct resolve_socket *socket = *link;

	*link = socket->next;
	(void)loop_watch(channel->loop, &socket->source, 0);
	socket->source.fd = -1;
	socket->deferred.run = resolve_channel_swept;
	loop_defer(channel->loop, &socket->deferred);
}

/* When memory is short nobody watches the socket, and what was asked through it times out. */
static void resolve_channel_watch(void *owner, ares_socket_t fd, int readable, int writable)
{
	struct resolve_channel *channel = owner;
	uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
	struct resolve_socket **link = &channel->sockets;

	while (*link && (*link)->source.fd != fd)
		link = &(*link)->next;
	if (!events) {
		if (*link)
			resolve_channel_drop(channel, link);
		return;
	}
	if (!*link) {
		*link = calloc(1, sizeof **link);
		if (!*link)
			return;
		(*link)->channel = channel;
		(*link)->source = (struct loop_source){.ready = resolve_channel_ready, .fd = fd};
	}
	(void)loop_watch(channel->loop, &(*link)->source, events);
}

/* --- beginning and end --- */

int resolve_channel_new(struct resolve_channel **out, struct loop *loop)
{
	struct resolve_channel *channel = calloc(1, sizeof *channel);
	char lookups[] = "b"; /* DNS alone: /etc/hosts of a pod names the pod */
	struct ares_options options = {
	    .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
	    .timeout = TRY_MS,
	    .tries = TRIES,
	    .lookups = lookups,
	    .sock_state_cb = resolve_channel_watch,
	    .sock_state_cb_data = channel,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB, status;

	if (!channel)
		return -ENOMEM;
	channel->loop = loop;
	channel->timer.fire = resolve_channel_expired;
	channel->last = &channel->first;
#ifdef ARES_OPT_QUERY_CACHE
	mask |= ARES_OPT_QUERY_CACHE; /* of lifetime 0: when to ask is not for c-ares to decide */
#endif
	status = ares_init_options(&channel->ares, &options, mask);
	if (status != ARES_SUCCESS) {
		free(channel);
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	}
	*out = channel;
	return 0;
}

int resolve_channel_use_server(struct resolve_channel *channel, const struct addr *server)
{
	char text[ADDR_TEXT_SIZE];

	switch (ares_set_servers_ports_csv(channel->ares, addr_format(server, text))) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOMEM:
		return -ENOMEM;
	case ARES_ENOTIMP: /* something is under way */
		return -EBUSY;
	default:
		return -EINVAL;
	}
}

void resolve_channel_free(struct resolve_channel *channel)
{
	ares_destroy(channel->ares);
	wheel_cancel(loop_wheel(channel->loop), &channel->timer);
	free(channel);
}

void resolve_channel_library(struct text *out)
{
	text_string(out, ares_version(NULL));
}
