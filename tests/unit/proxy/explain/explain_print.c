#include "proxy/explain/explain_print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/timeouts.h"

/* A rule with everything; printing only asks whether there is one. */
static const struct value_match headers[] = {{.name = "x-a", .type = VALUE_EXACT, .value = "v \"w\""},
                                             {.name = "x-b", .type = VALUE_REGEX, .value = "a\\.b"}};
static const struct value_match queries[] = {{.name = "q", .type = VALUE_EXACT, .value = "1"}};
static const struct route_match match = {.path_type = PATH_PREFIX, .path = "/api", .method = "GET", .headers = headers,
                                         .header_count = 2, .queries = queries, .query_count = 1};
static const struct route_match everything = {.path_type = PATH_PREFIX, .path = ""};
static const struct route_match grpc = {.path = "", .grpc_service = "a.B"};
static const struct route_backend backends[] = {
    {.kind = "Service", .namespace = "default", .name = "v1", .port = 81, .weight = 90},
    {.kind = "Service", .namespace = "default", .name = "v2", .port_name = "http", .weight = 10, .invalid = true},
};
static struct retry retry = {.attempts = 2, .backoff_ms = 100, .attempt_ms = 1500, .on_failure = true,
                             .source = "HTTPRoute default/web spec.rules[1].retry"};
static struct explain_edit edits[] = {{EXPLAIN_SET, "A", "1"}, {EXPLAIN_ADD, "B", "2"}, {EXPLAIN_REMOVE, "C", NULL}};
static struct timeouts timeouts;

static void whole(struct explanation *explanation)
{
	timeouts_init_defaults(&timeouts);
	timeouts.of[TIMEOUT_REQUEST] = (struct timeout_value){600, "HTTPRoute default/web spec.rules[1].timeouts.request"};
	timeouts.of[TIMEOUT_DRAIN] = (struct timeout_value){0, "flag --timeout-drain"};
	memset(retry.codes, 0, sizeof retry.codes);
	for (unsigned status = 500; status < 600; status += status == 500 ? 2 : 1)
		retry.codes[(status - 400) / 32] |= UINT32_C(1) << (status - 400) % 32;
	retry.codes[0] |= 1;
	*explanation = (struct explanation){
	    .to = "10.0.0.1:80",
	    .direction = DIRECTION_OUTBOUND,
	    .from_namespace = "client",
	    .request = "GET /api HTTP/1.1, host web",
	    .service = "default/web",
	    .port = 80,
	    .choice = {.timeouts = &timeouts,
	               .rule = (const struct policy_rule *)(const void *)&timeouts,
	               .match = &match,
	               .retry = &retry},
	    .rule = {KIND_HTTP_ROUTE, "default", "web", "api", 1, backends, 2, "HTTPRoute default/web rule 1"},
	    .host = "inner",
	    .path = "/v2",
	    .request_headers = {edits, 3},
	    .response_headers = {edits + 2, 1},
	};
}

static char *printed(const struct explanation *explanation, void (*print)(const struct explanation *explanation, FILE *out))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	print(explanation, out);
	fclose(out);
	return text;
}

static void a_person_can_read_it(void **state)
{
	static const char expected[] = "Asked\n"
	                               "  to                10.0.0.1:80, outbound\n"
	                               "  from namespace    client\n"
	                               "  request           GET /api HTTP/1.1, host web\n"
	                               "\n"
	                               "Applies\n"
	                               "  Service           default/web, port 80\n"
	                               "  route             HTTPRoute default/web\n"
	                               "  rule              1, api\n"
	                               "  match             path PathPrefix /api, method GET, header x-a = v \"w\", "
	                               "header x-b ~ a\\.b, query q = 1\n"
	                               "\n"
	                               "Happens\n"
	                               "  backends          Service default/v1:81, weight 90 of 100\n"
	                               "                    Service default/v2:http, weight 10 of 100, cannot be dialled\n"
	                               "  host becomes      inner\n"
	                               "  path becomes      /v2\n"
	                               "  request fields    set A: 1\n"
	                               "                    add B: 2\n"
	                               "                    remove C\n"
	                               "  response fields   remove C\n"
	                               "  retry             on 400, 500, 502-599 and on failed connections and attempts out of time, "
	                               "up to 2 times, after 100ms, each given 1s500ms\n"
	                               "                    (HTTPRoute default/web spec.rules[1].retry)\n"
	                               "\n"
	                               "Timeouts\n"
	                               "  request           600ms      HTTPRoute default/web spec.rules[1].timeouts.request\n"
	                               "  drain             off        flag --timeout-drain\n"
	                               "  backendRequest    off        built-in\n"
	                               "  streamIdle        1h         built-in\n";
	struct explanation explanation;
	char *text;

	whole(&explanation);
	text = printed(&explanation, explain_print_text);
	assert_int_equal(strlen(text) > sizeof expected, 1);
	text[sizeof expected - 1] = '\0';
	assert_string_equal(text, expected);
	free(text);
}

/* Each row changes one thing of the whole. */
static void change(struct explanation *explanation, int row)
{
	static const struct filters unusable = {.unusable = true, .unusable_what = "ExtensionRef"};

	whole(explanation);
	switch (row) {
	case 0:
		explanation->request = NULL;
		explanation->choice.refusal = REASON_ROUTE_INVALID;
		explanation->choice.backend = &backends[1];
		break;
	case 1:
		explanation->status = 301;
		explanation->location = "https://x/";
		break;
	case 2:
		explanation->status = 500;
		explanation->choice.refusal = REASON_ROUTE_INVALID;
		explanation->choice.filters = &unusable;
		break;
	case 3:
		explanation->rule.kind = KIND_INGRESS;
		explanation->choice.match = &everything;
		break;
	case 4:
		explanation->rule.kind = KIND_GRPC_ROUTE;
		explanation->choice.match = &grpc;
		break;
	case 5:
		explanation->choice.rule = NULL;
		explanation->rule = (struct policy_rule_view){0};
		explanation->service = NULL;
		break;
	case 6:
		explanation->choice.until_head = true;
		break;
	case 7:
		explanation->to = "a\x1b[31m\nb\xc3\xa4";
		break;
	default:
		break;
	}
}

static void variants(void **state)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
	    {"  closed            route_invalid: the matched rule has a backend or filter that cannot be used\n"
	     "  because of        Service default/v2\n", "\"retry\":{\"attempts\":2,\"codes\":[400,500,502,"},
	    {"  answer            301, a redirect\n  location          https://x/\n",
	     "\"status\":301,\"redirect\":{\"status\":301,\"location\":\"https://x/\"}"},
	    {"  answer            500 route_invalid: the matched rule has a backend or filter that cannot be used\n"
	     "  because of        the filter ExtensionRef, which", "\"status\":500,\"redirect\":null"},
	    {"  match             path Prefix /\n",
	     "\"match\":{\"path\":{\"type\":\"Prefix\",\"value\":\"/\"},\"method\":null,\"headers\":[],\"query\":[]}}"},
	    {"  match             gRPC Exact a.B/*\n",
	     "\"match\":{\"path\":null,\"method\":{\"type\":\"Exact\",\"service\":\"a.B\",\"method\":null},\"headers\":[]"},
	    {"  Service           none\n  route             none\n\nHappens\n"
	     "  backends          none: it goes where the connection was going\n",
	     "\"service\":null,\"service_documented\":false,\"route\":null,"},
	    {"timeouts.request (to the response head)\n", "\"request\":{\"value\":\"600ms\",\"ms\":600,"},
	    {"  to                a\\u001b[31m\\nb\xc3\xa4, outbound\n", "\"to\":\"a\\u001b[31m\\nb\xc3\xa4\","},
	};

	for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
		struct explanation explanation;
		char *text, *json;

		change(&explanation, i);
		text = printed(&explanation, explain_print_text);
		json = printed(&explanation, explain_print_json);
		if (!strstr(text, rows[i].text))
			fail_msg("%s is not in\n%s", rows[i].text, text);
		if (!strstr(json, rows[i].json))
			fail_msg("%s is not in\n%s", rows[i].json, json);
		free(text);
		free(json);
	}
}

/* Every timeout has its row and its member, in both. */
static void every_timeout(void **state)
{
	struct explanation explanation;
	char *text, *json, part[80];

	whole(&explanation);
	text = printed(&explanation, explain_print_text);
	json = printed(&explanation, explain_print_json);
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		snprintf(part, sizeof part, "\n  %-17s ", timeouts_name(id));
		assert_non_null(strstr(text, part));
		snprintf(part, sizeof part, "\"%s\":{\"value\":\"", timeouts_name(id));
		assert_non_null(strstr(json, part));
	}
	free(text);
	free(json);
}

/* What is longer than a row is cut, and nothing more. */
static void long_values(void **state)
{
	struct explanation explanation;
	char *path = malloc(100001), *text;

	assert_non_null(path);
	memset(path, 'a', 100000);
	path[100000] = '\0';
	whole(&explanation);
	explanation.path = path;
	text = printed(&explanation, explain_print_text);
	assert_non_null(strstr(text, "\n  request fields "));
	free(text);
	text = printed(&explanation, explain_print_json);
	assert_true(strlen(text) > 100000);
	free(text);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_person_can_read_it),
	    cmocka_unit_test(variants),
	    cmocka_unit_test(every_timeout),
	    cmocka_unit_test(long_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
