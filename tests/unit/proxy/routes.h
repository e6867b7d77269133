#ifndef LAPSE_TESTS_UNIT_PROXY_ROUTES_H
#define LAPSE_TESTS_UNIT_PROXY_ROUTES_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/regex.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_request.h"
#include "proxy/policy/route_table.h"

/* Routes drawn by chance from few words, so that they meet often, and the table's answer found the long way: every match is asked,
 * and two that take the request are compared as the API's text says. */

static inline const struct regex *routes_regex(struct arena *arena, const char *pattern)
{
	const struct regex *regex = NULL;
	TEXT_ON_STACK(why, 256);

	if (regex_compile(arena, pattern, &regex, &why) != 0)
		fprintf(stderr, "%s: %s\n", pattern, why.data);
	assert(regex);
	return regex;
}

/* 0 when the head is not accepted. */
static inline size_t routes_read(struct route_request *request, const void *bytes, size_t length)
{
	static const struct http1_limits limits = {65536, 128, 16384, 1024};
	struct input_scan scan = {0};
	struct http1_error error;
	struct message_head head;
	struct request_head neutral;
	size_t head_length;

	if (http1_scan_head(&scan, HTTP1_REQUEST, bytes, length, &limits, &head_length, &error) ||
	    http1_parse_head(HTTP1_REQUEST, bytes, head_length, NULL, &limits, &head, &error))
		return 0;
	http1_request_head(&neutral, bytes, head_length, head.method, head.target);
	route_request_read(request, &neutral);
	return head_length;
}

/* --- chance --- */

static inline uint32_t routes_chance(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 16) % below;
}

#define ROUTES_PICK(state, words) (words)[routes_chance(state, sizeof(words) / sizeof *(words))]

static const char *const routes_hosts[] = {"a.b", "c.a.b", "*.b", "*.a.b", "*.c.a.b", "b", "*.c"};
static const char *const routes_paths[] = {"", "/a", "/a/b", "/a/b/a", "/ab", "/b", "/b/a"};
static const char *const routes_patterns[] = {"/a|/a/b", "/[ab]/.*", ".*", "/x", "(?i)/A/B", ""};
static const char *const routes_methods[] = {"GET", "POST"};
static const char *const routes_words[] = {"a", "b", ""};

static inline void routes_draw_values(struct arena *arena, uint32_t *state, const struct value_match **out, size_t *count)
{
	static const char *const names[] = {"n", "m"};
	struct value_match *values = arena_array(arena, 2, sizeof *values);

	*count = routes_chance(state, 3);
	*out = *count ? values : NULL;
	for (size_t i = 0; i < *count; i++) {
		values[i].name = names[(i + *count) % 2];
		values[i].value = ROUTES_PICK(state, routes_words);
		if (routes_chance(state, 4) == 0) {
			values[i].type = VALUE_REGEX;
			values[i].regex = routes_regex(arena, "[ab]?");
		}
	}
}

static inline void routes_draw_match(struct arena *arena, uint32_t *state, enum kind kind, struct route_match *match)
{
	if (kind == KIND_GRPC_ROUTE) {
		match->grpc_service = routes_chance(state, 3) ? ROUTES_PICK(state, routes_words) : NULL;
		match->grpc_method = routes_chance(state, 3) ? ROUTES_PICK(state, routes_words) : NULL;
		if (match->grpc_service && routes_chance(state, 5) == 0)
			match->grpc_service_regex = routes_regex(arena, match->grpc_service = "[ab]+");
		if (match->grpc_method && routes_chance(state, 5) == 0)
			match->grpc_method_regex = routes_regex(arena, match->grpc_method = "[ab]{0,3}");
		match->path_type = PATH_PREFIX;
		match->path = "";
	} else {
		match->path_type = routes_chance(state, 4) ? (enum path_type)routes_chance(state, 2) : PATH_REGEX;
		match->path = ROUTES_PICK(state, routes_paths);
		if (match->path_type == PATH_REGEX)
			match->path_regex = routes_regex(arena, match->path = ROUTES_PICK(state, routes_patterns));
		if (match->path_type == PATH_EXACT && routes_chance(state, 3) == 0)
			match->path = arena_printf(arena, "%s/", match->path);
		match->method = routes_chance(state, 3) ? NULL : ROUTES_PICK(state, routes_methods);
		routes_draw_values(arena, state, &match->queries, &match->query_count);
	}
	routes_draw_values(arena, state, &match->headers, &match->header_count);
}

static inline const struct route *routes_draw(struct arena *arena, uint32_t *state, size_t number)
{
	static const enum kind kinds[] = {KIND_HTTP_ROUTE, KIND_HTTP_ROUTE, KIND_HTTP_ROUTE,
	                                  KIND_GRPC_ROUTE, KIND_INGRESS,    KIND_TCP_ROUTE};
	static const char *const namespaces[] = {"n", "n-1", "m"};
	struct route *route = arena_alloc(arena, sizeof *route);
	struct route_rule *rules = arena_array(arena, 3, sizeof *rules);
	const char **hosts = arena_array(arena, 2, sizeof *hosts);

	assert(route && rules && hosts);
	route->object.kind = ROUTES_PICK(state, kinds);
	route->object.namespace = ROUTES_PICK(state, namespaces);
	route->object.name = arena_printf(arena, "r%zu", number);
	route->object.created = routes_chance(state, 2) ? INT64_MAX : routes_chance(state, 2);
	route->rules = rules;
	route->rule_count = 1 + routes_chance(state, 3);
	route->hostnames = hosts;
	route->hostname_count = route->object.kind == KIND_INGRESS ? 0 : routes_chance(state, 3);
	for (size_t i = 0; i < route->hostname_count; i++)
		hosts[i] = ROUTES_PICK(state, routes_hosts);
	for (size_t i = 0; i < route->rule_count; i++) {
		struct route_match *matches = arena_array(arena, 3, sizeof *matches);

		rules[i].index = i;
		rules[i].matches = matches;
		rules[i].match_count = 1 + routes_chance(state, 3);
		if (route->object.kind == KIND_GRPC_ROUTE && routes_chance(state, 6) == 0)
			rules[i].match_count = 0;
		if (route->object.kind == KIND_INGRESS && routes_chance(state, 2))
			rules[i].host = ROUTES_PICK(state, routes_hosts);
		for (size_t j = 0; j < rules[i].match_count; j++)
			routes_draw_match(arena, state, route->object.kind, &matches[j]);
	}
	return route;
}

enum { ROUTES_MOST = 40 };

struct routes {
	struct route_entry entries[ROUTES_MOST * 3];
	size_t count;
	const struct route_table *table;
};

static inline void routes_draw_all(struct routes *routes, struct arena *arena, uint32_t seed)
{
	size_t most = 1 + routes_chance(&seed, ROUTES_MOST);

	routes->count = 0;
	for (size_t i = 0; i < most; i++) {
		const struct route *route = routes_draw(arena, &seed, most - i);

		for (size_t j = 0; j < route->rule_count; j++) {
			struct route_entry *entry = &routes->entries[routes->count++];

			*entry = (struct route_entry){route, &route->rules[j], entry};
		}
	}
	routes->table = route_table_new(arena, routes->entries, routes->count);
	assert(routes->table);
}

/* --- the long way --- */

static const struct route_match routes_any_grpc;

struct routes_answer {
	const struct route_entry *entry;
	const struct route_match *match; /* NULL: of a gRPC rule without any */
	const char *host;
};

static inline size_t routes_length(const char *text)
{
	return text ? strlen(text) : 0;
}

/* Positive: a goes before b. */
static inline int routes_before(const struct routes_answer *a, const struct routes_answer *b)
{
	const struct object *x = &a->entry->route->object, *y = &b->entry->route->object;
	const struct route_match *m = a->match ? a->match : &routes_any_grpc, *n = b->match ? b->match : &routes_any_grpc;
	size_t host_a = routes_length(a->host), host_b = routes_length(b->host);
	bool whole_a = host_a && *a->host != '*', whole_b = host_b && *b->host != '*';
	char name_a[64], name_b[64];

	if (whole_a != whole_b)
		return whole_a ? 1 : -1;
	if (host_a != host_b)
		return host_a > host_b ? 1 : -1;
	if ((x->kind == KIND_GRPC_ROUTE) != (y->kind == KIND_GRPC_ROUTE))
		return x->kind == KIND_GRPC_ROUTE ? 1 : -1;
	if (x->kind == KIND_GRPC_ROUTE) {
		if (routes_length(m->grpc_service) != routes_length(n->grpc_service))
			return routes_length(m->grpc_service) > routes_length(n->grpc_service) ? 1 : -1;
		if (routes_length(m->grpc_method) != routes_length(n->grpc_method))
			return routes_length(m->grpc_method) > routes_length(n->grpc_method) ? 1 : -1;
	} else {
		if ((m->path_type == PATH_EXACT) != (n->path_type == PATH_EXACT))
			return m->path_type == PATH_EXACT ? 1 : -1;
		if (strlen(m->path) != strlen(n->path))
			return strlen(m->path) > strlen(n->path) ? 1 : -1;
		if (!m->method != !n->method)
			return m->method ? 1 : -1;
	}
	if (m->header_count != n->header_count)
		return m->header_count > n->header_count ? 1 : -1;
	if (m->query_count != n->query_count)
		return m->query_count > n->query_count ? 1 : -1;
	if (x->created != y->created)
		return x->created < y->created ? 1 : -1;
	snprintf(name_a, sizeof name_a, "%s/%s", x->namespace, x->name);
	snprintf(name_b, sizeof name_b, "%s/%s", y->namespace, y->name);
	if (strcmp(name_a, name_b) != 0)
		return -strcmp(name_a, name_b);
	if (a->entry->rule != b->entry->rule)
		return a->entry->rule < b->entry->rule ? 1 : -1;
	return m < n ? 1 : m > n ? -1 : 0;
}

static inline bool routes_host_takes(const struct route *route, const char *host, const struct route_request *request)
{
	if (!host)
		return true;
	if (!route_host_matches(host, request->host))
		return false;
	if (route->object.kind != KIND_INGRESS || *host != '*')
		return true;
	for (size_t i = 0; i < request->host.length - strlen(host + 1); i++)
		if (request->host.bytes[i] == '.')
			return false;
	return true;
}

/* entry NULL: none takes it. */
static inline struct routes_answer routes_linear(const struct routes *routes, struct route_request *request)
{
	struct routes_answer best = {0};

	for (size_t i = 0; i < routes->count; i++) {
		const struct route *route = routes->entries[i].route;
		const struct route_rule *rule = routes->entries[i].rule;
		bool grpc = route->object.kind == KIND_GRPC_ROUTE;
		size_t hosts = rule->host ? 1 : route->hostname_count;

		if (route->object.kind == KIND_TCP_ROUTE)
			continue;
		for (size_t j = 0; j < rule->match_count || (j == 0 && grpc); j++) {
			const struct route_match *match = rule->match_count ? &rule->matches[j] : NULL;

			for (size_t k = 0; k < hosts || k == 0; k++) {
				const char *host = rule->host ? rule->host : hosts ? route->hostnames[k] : NULL;
				struct routes_answer answer = {&routes->entries[i], match, host};

				if (routes_host_takes(route, host, request) &&
				    route_matches(match ? match : &routes_any_grpc, grpc, request) &&
				    (!best.entry || routes_before(&answer, &best) > 0))
					best = answer;
			}
		}
	}
	return best;
}

/* Whether the table and the long way agree. */
static inline bool routes_agree(const struct routes *routes, const struct route_request *request)
{
	struct route_request asked = *request, linear = *request;
	struct routes_answer answer = routes_linear(routes, &linear);
	struct route_found found = {0};
	bool taken = route_table_find(routes->table, &asked, &found);

	if (asked.work.undecided || linear.work.undecided)
		return linear.work.undecided; /* the long way asks more */
	if (!taken)
		return !answer.entry && !found.match && !found.payload;
	return answer.entry && found.payload == answer.entry->payload && found.route == answer.entry->route &&
	       found.rule == answer.entry->rule && (!answer.match || found.match == answer.match);
}

#endif
