#include "tests/unit/proxy/policy_world.h"

static void no_rule_is_404(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  hostnames: [a.example]\n  rules: [{matches: [{path: {value: /api}}]}]\n");
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/api/x", "a.example:80", &choice);
	assert_int_equal(choice.refusal, REASON_NONE);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/other", "a.example", &choice);
	assert_int_equal(choice.refusal, REASON_NO_ROUTE);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/api", "b.example", &choice);
	assert_int_equal(choice.refusal, REASON_NO_ROUTE);
	world_free(&world);
}

static void weights(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "") SERVICE("shop", "v2", "10.0.0.2", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web",
	          "  rules: [{backendRefs: [{name: web, port: 80, weight: 9}, {name: v2, port: 80}, {name: v3, port: 80, weight: 0}]}]\n");
	struct policy_choice choice;
	struct world world;
	int counts[2] = {0};

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	for (int i = 0; i < 100; i++) {
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
		assert_int_equal(choice.refusal, REASON_NONE);
		counts[choice.address != NULL]++;
		if (choice.address)
			assert_int_equal(choice.address->bytes[3], 2);
	}
	assert_in_range(counts[0], 88, 92);
	assert_in_range(counts[1], 8, 12);
	world_free(&world);
}

static void backends_that_cannot_be(void **state)
{
	static const struct {
		const char *backends;
		enum reason_id refusal;
	} rows[] = {
	    {"{name: web, port: 80}", REASON_NONE},
	    {"{name: v2, port: 80}", REASON_NONE},
	    {"{name: v2, port: 81}", REASON_ROUTE_INVALID},              /* no such port */
	    {"{name: x, kind: Bucket, group: a.example}", REASON_ROUTE_INVALID},
	    {"{name: unknown, port: 80}", REASON_BACKEND_UNRESOLVED},    /* not resolved yet */
	    {"{name: web, port: 80, weight: 0}", REASON_ROUTE_INVALID},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char documents[2048];
		struct policy_choice choice;
		struct world world;

		snprintf(documents, sizeof documents,
		         SERVICE("shop", "web", "10.0.0.1", "") SERVICE("shop", "v2", "10.0.0.2", "")
		             ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  rules: [{backendRefs: [%s]}]\n"),
		         rows[i].backends);
		world_new(&world, documents, NULL, NULL, NULL, NULL);
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
		if (choice.refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].backends, reason_row(choice.refusal)->name);
		world_free(&world);
	}
}

/* Where one backend cannot be, the rule still works. */
static void another_backend_is_able(void **state)
{
	static const struct {
		const char *backends;
		enum reason_id refusal;
	} rows[] = {
	    {"{name: x, kind: Bucket, group: a.example}, {name: web, port: 80}", REASON_NONE},
	    {"{name: x, kind: Bucket, group: a.example}, {name: v2, port: 81}", REASON_ROUTE_INVALID},
	    {"{name: x, kind: Bucket, group: a.example}, {name: web, port: 80, weight: 0}", REASON_ROUTE_INVALID},
	    {"{name: web, port: 80, weight: 0}, {name: v2, port: 80, weight: 0}", REASON_ROUTE_INVALID},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char documents[2048];
		struct policy_choice choice;
		struct world world;

		snprintf(documents, sizeof documents,
		         SERVICE("shop", "web", "10.0.0.1", "") SERVICE("shop", "v2", "10.0.0.2", "")
		             ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  rules: [{backendRefs: [%s]}]\n"),
		         rows[i].backends);
		world_new(&world, documents, NULL, NULL, NULL, NULL);
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
		assert_int_equal(choice.refusal, REASON_ROUTE_INVALID);
		policy_choose_able(&choice);
		if (choice.refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].backends, reason_row(choice.refusal)->name);
		if (!choice.refusal)
			assert_string_equal(choice.backend->name, "web");
		world_free(&world);
	}
}

static void tcp_and_tls(void **state)
{
	static const char documents[] = SERVICE("shop", "db", "10.0.0.1", "") SERVICE("shop", "db2", "10.0.0.2", "")
	    SERVICE("shop", "tls", "10.0.0.3", "")
	    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: tcp, namespace: shop, "
	    "annotations: {kubelb.k8c.io/timeout-tcp-idle: 24h, kubelb.k8c.io/timeout-connect: 2s}}\n"
	    "spec: {parentRefs: [{group: '', kind: Service, name: db}], rules: [{backendRefs: [{name: db2, port: 90}]}]}\n"
	    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TLSRoute\nmetadata: {name: any, namespace: shop, "
	    "annotations: {lapse.proxy/timeout-tcp-idle: 1m}}\n"
	    "spec: {hostnames: ['*.example'], parentRefs: [{group: '', kind: Service, name: tls}], rules: [{backendRefs: [{name: tls, port: 80}]}]}\n"
	    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TLSRoute\nmetadata: {name: one, namespace: shop, "
	    "annotations: {lapse.proxy/timeout-tcp-idle: 2m}}\n"
	    "spec: {hostnames: ['*.b.example', a.example], parentRefs: [{group: '', kind: Service, name: tls}], rules: [{backendRefs: [{name: tls, port: 80}]}]}\n";
	const struct policy_target *target;
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	policy_connection(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), NULL, &choice);
	expect_timeout(choice.timeouts, TIMEOUT_TCP_IDLE, 86400000, "annotation kubelb.k8c.io/timeout-tcp-idle on TCPRoute shop/tcp");
	expect_timeout(choice.timeouts, TIMEOUT_CONNECT, 2000, "annotation kubelb.k8c.io/timeout-connect on TCPRoute shop/tcp");
	assert_non_null(choice.address);
	assert_int_equal(choice.address->bytes[3], 2);
	assert_int_equal(choice.address->port, 90);
	target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.3:80");
	policy_connection(target, "a.example", &choice);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 120000);
	policy_connection(target, "a.b.example", &choice);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 120000);
	policy_connection(target, "b.example", &choice);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 60000);
	policy_connection(target, NULL, &choice);
	assert_null(choice.rule);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 3600000);
	world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_rule_is_404),
	    cmocka_unit_test(weights),
	    cmocka_unit_test(backends_that_cannot_be),
	    cmocka_unit_test(another_backend_is_able),
	    cmocka_unit_test(tcp_and_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
