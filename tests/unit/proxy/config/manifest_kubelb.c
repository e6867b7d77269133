#include <stdio.h>

#include "tests/unit/proxy/documents.h"

#define HEAD "apiVersion: kubelb.k8c.io/v1alpha1\nmetadata: {name: a, namespace: b}\n"

static const struct kubelb *first(const struct documents *documents, enum kind kind)
{
	assert_int_equal(documents->catalog->counts[kind], 1);
	return (const struct kubelb *)documents->catalog->objects[kind];
}

static void every_timeout_at_every_level(void **state)
{
	static const enum kind kinds[] = {KIND_CONFIG, KIND_TENANT, KIND_KUBELB_ROUTE, KIND_LOAD_BALANCER};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		for (int id = 0; id < TIMEOUT_COUNT; id++) {
			char text[512], source[128];
			struct documents documents;
			snprintf(text, sizeof text, HEAD "kind: %s\nspec: {timeouts: {%s: 1m%ds, %s: null}}\n", catalog_kind_name(kinds[i]),
				 timeouts_name(id), id + 1, timeouts_name((id + 1) % TIMEOUT_COUNT));
			snprintf(source, sizeof source, "%s %sa spec.timeouts.%s", catalog_kind_name(kinds[i]), kinds[i] == KIND_TENANT ? "" : "b/",
				 timeouts_name(id));
			if (timeouts_of_proxy(id) && i > 1) /* of the proxy, not of what it carries: see says_what_is_wrong */
				continue;
			documents_read(&documents, text);
			const struct timeouts *timeouts = first(&documents, kinds[i])->timeouts;
			assert_non_null(timeouts);
			for (int other = 0; other < TIMEOUT_COUNT; other++)
				assert_int_equal(timeouts->of[other].milliseconds, other == id ? 61000 + id * 1000 : TIMEOUT_UNSET);
			assert_string_equal(timeouts->of[id].source, source);
			documents_end(&documents);
		}
	}
}

static void a_tenant_has_no_namespace(void **state)
{
	struct documents documents;

	documents_read(&documents, "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: streaming-tenant}\n"
				   "spec: {timeouts: {tcpIdle: 0s, connect: '0'}}\n");
	const struct timeouts *timeouts = first(&documents, KIND_TENANT)->timeouts;
	assert_int_equal(timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 0);
	assert_int_equal(timeouts->of[TIMEOUT_CONNECT].milliseconds, 0);
	assert_string_equal(timeouts->of[TIMEOUT_TCP_IDLE].source, "Tenant streaming-tenant spec.timeouts.tcpIdle");
	documents_end(&documents);
}

static void nothing_set_is_nothing(void **state)
{
	static const char *const specs[] = {"", "spec:\n", "spec: {}\n", "spec: {timeouts: {}}\n", "spec: {timeouts: null}\n"};

	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
		char text[256];
		struct documents documents;
		snprintf(text, sizeof text, HEAD "kind: Route\n%s", specs[i]);
		documents_read(&documents, text);
		assert_null(first(&documents, KIND_KUBELB_ROUTE)->timeouts);
		assert_int_equal(first(&documents, KIND_KUBELB_ROUTE)->endpoint_count, 0);
		documents_end(&documents);
	}
}

static void every_address_has_every_port(void **state)
{
	static const char *const expected[] = {"10.0.0.1:30080", "10.0.0.2:30080", "[fd00::1]:8080"};
	static const enum kind kinds[] = {KIND_KUBELB_ROUTE, KIND_LOAD_BALANCER};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char text[1024], address[ADDR_TEXT_SIZE];
		struct documents documents;
		snprintf(text, sizeof text,
			 HEAD "kind: %s\n"
			      "spec:\n"
			      "  endpoints:\n"
			      "  - name: default\n"
			      "    addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2, hostname: node-2}]\n"
			      "    ports: [{name: http, port: 30080, protocol: TCP}, {port: 53, protocol: UDP}]\n"
			      "  - addresses: [{ip: 'fd00::1'}]\n"
			      "    ports: [{port: 8080}]\n"
			      "  - addressesReference: {name: nodes}\n"
			      "    ports: [{port: 1}]\n",
			 catalog_kind_name(kinds[i]));
		documents_read(&documents, text);
		const struct kubelb *kubelb = first(&documents, kinds[i]);
		assert_int_equal(kubelb->endpoint_count, 3);
		for (size_t n = 0; n < 3; n++)
			assert_string_equal(addr_format(&kubelb->endpoints[n], address), expected[n]);
		documents_end(&documents);
	}
}

static void says_what_is_wrong(void **state)
{
	static const struct documents_answer rows[] = {
		{"kind: Config\nspec: {timeouts: {request: -1s}}\n", "a.yaml:4: Config b/a: spec.timeouts.request: \"-1s\": "},
		{"kind: Config\nspec: {timeouts: {request: 30}}\n", "a.yaml:4: Config b/a: spec.timeouts.request: \"30\": "},
		{"kind: Config\nspec: {timeouts: {request: 1d}}\n", "a.yaml:4: Config b/a: spec.timeouts.request: \"1d\": "},
		{"kind: Tenant\nspec: {timeouts: {request: ''}}\n", "a.yaml:4: Tenant a: spec.timeouts.request: \"\": "},
		{"kind: Route\nspec: {timeouts: [5s]}\n", "a.yaml:4: Route b/a: spec.timeouts: a list: must be a mapping"},
		{"kind: Route\nspec: {timeouts: {idle: 5s}}\n", "a.yaml:4: Route b/a: spec.timeouts.idle: unknown field, ignored; known are request, backendRequest, streamIdle, ",
		 .warning = true},
		{"kind: Route\nspec: {timeouts: {drain: 5s}}\n",
		 "a.yaml:4: Route b/a: spec.timeouts.drain: \"5s\": has a meaning on a Config or Tenant only, ignored", .warning = true},
		{"kind: Route\nspec: {timeouts: {drainLeast: 5s}}\n",
		 "a.yaml:4: Route b/a: spec.timeouts.drainLeast: \"5s\": has a meaning on a Config or Tenant only, ignored", .warning = true},
		{"kind: LoadBalancer\nspec: {timeouts: {drain: 0s}}\n",
		 "a.yaml:4: LoadBalancer b/a: spec.timeouts.drain: \"0s\": has a meaning on", .warning = true},
		{"kind: Route\nspec: {timeout: {}}\n",
		 "a.yaml:4: Route b/a: spec.timeout: unknown field, ignored", .warning = true},
		{"kind: Config\nspec: {endpoints: []}\n",
		 "a.yaml:4: Config b/a: spec.endpoints: unknown field, ignored", .warning = true},
		{"kind: Config\nspec: {envoyProxy: {any: 1}, loadBalancer: {}, circuitBreaker: {}, dns: {}}\n", NULL},
		{"kind: Tenant\nspec: {allowedDomains: ['**'], tunneling: {}, propagateAllAnnotations: true}\n", NULL},
		{"kind: LoadBalancer\nspec: {type: ClusterIP, ports: [{port: 80}], hostname: a.b}\n", NULL},
		{"kind: Route\nspec: {endpoints: [{addresses: [{ip: web}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].addresses[0].ip: \"web\": must be an IPv4 or IPv6 address"},
		{"kind: Route\nspec: {endpoints: [{addresses: [{ip: 10.0.0.1}, {ip: 127.9.0.1}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].addresses[1].ip: \"127.9.0.1\": must be an address of another host"},
		{"kind: LoadBalancer\nspec: {endpoints: [{addresses: [{ip: '::ffff:0.0.0.0'}]}]}\n",
		 "a.yaml:4: LoadBalancer b/a: spec.endpoints[0].addresses[0].ip: \"::ffff:0.0.0.0\": must be an address of another host"},
		{"kind: Route\nspec: {endpoints: [{addresses: [{}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].addresses[0].ip: this field is required"},
		{"kind: Route\nspec: {endpoints: [{ports: [{port: 0}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].ports[0].port: \"0\": "},
		{"kind: Route\nspec: {endpoints: [{ports: [{name: http}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].ports[0].port: this field is required"},
		{"kind: Route\nspec: {endpoints: [{ports: [{port: 1, protocol: tcp}]}]}\n",
		 "a.yaml:4: Route b/a: spec.endpoints[0].ports[0].protocol: \"tcp\": must be TCP, UDP or SCTP"},
	};

	DOCUMENTS_ARE_ANSWERED(HEAD, rows);
}

/* What is written in 20 kB must not become gigabytes. */
static void pairs_are_bounded(void **state)
{
	char text[20000], *at = text;
	struct documents documents;

	at += sprintf(at, HEAD "kind: Route\nspec: {endpoints: [{addresses: [{ip: 10.0.0.1}");
	for (int i = 1; i < 101; i++)
		at += sprintf(at, ",{ip: 10.0.0.1}");
	at += sprintf(at, "], ports: [{port: 1}");
	for (int i = 1; i < 100; i++)
		at += sprintf(at, ",{port: 1}");
	sprintf(at, "]}]}\n");
	documents_start(&documents);
	documents_add(&documents, "a.yaml", text);
	assert_int_equal(documents.result, -EBADMSG);
	assert_string_equal(documents.diagnostics.first->text,
			    "a.yaml:4: Route b/a: spec.endpoints: 10100 pairs of address and port, at most 10000 are accepted");
	documents_end(&documents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_timeout_at_every_level),
		cmocka_unit_test(a_tenant_has_no_namespace),
		cmocka_unit_test(nothing_set_is_nothing),
		cmocka_unit_test(every_address_has_every_port),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(pairs_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
