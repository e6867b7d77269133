#include "proxy/explain/check_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/config.h"
#include "proxy/config/diagnostics.h"
#include "proxy/settings/settings.h"

#define SERVICE(name, port) \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {clusterIP: 10.0.0.1, ports: [{port: " port "}]}\n"
#define UNKNOWN "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"
#define TENANT "---\napiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata: {name: t}\n"

#define GRPC \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: g}\n" \
	"spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{filters: [{type: RequestHeaderModifier,\n" \
	"  requestHeaderModifier: {remove: [x]}}]}]}\n"

/* Two routes of different kinds on one Service: known only once they are attached. */
#define CONFLICT \
	SERVICE("web", "80") \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n" \
	"spec: {parentRefs: [{group: '', kind: Service, name: web}]}\n" \
	"---\napiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: b}\n" \
	"spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n"

static const struct {
	const char *document;
	bool json;
	int status;
	const char *out, *errors[2]; /* parts; "" = there is nothing */
} rows[] = {
    {SERVICE("a", "80") TENANT, false, 0, "1 Tenant, 1 Service in 1 file; 0 errors, 0 warnings\n", {""}},
    {SERVICE("a", "80") SERVICE("b", "81") UNKNOWN, false, 0, "2 Service in 1 file; 0 errors, 1 warning\n",
     {"warning: ", "Deployment"}},
    {UNKNOWN, false, 0, "nothing in 1 file; 0 errors, 1 warning\n", {"warning: "}},
    {SERVICE("a", "0"), false, 65, "; 1 error, 0 warnings\n", {"error: ", "ports[0].port"}},
    {CONFLICT, false, 0, "1 HTTPRoute, 1 TCPRoute, 1 Service in 1 file; 0 errors, 1 warning\n",
     {"warning: ", "TCPRoute default/b"}},
    {SERVICE("web", "80") GRPC, false, 0, "1 GRPCRoute, 1 Service in 1 file; 0 errors, 1 warning\n",
     {"warning: ", "GRPCRoute default/g: HTTP/2 requests get only its timeouts for now"}},
    {SERVICE("a", "80"), true, 0, "{\"files\":1,\"objects\":{\"Service\":1},\"errors\":[],\"warnings\":[]}\n", {""}},
    {SERVICE("a", "80") SERVICE("b", "0") UNKNOWN, true, 65, "\"errors\":[\"/tmp/lapse-check-", {"error: ", "warning: "}},
    {CONFLICT, true, 0, "\"errors\":[],\"warnings\":[\"", {"TCPRoute default/b"}},
};

static void reads_and_says(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char path[] = "/tmp/lapse-check-XXXXXX.yaml", *texts[2] = {NULL};
		const char *paths[] = {path};
		struct settings settings = {.config = {paths, 1}, .json = rows[i].json, .policy.cluster_domain = "cluster.local"};
		size_t sizes[2], length = strlen(rows[i].document);
		FILE *out = open_memstream(&texts[0], &sizes[0]), *errors = open_memstream(&texts[1], &sizes[1]);
		int fd = mkstemps(path, 5), status;

		assert_true(fd >= 0 && out && errors);
		assert_int_equal(write(fd, rows[i].document, length), length);
		close(fd);
		timeouts_init_unset(&settings.policy.timeouts);
		settings.policy.service_profile_default_source = "built-in ServiceProfile default";
		status = check_config_run(&settings, out, errors);
		unlink(path);
		fclose(out);
		fclose(errors);
		if (status != rows[i].status || !strstr(texts[0], rows[i].out))
			fail_msg("row %zu: %d, %s%s", i, status, texts[0], texts[1]);
		for (size_t j = 0; j < 2 && rows[i].errors[j]; j++)
			if (!strstr(texts[1], rows[i].errors[j]) || (!*rows[i].errors[j] && *texts[1]))
				fail_msg("row %zu: %s", i, texts[1]);
		free(texts[0]);
		free(texts[1]);
	}
}

/* Nothing to check is no success. */
static void asks_for_a_path(void **state)
{
	const struct settings settings = {.policy.cluster_domain = "cluster.local"};
	char *texts[2] = {NULL};
	size_t sizes[2];
	FILE *out = open_memstream(&texts[0], &sizes[0]), *errors = open_memstream(&texts[1], &sizes[1]);

	assert_true(out && errors);
	assert_int_equal(check_config_run(&settings, out, errors), 64);
	fclose(out);
	fclose(errors);
	assert_string_equal(texts[0], "");
	assert_non_null(strstr(texts[1], "check-config PATH or --config PATH"));
	free(texts[0]);
	free(texts[1]);
}

static char *complaints(const struct diagnostics *diagnostics, bool warnings)
{
	char *text = NULL;
	size_t size;
	FILE *errors = open_memstream(&text, &size);

	assert_non_null(errors);
	diagnostics_print(diagnostics, warnings, errors);
	fclose(errors);
	return text;
}

/* Only errors where only they are wanted; and how many were too many. */
static void complains(void **state)
{
	struct arena arena = {0};
	struct diagnostics diagnostics = {.arena = &arena};
	char *text;

	diagnostics_add(&diagnostics, false, "odd");
	diagnostics_add(&diagnostics, true, "wrong");
	text = complaints(&diagnostics, false);
	assert_string_equal(text, "error: wrong\n");
	free(text);
	text = complaints(&diagnostics, true);
	assert_string_equal(text, "warning: odd\nerror: wrong\n");
	free(text);
	for (int i = 0; i < DIAGNOSTICS_MOST; i++)
		diagnostics_add(&diagnostics, false, "odd %d", i);
	text = complaints(&diagnostics, true);
	assert_non_null(strstr(text, "\n2 more are not shown\n"));
	free(text);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_and_says),
	    cmocka_unit_test(asks_for_a_path),
	    cmocka_unit_test(complains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
