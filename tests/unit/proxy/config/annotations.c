#include "proxy/config/annotations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/diagnostics.h"
#include "tests/unit/proxy/config/applied.h"

#define DAYS INT64_C(86400000)

static int64_t timeout_of(const struct applied *applied, enum timeout_id id)
{
	return applied->object.annotated ? applied->object.annotated->of[id].milliseconds : TIMEOUT_UNSET;
}

static void durations(void **state)
{
	enum { REFUSED = TIMEOUT_UNSET };
	static const struct {
		const char *value;
		int64_t linkerd, go;
	} rows[] = {
	    {"0", 0, 0}, {"0s", 0, 0}, {"-0s", 0, 0}, {"1ms", 1, 1}, {"30s", 30000, 30000}, {"2m", 120000, 120000},
	    {"1h", 3600000, 3600000}, {"+5s", 5000, 5000}, {"1h30m", 5400000, 5400000}, {"1.5h", 5400000, 5400000}, {"1us", 1, 1},
	    {"010s", 10000, 10000}, {"2562047h", INT64_C(2562047) * 3600000, INT64_C(2562047) * 3600000},
	    /* Linkerd's alone */
	    {"00", 0, REFUSED}, {"+00", 0, REFUSED}, {"0d", 0, REFUSED}, {"1d", DAYS, REFUSED}, {"+2d", 2 * DAYS, REFUSED},
	    {"007d", 7 * DAYS, REFUSED},
	    {" \t30s \r\n", 30000, REFUSED}, {" 0 ", 0, REFUSED}, {"106751d", 106751 * DAYS, REFUSED},
	    /* nobody's */
	    {"", REFUSED, REFUSED}, {" ", REFUSED, REFUSED}, {"5", REFUSED, REFUSED}, {"-1s", REFUSED, REFUSED},
	    {"-1d", REFUSED, REFUSED},
	    {"d", REFUSED, REFUSED}, {"+d", REFUSED, REFUSED}, {"++1d", REFUSED, REFUSED}, {"+", REFUSED, REFUSED},
	    {"1 d", REFUSED, REFUSED},
	    {"1.5d", REFUSED, REFUSED}, {"1h1d", REFUSED, REFUSED}, {"1dd", REFUSED, REFUSED}, {"1D", REFUSED, REFUSED},
	    {"1w", REFUSED, REFUSED},
	    {"106752d", REFUSED, REFUSED}, {"18446744073709551617d", REFUSED, REFUSED}, {"9999999h", REFUSED, REFUSED},
	    {"soon", REFUSED, REFUSED},
	    {"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001s",
	     REFUSED, 1000},
	};
	static const struct {
		const char *key;
		enum timeout_id id;
		bool linkerd;
	} keys[] = {
	    {"timeout.linkerd.io/request", TIMEOUT_REQUEST, true},       {"timeout.linkerd.io/response", TIMEOUT_BACKEND_REQUEST,
	    true},
	    {"timeout.linkerd.io/idle", TIMEOUT_STREAM_IDLE, true},      {"kubelb.k8c.io/timeout-request", TIMEOUT_REQUEST, false},
	    {"kubelb.k8c.io/timeout-tcp-idle", TIMEOUT_TCP_IDLE, false},
	    {"lapse.proxy/timeout-half-close", TIMEOUT_HALF_CLOSE, false},
	};

	for (size_t key = 0; key < COUNT(keys); key++) {
		for (size_t i = 0; i < COUNT(rows); i++) {
			struct applied applied;
			int64_t expected = keys[key].linkerd ? rows[i].linkerd : rows[i].go;

			apply_one(&applied, KIND_HTTP_ROUTE, keys[key].key, rows[i].value);
			for (int id = 0; id < TIMEOUT_COUNT; id++)
				if (timeout_of(&applied,
				    (enum timeout_id)id) != ((enum timeout_id)id == keys[key].id ? expected : TIMEOUT_UNSET))
					fail_msg("%s: \"%s\": %s is %lld", keys[key].key, rows[i].value,
					    timeouts_name((enum timeout_id)id),
					         (long long)timeout_of(&applied, (enum timeout_id)id));
			if (expected != REFUSED) /* response alone counts from the end of the request */
				assert_int_equal(applied.object.annotated->of[keys[key].id].after_request, keys[key].id == TIMEOUT_BACKEND_REQUEST);
			assert_int_equal(applied.diagnostics.warnings, expected == REFUSED);
			assert_null(applied.object.retry);
			arena_free(&applied.arena);
		}
	}
}

/* Every key of each family on every kind: read, or one warning. */
static void families(void **state)
{
#define ON(kind) (1u << KIND_##kind)
	enum { ROUTES = ON(HTTP_ROUTE) | ON(GRPC_ROUTE), LINKERD = ROUTES | ON(SERVICE),
	       KUBELB = ROUTES | ON(INGRESS) | ON(TCP_ROUTE) | ON(TLS_ROUTE) | ON(KUBELB_ROUTE) | ON(LOAD_BALANCER),
	       WHOLE = ON(CONFIG) | ON(TENANT) | ON(POD),
	       LAPSE = KUBELB | WHOLE | ON(SERVICE) | ON(SERVICE_PROFILE) };
	static const struct {
		const char *key;
		unsigned kinds;
		enum timeout_id id; /* TIMEOUT_NONE: a retry */
		const char *value;
	} rows[] = {
	    {"kubelb.k8c.io/timeout-request", KUBELB, TIMEOUT_REQUEST, "7s"},
	    {"kubelb.k8c.io/timeout-stream-idle", KUBELB, TIMEOUT_STREAM_IDLE, "7s"},
	    {"kubelb.k8c.io/timeout-request-headers", KUBELB, TIMEOUT_REQUEST_HEADERS, "7s"},
	    {"kubelb.k8c.io/timeout-idle-connection", KUBELB, TIMEOUT_IDLE_CONNECTION, "7s"},
	    {"kubelb.k8c.io/timeout-tcp-idle", KUBELB, TIMEOUT_TCP_IDLE, "7s"},
	    {"kubelb.k8c.io/timeout-connect", KUBELB, TIMEOUT_CONNECT, "7s"},
	    {"timeout.linkerd.io/request", LINKERD, TIMEOUT_REQUEST, "7s"},
	    {"timeout.linkerd.io/response", LINKERD, TIMEOUT_BACKEND_REQUEST, "7s"},
	    {"timeout.linkerd.io/idle", LINKERD, TIMEOUT_STREAM_IDLE, "7s"},
	    {"retry.linkerd.io/http", LINKERD, TIMEOUT_NONE, "503"},
	    {"retry.linkerd.io/grpc", LINKERD, TIMEOUT_NONE, "internal"},
	    {"lapse.proxy/timeout-request", LAPSE, TIMEOUT_REQUEST, "7s"},
	    {"lapse.proxy/timeout-backend-request", LAPSE, TIMEOUT_BACKEND_REQUEST, "7s"},
	    {"lapse.proxy/timeout-stream-idle", LAPSE, TIMEOUT_STREAM_IDLE, "7s"},
	    {"lapse.proxy/timeout-request-headers", LAPSE, TIMEOUT_REQUEST_HEADERS, "7s"},
	    {"lapse.proxy/timeout-idle-connection", LAPSE, TIMEOUT_IDLE_CONNECTION, "7s"},
	    {"lapse.proxy/timeout-tcp-idle", LAPSE, TIMEOUT_TCP_IDLE, "7s"},
	    {"lapse.proxy/timeout-half-close", LAPSE, TIMEOUT_HALF_CLOSE, "7s"},
	    {"lapse.proxy/timeout-connect", LAPSE, TIMEOUT_CONNECT, "7s"},
	    {"lapse.proxy/timeout-detect", LAPSE, TIMEOUT_DETECT, "7s"},
	    {"lapse.proxy/timeout-server-idle", LAPSE, TIMEOUT_SERVER_IDLE, "7s"},
	    {"lapse.proxy/timeout-unacknowledged", LAPSE, TIMEOUT_UNACKNOWLEDGED, "7s"},
	    {"lapse.proxy/timeout-max-connection", LAPSE, TIMEOUT_MAX_CONNECTION, "7s"},
	    {"lapse.proxy/timeout-drain", WHOLE, TIMEOUT_DRAIN, "7s"},
	    /* unknown in one of the domains */
	    {"lapse.proxy/timeout-none", 0, TIMEOUT_NONE, "7s"},
	    {"lapse.proxy/timeout-idleConnection", 0, TIMEOUT_NONE, "7s"},
	    {"lapse.proxy/", 0, TIMEOUT_NONE, "7s"},
	    {"lapse.proxy/request", 0, TIMEOUT_NONE, "7s"},
	    {"lapse.proxy/close-wait-timeout", 0, TIMEOUT_NONE, "7s"},
	    {"kubelb.k8c.io/timeout-half-close", 0, TIMEOUT_NONE, "7s"},
	    {"kubelb.k8c.io/timeout-", 0, TIMEOUT_NONE, "7s"},
	    {"timeout.linkerd.io/connect", 0, TIMEOUT_NONE, "7s"},
	    {"timeout.linkerd.io/timeout-request", 0, TIMEOUT_NONE, "7s"},
	    {"timeout.linkerd.io/Request", 0, TIMEOUT_NONE, "7s"},
	    {"retry.linkerd.io/codes", 0, TIMEOUT_NONE, "503"},
	};
	struct applied applied;
	char source[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			bool read = rows[i].kinds >> kind & 1, timeout = rows[i].id != TIMEOUT_NONE;
			/* on a pod these are flags for injection */
			bool foreign = kind == KIND_POD && strncmp(rows[i].key, "lapse.proxy/", 12) == 0 &&
			               strncmp(rows[i].key, "lapse.proxy/timeout-", 20) != 0;

			apply_one(&applied, (enum kind)kind, rows[i].key, rows[i].value);
			if ((applied.object.annotated != NULL) != (read && timeout) || (applied.object.retry != NULL) != (read &&
			    !timeout) ||
			    applied.diagnostics.warnings != (size_t)(!read && !foreign))
				fail_msg("%s on %s: %zu warnings", rows[i].key, catalog_kind_name((enum kind)kind),
				    applied.diagnostics.warnings);
			if (kind == KIND_POD)
				snprintf(source, sizeof source, "annotation %s on the pod", rows[i].key);
			else
				snprintf(source, sizeof source, "annotation %s on %s %sweb", rows[i].key, catalog_kind_name((enum kind)kind),
				         kind == KIND_TENANT ? "" : "default/");
			if (read && timeout) {
				assert_int_equal(timeout_of(&applied, rows[i].id), 7000);
				assert_string_equal(applied.object.annotated->of[rows[i].id].source, source);
			} else if (read) {
				assert_string_equal(applied.object.retry->source, source);
			}
			arena_free(&applied.arena);
		}
	}
}

/* Nobody's business here: no word about them. */
static void others(void **state)
{
	static const char *const keys[] = {
	    "", "/", "kubectl.kubernetes.io/last-applied-configuration", "kubelb.k8c.io/proxy-protocol", "kubelb.k8c.io/",
	    "lapse.proxy",
	    "linkerd.io/inject", "xlapse.proxy/timeout-request",
	    "lapse.proxyx/timeout-request",
	    "Lapse.proxy/timeout-request", "timeout-request",
	};

	for (size_t i = 0; i < COUNT(keys); i++) {
		struct applied applied;

		apply_one(&applied, KIND_HTTP_ROUTE, keys[i], "x");
		if (applied.object.annotated || applied.object.retry || applied.diagnostics.warnings)
			fail_msg("%s", keys[i]);
		assert_int_equal(applied.arena.total, 0);
		arena_free(&applied.arena);
	}
}

static void precedence(void **state)
{
	static const struct annotation lapse = {"lapse.proxy/timeout-request",
	"3s", 1}, kubelb = {"kubelb.k8c.io/timeout-request", "2s", 2},
				       linkerd = {"timeout.linkerd.io/request", "1s", 3}, bad = {"lapse.proxy/timeout-request",
				       "x", 4},
				       off = {"lapse.proxy/timeout-request", "0s", 5};
	const struct {
		struct annotation given[3];
		size_t count;
		int64_t milliseconds;
	} rows[] = {
	    {{lapse, kubelb, linkerd}, 3, 3000}, {{linkerd, kubelb, lapse}, 3, 3000}, {{kubelb, lapse, linkerd}, 3, 3000},
	    {{kubelb, linkerd}, 2, 2000},        {{linkerd, kubelb}, 2, 2000},        {{lapse, linkerd}, 2, 3000},
	    {{linkerd, bad}, 2, 1000},           {{bad, kubelb, linkerd}, 3, 2000},   {{off, kubelb}, 2, 0},
	    {{bad, bad, bad}, 3, TIMEOUT_UNSET}, {{lapse, bad}, 2, 3000},             {{lapse, off}, 2, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct applied applied;

		apply(&applied, KIND_GRPC_ROUTE, rows[i].given, rows[i].count);
		if (timeout_of(&applied, TIMEOUT_REQUEST) != rows[i].milliseconds)
			fail_msg("row %zu: %lld", i, (long long)timeout_of(&applied, TIMEOUT_REQUEST));
		arena_free(&applied.arena);
	}
}

/* "503 599", each code that is tried again. */
static void format_codes(const struct retry *retry, char out[static 1024])
{
	size_t length = 0;

	*out = '\0';
	for (int bit = 0; bit < RETRY_STATUS_COUNT; bit++)
		if (retry->codes[bit / 32] >> bit % 32 & 1)
			length += (size_t)snprintf(out + length, 1024 - length, "%s%d", length ? " " : "",
			RETRY_STATUS_FIRST + bit);
}

static void retry_codes(void **state)
{
	static const struct {
		const char *value, *codes; /* NULL = refused */
	} rows[] = {
	    {"503", "503"}, {"gateway-error", "502 503 504"}, {"Gateway-Error", "502 503 504"}, {"502-504", "502 503 504"},
	    {"400", "400"}, {"599", "599"}, {"431-432,463-465", "431 432 463 464 465"}, {" 429 , 503\t", "429 503"},
	    {"503,503,503-503", "503"},
	    {"gateway-error,500,429", "429 500 502 503 504"}, {"0503", "503"},
	    {"", NULL}, {" ", NULL}, {",", NULL}, {"503,", NULL}, {",503", NULL}, {"503,,504", NULL}, {"399", NULL},
	    {"600", NULL}, {"200-503", NULL},
	    {"503-600", NULL}, {"504-503", NULL}, {"503-", NULL}, {"-503", NULL}, {"-", NULL}, {"503 - 504", NULL},
	    {"503-504-505", NULL},
	    {"5xx5", NULL}, {"4xx", NULL}, {"gateway", NULL}, {"+503", NULL}, {"503;504", NULL}, {"503 504", NULL}, {"0x1f7", NULL},
	    {"4294967799", NULL}, {"18446744073709552119", NULL}, {"503,x", NULL},
	};
	struct applied applied;
	char codes[1024];

	for (size_t i = 0; i < COUNT(rows); i++) {
		apply_one(&applied, KIND_SERVICE, "retry.linkerd.io/http", rows[i].value);
		if ((applied.object.retry != NULL) != (rows[i].codes != NULL) ||
		    applied.diagnostics.warnings != (rows[i].codes == NULL))
			fail_msg("\"%s\": %zu warnings", rows[i].value, applied.diagnostics.warnings);
		if (rows[i].codes) {
			format_codes(applied.object.retry, codes);
			assert_string_equal(codes, rows[i].codes);
			assert_int_equal(applied.object.retry->grpc, 0);
		}
		arena_free(&applied.arena);
	}
	apply_one(&applied, KIND_SERVICE, "retry.linkerd.io/http", "400-499,5XX");
	for (int bit = 0; bit < RETRY_STATUS_COUNT; bit++)
		assert_true(applied.object.retry->codes[bit / 32] >> bit % 32 & 1);
	arena_free(&applied.arena);
}

static void retry_grpc(void **state)
{
	static const struct {
		const char *value;
		uint64_t grpc; /* 0 = refused */
	} rows[] = {
	    {"cancelled", 1u << 1}, {"deadline-exceeded", 1u << 4}, {"internal", 1u << 13}, {"resource-exhausted", 1u << 8},
	    {"unavailable", 1u << 14},
	    {"Unavailable , INTERNAL", 1u << 14 | 1u << 13},
	    {"cancelled,deadline-exceeded,internal,resource-exhausted,unavailable", 0x6112},
	    {"", 0}, {"ok", 0}, {"14", 0}, {"unavailable,", 0}, {"canceled", 0}, {"unavailable internal", 0},
	    {"deadline_exceeded", 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct applied applied;

		apply_one(&applied, KIND_GRPC_ROUTE, "retry.linkerd.io/grpc", rows[i].value);
		if ((applied.object.retry ? applied.object.retry->grpc : 0) != rows[i].grpc ||
		    applied.diagnostics.warnings != (rows[i].grpc == 0))
			fail_msg("\"%s\"", rows[i].value);
		arena_free(&applied.arena);
	}
}

static void retry_whole(void **state)
{
#define HTTP {"retry.linkerd.io/http", "503", 1}
#define LIMIT(value) {"retry.linkerd.io/limit", value, 2}
#define ATTEMPT(value) {"retry.linkerd.io/timeout", value, 3}
#define GRPC {"retry.linkerd.io/grpc", "internal", 4}
	static const struct {
		struct annotation given[4];
		size_t count;
		bool retry;
		uint32_t attempts;
		int64_t attempt_ms;
		const char *key;
		size_t warnings;
	} rows[] = {
	    {{HTTP}, 1, true, 1, 0, "retry.linkerd.io/http", 0},
	    {{GRPC}, 1, true, 1, 0, "retry.linkerd.io/grpc", 0},
	    {{HTTP, GRPC, LIMIT("3"), ATTEMPT("400ms")}, 4, true, 3, 400, "retry.linkerd.io/http", 0},
	    {{ATTEMPT(" 1d "), LIMIT(" 65535 "), GRPC}, 3, true, 65535, DAYS, "retry.linkerd.io/grpc", 0},
	    {{HTTP, LIMIT("0"), ATTEMPT("0s")}, 3, true, 1, 0, "retry.linkerd.io/http", 0},
	    {{HTTP, LIMIT("65536"), ATTEMPT("-1s")}, 3, true, 1, 0, "retry.linkerd.io/http", 2},
	    {{HTTP, LIMIT("-1"), ATTEMPT("x")}, 3, true, 1, 0, "retry.linkerd.io/http", 2},
	    {{HTTP, LIMIT(""), ATTEMPT("")}, 3, true, 1, 0, "retry.linkerd.io/http", 2},
	    {{LIMIT("3"), ATTEMPT("1s")}, 2, false, 0, 0, NULL, 0},
	    {{{"retry.linkerd.io/http", "503,x", 1}, LIMIT("3")}, 2, false, 0, 0, NULL, 1},
	    {{{"retry.linkerd.io/http", "503,x", 1}, GRPC}, 2, true, 1, 0, "retry.linkerd.io/grpc", 1},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct applied applied;
		char source[128];

		apply(&applied, KIND_HTTP_ROUTE, rows[i].given, rows[i].count);
		const struct retry *retry = applied.object.retry;
		if ((retry != NULL) != rows[i].retry || applied.diagnostics.warnings != rows[i].warnings)
			fail_msg("row %zu: %zu warnings", i, applied.diagnostics.warnings);
		if (retry) {
			assert_int_equal(retry->attempts, rows[i].attempts);
			assert_int_equal(retry->attempt_ms, rows[i].attempt_ms);
			assert_int_equal(retry->backoff_ms, 25);
			assert_int_equal(retry->backoff_most_ms, 250);
			assert_false(retry->on_failure || retry->by_class);
			snprintf(source, sizeof source, "annotation %s on HTTPRoute default/web", rows[i].key);
			assert_string_equal(retry->source, source);
		}
		/* What a refused list began with is not kept. */
		if (rows[i].warnings && retry && strcmp(rows[i].key, "retry.linkerd.io/grpc") == 0)
			for (size_t word = 0; word < COUNT(retry->codes); word++)
				assert_int_equal(retry->codes[word], 0);
		arena_free(&applied.arena);
	}
}

static void warnings(void **state)
{
	static const struct {
		enum kind kind;
		const char *key, *value, *expected;
	} rows[] = {
	    {KIND_TCP_ROUTE, "kubelb.k8c.io/timeout-connect", "5",
	     "r.yaml:12: TCPRoute default/web: annotation kubelb.k8c.io/timeout-connect: \"5\": a Go duration from 0s (off) on, "
	     "such as 500ms, 30s "
	     "or 1h30m; ignored"},
	    {KIND_SERVICE, "timeout.linkerd.io/idle", "-1s",
	     "r.yaml:12: Service default/web: annotation timeout.linkerd.io/idle: \"-1s\": a duration from 0s (off) on, such as "
	     "500ms, 30s, 1h30m or "
	     "1d; ignored"},
	    {KIND_SERVICE, "retry.linkerd.io/http", "2xx",
	     "r.yaml:12: Service default/web: annotation retry.linkerd.io/http: \"2xx\": a list of status codes and ranges from "
	     "400 to 599, 5xx and "
	     "gateway-error, such as 503,gateway-error; ignored"},
	    {KIND_SERVICE, "retry.linkerd.io/grpc", "ok",
	     "r.yaml:12: Service default/web: annotation retry.linkerd.io/grpc: \"ok\": a list of cancelled, deadline-exceeded, "
	     "internal, "
	     "resource-exhausted and unavailable; ignored"},
	    {KIND_SERVICE, "retry.linkerd.io/limit", "many",
	     "r.yaml:12: Service default/web: annotation retry.linkerd.io/limit: \"many\": a number from 0 (as unset) to 65535; "
	     "ignored"},
	    {KIND_POD, "timeout.linkerd.io/idle", "1s",
	     "r.yaml:12: the pod: annotation timeout.linkerd.io/idle: it has no meaning on a Pod, only on HTTPRoute, "
	     "GRPCRoute, Service; "
	     "ignored"},
	    {KIND_TENANT, "kubelb.k8c.io/timeout-connect", "1s",
	     "r.yaml:12: Tenant web: annotation kubelb.k8c.io/timeout-connect: it has no meaning on a Tenant, only on Route, "
	     "LoadBalancer, HTTPRoute, "
	     "GRPCRoute, TCPRoute, TLSRoute, Ingress; ignored"},
	    {KIND_SERVICE, "lapse.proxy/timeout-drain", "1s",
	     "r.yaml:12: Service default/web: annotation lapse.proxy/timeout-drain: it has no meaning on a Service, only on Config, "
	     "Tenant, the pod; ignored"},
	    {KIND_HTTP_ROUTE, "timeout.linkerd.io/connect", "1s",
	     "r.yaml:12: HTTPRoute default/web: annotation timeout.linkerd.io/connect: unknown; timeout.linkerd.io/ has request, "
	     "response, idle; "
	     "ignored"},
	    {KIND_HTTP_ROUTE, "lapse.proxy/timeout-idle", "1s",
	     "r.yaml:12: HTTPRoute default/web: annotation lapse.proxy/timeout-idle: unknown; lapse.proxy/ has timeout-request, "
	     "timeout-backend-request, timeout-stream-idle, timeout-request-headers, timeout-idle-connection, timeout-tcp-idle, "
	     "timeout-half-close, "
	     "timeout-connect, timeout-detect, timeout-server-idle, timeout-unacknowledged, timeout-max-connection, "
	     "timeout-drain-least, timeout-drain; ignored"},
	    {KIND_SERVICE, "config.linkerd.io/opaque-ports", "70000",
	     "r.yaml:12: Service default/web: annotation config.linkerd.io/opaque-ports: \"70000\": ports and ranges from 1 to 65535 such as "
	     "3306,8000-8099; on a Service names of its ports too; ignored"},
	    {KIND_HTTP_ROUTE, "config.linkerd.io/opaque-ports", "25",
	     "r.yaml:12: HTTPRoute default/web: annotation config.linkerd.io/opaque-ports: it has no meaning on a HTTPRoute, only on Service, "
	     "Namespace, the pod; ignored"},
	    {KIND_SERVICE, "config.linkerd.io/proxy-outbound-connect-timeout", "1s",
	     "r.yaml:12: Service default/web: annotation config.linkerd.io/proxy-outbound-connect-timeout: it has no meaning on a Service, "
	     "only on the pod; ignored"},
	    {KIND_POD, "config.linkerd.io/proxy-outbound-connect-timeout", "soon",
	     "r.yaml:12: the pod: annotation config.linkerd.io/proxy-outbound-connect-timeout: \"soon\": a duration from 0s (off) on, such "
	     "as 500ms, 30s, 1h30m or 1d; ignored"},
	    {KIND_POD, "config.linkerd.io/proxy-inbound-connect-timeout", "1s",
	     "r.yaml:12: the pod: annotation config.linkerd.io/proxy-inbound-connect-timeout: use lapse.proxy/timeout-connect, which holds for "
	     "both directions; ignored"},
	    {KIND_POD, "config.linkerd.io/skip-subnets", "10.0.0.0/8",
	     "r.yaml:12: the pod: annotation config.linkerd.io/skip-subnets: use --skip-subnets of lapse-init, or lapse.proxy/skip-subnets on "
	     "the pod before injection; ignored"},
	    {KIND_POD, "config.alpha.linkerd.io/proxy-wait-before-exit-seconds", "5",
	     "r.yaml:12: the pod: annotation config.alpha.linkerd.io/proxy-wait-before-exit-seconds: use lapse.proxy/timeout-drain, and a "
	     "native sidecar, which ends last; ignored"},
	    {KIND_POD, "config.linkerd.io/proxy-cpu-limit", "1",
	     "r.yaml:12: the pod: annotation config.linkerd.io/proxy-cpu-limit: it has no effect: Lapse has nothing like it; ignored"},
	    {KIND_SERVICE, "balancer.linkerd.io/failure-accrual", "consecutive",
	     "r.yaml:12: Service default/web: annotation balancer.linkerd.io/failure-accrual: it has no effect: Lapse dials the address that "
	     "the application chose, and neither balances nor breaks circuits; weights of backendRefs split requests; ignored"},
	    {KIND_HTTP_ROUTE, "lapse.proxy/timeout-connect",
	     "1234567890123456789012345678901234567890123456789012345678901234567890123456789\xc3\xa4",
	     "r.yaml:12: HTTPRoute default/web: annotation lapse.proxy/timeout-connect: "
	     "\"1234567890123456789012345678901234567890123456789012345678901234567890123456789…\": a Go duration from 0s (off) "
	     "on, such as 500ms, 30s or "
	     "1h30m; ignored"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct applied applied;

		apply_one(&applied, rows[i].kind, rows[i].key, rows[i].value);
		assert_int_equal(applied.diagnostics.kept, 1);
		assert_string_equal(applied.diagnostics.first->text, rows[i].expected);
		arena_free(&applied.arena);
	}
}

/* What injection has made flags of is no concern of the proxy, and Linkerd's timeout for dialling is ours. */
static void the_pod_keeps_its_flags_to_itself(void **state)
{
	static const char *const silent[] = {"config.linkerd.io/skip-inbound-ports", "lapse.proxy/inject",
	                                     "config.linkerd.io/close-wait-timeout", "lapse.proxy/close-wait-timeout", "linkerd.io/inject"};
	struct applied applied;

	for (size_t i = 0; i < COUNT(silent); i++) {
		apply_one(&applied, KIND_POD, silent[i], "1");
		assert_int_equal(applied.diagnostics.kept, 0);
		assert_null(applied.object.annotated);
		arena_free(&applied.arena);
	}
	apply_one(&applied, KIND_POD, "config.linkerd.io/proxy-outbound-connect-timeout", "700ms");
	assert_int_equal(applied.diagnostics.kept, 0);
	assert_int_equal(applied.object.annotated->of[TIMEOUT_CONNECT].milliseconds, 700);
	assert_string_equal(applied.object.annotated->of[TIMEOUT_CONNECT].source,
	                    "annotation config.linkerd.io/proxy-outbound-connect-timeout on the pod");
	arena_free(&applied.arena);
}

/* A value that became wrong leaves the one before in force; one that was never right sets nothing. */
static void wrong_values_change_nothing(void **state)
{
	const struct annotation good[] = {{"lapse.proxy/timeout-request", "1s", 1}, {"lapse.proxy/timeout-connect", "2s", 2}};
	const struct annotation bad[] = {{"lapse.proxy/timeout-request", "1d", 1}, {"lapse.proxy/timeout-tcp-idle", "-1s", 2}};
	struct arena arena = {0};
	struct diagnostics diagnostics = {.arena = &arena};
	struct object before = {.kind = KIND_POD, .namespace = "", .name = "", .file = "annotations"}, now = before;

	assert_int_equal(annotations_apply_pod(&arena, &diagnostics, &before, good, COUNT(good), NULL), 0);
	assert_int_equal(diagnostics.kept, 0);
	assert_int_equal(annotations_apply_pod(&arena, &diagnostics, &now, bad, COUNT(bad), before.annotated), 0);
	assert_int_equal(diagnostics.kept, 2);
	assert_string_equal(diagnostics.first->text,
	                    "annotations:1: the pod: annotation lapse.proxy/timeout-request: \"1d\": a Go duration from 0s (off) on, such as 500ms, "
	                    "30s or 1h30m; 1s, which was in force before, stays");
	assert_non_null(strstr(diagnostics.first->next->text, "; ignored"));
	assert_int_equal(now.annotated->of[TIMEOUT_REQUEST].milliseconds, 1000);
	assert_string_equal(now.annotated->of[TIMEOUT_REQUEST].source, "annotation lapse.proxy/timeout-request on the pod");
	assert_int_equal(now.annotated->of[TIMEOUT_CONNECT].milliseconds, TIMEOUT_UNSET);
	assert_int_equal(now.annotated->of[TIMEOUT_TCP_IDLE].milliseconds, TIMEOUT_UNSET);
	arena_free(&arena);
}

/* --- what is printed --- */

/* Whether a cell as "HTTPRoute, Service", "all; the pod" or "all but Config, Tenant; the pod" lists a kind. */
static bool lists(const char *cell, enum kind kind)
{
	static const char but[] = "all but ";
	bool all = strncmp(cell, but, strlen(but)) == 0, named = false;

	if (kind == KIND_POD)
		return strstr(cell, "the pod") != NULL;
	if (strncmp(cell, "all;", 4) == 0)
		return true;
	for (cell += all ? strlen(but) : 0; *cell && *cell != ';'; cell += strspn(cell, ", ")) {
		size_t length = strcspn(cell, ",;");

		named |= length == strlen(catalog_kind_name(kind)) && strncmp(cell, catalog_kind_name(kind), length) == 0;
		cell += length;
	}
	return named != all;
}

/* What the table says of a key is what a wrong value is told, on each kind. */
static void check_row(char *cells[static 5])
{
	char *key = cells[1] + 2; /* of " `KEY` " */

	*strchr(key, '`') = '\0';
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct applied applied;
		char accepted[512];

		snprintf(accepted, sizeof accepted, "\"?\": %.*s; ignored", (int)strlen(cells[3]) - 2, cells[3] + 1);
		apply_one(&applied, (enum kind)kind, key, "?");
		assert_int_equal(applied.diagnostics.kept, 1);
		assert_non_null(strstr(applied.diagnostics.first->text,
		                       lists(cells[4] + 1, (enum kind)kind) ? accepted : "it has no meaning on a "));
		arena_free(&applied.arena);
	}
}

static void keys_are_printed(void **state)
{
	char *text = NULL, *line, *lines;
	size_t length, rows = 0;
	FILE *to = open_memstream(&text, &length);

	assert_non_null(to);
	annotations_print(to);
	fclose(to);
	assert_non_null(strstr(text, "\n| `lapse.proxy/timeout-tcp-idle` | `tcpIdle` | "));
	assert_non_null(strstr(text, "\n| `timeout.linkerd.io/response` | `backendRequest`, counted from the end of the request | "));
	assert_non_null(strstr(text, "| HTTPRoute, GRPCRoute, Service |\n"));
	assert_non_null(strstr(text, "| all but Namespace; the pod |\n"));
	assert_non_null(strstr(text, "| Config, Tenant; the pod |\n"));
	for (line = strtok_r(text, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines)) {
		char *cells[5] = {line, NULL}, *bar = line;

		for (size_t i = 1; i < COUNT(cells); i++) {
			bar = strchr(bar + (i > 1), '|');
			assert_non_null(bar);
			cells[i] = bar + 1;
		}
		if (rows++ < 2)
			continue;
		for (size_t i = 2; i < COUNT(cells); i++)
			cells[i][-1] = '\0';
		*strrchr(cells[4], '|') = '\0';
		cells[4][strlen(cells[4]) - 1] = '\0';
		check_row(cells);
	}
	assert_int_equal(rows, 2 + TIMEOUT_COUNT + 6 + 3 + 4 + 2);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_pod_keeps_its_flags_to_itself),
	    cmocka_unit_test(wrong_values_change_nothing), cmocka_unit_test(durations), cmocka_unit_test(families),
	    cmocka_unit_test(others), cmocka_unit_test(precedence), cmocka_unit_test(retry_codes), cmocka_unit_test(retry_grpc),
	    cmocka_unit_test(retry_whole), cmocka_unit_test(warnings), cmocka_unit_test(keys_are_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
