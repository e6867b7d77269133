#include "init/half_closed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

/* A flow from 10.0.0.1:5000 to 10.0.0.2:80, redirected to port 4143. */
static struct half_closed_flow redirected(enum conntrack_state state, uint32_t remaining)
{
	struct half_closed_flow flow = {.state = (uint8_t)state, .remaining = remaining};

	assert_int_equal(addr_parse("10.0.0.1:5000", &flow.client), 0);
	assert_int_equal(addr_parse("10.0.0.2:80", &flow.destination), 0);
	assert_int_equal(addr_parse("10.0.0.2:4143", &flow.answerer), 0);
	flow.answered = flow.client;
	return flow;
}

static void only_three_states_are_half_closed(void **state)
{
	for (unsigned i = 0; i <= UINT8_MAX; i++) {
		bool among = false;

		for (size_t j = 0; j < HALF_CLOSED_STATES; j++)
			among = among || half_closed_states[j] == i;
		assert_int_equal(half_closed_is(i), among);
		assert_int_equal(half_closed_state_name(i)[0] != '\0', among);
		assert_int_equal(half_closed_state_meaning(i)[0] != '\0', among);
	}
	assert_string_equal(half_closed_state_name(CONNTRACK_FIN_WAIT), "FIN_WAIT");
	assert_string_equal(half_closed_state_name(CONNTRACK_CLOSE_WAIT), "CLOSE_WAIT");
	assert_string_equal(half_closed_state_name(CONNTRACK_LAST_ACK), "LAST_ACK");
}

static void risk_by_state_and_lifetime(void **state)
{
	static const struct {
		enum conntrack_state state;
		uint32_t remaining;
		const char *risk;
	} rows[] = {
		{CONNTRACK_CLOSE_WAIT, 12, "forgotten in 12 s; a later FIN or RST is then lost"},
		{CONNTRACK_FIN_WAIT, 119, "forgotten in 119 s; a later FIN or RST is then lost"},
		{CONNTRACK_FIN_WAIT, 120, "forgotten in 2m; a later FIN or RST is then lost"},
		{CONNTRACK_CLOSE_WAIT, 3570, "forgotten in 59m30s; a later FIN or RST is then lost"},
		{CONNTRACK_LAST_ACK, 1, "forgotten in 1 s; a later FIN or RST is then lost"},
		{CONNTRACK_LAST_ACK, 0, "about to be forgotten; a later FIN or RST is then lost"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct half_closed_flow flow = redirected(rows[i].state, rows[i].remaining);
		TEXT_ON_STACK(risk, 256);

		half_closed_risk(&flow, &risk);
		assert_string_equal(risk.data, rows[i].risk);
	}
}

static void no_translation_no_loss(void **state)
{
	struct half_closed_flow flow = redirected(CONNTRACK_CLOSE_WAIT, 9);
	TEXT_ON_STACK(plain, 256);
	TEXT_ON_STACK(masqueraded, 256);

	assert_true(half_closed_is_redirected(&flow));
	assert_false(half_closed_is_masqueraded(&flow));
	flow.answerer = flow.destination;
	assert_false(half_closed_is_redirected(&flow));
	half_closed_risk(&flow, &plain);
	assert_string_equal(plain.data,
	                    "forgotten in 9 s; not translated, so what comes later arrives unless a rule drops invalid packets");
	flow.answered.port++;
	assert_true(half_closed_is_masqueraded(&flow));
	half_closed_risk(&flow, &masqueraded);
	assert_string_equal(masqueraded.data, "forgotten in 9 s; a later FIN or RST is then lost");
}

static void silence_is_what_is_certain(void **state)
{
	uint32_t seconds[CONNTRACK_STATE_COUNT] = {[CONNTRACK_CLOSE_WAIT] = 60, [CONNTRACK_FIN_WAIT] = 3600, [CONNTRACK_UNACK] = 300};
	static const struct {
		enum conntrack_state state;
		uint32_t remaining;
		bool unacknowledged;
		int64_t silent;
	} rows[] = {
		{CONNTRACK_CLOSE_WAIT, 60, false, 0},  {CONNTRACK_CLOSE_WAIT, 59, false, 0},   {CONNTRACK_CLOSE_WAIT, 12, false, 47},
		{CONNTRACK_CLOSE_WAIT, 0, false, 59},  {CONNTRACK_CLOSE_WAIT, 61, false, -1},  {CONNTRACK_LAST_ACK, 5, false, -1},
		{CONNTRACK_FIN_WAIT, 290, false, 3309}, {CONNTRACK_FIN_WAIT, 290, true, 9},     {CONNTRACK_FIN_WAIT, 301, true, -1},
		{CONNTRACK_CLOSE_WAIT, 50, true, 9},   {CONNTRACK_STATE_COUNT, 5, false, -1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct half_closed_flow flow = {.state = (uint8_t)rows[i].state, .remaining = rows[i].remaining,
		                                .unacknowledged = rows[i].unacknowledged};

		assert_int_equal(half_closed_silence(&flow, seconds), rows[i].silent);
	}
}

static void age_filters(void **state)
{
	static const struct {
		int64_t silent, min_age_ms;
		bool old;
	} rows[] = {{0, 0, true}, {0, 1, false}, {2, 2000, true}, {2, 2001, false}, {1, 2000, false}, {-1, 3600000, true}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct half_closed_flow flow = {.silent = rows[i].silent};

		assert_int_equal(half_closed_is_old(&flow, rows[i].min_age_ms), rows[i].old);
	}
}

static void same_whatever_the_state(void **state)
{
	static const int here, there;
	struct half_closed_flow a = redirected(CONNTRACK_FIN_WAIT, 100), b = redirected(CONNTRACK_CLOSE_WAIT, 50);

	assert_true(half_closed_same(&a, &b));
	assert_int_equal(half_closed_hash(&a), half_closed_hash(&b));
	b.client.port++;
	assert_false(half_closed_same(&a, &b));
	b = a;
	b.id++;
	assert_false(half_closed_same(&a, &b));
	b = a;
	b.zone++;
	assert_false(half_closed_same(&a, &b));
	b = a;
	a.place = (const void *)&here;
	b.place = (const void *)&there;
	assert_false(half_closed_same(&a, &b));
}

static void sooner_forgotten_comes_first(void **state)
{
	struct half_closed_flow flows[] = {{.remaining = 30}, {.remaining = 0}, {.remaining = UINT32_MAX}, {.remaining = 7}};

	qsort(flows, 4, sizeof *flows, half_closed_compare);
	assert_int_equal(flows[0].remaining, 0);
	assert_int_equal(flows[1].remaining, 7);
	assert_int_equal(flows[2].remaining, 30);
	assert_int_equal(flows[3].remaining, UINT32_MAX);
}

static void pods_of_cgroups(void **state)
{
	static const struct {
		const char *cgroup, *pod; /* NULL = none */
	} rows[] = {
		{"/kubepods/burstable/pod3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10/0123abcd", "3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10"},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f0c2a1e_77d0_4a51_9d0e_5b1f7c2d9e10.slice/"
		 "cri-containerd-0123.scope",
		 "3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10"},
		{"/../../kubepods-pod3f0c2a1e_77d0_4a51_9d0e_5b1f7c2d9e10.slice", "3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10"},
		{"/kubepods/besteffort/pod0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"},
		{"/machine.slice/libpod-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope", NULL},
		{"/kubepods/pod3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e1/x", NULL},
		{"/kubepods/pod3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10f/x", NULL},
		{"/kubepods/pod-------------------------------------------------------------------/x", NULL},
		{"pod0123456789abcdef0123456789abcdef", NULL},
		{"/system.slice/podman.service", NULL},
		{"/pod", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char pod[HALF_CLOSED_POD_SIZE] = "";

		assert_int_equal(half_closed_pod(rows[i].cgroup, pod), rows[i].pod != NULL);
		assert_string_equal(pod, rows[i].pod ? rows[i].pod : "");
	}
}

static void cgroup_files(void **state)
{
	static const struct {
		const char *lines, *path;
	} rows[] = {
		{"0::/init.scope\n", "/init.scope"},
		{"12:pids:/a\n4:cpu,cpuacct:/kubepods/podX\n1:name=systemd:/b\n0::/\n", "/kubepods/podX"},
		{"0::/odd\033[2J:name\n", "/odd?[2J:name"},
		{"0::/cut", "/cut"},
		{"no colon\n:\n", ""},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(path, 32);

		assert_string_equal(half_closed_cgroup(rows[i].lines, &path), rows[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_three_states_are_half_closed),
		cmocka_unit_test(risk_by_state_and_lifetime),
		cmocka_unit_test(no_translation_no_loss),
		cmocka_unit_test(silence_is_what_is_certain),
		cmocka_unit_test(age_filters),
		cmocka_unit_test(same_whatever_the_state),
		cmocka_unit_test(sooner_forgotten_comes_first),
		cmocka_unit_test(pods_of_cgroups),
		cmocka_unit_test(cgroup_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
