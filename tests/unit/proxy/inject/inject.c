#include "proxy/inject/inject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/yaml.h"
#include "proxy/settings/settings.h"

enum { WORDS_MOST = 8 };

/* What one run gave; to be freed. */
struct ran {
	int status;
	char *out, *said;
};

static struct ran run(const char *const *words, const char *input)
{
	char *argv[WORDS_MOST + 3] = {(char *)"lapse-proxy", (char *)"inject"};
	struct ran ran = {0};
	size_t sizes[2];
	FILE *in = fmemopen((char *)input, strlen(input), "r");
	FILE *out = open_memstream(&ran.out, &sizes[0]), *errors = open_memstream(&ran.said, &sizes[1]);
	int argc = 2;

	for (; words && words[argc - 2]; argc++)
		argv[argc] = (char *)words[argc - 2];
	assert_true(in && out && errors);
	ran.status = inject_run(argc, argv, NULL, in, out, errors);
	fclose(in);
	fclose(out);
	fclose(errors);
	return ran;
}

static void done(struct ran *ran)
{
	free(ran->out);
	free(ran->said);
}

#define POD(spec) "kind: Pod\nmetadata: {name: p, namespace: n}\nspec: " spec "\n"
#define ANNOTATED(annotations) "kind: Pod\nmetadata: {name: p, annotations: " annotations "}\nspec: {containers: [{name: a}]}\n"

/* --- what is put in --- */

static const struct {
	const char *input;
	const char *words[WORDS_MOST];
	const char *parts[4]; /* of the result, in this order */
	const char *absent;
} results[] = {
    {POD("{containers: [{name: a}]}"), {NULL},
     {"initContainers: [{name: lapse-init", "{name: lapse-proxy", "--timeout-drain=28s", "restartPolicy: Always"}, "readinessProbe"},
    {POD("{containers: [{name: a}], initContainers: [{name: first}]}"), {NULL},
     {"{name: lapse-init", "{name: lapse-proxy", "{name: first}"}, "privileged"},
    {POD("{containers: [{name: a}], initContainers: [{name: first}]}"), {"--ordinary"},
     {"default-container: a", "containers: [{name: lapse-proxy", "{name: a}", "{name: first}, {name: lapse-init"}, "restartPolicy"},
    {POD("{terminationGracePeriodSeconds: 600, containers: [{name: a}]}"), {NULL}, {"--timeout-drain=598s"}, "28s"},
    {POD("{terminationGracePeriodSeconds: 1, containers: [{name: a}]}"), {NULL}, {"--timeout-drain=500ms"}, "28s"},
    {POD("{containers: [{name: a}]}"), {"--timeout-drain", "9s"}, {"--timeout-drain-least=0s", "--timeout-drain=9s"}, "28s"},
    {POD("{containers: [{name: a}]}"), {"--timeout-drain-least=1s"}, {"--timeout-drain-least=1s"}, "least=0s"},
    {POD("{containers: [{name: a}]}"), {"--image", "r/l:2", "--image-pull-policy=Never"}, {"image: 'r/l:2'", "Never"}, "lapse:0"},
    {POD("{containers: [{name: a}]}"), {"--proxy-uid", "77", "--admin-port", "99", "--cpu-limit=1"},
     {"--proxy-uid=77", "containerPort: 99", "postStart: {exec: {command: [/usr/bin/lapse-proxy, ready, '--admin=127.0.0.1:99']}}", "runAsUser: 77"}, "2102"},
    {POD("{containers: [{name: a}], volumes: [{name: v}]}"), {"--config-map=routes"},
     {"volumes: [{name: v}, {name: lapse-podinfo", "configMap: {name: routes, optional: true}", "--config=/etc/lapse"}, NULL},
    /* both containers listen to what both know */
    {POD("{containers: [{name: a}]}"), {"--inbound-port=5000"}, {"--inbound-port=5000", "--inbound-port=5000"}, NULL},
    {POD("{containers: [{name: a}]}"), {"--conntrack-timeout=established=1h", "--conntrack-timeout=fin_wait=1m"},
     {"--conntrack-timeout=established=1h", "--conntrack-timeout=fin_wait=1m"}, NULL},
    {POD("{containers: [{name: a}]}"), {"--keep-invalid", "--access-log=false"}, {"--keep-invalid=true", "--access-log=false"}, NULL},
    /* an annotation stands above the flag, ours above Linkerd's; a wrong one does not count; timeouts are read live */
    {ANNOTATED("{lapse.proxy/close-wait-timeout: 30m}"), {"--close-wait-timeout=1h"}, {"--close-wait-timeout=30m"}, "=1h"},
    {ANNOTATED("{config.linkerd.io/close-wait-timeout: 1h0m0s}"), {NULL}, {"--close-wait-timeout=1h0m0s"}, NULL},
    {ANNOTATED("{config.linkerd.io/opaque-ports: '9', lapse.proxy/opaque-ports: '8'}"), {NULL}, {"--opaque-ports=8"}, "ports=9"},
    {ANNOTATED("{config.linkerd.io/proxy-outbound-connect-timeout: 900ms}"), {NULL}, {"--timeout-connect=900ms"}, NULL},
    {ANNOTATED("{lapse.proxy/close-wait-timeout: 1d}"), {"--close-wait-timeout=1h"}, {"--close-wait-timeout=1h"}, "=1d"},
    {ANNOTATED("{lapse.proxy/timeout-request: 3s}"), {NULL}, {"--pod-info"}, "--timeout-request"},
    {ANNOTATED("{lapse.proxy/inject: disabled}"), {NULL}, {"containers: [{name: a}]"}, "lapse-init"},
    /* wherever pods are */
    {"kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a}]}}}}}\n", {NULL},
     {"lapse-init"}, NULL},
    {"kind: PodTemplate\ntemplate: {spec: {containers: [{name: a}]}}\n", {NULL}, {"lapse-init"}, NULL},
    {"kind: List\nitems:\n- " "{kind: Service, spec: {}}\n- {kind: Job, spec: {template: {spec: {containers: [{name: a}]}}}}\n", {NULL},
     {"kind: Service, spec: {}", "lapse-init"}, NULL},
    /* what is not looked into is as it was */
    {"kind: ConfigMap\ndata: {a: 'yes', b: yes, c: 0o17, d: 1e3, e: ~, f: , g: !!str 8, h: \"8\", i: 08}\n", {NULL},
     {"{a: 'yes', b: yes, c: 0o17, d: 1e3, e: ~, f: null, g: !!str 8, h: \"8\", i: 08}"}, NULL},
    {"kind: A\nb: &x |\n  c\n\n  d\ne: *x\nf: {<<: *x}\n---\nkind: B\n", {NULL}, {"kind: A\nb: &x |\n  c\n\n  d\ne: *x\n", "\n---\nkind: B\n"},
     NULL},
    {"# none\nkind: Service # none\nspec: &s {<<: *t}\nb: {? c}\n", {NULL}, {"kind: Service\nspec: &s {<<: *t}\nb: {c: null}"}, "none"},
};

static void pods_get_two_containers(void **state)
{
	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		struct ran ran = run(results[i].words, results[i].input), again, back, plain;
		const char *const remove[] = {"--remove", NULL}, *at = ran.out;

		if (ran.status)
			fail_msg("row %zu: %d: %s", i, ran.status, ran.said);
		for (size_t j = 0; j < 4 && results[i].parts[j]; j++) {
			at = strstr(at, results[i].parts[j]);
			if (!at)
				fail_msg("row %zu: no \"%s\" in its place in:\n%s", i, results[i].parts[j], ran.out);
			at += strlen(results[i].parts[j]);
		}
		if (results[i].absent && strstr(ran.out, results[i].absent))
			fail_msg("row %zu: \"%s\" in:\n%s", i, results[i].absent, ran.out);
		again = run(results[i].words, ran.out);
		assert_string_equal(again.out, ran.out);
		back = run(remove, ran.out);
		plain = run(remove, results[i].input);
		assert_null(strstr(back.out, "lapse-"));
		assert_string_equal(back.out, plain.out);
		done(&ran);
		done(&again);
		done(&back);
		done(&plain);
	}
}

/* --- what is refused, and what is said --- */

static const struct {
	const char *input;
	const char *words[WORDS_MOST];
	int status;
	const char *said;
} sayings[] = {
    {POD("{hostNetwork: true, containers: [{name: a}]}"), {NULL}, 65, "error: standard input:1: Pod n/p: it has hostNetwork"},
    {POD("{containers: []}"), {NULL}, 65, "Pod n/p: it has no containers"},
    {POD("{}"), {NULL}, 65, "it has no containers"},
    {"kind: Deployment\nmetadata: {name: d}\n", {NULL}, 65, "Deployment d: it has no spec"},
    {"kind: Deployment\nspec: {template: }\n", {NULL}, 65, "Deployment without a name: it has no template"},
    {"kind: Deployment\nspec: &x {template: *x}\n", {NULL}, 65, "template is an alias (*x)"},
    {POD("{containers: [{name: a}], <<: *y}"), {NULL}, 65, "a merge key (<<)"},
    {POD("{containers: {name: a}}"), {NULL}, 65, "containers is not a list"},
    {POD("{containers: [{image: a}]}"), {NULL}, 65, "one of its containers has no name"},
    {POD("{containers: [{name: a, ports: [{containerPort: 4143}]}]}"), {NULL}, 65, "container a has port 4143"},
    {POD("{containers: [{name: a, ports: [{containerPort: 8}]}]}"), {"--admin-port=8"}, 65, "another one with --admin-port"},
    {POD("{containers: [{name: a}, {name: linkerd-proxy}]}"), {NULL}, 65, "it has linkerd-proxy"},
    {POD("{containers: [{name: a, securityContext: {runAsUser: 2102}}]}"), {NULL}, 65, "container a runs as uid 2102"},
    {POD("{securityContext: {runAsUser: 2102}, containers: [{name: a}]}"), {NULL}, 65, "it runs as uid 2102"},
    {POD("{os: {name: windows}, containers: [{name: a}]}"), {NULL}, 65, "it is for Windows"},
    {POD("{restartPolicy: OnFailure, containers: [{name: a}]}"), {"--ordinary"}, 65, "it would never end"},
    {POD("{containers: [{name: a}]}") "---\n" POD("{containers: []}"), {NULL}, 65, "nothing is written"},
    {"a: [\n", {NULL}, 65, "error: standard input:2: "},
    {"# nothing\n", {NULL}, 65, "there is no document"},
    {"kind: Service\n", {NULL}, 0, "no object has pods"},
    {ANNOTATED("{lapse.proxy/skip-inbund-ports: '25'}"), {NULL}, 0, "annotation lapse.proxy/skip-inbund-ports: unknown"},
    {ANNOTATED("{config.linkerd.io/proxy-cpu-limit: '1'}"), {NULL}, 0, "config.linkerd.io/proxy-cpu-limit: it means nothing to Lapse"},
    {ANNOTATED("{lapse.proxy/timeout-request: 1d}"), {NULL}, 0, "timeout-request: \"1d\": give a duration"},
    {ANNOTATED("{lapse.proxy/inject: ja}"), {NULL}, 0, "\"ja\": enabled or disabled"},
    {ANNOTATED("{lapse.proxy/inject: disabled}"), {NULL}, 0, "left alone"},
    {"", {"--no-such"}, 64, "lapse-proxy inject: --no-such: unknown option"},
    {"", {"--close-wait-timeout", "0s"}, 64, "--close-wait-timeout: \"0s\" is not accepted; give a duration above 0s"},
    {"", {"--skip-inbound-ports=http"}, 64, "give ports and ranges"},
    {"", {"--keepalive-probes=500"}, 64, "give a number from 1 to 127"},
    {"", {"--image-pull-policy=always"}, 64, "Always, IfNotPresent or Never"},
    {"", {"--memory-limit=64MB"}, 64, "a quantity"},
    {"", {"--image="}, 64, "a name without blanks"},
    {"", {"/nonexistent/file"}, 1, "error: /nonexistent/file: "},
};

static void what_is_wrong_is_named(void **state)
{
	for (size_t i = 0; i < sizeof sayings / sizeof *sayings; i++) {
		struct ran ran = run(sayings[i].words, *sayings[i].input ? sayings[i].input : " ");

		if (ran.status != sayings[i].status || !strstr(ran.said, sayings[i].said))
			fail_msg("row %zu: %d, \"%s\", not %d with \"%s\"", i, ran.status, ran.said, sayings[i].status, sayings[i].said);
		if (ran.status)
			assert_string_equal(ran.out, "");
		else
			assert_int_equal(strlen(ran.said), strcspn(ran.said, "\n") + 1); /* one warning */
		done(&ran);
	}
}

static void help_names_the_flags_of_both_programs(void **state)
{
	const char *const words[] = {"--help", NULL};
	struct ran ran = run(words, " ");

	assert_int_equal(ran.status, 0);
	assert_non_null(strstr(ran.out, "--close-wait-timeout DURATION"));
	assert_non_null(strstr(ran.out, "Of lapse-init and lapse-proxy: "));
	assert_non_null(strstr(ran.out, "--timeout-idle-connection DURATION"));
	done(&ran);
}

/* A line of what lapse-proxy gets must be one it takes. */
static void lapse_proxy_takes_its_arguments(void **state)
{
	const char *const words[] = {"--ordinary", "--config-map=c", "--timeout-tcp-idle=0", "--access-log", "--opaque-ports= 25 , 26",
	                             "--dns-server=[fd00::a]:53", NULL};
	struct ran ran = run(words, "kind: Pod\nspec:\n  containers:\n  - name: a\n");
	struct arena arena = {0};
	struct yaml_node *document = NULL;
	struct yaml_error error;
	struct settings settings;
	char *argv[32] = {(char *)"lapse-proxy"}, *environment[] = {NULL}, said[512];
	struct text text;
	int argc = 1, command;

	assert_int_equal(yaml_parse(&arena, ran.out, strlen(ran.out), &document, &error), 0);
	const struct yaml_node *container = yaml_field(yaml_field(document, "spec"), "containers")->children;
	assert_string_equal(yaml_field(container, "name")->text, "lapse-proxy");
	for (const struct yaml_node *argument = yaml_field(container, "args")->children; argument; argument = argument->next)
		argv[argc++] = (char *)argument->text;
	text_init(&text, said, sizeof said);
	if (settings_parse(argc, argv, environment, &settings, &command, &text))
		fail_msg("%s", said);
	assert_int_equal(settings.policy.timeouts.of[TIMEOUT_DRAIN].milliseconds, 28000);
	assert_int_equal(settings.worker.opaque_ports.count, 1);
	settings_free(&settings);
	arena_free(&arena);
	done(&ran);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pods_get_two_containers),
	    cmocka_unit_test(what_is_wrong_is_named),
	    cmocka_unit_test(help_names_the_flags_of_both_programs),
	    cmocka_unit_test(lapse_proxy_takes_its_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
