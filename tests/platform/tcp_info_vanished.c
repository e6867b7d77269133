/* What TCP_INFO says of a peer that was cut off, of one that merely stopped reading, and of one that did both: it tells a
 * vanished peer from a stalled one, where TCP_USER_TIMEOUT would end both. */
#include "platform.h"
#include <linux/tcp.h>

#define LIVE_PORT 9001
#define CUT_PORT 9002

struct leg {
	int near, far;
	struct tcp_info info;
};

static struct leg make_leg(int near_ns, int far_ns, uint16_t port)
{
	struct leg leg;
	int small = 4096;
	enter_netns(far_ns);
	int listener = listen_at("0.0.0.0", port);
	NEED(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
	enter_netns(near_ns);
	leg.near = connect_to("10.9.0.2", port);
	leg.far = accept_from(listener);
	NEED(leg.far >= 0 && fcntl(leg.near, F_SETFL, O_NONBLOCK) == 0);
	close(listener);
	return leg;
}

/* Writes until the peer's window and our buffer are full; a megabyte is more than both. */
static void fill(int fd)
{
	static const char block[65536];
	for (int still = 0; still < 3; still++) {
		while (write(fd, block, sizeof block) > 0)
			still = 0;
		sleep_ms(100);
	}
}

static void look(struct leg *leg)
{
	socklen_t n = sizeof leg->info;
	memset(&leg->info, 0, sizeof leg->info);
	NEED(getsockopt(leg->near, IPPROTO_TCP, TCP_INFO, &leg->info, &n) == 0);
}

static void judge(struct platform *p, const char *name, bool as_believed, const struct leg *leg)
{
	const struct tcp_info *i = &leg->info;
	fprintf(stderr, "%s/%s: unacked=%u last_ack_recv=%u ms retransmits=%u probes=%u backoff=%u rto=%u ms notsent=%u\n", p->program,
		name, i->tcpi_unacked, i->tcpi_last_ack_recv, i->tcpi_retransmits, i->tcpi_probes, i->tcpi_backoff,
		i->tcpi_rto / 1000, i->tcpi_notsent_bytes);
	verdict(p, name, as_believed ? NULL : "unacked=%u last_ack_recv=%u ms retransmits=%u probes=%u", i->tcpi_unacked,
		i->tcpi_last_ack_recv, i->tcpi_retransmits, i->tcpi_probes);
}

int main(void)
{
	struct platform p = platform_begin("tcp_info_vanished", true);
	int near, far;
	veth_pair(&near, &far);
	struct leg stalled = make_leg(near, far, LIVE_PORT), cut = make_leg(near, far, CUT_PORT), both = make_leg(near, far, CUT_PORT);
	fill(stalled.near);
	fill(both.near);
	enter_netns(far);
	nft("table inet t { chain i { type filter hook input priority 0;\ntcp dport 9002 drop\n}\n}\n");
	enter_netns(near);
	NEED(write(cut.near, "anybody there", 13) == 13);

	/* Seen every 100 ms: a stalled peer's answers restart both the probe count and the age of the last ACK. */
	unsigned most_probes = 0, oldest_ack = 0, unacked = 0;
	for (int64_t start = now_ms(); now_ms() - start < 7000; sleep_ms(100)) {
		look(&stalled);
		if (stalled.info.tcpi_probes > most_probes)
			most_probes = stalled.info.tcpi_probes;
		if (stalled.info.tcpi_last_ack_recv > oldest_ack)
			oldest_ack = stalled.info.tcpi_last_ack_recv;
		unacked |= stalled.info.tcpi_unacked;
	}
	look(&cut);
	look(&both);
	judge(&p, "cut_off_peer_shows",
	      cut.info.tcpi_unacked > 0 && cut.info.tcpi_last_ack_recv > 6000 && cut.info.tcpi_retransmits >= 3, &cut);
	judge(&p, "stalled_peer_answers_probes", most_probes <= 1 && oldest_ack < 6000, &stalled);
	judge(&p, "stalled_peer_has_nothing_unacknowledged", unacked == 0, &stalled);
	judge(&p, "cut_off_while_stalled_shows_probes", both.info.tcpi_probes >= 2 && both.info.tcpi_last_ack_recv > 6000, &both);
	return platform_end(&p);
}
