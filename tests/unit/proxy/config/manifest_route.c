#include "tests/unit/proxy/route_documents.h"

#define HTTP "HTTPRoute"
#define GRPC "GRPCRoute"
#define TCP "TCPRoute"
#define TLS "TLSRoute"
#define FOUR(x) x ", " x ", " x ", " x
#define SIXTEEN(x) FOUR(FOUR(x))
#define BACKEND "backendRefs: [{name: a, port: 80}]"
#define HOST "must be a hostname as www.example.com or *.example.com: lower-case, without port, at most 253 bytes"

static void a_whole_route(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    "spec: {parentRefs: [{group: '', kind: Service, name: web}], hostnames: [a.example.com, '*.example.com'], "
			    "rules: [{name: first, matches: [{path: {value: /a}}, {path: {value: /b}}], timeouts: {request: 1s}}, "
			    "{" BACKEND "}]}, status: {}");
	assert_string_equal(document.said, "");
	const struct route *route = document.route;
	assert_int_equal(route->object.kind, KIND_HTTP_ROUTE);
	assert_int_equal(route->parent_count, 1);
	assert_int_equal(route->hostname_count, 2);
	assert_string_equal(route->hostnames[1], "*.example.com");
	assert_int_equal(route->rule_count, 2);
	assert_string_equal(route->rules[0].name, "first");
	assert_int_equal(route->rules[0].match_count, 2);
	assert_int_equal(route->rules[0].index, 0);
	assert_int_equal(route->rules[1].index, 1);
	assert_null(route->rules[1].name);
	assert_int_equal(route->rules[1].backend_count, 1);
	route_document_free(&document);
}

static void connections_have_routes(void **state)
{
	struct route_document document;

	route_document_read(&document, TLS, "spec: {hostnames: ['*.a.b'], rules: [{" BACKEND "}]}");
	assert_string_equal(document.said, "");
	assert_string_equal(document.route->hostnames[0], "*.a.b");
	assert_int_equal(document.route->rules[0].match_count, 0);
	assert_int_equal(document.route->rules[0].backends[0].port, 80);
	route_document_free(&document);

	route_document_read(&document, TCP, "spec: {rules: [{name: a, " BACKEND "}]}");
	assert_string_equal(document.said, "");
	assert_int_equal(document.route->rules[0].match_count, 0);
	assert_int_equal(document.route->rules[0].backend_count, 1);
	route_document_free(&document);
}

static void without_rules_all_is_matched(void **state)
{
	static const char *const kinds[] = {HTTP, GRPC}, *const specs[] = {"spec: {}", "spec: {rules: []}", "spec: null", ""};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		for (size_t j = 0; j < sizeof specs / sizeof *specs; j++) {
			struct route_document document;
			route_document_read(&document, kinds[i], specs[j]);
			assert_string_equal(document.said, "");
			assert_int_equal(document.route->rule_count, 1);
			assert_int_equal(document.route->rules[0].match_count, 1);
			assert_int_equal(document.route->rules[0].matches[0].path_type, PATH_PREFIX);
			assert_string_equal(document.route->rules[0].matches[0].path, "");
			assert_int_equal(document.route->rules[0].backend_count, 0);
			route_document_free(&document);
		}
}

#define MATCHES64 "{matches: [" FOUR(SIXTEEN("{}")) "]}"

static void routes_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, "spec: {hostnames: [A.b]}", ".hostnames[0]: \"A.b\": " HOST},
	    {HTTP, "spec: {hostnames: [a, 'a:80']}", ".hostnames[1]: \"a:80\": " HOST},
	    {HTTP, "spec: {hostnames: a}", ".hostnames: \"a\": must be a list"},
	    {HTTP, "spec: {hostnames: [" SIXTEEN("a") "]}", ""},
	    {HTTP, "spec: {hostnames: [" SIXTEEN("a") ", a]}", ".hostnames: a list of 17 elements; at most 16 are accepted"},
	    {TLS, "spec: {rules: [{}], hostnames: [" SIXTEEN("a") ", a]}", ""},
	    {TCP, "spec: {rules: [{}], hostnames: [a]}", "warning .hostnames: unknown field, ignored; known are parentRefs, rules, useDefaultGateways"},
	    {TCP, "spec: {}", ": must have at least one rule"},
	    {TLS, "spec: {rules: []}", ": must have at least one rule"},
	    {TCP, "spec: {rules: [{matches: []}]}", "warning .rules[0].matches: unknown field, ignored; known are name, backendRefs"},
	    {HTTP, "spec: {rules: [" SIXTEEN("{}") "]}", ""},
	    {HTTP, "spec: {rules: [" SIXTEEN("{}") ", {}]}", ".rules: a list of 17 elements; at most 16 are accepted"},
	    {HTTP, "spec: {rules: [" MATCHES64 ", " MATCHES64 "]}", ""},
	    {HTTP, "spec: {rules: [" MATCHES64 ", " MATCHES64 ", {}]}", ".rules: must have at most 128 matches in all rules, not 129"},
	    {HTTP, "spec: {rules: [{name: a}, {}, {name: a}]}", ".rules[2].name: \"a\": must not be the name of rule 0 too"},
	    {HTTP, "spec: {rules: [{name: a}, {name: b}, {}, {}]}", ""},
	    {HTTP, "spec: {rules: 5}", ".rules: \"5\": must be a list"},
	    {HTTP, "spec: {other: 1, useDefaultGateways: All}", "warning .other: unknown field, ignored; known are parentRefs, rules, useDefaultGateways, hostnames"},
	    {HTTP, "spec: []", ": a list: must be a mapping"},
	    {GRPC, "spec: {hostnames: ['*']}", ".hostnames[0]: \"*\": " HOST},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_whole_route),
	    cmocka_unit_test(connections_have_routes),
	    cmocka_unit_test(without_rules_all_is_matched),
	    cmocka_unit_test(routes_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
