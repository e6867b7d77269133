#include "proxy/config/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/config/manifest_kinds.h"
#include "tests/unit/proxy/documents.h"

#define HEAD "apiVersion: v1\nkind: Service\nmetadata:\n"

static void reads_the_head(void **state)
{
	struct documents documents;

	documents_read(&documents, "---\n"
				   "apiVersion: gateway.networking.k8s.io/v1\n"
				   "kind: HTTPRoute\n"
				   "metadata:\n"
				   "  name: web.v2\n"
				   "  namespace: shop\n"
				   "  labels: {a: b}\n"
				   "  uid: 5f0c\n"
				   "  generation: 3\n"
				   "  creationTimestamp: '2026-01-02T03:04:05Z'\n"
				   "spec:\n"
				   "  parentRefs: [{group: '', kind: Service, name: web}]\n"
				   "status: {what: ever}\n"
				   "---\n"
				   "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"web\", "
				   "\"creationTimestamp\": null, \"annotations\": null}}\n"
				   "---\n"
				   "apiVersion: kubelb.k8c.io/v1alpha1\n"
				   "kind: Tenant\n"
				   "metadata: {name: shop}\n");
	const struct object *route = catalog_find(documents.catalog, KIND_HTTP_ROUTE, "shop", "web.v2");
	assert_non_null(route);
	assert_int_equal(route->created, 1767323045);
	assert_string_equal(route->file, "a.yaml");
	assert_int_equal(route->line, 2);
	const struct object *service = catalog_find(documents.catalog, KIND_SERVICE, "default", "web");
	assert_non_null(service);
	assert_true(service->created == INT64_MAX);
	assert_int_equal(service->line, 15);
	assert_null(service->annotated);
	assert_non_null(catalog_find(documents.catalog, KIND_TENANT, "", "shop"));
	documents_end(&documents);
}

static void every_kind_and_version(void **state)
{
	static const struct {
		const char *api_version;
		enum kind kind;
		const char *spec; /* what it cannot do without */
	} rows[] = {
		{"kubelb.k8c.io/v1alpha1", KIND_CONFIG}, {"kubelb.k8c.io/v1alpha1", KIND_TENANT},
		{"kubelb.k8c.io/v1alpha1", KIND_KUBELB_ROUTE}, {"kubelb.k8c.io/v1alpha1", KIND_LOAD_BALANCER},
		{"gateway.networking.k8s.io/v1", KIND_HTTP_ROUTE}, {"gateway.networking.k8s.io/v1beta1", KIND_HTTP_ROUTE},
		{"gateway.networking.k8s.io/v1alpha2", KIND_HTTP_ROUTE}, {"policy.linkerd.io/v1beta3", KIND_HTTP_ROUTE},
		{"policy.linkerd.io/v1alpha1", KIND_HTTP_ROUTE}, {"gateway.networking.k8s.io/v1", KIND_GRPC_ROUTE},
		
		{"gateway.networking.k8s.io/v1alpha2", KIND_TCP_ROUTE, "rules: [{backendRefs: [{name: a, port: 1}]}]"},
		{"gateway.networking.k8s.io/v1alpha3", KIND_TLS_ROUTE,
		 "hostnames: [a.b], rules: [{backendRefs: [{name: a, port: 1}]}]"},
		{"networking.k8s.io/v1", KIND_INGRESS}, {"linkerd.io/v1alpha2", KIND_SERVICE_PROFILE}, {"v1", KIND_SERVICE}, {"v1", KIND_NAMESPACE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[512];
		struct documents documents;
		snprintf(text, sizeof text, "apiVersion: %s\nkind: %s\nmetadata: {name: a}\nspec: {%s}\n", rows[i].api_version,
			 catalog_kind_name(rows[i].kind), rows[i].spec != NULL ? rows[i].spec : "");
		documents_read(&documents, text);
		assert_int_equal(documents.catalog->counts[rows[i].kind], 1);
		assert_int_equal(documents.catalog->objects[rows[i].kind]->kind, rows[i].kind);
		documents_end(&documents);
	}
}

static void says_what_is_wrong(void **state)
{
	static const struct documents_answer rows[] = {
		{"", NULL},
		{"---\n---\n", NULL},
		{"just text\n", "a.yaml:1: \"just text\": must be a Kubernetes object: a mapping with "},
		{"kind: Service\n", "a.yaml:1: apiVersion: missing; a Kubernetes object has apiVersion, kind and metadata"},
		{"apiVersion: v1\n", "a.yaml:1: kind: missing; a Kubernetes object has apiVersion, kind and metadata"},
		{"apiVersion: v1\nkind: Service\n", "a.yaml:1: Service: metadata: missing; metadata.name is required"},
		{"apiVersion: v1\nkind: Service\nmetadata: []\n", "a.yaml:3: Service: metadata: a list: must be a mapping"},
		{HEAD "  namespace: a\n", "a.yaml:3: Service: metadata.name: this field is required"},
		{HEAD "  name: Web\n",
		 "a.yaml:4: Service: metadata.name: \"Web\": "},
		{HEAD "  name: web\n  namespace: a.b\n",
		 "a.yaml:5: Service a.b/web: metadata.namespace: \"a.b\": "},
		{HEAD "  name: web\n  namespace: ''\n", NULL},
		{HEAD "  name: web\n  creationTimestamp: yesterday\n",
		 "a.yaml:5: Service default/web: metadata.creationTimestamp: \"yesterday\": must be an RFC 3339 instant as "},
		{HEAD "  name: web\n  annotations: text\n",
		 "a.yaml:5: Service default/web: metadata.annotations: \"text\": must be a mapping of names to texts"},
		{HEAD "  name: web\n  annotations: {a: '1', b: 1}\n",
		 "a.yaml:5: Service default/web: metadata.annotations.b: \"1\": is no text and is ignored; quote it", .warning = true},
		{HEAD "  name: web\n  owner: me\n", "a.yaml:5: Service default/web: metadata.owner: unknown field, ignored", .warning = true},
		{HEAD "  name: web\nspecs: {}\n", "a.yaml:5: Service default/web: specs: unknown field, ignored", .warning = true},
		{HEAD "  name: web\nspec: 5\n", "a.yaml:5: Service default/web: spec: \"5\": must be a mapping"},
		{"apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {name: a}\n",
		 "a.yaml:1: Ingress default/a: apiVersion: \"networking.k8s.io/v1beta1\": not a version that is read, as "},
		{"a: [b\n", "a.yaml:2: did not find expected ',' or ']'"},
	};

	struct documents documents;

	DOCUMENTS_ARE_ANSWERED("", rows);
	documents_start(&documents);
	documents_add(&documents, "a.yaml",
		      "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: a, owner: b}\n");
	assert_int_equal(documents.result, -EBADMSG);
	documents_end(&documents);
}

static void unknown_kinds_are_told_of_once(void **state)
{
	static const char text[] = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 1}\n---\n"
				   "apiVersion: apps/v1\nkind: Deployment\n---\n"
				   "apiVersion: serving.knative.dev/v1\nkind: Route\n---\n"
				   "apiVersion: example.com/v1alpha1\nkind: Config\n---\n"
				   "apiVersion: v1\nkind: Pod\n---\n"
				   "apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: a}}]\n";
	struct documents documents;

	documents_start(&documents);
	documents_add(&documents, "a.yaml", text);
	assert_int_equal(documents.result, 0);
	assert_int_equal(documents.diagnostics.warnings, 4);
	assert_string_equal(documents.diagnostics.first->text, "a.yaml:1: kind Deployment (apps/v1) is not read");
	assert_non_null(documents_said(&documents, "a.yaml:9: kind Route (serving.knative.dev/v1) is not read"));
	assert_non_null(documents_said(&documents, "a.yaml:12: kind Config (example.com/v1alpha1) is not read"));
	assert_non_null(documents_said(&documents, "a.yaml:15: kind Pod (v1) is not read"));
	documents_add(&documents, "b.yaml", text);
	assert_int_equal(documents.diagnostics.warnings, 8);
	documents_end(&documents);
}

static void lists_are_unpacked(void **state)
{
	struct documents documents;
	char deep[2048] = "";

	documents_read(&documents, "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
				   "- {apiVersion: v1, kind: Service, metadata: {name: a}}\n"
				   "- apiVersion: v1\n  kind: List\n  items:\n"
				   "  - {apiVersion: v1, kind: Service, metadata: {name: b}}\n"
				   "---\napiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: c}\n"
				   "---\napiVersion: v1\nkind: List\nitems: []\n");
	assert_int_equal(documents.catalog->counts[KIND_SERVICE], 3);
	const struct object *b = catalog_find(documents.catalog, KIND_SERVICE, "default", "b");
	assert_non_null(b);
	assert_int_equal(b->line, 9);
	assert_non_null(catalog_find(documents.catalog, KIND_SERVICE, "default", "c"));
	documents_end(&documents);

	static const struct documents_answer empty[] = {
		{"kind: List\n", "a.yaml:1: List: items: missing or null; taken as an empty list", .warning = true},
		{"kind: List\nitems:\n", "a.yaml:3: List: items: missing or null; taken as an empty list", .warning = true},
		{"kind: ServiceList\nitems: null\n", "a.yaml:3: ServiceList: items: missing or null; taken as an ", .warning = true},
		{"kind: ServiceList\n", "a.yaml:1: ServiceList: items: missing or null; taken as an empty list", .warning = true},
		{"kind: List\nitems: {a: b}\n", "a.yaml:3: List: items: a mapping: must be a list"},
		{"kind: ServiceList\nitems: 5\n", "a.yaml:3: ServiceList: items: \"5\": must be a list"},
		{"kind: AllowList\nmetadata: {name: a}\n", "a.yaml:1: kind AllowList (v1) is not read", .warning = true},
		{"kind: PodList\nitems: []\n", NULL},
	};
	DOCUMENTS_ARE_ANSWERED("apiVersion: v1\n", empty);

	for (int i = 0; i < 9; i++)
		strcat(deep, "{apiVersion: v1, kind: List, items: [");
	for (int i = 0; i < 9; i++)
		strcat(deep, "]}");
	documents_start(&documents);
	documents_add(&documents, "a.yaml", deep);
	assert_int_equal(documents.result, -EBADMSG);
	assert_string_equal(documents.diagnostics.first->text, "a.yaml:1: lists in lists, more than 8 deep");
	documents_end(&documents);

	documents_start(&documents);
	documents_add(&documents, "a.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1}, 5]\n");
	assert_int_equal(documents.diagnostics.errors, 2);
	assert_int_equal(documents.result, -EBADMSG);
	documents_end(&documents);
}

static void an_object_stands_once(void **state)
{
	struct documents documents;

	documents_start(&documents);
	documents_add(&documents, "a.yaml", "\n" HEAD "  name: web\n---\n" HEAD "  name: web\n  namespace: other\n");
	assert_int_equal(documents.result, 0);
	documents_add(&documents, "b.yaml", "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Route\nmetadata: {name: web}\n");
	assert_int_equal(documents.result, 0);
	documents_add(&documents, "c.yaml", HEAD "  name: web\n  namespace: default\n");
	assert_int_equal(documents.result, -EBADMSG);
	assert_string_equal(documents.diagnostics.first->text, "c.yaml:1: Service default/web: is given twice, first at a.yaml:2");
	documents_end(&documents);

	/* Linkerd's HTTPRoute and the Gateway API's are two, whatever their versions. */
	static const char *const groups[] = {"gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3", "gateway.networking.k8s.io/v1beta1"};
	documents_start(&documents);
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		char text[128];
		snprintf(text, sizeof text, "apiVersion: %s\nkind: HTTPRoute\nmetadata: {name: web}\n", groups[i]);
		documents_add(&documents, "a.yaml", text);
		assert_int_equal(documents.result, i < 2 ? 0 : -EBADMSG);
	}
	documents_end(&documents);
}

static void one_of_several_configs_wins(void **state)
{
	struct documents documents;

	documents_start(&documents);
	documents_add(&documents, "a.yaml", "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Config\nmetadata: {name: a}\n");
	documents_add(&documents, "b.yaml", "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Config\nmetadata: {name: b}\n");
	assert_int_equal(documents.result, 0);
	assert_int_equal(documents.catalog->counts[KIND_CONFIG], 2);
	assert_string_equal(documents.diagnostics.first->text, "b.yaml:1: Config default/b: Config default/a is at a.yaml:1 already; "
							       "of a field that both set, this one counts, which is read later");
	documents_end(&documents);
}

static void annotations_are_applied(void **state)
{
	struct documents documents;

	documents_read(&documents, HEAD "  name: web\n  annotations:\n    lapse.proxy/timeout-connect: 7s\n    other/one: x\n");
	const struct object *service = documents.catalog->objects[KIND_SERVICE];
	assert_non_null(service->annotated);
	assert_int_equal(service->annotated->of[TIMEOUT_CONNECT].milliseconds, 7000);
	assert_string_equal(service->annotated->of[TIMEOUT_CONNECT].source,
			    "annotation lapse.proxy/timeout-connect on Service default/web");
	documents_end(&documents);
}

static void a_failed_document_does_not_hide_the_next(void **state)
{
	struct documents documents;

	documents_start(&documents);
	documents_add(&documents, "a.yaml", HEAD "  name: A\n---\n" HEAD "  name: b\n---\n" HEAD "  name: C\n");
	assert_int_equal(documents.result, -EBADMSG);
	assert_int_equal(documents.diagnostics.errors, 2);
	assert_int_equal(documents.catalog->counts[KIND_SERVICE], 1);
	documents_end(&documents);
}

static void instants(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* INT64_MIN: refused */
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0}, {"1969-12-31T23:59:59Z", -1}, {"2024-02-29T12:00:00Z", 1709208000},
		{"2000-02-29T00:00:00Z", 951782400}, {"0001-01-01T00:00:00Z", INT64_C(-62135596800)},
		{"9999-12-31T23:59:59Z", INT64_C(253402300799)}, {"2026-01-02T03:04:05.999999Z", 1767323045},
		{"2026-01-02T04:04:05+01:00", 1767323045}, {"2026-01-01T21:34:05-05:30", 1767323045},
		{"2023-02-29T00:00:00Z", INT64_MIN}, {"1900-02-29T00:00:00Z", INT64_MIN}, {"2026-13-01T00:00:00Z", INT64_MIN},
		{"2026-00-01T00:00:00Z", INT64_MIN}, {"2026-01-00T00:00:00Z", INT64_MIN}, {"2026-04-31T00:00:00Z", INT64_MIN},
		{"2026-01-02T24:00:00Z", INT64_MIN}, {"2026-01-02T00:60:00Z", INT64_MIN}, {"2026-01-02T00:00:60Z", INT64_MIN},
		{"2026-01-02T03:04:05", INT64_MIN}, {"2026-01-02T03:04:05.Z", INT64_MIN}, {"2026-01-02T03:04:05Zx", INT64_MIN},
		{"2026-01-02 03:04:05Z", INT64_MIN}, {"2026-01-02T03:04:05+1:00", INT64_MIN}, {"2026-01-02", INT64_MIN},
		{"", INT64_MIN},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[256];
		struct documents documents;
		snprintf(text, sizeof text, HEAD "  name: a\n  creationTimestamp: '%s'\n", rows[i].text);
		documents_start(&documents);
		documents_add(&documents, "a.yaml", text);
		const struct object *object = documents.catalog->objects[KIND_SERVICE];
		int64_t seconds = object != NULL ? object->created : INT64_MIN;
		if (seconds != rows[i].seconds)
			fail_msg("%s: %lld, expected %lld", rows[i].text, (long long)seconds, (long long)rows[i].seconds);
		documents_end(&documents);
	}
}

static void subdomains(void **state)
{
	static const char *const good[] = {"a", "0", "a-b", "a.b", "web.default.svc.cluster.local",
					   "a23456789012345678901234567890123456789012345678901234567890123"};
	static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "-a", "a-", "a-.b", "a.-b", "A", "a_b", "a b", "*.a",
					  "\xc3\xa4",
					  "a234567890123456789012345678901234567890123456789012345678901234"};
	char longest[255];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!manifest_is_subdomain(good[i]))
			fail_msg("\"%s\" is one", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (manifest_is_subdomain(bad[i]))
			fail_msg("\"%s\" is none", bad[i]);
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = i % 2 ? '.' : 'a';
	longest[253] = '\0';
	assert_true(manifest_is_subdomain(longest));
	longest[253] = 'a';
	longest[254] = '\0';
	assert_false(manifest_is_subdomain(longest));
}

/* Ten thousand objects; linear, or this takes too long to go unnoticed. */
static void many_objects(void **state)
{
	enum { COUNT = 10000 };
	char *text = malloc(COUNT * 64), *at = text;
	struct documents documents;

	assert_non_null(text);
	for (int i = 0; i < COUNT; i++)
		at += sprintf(at, "---\n{apiVersion: v1, kind: Service, metadata: {name: s%d}}\n", i);
	documents_read(&documents, text);
	assert_int_equal(documents.catalog->counts[KIND_SERVICE], COUNT);
	documents_end(&documents);
	free(text);
}

/* Each kind has its row, the pod apart; each row has three cells. */
static void kinds_are_printed(void **state)
{
	static const char head[] = "| kind | apiVersion | what is read |\n|---|---|---|\n";
	static const char *const rows[] = {
		"| Tenant | `kubelb.k8c.io/v1alpha1` | ",
		"`gateway.networking.k8s.io/v1`, `v1beta1`, `v1alpha3`, `v1alpha2`; `policy.linkerd.io/v1beta3`, `v1beta2`, ",
		"| Service | `v1` | `clusterIP` and ",
	};
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);

	assert_non_null(to);
	manifest_print_kinds(to);
	fclose(to);
	assert_int_equal(strncmp(text, head, strlen(head)), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_non_null(strstr(text, rows[i]));
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		char start[64];
		snprintf(start, sizeof start, "\n| %s | `", catalog_kind_name((enum kind)kind));
		assert_int_equal(strstr(text, start) != NULL, kind != KIND_POD);
	}
	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
		size_t bars = 0;
		for (const char *c = at; *c != '\n'; c++)
			bars += *c == '|';
		assert_int_equal(bars, 4);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_head),
		cmocka_unit_test(every_kind_and_version),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(unknown_kinds_are_told_of_once),
		cmocka_unit_test(lists_are_unpacked),
		cmocka_unit_test(an_object_stands_once),
		cmocka_unit_test(one_of_several_configs_wins),
		cmocka_unit_test(annotations_are_applied),
		cmocka_unit_test(a_failed_document_does_not_hide_the_next),
		cmocka_unit_test(instants),
		cmocka_unit_test(subdomains),
		cmocka_unit_test(many_objects),
		cmocka_unit_test(kinds_are_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
