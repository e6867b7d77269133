#include <stdio.h>

#include "tests/unit/proxy/documents.h"

#define HEAD "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\nspec:\n"
#define BACKEND "backend: {service: {name: a, port: {number: 80}}}"

static const struct route *read_one(struct documents *documents, const char *spec)
{
	char text[2048];

	snprintf(text, sizeof text, HEAD "%s", spec);
	documents_start(documents);
	documents_add(documents, "a.yaml", text);
	assert_int_equal(documents->result, 0);
	assert_int_equal(documents->catalog->counts[KIND_INGRESS], 1);
	return (const struct route *)documents->catalog->objects[KIND_INGRESS];
}

static void a_rule_for_each_path(void **state)
{
	static const struct {
		const char *host, *path, *backend, *port_name;
		enum path_type type;
		uint16_t port;
	} expected[] = {
		{"a.example.com", "/exact/", "one", NULL, PATH_EXACT, 80},
		{"a.example.com", "/prefix", "two", "http", PATH_PREFIX, 0},
		{"*.example.com", "", "three", NULL, PATH_PREFIX, 81},
		{NULL, "/any", "four", NULL, PATH_PREFIX, 82},
		{NULL, "", "rest", NULL, PATH_PREFIX, 83},
	};
	struct documents documents;
	const struct route *route = read_one(
	    &documents, "  ingressClassName: nginx\n"
			"  tls: [{hosts: [a.example.com]}]\n"
			"  defaultBackend: {service: {name: rest, port: {number: 83}}}\n"
			"  rules:\n"
			"  - host: a.example.com\n"
			"    http:\n"
			"      paths:\n"
			"      - {path: /exact/, pathType: Exact, backend: {service: {name: one, port: {number: 80}}}}\n"
			"      - {path: /prefix/, pathType: Prefix, backend: {service: {name: two, port: {name: http}}}}\n"
			"  - host: '*.example.com'\n"
			"    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: three, port: {number: 81}}}}]}\n"
			"  - host: unused.example.com\n"
			"  - host: ''\n"
			"    http: {paths: [{path: /any, pathType: ImplementationSpecific, backend: {service: {name: four, port: "
			"{number: 82}}}}]}\n");

	assert_null(documents.diagnostics.first);
	assert_int_equal(route->parent_count, 0);
	assert_int_equal(route->hostname_count, 0);
	assert_int_equal(route->rule_count, sizeof expected / sizeof *expected);
	for (size_t i = 0; i < route->rule_count; i++) {
		const struct route_rule *rule = &route->rules[i];
		assert_int_equal(rule->index, i);
		if (expected[i].host != NULL)
			assert_string_equal(rule->host, expected[i].host);
		else
			assert_null(rule->host);
		assert_int_equal(rule->match_count, 1);
		assert_int_equal(rule->matches->path_type, expected[i].type);
		assert_string_equal(rule->matches->path, expected[i].path);
		assert_null(rule->matches->method);
		assert_int_equal(rule->backend_count, 1);
		assert_string_equal(rule->backends->namespace, "shop");
		assert_string_equal(rule->backends->name, expected[i].backend);
		assert_string_equal(rule->backends->kind, "Service");
		assert_int_equal(rule->backends->weight, 1);
		assert_int_equal(rule->backends->port, expected[i].port);
		if (expected[i].port_name != NULL)
			assert_string_equal(rule->backends->port_name, expected[i].port_name);
		else
			assert_null(rule->backends->port_name);
		assert_false(rule->backends->invalid);
		assert_null(rule->timeouts);
	}
	documents_end(&documents);
}

static void a_resource_cannot_be_dialled(void **state)
{
	struct documents documents;
	const struct route *route =
	    read_one(&documents, "  defaultBackend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: a}}\n");

	assert_int_equal(route->rule_count, 1);
	assert_true(route->rules->backends->invalid);
	assert_string_equal(route->rules->backends->kind, "Bucket");
	assert_int_equal(documents.diagnostics.warnings, 1);
	assert_non_null(documents_said(&documents, "resource: no Bucket can be dialled; requests for it get 500"));
	documents_end(&documents);
}

static void nothing_is_nothing(void **state)
{
	static const char *const specs[] = {"  {}\n", "  rules: []\n", "  rules: [{host: a.b}]\n"};

	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
		struct documents documents;
		assert_int_equal(read_one(&documents, specs[i])->rule_count, 0);
		documents_end(&documents);
	}
}

#define PATH(path) "  rules: [{http: {paths: [{" path "}]}}]\n"
#define AT "a.yaml:5: Ingress shop/web: spec.rules[0].http.paths[0]"

static void says_what_is_wrong(void **state)
{
	static const struct documents_answer rows[] = {
		{"  rules: [{host: A.example.com}]\n", "a.yaml:5: Ingress shop/web: spec.rules[0].host: \"A.example.com\": "},
		{"  rules: [{host: a.b:80}]\n", "a.yaml:5: Ingress shop/web: spec.rules[0].host: \"a.b:80\": "},
		{"  rules: [{http: {paths: []}}]\n",
		 "a.yaml:5: Ingress shop/web: spec.rules[0].http.paths: must have at least one path"},
		{"  rules: [{http: {}}]\n", "a.yaml:5: Ingress shop/web: spec.rules[0].http.paths: this field is required"},
		{PATH("path: /, " BACKEND), AT ".pathType: this field is required"},
		{PATH("path: /, pathType: Exact"), AT ".backend: this field is required"},
		{PATH("path: /, pathType: Regex, " BACKEND),
		 AT ".pathType: \"Regex\": must be Exact, Prefix or ImplementationSpecific"},
		{PATH("pathType: Prefix, " BACKEND), AT ".path: must start with /"},
		{PATH("path: a, pathType: Prefix, " BACKEND), AT ".path: \"a\": must start with /, without "},
		{PATH("path: a, pathType: ImplementationSpecific, " BACKEND), AT ".path: \"a\": must start with /, or be empty"},
		{PATH("path: /a//b, pathType: Exact, " BACKEND),
		 AT ".path: \"/a//b\": must start with /, without //, ., .. and %2f in it"},
		{PATH("path: /a/../b, pathType: Exact, " BACKEND), AT ".path: \"/a/../b\": "},
		{PATH("path: /a/./b, pathType: Exact, " BACKEND), AT ".path: \"/a/./b\": "},
		{PATH("path: /a/.., pathType: Exact, " BACKEND), AT ".path: \"/a/..\": "},
		{PATH("path: /a%2Fb, pathType: Exact, " BACKEND), AT ".path: \"/a%2Fb\": "},
		{PATH("path: /a..b/.c, pathType: Exact, " BACKEND), NULL},
		{PATH("pathType: ImplementationSpecific, " BACKEND), NULL},
		{PATH("path: '/(a|b)(/|$)', pathType: ImplementationSpecific, " BACKEND),
		 AT ".path: \"/(a|b)(/|$)\": a regular expression, which is not read in an Ingress", .warning = true},
		{PATH("path: /a.b, pathType: ImplementationSpecific, " BACKEND), NULL},
		{PATH("path: '/a(b)', pathType: Prefix, " BACKEND), NULL},
		{"  defaultBackend: {}\n", "a.yaml:5: Ingress shop/web: spec.defaultBackend: must have either service or resource"},
		{"  defaultBackend: {service: {name: a, port: {number: 1}}, resource: {kind: A, name: b}}\n",
		 "a.yaml:5: Ingress shop/web: spec.defaultBackend: must have either service or resource"},
		{"  defaultBackend: {service: {name: a}}\n",
		 "a.yaml:5: Ingress shop/web: spec.defaultBackend.service.port: this field is required"},
		{"  defaultBackend: {service: {name: a, port: {}}}\n",
		 "a.yaml:5: Ingress shop/web: spec.defaultBackend.service.port: must have either number or name"},
		{"  defaultBackend: {service: {name: a, port: {number: 1, name: b}}}\n",
		 "a.yaml:5: Ingress shop/web: spec.defaultBackend.service.port: must have either number or name"},
		{"  backend: {}\n", "a.yaml:5: Ingress shop/web: spec.backend: unknown field, ignored", .warning = true},
	};

	DOCUMENTS_ARE_ANSWERED(HEAD, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_for_each_path),
		cmocka_unit_test(a_resource_cannot_be_dialled),
		cmocka_unit_test(nothing_is_nothing),
		cmocka_unit_test(says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
