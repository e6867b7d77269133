/* Levels, attachment and choice, on documents as users write them. */
#include "proxy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/config.h"
#include "proxy/diagnostics.h"
#include "proxy/options.h"

/* A policy of documents, pod annotations and flags. */
struct world {
	struct settings settings;
	struct config *config;
	struct policy *policy;
	char directory[64];
};

static void world_write(const struct world *world, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", world->directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text ? text : "", file);
	fclose(file);
}

static void world_remove(const struct world *world, const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", world->directory, name);
	unlink(path);
}

static void world_new(struct world *world, const char *documents, const char *annotations, const char *labels, const char *const *flags,
                      bool offline)
{
	static char *environment[] = {NULL};
	static char program[] = "lapse-proxy";
	char *argv[16] = {program};
	int argc = 1, command;
	const char *file;
	char path[128];
	struct config_paths paths;
	TEXT_ON_STACK(error, 256);

	for (; flags && *flags; flags++)
		argv[argc++] = (char *)*flags;
	assert_int_equal(proxy_options_parse(argc, argv, environment, &world->settings, &command, &error), 0);
	strcpy(world->directory, "/tmp/lapse-policy-XXXXXX");
	assert_non_null(mkdtemp(world->directory));
	world_write(world, "documents.yaml", documents);
	world_write(world, "annotations", annotations);
	world_write(world, "labels", labels);
	snprintf(path, sizeof path, "%s/documents.yaml", world->directory);
	file = path;
	paths = (struct config_paths){&file, 1, world->directory, "clients"};
	assert_int_equal(config_load(&world->config, &paths), 0);
	if (world->config->diagnostics.errors)
		fail_msg("%s", world->config->diagnostics.first->text);
	world->policy = policy_new(&world->settings, world->config, NULL, NULL, offline);
	assert_non_null(world->policy);
}

static void world_free(struct world *world)
{
	policy_unref(world->policy);
	config_unref(world->config);
	proxy_options_free(&world->settings);
	world_remove(world, "documents.yaml");
	world_remove(world, "annotations");
	world_remove(world, "labels");
	rmdir(world->directory);
}

static const struct policy_target *world_target(const struct world *world, enum direction direction, const char *address)
{
	struct addr addr;

	assert_int_equal(addr_parse(address, &addr), 0);
	return policy_target(world->policy, direction, &addr);
}

static void world_choose(const struct policy_target *target, const char *method, const char *path, const char *host,
                         struct policy_choice *choice)
{
	static char head[512];
	struct route_request request;
	struct http1_slice method_slice, target_slice;
	int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host);

	method_slice = (struct http1_slice){(const uint8_t *)head, strlen(method)};
	target_slice = (struct http1_slice){(const uint8_t *)head + strlen(method) + 1, strlen(path)};
	route_request_read(&request, (const uint8_t *)head, (size_t)length, method_slice, target_slice);
	policy_route(target, &request, choice);
}

static void expect_timeout(const struct timeouts *timeouts, enum timeout_id id, int64_t milliseconds, const char *source)
{
	assert_int_equal(timeouts->of[id].milliseconds, milliseconds);
	assert_string_equal(timeouts->of[id].source, source);
}

#define SERVICE(namespace, name, ip, rest)                                                                             \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: " namespace "}\nspec:\n"           \
	"  clusterIP: " ip "\n  ports: [{port: 80, targetPort: 8080, name: http}, {port: 90, name: other}]\n" rest
#define ROUTE(kind, namespace, name, parent_namespace, parent, rest)                                                  \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\nmetadata: {name: " name ", namespace: " namespace "}\n" \
	"spec:\n  parentRefs: [{group: '', kind: Service, namespace: " parent_namespace ", name: " parent "}]\n" rest

static void unset_is_built_in(void **state)
{
	struct world world;

	world_new(&world, "", NULL, NULL, NULL, false);
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

	world_new(&world, documents, annotations, NULL, flags, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &choice);
	policy_rule_view(choice.rule, &view);
	assert_string_equal(view.name, "producer");
	world_free(&world);

	snprintf(both, sizeof both, "%s%s", documents, consumer);
	world_new(&world, both, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
	assert_false(policy_target_has_routes(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80")));
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:90"), "GET", "/", "web", &choice);
	assert_non_null(choice.rule);
	/* A port that the Service does not have, and its pod's port. */
	assert_null(policy_target_name(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:8080")));
	world_free(&world);
}

static void no_rule_is_404(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  hostnames: [a.example]\n  rules: [{matches: [{path: {value: /api}}]}]\n");
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, false);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/api/x", "a.example:80", &choice);
	assert_int_equal(choice.refusal, REASON_NONE);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/other", "a.example", &choice);
	assert_int_equal(choice.refusal, REASON_NO_ROUTE);
	world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/api", "b.example", &choice);
	assert_int_equal(choice.refusal, REASON_NO_ROUTE);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, "app=\"web\"\ntier=\"front\"\n", NULL, false);
	assert_string_equal(policy_target_name(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8080")), "shop/web");
	assert_null(policy_target_name(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8081")));
	world_choose(world_target(&world, DIRECTION_INBOUND, "10.9.9.9:8080"), "GET", "/", "web", &choice);
	expect_timeout(choice.timeouts, TIMEOUT_REQUEST, 2000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	assert_null(choice.filters);
	assert_null(policy_target_named(world.policy, DIRECTION_INBOUND, "shop", "db", 80));
	assert_non_null(policy_target_named(world.policy, DIRECTION_INBOUND, "shop", "web", 80));
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

	world_new(&world, documents, NULL, NULL, NULL, false);
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
		world_new(&world, documents, NULL, NULL, NULL, false);
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
		world_new(&world, documents, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
	assert_false(policy_target_has_connection(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80")));
	assert_true(policy_diagnostics(world.policy)->warnings > 0);
	assert_non_null(strstr(policy_diagnostics(world.policy)->first->text, "TCPRoute shop/tcp: ignored on Service shop/web port"));
	world_free(&world);
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
	    "spec: {hostnames: [a.example], parentRefs: [{group: '', kind: Service, name: tls}], rules: [{backendRefs: [{name: tls, port: 80}]}]}\n";
	const struct policy_target *target;
	struct policy_choice choice;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, false);
	policy_connection(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), NULL, &choice);
	expect_timeout(choice.timeouts, TIMEOUT_TCP_IDLE, 86400000, "annotation kubelb.k8c.io/timeout-tcp-idle on TCPRoute shop/tcp");
	expect_timeout(choice.timeouts, TIMEOUT_CONNECT, 2000, "annotation kubelb.k8c.io/timeout-connect on TCPRoute shop/tcp");
	assert_non_null(choice.address);
	assert_int_equal(choice.address->bytes[3], 2);
	assert_int_equal(choice.address->port, 90);
	target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.3:80");
	policy_connection(target, "a.example", &choice);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 120000);
	policy_connection(target, "b.example", &choice);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 60000);
	policy_connection(target, NULL, &choice);
	assert_null(choice.rule);
	assert_int_equal(choice.timeouts->of[TIMEOUT_TCP_IDLE].milliseconds, 3600000);
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
		world_new(&world, text.data, NULL, NULL, NULL, false);
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

	world_new(&world, documents, NULL, NULL, NULL, false);
	diagnostics = policy_diagnostics(world.policy);
	assert_int_equal(diagnostics->warnings, 2);
	assert_non_null(strstr(diagnostics->first->text, "ServiceProfile shop/web: applies to nothing"));
	assert_non_null(strstr(diagnostics->last->text, "HTTPRoute shop/a: a parentRef to Service shop/web applies to nothing"));
	world_free(&world);
}

static void endpoints(void **state)
{
	static const char documents[] =
	    "apiVersion: kubelb.k8c.io/v1alpha1\nkind: LoadBalancer\nmetadata: {name: lb, namespace: shop}\n"
	    "spec:\n  timeouts: {tcpIdle: 5m}\n  endpoints: [{addresses: [{ip: 192.0.2.1}, {ip: '2001:db8::1'}], ports: [{port: 31000}]}]\n";
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, false);
	for (int direction = 0; direction < 2; direction++) {
		expect_timeout(policy_target_timeouts(world_target(&world, direction, "192.0.2.1:31000")), TIMEOUT_TCP_IDLE, 300000,
		             "LoadBalancer shop/lb spec.timeouts.tcpIdle");
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

	world_new(&world, documents, NULL, NULL, NULL, false);
	names = policy_names(world.policy, &count);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "web.shop.svc.cluster.local");
	world_choose(policy_target_named(world.policy, DIRECTION_OUTBOUND, "shop", "web", 80), "GET", "/", "web", &choice);
	assert_non_null(choice.rule);
	world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unset_is_built_in),
	    cmocka_unit_test(levels),
	    cmocka_unit_test(consumer_before_producer),
	    cmocka_unit_test(parent_port_and_section),
	    cmocka_unit_test(no_rule_is_404),
	    cmocka_unit_test(gateway_routes_advise),
	    cmocka_unit_test(gateway_routes_leave_retries),
	    cmocka_unit_test(inbound_by_selector),
	    cmocka_unit_test(weights),
	    cmocka_unit_test(backends_that_cannot_be),
	    cmocka_unit_test(another_backend_is_able),
	    cmocka_unit_test(profile_annotations),
	    cmocka_unit_test(profile_takes_over),
	    cmocka_unit_test(one_kind_wins),
	    cmocka_unit_test(tcp_and_tls),
	    cmocka_unit_test(equal_connection_routes),
	    cmocka_unit_test(applies_to_nothing),
	    cmocka_unit_test(endpoints),
	    cmocka_unit_test(names_to_resolve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
