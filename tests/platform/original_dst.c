/* SO_ORIGINAL_DST: what an unprivileged proxy learns from it, and when it learns nothing. */
#include "platform.h"
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#define NOBODY 65534

/* "10.9.9.9:80", or the name of the error. Asked by a process without any right. */
static void original_dst(int fd, int level, char out[static 64])
{
	int answer[2];
	NEED(pipe(answer) == 0);
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		char text[64] = "cannot drop rights";
		struct sockaddr_storage dst = {0};
		socklen_t n = sizeof dst;
		/* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST are both 80. */
		if (setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0) {
			if (getsockopt(fd, level, SO_ORIGINAL_DST, &dst, &n) == 0)
				address_text(&dst, text);
			else
				snprintf(text, sizeof text, "%s", strerrorname_np(errno));
		}
		_exit(write(answer[1], text, sizeof text) == sizeof text ? 0 : 1);
	}
	close(answer[1]);
	NEED(read(answer[0], out, 64) == 64);
	close(answer[0]);
	NEED(waitpid(child, NULL, 0) == child);
}

static void expect(struct platform *p, const char *name, int fd, int level, const char *wanted)
{
	char got[64];
	if (fd < 0) {
		verdict(p, name, "the connection did not reach the listener");
		return;
	}
	original_dst(fd, level, got);
	if (strcmp(got, wanted) == 0)
		verdict(p, name, NULL);
	else
		verdict(p, name, "wanted %s, got %s", wanted, got);
}

/* Half-closed, the flow has close_wait (1 s here) to live; its socket lives on. */
static void after_expiry(struct platform *p, int client, int server)
{
	char got[64] = "";
	NEED(put_file("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait", "1"));
	NEED(shutdown(client, SHUT_WR) == 0);
	int64_t start = now_ms();
	do {
		sleep_ms(100);
		original_dst(server, SOL_IP, got);
	} while (strcmp(got, "10.9.9.9:80") == 0 && now_ms() - start < 8000);
	if (strcmp(got, "ENOENT") == 0)
		verdict(p, "forgotten_flow_is_enoent", NULL);
	else
		verdict(p, "forgotten_flow_is_enoent", "8 s after the half-close it answers %s", got);
}

int main(void)
{
	struct platform p = platform_begin("original_dst", true);
	new_netns();
	ip("addr add 10.9.0.1/32 dev lo\nroute add 10.9.9.0/24 dev lo src 10.9.0.1\n"
	   "addr add fd09::1/128 dev lo nodad\nroute add fd09:9::/64 dev lo\n");
	int v4 = listen_at("0.0.0.0", 4141), both = listen_at("::", 4140), client = connect_to("127.0.0.1", 4140);
	expect(&p, "without_conntrack_is_enoent", accept_from(both), SOL_IP, "ENOENT");
	close(client);

	nft("table inet t { chain o { type nat hook output priority -100;\n"
	    "ip daddr 10.9.9.9 tcp dport 80 redirect to :4141\nip daddr 10.9.9.9 tcp dport 81 redirect to :4140\n"
	    "ip6 daddr fd09:9::9 tcp dport 80 redirect to :4140\n}\n}\n");
	client = connect_to("10.9.9.9", 80);
	int server = accept_from(v4);
	expect(&p, "ipv4", server, SOL_IP, "10.9.9.9:80");
	connect_to("10.9.9.9", 81);
	expect(&p, "ipv4_on_dual_stack_listener", accept_from(both), SOL_IP, "10.9.9.9:81");
	connect_to("fd09:9::9", 80);
	expect(&p, "ipv6", accept_from(both), SOL_IPV6, "[fd09:9::9]:80");
	/* A connection that nobody redirected is no error: it shows the listener's own address. */
	connect_to("127.0.0.1", 4141);
	expect(&p, "direct_ipv4_is_local_address", accept_from(v4), SOL_IP, "127.0.0.1:4141");
	connect_to("::1", 4140);
	expect(&p, "direct_ipv6_is_local_address", accept_from(both), SOL_IPV6, "[::1]:4140");
	after_expiry(&p, client, server);
	return platform_end(&p);
}
