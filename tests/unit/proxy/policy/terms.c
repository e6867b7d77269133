#include "proxy/policy/terms.h"

#include "tests/unit/proxy/policy_world.h"

#include "proxy/metrics/series.h"
#include "proxy/policy/budget.h"
#include "proxy/policy/policy_data.h"

#define WEB SERVICE("shop", "web", "10.0.0.1", "") SERVICE("shop", "v2", "10.0.0.2", "")
#define ROUTED(request) \
	ROUTE("HTTPRoute", "shop", "a", "shop", "web", \
	      "  rules:\n  - matches: [{path: {value: /api}}]\n    timeouts: {request: " request "}\n    retry: {codes: [503], attempts: 2}\n" \
	      "    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-A, value: a}], remove: [X-B]}}]\n" \
	      "    backendRefs: [{name: v2, port: 80, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: " \
	      "{add: [{name: X-C, value: c}]}}]}]\n  - {}\n")

static struct terms *use(struct terms_book *book, const struct world *world, const char *path)
{
	const struct policy_target *target = world_target(world, DIRECTION_OUTBOUND, "10.0.0.1:80");
	struct policy_choice choice;
	struct terms *terms;

	world_choose(target, "GET", path, "web", &choice);
	terms = terms_use(book, target, &choice);
	assert_non_null(terms);
	return terms;
}

static void begin(struct terms_book *book, const struct world *world)
{
	assert_int_equal(terms_begin(book, policy_ref(world->policy)), 0);
}

/* All of it is there when the policy and the documents are gone. */
static void outlives_the_policy(void **state)
{
	struct terms_book book = {0};
	struct world world;
	struct terms *terms;

	world_new(&world, WEB ROUTED("7s"), NULL, NULL, NULL, NULL);
	begin(&book, &world);
	terms = use(&book, &world, "/api");
	assert_int_equal(world.policy->users, 2);
	terms_end(&book);
	assert_int_equal(world.policy->users, 1);
	world_free(&world);
	expect_timeout(&terms->timeouts, TIMEOUT_REQUEST, 7000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	expect_timeout(&terms->timeouts, TIMEOUT_TCP_IDLE, 3600000, "built-in");
	assert_string_equal(terms->service, "shop/web");
	assert_string_equal(terms->rule, "HTTPRoute shop/a rule 0");
	assert_int_equal(terms->retry->attempts, 2);
	assert_int_equal(terms->retry->codes[103 / 32], 1u << 103 % 32);
	assert_string_equal(terms->edits[0]->set[0].name, "X-A");
	assert_string_equal(terms->edits[0]->set[0].value, "a");
	assert_string_equal(terms->edits[0]->remove[0], "X-B");
	assert_string_equal(terms->edits[1]->add[0].name, "X-C");
	assert_string_equal(terms->edits[1]->add[0].value, "c");
	assert_int_equal(terms->edits[1]->set_count + terms->edits[1]->remove_count, 0);
	assert_null(terms->failures);
	assert_int_equal(book.count, 1);
	terms_release(&book, terms);
	assert_int_equal(book.count, 0);
}

static void of_no_service(void **state)
{
	struct terms_book book = {0};
	struct policy_choice choice;
	struct world world;
	struct terms *terms;

	world_new(&world, "", NULL, NULL, (const char *const[]){"--timeout-connect", "3s", NULL}, NULL);
	begin(&book, &world);
	policy_target_choice(world_target(&world, DIRECTION_OUTBOUND, "10.9.9.9:80"), &choice);
	terms = terms_use(&book, world_target(&world, DIRECTION_OUTBOUND, "10.9.9.9:80"), &choice);
	assert_null(terms->service);
	assert_null(terms->rule);
	assert_int_equal(terms->rule_series, SERIES_NONE);
	expect_timeout(&terms->timeouts, TIMEOUT_CONNECT, 3000, "flag --timeout-connect");
	assert_true(terms_is_failure(terms, 500));
	assert_false(terms_is_failure(terms, 499));
	terms_release(&book, terms);
	terms_end(&book);
	world_free(&world);
}

/* A thousand connections over a hundred policies that say the same have the same terms; what differs in one value has others, for as
 * long as one of them is open. */
static void equal_ones_are_one(void **state)
{
	enum { POLICIES = 100, EACH = 10 };
	struct terms_book book = {0};
	struct terms *open[POLICIES * EACH], *other;
	struct world world;
	uint32_t turn = 0;

	for (int i = 0; i < POLICIES; i++) {
		world_new(&world, WEB ROUTED("7s"), NULL, NULL, NULL, NULL);
		begin(&book, &world);
		assert_int_not_equal(book.turn, turn);
		turn = book.turn;
		for (int j = 0; j < EACH; j++)
			open[i * EACH + j] = use(&book, &world, "/api");
		world_free(&world);
		assert_int_equal(book.policy->users, 1);
	}
	assert_int_equal(book.count, 1);
	world_new(&world, WEB ROUTED("8s"), NULL, NULL, NULL, NULL);
	begin(&book, &world);
	other = use(&book, &world, "/api");
	assert_ptr_not_equal(other, open[0]);
	expect_timeout(&open[0]->timeouts, TIMEOUT_REQUEST, 7000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	expect_timeout(&other->timeouts, TIMEOUT_REQUEST, 8000, "HTTPRoute shop/a spec.rules[0].timeouts.request");
	assert_int_equal(book.count, 2);
	for (int i = 0; i < POLICIES * EACH; i++)
		terms_release(&book, open[i]);
	assert_int_equal(book.count, 1);
	terms_release(&book, other);
	terms_end(&book);
	assert_int_equal(book.count, 0);
	world_free(&world);
}

/* Rules, what no rule takes, and a connection before its first request are told apart. */
static void each_choice_has_its_own(void **state)
{
	struct terms_book book = {0};
	struct policy_choice choice;
	struct world world;
	const struct policy_target *target;
	struct terms *terms[3];

	world_new(&world,
	          WEB ROUTE("HTTPRoute", "shop", "a", "shop", "web",
	                    "  rules: [{matches: [{path: {value: /a}}]}, {matches: [{path: {value: /b}}], timeouts: {request: 1s}}]\n"),
	          NULL, NULL, NULL, NULL);
	begin(&book, &world);
	target = world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80");
	policy_target_choice(target, &choice);
	terms[0] = terms_use(&book, target, &choice);
	terms[1] = use(&book, &world, "/a");
	terms[2] = use(&book, &world, "/b");
	assert_null(terms[0]->rule);
	assert_string_equal(terms[1]->rule, "HTTPRoute shop/a rule 0");
	assert_string_equal(terms[2]->rule, "HTTPRoute shop/a rule 1");
	assert_ptr_equal(use(&book, &world, "/a"), terms[1]);
	terms_release(&book, terms[1]);
	for (int i = 0; i < 3; i++)
		terms_release(&book, terms[i]);
	terms_end(&book);
	assert_int_equal(book.count, 0);
	world_free(&world);
}

#define PROFILE(ratio) \
	"---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: web.shop.svc.cluster.local, namespace: shop}\n" \
	"spec: {retryBudget: {retryRatio: " ratio ", minRetriesPerSecond: 1, ttl: 10s}, routes: [{name: r, condition: {pathRegex: '/.*'}, " \
	"isRetryable: true, responseClasses: [{condition: {status: {min: 404, max: 404}}, isFailure: true}, " \
	"{condition: {status: {min: 500, max: 502}}, isFailure: false}]}]}\n"

static void profiles(void **state)
{
	struct terms_book book = {0};
	struct world world;
	struct terms *terms;

	world_new(&world, WEB PROFILE("0.2"), NULL, NULL, NULL, NULL);
	begin(&book, &world);
	terms = use(&book, &world, "/");
	terms_end(&book);
	world_free(&world);
	for (unsigned status = 0; status < 1100; status++)
		if (terms_is_failure(terms, status) != (status == 404 || (status > 502 && status < 600) || status >= TERMS_STATUSES))
			fail_msg("%u", status);
	assert_true(terms->until_head);
	assert_true(terms->retry->by_class);
	assert_true(budget_withdraw(terms->budget, 0));
	terms_release(&book, terms);
}

/* A retry budget goes on over a change of the documents or of DNS, unless its terms change. */
static void budgets_go_on(void **state)
{
	static const struct {
		const char *documents;
		bool same;
	} rows[] = {{WEB PROFILE("0.2"), true}, {WEB PROFILE("0.3"), false}, {WEB, false}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world before, world;
		struct policy_choice old, new;

		world_new(&before, WEB PROFILE("0.2"), NULL, NULL, NULL, NULL);
		world_new(&world, rows[i].documents, NULL, NULL, NULL, NULL);
		policy_supersede(world.policy, policy_ref(before.policy));
		world_choose(world_target(&before, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &old);
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &new);
		assert_int_equal(old.budget == new.budget, rows[i].same);
		policy_collect(world.policy);
		assert_non_null(world.policy->before); /* it is still used */
		world_free(&before);
		assert_int_equal(world.policy->before->users, 1);
		policy_collect(world.policy);
		assert_null(world.policy->before);
		world_choose(world_target(&world, DIRECTION_OUTBOUND, "10.0.0.1:80"), "GET", "/", "web", &new);
		assert_int_equal(new.budget != NULL, i < 2);
		if (new.budget)
			assert_true(budget_withdraw(new.budget, 0));
		world_free(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(outlives_the_policy), cmocka_unit_test(of_no_service),       cmocka_unit_test(equal_ones_are_one),
	    cmocka_unit_test(each_choice_has_its_own), cmocka_unit_test(profiles), cmocka_unit_test(budgets_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
