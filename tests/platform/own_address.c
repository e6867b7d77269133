/* A connection to an own address goes by lo and never sees nat prerouting, whatever the address; a peer's does. */
#include "platform.h"

static bool arrives(int client_ns, int home, const char *address, int listener)
{
	enter_netns(client_ns);
	int client = connect_to(address, 8080);
	enter_netns(home);
	int server = accept_from(listener);
	close(client);
	if (server >= 0)
		close(server);
	return server >= 0;
}

int main(void)
{
	struct platform p = platform_begin("own_address", true);
	int near, far;
	veth_pair(&near, &far);
	int app = listen_at("::", 8080), proxy = listen_at("::", 4143);
	nft("table inet t { chain p { type nat hook prerouting priority -100;\ntcp dport 8080 redirect to :4143\n}\n}\n");
	const char *own[][2] = {{"own_ipv4_is_direct", "10.9.0.1"}, {"own_ipv6_is_direct", "fd09::1"},
				{"loopback_ipv4_is_direct", "127.0.0.1"}, {"loopback_ipv6_is_direct", "::1"}};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		verdict(&p, own[i][0], arrives(near, near, own[i][1], app) ? NULL : "it was redirected");
	verdict(&p, "peer_ipv4_is_redirected", arrives(far, near, "10.9.0.1", proxy) ? NULL : "it did not reach the proxy's port");
	verdict(&p, "peer_ipv6_is_redirected", arrives(far, near, "fd09::1", proxy) ? NULL : "it did not reach the proxy's port");
	return platform_end(&p);
}
