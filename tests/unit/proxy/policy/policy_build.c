#include "tests/unit/proxy/policy_world.h"

static void unset_is_built_in(void **state)
{
	struct world world;

	world_new(&world, "", NULL, NULL, NULL, NULL);
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		expect_timeout(policy_timeouts(world.policy), id, timeouts_default(id), "built-in");
	world_free(&world);
}

/* Every level sets one timeout more than the one above it, so that each shows where it is the highest. */
static void levels(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Config\nmetadata: {name: default, namespace: kubelb}\n"
	    "spec: {timeouts: {request: 1s, streamIdle: 1s, requestHeaders: 1s, idleConnection: 1s, tcpIdle: 1s, connect: 1s, detect: 1s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\n"
	    "spec: {timeouts: {request: 3s, streamIdle: 3s, requestHeaders: 3s, idleConnection: 3s, tcpIdle: 3s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: other}\nspec: {timeouts: {request: 99s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: web, namespace: shop}\n"
	    "spec: {timeouts: {request: 5s, streamIdle: 5s, requestHeaders: 0s}}\n"
	    SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "web", "shop", "web",
	          "  rules:\n  - timeouts: {request: 6s}\n");
	static const char *const flags[] = {"--timeout-connect", "2s", "--timeout-tcp-idle", "2s", NULL};
	static const char annotations[] = "lapse.proxy/timeout-idle-connection=\"4s\"\nlapse.proxy/timeout-request=\"4s\"\n";
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, annotations, NULL, flags, NULL);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 6000, "HTTPRoute shop/web spec.rules[0].timeouts.request");
	expect_timeout(choice.timeouts, TIMEOUT_STREAM_IDLE, 5000, "LoadBalancer shop/web spec.timeouts.streamIdle");
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST_HEADERS, 0, "LoadBalancer shop/web spec.timeouts.requestHeaders");
	expect_timeout(choice.timeouts, TIMEOUT_IDLE_CONNECTION, 4000, "annotation lapse.proxy/timeout-idle-connection on the pod");
	expect_timeout(choice.timeouts, TIMEOUT_TCP_IDLE, 3000, "Tenant shop spec.timeouts.tcpIdle");
	expect_timeout(choice.timeouts, TIMEOUT_CONNECT, 2000, "flag --timeout-connect");
	expect_timeout(choice.timeouts, TIMEOUT_DETECT, 1000, "Config kubelb/default spec.timeouts.detect");
	expect_timeout(choice.timeouts, TIMEOUT_SERVER_IDLE, 60000, "built-in");
	/* What belongs to no Service has neither its Tenant nor its LoadBalancer. */
	expect_timeout(policy_timeouts(world.policy), TIMEOUT_TCP_IDLE, 2000, "flag --timeout-tcp-idle");
	expect_timeout(policy_timeouts(world.policy), TIMEOUT_REQUEST, 4000, "annotation lapse.proxy/timeout-request on the pod");
	world_free(&world);
}

/* Annotations of a Config or Tenant stand on the level of their object, over its spec. */
static void annotated_levels(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Config\nmetadata: {name: default, namespace: kubelb, annotations: "
	    "{lapse.proxy/timeout-request: 2s, lapse.proxy/timeout-connect: 2s, lapse.proxy/timeout-drain: 2s, "
	    "lapse.proxy/timeout-tcp-idle: 2s}}\nspec: {timeouts: {request: 1s, detect: 1s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: shop, annotations: "
	    "{lapse.proxy/timeout-tcp-idle: 0s}}\nspec: {timeouts: {tcpIdle: 3s}}\n" SERVICE("shop", "web", "10.0.0.1", "");
	static const char *const flags[] = {"--timeout-connect", "5s", NULL};
	const struct timeouts *timeouts;
	struct world world;

	world_new(&world, documents, NULL, NULL, flags, NULL);
	timeouts = policy_target_timeouts(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"));
	expect_timeout(timeouts, TIMEOUT_REQUEST, 2000, "annotation lapse.proxy/timeout-request on Config kubelb/default");
	expect_timeout(timeouts, TIMEOUT_DETECT, 1000, "Config kubelb/default spec.timeouts.detect");
	expect_timeout(timeouts, TIMEOUT_CONNECT, 5000, "flag --timeout-connect");
	expect_timeout(timeouts, TIMEOUT_TCP_IDLE, 0, "annotation lapse.proxy/timeout-tcp-idle on Tenant shop");
	expect_timeout(policy_timeouts(world.policy), TIMEOUT_TCP_IDLE, 2000,
	               "annotation lapse.proxy/timeout-tcp-idle on Config kubelb/default");
	expect_timeout(policy_timeouts(world.policy), TIMEOUT_DRAIN, 2000, "annotation lapse.proxy/timeout-drain on Config kubelb/default");
	world_free(&world);
}

static void endpoints(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: lb, namespace: shop}\n"
	    "spec:\n  timeouts: {tcpIdle: 5m}\n  endpoints: [{addresses: [{ip: 192.0.2.1}, {ip: '2001:db8::1'}], ports: [{port: 31000}]}]\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\n"
	    "spec: {timeouts: {tcpIdle: 1m, idleConnection: 7m}}\n";
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	for (int direction = 0; direction < 2; direction++) {
		expect_timeout(policy_target_timeouts(world_target(&world, direction, "192.0.2.1:31000")), TIMEOUT_TCP_IDLE, 300000,
		             "LoadBalancer shop/lb spec.timeouts.tcpIdle");
		expect_timeout(policy_target_timeouts(world_target(&world, direction, "192.0.2.1:31000")), TIMEOUT_IDLE_CONNECTION, 420000,
		             "Tenant shop spec.timeouts.idleConnection");
		expect_timeout(policy_target_timeouts(world_target(&world, direction, "[2001:db8::1]:31000")), TIMEOUT_TCP_IDLE, 300000,
		             "LoadBalancer shop/lb spec.timeouts.tcpIdle");
		expect_timeout(policy_target_timeouts(world_target(&world, direction, "192.0.2.1:31001")), TIMEOUT_TCP_IDLE, 3600000,
		             "built-in");
	}
	world_free(&world);
}

/* Without a document of its Service a route waits for DNS; named, it can be asked about. */
static void names_to_resolve(void **state)
{
	static const char documents[] = ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  rules: [{backendRefs: [{name: v2, port: 80}]}]\n")
	    SERVICE("shop", "v2", "10.0.0.2", "");
	struct policy_choice choice;
	const char *const *names;
	struct world world;
	size_t count;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	names = policy_names(world.policy, &count);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "web.shop.svc.cluster.local");
	world_choose(policy_target_named(world.policy, DIRECTION_OUTBOUND, "shop", "web", 80), "GET", "/", "web", &choice);
	assert_non_null(choice.rule);
	/* Where it may send requests is not where it applies. */
	assert_false(policy_target_has_routes(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.2:80")));
	world_free(&world);
}

/* Who asks about a Service that no document names gets its namespace's values, and KubeLB's of its name. */
static void asked_by_name(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\nspec: {timeouts: {request: 3s, tcpIdle: 3s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: db, namespace: shop}\n"
	    "spec: {timeouts: {tcpIdle: 5m}, endpoints: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 31000}]}]}\n"
	    SERVICE("shop", "web", "10.0.0.1", "");
	static const struct policy_question address = {0}, nobody = {"shop", "nobody"}, db = {"shop", "db"}, web = {"shop", "web"};
	static const struct policy_question *const questions[] = {NULL, &address, &nobody, &db, &web};

	for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
		const struct policy_target *targets[2];
		struct world world;

		world_new(&world, documents, NULL, NULL, NULL, questions[i]);
		for (enum direction direction = DIRECTION_INBOUND; direction <= DIRECTION_OUTBOUND; direction++) {
			targets[0] = policy_target_named(world.policy, direction, "shop", "nobody", 80);
			targets[1] = policy_target_named(world.policy, direction, "shop", "db", 5432);
			assert_int_equal(targets[0] != NULL, questions[i] == &nobody);
			assert_int_equal(targets[1] != NULL, questions[i] == &db);
			/* What has a document has but the ports in it. */
			assert_null(policy_target_named(world.policy, direction, "shop", "web", 99));
			if (targets[0]) {
				assert_string_equal(policy_target_name(targets[0]), "shop/nobody");
				assert_false(policy_target_has_routes(targets[0]));
				expect_timeout(policy_target_timeouts(targets[0]), TIMEOUT_REQUEST, 3000, "Tenant shop spec.timeouts.request");
			}
			if (targets[1])
				expect_timeout(policy_target_timeouts(targets[1]), TIMEOUT_TCP_IDLE, 300000,
				               "LoadBalancer shop/db spec.timeouts.tcpIdle");
		}
		world_free(&world);
	}
}

/* Of two Tenants for one namespace the first that is read holds, and the other one is told of. */
static void tenants_of_one_namespace(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: shop}\nspec: {timeouts: {request: 3s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: tenant-shop}\nspec: {timeouts: {request: 4s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: other, namespace: other}\n"
	    SERVICE("tenant-shop", "web", "10.0.0.1", "");
	/* As KubeLB's page has it. */
	static const char streaming[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: streaming-tenant, namespace: kubelb}\n"
	    "spec: {timeouts: {streamIdle: 4h, idleConnection: 4h, tcpIdle: 4h}}\n"
	    SERVICE("streaming-tenant", "a", "10.0.0.1", "") SERVICE("tenant-streaming-tenant", "b", "10.0.0.2", "")
	    SERVICE("kubelb", "c", "10.0.0.3", "");
	static const char *const places[] = {"10.0.0.1:80", "10.0.0.2:80"};
	const struct diagnostics *diagnostics;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	expect_timeout(policy_target_timeouts(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80")), TIMEOUT_REQUEST, 3000,
	               "Tenant shop spec.timeouts.request");
	diagnostics = policy_diagnostics(world.policy);
	assert_int_equal(diagnostics->warnings, 1);
	assert_non_null(strstr(diagnostics->first->text, ".yaml:6: Tenant tenant-shop: does not hold for the namespace tenant-shop: "
	                                                 "Tenant shop at "));
	assert_non_null(strstr(diagnostics->first->text, "documents.yaml:1 does, which is read earlier"));
	world_free(&world);

	world_new(&world, streaming, NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < 2; i++)
		expect_timeout(policy_target_timeouts(world_target(&world, DIRECTION_OUTBOUND, places[i])), TIMEOUT_TCP_IDLE, 14400000,
		               "Tenant streaming-tenant spec.timeouts.tcpIdle");
	expect_timeout(policy_target_timeouts(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.3:80")), TIMEOUT_TCP_IDLE, 3600000,
	               "built-in");
	world_free(&world);
}

/* KubeLB's objects go by the Service of their name where they give no endpoints: it is asked of DNS. */
static void kubelb_without_endpoints(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Route\nmetadata: {name: web, namespace: shop}\nspec: {timeouts: {connect: 1s}}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: db, namespace: shop}\n"
	    "spec: {endpoints: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 31000}]}]}\n"
	    "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: known, namespace: shop}\n"
	    SERVICE("shop", "known", "10.0.0.1", "");
	const char *const *names;
	struct world world;
	size_t count;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	names = policy_names(world.policy, &count);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "web.shop.svc.cluster.local");
	expect_timeout(policy_target_timeouts(policy_target_named(world.policy, DIRECTION_OUTBOUND, "shop", "web", 80)), TIMEOUT_CONNECT,
	               1000, "Route shop/web spec.timeouts.connect");
	world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unset_is_built_in),
	    cmocka_unit_test(levels),
	    cmocka_unit_test(annotated_levels),
	    cmocka_unit_test(endpoints),
	    cmocka_unit_test(names_to_resolve),
	    cmocka_unit_test(asked_by_name),
	    cmocka_unit_test(kubelb_without_endpoints),
	    cmocka_unit_test(tenants_of_one_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
