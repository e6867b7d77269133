#include <stdio.h>

#include "proxy/config/regex.h"
#include "tests/unit/proxy/documents.h"

#define NAME "web.default.svc.cluster.local"
#define HEAD "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: " NAME "}\nspec:\n"
#define ROUTE(fields) "  routes: [{name: r, " fields "}]\n"
#define CONDITION(fields) ROUTE("condition: {" fields "}")

static const struct profile *read_one(struct documents *documents, const char *spec)
{
	char text[4096];

	snprintf(text, sizeof text, HEAD "%s", spec);
	documents_read(documents, text);
	assert_int_equal(documents->catalog->counts[KIND_SERVICE_PROFILE], 1);
	return (const struct profile *)documents->catalog->objects[KIND_SERVICE_PROFILE];
}

static void a_whole_one(void **state)
{
	struct documents documents;
	const struct profile *profile = read_one(&documents, "  retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 20, ttl: 30s}\n"
							     "  routes:\n"
							     "  - name: GET /api\n"
							     "    condition: {method: get, pathRegex: ' /api/[^/]* '}\n"
							     "    isRetryable: true\n"
							     "    timeout: 250ms\n"
							     "    responseClasses:\n"
							     "    - condition: {status: {min: 500, max: 599}}\n"
							     "      isFailure: true\n"
							     "    - condition: {not: {status: {min: 404}}}\n"
							     "  - name: rest\n"
							     "    condition: {pathRegex: .*}\n"
							     "  dstOverrides:\n"
							     "  - {authority: web-v1.default.svc.cluster.local, weight: 900m}\n"
							     "  - {authority: off.default.svc.cluster.local, weight: 0}\n"
							     "  - {authority: web-v2.default.svc.cluster.local, weight: '100m'}\n");

	assert_int_equal(profile->route_count, 2);
	const struct profile_route *route = &profile->routes[0];
	assert_string_equal(route->name, "GET /api");
	assert_int_equal(route->index, 0);
	assert_true(route->retryable);
	assert_int_equal(route->timeout_ms, 250);
	assert_int_equal(route->timeouts->of[TIMEOUT_REQUEST].milliseconds, 250);
	assert_string_equal(route->timeouts->of[TIMEOUT_REQUEST].source, "ServiceProfile default/" NAME " route GET /api timeout");
	assert_int_equal(route->condition.type, CONDITION_ALL);
	assert_int_equal(route->condition.count, 2);
	assert_int_equal(route->condition.children[0].type, CONDITION_METHOD);
	assert_string_equal(route->condition.children[0].method, "GET");
	assert_int_equal(route->condition.children[1].type, CONDITION_PATH);
	assert_true(regex_matches(route->condition.children[1].path, "/api/users", 10, &(struct regex_work){0}));
	assert_false(regex_matches(route->condition.children[1].path, "/api/users/1", 12, &(struct regex_work){0}));
	assert_int_equal(route->class_count, 2);
	assert_true(route->classes[0].failure);
	assert_int_equal(route->classes[0].condition.type, CONDITION_STATUS);
	assert_int_equal(route->classes[0].condition.least, 500);
	assert_int_equal(route->classes[0].condition.greatest, 599);
	assert_false(route->classes[1].failure);
	assert_int_equal(route->classes[1].condition.type, CONDITION_NOT);
	assert_int_equal(route->classes[1].condition.count, 1);
	assert_int_equal(route->classes[1].condition.children->least, 404);
	assert_int_equal(route->classes[1].condition.children->greatest, 999);

	route = &profile->routes[1];
	assert_int_equal(route->index, 1);
	assert_int_equal(route->condition.type, CONDITION_PATH);
	assert_false(route->retryable);
	assert_int_equal(route->timeout_ms, TIMEOUT_UNSET);
	assert_null(route->timeouts);
	assert_int_equal(route->class_count, 0);

	assert_true(profile->budget.usable);
	assert_float_equal(profile->budget.ratio, 0.5, 1e-9);
	assert_int_equal(profile->budget.per_second, 20);
	assert_int_equal(profile->budget.ttl_ms, 30000);
	assert_int_equal(profile->override_count, 2);
	assert_string_equal(profile->overrides[1].authority, "web-v2.default.svc.cluster.local");
	assert_float_equal(profile->overrides[0].weight, 0.9, 1e-9);
	assert_float_equal(profile->overrides[1].weight, 0.1, 1e-9);
	documents_end(&documents);
}

static void defaults(void **state)
{
	struct documents documents;
	const struct profile *profile = read_one(&documents, "");

	assert_int_equal(profile->route_count, 0);
	assert_int_equal(profile->override_count, 0);
	assert_true(profile->budget.usable);
	assert_float_equal(profile->budget.ratio, 0.2, 1e-9);
	assert_int_equal(profile->budget.per_second, 10);
	assert_int_equal(profile->budget.ttl_ms, 10000);
	documents_end(&documents);
}

static void conditions(void **state)
{
	static const struct {
		const char *text;
		enum condition_type type;
		size_t count;
	} rows[] = {
		{"all: []", CONDITION_ALL, 0},
		{"any: []", CONDITION_ANY, 0},
		{"all: [{method: GET}, {any: [{method: a}, {not: {pathRegex: /}}]}]", CONDITION_ALL, 2},
		{"any: [{method: GET}]", CONDITION_ANY, 1},
		{"not: {not: {all: []}}", CONDITION_NOT, 1},
		{"method: GET, all: null", CONDITION_METHOD, 0},
		{"all: [], any: [], not: {method: GET}, method: GET, pathRegex: /", CONDITION_ALL, 5},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[256];
		struct documents documents;
		snprintf(text, sizeof text, CONDITION("%s"), rows[i].text);
		const struct condition *condition = &read_one(&documents, text)->routes->condition;
		if (condition->type != rows[i].type || condition->count != rows[i].count)
			fail_msg("%s: type %d of %zu", rows[i].text, condition->type, condition->count);
		documents_end(&documents);
	}
}

static void paths_match_whole(void **state)
{
	static const struct {
		const char *regex, *path;
		bool matches;
	} rows[] = {
		{"^/foo$", "/foo", true}, {"/foo", "/foo/", false}, {"/foo|/bar", "/foobar", false},
		{"/foo|/foobar", "/foobar", true},
		{"^/foo|/bar$", "/bar", true}, {"^/foo|/bar$", "/x/bar", false}, {"/a\\$", "/a$", true}, {"^/", "/x", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[256];
		struct documents documents;
		snprintf(text, sizeof text, CONDITION("pathRegex: '%s'"), rows[i].regex);
		const struct regex *regex = read_one(&documents, text)->routes->condition.path;
		if (regex_matches(regex, rows[i].path, strlen(rows[i].path), &(struct regex_work){0}) != rows[i].matches)
			fail_msg("%s and %s", rows[i].regex, rows[i].path);
		documents_end(&documents);
	}
}

static void timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {{"''", 0}, {"0s", 0}, {"'0'", 0}, {"1.5s", 1500}, {"1us", 1}, {"null", TIMEOUT_UNSET}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[256];
		struct documents documents;
		snprintf(text, sizeof text, ROUTE("condition: {all: []}, timeout: %s"), rows[i].text);
		const struct profile_route *route = read_one(&documents, text)->routes;
		if (route->timeout_ms != rows[i].ms || (route->timeouts != NULL) != (rows[i].ms != TIMEOUT_UNSET))
			fail_msg("%s: %lld", rows[i].text, (long long)route->timeout_ms);
		documents_end(&documents);
	}
}

static void budgets(void **state)
{
	static const struct {
		const char *text;
		double ratio;
		bool usable;
	} rows[] = {
		{"retryRatio: 0.2, ttl: 10s", 0.2, true}, {"ttl: 1s", 0, true}, {"ttl: 60s", 0, true}, {"ttl: 10ms", 0, false},
		{"ttl: 61s", 0, false}, {"retryRatio: 1000, ttl: 10s", 1000, true}, {"retryRatio: 1000.1, ttl: 10s", 1000.1, false},
		{"retryRatio: -0.1, ttl: 10s", -0.1, false}, {"retryRatio: 1e3, ttl: 10s", 1000, true},
		{"retryRatio: .5, ttl: 10s", .5, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[512];
		struct documents documents;
		snprintf(text, sizeof text, HEAD "  retryBudget: {%s}\n", rows[i].text);
		documents_start(&documents);
		documents_add(&documents, "a.yaml", text);
		assert_int_equal(documents.result, 0);
		const struct profile *profile = (const struct profile *)documents.catalog->objects[KIND_SERVICE_PROFILE];
		assert_float_equal(profile->budget.ratio, rows[i].ratio, 1e-9);
		assert_int_equal(profile->budget.per_second, 0);
		if (profile->budget.usable != rows[i].usable || documents.diagnostics.warnings != !rows[i].usable)
			fail_msg("%s: %s usable", rows[i].text, rows[i].usable ? "must be" : "must not be");
		documents_end(&documents);
	}
}

static void weights(void **state)
{
	static const struct {
		const char *text;
		double weight; /* below 0: refused */
	} rows[] = {
		{"1", 1}, {"'1'", 1}, {"500m", 0.5}, {"1.5", 1.5}, {"2k", 2000}, {"1Ki", 1024}, {"1e3", 1000}, {"1M", 1e6},
		{"7u", 7e-6},
		{"-1", -1}, {"1e7", -1}, {"1E", -1}, {"1x", -1}, {"''", -1}, {"m", -1}, {"1e999", -1}, {".nan", -1}, {"0x10", -1},
		{"1 m", -1}, {"{}", -1}, {"1mm", -1},
		{"1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111", -1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[512];
		struct documents documents;
		snprintf(text, sizeof text, HEAD "  dstOverrides: [{authority: a, weight: %s}]\n", rows[i].text);
		documents_start(&documents);
		documents_add(&documents, "a.yaml", text);
		const struct profile *profile = (const struct profile *)documents.catalog->objects[KIND_SERVICE_PROFILE];
		double weight = profile != NULL && profile->override_count == 1 ? profile->overrides->weight : -1;
		if (weight - rows[i].weight > 1e-9 || rows[i].weight - weight > 1e-9)
			fail_msg("%s: %f, expected %f", rows[i].text, weight, rows[i].weight);
		documents_end(&documents);
	}
}

#define AT "a.yaml:5: ServiceProfile default/" NAME ": spec."

static void says_what_is_wrong(void **state)
{
	static const struct documents_answer rows[] = {
		{"  timeouts: {}\n", AT "timeouts: unknown field; known are routes, retryBudget, dstOverrides, opaquePorts"},
		{"  opaquePorts: {'3306': {}}\n", NULL}, {"  opaquePorts: ['3306', 5432, 8000-8099]\n", NULL}, {"  opaquePorts: []\n", NULL},
		{"  opaquePorts: 3306\n", AT "opaquePorts: \"3306\": must be a list of at most 1000 ports"},
		{"  opaquePorts: [25, mysql]\n", AT "opaquePorts[1]: \"mysql\": must be a port from 1 to 65535, or a range as 8000-8099"},
		{"  opaquePorts: [[25]]\n", AT "opaquePorts[0]: must be a port"},
		{"  opaquePorts: {mysql: {}}\n", AT "opaquePorts.mysql: \"mysql\": must be a port"},
		{"  routes: [{condition: {all: []}}]\n", AT "routes[0].name: this field is required"},
		{ROUTE("x: y, condition: {all: []}"), AT "routes[0].x: unknown field"},
		{"  routes: [{name: a}]\n", AT "routes[0].condition: this field is required"},
		{CONDITION(""), AT "routes[0].condition: must have at least one of all, any, not, method, pathRegex"},
		{CONDITION("any: [{}]"),
		 AT "routes[0].condition.any[0]: must have at least one of all, any, not, method, pathRegex"},
		{CONDITION("status: {min: 500}, method: GET"), AT "routes[0].condition.status: unknown field"},
		{CONDITION("not: [{method: GET}]"), AT "routes[0].condition.not: a list: must be a mapping"},
		{CONDITION("all: {method: GET}"), AT "routes[0].condition.all: a mapping: must be a list"},
		{CONDITION("method: 'GE T'"), AT "routes[0].condition.method: \"GE T\": must be an HTTP method as GET"},
		{CONDITION("method: ''"), AT "routes[0].condition.method: \"\": must be an HTTP method as GET"},
		{CONDITION("method: 5"), AT "routes[0].condition.method: \"5\": must be text"},
		{CONDITION("pathRegex: '/('"), AT "routes[0].condition.pathRegex: \"/(\": must be a regular expression: "},
		{CONDITION("pathRegex: ' '"), AT "routes[0].condition.pathRegex: \" \": must be a regular expression for a path"},
		{ROUTE("condition: {all: []}, timeout: -1s"), AT "routes[0].timeout: \"-1s\": "},
		{ROUTE("condition: {all: []}, timeout: 5"), AT "routes[0].timeout: \"5\": "},
		{ROUTE("condition: {all: []}, isRetryable: yes please"), AT "routes[0].isRetryable: \"yes please\": "},
		{ROUTE("condition: {all: []}, responseClasses: [{isFailure: true}]"),
		 AT "routes[0].responseClasses[0].condition: this field is required"},
		{ROUTE("condition: {all: []}, responseClasses: [{condition: {method: GET, all: []}}]"),
		 AT "routes[0].responseClasses[0].condition.method: unknown field"},
		{ROUTE("condition: {all: []}, responseClasses: [{condition: {status: {min: 99}}}]"),
		 AT "routes[0].responseClasses[0].condition.status.min: \"99\": "},
		{ROUTE("condition: {all: []}, responseClasses: [{condition: {status: {max: 600}}}]"),
		 AT "routes[0].responseClasses[0].condition.status.max: \"600\": "},
		{ROUTE("condition: {all: []}, responseClasses: [{condition: {status: {min: 0, max: 0}}}]"), NULL},
		{ROUTE("condition: {all: []}, responseClasses: [{condition: {status: {min: 500, max: 499}}}]"),
		 AT "routes[0].responseClasses[0].condition.status: max must not be below min"},
		{"  retryBudget: {}\n", AT "retryBudget.ttl: this field is required"},
		{"  retryBudget: {ttl: 10}\n", AT "retryBudget.ttl: \"10\": "},
		{"  retryBudget: {ttl: 10s, retryRatio: '0.2'}\n", AT "retryBudget.retryRatio: \"0.2\": must be a decimal number"},
		{"  retryBudget: {ttl: 10s, minRetriesPerSecond: -1}\n", AT "retryBudget.minRetriesPerSecond: \"-1\": "},
		{"  dstOverrides: [{authority: a, weight: -1}]\n", AT "dstOverrides[0].weight: \"-1\": must be a quantity from 0 to 1M"},
		{"  dstOverrides: [{weight: 1}]\n", AT "dstOverrides[0].authority: this field is required"},
		{"  dstOverrides: [{authority: '', weight: 1}]\n",
		 AT "dstOverrides[0].authority: \"\": must be the name of a Service"},
		{"  dstOverrides: [{authority: a}]\n", AT "dstOverrides[0].weight: this field is required"},
	};

	DOCUMENTS_ARE_ANSWERED(HEAD, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_one),
		cmocka_unit_test(defaults),
		cmocka_unit_test(conditions),
		cmocka_unit_test(paths_match_whole),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(budgets),
		cmocka_unit_test(weights),
		cmocka_unit_test(says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
