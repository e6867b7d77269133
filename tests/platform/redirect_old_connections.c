/* Redirect rules that match SYN only leave alone the connections made before them, in both directions; rules without that
 * match would take a live connection away mid-stream, since conntrack picks it up as new (tcp_loose). */
#include "platform.h"

#define SYN "tcp flags & (fin|syn|rst|ack) == syn "

struct direction {
	const char *name, *hook, *priority, *address;
	bool from_far;
};

struct pair {
	int client, server;
};

static struct pair make_pair(int client_ns, int home, const char *address, int listener)
{
	struct pair pair;
	enter_netns(client_ns);
	pair.client = connect_to(address, 8080);
	enter_netns(home);
	pair.server = accept_from(listener);
	return pair;
}

static bool alive(struct pair pair)
{
	return carries(pair.client, pair.server, "ping") && carries(pair.server, pair.client, "pong");
}

static void redirect(const struct direction *d, const char *match)
{
	char rules[256];
	snprintf(rules, sizeof rules, "table inet t { chain c { type nat hook %s priority %s;\n%stcp dport 8080 redirect to :4140\n}\n}\n",
		 d->hook, d->priority, match);
	nft(rules);
}

static void run(struct platform *p, const struct direction *d)
{
	char name[64];
	int near, far;
	veth_pair(&near, &far);
	/* The listener is where the connections really go; the proxy's port is where rules are. */
	enter_netns(d->from_far ? near : far);
	int app = listen_at("0.0.0.0", 8080);
	enter_netns(near);
	int proxy = listen_at("0.0.0.0", 4140), client_ns = d->from_far ? far : near;
	struct pair old = make_pair(client_ns, near, d->address, app), unlucky = make_pair(client_ns, near, d->address, app);
	NEED(alive(old) && alive(unlucky));

	redirect(d, SYN);
	struct pair young = make_pair(client_ns, near, d->address, proxy);
	snprintf(name, sizeof name, "%s_new_is_redirected", d->name);
	verdict(p, name, young.server >= 0 && alive(young) ? NULL : "it did not reach the proxy's port");
	snprintf(name, sizeof name, "%s_old_lives_on", d->name);
	verdict(p, name, alive(old) ? NULL : "its bytes no longer arrive");

	nft("delete table inet t\n");
	redirect(d, "");
	snprintf(name, sizeof name, "%s_without_syn_match_old_breaks", d->name);
	verdict(p, name, !alive(unlucky) ? NULL : "it lives on: on this kernel the match is not needed");
}

int main(void)
{
	struct platform p = platform_begin("redirect_old_connections", true);
	run(&p, &(struct direction){"outbound", "output", "-100", "10.9.0.2", false});
	run(&p, &(struct direction){"inbound", "prerouting", "-100", "10.9.0.1", true});
	return platform_end(&p);
}
