#include "proxy/policy/route_table.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/proxy/routes.h"

/* One match of one rule of one route. "" and 0 are what a file leaves out, but for the path. */
struct row {
	enum kind kind;
	const char *namespace, *name;
	int created;      /* 0 = not said */
	const char *host; /* of an Ingress: its rule's */
	const char *path; /* "=/exact", "/prefix", "~regex"; GRPCRoute: "service/method" */
	const char *method;
	int headers, queries; /* h1: v, h2: v …; q1=v … */
};

#define HTTP KIND_HTTP_ROUTE, "default"
#define GRPC KIND_GRPC_ROUTE, "default"
#define INGRESS KIND_INGRESS, "default"

static const char *given(const char *text)
{
	return text && *text ? text : NULL;
}

static void fill_match(struct arena *arena, const struct row *row, struct route_match *match)
{
	static const struct value_match headers[] = {{"h1", VALUE_EXACT, "v"}, {"h2", VALUE_EXACT, "v"}, {"h3", VALUE_EXACT, "v"}};
	static const struct value_match queries[] = {{"q1", VALUE_EXACT, "v"}, {"q2", VALUE_EXACT, "v"}, {"q3", VALUE_EXACT, "v"}};

	match->method = given(row->method);
	match->headers = headers;
	match->header_count = (size_t)row->headers;
	match->queries = queries;
	match->query_count = (size_t)row->queries;
	if (row->kind == KIND_GRPC_ROUTE) {
		const char *slash = strchr(row->path, '/');
		match->grpc_service = given(arena_text(arena, row->path, (size_t)(slash - row->path)));
		match->grpc_method = given(slash + 1);
	} else {
		match->path_type = *row->path == '=' ? PATH_EXACT : *row->path == '~' ? PATH_REGEX : PATH_PREFIX;
		match->path = row->path + (match->path_type != PATH_PREFIX);
		if (match->path_type == PATH_REGEX)
			match->path_regex = routes_regex(arena, match->path);
	}
}

static struct route_entry entry_of(struct arena *arena, const struct row *row)
{
	struct route *route = arena_alloc(arena, sizeof *route);
	struct route_rule *rule = arena_alloc(arena, sizeof *rule);
	struct route_match *match = arena_alloc(arena, sizeof *match);

	fill_match(arena, row, match);
	rule->matches = match;
	rule->match_count = 1;
	route->object.kind = row->kind;
	route->object.namespace = row->namespace;
	route->object.name = row->name;
	route->object.created = row->created ? row->created : INT64_MAX;
	route->rules = rule;
	route->rule_count = 1;
	if (row->kind == KIND_INGRESS) {
		rule->host = given(row->host);
	} else if (given(row->host)) {
		route->hostnames = &row->host;
		route->hostname_count = 1;
	}
	return (struct route_entry){route, rule, row};
}

/* The row that takes the request, -1 for none, with the rows in the order given and in the opposite one. */
static int find(const struct row *rows, size_t count, const char *head)
{
	struct route_entry entries[16];
	struct route_request request;
	int answers[2];

	assert_true(count <= 16);
	assert_true(routes_read(&request, head, strlen(head)));
	for (int turned = 0; turned < 2; turned++) {
		struct route_found found = {0};
		struct arena arena = {0};

		for (size_t i = 0; i < count; i++)
			entries[turned ? count - 1 - i : i] = entry_of(&arena, &rows[i]);
		struct route_table *table = route_table_new(&arena, entries, count);
		assert_non_null(table);
		answers[turned] = route_table_find(table, &request, &found) ? (int)((const struct row *)found.payload - rows) : -1;
		if (answers[turned] >= 0)
			assert_ptr_equal(found.match, found.rule->matches);
		arena_free(&arena);
	}
	assert_int_equal(answers[0], answers[1]);
	return answers[0];
}

struct question {
	const char *line, *host, *fields;
	int answer;
};

static void check(const struct row *rows, size_t count, const struct question *questions, size_t question_count)
{
	for (size_t i = 0; i < question_count; i++) {
		const struct question *q = &questions[i];
		char head[1024];

		snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", q->line, q->host, q->fields ? q->fields : "");
		int answer = find(rows, count, head);
		if (answer != q->answer)
			fail_msg("%s to %s with \"%s\": row %d, expected %d", q->line, q->host, q->fields ? q->fields : "", answer,
			         q->answer);
	}
}

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CHECK(rows, questions) check(rows, COUNT(rows), questions, COUNT(questions))

static void hostname_goes_first(void **state)
{
	static const struct row rows[] = {
		{HTTP, "none", 1, "", "=/x", "GET", 3, 3},
		{HTTP, "wide", 2, "*.example.com", "=/x", "GET", 3, 2},
		{HTTP, "narrow", 3, "*.foo.example.com", "=/x", "GET", 3, 1},
		{HTTP, "whole", 4, "bar.foo.example.com", "", "", 0, 0},
		{HTTP, "short", 5, "a.b", "", "", 0, 0},
	};
#define ALL "h1: v\r\nh2: v\r\nh3: v\r\n"
	static const struct question questions[] = {
		{"GET /x?q1=v&q2=v&q3=v", "bar.foo.example.com", ALL, 3},
		{"GET /x?q1=v&q2=v&q3=v", "BAR.Foo.Example.COM.:8080", ALL, 3},
		{"GET /x?q1=v&q2=v&q3=v", "baz.foo.example.com", ALL, 2},
		{"GET /x?q1=v&q2=v&q3=v", "a.baz.foo.example.com", ALL, 2},
		{"GET /x?q1=v&q2=v&q3=v", "foo.example.com", ALL, 1},
		{"GET /x?q1=v&q2=v&q3=v", "example.com", ALL, 0},
		{"GET /x?q1=v&q2=v&q3=v", ".example.com", ALL, 0},
		{"GET /x?q1=v&q2=v&q3=v", "xexample.com", ALL, 0},
		{"GET /x?q1=v&q2=v&q3=v", "bar.foo.example.com.other", ALL, 0},
		{"GET /x?q1=v&q2=v&q3=v", "", ALL, 0},
		{"GET http://bar.foo.example.com/y", "bar.foo.example.com", NULL, 3},
		/* what the more specific hostname's matches refuse goes to the next */
		{"GET /x?q1=v&q2=v&q3=v", "baz.foo.example.com", "h1: v\r\nh2: v\r\n", -1},
		{"GET /x?q2=v&q1=v", "baz.foo.example.com", ALL, 2},
		{"GET /y", "baz.foo.example.com", ALL, -1},
		{"GET /", "a.b", NULL, 4},
	};

	CHECK(rows, questions);
}

static void path_goes_before_method(void **state)
{
	static const struct row rows[] = {
		{HTTP, "all", 0, "", "", "", 0, 0},
		{HTTP, "prefix", 0, "", "/foo", "GET", 3, 3},
		{HTTP, "longer", 0, "", "/foo/bar", "", 0, 0},
		{HTTP, "exact", 0, "", "=/foo/bar", "", 0, 0},
		{HTTP, "regex", 0, "", "~/foo/[a-z]{3}", "", 0, 0},
	};
	static const struct question questions[] = {
		{"GET /", "x", NULL, 0},
		{"GET /foo", "x", NULL, 0},
		{"GET /foo?q1=v&q2=v&q3=v", "x", ALL, 1},
		{"GET /foo/?q1=v&q2=v&q3=v", "x", ALL, 1},
		{"GET /foobar?q1=v&q2=v&q3=v", "x", ALL, 0},
		{"GET /foo/bar", "x", NULL, 3},
		/* the pattern is longer than the prefix */
		{"GET /foo/baz", "x", NULL, 4},
		{"GET /foo/bar/", "x", NULL, 2},
		{"GET /foo/bar/baz", "x", NULL, 2},
		{"GET /foo/bart", "x", NULL, 0},
		{"GET /FOO/bar", "x", NULL, 0},
		{"OPTIONS *", "x", NULL, 0},
		{"OPTIONS *a", "x", NULL, 0},
		{"CONNECT x:443", "x", NULL, 0},
	};

	CHECK(rows, questions);
}

/* The conformance test's: a method outweighs a header. */
static void method_goes_before_headers(void **state)
{
	static const struct row rows[] = {
		{HTTP, "post", 0, "", "", "POST", 0, 0}, {HTTP, "patch", 0, "", "", "PATCH", 0, 0},
		{HTTP, "one", 0, "", "", "", 1, 3}, {HTTP, "two", 0, "", "", "", 2, 0},
		{HTTP, "query", 0, "", "", "", 1, 0}, {HTTP, "both", 0, "", "", "POST", 1, 0},
	};
	static const struct question questions[] = {
		{"PATCH /?q1=v&q2=v&q3=v", "x", ALL, 1}, {"PATCH /", "x", NULL, 1}, {"POST /", "x", NULL, 0},
		{"POST /", "x", "H1: v\r\n", 5}, {"GET /", "x", "h1: v\r\n", 4}, {"GET /?q1=v&q2=v&q3=v", "x", "h1: v\r\n", 2},
		{"GET /?q1=v&q2=v&q3=v", "x", ALL, 3}, {"GET /", "x", "h2: v\r\n", -1},
	};

	CHECK(rows, questions);
}

static void age_and_name_break_ties(void **state)
{
	static const struct row ages[] = {{HTTP, "a", 0, "", "/x", "", 0, 0}, {HTTP, "b", 9, "", "/x", "", 0, 0},
	                                  {HTTP, "c", 8, "", "/x", "", 0, 0}};
	static const struct row names[] = {{HTTP, "b", 0, "", "/x", "", 0, 0}, {HTTP, "a2", 0, "", "/x", "", 0, 0},
	                                   {HTTP, "a10", 0, "", "/x", "", 0, 0}};
	/* "team-a/web" comes before "team/app": of the whole text, '-' is less than '/' */
	static const struct row namespaces[] = {{KIND_HTTP_ROUTE, "team", "app", 0, "", "/x", "", 0, 0},
	                                        {KIND_HTTP_ROUTE, "team-a", "web", 0, "", "/x", "", 0, 0}};
	static const struct row kinds[] = {{INGRESS, "a", 0, "", "/x", "", 0, 0}, {HTTP, "a", 0, "", "/x", "", 0, 0}};
	static const struct question last_row = {"GET /x", "x", NULL, 2}, second_row = {"GET /x", "x", NULL, 1};

	check(ages, COUNT(ages), &last_row, 1);
	check(names, COUNT(names), &last_row, 1);
	check(namespaces, COUNT(namespaces), &second_row, 1);
	check(kinds, COUNT(kinds), &second_row, 1);
}

/* Not rules but matches are ranked; among equals the first rule, and in it the first match, counts. */
static void rules_and_matches_are_in_order(void **state)
{
	static const struct route_match first[] = {{.path_type = PATH_PREFIX, .path = "/v2"},
	                                           {.path_type = PATH_PREFIX, .path = "/v2"}};
	static const struct route_match second[] = {{.path_type = PATH_PREFIX, .path = "/v2"},
	                                            {.path_type = PATH_EXACT, .path = "/v2/x"}};
	static const struct route_rule rules[] = {{.matches = first, .match_count = 2},
	                                          {.matches = second, .match_count = 2, .index = 1}};
	static const struct route route = {
		.object = {.kind = KIND_HTTP_ROUTE, .namespace = "n", .name = "r", .created = INT64_MAX},
		.rules = rules, .rule_count = 2};
	static const struct route_entry entries[] = {{&route, &rules[1], NULL}, {&route, &rules[0], &route}};
	static const struct {
		const char *head;
		const struct route_match *match;
	} cases[] = {
		{"GET /v2 HTTP/1.0\r\n\r\n", &first[0]}, {"GET /v2/x HTTP/1.0\r\n\r\n", &second[1]},
		{"GET /v HTTP/1.0\r\n\r\n", NULL}};
	struct arena arena = {0};
	struct route_table *table = route_table_new(&arena, entries, 2);

	assert_non_null(table);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct route_found found = {0};
		struct route_request request;

		assert_true(routes_read(&request, cases[i].head, strlen(cases[i].head)));
		assert_int_equal(route_table_find(table, &request, &found), cases[i].match != NULL);
		assert_ptr_equal(found.match, cases[i].match);
		if (found.match) {
			assert_ptr_equal(found.rule, found.match == first ? &rules[0] : &rules[1]);
			assert_ptr_equal(found.payload, found.match == first ? &route : NULL);
		}
	}
	arena_free(&arena);
}

static void grpc_ranks_by_service_and_method(void **state)
{
	static const struct row rows[] = {
		{GRPC, "all", 0, "", "/", "", 0, 0}, {GRPC, "service", 0, "", "pkg.Echo/", "", 0, 0},
		{GRPC, "method", 0, "", "/Say", "", 3, 0}, {GRPC, "both", 0, "", "pkg.Echo/Say", "", 0, 0},
		{GRPC, "headers", 0, "", "pkg.Echo/", "", 1, 0}, {HTTP, "http", 1, "", "=/pkg.Echo/Say", "POST", 3, 0},
	};
	static const struct question questions[] = {
		{"POST /pkg.Echo/Say", "x", ALL, 3}, {"POST /pkg.Echo/Shout", "x", NULL, 1},
		{"POST /pkg.Echo/Shout", "x", ALL, 4},
		{"POST /pkg.Other/Say", "x", ALL, 2}, {"POST /pkg.Other/Say", "x", NULL, 0}, {"POST /pkg.Echo/Say/x", "x", ALL, -1},
		{"POST /pkg.Echo/", "x", ALL, -1}, {"POST /pkg.Echo", "x", ALL, -1}, {"POST //Say", "x", ALL, -1},
		{"GET /pkg.Echo/Say", "x", ALL, -1}, {"POST /", "x", ALL, -1}, {"POST /pkg.echo/Say", "x", NULL, 0},
	};

	CHECK(rows, questions);
}

static void ingress_has_hosts_of_its_rules(void **state)
{
	static const struct row rows[] = {
		{INGRESS, "exact", 0, "foo.com", "=/a", "", 0, 0}, {INGRESS, "prefix", 0, "foo.com", "/a", "", 0, 0},
		{INGRESS, "wild", 0, "*.foo.com", "", "", 0, 0}, {INGRESS, "default", 0, "", "", "", 0, 0},
		{HTTP, "route", 0, "*.com", "/r", "", 0, 0},
	};
	static const struct question questions[] = {
		{"GET /a", "foo.com", NULL, 0}, {"GET /a/", "foo.com", NULL, 1}, {"GET /ab", "foo.com", NULL, 3},
		{"GET /", "bar.foo.com", NULL, 2}, {"GET /", "baz.bar.foo.com", NULL, 3}, {"GET /r", "baz.bar.foo.com", NULL, 4},
		{"GET /r", "bar.foo.com", NULL, 2},
	};

	CHECK(rows, questions);
}

static void empty_table_takes_nothing(void **state)
{
	static const struct row tcp[] = {{KIND_TCP_ROUTE, "n", "r", 0, "", "", "", 0, 0},
	                                 {KIND_TLS_ROUTE, "n", "r", 0, "", "", "", 0, 0}};
	static const struct question none = {"GET /", "x", NULL, -1};

	check(tcp, 0, &none, 1);
	check(tcp, COUNT(tcp), &none, 1);
}

/* --- against the long way --- */

static void agrees_with_the_long_way(void **state)
{
	static const char *const hosts[] = {"a.b", "A.B.", "c.a.b:80", "x.a.b", "y.x.b",
	                                    "b", ".b", "..b", "c", "d.c", "x.c.a.b", ""};
	static const char *const targets[] = {"/",       "/a",   "/a/",    "/a/b",  "/a/b/", "/a/b/a/b", "/ab",    "/ab/a", "/b",
	                                      "/b/a",    "//",   "/A/B",   "//a",   "/a//b", "/x",       "/a/b/a", "/b/b/b/b/b/b/b",
	                                      "http://c.a.b/a", "http://a.b", "/a/b?n=a", "/a?n=b&m=a",
	                                      "/?n=a&n=b", "/b?m=&n", "/a/a?n=%61"};
	static const char *const methods[] = {"GET", "POST", "PUT"};
	static const char *const fields[] = {"", "n: a\r\n", "N:b\r\nm: a\r\n", "n: \r\n", "n: a\r\nn: b\r\nm: b\r\n"};
	static struct routes routes;
	size_t taken = 0, asked = 0;

	for (uint32_t seed = 1; seed <= 60; seed++) {
		uint32_t chance = seed;
		struct arena arena = {0};

		routes_draw_all(&routes, &arena, seed);
		for (int i = 0; i < 100; i++, asked++) {
			struct route_request request;
			struct route_found found;
			const char *target = ROUTES_PICK(&chance, targets), *host = ROUTES_PICK(&chance, hosts);
			bool names_host = *target != '/'; /* and another one in Host would be refused */
			char head[256];

			snprintf(head, sizeof head, "%s %s HTTP/1.%s%s\r\n%s\r\n", ROUTES_PICK(&chance, methods), target,
			         names_host ? "0" : "1\r\nHost: ", names_host ? "" : host, ROUTES_PICK(&chance, fields));
			assert_true(routes_read(&request, head, strlen(head)));
			if (!routes_agree(&routes, &request))
				fail_msg("seed %u: not the answer of the long way:\n%s", seed, head);
			taken += route_table_find(routes.table, &request, &found);
		}
		arena_free(&arena);
	}
	/* The words do meet, and not always. */
	assert_in_range(taken, asked / 3, asked - asked / 20);
}

/* A path of nothing but slashes, and a host of nothing but dots. */
static void long_requests_are_answered(void **state)
{
	static const struct row rows[] = {{HTTP, "a", 0, "*.example.com", "/a/b/c", "", 0, 0}, {HTTP, "b", 0, "", "", "", 0, 0},
	                                  {HTTP, "c", 0, "", "~(/*)+x", "", 0, 0}};
	static char head[60000];
	char *at = head;

	at += sprintf(at, "GET ");
	at = memset(at, '/', 16000);
	at += 16000;
	at += sprintf(at, " HTTP/1.1\r\nHost: ");
	at = memset(at, '.', 32000);
	at += 32000;
	sprintf(at, "\r\n\r\n");
	assert_int_equal(find(rows, COUNT(rows), head), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostname_goes_first),
		cmocka_unit_test(path_goes_before_method),
		cmocka_unit_test(method_goes_before_headers),
		cmocka_unit_test(age_and_name_break_ties),
		cmocka_unit_test(rules_and_matches_are_in_order),
		cmocka_unit_test(grpc_ranks_by_service_and_method),
		cmocka_unit_test(ingress_has_hosts_of_its_rules),
		cmocka_unit_test(empty_table_takes_nothing),
		cmocka_unit_test(agrees_with_the_long_way),
		cmocka_unit_test(long_requests_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
