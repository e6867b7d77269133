#include "lib/timeouts.h"
#include "proxy/config/regex.h"
#include "tests/unit/proxy/route_documents.h"

#define HTTP "HTTPRoute"
#define GRPC "GRPCRoute"
#define RULE(fields) "spec: {rules: [{" fields "}]}"
#define MATCH(fields) RULE("matches: [{" fields "}]")
#define PATH(fields) MATCH("path: {" fields "}")
#define METHOD(fields) MATCH("method: {" fields "}")
#define AT ".rules[0].matches[0]"
#define FOUR(x) x ", " x ", " x ", " x
#define SIXTEEN(x) FOUR(FOUR(x))

static void paths_are_read(void **state)
{
	static const struct {
		const char *spec;
		enum path_type type;
		const char *path;
	} rows[] = {
	    {"spec: {}", PATH_PREFIX, ""},
	    {"spec: {rules: []}", PATH_PREFIX, ""},
	    {"spec: null", PATH_PREFIX, ""},
	    {"spec: {rules: [{}]}", PATH_PREFIX, ""},
	    {RULE("matches: []"), PATH_PREFIX, ""},
	    {MATCH(""), PATH_PREFIX, ""},
	    {PATH(""), PATH_PREFIX, ""},
	    {PATH("type: Exact"), PATH_EXACT, "/"},
	    {PATH("value: /"), PATH_PREFIX, ""},
	    {PATH("value: /a/b"), PATH_PREFIX, "/a/b"},
	    {PATH("value: /a/b/"), PATH_PREFIX, "/a/b"},
	    {PATH("type: PathPrefix, value: /a"), PATH_PREFIX, "/a"},
	    {PATH("value: /a/, type: Exact"), PATH_EXACT, "/a/"},
	    {PATH("value: \"/-A9._~!$&'()*+,;=:@%20%aF\", type: Exact"), PATH_EXACT, "/-A9._~!$&'()*+,;=:@%20%aF"},
	    {PATH("value: /a/..b/.c/..., type: Exact"), PATH_EXACT, "/a/..b/.c/..."},
	    {PATH("type: RegularExpression, value: '/a//[0-9]+#'"), PATH_REGEX, "/a//[0-9]+#"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct route_document document;
		route_document_read(&document, HTTP, rows[i].spec);
		assert_string_equal(document.said, "");
		assert_int_equal(document.route->rule_count, 1);
		assert_int_equal(document.route->rules[0].match_count, 1);
		const struct route_match *match = &document.route->rules[0].matches[0];
		assert_int_equal(match->path_type, rows[i].type);
		assert_string_equal(match->path, rows[i].path);
		assert_int_equal(match->path_regex != NULL, rows[i].type == PATH_REGEX);
		assert_null(match->method);
		assert_int_equal(match->header_count + match->query_count, 0);
		route_document_free(&document);
	}
}

#define BAD_PATH(value, shown)                                                                                                     \
	{HTTP, PATH("type: Exact, value: " value),                                                                                 \
	 AT ".path.value: \"" shown "\": must be a path as /a/b%20c: from \"/\" on, without \"//\", \"/./\", \"/../\", an "        \
	    "encoded \"/\", query and fragment"}

static void paths_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    BAD_PATH("''", ""),
	    BAD_PATH("a", "a"),
	    BAD_PATH("/a//b", "/a//b"),
	    BAD_PATH("/a/./b", "/a/./b"),
	    BAD_PATH("/a/../b", "/a/../b"),
	    BAD_PATH("/a/.", "/a/."),
	    BAD_PATH("/a/..", "/a/.."),
	    BAD_PATH("/.", "/."),
	    BAD_PATH("/..", "/.."),
	    BAD_PATH("/a%2fb", "/a%2fb"),
	    BAD_PATH("/a%2Fb", "/a%2Fb"),
	    BAD_PATH("/a%2", "/a%2"),
	    BAD_PATH("/a%", "/a%"),
	    BAD_PATH("/a%g0", "/a%g0"),
	    BAD_PATH("'/a#b'", "/a#b"),
	    BAD_PATH("'/a?b'", "/a?b"),
	    BAD_PATH("'/a b'", "/a b"),
	    BAD_PATH("/\xc3\xa4", "/\xc3\xa4"),
	    {HTTP, PATH("type: Prefix, value: /"), AT ".path.type: \"Prefix\": must be Exact, PathPrefix or RegularExpression"},
	    {HTTP, PATH("value: 5"), AT ".path.value: \"5\": must be text; without quotes this is an integer, quote it"},
	    {HTTP, MATCH("path: /a"), AT ".path: \"/a\": must be a mapping"},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

static void paths_have_a_limit(void **state)
{
	char spec[2048];

	for (int length = 1024; length <= 1025; length++) {
		struct route_document document;
		snprintf(spec, sizeof spec, PATH("value: /%0*d"), length - 1, 0);
		route_document_read(&document, HTTP, spec);
		if (length == 1024)
			assert_string_equal(document.said, "");
		else
			assert_non_null(strstr(document.said, ": must be at most 1024 bytes"));
		route_document_free(&document);
	}
}

static void regular_expressions_are_compiled(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    MATCH("path: {type: RegularExpression, value: '/a[0-9]+'}, "
				  "headers: [{name: A, type: RegularExpression, value: b+}], "
				  "queryParams: [{name: q, type: RegularExpression, value: c+}]"));
	assert_string_equal(document.said, "");
	const struct route_match *match = &document.route->rules[0].matches[0];
	assert_true(regex_matches(match->path_regex, "/a12", 4, &(struct regex_work){0}));
	assert_false(regex_matches(match->path_regex, "/a12/", 5, &(struct regex_work){0}));
	assert_true(regex_matches(match->headers[0].regex, "bb", 2, &(struct regex_work){0}));
	assert_true(regex_matches(match->queries[0].regex, "cc", 2, &(struct regex_work){0}));
	route_document_free(&document);

	static const struct {
		const char *kind, *spec, *said;
	} rows[] = {
	    {HTTP, PATH("type: RegularExpression, value: '/('"), AT ".path.value: \"/(\": must be a regular expression (PCRE2): "},
	    {HTTP, MATCH("headers: [{name: A, type: RegularExpression, value: '['}]"),
	     AT ".headers[0].value: \"[\": must be a regular expression (PCRE2): "},
	    {HTTP, MATCH("queryParams: [{name: A, type: RegularExpression, value: '+'}]"),
	     AT ".queryParams[0].value: \"+\": must be a regular expression (PCRE2): "},
	    {GRPC, METHOD("type: RegularExpression, service: ')'"),
	     AT ".method.service: \")\": must be a regular expression (PCRE2): "},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		route_document_read(&document, rows[i].kind, rows[i].spec);
		assert_null(document.route);
		assert_int_equal(strncmp(document.said, rows[i].said, strlen(rows[i].said)), 0);
		assert_true(strlen(document.said) > strlen(rows[i].said));
		route_document_free(&document);
	}
}

static void headers_and_queries_are_read(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    MATCH("method: PATCH, headers: [{name: X-A, value: V}, {name: x-a, value: W}, {name: B, value: '1'}], "
				  "queryParams: [{name: Q, value: V}, {name: q, value: W}, {name: Q, value: '1'}]"));
	assert_string_equal(document.said, "warning " AT ".headers: \"x-a\": given more than once; only the first counts\n"
					   "warning " AT ".queryParams: \"Q\": given more than once; only the first counts");
	const struct route_match *match = &document.route->rules[0].matches[0];
	assert_string_equal(match->method, "PATCH");
	assert_int_equal(match->header_count, 2);
	assert_string_equal(match->headers[0].name, "x-a");
	assert_string_equal(match->headers[0].value, "V");
	assert_int_equal(match->headers[0].type, VALUE_EXACT);
	assert_string_equal(match->headers[1].name, "b");
	assert_int_equal(match->query_count, 2);
	assert_string_equal(match->queries[0].name, "Q");
	assert_string_equal(match->queries[0].value, "V");
	assert_string_equal(match->queries[1].name, "q");
	route_document_free(&document);
}

static void matches_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, MATCH("method: get"),
	     AT ".method: \"get\": must be GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH"},
	    {HTTP, MATCH("headers: [{name: a, value: b, type: Prefix}]"),
	     AT ".headers[0].type: \"Prefix\": must be Exact or RegularExpression"},
	    {HTTP, MATCH("headers: [{name: a}]"), AT ".headers[0].value: this field is required"},
	    {HTTP, MATCH("headers: [{value: a}]"), AT ".headers[0].name: this field is required"},
	    {HTTP, MATCH("headers: [{name: a, value: ''}]"), AT ".headers[0].value: \"\": must be 1 to 4096 bytes"},
	    {HTTP, MATCH("queryParams: [{name: a, value: ''}]"), AT ".queryParams[0].value: \"\": must be 1 to 1024 bytes"},
	    {HTTP, MATCH("headers: [" SIXTEEN("{name: a, value: b}") ", {name: a, value: b}]"),
	     AT ".headers: a list of 17 elements; at most 16 are accepted"},
	    {HTTP, MATCH("queryParams: [" SIXTEEN("{name: a, value: b}") ", {name: a, value: b}]"),
	     AT ".queryParams: a list of 17 elements; at most 16 are accepted"},
	    {HTTP, RULE("matches: [" FOUR(SIXTEEN("{}")) "]"), ""},
	    {HTTP, RULE("matches: [" FOUR(SIXTEEN("{}")) ", {}]"), ".rules[0].matches: a list of 65 elements; at most 64 are accepted"},
	    {HTTP, RULE("matches: [null]"), ".rules[0].matches[0]: an element of a list must not be null"},
	    {GRPC, MATCH("path: {}"), "warning " AT ".path: unknown field, ignored; known are method, headers"},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

static void grpc_methods_are_read(void **state)
{
	static const struct {
		const char *spec, *service, *method;
		bool regex;
	} rows[] = {
	    {"spec: {}", NULL, NULL, false},
	    {MATCH(""), NULL, NULL, false},
	    {METHOD("service: a.B_1"), "a.B_1", NULL, false},
	    {METHOD("service: .a.B, method: Get_1"), ".a.B", "Get_1", false},
	    {METHOD("type: Exact, method: _x"), NULL, "_x", false},
	    {METHOD("type: RegularExpression, service: '', method: 'G.*'"), NULL, "G.*", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct route_document document;
		route_document_read(&document, GRPC, rows[i].spec);
		assert_string_equal(document.said, "");
		assert_int_equal(document.route->rules[0].match_count, 1);
		const struct route_match *match = &document.route->rules[0].matches[0];
		assert_string_equal(match->grpc_service != NULL ? match->grpc_service : "any", rows[i].service ? rows[i].service : "any");
		assert_string_equal(match->grpc_method != NULL ? match->grpc_method : "any", rows[i].method ? rows[i].method : "any");
		assert_int_equal(match->grpc_method_regex != NULL, rows[i].regex);
		route_document_free(&document);
	}
}

#define BAD_SERVICE(value, shown)                                                                                                  \
	{GRPC, METHOD("service: " value), AT ".method.service: \"" shown "\": must be a service as package.v1.Service"}
#define BAD_METHOD(value, shown) {GRPC, METHOD("method: " value), AT ".method.method: \"" shown "\": must be a method as GetThing"}

static void grpc_methods_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    BAD_SERVICE("''", ""),
	    BAD_SERVICE(".", "."),
	    BAD_SERVICE("a.", "a."),
	    BAD_SERVICE("a..b", "a..b"),
	    BAD_SERVICE("..b", "..b"),
	    BAD_SERVICE("1a", "1a"),
	    BAD_SERVICE("a.1b", "a.1b"),
	    BAD_SERVICE("a/b", "a/b"),
	    BAD_METHOD("''", ""),
	    BAD_METHOD("1a", "1a"),
	    BAD_METHOD("a.b", "a.b"),
	    BAD_METHOD("a-b", "a-b"),
	    {GRPC, METHOD(""), AT ".method: must have service, method or both"},
	    {GRPC, METHOD("type: RegularExpression, service: ''"), AT ".method: must have service, method or both"},
	    {GRPC, METHOD("type: Other, service: a"), AT ".method.type: \"Other\": must be Exact or RegularExpression"},
	    {GRPC, RULE("timeouts: {request: 1s}, retry: {}"),
	     "warning .rules[0].timeouts: unknown field, ignored; known are name, matches, filters, backendRefs, sessionPersistence\n"
	     "warning .rules[0].retry: unknown field, ignored; known are name, matches, filters, backendRefs, sessionPersistence"},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

static void timeouts_have_sources(void **state)
{
	static const struct {
		const char *fields;
		int64_t request, backend_request;
	} rows[] = {
	    {"", TIMEOUT_UNSET, TIMEOUT_UNSET},
	    {"request: 10s", 10000, TIMEOUT_UNSET},
	    {"backendRequest: 1h30m", TIMEOUT_UNSET, 5400000},
	    {"request: 1s, backendRequest: 1000ms", 1000, 1000},
	    {"request: 0s, backendRequest: 1ms", 0, 1},
	    {"request: 1s, backendRequest: 0s", 1000, 0},
	};
	char spec[256];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct route_document document;
		snprintf(spec, sizeof spec, "spec: {rules: [{}, {timeouts: {%s}}]}", rows[i].fields);
		route_document_read(&document, HTTP, spec);
		assert_string_equal(document.said, "");
		assert_null(document.route->rules[0].timeouts);
		const struct timeouts *timeouts = document.route->rules[1].timeouts;
		assert_int_equal(timeouts != NULL, rows[i].fields[0] != '\0');
		for (enum timeout_id id = 0; timeouts != NULL && id < TIMEOUT_COUNT; id++) {
			const struct timeout_value *value = &timeouts->of[id];
			int64_t expected = id == TIMEOUT_REQUEST           ? rows[i].request
					   : id == TIMEOUT_BACKEND_REQUEST ? rows[i].backend_request
									   : TIMEOUT_UNSET;
			assert_int_equal(value->milliseconds, expected);
			if (expected != TIMEOUT_UNSET)
				assert_string_equal(value->source, id == TIMEOUT_REQUEST
								       ? "HTTPRoute default/web spec.rules[1].timeouts.request"
								       : "HTTPRoute default/web spec.rules[1].timeouts.backendRequest");
		}
		route_document_free(&document);
	}
}

static void retries_are_read(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP, RULE("retry: {codes: [400, 503, 503, 599], attempts: 3, backoff: 250ms}"));
	assert_string_equal(document.said, "");
	const struct retry *retry = document.route->rules[0].retry;
	for (uint32_t code = 400; code < 600; code++)
		assert_int_equal(retry->codes[(code - 400) / 32] >> (code - 400) % 32 & 1, code == 400 || code == 503 || code == 599);
	assert_int_equal(retry->attempts, 3);
	assert_int_equal(retry->backoff_ms, 250);
	assert_int_equal(retry->backoff_most_ms, 250);
	assert_int_equal(retry->attempt_ms, 0);
	assert_true(retry->on_failure);
	assert_false(retry->by_class);
	assert_string_equal(retry->source, "HTTPRoute default/web spec.rules[0].retry");
	route_document_free(&document);

	route_document_read(&document, HTTP, RULE("retry: {}"));
	retry = document.route->rules[0].retry;
	assert_int_equal(retry->attempts, 1);
	assert_int_equal(retry->backoff_ms, 0);
	for (size_t i = 0; i < sizeof retry->codes / sizeof *retry->codes; i++)
		assert_int_equal(retry->codes[i], 0);
	route_document_free(&document);

	route_document_read(&document, HTTP, RULE("retry: {attempts: 0}"));
	assert_string_equal(document.said, "");
	assert_int_equal(document.route->rules[0].retry->attempts, 0);
	route_document_free(&document);
}

#define GEP "must be a duration of at most four parts as 500ms, 30s, 1h30m (GEP-2257)"
#define PREFIX "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}"
#define REDIRECT_PREFIX "{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}"
#define ONE_PREFIX ".rules[0]: must have exactly one match, of type PathPrefix, with ReplacePrefixMatch"
#define ON_BACKEND(filters) "backendRefs: [{name: a, port: 80, filters: [" filters "]}]"

static void rules_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, RULE("timeouts: {request: 1s, backendRequest: 1001ms}"),
	     ".rules[0].timeouts.backendRequest: \"1001ms\": must be at most what request says, unless that is 0s"},
	    {HTTP, RULE("timeouts: {request: 1.5s}"), ".rules[0].timeouts.request: \"1.5s\": " GEP},
	    {HTTP, RULE("timeouts: {backendRequest: 1s1s1s1s1s}"), ".rules[0].timeouts.backendRequest: \"1s1s1s1s1s\": " GEP},
	    {HTTP, RULE("timeouts: {response: 1s}"), "warning .rules[0].timeouts.response: unknown field, ignored; known are request, backendRequest"},
	    {HTTP, RULE("retry: {codes: [399]}"), ".rules[0].retry.codes[0]: \"399\": must be a number from 400 to 599"},
	    {HTTP, RULE("retry: {codes: [500, 600]}"), ".rules[0].retry.codes[1]: \"600\": must be a number from 400 to 599"},
	    {HTTP, RULE("retry: {attempts: -1}"), ".rules[0].retry.attempts: \"-1\": must be a number from 0 to 1000000"},
	    {HTTP, RULE("retry: {backoff: 1d}"), ".rules[0].retry.backoff: \"1d\": " GEP},
	    {HTTP, RULE("name: A"),
	     ".rules[0].name: \"A\": must be a name of lower-case letters, digits, '-' and '.', at most 253 bytes"},
	    {HTTP, RULE("sessionPersistence: {sessionName: a}"), "warning .rules[0].sessionPersistence: is not carried out, ignored"},
	    {HTTP, RULE("filters: [" PREFIX "]"), ""},
	    {HTTP, RULE("filters: [" PREFIX "], matches: [{path: {value: /a}}]"), ""},
	    {HTTP, RULE("filters: [" PREFIX "], matches: [{path: {value: /a, type: Exact}}]"), ONE_PREFIX},
	    {HTTP, RULE("filters: [" PREFIX "], matches: [{}, {}]"), ONE_PREFIX},
	    {HTTP, RULE("matches: [{}, {}], filters: [" REDIRECT_PREFIX "]"), ONE_PREFIX},
	    {HTTP, RULE("matches: [{}, {}], " ON_BACKEND(PREFIX)),
	     "warning .rules[0].backendRefs[0].filters[0]: URLRewrite is not carried out on a backend; it must not be skipped, so "
	     "requests get an error\n" ONE_PREFIX},
	    {HTTP, RULE("filters: [{type: RequestRedirect, requestRedirect: {}}], " ON_BACKEND("")),
	     ".rules[0]: must not have both RequestRedirect and backendRefs"},
	    {HTTP, RULE("filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: []"), ""},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths_are_read),
	    cmocka_unit_test(paths_are_checked),
	    cmocka_unit_test(paths_have_a_limit),
	    cmocka_unit_test(regular_expressions_are_compiled),
	    cmocka_unit_test(headers_and_queries_are_read),
	    cmocka_unit_test(matches_are_checked),
	    cmocka_unit_test(grpc_methods_are_read),
	    cmocka_unit_test(grpc_methods_are_checked),
	    cmocka_unit_test(timeouts_have_sources),
	    cmocka_unit_test(retries_are_read),
	    cmocka_unit_test(rules_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
