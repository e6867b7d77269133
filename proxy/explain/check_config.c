#include "proxy/explain/check_config.h"

#include <stdlib.h>

#include "lib/json.h"
#include "proxy/config/catalog.h"
#include "proxy/config/config.h"
#include "proxy/config/diagnostics.h"
#include "proxy/policy/policy.h"
#include "proxy/settings/settings.h"

/* Where diagnostics come from: reading, and then attaching what was read. */
enum { CHECK_SOURCES = 2 };

struct check {
	const struct config *config;
	const struct diagnostics *sources[CHECK_SOURCES]; /* NULL: not reached */
	size_t errors, warnings;
};

int check_config_load(const struct settings *settings, struct config **out)
{
	const struct config_paths paths = settings_paths(settings);

	return config_load(out, &paths, NULL);
}

static void check_config_count(struct check *check, size_t source, const struct diagnostics *diagnostics)
{
	check->sources[source] = diagnostics;
	check->errors += diagnostics->errors;
	check->warnings += diagnostics->warnings;
}

static void check_config_print_list(const struct check *check, bool errors, struct json *json)
{
	json_open(json, errors ? "errors" : "warnings", '[');
	for (size_t i = 0; i < CHECK_SOURCES && check->sources[i]; i++)
		for (const struct diagnostic *one = check->sources[i]->first; one; one = one->next)
			if (one->error == errors)
				json_string(json, NULL, one->text);
	json_close(json, ']');
}

static void check_config_print_json(const struct check *check, FILE *out)
{
	struct json json = {.to = out};

	json_open(&json, NULL, '{');
	json_number(&json, "files", (int64_t)check->config->files);
	json_open(&json, "objects", '{');
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		if (check->config->catalog->counts[kind])
			json_number(&json, catalog_kind_name(kind), (int64_t)check->config->catalog->counts[kind]);
	json_close(&json, '}');
	check_config_print_list(check, true, &json);
	check_config_print_list(check, false, &json);
	json_close(&json, '}');
	fputc('\n', out);
}

static void check_config_print_count(FILE *out, size_t count, const char *what)
{
	fprintf(out, "%zu %s%s", count, what, count == 1 ? "" : "s");
}

static void check_config_print_text(const struct check *check, FILE *out)
{
	const struct catalog *catalog = check->config->catalog;
	const char *separator = "";

	for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
		if (!catalog->counts[kind])
			continue;
		fprintf(out, "%s%zu %s", separator, catalog->counts[kind], catalog_kind_name(kind));
		separator = ", ";
	}
	fputs(*separator ? " in " : "nothing in ", out);
	check_config_print_count(out, check->config->files, "file");
	fputs("; ", out);
	check_config_print_count(out, check->errors, "error");
	fputs(", ", out);
	check_config_print_count(out, check->warnings, "warning");
	fputc('\n', out);
}

int check_config_run(const struct settings *settings, FILE *out, FILE *errors)
{
	struct policy *policy = NULL;
	struct check check = {0};
	struct config *config;

	if (!settings->config.count && !settings->pod_info) {
		fputs("lapse-proxy: nothing to check: give files or directories, as check-config PATH or --config PATH, or --pod-info DIR\n",
		      errors);
		return CHECK_CONFIG_NOTHING;
	}
	if (check_config_load(settings, &config)) {
		fputs("lapse-proxy: no memory\n", errors);
		return EXIT_FAILURE;
	}
	check.config = config;
	check_config_count(&check, 0, &config->diagnostics);
	if (!check.errors) {
		policy = policy_new(&settings->policy, config, NULL, NULL, NULL, NULL);
		if (!policy) {
			config_unref(config);
			fputs("lapse-proxy: no memory\n", errors);
			return EXIT_FAILURE;
		}
		check_config_count(&check, 1, policy_diagnostics(policy));
	}
	for (size_t i = 0; i < CHECK_SOURCES && check.sources[i]; i++)
		diagnostics_print(check.sources[i], true, errors);
	if (settings->json)
		check_config_print_json(&check, out);
	else
		check_config_print_text(&check, out);
	policy_unref(policy);
	config_unref(config);
	return check.errors ? CHECK_CONFIG_REFUSED : EXIT_SUCCESS;
}
