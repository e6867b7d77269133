#include "proxy/dns/resolve.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "tests/unit/proxy/dns_server.h"

/* The clock of everything in this process, c-ares included: a TTL does not take its time here. */
static int64_t clock_ahead_ms;

int clock_gettime(clockid_t id, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, id, now);

	now->tv_sec += (time_t)(clock_ahead_ms / 1000);
	now->tv_nsec += (long)(clock_ahead_ms % 1000) * 1000000;
	now->tv_sec += now->tv_nsec / 1000000000;
	now->tv_nsec %= 1000000000;
	return (int)result;
}

enum { TICK_MS = 1, TICKS_MOST = 3000 };

/* What a step waits for. Nothing = NULL, 0. */
struct expectation {
	const char *name;
	enum resolve_state state;
	size_t a, aaaa;
	int first; /* the number of the first address */
};

struct step {
	int64_t jump_ms; /* the clock jumps, then */
	const struct dns_row *rows;
	const char *const *want;
	bool release;
	int64_t hop_ms; /* jumps again with each tick without a question, `hops` times or until it is as expected */
	int hops;
	bool all_hops;
	struct expectation expected[6];
	const char *logged;
	int asks_least, asks_most; /* of the server */
	int ticks;                 /* to be waited through at least: nothing else comes */
	bool quiet;                /* changed() is not called */
	void (*also)(void);
};

static struct fixture {
	struct loop *loop;
	struct loop_source ticker;
	struct dns_server server;
	struct resolver *resolver;
	struct log *log;
	int log_fd;
	off_t logged_before;
	const struct step *steps;
	size_t count, at;
	bool begun, failed;
	int ticks, hops, changes, asks_before, queries_before, queries_seen;
	unsigned rounds;
} fix;

static void changed(void *owner)
{
	assert_ptr_equal(owner, &fix);
	fix.changes++;
}

static bool addresses_are(const struct expectation *expected, const struct addr *addresses, size_t count)
{
	if (count != expected->a + expected->aaaa)
		return false;
	for (size_t i = 0; i < count; i++) {
		bool a = i < expected->a;

		if (addresses[i].family != (a ? AF_INET : AF_INET6) || addresses[i].port)
			return false;
		if (i && i != expected->a && memcmp(addresses[i - 1].bytes, addresses[i].bytes, 16) >= 0)
			return false;
	}
	return !count ||
	       (addresses[0].bytes[addresses[0].family == AF_INET ? 2 : 14] << 8 |
	        addresses[0].bytes[addresses[0].family == AF_INET ? 3 : 15]) == expected->first;
}

static bool logged(const char *text)
{
	static char bytes[65536];
	ssize_t got = pread(fix.log_fd, bytes, sizeof bytes - 1, fix.logged_before);

	bytes[got < 0 ? 0 : got] = '\0';
	return strstr(bytes, text);
}

static bool met(const struct step *step)
{
	int asks = fix.server.asks - fix.asks_before;

	for (const struct expectation *expected = step->expected; expected->name; expected++) {
		const struct addr *addresses;
		size_t count;

		if (resolve_get(fix.resolver, expected->name, &addresses, &count) != expected->state ||
		    !addresses_are(expected, addresses, count))
			return false;
	}
	return (!step->logged || logged(step->logged)) && fix.ticks >= step->ticks &&
	       (!step->all_hops || fix.hops == step->hops) && asks >= step->asks_least &&
	       (!step->asks_most || asks <= step->asks_most) && (!step->quiet || !fix.changes);
}

static void jump(int64_t ms)
{
	clock_ahead_ms += ms;
	loop_wake(fix.loop);
}

static void begin(const struct step *step)
{
	size_t count = 0;

	fix.begun = true;
	fix.ticks = fix.hops = fix.changes = 0;
	fix.asks_before = fix.server.asks;
	fix.logged_before = lseek(fix.log_fd, 0, SEEK_END);
	if (step->rows)
		fix.server.rows = step->rows;
	while (step->want && step->want[count])
		count++;
	if (step->want)
		assert_int_equal(resolve_want(fix.resolver, step->want, count), 0);
	if (step->release)
		dns_server_release(&fix.server);
	if (step->also)
		step->also();
	jump(step->jump_ms);
}

static void idle(void *owner)
{
	fix.rounds++;
	while (fix.at < fix.count && fix.begun && met(&fix.steps[fix.at])) {
		fix.begun = false;
		fix.at++;
	}
	if (fix.at == fix.count)
		loop_stop(fix.loop);
	else if (!fix.begun)
		begin(&fix.steps[fix.at]);
}

static void ticked(struct loop_source *source, uint32_t events)
{
	const struct step *step = &fix.steps[fix.at];
	uint64_t count;

	assert(read(source->fd, &count, sizeof count) == sizeof count);
	if (++fix.ticks > TICKS_MOST) {
		fix.failed = true;
		loop_stop(fix.loop);
	} else if (fix.begun && step->hop_ms && fix.hops < step->hops && fix.server.queries == fix.queries_seen) {
		fix.hops++;
		jump(step->hop_ms);
	}
	fix.queries_seen = fix.server.queries;
}

static void set_up(void)
{
	const struct itimerspec tick = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};

	fix = (struct fixture){.log_fd = memfd_create("log", MFD_CLOEXEC)};
	assert_int_equal(loop_new(&fix.loop, idle, NULL), 0);
	assert_int_equal(log_new(&fix.log, fix.log_fd, LOG_TEXT, LOG_DEBUG, 0), 0);
	fix.ticker = (struct loop_source){.ready = ticked, .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
	assert_int_equal(timerfd_settime(fix.ticker.fd, 0, &tick, NULL), 0);
	assert_int_equal(loop_watch(fix.loop, &fix.ticker, EPOLLIN), 0);
	dns_server_open(&fix.server, fix.loop);
	assert_int_equal(resolve_new(&fix.resolver, fix.loop, fix.log, changed, &fix), 0);
	assert_int_equal(resolve_use_server(fix.resolver, &fix.server.addr), 0);
}

static void tear_down(void)
{
	resolve_free(fix.resolver);
	dns_server_close(&fix.server);
	loop_close(fix.loop, &fix.ticker);
	loop_free(fix.loop);
	log_free(fix.log);
	close(fix.log_fd);
}

static void describe(const struct step *step)
{
	for (const struct expectation *expected = step->expected; expected->name; expected++) {
		const struct addr *addresses;
		size_t count;
		enum resolve_state state = resolve_get(fix.resolver, expected->name, &addresses, &count);

		print_message("\"%.40s\": state %d, %zu addresses\n", expected->name, state, count);
	}
	(void)logged("");
	print_message("asks %d, changes %d, log \"%s\"\n", fix.server.asks - fix.asks_before, fix.changes,
	              logged("") ? "" : "none");
}

/* Goes through the steps, each within its time. */
static void go(const struct step *steps, size_t count)
{
	fix.steps = steps;
	fix.count = count;
	loop_run(fix.loop);
	if (fix.failed) {
		describe(&steps[fix.at]);
		fail_msg("step %zu did not come about", fix.at);
	}
}

static void run(const struct step *steps, size_t count)
{
	set_up();
	go(steps, count);
	tear_down();
}

#define RUN(steps) run(steps, sizeof(steps) / sizeof *(steps))
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ROWS(...) ((const struct dns_row[]){__VA_ARGS__, {"*", DNS_NXDOMAIN}})

#define WEB "web.default.svc.cluster.local"
#define API "api.default.svc.cluster.local"
#define DB "db.default.svc.cluster.local"

static void answers(void **state)
{
	char longest[255], longer[300];

	memset(longer, 'a', sizeof longer);
	longer[299] = '\0';
	memset(longest, 'b', sizeof longest);
	for (size_t i = 49; i < 250; i += 50)
		longest[i] = '.';
	longest[253] = '\0';
	const struct step steps[] = {
		{
			.rows = ROWS({WEB, .ttl = 30, .a = 3, .aaaa = 2, .first = 5, .rotated = 2},
		                     {API, .ttl = 30, .a = 1, .first = 7, .alias = "other.example", .alias_ttl = 30},
		                     {DB, .ttl = 30, .alias = "nothing.example", .alias_ttl = 30},
		                     {"six", .ttl = 30, .aaaa = 6, .twice = true, .first = 600},
		                     {"10.0.0.1", .ttl = 30, .a = 1, .first = 9},
		                     {longest, .ttl = 30, .a = 1, .first = 11}),
			.want = NAMES(WEB, API, DB, WEB, "none", "six", "10.0.0.1", "10.0.0.2", "", "a..b", longer, longest,
			              "dot."),
			.expected = {{WEB, RESOLVE_FOUND, 3, 2, 5},
		                     {API, RESOLVE_FOUND, 1, 0, 7},
		                     {DB, RESOLVE_ABSENT},
		                     {"none", RESOLVE_ABSENT},
		                     {"six", RESOLVE_FOUND, 0, 3, 600}},
		},
		{
			.expected = {{"10.0.0.1", RESOLVE_FOUND, 1, 0, 9},
		                     {"10.0.0.2", RESOLVE_ABSENT},
		                     {"", RESOLVE_ABSENT},
		                     {"a..b", RESOLVE_ABSENT},
		                     {longer, RESOLVE_ABSENT}},
		},
		{.expected = {{longest, RESOLVE_FOUND, 1, 0, 11}, {"dot.", RESOLVE_ABSENT}, {"never wanted", RESOLVE_PENDING}}},
	};

	RUN(steps);
}

/* The search domains of /etc/resolv.conf are no business of a full name, and a name that does not exist is asked for once. */
static void one_question_each(void **state)
{
	const struct step steps[] = {
		{.rows = ROWS({"only", .ttl = 30, .a = 1, .first = 1}), .want = NAMES("none", "none"), .expected = {{"none", RESOLVE_ABSENT}}, .ticks = 5},
	};

	set_up();
	go(steps, 1);
	assert_int_equal(fix.server.queries, 2);
	tear_down();
}

static void note_queries(void)
{
	fix.queries_before = fix.server.queries;
}

/* Addresses of this very host are left out and told of once. */
static void own_addresses_are_left_out(void **state)
{
	static const struct dns_row some[] = {{WEB, .ttl = 1, .a = 3, .first = 1, .own = 1}, {"*", DNS_NXDOMAIN}};
	static const char said[] = WEB ": 1 of 3 A records are of loopback or unspecified";
	const struct step steps[] = {
		{.rows = some, .want = NAMES(WEB), .expected = {{WEB, RESOLVE_FOUND, 2, 0, 2}}, .ticks = 3, .logged = said},
		{.rows = some, .jump_ms = 1000, .expected = {{WEB, RESOLVE_FOUND, 2, 0, 2}}, .asks_least = 1, .ticks = 5, .quiet = true},
		{.rows = ROWS({WEB, .ttl = 1, .a = 2, .first = 1, .own = 2}), .jump_ms = 1000, .expected = {{WEB, RESOLVE_ABSENT}}},
		{.rows = ROWS({WEB, .ttl = 1, .a = 1, .first = 7}), .hop_ms = 1000, .hops = 62, .expected = {{WEB, RESOLVE_FOUND, 1, 0, 7}},
	         .logged = "no A record leads back to this host any more"},
	};

	set_up();
	go(steps, sizeof steps / sizeof *steps);
	tear_down();
}

static void follows_ttl(void **state)
{
	static const struct dns_row before[] = {{WEB, .ttl = 1, .a = 3, .first = 1}, {"*", DNS_NXDOMAIN}};
	const struct step steps[] = {
		{.rows = before, .want = NAMES(WEB), .expected = {{WEB, RESOLVE_FOUND, 3, 0, 1}}, .ticks = 3},
		/* another order is the same answer */
		{.rows = ROWS({WEB, .ttl = 1, .a = 3, .first = 1, .rotated = 1}),
	         .jump_ms = 1000,
	         .expected = {{WEB, RESOLVE_FOUND, 3, 0, 1}},
	         .asks_least = 1,
	         .ticks = 5,
	         .quiet = true},
		{.rows = ROWS({WEB, .ttl = 100, .a = 3, .first = 2}), .jump_ms = 1000, .expected = {{WEB, RESOLVE_FOUND, 3, 0, 2}}},
		/* nobody asks before its time */
		{.rows = before, .jump_ms = 98000, .expected = {{WEB, RESOLVE_FOUND, 3, 0, 2}}, .ticks = 10, .quiet = true},
		/* the other family is found when it is asked for again, within a minute */
		{.rows = ROWS({WEB, .ttl = 0, .aaaa = 2, .first = 9}),
	         .hop_ms = 1000,
	         .hops = 62,
	         .expected = {{WEB, RESOLVE_FOUND, 0, 2, 9}}},
		/* gone */
		{.rows = ROWS({API}), .jump_ms = 1000, .expected = {{WEB, RESOLVE_ABSENT}}},
		/* and back; an alias counts for less than the address behind it, an hour is the most */
		{.rows = ROWS({WEB, .ttl = 100000, .a = 1, .first = 3, .alias = "x.example", .alias_ttl = 5}),
	         .hop_ms = 1000,
	         .hops = 62,
	         .expected = {{WEB, RESOLVE_FOUND, 1, 0, 3}}},
		{.rows = ROWS({WEB, .ttl = 0x7fffffff, .a = 1, .first = 4}),
	         .jump_ms = 5000,
	         .expected = {{WEB, RESOLVE_FOUND, 1, 0, 4}}},
		{.rows = ROWS({WEB, .ttl = 0xffffffff, .a = 1, .first = 5}),
	         .jump_ms = 3600000,
	         .expected = {{WEB, RESOLVE_FOUND, 1, 0, 5}}},
		{.rows = ROWS({WEB, .ttl = 0, .a = 1, .first = 6}), .jump_ms = 1000, .expected = {{WEB, RESOLVE_FOUND, 1, 0, 6}}},
		{.expected = {{WEB, RESOLVE_FOUND, 1, 0, 6}}, .ticks = 10, .also = note_queries},
	};

	set_up();
	go(steps, sizeof steps / sizeof *steps);
	assert_in_range(fix.server.queries, fix.queries_before, fix.queries_before + 1); /* not without a rest */
	tear_down();
}

static void failure_keeps_answer(void **state)
{
	static const struct dns_row fails[] = {{"*", DNS_SERVFAIL}}, refuses[] = {{"*", DNS_REFUSED}};
	const struct step steps[] = {
		{.rows = ROWS({WEB, .ttl = 1, .a = 2, .aaaa = 1, .first = 1}),
	         .want = NAMES(WEB, API),
	         .expected = {{WEB, RESOLVE_FOUND, 2, 1, 1}, {API, RESOLVE_ABSENT}}},
		{.rows = fails,
	         .jump_ms = 1000,
	         .expected = {{WEB, RESOLVE_FOUND, 2, 1, 1}},
	         .logged = "level=warn msg=\"DNS fails; the addresses of the last answer are used meanwhile\" name=" WEB,
	         .quiet = true},
		/* "does not exist" is an answer too */
		{.rows = refuses,
	         .jump_ms = 5000,
	         .expected = {{WEB, RESOLVE_FOUND, 2, 1, 1}, {API, RESOLVE_ABSENT}},
	         .logged = API,
	         .quiet = true},
		{.rows = ROWS({WEB, .ttl = 1, .a = 2, .aaaa = 1, .first = 4}),
	         .jump_ms = 60000,
	         .expected = {{WEB, RESOLVE_FOUND, 2, 1, 4}},
	         .logged = "level=info msg=\"DNS answers again\" name=" WEB},
		/* one family alone fails */
		{.rows = ROWS({WEB, .ttl = 1, .a = 2, .aaaa = 1, .first = 6, .aaaa_how = DNS_SERVFAIL}),
	         .jump_ms = 1000,
	         .expected = {{WEB, RESOLVE_FOUND, 2, 1, 6}},
	         .logged = "record=AAAA"},
	};

	RUN(steps);
}

static void fails_without_answer(void **state)
{
	static const enum dns_how hows[] = {DNS_SERVFAIL, DNS_REFUSED, DNS_CUT, DNS_LENGTH,
	                                    DNS_LOOP, DNS_NOISE, DNS_OTHER, DNS_SILENT};

	for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
		const struct step steps[] = {
			{.rows = ROWS({WEB, hows[i], .ttl = 30, .a = 2, .aaaa = 2, .first = 1}, {API, .ttl = 1, .a = 1, .first = 1},
		                       {DB, .ttl = 1, .aaaa_how = DNS_SERVFAIL}),
		         .want = NAMES(WEB, API, DB),
		         .expected = {{WEB, RESOLVE_FAILED}, {API, RESOLVE_FOUND, 1, 0, 1}, {DB, RESOLVE_FAILED}},
		         .hop_ms = 20000,
		         .hops = 1000,
		         .logged = "level=warn msg=\"DNS fails; the name has no addresses meanwhile\" name=" WEB},
			{.rows = ROWS({WEB, .ttl = 30, .a = 1, .first = 8}),
		         .hop_ms = 1000,
		         .hops = 1000,
		         .expected = {{WEB, RESOLVE_FOUND, 1, 0, 8}},
		         .logged = "DNS answers again"},
		};

		RUN(steps);
	}
}

static void mapped_is_no_address(void **state)
{
	const struct step steps[] = {{.rows = ROWS({WEB, DNS_MAPPED, .ttl = 30, .aaaa = 1, .first = 1}), .want = NAMES(WEB), .expected = {{WEB, RESOLVE_ABSENT}}}};

	RUN(steps);
}

static void waits_grow(void **state)
{
	/* the TTL of an alias with nothing behind it says nothing */
	const struct step absent[] = {
		{.want = NAMES(WEB), .rows = ROWS({WEB, .alias = API, .alias_ttl = 1}), .expected = {{WEB, RESOLVE_ABSENT}}},
		/* 5, 15, 35, 75, 135, 195 s */
		{.hop_ms = 1000,
	         .hops = 230,
	         .all_hops = true,
	         .asks_least = 6,
	         .asks_most = 8,
	         .expected = {{WEB, RESOLVE_ABSENT}},
	         .quiet = true},
	};
	static const struct dns_row fails[] = {{"*", DNS_SERVFAIL}};
	const struct step failing[] = {
		{.want = NAMES(WEB), .rows = fails, .expected = {{WEB, RESOLVE_FAILED}}},
		/* 1, 3, 7, 15, 31, 61, 91, 121, 151 s */
		{.hop_ms = 1000,
	         .hops = 170,
	         .all_hops = true,
	         .asks_least = 8,
	         .asks_most = 14,
	         .expected = {{WEB, RESOLVE_FAILED}},
	         .quiet = true},
	};

	RUN(absent);
	set_up();
	go(failing, 2);
	assert_false(logged("DNS fails")); /* said once, in the step before */
	tear_down();
}

static void many_addresses(void **state)
{
	const struct step steps[] = {
		{.rows = ROWS({WEB, DNS_TRUNCATED, .ttl = 1, .a = 500, .aaaa = 100, .first = 1, .rotated = 77}),
	         .want = NAMES(WEB),
	         .expected = {{WEB, RESOLVE_FOUND, 64, 64, 1}},
	         .logged = "level=debug msg=\"DNS: " WEB " has 500 A records, the lowest 64 addresses are used\""},
		{.rows = ROWS({WEB, DNS_TRUNCATED, .ttl = 1, .a = 500, .aaaa = 100, .first = 1, .rotated = 3}),
	         .jump_ms = 1000,
	         .expected = {{WEB, RESOLVE_FOUND, 64, 64, 1}},
	         .asks_least = 1,
	         .ticks = 10,
	         .quiet = true},
		{.rows = ROWS({WEB, .ttl = 1, .a = 2, .first = 250}),
	         .jump_ms = 1000,
	         .expected = {{WEB, RESOLVE_FOUND, 2, 0, 250}}},
	};

	set_up();
	go(steps, 3);
	assert_true(fix.server.tcp_queries >= 4);
	tear_down();
}

static void forgets(void **state)
{
	static const struct dns_row held[] = {{"*", DNS_HELD, .ttl = 30, .a = 1, .first = 1}};
	const struct step steps[] = {
		{.rows = held, .want = NAMES(WEB, API, DB), .asks_least = 1, .ticks = 5, .expected = {{WEB, RESOLVE_PENDING}}},
		/* WEB goes and comes again: the late answer is for the one before */
		{.want = NAMES(API), .expected = {{WEB, RESOLVE_PENDING}}},
		{.want = NAMES(API, WEB),
	         .release = true,
	         .expected = {{API, RESOLVE_FOUND, 1, 0, 1}, {DB, RESOLVE_PENDING}},
	         .ticks = 5},
		{.release = true, .expected = {{API, RESOLVE_FOUND, 1, 0, 1}, {WEB, RESOLVE_FOUND, 1, 0, 1}}},
		/* those that stay keep their answers, and are not asked for again */
		{.want = NAMES(WEB),
	         .expected = {{WEB, RESOLVE_FOUND, 1, 0, 1}, {API, RESOLVE_PENDING}},
	         .ticks = 5,
	         .quiet = true},
		{.jump_ms = 2000, .want = NAMES(DB), .expected = {{WEB, RESOLVE_PENDING}}, .asks_least = 1},
	};

	RUN(steps); /* the end comes while DB is under way */
}

static void at_most_64_under_way(void **state)
{
	static const struct dns_row held[] = {{"*", DNS_HELD, .ttl = 30, .a = 1, .first = 1}};
	static const struct dns_row free_again[] = {{"*", DNS_ANSWER, .ttl = 30, .a = 1, .first = 1}};
	static char texts[200][16];
	const char *names[201] = {NULL};
	const struct step waiting[] = {{.rows = held, .want = names, .ticks = 10}, {.want = names + 10, .ticks = 2}};
	const struct step served[] = {{.rows = free_again,
	                               .release = true,
	                               .expected = {{"n000", RESOLVE_PENDING},
	                                            {"n010", RESOLVE_FOUND, 1, 0, 1},
	                                            {"n199", RESOLVE_FOUND, 1, 0, 1}}}};
	struct step both[] = {waiting[0], waiting[1], served[0]};

	for (size_t i = 0; i < 200; i++) {
		snprintf(texts[i], sizeof texts[i], "n%03zu", i);
		names[i] = texts[i];
	}
	set_up();
	go(both, 3);
	assert_in_range(fix.server.queries, 380, 400);
	assert_in_range(fix.server.held_count, 0, 64);
	tear_down();

	set_up();
	go(waiting, 2);
	assert_int_equal(fix.server.held_count, 64);
	assert_int_equal(fix.server.queries, 64);
	tear_down(); /* with a queue */
}

static void close_server(void)
{
	loop_close(fix.loop, &fix.server.udp);
	loop_close(fix.loop, &fix.server.listener);
}

static void nobody_listens(void **state)
{
	const struct step steps[] = {
		{.also = close_server},
		{.want = NAMES(WEB), .expected = {{WEB, RESOLVE_FAILED}}, .logged = "level=warn"},
		{.ticks = 25, .expected = {{WEB, RESOLVE_FAILED}}, .quiet = true},
	};

	set_up();
	go(steps, 3);
	assert_true(fix.rounds < 200); /* it rests between its tries */
	tear_down();
}

static void want_and_get(void **state)
{
	const struct addr *addresses = NULL;
	const struct addr none = {.family = AF_UNSPEC};
	size_t count = 1;

	set_up();
	assert_int_equal(resolve_get(fix.resolver, WEB, &addresses, &count), RESOLVE_PENDING);
	assert_int_equal(count, 0);
	assert_int_equal(resolve_want(fix.resolver, NULL, 0), 0);
	assert_int_equal(resolve_want(fix.resolver, NAMES(WEB, WEB), 2), 0);
	assert_int_equal(resolve_want(fix.resolver, NULL, 0), 0);
	assert_int_equal(resolve_use_server(fix.resolver, &none), -EINVAL);
	assert_int_equal(resolve_want(fix.resolver, NAMES(WEB), 1), 0);
	tear_down(); /* before the first turn */
	resolve_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(one_question_each),
		cmocka_unit_test(own_addresses_are_left_out),
		cmocka_unit_test(follows_ttl),
		cmocka_unit_test(failure_keeps_answer),
		cmocka_unit_test(fails_without_answer),
		cmocka_unit_test(mapped_is_no_address),
		cmocka_unit_test(waits_grow),
		cmocka_unit_test(many_addresses),
		cmocka_unit_test(forgets),
		cmocka_unit_test(at_most_64_under_way),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(want_and_get),
	};

	setenv("LOCALDOMAIN", "search.example", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
