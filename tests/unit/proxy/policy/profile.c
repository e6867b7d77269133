#include "proxy/policy/profile.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/proxy/routes.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CHILDREN(...) ((const struct condition[]){__VA_ARGS__})
#define LIST(kind, ...) \
	{.type = CONDITION_##kind, .children = CHILDREN(__VA_ARGS__), .count = COUNT(CHILDREN(__VA_ARGS__))}
#define METHOD(text) {.type = CONDITION_METHOD, .method = text}
#define STATUS(from, to) {.type = CONDITION_STATUS, .least = from, .greatest = to}

static struct route_request request_of(const char *line)
{
	static char head[256];
	struct route_request request;

	snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: x\r\n\r\n", line);
	assert_true(routes_read(&request, head, strlen(head)));
	return request;
}

static bool holds(struct condition condition, const char *line)
{
	const struct profile_route route = {.name = "r", .condition = condition};
	const struct profile profile = {.routes = &route, .route_count = 1};
	struct route_request request = request_of(line);
	const struct profile_route *found = profile_find(&profile, &request);

	assert_true(!found || found == &route);
	return found;
}

static void paths_are_covered(void **state)
{
	static const struct {
		const char *pattern, *line;
		bool holds;
	} rows[] = {
		{"/authors/\\d+", "GET /authors/42", true}, {"/authors/\\d+", "GET /authors/42/books", false},
		{"/authors/\\d+", "GET /v1/authors/42", false}, {"/authors/\\d+", "GET /authors/42?x=/y", true},
		{"/x|/y", "GET /x", true}, {"/x|/y", "GET /y", true}, {"/x|/y", "GET /xz", false}, {"/x|/y", "GET /z/y", false},
		{"/.*", "GET http://x/a", true}, {".*", "OPTIONS *", true}, {"/.*", "OPTIONS *", false},
	};
	struct arena arena = {0};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct condition condition = {.type = CONDITION_PATH, .path = routes_regex(&arena, rows[i].pattern)};

		if (holds(condition, rows[i].line) != rows[i].holds)
			fail_msg("\"%s\", %s: expected %d", rows[i].pattern, rows[i].line, rows[i].holds);
	}
	arena_free(&arena);
}

static void conditions_are_put_together(void **state)
{
	const struct {
		struct condition condition;
		bool get, post;
	} rows[] = {
		{METHOD("GET"), true, false}, {METHOD("POST"), false, true}, {METHOD("get"), false, false},
		{METHOD("GE"), false, false},
		{{.type = CONDITION_ALL}, true, true}, {{.type = CONDITION_ANY}, false, false},
		{LIST(NOT, METHOD("GET")), false, true}, {LIST(NOT, {.type = CONDITION_ANY}), true, true},
		{LIST(NOT, {.type = CONDITION_ALL}), false, false}, {LIST(ALL, METHOD("GET")), true, false},
		{LIST(ALL, METHOD("GET"), METHOD("POST")), false, false}, {LIST(ANY, METHOD("GET"), METHOD("POST")), true, true},
		{LIST(ANY, METHOD("PUT"), METHOD("POST")), false, true},
		{LIST(ALL, METHOD("GET"), LIST(NOT, METHOD("POST"))), true, false},
		{LIST(NOT, LIST(ANY, METHOD("GET"), LIST(ALL, METHOD("POST"), METHOD("POST")))), false, false},
		/* a request has no status */
		{STATUS(0, 999), false, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		if (holds(rows[i].condition, "GET /") != rows[i].get || holds(rows[i].condition, "POST /") != rows[i].post)
			fail_msg("condition %zu: expected %d for GET, %d for POST", i, rows[i].get, rows[i].post);
}

static void first_route_wins(void **state)
{
	const struct profile_route routes[] = {
		{.name = "put", .condition = METHOD("PUT")},
		{.name = "get or post", .condition = LIST(ANY, METHOD("GET"), METHOD("POST"))},
		{.name = "get", .condition = METHOD("GET")},
	};
	const struct profile profile = {.routes = routes, .route_count = COUNT(routes)}, empty = {0};
	const struct {
		const char *line;
		const struct profile_route *route;
	} rows[] = {{"GET /", &routes[1]}, {"POST /", &routes[1]}, {"PUT /", &routes[0]}, {"DELETE /", NULL}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_request request = request_of(rows[i].line);

		assert_ptr_equal(profile_find(&profile, &request), rows[i].route);
		assert_null(profile_find(&empty, &request));
	}
}

static void first_class_decides(void **state)
{
	const struct response_class classes[] = {
		{STATUS(503, 503), false},
		{LIST(ALL, STATUS(400, 499), LIST(NOT, STATUS(404, 404))), true},
		{STATUS(200, 450), false},
		{STATUS(301, 301), true},
		/* a response has neither method nor path */
		{METHOD("GET"), true},
		{STATUS(590, 599), false},
	};
	const struct profile_route route = {.classes = classes, .class_count = COUNT(classes)}, none = {0};
	static const struct {
		unsigned status;
		bool failure, by_default;
	} rows[] = {
		{503, false, true}, {404, false, false}, {400, true, false}, {499, true, false}, {301, false, false},
		{200, false, false},
		{500, true, true}, {502, true, true}, {589, true, true}, {590, false, true}, {599, false, true},
		{199, false, false},
		{600, false, false}, {0, false, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		if (profile_is_failure(&route, rows[i].status) != rows[i].failure ||
		    profile_is_failure(&none, rows[i].status) != rows[i].by_default ||
		    profile_is_failure(NULL, rows[i].status) != rows[i].by_default)
			fail_msg("status %u: expected %d, by default %d", rows[i].status, rows[i].failure, rows[i].by_default);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_covered),
		cmocka_unit_test(conditions_are_put_together),
		cmocka_unit_test(first_route_wins),
		cmocka_unit_test(first_class_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
