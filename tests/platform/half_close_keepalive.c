/* A half-closed connection and conntrack: keep-alive probes keep its entry; without them it is forgotten after close_wait, and
 * what the redirected side then says reaches nobody. Both ways round: the client finished first, the proxy finished first. */
#include "platform.h"
#include <linux/netfilter_ipv4.h>
#include <netinet/tcp.h>

struct pair {
	int client, server;
	bool keepalive, client_first;
};

static struct pair make_pair(int listener, bool keepalive, bool client_first)
{
	int one = 1;
	struct pair pair = {.client = connect_to("10.9.9.9", 80), .keepalive = keepalive, .client_first = client_first};
	pair.server = accept_from(listener);
	NEED(pair.server >= 0);
	if (keepalive) {
		NEED(setsockopt(pair.server, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) == 0);
		NEED(setsockopt(pair.server, IPPROTO_TCP, TCP_KEEPIDLE, &one, sizeof one) == 0);
		NEED(setsockopt(pair.server, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof one) == 0);
	}
	NEED(carries(pair.client, pair.server, "question"));
	NEED(shutdown(client_first ? pair.client : pair.server, SHUT_WR) == 0);
	return pair;
}

static bool remembered(const struct pair *pair)
{
	struct sockaddr_in dst;
	socklen_t n = sizeof dst;
	return getsockopt(pair->server, SOL_IP, SO_ORIGINAL_DST, &dst, &n) == 0;
}

/* The side that had not finished does so now: does the other see it? */
static bool end_arrives(const struct pair *pair)
{
	char got[64];
	if (pair->client_first)
		return carries(pair->server, pair->client, "late answer");
	shutdown(pair->client, SHUT_WR);
	return readable_within(pair->server, 700) && read(pair->server, got, sizeof got) == 0;
}

static void judge(struct platform *p, const char *name, const struct pair *pair)
{
	bool known = remembered(pair), arrived = end_arrives(pair);
	if (known == pair->keepalive && arrived == pair->keepalive)
		verdict(p, name, NULL);
	else
		verdict(p, name, "after 5 s conntrack %s the flow and the late end %s", known ? "knows" : "has forgotten",
			arrived ? "arrived" : "was lost");
}

int main(void)
{
	struct platform p = platform_begin("half_close_keepalive", true);
	new_netns();
	ip("addr add 10.9.0.1/32 dev lo\nroute add 10.9.9.0/24 dev lo src 10.9.0.1\n");
	nft("table inet t { chain o { type nat hook output priority -100;\nip daddr 10.9.9.9 tcp dport 80 redirect to :4140\n}\n}\n");
	NEED(put_file("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait", "3"));
	int listener = listen_at("0.0.0.0", 4140);
	struct pair kept_client_first = make_pair(listener, true, true), kept_proxy_first = make_pair(listener, true, false);
	struct pair lost_client_first = make_pair(listener, false, true), lost_proxy_first = make_pair(listener, false, false);
	sleep_ms(5000);
	judge(&p, "probes_keep_client_first", &kept_client_first);
	judge(&p, "probes_keep_proxy_first", &kept_proxy_first);
	judge(&p, "silence_loses_client_first", &lost_client_first);
	judge(&p, "silence_loses_proxy_first", &lost_proxy_first);
	return platform_end(&p);
}
