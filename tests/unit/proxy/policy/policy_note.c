#include "tests/unit/proxy/policy_world.h"

#define GRPC_SERVICE "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop%s}\nspec:\n" \
                     "  clusterIP: 10.0.0.1\n  ports: [{port: 80, name: main%s}, {port: 81}]\n"
#define SENTENCE(what) what ": HTTP/2 requests get only its timeouts for now; its backends, filters, retries and 404 are for HTTP/1"
#define FILTERS "    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]\n"
#define ELSEWHERE "    backendRefs: [{name: other, port: 80}]\n"
#define ITSELF "    backendRefs: [{name: web, port: 80}]\n"
#define HTTP2 ", appProtocol: kubernetes.io/h2c"

static size_t told(const struct policy *policy, const char *text)
{
	size_t count = 0;

	for (const struct diagnostic *each = policy_diagnostics(policy)->first; each; each = each->next)
		count += strstr(each->text, text) != NULL;
	return count;
}

static const struct {
	const char *annotation, *protocol; /* of the Service, of its port */
	const char *kind, *rules;
	const char *said;                  /* at load, "" = nothing */
	const char *met;                   /* when a request of HTTP/2 comes, "" = nothing */
} rows[] = {
    /* A GRPCRoute is of HTTP/2. */
    {"", "", "GRPCRoute", "  rules:\n  - matches: [{method: {service: a}}]\n" FILTERS ELSEWHERE, SENTENCE("GRPCRoute shop/r"), ""},
    {"", "", "GRPCRoute", "  rules:\n  - matches: [{method: {service: a}}]\n" ELSEWHERE "  - matches: [{method: {service: b}}]\n" FILTERS,
     SENTENCE("GRPCRoute shop/r"), ""},
    /* What no rule takes would be 404 over HTTP/1: nobody knows before it comes. */
    {"", "", "GRPCRoute", "  rules:\n  - matches: [{method: {service: b}}]\n", "", SENTENCE("GRPCRoute shop/r")},
    {"", "", "GRPCRoute", "  rules:\n  - matches: [{method: {service: a}}]\n" ITSELF, "", ""},
    /* An HTTPRoute may be of either, unless the port says. */
    {"", "", "HTTPRoute", "  rules:\n  - matches: [{path: {value: /a}}]\n" FILTERS, "", SENTENCE("HTTPRoute shop/r")},
    {"", HTTP2, "HTTPRoute", "  rules:\n  - matches: [{path: {value: /a}}]\n" FILTERS, SENTENCE("HTTPRoute shop/r"), ""},
    {"", ", appProtocol: http", "HTTPRoute", "  rules:\n  - matches: [{path: {value: /a}}]\n" FILTERS, "", SENTENCE("HTTPRoute shop/r")},
    {"", HTTP2, "HTTPRoute", "  rules:\n  - matches: [{path: {value: /a}}]\n    timeouts: {request: 1s}\n", "", ""},
    {"", HTTP2, "HTTPRoute", "  rules:\n  - retry: {codes: [500]}\n", SENTENCE("HTTPRoute shop/r"), ""},
    {"", HTTP2, "HTTPRoute", "  rules:\n  - backendRefs: [{name: web, port: 80, weight: 0}]\n", SENTENCE("HTTPRoute shop/r"), ""},
    /* Connections are a TCPRoute's, whatever they carry. */
    {"", HTTP2, "TCPRoute", "  rules:\n  -" ELSEWHERE, "", ""},
    /* Retries of a Service are its own, and a route's where it has one. */
    {", annotations: {retry.linkerd.io/http: 5xx}", HTTP2, NULL, "", SENTENCE("Service shop/web"), ""},
    {", annotations: {retry.linkerd.io/http: 5xx}", "", NULL, "", "", SENTENCE("Service shop/web")},
};

static void is_told_once(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct policy_choice choice;
		const struct policy_target *target;
		const char *met;
		struct world world;
		TEXT_ON_STACK(documents, 4096);

		text_printf(&documents, GRPC_SERVICE, rows[i].annotation, rows[i].protocol);
		if (rows[i].kind)
			text_printf(&documents,
			            "---\napiVersion: gateway.networking.k8s.io/v1%s\nkind: %s\nmetadata: {name: r, namespace: shop}\n"
			            "spec:\n  parentRefs: [{group: '', kind: Service, name: web, port: 80}]\n%s",
			            strcmp(rows[i].kind, "TCPRoute") == 0 ? "alpha2" : "", rows[i].kind, rows[i].rules);
		world_new(&world, documents_bytes, NULL, NULL, NULL, NULL);
		if (told(world.policy, "HTTP/2") != (*rows[i].said != 0) || told(world.policy, rows[i].said) < (*rows[i].said != 0))
			fail_msg("row %zu: at load %zu times, not \"%s\"", i, told(world.policy, "HTTP/2"), rows[i].said);
		target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80");
		world_choose(target, "POST", "/a/b", "web", &choice);
		met = policy_note_http1_only(target, &choice);
		if (strcmp(met ? met : "", rows[i].met) != 0)
			fail_msg("row %zu: %s", i, met);
		assert_null(policy_note_http1_only(target, &choice));
		world_free(&world);
	}
}

/* What has been told is not told again after a reading, or when DNS has changed. */
static void is_inherited(void **state)
{
	static const char documents[] = SERVICE("shop", "web", "10.0.0.1", "")
	    ROUTE("HTTPRoute", "shop", "a", "shop", "web", "  rules:\n  -" FILTERS);
	struct policy_choice choice;
	const struct policy_target *target;
	struct policy *next;
	struct world world;

	world_new(&world, documents, NULL, NULL, NULL, NULL);
	for (int turn = 0; turn < 3; turn++) {
		target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80");
		world_choose(target, "GET", "/", "web", &choice);
		assert_true(!policy_note_http1_only(target, &choice) == (turn > 0));
		next = policy_new(&world.settings.policy, world.config, NULL, NULL, NULL, NULL);
		assert_non_null(next);
		policy_supersede(next, world.policy);
		world.policy = next;
	}
	world_free(&world);
}

/* A ServiceProfile's retries; and what only advises has nothing to tell. */
static void profiles_and_gateways(void **state)
{
	static const char documents[] =
	    "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  selector: {app: web}\n"
	    "  clusterIP: 10.0.0.1\n  ports: [{port: 80, targetPort: 8080, appProtocol: grpc}]\n"
	    "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: web.shop.svc.cluster.local, namespace: shop}\nspec:\n"
	    "  routes: [{name: a, condition: {method: GET}, isRetryable: true}, {name: b, condition: {method: POST}}]\n"
	    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: gate, namespace: shop}\nspec:\n"
	    "  parentRefs: [{name: gateway}]\n  rules:\n  - retry: {codes: [500]}\n" FILTERS ITSELF;
	struct policy_choice choice;
	const struct policy_target *target;
	struct world world;

	world_new(&world, documents, NULL, "app=\"web\"\n", NULL, NULL);
	assert_int_equal(told(world.policy, "HTTP/2"), 1);
	assert_int_equal(told(world.policy, SENTENCE("ServiceProfile shop/web.shop.svc.cluster.local")), 1);
	for (enum direction direction = DIRECTION_INBOUND; direction <= DIRECTION_OUTBOUND; direction++) {
		target = world_target(&world, direction, direction == DIRECTION_INBOUND ? "10.9.9.9:8080" : "10.0.0.1:80");
		world_choose(target, "GET", "/", "web", &choice);
		assert_null(policy_note_http1_only(target, &choice));
	}
	world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(is_told_once),
	    cmocka_unit_test(is_inherited),
	    cmocka_unit_test(profiles_and_gateways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
