#include "proxy/config/manifest_reference.h"

#include "tests/unit/proxy/route_documents.h"

#define HTTP "HTTPRoute"
#define PARENTS(list) "spec: {parentRefs: [" list "]}"
#define BACKENDS(list) "spec: {rules: [{backendRefs: [" list "]}]}"
#define MAIN "{group: '', kind: Service, name: main"

static void check_parent(const struct route_parent *parent, bool service, const char *namespace, const char *name, int port,
			 const char *section)
{
	assert_int_equal(parent->service, service);
	assert_string_equal(parent->namespace, namespace);
	assert_string_equal(parent->name, name);
	assert_int_equal(parent->port, port);
	assert_string_equal(parent->section != NULL ? parent->section : "", section);
}

static void parents_have_defaults(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    PARENTS("{name: edge}, {group: '', kind: Service, name: a}, {group: CoRe, kind: Service, name: b, "
				    "namespace: shop, port: 80, sectionName: http}, "
				    "{group: gateway.networking.x-k8s.io, kind: XListenerSet, name: more}"));
	assert_string_equal(document.said, "");
	assert_int_equal(document.route->parent_count, 4);
	check_parent(&document.route->parents[0], false, "default", "edge", 0, "");
	check_parent(&document.route->parents[1], true, "default", "a", 0, "");
	check_parent(&document.route->parents[2], true, "shop", "b", 80, "http");
	check_parent(&document.route->parents[3], false, "default", "more", 0, "");
	route_document_free(&document);
}

static void other_parents_are_ignored(void **state)
{
	struct route_document document;

	route_document_read(&document, HTTP,
			    PARENTS("{group: policy.linkerd.io, kind: Server, name: s}, {kind: Service, name: a}, " MAIN "}"));
	assert_string_equal(document.said,
			    "warning .parentRefs[0]: a parent of group \"policy.linkerd.io\" and kind Server is ignored; taken are "
			    "Service (group \"\") and Gateway (group gateway.networking.k8s.io)\n"
			    "warning .parentRefs[1]: a parent of group \"gateway.networking.k8s.io\" and kind Service is ignored; taken "
			    "are Service (group \"\") and Gateway (group gateway.networking.k8s.io)");
	assert_int_equal(document.route->parent_count, 1);
	check_parent(&document.route->parents[0], true, "default", "main", 0, "");
	route_document_free(&document);
}

#define SAME(i, j)                                                                                                                 \
	".parentRefs[" #i "]: refers to the same parent as [" #j "]; such references must all set sectionName, port or both, to "  \
	"values that differ"

static void parents_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, PARENTS(MAIN "}, " MAIN "}"), SAME(1, 0)},
	    {HTTP, PARENTS(MAIN "}, " MAIN ", port: 80}"), SAME(1, 0)},
	    {HTTP, PARENTS(MAIN ", port: 80}, " MAIN ", port: 80}"), SAME(1, 0)},
	    {HTTP, PARENTS(MAIN ", port: 80}, " MAIN ", sectionName: a}"), SAME(1, 0)},
	    {HTTP, PARENTS(MAIN ", sectionName: a}, {name: x}, " MAIN ", sectionName: a}"), SAME(2, 0)},
	    {HTTP, PARENTS(MAIN ", port: 80}, " MAIN ", port: 81}"), ""},
	    {HTTP, PARENTS(MAIN ", port: 80, sectionName: a}, " MAIN ", port: 80, sectionName: b}"), ""},
	    {HTTP, PARENTS(MAIN "}, " MAIN ", namespace: other}"), ""},
	    {HTTP, PARENTS("{name: main}, " MAIN "}"), ""},
	    {HTTP, PARENTS("{kind: Gateway}"), ".parentRefs[0].name: this field is required"},
	    {HTTP, PARENTS("{name: a, port: 0}"), ".parentRefs[0].port: \"0\": must be a port from 1 to 65535, without quotes"},
	    {HTTP, PARENTS("{name: a, namespace: a.b}"),
	     ".parentRefs[0].namespace: \"a.b\": must be a namespace of lower-case letters, digits and '-', at most 63 bytes"},
	    {HTTP, PARENTS("{name: A}"),
	     ".parentRefs[0].name: \"A\": must be a name of lower-case letters, digits, '-' and '.', at most 253 bytes"},
	    {HTTP, PARENTS("{name: a, x: 1}"), "warning .parentRefs[0].x: unknown field, ignored; known are group, kind, namespace, name, sectionName, port"},
	    {HTTP, PARENTS("a"), ".parentRefs[0]: \"a\": must be a mapping"},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

static void at_most_32_parents(void **state)
{
	char spec[4096];
	struct text text;
	struct route_document document;

	for (int count = 32; count <= 33; count++) {
		text_init(&text, spec, sizeof spec);
		text_string(&text, "spec: {parentRefs: [");
		for (int i = 0; i < count; i++)
			text_printf(&text, "{name: a%d},", i);
		text_string(&text, "]}");
		route_document_read(&document, HTTP, spec);
		assert_string_equal(document.said,
				    count == 32 ? "" : ".parentRefs: a list of 33 elements; at most 32 are accepted");
		route_document_free(&document);
	}
}

static void backends_have_defaults(void **state)
{
	static const char *const kinds[] = {"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct route_document document;
		route_document_read(&document, kinds[i],
				    BACKENDS("{name: a, port: 80}, {name: b, port: 81, namespace: shop, weight: 0}, "
					     "{name: c, port: 82, weight: 1000000, group: core, kind: Service}"));
		assert_string_equal(document.said, "");
		const struct route_rule *rule = &document.route->rules[0];
		assert_int_equal(rule->backend_count, 3);
		assert_string_equal(rule->backends[0].name, "a");
		assert_string_equal(rule->backends[0].namespace, "default");
		assert_string_equal(rule->backends[0].kind, "Service");
		assert_int_equal(rule->backends[0].weight, 1);
		assert_int_equal(rule->backends[0].port, 80);
		assert_string_equal(rule->backends[1].namespace, "shop");
		assert_int_equal(rule->backends[1].weight, 0);
		assert_int_equal(rule->backends[2].weight, 1000000);
		for (size_t j = 0; j < 3; j++)
			assert_false(rule->backends[j].invalid);
		route_document_free(&document);
	}
}

static void other_backends_are_invalid(void **state)
{
	struct route_document document;

#define IMPORT "rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: A_b, weight: 3}]}]}"
	/* Behind a Gateway nobody is sent there by us. */
	route_document_read(&document, HTTP, "spec: {parentRefs: [{name: gateway}], " IMPORT);
	assert_string_equal(document.said,
			    "warning .rules[0].backendRefs[0]: a backend of group \"multicluster.x-k8s.io\" and kind ServiceImport cannot be "
			    "dialled; taken are Services (group \"\")");
	route_document_free(&document);
	route_document_read(&document, HTTP, "spec: {parentRefs: [{name: gateway}, {group: '', kind: Service, name: web}], " IMPORT);
	assert_string_equal(document.said,
			    "warning .rules[0].backendRefs[0]: a backend of group \"multicluster.x-k8s.io\" and kind ServiceImport cannot be "
			    "dialled: its share of the requests gets an error; taken are Services (group \"\")");
	assert_true(document.route->rules[0].backends[0].invalid);
	assert_string_equal(document.route->rules[0].backends[0].kind, "ServiceImport");
	assert_int_equal(document.route->rules[0].backends[0].weight, 3);
	route_document_free(&document);
}

static void backends_are_checked(void **state)
{
	static const struct route_document_row rows[] = {
	    {HTTP, BACKENDS(""), ""},
	    {HTTP, BACKENDS("{name: a}"), ".rules[0].backendRefs[0]: must have a port, since it is a Service"},
	    {"TCPRoute", BACKENDS("{name: a}"), ".rules[0].backendRefs[0]: must have a port, since it is a Service"},
	    {HTTP, BACKENDS("{port: 80}"), ".rules[0].backendRefs[0].name: this field is required"},
	    {HTTP, BACKENDS("{name: a_b, port: 80}"),
	     ".rules[0].backendRefs[0].name: \"a_b\": must be the name of a Service: lower-case letters, digits, '-' and '.'"},
	    {HTTP, BACKENDS("{name: a, port: 80, weight: -1}"),
	     ".rules[0].backendRefs[0].weight: \"-1\": must be a number from 0 to 1000000"},
	    {HTTP, BACKENDS("{name: a, port: 80, weight: 1000001}"),
	     ".rules[0].backendRefs[0].weight: \"1000001\": must be a number from 0 to 1000000"},
	    {HTTP, BACKENDS("{name: a, port: 70000}"),
	     ".rules[0].backendRefs[0].port: \"70000\": must be a port from 1 to 65535, without quotes"},
	    {"TCPRoute", BACKENDS("{name: a, port: 80, filters: []}"),
	     "warning .rules[0].backendRefs[0].filters: unknown field, ignored; known are group, kind, namespace, name, port, weight"},
	    {HTTP, BACKENDS("{name: a, port: 80, filters: []}"), ""},
	};

	ROUTE_DOCUMENT_CHECK(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parents_have_defaults), cmocka_unit_test(other_parents_are_ignored),
	    cmocka_unit_test(parents_are_checked),   cmocka_unit_test(at_most_32_parents),
	    cmocka_unit_test(backends_have_defaults), cmocka_unit_test(other_backends_are_invalid),
	    cmocka_unit_test(backends_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
