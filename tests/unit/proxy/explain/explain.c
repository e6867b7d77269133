#include "proxy/explain/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/text.h"
#include "proxy/settings/settings.h"

enum { ARGUMENTS = 12 };

/* --- documents --- */

#define SERVICE(name, address, port) \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {clusterIP: " address ", ports: [{port: " port "}]}\n"

/* A rule for one path prefix; `more` are its other fields. */
#define RULE(path, more) "  - matches: [{path: {value: " path "}}]\n" more

static const char documents[] =
    SERVICE("web", "10.0.0.1", "80") SERVICE("v1", "10.0.0.2", "81") SERVICE("v2", "10.0.0.3", "82")
    SERVICE("plain", "10.0.0.4", "80") SERVICE("books", "10.0.0.5", "80") SERVICE("db", "10.0.0.6", "3306")
    SERVICE("grpc", "10.0.0.7", "80")
    "---\napiVersion: v1\nkind: Service\nmetadata: {name: eager, annotations: {retry.linkerd.io/http: 5xx}}\n"
    "spec: {clusterIP: 10.0.0.8, ports: [{port: 80}]}\n"
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: eager}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: eager}]\n  rules:\n"
    RULE("/there", "")
    RULE("/moved", "    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example.com}}]\n")
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: web}]\n"
    "  rules:\n"
    RULE("/old", "    name: moved\n"
         "    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.example.com, statusCode: 308,"
         " path: {type: ReplacePrefixMatch, replacePrefixMatch: /fresh}}}]\n")
    RULE("/rewrite", "    filters: [{type: URLRewrite, urlRewrite: {hostname: inner, path: {type: ReplacePrefixMatch,"
         " replacePrefixMatch: /in}}}]\n")
    RULE("/edit", "    filters:\n"
         "    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: '1'}, {name: B, value: '1'}],"
         " add: [{name: C, value: '1'}, {name: D, value: '1'}], remove: [E, F]}}\n"
         "    - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [Server]}}\n"
         "    backendRefs:\n"
         "    - {name: v2, port: 82, weight: 0}\n"
         "    - {name: v1, port: 81, weight: 3, filters: [{type: RequestHeaderModifier, requestHeaderModifier:"
         " {set: [{name: a, value: '2'}, {name: E, value: '2'}], add: [{name: c, value: '2'}], remove: [b, D]}}]}\n")
    "  - matches: [{path: {type: Exact, value: /retry}, method: POST, headers: [{name: X-A, value: v}],"
    " queryParams: [{name: q, type: RegularExpression, value: '[0-9]+'}]}]\n"
    "    timeouts: {request: 600ms, backendRequest: 300ms}\n"
    "    retry: {codes: [500, 502, 503], attempts: 2, backoff: 100ms}\n"
    RULE("/gone", "    backendRefs: [{group: example.com, kind: Bucket, name: b, port: 80}]\n")
    RULE("/ext", "    filters: [{type: ExtensionRef, extensionRef: {group: g, kind: K, name: n}}]\n")
    "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: books.default.svc.cluster.local}\nspec:\n"
    "  routes:\n"
    "  - {name: list, condition: {method: GET}, isRetryable: true, timeout: 300ms, responseClasses: [{condition:"
    " {status: {min: 400, max: 403}}, isFailure: true}, {condition: {status: {min: 504, max: 599}}, isFailure: false}]}\n"
    "  - {name: rest, condition: {method: POST}}\n"
    "---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: db, annotations:"
    " {kubelb.k8c.io/timeout-tcp-idle: 3h}}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: db}]\n  rules: [{backendRefs: [{name: v1, port: 81}]}]\n"
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: grpc}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: grpc}]\n"
    "  rules: [{matches: [{method: {service: a.B, method: C}}]}]\n"
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: mine, namespace: client}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: plain, namespace: default}]\n"
    "  rules: [{timeouts: {request: 7s}}]\n"
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: far}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: far}]\n"
    "  rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}]\n"
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: gate}\nspec:\n"
    "  parentRefs: [{name: gateway}]\n"
    "  rules: [{timeouts: {request: 9s}, retry: {codes: [503]}, backendRefs: [{name: gone, port: 80}],"
    " filters: [{type: URLRewrite, urlRewrite: {hostname: inner}}]}]\n";

/* In a file each, named here for the arguments: '@' is the good one, '!' the bad one. */
struct files {
	char good[64], bad[64];
};

static void write_file(char path[64], const char *bytes)
{
	strcpy(path, "/tmp/lapse-explain-XXXXXX.yaml");
	int fd = mkstemps(path, 5);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static int setup(void **state)
{
	static struct files files;

	write_file(files.good, documents);
	write_file(files.bad, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 0}]}\n");
	*state = &files;
	return 0;
}

static int teardown(void **state)
{
	const struct files *files = *state;

	unlink(files->good);
	unlink(files->bad);
	return 0;
}

/* --- one call --- */

struct answer {
	int status;
	char *out, *errors;
};

static struct answer explain(const struct files *files, const char *const arguments[ARGUMENTS])
{
	char *argv[ARGUMENTS + 3] = {(char *)"lapse-proxy", (char *)"explain"};
	int argc = 2, command;
	struct settings settings;
	struct answer answer = {0};
	size_t sizes[2];
	FILE *out = open_memstream(&answer.out, &sizes[0]), *errors = open_memstream(&answer.errors, &sizes[1]);
	TEXT_ON_STACK(error, 512);

	assert_true(out && errors);
	for (int i = 0; i < ARGUMENTS && arguments[i]; i++) {
		const char *argument = arguments[i];

		if (strcmp(argument, "@") == 0)
			argument = files->good;
		else if (strcmp(argument, "!") == 0)
			argument = files->bad;
		argv[argc++] = (char *)argument;
	}
	if (settings_parse(argc, argv, NULL, &settings, &command, &error))
		fail_msg("%s", error_bytes);
	answer.status = explain_run(&settings, out, errors);
	settings_free(&settings);
	fclose(out);
	fclose(errors);
	return answer;
}

static void answer_free(struct answer *answer)
{
	free(answer->out);
	free(answer->errors);
}

/* --- what applies: members of the JSON object --- */

#define NO_EDITS "{\"set\":{},\"add\":{},\"remove\":[]}"
#define REQUEST_5S "--timeout-request=5s"

static const struct {
	const char *arguments[ARGUMENTS]; /* --config and --json apart */
	const char *members[6];
} applied[] = {
    {{"--to", "10.0.0.1:80", "GET http://web/old/x?y=1"},
     {"{\"to\":\"10.0.0.1:80\",\"direction\":\"outbound\",\"protocol\":\"http/1.1\",\"service\":\"default/web\",\"service_documented\":true,\"route\":{\"kind\":\"HTTPRoute\","
      "\"namespace\":\"default\",\"name\":\"web\",\"rule\":0,\"rule_name\":\"moved\",\"match\":{\"path\":{\"type\":\"PathPrefix\","
      "\"value\":\"/old\"},\"method\":null,\"headers\":[],\"query\":[]}},",
      "\"status\":308,\"redirect\":{\"status\":308,\"location\":\"https://new.example.com/fresh/x?y=1\"},\"backends\":[],",
      "\"rewrite\":null"}},
    {{"--to", "default/web:80", "GET", "http://web/rewrite/a?b"},
     {"\"to\":\"default/web:80\"", "\"rule\":1,\"rule_name\":null,", "\"status\":null,\"redirect\":null,",
      "\"rewrite\":{\"host\":\"inner\",\"path\":\"/in/a\"},", "\"retry\":null"}},
    {{"--to", "default/web:80", "GET /edit"},
     {"\"backends\":[{\"kind\":\"Service\",\"namespace\":\"default\",\"name\":\"v2\",\"port\":82,\"weight\":0},"
      "{\"kind\":\"Service\",\"namespace\":\"default\",\"name\":\"v1\",\"port\":81,\"weight\":3}],",
      "\"request_headers\":{\"set\":{\"a\":\"2\",\"E\":\"2\"},\"add\":{\"C\":\"1, 2\"},\"remove\":[\"F\",\"b\",\"D\"]},",
      "\"response_headers\":{\"set\":{},\"add\":{},\"remove\":[\"Server\"]},"}},
    {{"--to", "default/web:80", "POST /retry?q=7", "-H", "x-a: v"},
     {"\"match\":{\"path\":{\"type\":\"Exact\",\"value\":\"/retry\"},\"method\":\"POST\",\"headers\":[{\"name\":\"x-a\","
      "\"type\":\"Exact\",\"value\":\"v\"}],\"query\":[{\"name\":\"q\",\"type\":\"RegularExpression\",\"value\":\"[0-9]+\"}]}",
      "\"retry\":{\"attempts\":2,\"codes\":[500,502,503],\"grpc\":[],\"backoff_ms\":100},",
      "\"request\":{\"value\":\"600ms\",\"ms\":600,\"source\":\"HTTPRoute default/web spec.rules[3].timeouts.request\"}",
      "\"backendRequest\":{\"value\":\"300ms\",\"ms\":300,"}},
    {{"--to", "default/web:80", "POST /retry?q=7", REQUEST_5S},
     {"\"route\":null,\"status\":404,\"redirect\":null,\"backends\":[],\"request_headers\":" NO_EDITS,
      "\"request\":{\"value\":\"5s\",\"ms\":5000,\"source\":\"flag --timeout-request\"}",
      "\"connect\":{\"value\":\"5s\",\"ms\":5000,\"source\":\"built-in\"}",
      "\"maxConnection\":{\"value\":\"0s\",\"ms\":0,\"source\":\"built-in\"}"}},
    {{"--to", "default/web:80", "GET /gone"}, {"\"rule\":4,", "\"status\":500,", "\"kind\":\"Bucket\""}},
    {{"--to", "default/web:80", "GET /ext"}, {"\"rule\":5,", "\"status\":500,\"redirect\":null"}},
    {{"--to", "default/books:80", "GET /"},
     {"\"kind\":\"ServiceProfile\"", "\"rule\":0,\"rule_name\":\"list\",\"match\":null}",
      "\"attempts\":null,\"codes\":[400,401,402,403,500,501,502,503],\"grpc\":[],\"backoff_ms\":", "\"request\":{\"value\":\"300ms\""}},
    {{"--to", "default/books:80", "POST /", "--service-profile-default-timeout=2s"},
     {"\"rule\":1,\"rule_name\":\"rest\"", "\"retry\":null",
      "\"request\":{\"value\":\"2s\",\"ms\":2000,\"source\":\"flag --service-profile-default-timeout\"}"}},
    {{"--to", "10.0.0.6:3306"},
     {"\"kind\":\"TCPRoute\"", "\"match\":null}", "\"status\":null", "\"name\":\"v1\",\"port\":81,\"weight\":1}]",
      "\"tcpIdle\":{\"value\":\"3h\",\"ms\":10800000,"
      "\"source\":\"annotation kubelb.k8c.io/timeout-tcp-idle on TCPRoute default/db\"}"}},
    {{"--to", "default/grpc:80", "POST /a.B/C"},
     {"\"kind\":\"GRPCRoute\"", "\"match\":{\"path\":null,\"method\":{\"type\":\"Exact\",\"service\":\"a.B\",\"method\":\"C\"},"}},
    /* Of HTTP/2 the timeouts alone apply; what would happen over HTTP/1 stands apart. */
    {{"--to", "grpc.default:80", "--protocol", "grpc", "/a.B/C"},
     {"{\"to\":\"grpc.default:80\",\"direction\":\"outbound\",\"protocol\":\"grpc\",\"service\":\"default/grpc\",", "\"kind\":\"GRPCRoute\"",
      "\"status\":null,", "\"retry\":null,\"http1_only\":null,\"grpcDeadline\":{\"ms\":0,\"enforced\":false},\"timeouts\":{"}},
    {{"--to", "grpc.default.svc:80", "--protocol=grpc", "http://grpc/a.B/D", "-H", "Grpc-Timeout: 1500m", "--grpc-deadline=enforce"},
     {"\"route\":null,\"status\":null,", "\"http1_only\":{\"status\":404,", "\"grpcDeadline\":{\"ms\":1500,\"enforced\":true}"}},
    {{"--to", "grpc.default.svc.cluster.local:80", "--protocol=http/2", "POST /a.B/C", "-Hcontent-type: application/grpc+proto"},
     {"\"protocol\":\"grpc\"", "\"kind\":\"GRPCRoute\""}},
    {{"--to", "default/web:80", "--protocol=http/2", "GET /edit"},
     {"\"protocol\":\"http/2\"", "\"status\":null,\"redirect\":null,\"backends\":[],\"request_headers\":" NO_EDITS,
      "\"http1_only\":{\"status\":null,\"redirect\":null,\"backends\":[{\"kind\":\"Service\"", "\"remove\":[\"F\",\"b\",\"D\"]}"}},
    {{"--to", "default/web:80", "--protocol=http/2", "POST /retry?q=7", "-H", "x-a: v"},
     {"\"http1_only\":{\"status\":null,", "\"retry\":{\"attempts\":2,", "\"request\":{\"value\":\"600ms\"", "\"backendRequest\":{\"value\":\"300ms\""}},
    {{"--to", "default/web:80", "--protocol=http/2", "GET /ext"}, {"\"status\":null,", "\"http1_only\":{\"status\":500,"}},
    /* The limits of a head are HTTP/1's. */
    {{"--to", "default/plain:80", "--protocol=http/2", "--max-target-size=64", "GET /0123456789012345678901234567890123456789012345678901234567890123"},
     {"\"status\":null,"}},
    {{"--to", "default/plain:80", "GET /"},
     {"\"service\":\"default/plain\",\"service_documented\":true,\"route\":null,\"status\":null", "\"request\":{\"value\":\"0s\""}},
    {{"--to", "default/plain:80", "GET /", "--from-namespace", "client"},
     {"\"namespace\":\"client\",\"name\":\"mine\"", "\"request\":{\"value\":\"7s\""}},
    /* What the proxy answers itself is not tried again. */
    {{"--to", "default/eager:80", "GET /there"}, {"\"status\":null,", "\"retry\":{\"attempts\":1,\"codes\":[500,501,"}},
    {{"--to", "default/eager:80", "GET /moved"}, {"\"status\":302,", "\"retry\":null,"}},
    {{"--to", "default/eager:80", "GET /"}, {"\"status\":404,", "\"retry\":null,"}},
    /* Of a Service without a document the port is that of the connection. */
    {{"--to", "default/far:8080", "GET http://me:secret@web:81/a"}, {"\"location\":\"http://web:8080/a\""}},
    {{"--to", "[fd00::1]:443", "--direction=inbound"},
     {"{\"to\":\"[fd00::1]:443\",\"direction\":\"inbound\",\"protocol\":null,\"service\":null,\"service_documented\":false,\"route\":null,\"status\":null,"}},
    /* Of Services that nothing names. */
    {{"--to", "nowhere/none:80", "GET /"},
     {"\"service\":\"nowhere/none\",\"service_documented\":false,\"route\":null,\"status\":null,", "\"backends\":[],", "\"request\":{\"value\":\"0s\""}},
    {{"--to", "nowhere/none:80", "--direction", "inbound"}, {"\"service\":\"nowhere/none\",\"service_documented\":false,\"route\":null,\"status\":null,"}},
    /* Inbound and for Gateways a rule only advises. */
    {{"--to", "default/web:80", "GET /old/x", "--direction", "inbound"},
     {"\"rule\":0,", "\"status\":null,\"redirect\":null,\"backends\":[],"}},
    {{"--to", "default/web:80", "GET /edit", "--direction", "inbound"},
     {"\"rule\":2,", "\"backends\":[],\"request_headers\":" NO_EDITS ",\"response_headers\":" NO_EDITS ",\"rewrite\":null"}},
    {{"--to", "default/web:80", "POST /retry?q=7", "-H", "x-a: v", "--direction=inbound"},
     {"\"rule\":3,", "\"retry\":null", "\"request\":{\"value\":\"600ms\""}},
    {{"--to", "default/gone:80", "GET /"},
     {"\"name\":\"gate\",\"rule\":0,", "\"status\":null,\"redirect\":null,\"backends\":[],\"request_headers\":" NO_EDITS,
      "\"retry\":null", "\"request\":{\"value\":\"9s\""}},
};

static void says_what_applies(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof applied / sizeof *applied; i++) {
		const char *arguments[ARGUMENTS] = {"--config", "@", "--json"};
		struct answer answer;

		for (size_t j = 0; j + 3 < ARGUMENTS && applied[i].arguments[j]; j++)
			arguments[j + 3] = applied[i].arguments[j];
		answer = explain(*state, arguments);
		assert_string_equal(answer.errors, "");
		assert_int_equal(answer.status, 0);
		for (size_t j = 0; j < 6 && applied[i].members[j]; j++)
			if (!strstr(answer.out, applied[i].members[j])) {
				print_error("row %zu: %s\n is not in %s\n", i, applied[i].members[j], answer.out);
				failures++;
			}
		answer_free(&answer);
	}
	assert_int_equal(failures, 0);
}

/* --- what is refused --- */

static const struct {
	const char *arguments[ARGUMENTS];
	int status;
	const char *error; /* a part of it */
} refused[] = {
    {{NULL}, 64, "--to is missing"},
    {{"--to", ""}, 64, "--to: \"\""},
    {{"--to", "10.0.0.1"}, 64, "--to: \"10.0.0.1\" is not accepted; give ADDRESS:PORT"},
    {{"--to", "10.0.0.1:0"}, 64, "--to"},
    {{"--to", "web:80"}, 64, "--to"},
    {{"--to", "default/web"}, 64, "--to"},
    {{"--to", "default/web:"}, 64, "--to"},
    {{"--to", "default/web:65536"}, 64, "--to"},
    {{"--to", "default/web:99999999999999999999"}, 64, "--to"},
    {{"--to", "default/web:8o"}, 64, "--to"},
    {{"--to", "default/:80"}, 64, "--to"},
    {{"--to", "/web:80"}, 64, "--to"},
    {{"--to", "a/b/c:80"}, 64, "--to"},
    {{"--to", "default:80/web"}, 64, "--to"},
    {{"--to", "default/web:81", "--config", "@"}, 64, "\"default/web:81\" is not accepted; give a TCP port that the Service has: 80 (/tmp/"},
    {{"--to", "Default/web:80"}, 64, "--to: \"Default/web:80\" is not accepted; give ADDRESS:PORT"},
    {{"--to", "a.b/web:80"}, 64, "--to: \"a.b/web:80\""},
    {{"--to", "default/we b:80"}, 64, "--to: \"default/we b:80\""},
    {{"--to", "10.0.0.1:80", ""}, 64, "the request: \"\""},
    {{"--to", "10.0.0.1:80", "GET"}, 64, "METHOD URL"},
    {{"--to", "10.0.0.1:80", "GET "}, 64, "METHOD URL"},
    {{"--to", "10.0.0.1:80", " /"}, 64, "METHOD URL"},
    {{"--to", "10.0.0.1:80", "GET /", "/"}, 64, "METHOD URL"},
    {{"--to", "10.0.0.1:80", "GET", ""}, 64, "METHOD URL"},
    {{"--to", "10.0.0.1:80", "GET", "https://web/"}, 64, "TLS"},
    {{"--to", "10.0.0.1:80", "GET / HTTP/1.1\r\nX: y"}, 64, "in one line"},
    {{"--to", "10.0.0.1:80", "GET /", "-H", "X: y\r\nZ: z"}, 64, "--header"},
    {{"--to", "10.0.0.1:80", "GET /", "-H", ""}, 64, "--header: \"\""},
    {{"--to", "10.0.0.1:80", "GET /", "-H", "X"}, 64, "--header: \"X\""},
    {{"--to", "10.0.0.1:80", "GET /", "-H", ": x"}, 64, "--header"},
    {{"--to", "10.0.0.1:80", "GET /", "-H", " X: y"}, 64, "400 request_invalid: a header field line is folded"},
    {{"--to", "10.0.0.1:80", "GET /", "-H", "X : y"}, 64, "400 request_invalid"},
    {{"--to", "10.0.0.1:80", "GET /", "-HHost: a", "-Hhost: b"}, 64, "400 request_invalid: more than one Host"},
    {{"--to", "10.0.0.1:80", "g(t /"}, 64, "400 request_invalid"},
    {{"--to", "10.0.0.1:80", "GET /", "-HHost: a/b"}, 64, "400 request_invalid: a Host that is no host and port"},
    {{"--to", "10.0.0.1:80", "GET /", "-HHost: a:b"}, 64, "400 request_invalid: a Host that is no host and port"},
    {{"--to", "10.0.0.1:80", "GET /a b"}, 64, "400 request_invalid"},
    {{"--to", "10.0.0.1:80", "POST /", "-HContent-Length: 1", "-HTransfer-Encoding: chunked"}, 64, "400 request_ambiguous"},
    {{"--to", "10.0.0.1:80", "GET /0123456789012345678901234567890123456789012345678901234567890123", "--max-target-size=64"}, 64,
     "414 head_too_large"},
    {{"--to", "web.default:80:80", "GET /"}, 64, "NAME.NAMESPACE:PORT as web.default:80"},
    {{"--to", "web.default.pod:80", "GET /"}, 64, "--to: \"web.default.pod:80\""},
    {{"--to", "web.default.svc.elsewhere:80", "GET /"}, 64, "--to"},
    {{"--to", "web.:80", "GET /"}, 64, "--to"},
    {{"--to", ".default:80", "GET /"}, 64, "--to"},
    {{"--to", "10.96.0.300:80", "GET /"}, 64, "--to"},
    {{"--to", "10.0.0.1:80", "--protocol=http/2"}, 64, "the request is missing; with --protocol http/2 give METHOD URL"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc"}, 64, "with grpc /package.Service/Method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "/a"}, 64, "\"/a\" is not accepted; give a gRPC method as /package.Service/Method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "/a/"}, 64, "a gRPC method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "//b"}, 64, "a gRPC method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "/a/b?c"}, 64, "a gRPC method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "a.B/C"}, 64, "a gRPC method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "GET /a.B/C"}, 64, "a gRPC method"},
    {{"--to", "10.0.0.1:80", "--protocol=grpc", "https://a/a.B/C"}, 64, "TLS"},
    {{"--to", "10.0.0.1:80", "--protocol=http/2", "G(T /"}, 64, "no end sends this request: "},
    {{"--to", "10.0.0.1:80", "--config", "!"}, 65, "error: "},
    {{"--to", "10.0.0.1:80", "--config", "/nonexistent/lapse"}, 65, "/nonexistent/lapse"},
};

static void refuses(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct answer answer = explain(*state, refused[i].arguments);

		if (answer.status != refused[i].status || !strstr(answer.errors, refused[i].error) || *answer.out) {
			print_error("row %zu: %d, %s%s\n", i, answer.status, answer.errors, answer.out);
			failures++;
		}
		answer_free(&answer);
	}
	assert_int_equal(failures, 0);
}

/* --- the request line and its host, as the text shows them --- */

static void requests(void **state)
{
	static const struct {
		const char *arguments[ARGUMENTS], *shown;
	} rows[] = {
	    {{"--to", "10.9.0.1:80", "GET http://web"}, "GET / HTTP/1.1, host web\n"},
	    {{"--to", "10.9.0.1:80", "GET HTTP://Web:8080?a=b#c"}, "GET /?a=b HTTP/1.1, host Web\n"},
	    {{"--to", "10.9.0.1:80", "GET", "/a#b"}, "GET /a HTTP/1.1, host 10.9.0.1\n"},
	    {{"--to", "10.9.0.1:80", "GET /?u=https://x/"}, "GET /?u=https://x/ HTTP/1.1, host 10.9.0.1\n"},
	    {{"--to", "10.9.0.1:80", "GET http://web/", "-H", "hOST: other"}, "GET / HTTP/1.1, host other\n"},
	    {{"--to", "10.9.0.1:80", "OPTIONS *"}, "OPTIONS * HTTP/1.1, host 10.9.0.1\n"},
	    {{"--to", "10.9.0.1:80", "brew /\xc3\xa4"}, "brew /\xc3\xa4 HTTP/1.1, host 10.9.0.1\n"},
	    {{"--to", "10.9.0.1:80", "GET web/"}, "GET web/ HTTP/1.1, host 10.9.0.1\n"},
	    {{"--config", "@", "--to", "default/web:80", "GET /", "--cluster-domain=example.org"},
	     "GET / HTTP/1.1, host web.default.svc.example.org\n"},
	    {{"--to", "web.x:80", "--protocol=http/2", "GET http://web/a"}, "GET /a HTTP/2, host web\n"},
	    {{"--to", "web.x:80", "--protocol=grpc", "/a.B/C"}, "POST /a.B/C HTTP/2, gRPC, host web.x.svc.cluster.local\n"},
	    {{"--to", "web.x:80", "--protocol=grpc", "POST /a.B/C"}, "POST /a.B/C HTTP/2, gRPC, host web.x.svc.cluster.local\n"},
	    {{"--to", "web.x:80", "--protocol=grpc", "POST", "http://h/a.B/C"}, "POST /a.B/C HTTP/2, gRPC, host h\n"},
	    {{"--to", "10.9.0.1:80"}, "none: a connection of opaque bytes\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct answer answer = explain(*state, rows[i].arguments);

		assert_string_equal(answer.errors, "");
		assert_int_equal(answer.status, 0);
		if (!strstr(answer.out, rows[i].shown))
			fail_msg("%s is not in\n%s", rows[i].shown, answer.out);
		answer_free(&answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(says_what_applies),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(requests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
