#include "proxy/publish/cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/text.h"

static char directory[] = "/tmp/lapse-unit-XXXXXX";

static const char *put(const char *name, const char *text)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

static int make(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int unmake(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command);
}

static void a_pod_knows_its_cluster(void **state)
{
	struct cluster *cluster;
	TEXT_ON_STACK(error, 512);

	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_int_equal(cluster_in_pod(&cluster, directory, &error), -EINVAL);
	assert_non_null(strstr(error.data, "--kubeconfig"));
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	put("token", " one\n");
	put("ca.crt", "A");
	put("namespace", "lapse");
	assert_int_equal(cluster_in_pod(&cluster, directory, &error), 0);
	assert_string_equal(cluster_host(cluster), "fd00::1");
	assert_int_equal(cluster_port(cluster), 443);
	assert_string_equal(cluster_token(cluster), "one");
	assert_string_equal(cluster_namespace(cluster), "lapse");
	assert_true(cluster_tls(cluster) && cluster_verifies(cluster));

	assert_false(cluster_refresh(cluster, 1000, false));
	put("token", "two");
	assert_false(cluster_refresh(cluster, 20000, false)); /* too early */
	assert_true(cluster_refresh(cluster, 20000, true));
	assert_string_equal(cluster_token(cluster), "two");
	uint32_t before = cluster_generation(cluster);
	put("ca.crt", "B");
	assert_true(cluster_refresh(cluster, 60000, false));
	assert_int_not_equal(cluster_generation(cluster), before);
	assert_string_equal(cluster_ca(cluster), "B");
	put("token", "\n"); /* being written */
	assert_false(cluster_refresh(cluster, 120000, false));
	put("token", "x\r\ny: z");
	assert_false(cluster_refresh(cluster, 180000, false));
	assert_string_equal(cluster_token(cluster), "two");
	cluster_free(cluster);
}

#define CONFIG(server, user) "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u, namespace: n}}],\n" \
	"clusters: [{name: c, cluster: {" server "}}], users: [{name: u, user: {" user "}}]}\n"

static void kubeconfigs_are_read(void **state)
{
	struct cluster *cluster;
	TEXT_ON_STACK(error, 512);

	put("k.pem", "KEY");
	assert_int_equal(cluster_kubeconfig(&cluster, put("config", CONFIG("server: 'https://[fd00::2]:6443/k8s/c-1/', tls-server-name: api, certificate-authority-data: Q0E=",
	                                    "client-certificate-data: Q0VSVA==, client-key: k.pem")), NULL, &error), 0);
	assert_string_equal(cluster_host(cluster), "fd00::2");
	assert_int_equal(cluster_port(cluster), 6443);
	assert_string_equal(cluster_prefix(cluster), "/k8s/c-1");
	assert_string_equal(cluster_tls_name(cluster), "api");
	assert_string_equal(cluster_ca(cluster), "CA");
	assert_string_equal(cluster_certificate(cluster), "CERT");
	assert_string_equal(cluster_key(cluster), "KEY");
	assert_string_equal(cluster_namespace(cluster), "n");
	assert_null(cluster_token(cluster));
	assert_null(cluster_warning(cluster));
	cluster_free(cluster);
	assert_int_equal(cluster_kubeconfig(&cluster, put("config", CONFIG("server: 'https://api.example', insecure-skip-tls-verify: true", "token: t")), "c", &error), 0);
	assert_int_equal(cluster_port(cluster), 443);
	assert_false(cluster_verifies(cluster));
	assert_non_null(strstr(cluster_warning(cluster), "insecure-skip-tls-verify"));
	cluster_free(cluster);
	assert_int_equal(cluster_kubeconfig(&cluster, put("config", CONFIG("server: 'http://localhost:8001'", "token: t")), NULL, &error), 0);
	assert_false(cluster_tls(cluster));
	cluster_free(cluster);
}

static void what_is_not_supported_is_refused_with_a_remedy(void **state)
{
	static const char *const rows[][2] = {
	    {CONFIG("server: 'https://a'", "exec: {command: aws}"), "users: exec: programs that fetch credentials are not run; give a token"},
	    {CONFIG("server: 'https://a'", "auth-provider: {name: gcp}"), "auth-provider"},
	    {CONFIG("server: 'https://a'", "username: u, password: p"), "username"},
	    {CONFIG("server: 'https://a', proxy-url: 'http://p'", "token: t"), "proxy-url is not supported"},
	    {CONFIG("server: 'http://10.0.0.1'", "token: t"), "not encrypted"},
	    {CONFIG("server: 'ftp://a'", "token: t"), "ftp://a is no https://"},
	    {CONFIG("server: 'https://a:99999'", "token: t"), "is no https://"},
	    {CONFIG("server: 'https://u@a'", "token: t"), "holds more"},
	    {CONFIG("x: y", "token: t"), "no server"},
	    {CONFIG("server: 'https://a', certificate-authority-data: '%%'", "token: t"), "certificate-authority-data is no base64"},
	    {CONFIG("server: 'https://a', certificate-authority: nowhere.pem", "token: t"), "nowhere.pem: No such file"},
	    {CONFIG("server: 'https://a'", "client-certificate-data: Q0E="), "client-key go together"},
	    {CONFIG("server: 'https://a'", "token: 'a b'"), "holds no token"},
	    {"{current-context: d, contexts: []}", "no context d"},
	    {"{contexts: []}", "no current-context"},
	    {"", "empty"},
	    {"{", "line 1"},
	};
	struct cluster *cluster = NULL;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(error, 1024);
		assert_int_equal(cluster_kubeconfig(&cluster, put("config", rows[i][0]), NULL, &error), -EINVAL);
		if (!strstr(error.data, rows[i][1]))
			fail_msg("said: %s; wanted: %s", error.data, rows[i][1]);
	}
	TEXT_ON_STACK(error, 1024);
	assert_int_equal(cluster_kubeconfig(&cluster, directory, NULL, &error), -EINVAL);
	assert_non_null(strstr(error.data, "directory"));
	assert_null(cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pod_knows_its_cluster), cmocka_unit_test(kubeconfigs_are_read),
	    cmocka_unit_test(what_is_not_supported_is_refused_with_a_remedy),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
