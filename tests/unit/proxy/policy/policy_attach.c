#include "tests/unit/proxy/policy_world.h"

/* Whose route a client of the namespace "clients" meets on a Service of "shop". */
static void consumer_before_producer(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "producer", "shop", "web", "")
	    ROUTE("HTTPRoute", "strangers", "stranger", "shop", "web", "");
	static const char consumer[] = ROUTE("HTTPRoute", "clients", "consumer", "shop", "web", "");
	char both[4096];
	struct policy_rule_view view;
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
	policy_rule_view(choice.rule, &view);
	assert_string_equal(view.name, "producer");
	world_free(&world);

	snprintf(both, sizeof both, "%s%s", documents, consumer);
	world_new(&world, both, NULL, NULL, NULL, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
	policy_rule_view(choice.rule, &view);
	assert_string_equal(view.name, "consumer");
	world_free(&world);
}

static void parent_port_and_section(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a, namespace: shop}\n"
	    "spec: {parentRefs: [{group: '', kind: Service, name: web, sectionName: other}]}\n";
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	assert_false(policy_target_has_routes(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80")));
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:90"), "GET", "/", "web", &choice);
	assert_non_null(choice.rule);
	/* A port that the Service does not have, and its pod's port. */
	assert_null(policy_target_name(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:8080")));
	world_free(&world);
}

/* A Gateway's routes bring timeouts, and no more than that. */
static void gateway_routes_advise(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a, namespace: shop, "
	    "annotations: {kubelb.k8c.io/timeout-stream-idle: 7s}}\n"
	    "spec:\n  parentRefs: [{name: gateway}]\n  rules:\n"
	    "  - matches: [{path: {value: /api}}]\n    timeouts: {request: 2s}\n    backendRefs: [{name: web, port: 80}]\n"
	    "    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]\n"
	    "  - matches: [{path: {value: /no}}]\n    timeouts: {request: 3s}\n    backendRefs: [{name: another, port: 80}]\n";
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/api", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 2000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	expect_timeout(choice.timeouts, TIMEOUT_STREAM_IDLE, 7000, "annotation kubelb.k8c.io/timeout-stream-idle on HTTPRoute shop/a");
	assert_null(choice.filters);
	assert_null(choice.backend);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/no", "web", &choice);
	assert_int_equal(choice.refusal, REASON_NONE);
	assert_null(choice.rule);
	/* Before the request the only route's annotations count; it does not take this one. */
	assert_int_equal(policy_target_timeouts(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"))->of[TIMEOUT_STREAM_IDLE].milliseconds,
	                 7000);
	expect_timeout(choice.timeouts, TIMEOUT_STREAM_IDLE, 3600000, "built-in");
	world_free(&world);
}

/* What a Service says of retries holds for requests that a Gateway's route or an Ingress takes too. */
static void gateway_routes_leave_retries(void **state)
{
	static const char documents[] =
	    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop, annotations: {retry.linkerd.io/http: '503'}}\n"
	    "spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n"
	    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\n"
	    "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n";
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
	assert_non_null(choice.rule);
	assert_non_null(choice.retry);
	assert_string_equal(choice.retry->source, "annotation retry.linkerd.io/http on Service shop/web");
	world_free(&world);
}

static void inbound_by_selector(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "  selector: {app: web, tier: front}\n")
	    SERVICE("shop", "db", "10.0.0.2", "  selector: {app: db}\n")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web",
	          "  rules: [{timeouts: {request: 2s}, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]}]\n");
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, "app=\"web\"\ntier=\"front\"\n", NULL, NULL);
	assert_string_equal(policy_target_name(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8080")), "shop/web");
	assert_null(policy_target_name(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8081")));
	world_choose(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8080"), "GET", "/", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 2000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	assert_null(choice.filters);
	{
		const char *namespace, *name;
		uint16_t port = 1;

		assert_true(policy_target_service(policy_target_named(world.policy, DIRECTION_INBOUND, "shop", "web", 80), &namespace, &name, &port));
		assert_string_equal(namespace, "shop");
		assert_string_equal(name, "web");
		assert_int_equal(port, 80);
	}
	assert_null(policy_target_named(world.policy, DIRECTION_INBOUND, "shop", "db", 80));
	assert_non_null(policy_target_named(world.policy, DIRECTION_INBOUND, "shop", "web", 80));
	world_free(&world);
}

/* An annotation counts over what the routes say, as on other kinds, and over what holds for those that say nothing. */
static void profile_annotations(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: web.shop.svc.cluster.local, namespace: shop, "
	    "annotations: {lapse.proxy/timeout-request: 4s}}\n"
	    "spec: {routes: [{name: a, condition: {pathRegex: /a}, timeout: 1s}, {name: b, condition: {pathRegex: /b}}]}\n";
	static const char *const paths[] = {"/a", "/b"};
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", paths[i], "web", &choice);
		expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 4000,
		               "annotation lapse.proxy/timeout-request on ServiceProfile shop/web.shop.svc.cluster.local");
	}
	world_free(&world);
}

static void profile_takes_over(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web", "")
	    "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: web.shop.svc.cluster.local, namespace: shop}\n"
	    "spec:\n  routes:\n  - name: HEAD /a\n    condition: {method: HEAD, pathRegex: '/a/.*'}\n    timeout: 300ms\n"
	    "    isRetryable: true\n  - name: rest of /a\n    condition: {pathRegex: '/a/.*'}\n";
	const struct policy_target *target;
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80");
	world_choose(target, "HEAD", "/a/b?c", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 300,
	             "ServiceProfile shop/web.shop.svc.cluster.local route HEAD /a timeout");
	assert_true(choice.until_head);
	assert_non_null(choice.budget);
	world_choose(target, "GET", "/a/b", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 10000, "built-in ServiceProfile default");
	assert_null(choice.retry);
	world_choose(target, "GET", "/", "web", &choice);
	assert_null(choice.rule);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 0, "built-in");
	assert_int_equal(choice.refusal, REASON_NONE);
	world_free(&world);
}

static void one_kind_wins(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "http", "shop", "web", "")
	    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: tcp, namespace: shop}\n"
	    "spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n";
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	assert_false(policy_target_has_connection(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80")));
	assert_true(policy_diagnostics(world.policy)->warnings > 0);
	assert_non_null(strstr(policy_diagnostics(world.policy)->first->text, "TCPRoute shop/tcp: ignored on Service shop/web port"));
	world_free(&world);
}

/* Of routes that match alike the older one counts, then the first by name; not the one that is read first. */
static void equal_connection_routes(void **state)
{
	static const struct {
		const char *first, *second, *wins;
	} rows[] = {
	    {"name: a", "name: b", "a"},
	    {"name: b", "name: a", "a"},
	    {"name: a, creationTimestamp: 2026-01-02T00:00:00Z", "name: b, creationTimestamp: 2026-01-01T00:00:00Z", "b"},
	    {"name: b, creationTimestamp: 2026-01-01T00:00:00Z", "name: a, creationTimestamp: 2026-01-02T00:00:00Z", "b"},
	    {"name: b, creationTimestamp: 2026-01-01T00:00:00Z", "name: a", "b"},
	};
	static const char *const kinds[] = {"TCPRoute", "TLSRoute"};
	static const char form[] =
	    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: %s\nmetadata: {namespace: shop, %s}\n"
	    "spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n";

	for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
		const char *kind = kinds[i % 2], *wins = rows[i / 2].wins;
		struct policy_rule_view view;
		struct policy_choice choice;
		struct world world;
		TEXT_ON_STACK(text, 2048);

		text_string(&text, SERVICE("shop", "web", "10.0.0.1", ""));
		text_printf(&text, form, kind, rows[i / 2].first);
		text_printf(&text, form, kind, rows[i / 2].second);
		world_new(&world, text.data, NULL, NULL, NULL, NULL);
		policy_connection(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), NULL, &choice);
		policy_rule_view(choice.rule, &view);
		if (strcmp(view.name, wins) != 0)
			fail_msg("%s: {%s} and {%s}: %s", kind, rows[i / 2].first, rows[i / 2].second, view.name);
		world_free(&world);
	}
}

/* What refers to nothing is said. */
static void applies_to_nothing(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a, namespace: shop}\n"
	    "spec: {parentRefs: [{group: '', kind: Service, name: web, port: 80, sectionName: other}]}\n"
	    "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: web, namespace: shop}\nspec: {routes: []}\n";
	const struct diagnostics *diagnostics;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	diagnostics = policy_diagnostics(world.policy);
	assert_int_equal(diagnostics->warnings, 2);
	assert_non_null(strstr(diagnostics->first->text, "ServiceProfile shop/web: applies to nothing"));
	assert_non_null(strstr(diagnostics->last->text, "HTTPRoute shop/a: a parentRef to Service shop/web applies to nothing"));
	world_free(&world);
}

/* A backend that its Service's document does not have is told of; one that may be in DNS is not. */
static void backend_without_a_port(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  rules: [{backendRefs: [{name: web, port: 81}, {name: gone, port: 80}]}]\n");
	const struct diagnostics *diagnostics;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	diagnostics = policy_diagnostics(world.policy);
	assert_int_equal(diagnostics->warnings, 1);
	assert_non_null(strstr(diagnostics->first->text, ".yaml:9: HTTPRoute shop/a: the backend shop/web has no TCP port 81; its share"));
	world_free(&world);
}

/* A route is the Gateway's only if one of its parents is, or if it names none. */
static void parents_of_no_use(void **state)
{
	static const struct {
		const char *parents;
		bool advises;
	} rows[] = {
	    {"{name: gateway}", true},
	    {"{name: gateway}, {group: a.example, kind: Mesh, name: x}", true},
	    {"", true},
	    {"{kind: Service, name: web}", false}, /* of the Gateway's group */
	    {"{group: a.example, kind: Mesh, name: x}", false},
	    {"{group: '', kind: Pod, name: x}, {group: a.example, kind: Mesh, name: x}", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct policy_target *target;
		char documents[1024];
		struct world world;

		snprintf(documents, sizeof documents,
		         SERVICE("shop", "web", "10.0.0.1", "")
		         "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a, namespace: shop}\n"
		         "spec: {parentRefs: [%s], rules: [{timeouts: {request: 2s}, backendRefs: [{name: web, port: 80}]}]}\n",
		         rows[i].parents);
		world_new(&world, documents, NULL, NULL, NULL, NULL);
		target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80");
		if (policy_target_has_routes(target) != rows[i].advises)
			fail_msg("parentRefs: [%s]", rows[i].parents);
		world_free(&world);
	}
}

/* Inbound too a Service's own routes count before those of Gateways and Ingresses, and of these the best kind; but all only advise. */
static void inbound_order(void **state)
{
#define INGRESS "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: ingress, namespace: shop, " \
                "annotations: {lapse.proxy/timeout-request: 3s}}\n"                                                       \
                "spec: {rules: [{http: {paths: [{path: /exact/long, pathType: Exact, backend: {service: {name: web, "     \
                "port: {number: 80}}}}]}}]}\n"
#define GATEWAY ROUTE("HTTPRoute", "shop", "gateway", "shop", "x}, {name: gateway", \
                      "  rules: [{timeouts: {request: 2s}, matches: [{path: {type: Exact, value: /exact}}], " \
                      "backendRefs: [{name: web, port: 80}]}]\n")
#define PRODUCER(match) ROUTE("HTTPRoute", "shop", "producer", "shop", "web", \
                              "  rules: [{timeouts: {request: 1s}, matches: [{path: {value: " match "}}], backendRefs: [{name: v2, port: 80}]}]\n")
#define CONSUMER ROUTE("HTTPRoute", "clients", "consumer", "shop", "web", "  rules: [{timeouts: {request: 4s}}]\n")
#define TCP "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: tcp, namespace: shop}\n" \
            "spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n"
	static const struct {
		const char *documents, *path, *takes; /* NULL: nobody */
	} rows[] = {
	    {INGRESS GATEWAY, "/exact", "gateway"},
	    {INGRESS GATEWAY, "/exact/long", "ingress"},
	    {INGRESS GATEWAY, "/other", NULL},
	    {INGRESS GATEWAY PRODUCER("/"), "/exact", "producer"},
	    {INGRESS GATEWAY PRODUCER("/"), "/exact/long", "producer"},
	    {INGRESS GATEWAY PRODUCER("/exact"), "/other", NULL},
	    {CONSUMER GATEWAY, "/exact", "gateway"},
	    {CONSUMER PRODUCER("/"), "/", "producer"},
	    {TCP INGRESS GATEWAY, "/exact", "tcp"},
	    {TCP PRODUCER("/a"), "/b", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct policy_rule_view view = {0};
		struct policy_choice choice;
		struct world world;
		TEXT_ON_STACK(documents, 4096);

		text_string(&documents, SERVICE("shop", "web", "10.0.0.1", "  selector: {app: web}\n"));
		text_string(&documents, rows[i].documents);
		world_new(&world, documents_bytes, NULL, "app=\"web\"\n", NULL, NULL);
		world_choose(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8080"), "GET", rows[i].path, "web", &choice);
		if (choice.rule)
			policy_rule_view(choice.rule, &view);
		if (!choice.rule != !rows[i].takes || (choice.rule && strcmp(view.name, rows[i].takes) != 0))
			fail_msg("row %zu: %s", i, choice.rule ? view.name : "none");
		assert_int_equal(choice.refusal, REASON_NONE);
		assert_null(choice.backend);
		assert_true(!choice.rule || (view.advises && !view.backend_count));
		world_free(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(consumer_before_producer),
	    cmocka_unit_test(parent_port_and_section),
	    cmocka_unit_test(gateway_routes_advise),
	    cmocka_unit_test(gateway_routes_leave_retries),
	    cmocka_unit_test(inbound_by_selector),
	    cmocka_unit_test(profile_annotations),
	    cmocka_unit_test(profile_takes_over),
	    cmocka_unit_test(one_kind_wins),
	    cmocka_unit_test(equal_connection_routes),
	    cmocka_unit_test(applies_to_nothing),
	    cmocka_unit_test(backend_without_a_port),
	    cmocka_unit_test(parents_of_no_use),
	    cmocka_unit_test(inbound_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
