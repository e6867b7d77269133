#include "proxy/config/config.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/config/yaml.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

static char root[PATH_MAX]; /* of the repository: where we were started */

/* The working directory of each test is a new one, in a mount namespace of our own without a service account. */
static int setup_group(void **state)
{
	return !getcwd(root, sizeof root) || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("none", "/run", "tmpfs", 0, NULL);
}

static int setup(void **state)
{
	char directory[] = "/tmp/lapse-config-XXXXXX";

	*state = mkdtemp(directory) ? strdup(directory) : NULL;
	return !*state || chdir(*state);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s " ACCOUNT, (char *)*state);
	free(*state);
	return chdir("/") || system(command);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void put_tenant(const char *path, const char *name)
{
	char text[512];

	snprintf(text, sizeof text,
		 "apiVersion: kubelb.k8c.io/v1alpha1\nkind: Tenant\nmetadata:\n  name: %s\nspec:\n  timeouts:\n    request: 5s\n",
		 name);
	put(path, text);
}

static struct config *load(const char *path, const char *pod_info, const char *namespace)
{
	const struct config_paths paths = {.files = &path, .count = path != NULL, .pod_info = pod_info, .namespace = namespace};
	struct config *config = NULL;

	assert_int_equal(config_load(&config, &paths, NULL), 0);
	assert_non_null(config);
	return config;
}

/* That there is exactly one diagnostic, and what it says; none when text is NULL. The config is released. */
static void expect_said(struct config *config, bool error, const char *text)
{
	const struct diagnostic *said = config->diagnostics.first;

	if (!text && said)
		fail_msg("said: %s", said->text);
	if (text && (!said || said->next || said->error != error || strcmp(said->text, text) != 0))
		fail_msg("expected: %s\nsaid: %s\nthen: %s", text, said ? said->text : "nothing",
			 said && said->next ? said->next->text : "nothing");
	config_unref(config);
}

static void an_empty_directory_is_told_of(void **state)
{
	assert_int_equal(mkdir("empty", 0755), 0);
	expect_said(load("empty", NULL, NULL), false, "--config empty: empty: no file there has a name ending in .yaml, .yml or .json");
}

static void nothing_is_fine(void **state)
{
	struct config *config = load(NULL, NULL, NULL);

	assert_string_equal(config->namespace, "default");
	assert_int_equal(config->files, 0);
	assert_null(config->pod.annotated);
	assert_int_equal(config->pod.kind, KIND_POD);
	expect_said(config, false, NULL);
	config_unref(NULL);
}

static void reads_a_file(void **state)
{
	put_tenant("any.name", "a");
	struct config *config = load("any.name", NULL, NULL);

	assert_int_equal(config->files, 1);
	assert_true(config->bytes > 50);
	assert_non_null(catalog_find(config->catalog, KIND_TENANT, "", "a"));
	struct config *again = config_ref(config);
	config_unref(config);
	assert_string_equal(catalog_find(again->catalog, KIND_TENANT, "", "a")->file, "any.name");
	expect_said(again, false, NULL);
}

/* In the order of bytes, and only what is named as documents are. */
static void reads_a_directory(void **state)
{
	static const char *const expected[] = {"d/10.yaml", "d/9.yaml", "d/B.json", "d/a.yml", "d/link.yaml"};
	size_t at = 0;

	mkdir("d", 0755);
	mkdir("d/sub.yaml", 0755);
	mkdir("d/sub", 0755);
	mkdir("d/..1", 0755);
	put_tenant("d/9.yaml", "t1");
	put_tenant("d/10.yaml", "t2");
	put_tenant("d/a.yml", "t3");
	put("d/B.json", "{\"apiVersion\": \"kubelb.k8c.io/v1alpha1\", \"kind\": \"Tenant\", \"metadata\": {\"name\": \"t4\"}}");
	put_tenant("d/..1/link.yaml", "t5");
	put_tenant("d/sub/x.yaml", "t6");
	put_tenant("d/.hidden.yaml", "t7");
	assert_int_equal(symlink("..1", "d/..data"), 0);
	assert_int_equal(symlink("..data/link.yaml", "d/link.yaml"), 0);
	struct config *config = load("d/", NULL, NULL);

	CATALOG_EACH(config->catalog, KIND_TENANT, tenant)
	{
		assert_true(at < sizeof expected / sizeof *expected);
		assert_string_equal(tenant->file, expected[at++]);
	}
	assert_int_equal(at, sizeof expected / sizeof *expected);
	assert_int_equal(config->files, at);
	expect_said(config, false, NULL);
}

static void tells_of_other_files(void **state)
{
	mkdir("d", 0755);
	put("d/notes.txt", "");
	put("d/README.md", "");
	put("d/a.yaml~", "");
	expect_said(load("d", NULL, NULL), false,
		    "--config d: files such as README.md are not read, only names ending in .yaml, .yml or .json");
}

static void names_that_are_read(void **state)
{
	static const struct {
		const char *name;
		bool read;
	} rows[] = {
		{"a.yaml", true}, {"a.yml", true}, {"a.json", true}, {"a.b.yaml", true}, {".yaml", false}, {".a.yaml", false},
		{"..data", false}, {"", false}, {"yaml", false}, {"a.yaml~", false}, {"a.YAML", false}, {"a.yaml.bak", false},
		{"a.jsonl", false}, {"\xff.yaml", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (config_reads(rows[i].name) != rows[i].read)
			fail_msg("\"%s\"", rows[i].name);
}

static void missing_paths_are_errors(void **state)
{
	expect_said(load("/no/such", NULL, NULL), true, "--config /no/such: No such file or directory");
	expect_said(load("", NULL, NULL), true, "--config : No such file or directory");
	mkdir("d", 0755);
	assert_int_equal(symlink("nowhere", "d/a.yaml"), 0);
	expect_said(load("d", NULL, NULL), true, "d/a.yaml: No such file or directory");
}

/* Opening a FIFO would wait for a writer. */
static void only_regular_files(void **state)
{
	assert_int_equal(mkfifo("fifo.yaml", 0644), 0);
	expect_said(load("fifo.yaml", NULL, NULL), true, "--config fifo.yaml: not a regular file");
	expect_said(load(".", NULL, NULL), true, "./fifo.yaml: not a regular file");
	expect_said(load("/dev/zero", NULL, NULL), true, "--config /dev/zero: not a regular file");
}

/* One mistake does not hide the next. */
static void reads_on_after_errors(void **state)
{
	mkdir("d", 0755);
	put("d/a.yaml", "a: [\n");
	put("d/b.yaml", "{}}\n");
	put_tenant("d/c.yaml", "t");
	struct config *config = load("d", NULL, NULL);

	assert_int_equal(config->diagnostics.errors, 2);
	assert_int_equal(config->files, 3);
	assert_non_null(catalog_find(config->catalog, KIND_TENANT, "", "t"));
	config_unref(config);
}

static void sizes_are_bounded(void **state)
{
	put("big.yaml", "");
	assert_int_equal(truncate("big.yaml", YAML_BYTES_MOST + 1), 0);
	expect_said(load("big.yaml", NULL, NULL), true, "--config big.yaml: larger than 64 MiB");
	mkdir("pod", 0755);
	put("pod/labels", "");
	put("pod/annotations", "");
	assert_int_equal(truncate("pod/annotations", (4 << 20) + 1), 0);
	expect_said(load(NULL, "pod", NULL), true, "--pod-info: pod/annotations: too large");
}

/* Each file may be as large as it likes to be within its limit; all of them have one more. */
static void all_sizes_are_bounded(void **state)
{
	char name[32];

	mkdir("d", 0755);
	for (int i = 1; i <= 5; i++) {
		snprintf(name, sizeof name, "d/%d.yaml", i);
		put(name, "");
		assert_int_equal(truncate(name, 60 << 20), 0);
	}
	put_tenant("d/6.yaml", "t");
	struct config *config = load("d", NULL, NULL);
	assert_int_equal(config->files, 4);
	assert_int_equal(config->diagnostics.errors, 5); /* four of NUL bytes */
	assert_string_equal(config->diagnostics.last->text, "d/5.yaml: all configuration files together are larger than 256 MiB");
	config_unref(config);
}

static void files_are_counted(void **state)
{
	char name[32];

	mkdir("d", 0755);
	for (int i = 0; i <= CONFIG_FILES_MOST; i++) {
		snprintf(name, sizeof name, "d/%d.yaml", i);
		if (i == 0)
			put(name, "");
		else
			assert_int_equal(link("d/0.yaml", name), 0);
	}
	struct config *config = load("d", NULL, NULL);
	assert_int_equal(config->files, CONFIG_FILES_MOST);
	expect_said(config, true, "more than 10000 configuration files");
	unlink("d/0.yaml");
	config = load("d", NULL, NULL);
	assert_int_equal(config->files, CONFIG_FILES_MOST);
	expect_said(config, true, NULL);
}

static void reads_the_pod(void **state)
{
	mkdir("pod", 0755);
	put("pod/annotations", "lapse.proxy/timeout-idle-connection=\"2h\"\nother=\"x\"\n");
	put("pod/labels", "app=\"web\"\ntier=\"front\"\n");
	struct config *config = load(NULL, "pod", NULL);

	assert_int_equal(config->podinfo.annotation_count, 2);
	assert_int_equal(config->podinfo.label_count, 2);
	assert_string_equal(config->podinfo.labels[0].key, "app");
	assert_string_equal(config->podinfo.labels[0].value, "web");
	assert_non_null(config->pod.annotated);
	const struct timeout_value *value = &config->pod.annotated->of[TIMEOUT_IDLE_CONNECTION];
	assert_int_equal(value->milliseconds, 7200000);
	assert_string_equal(value->source, "annotation lapse.proxy/timeout-idle-connection on the pod");
	expect_said(config, false, NULL);
}

static void missing_pod_files_are_warnings(void **state)
{
	mkdir("pod", 0755);
	put("pod/annotations", "");
	expect_said(load(NULL, "pod", NULL), false, "--pod-info: pod/labels: No such file or directory");
	put("pod/labels", "");
	expect_said(load(NULL, "pod", NULL), false, NULL);
	assert_int_equal(unlink("pod/labels"), 0);
	assert_int_equal(mkdir("pod/labels", 0755), 0);
	expect_said(load(NULL, "pod", NULL), true, "--pod-info: pod/labels: not a regular file");
}

static void namespace_is_found(void **state)
{
	static const struct {
		const char *given, *account, *namespace, *said;
		bool error;
	} rows[] = {
		{NULL, NULL, "default", NULL, false},
		{"team-1", NULL, "team-1", NULL, false},
		{NULL, "shop", "shop", NULL, false},
		{NULL, " \tshop\r\n\n", "shop", NULL, false},
		{"team-1", "shop", "team-1", NULL, false},
		{NULL, "", "default", ACCOUNT "/namespace: \"\" is no namespace; ours is taken to be default", false},
		{NULL, "a b", "default", ACCOUNT "/namespace: \"a b\" is no namespace; ours is taken to be default", false},
		{NULL, "-a", "default", ACCOUNT "/namespace: \"-a\" is no namespace; ours is taken to be default", false},
		{"Team", "shop", "Team",
		 "--namespace Team: not a namespace: at most 63 lower-case letters, digits and '-' inside", true},
		{"a-", NULL, "a-", "--namespace a-: not a namespace: at most 63 lower-case letters, digits and '-' inside", true},
		{"", NULL, "", "--namespace : not a namespace: at most 63 lower-case letters, digits and '-' inside", true},
		{"a23456789012345678901234567890123456789012345678901234567890123", NULL,
		 "a23456789012345678901234567890123456789012345678901234567890123", NULL, false},
		{"a234567890123456789012345678901234567890123456789012345678901234", NULL,
		 "a234567890123456789012345678901234567890123456789012345678901234",
		 "--namespace a234567890123456789012345678901234567890123456789012345678901234: not a namespace: at most 63 "
		 "lower-case letters, digits and '-' inside", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].account) {
			assert_int_equal(system("mkdir -p " ACCOUNT), 0);
			put(ACCOUNT "/namespace", rows[i].account);
		} else {
			unlink(ACCOUNT "/namespace");
		}
		struct config *config = load(NULL, NULL, rows[i].given);
		assert_string_equal(config->namespace, rows[i].namespace);
		expect_said(config, rows[i].error, rows[i].said);
	}
}

/* What docs/examples shows is read without a word. */
static void examples_are_valid(void **state)
{
	char path[PATH_MAX + 32];
	glob_t found;

	snprintf(path, sizeof path, "%s/docs/examples/*.yaml", root);
	assert_int_equal(glob(path, 0, NULL, &found), 0);
	assert_true(found.gl_pathc > 10);
	snprintf(path, sizeof path, "%s/docs/examples/pod-info", root);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct config *config = load(found.gl_pathv[i], path, NULL);
		assert_int_equal(config->files, 1);
		assert_non_null(config->pod.annotated);
		assert_int_equal(config->podinfo.label_count, 3);
		expect_said(config, false, NULL);
	}
	globfree(&found);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(an_empty_directory_is_told_of),
		CASE(nothing_is_fine),
		CASE(reads_a_file),
		CASE(reads_a_directory),
		CASE(tells_of_other_files),
		CASE(names_that_are_read),
		CASE(missing_paths_are_errors),
		CASE(only_regular_files),
		CASE(reads_on_after_errors),
		CASE(sizes_are_bounded),
		CASE(all_sizes_are_bounded),
		CASE(files_are_counted),
		CASE(reads_the_pod),
		CASE(missing_pod_files_are_warnings),
		CASE(namespace_is_found),
		CASE(examples_are_valid),
	};

	return cmocka_run_group_tests(tests, setup_group, NULL);
}
