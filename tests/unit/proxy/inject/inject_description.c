#include "proxy/inject/inject_description.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/config/yaml.h"
#include "proxy/inject/inject_options.h"
#include "proxy/settings/settings.h"

/* Options of `run` that injection decides itself. */
static const char *const decided[] = {"admin", "uid", "config", "pod-info", "print-docs"};

static struct arena arena;
static struct inject_description description;

static int read_description(void **state)
{
	return inject_description_read(&arena, &description);
}

static int free_description(void **state)
{
	arena_free(&arena);
	return 0;
}

/* The names behind "--" in what --help says under "run". */
static void every_option_of_run_is_a_flag(void **state)
{
	char *text = NULL, *line, *rest;
	size_t length, found = 0;
	FILE *to = open_memstream(&text, &length);
	bool counts = false;

	settings_print_help(to);
	fclose(to);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char name[64];
		bool own = false;

		if (strncmp(line, "Options of ", strlen("Options of ")) == 0)
			counts = strncmp(line, "Options of run", strlen("Options of run")) == 0;
		if (!counts || sscanf(line, "  --%63[a-z0-9-]", name) != 1)
			continue;
		found++;
		for (size_t i = 0; i < sizeof decided / sizeof *decided; i++)
			own = own || strcmp(name, decided[i]) == 0;
		const struct inject_flag *flag = inject_description_flag(&description, name);
		if (!own != (flag && flag->containers & INJECT_PROXY))
			fail_msg("--%s is %s flag of lapse-proxy in sidecar.yaml", name, flag ? "a" : "no");
	}
	assert_true(found > 30);
	free(text);
}

static void every_flag_is_an_option_of_run(void **state)
{
	for (size_t i = 0; i < description.flag_count; i++) {
		TEXT_ON_STACK(help, 512);

		assert_non_null(inject_options_accepted(&description.flags[i]));
		if (!(description.flags[i].containers & INJECT_PROXY))
			continue;
		settings_write_help(description.flags[i].name, &help);
		if (!help.length)
			fail_msg("--%s is no option of lapse-proxy", description.flags[i].name);
	}
}

static void the_timeouts_are_those_of_the_proxy(void **state)
{
	const struct yaml_node *list = inject_description_field(&description, "timeouts", NULL);
	char flag[TIMEOUTS_FLAG_SIZE];

	assert_int_equal(list->count, TIMEOUT_COUNT);
	for (const struct yaml_node *one = list->children; one; one = one->next) {
		int id = 0;

		while (id < TIMEOUT_COUNT && (timeouts_flag_name((enum timeout_id)id, flag), strcmp(flag + strlen("timeout-"), one->text) != 0))
			id++;
		if (id == TIMEOUT_COUNT)
			fail_msg("%s is no timeout", one->text);
	}
}

static void what_linkerd_calls_it_is_known(void **state)
{
	assert_string_equal(inject_description_linkerd(&description, "config.linkerd.io/skip-inbound-ports")->name, "skip-inbound-ports");
	assert_null(inject_description_linkerd(&description, "config.linkerd.io/proxy-cpu-limit"));
	for (const struct yaml_node *row = inject_description_field(&description, "linkerd", NULL)->children; row; row = row->next)
		if (!inject_description_linkerd(&description, row->key))
			fail_msg("%s means no flag", row->key);
}

static const struct {
	const char *flag, *value;
	bool fits;
} values[] = {
    {"close-wait-timeout", "1h", true},         {"close-wait-timeout", "1h0m0s", true},   {"close-wait-timeout", "0s", false},
    {"close-wait-timeout", "0h0m", false},      {"close-wait-timeout", "1d", false},      {"close-wait-timeout", "", false},
    {"close-wait-timeout", "30", false},        {"timeout-request", "0s", true},          {"timeout-request", "0", true},
    {"timeout-request", "1.5h", true},          {"timeout-request", "-1s", false},        {"timeout-request", "5", false},
    {"skip-inbound-ports", "25", true},         {"skip-inbound-ports", "25, 30-40", true}, {"skip-inbound-ports", "25,", false},
    {"skip-inbound-ports", "0", false},         {"skip-inbound-ports", "smtp", false},    {"inbound-port", "65535", true},
    {"inbound-port", "65536", false},           {"inbound-port", "0", false},             {"skip-subnets", "10.0.0.0/8,fd00::/8", true},
    {"skip-subnets", "all", false},             {"conntrack-timeout", "established=24h", true}, {"conntrack-timeout", "24h", false},
    {"keep-invalid", "true", true},             {"keep-invalid", "yes", false},           {"log-level", "debug", true},
    {"log-level", "loud", false},               {"max-head-size", "64KiB", true},         {"max-head-size", "64kB", false},
    {"dns-server", "10.96.0.10:53", true},      {"dns-server", "[fd00::a]:53", true},     {"dns-server", "10.96.0.10", false},
    {"namespace", "shop", true},                {"namespace", "-shop", false},            {"cluster-domain", "cluster.local", true},
    {"cluster-domain", "a..b", false},          {"skip-interfaces", "eth0,net1", true},   {"skip-interfaces", "eth0 net1", false},
    {"skip-inbound-ports", "25\n", false},
};

static void values_are_what_they_should_be(void **state)
{
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		const struct inject_flag *flag = inject_description_flag(&description, values[i].flag);

		if (inject_description_fits(flag, values[i].value) != values[i].fits)
			fail_msg("--%s \"%s\"", values[i].flag, values[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_option_of_run_is_a_flag),
	    cmocka_unit_test(every_flag_is_an_option_of_run),
	    cmocka_unit_test(the_timeouts_are_those_of_the_proxy),
	    cmocka_unit_test(what_linkerd_calls_it_is_known),
	    cmocka_unit_test(values_are_what_they_should_be),
	};

	return cmocka_run_group_tests(tests, read_description, free_description);
}
