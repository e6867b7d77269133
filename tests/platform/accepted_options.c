/* An accepted connection has its listener's TCP_NODELAY and keep-alive, with a keep-alive timer that runs. */
#include "platform.h"

#include <netinet/tcp.h>

int main(void)
{
	struct platform p = platform_begin("accepted_options", true);
	static const struct {
		const char *name;
		int level, option, value;
	} rows[] = {
	    {"nodelay", IPPROTO_TCP, TCP_NODELAY, 1},         {"keepalive", SOL_SOCKET, SO_KEEPALIVE, 1},
	    {"keepalive_idle", IPPROTO_TCP, TCP_KEEPIDLE, 47}, {"keepalive_interval", IPPROTO_TCP, TCP_KEEPINTVL, 7},
	    {"keepalive_probes", IPPROTO_TCP, TCP_KEEPCNT, 5},
	};
	int near, far, listener;

	veth_pair(&near, &far);
	enter_netns(near);
	listener = listen_at("::", 8080);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		NEED(!setsockopt(listener, rows[i].level, rows[i].option, &rows[i].value, sizeof rows[i].value));
	enter_netns(far);
	int client = connect_to("10.9.0.1", 8080);
	enter_netns(near);
	int server = accept_from(listener);
	NEED(client >= 0 && server >= 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int value = 0;
		socklen_t length = sizeof value;
		NEED(!getsockopt(server, rows[i].level, rows[i].option, &value, &length));
		verdict(&p, rows[i].name, !value == !rows[i].value && (value == rows[i].value || rows[i].value == 1) ? NULL : "it is %d", value);
	}
	return platform_end(&p);
}
