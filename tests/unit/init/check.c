#include "init/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "init/batch.h"
#include "init/image.h"
#include "init/options.h"
#include "init/plan.h"
#include "init/report.h"
#include "init/rules.h"
#include "init/show.h"
#include "lib/text.h"

/* A plan and the image of the messages that install it. */
struct made {
	struct plan plan;
	struct image image;
};

static void make(struct made *made, const char *argument, const char *another)
{
	char *argv[] = {(char *)"lapse-init", (char *)argument, (char *)another, NULL}, *environment[] = {NULL};
	struct plan_facts facts = {.ipv6 = true, .socket_match = true};
	struct init_options options;
	struct batch *batch;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(options_read(argument ? another ? 3 : 2 : 1, argv, environment, &options, &command, &error), 0);
	assert_int_equal(plan_make(&options, &facts, &made->plan, &error), 0);
	assert_int_equal(batch_new(&batch), 0);
	assert_int_equal(rules_add_install(batch, &made->plan), 0);
	assert_int_equal(image_expect(batch, &made->image), 0);
	batch_free(batch);
	options_free(&options);
}

static void unmake(struct made *made)
{
	plan_free(&made->plan);
	image_free(&made->image);
}

static char *compare(const struct made *expected, const struct image *found, size_t differences)
{
	char *shown = NULL;
	size_t size;
	FILE *to = open_memstream(&shown, &size);
	struct report report;

	report_begin(&report, to, false);
	assert_int_equal(check_compare(&expected->image, found, &report), differences);
	fclose(to);
	return shown;
}

static void the_image_holds_all(void **state)
{
	struct made made;
	const struct image_item *items;

	make(&made, "--skip-subnets=10.0.0.0/8,240.0.0.0/4,fd00::/8", "--skip-interfaces=net1,eth0");
	items = made.image.items;
	assert_int_equal(made.image.count, 5 + 4 + made.plan.rule_count);
	assert_string_equal(items[0].name, "skip_interfaces");
	assert_string_equal(items[0].content, "type ifname; elements = { \"eth0\", \"net1\" }");
	assert_string_equal(items[1].content, "type ipv4_addr; elements = { 10.0.0.0/8, 240.0.0.0/4 }");
	assert_string_equal(items[2].content, "type ipv6_addr; elements = { fd00::/8 }");
	assert_string_equal(items[4].content, "type inet_service; elements = { 4140, 4143, 4191 }");
	assert_int_equal(items[5].kind, IMAGE_CHAIN);
	assert_string_equal(items[5].name, "invalid");
	assert_string_equal(items[7].content, "type nat hook prerouting priority -100; policy accept;");
	for (size_t i = 9; i < made.image.count; i++) {
		assert_int_equal(items[i].kind, IMAGE_RULE);
		assert_string_equal(items[i].comment, made.plan.rules[i - 9].comment);
		assert_string_equal(items[i].name, plan_chain_rows[made.plan.rules[i - 9].chain].name);
	}
	unmake(&made);
}

static void equal_tables_do_not_differ(void **state)
{
	struct made one, two;
	char *shown;

	make(&one, "--inbound-ports=80,90", "--proxy-gid=3");
	make(&two, "--inbound-ports=90,80", "--proxy-gid=3");
	shown = compare(&one, &two.image, 0);
	assert_string_equal(shown, "");
	free(shown);
	unmake(&one);
	unmake(&two);
}

static void a_missing_rule_shows(void **state)
{
	struct made one, two;
	char *shown;

	make(&one, "--proxy-gid=3", NULL);
	make(&two, NULL, NULL);
	shown = compare(&one, &two.image, 1);
	assert_string_equal(shown, "- output: meta skgid 3 counter accept comment \"from the proxy, by group\"\n");
	free(shown);
	shown = compare(&two, &one.image, 1);
	assert_string_equal(shown, "+ output: meta skgid 3 counter accept comment \"from the proxy, by group\"\n");
	free(shown);
	unmake(&one);
	unmake(&two);
}

static void changed_things_show_both_ways(void **state)
{
	struct made one, two;
	char *shown;

	make(&one, "--skip-inbound-ports=22", NULL);
	make(&two, "--skip-inbound-ports=23", NULL);
	shown = compare(&one, &two.image, 2);
	assert_string_equal(shown, "- set skip_inbound_ports { type inet_service; elements = { 22, 4140, 4143, 4191 } }\n"
	                           "+ set skip_inbound_ports { type inet_service; elements = { 23, 4140, 4143, 4191 } }\n");
	free(shown);
	unmake(&one);
	unmake(&two);
}

/* What the kernel has of a rule reads as what is sent to it. */
static void rules_read_back_as_they_are_shown(void **state)
{
	static const char *const arguments[][2] = {
		{"--skip-interfaces=eth1", "--skip-subnets=10.0.0.0/8,fd00::/8"}, {"--proxy-gid=3", "--inbound-ports=80,90-99"},
		{"--skip-outbound-ports=1", "--ip-families=ipv4"},                {"--skip-outbound-ports=1", "--ip-families=ipv6"},
		{"--redirect-dead-ports", "--keep-invalid"},
	};

	for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
		struct made made;
		size_t first;

		make(&made, arguments[i][0], arguments[i][1]);
		first = made.image.count - made.plan.rule_count;
		for (size_t j = first; j < made.image.count; j++) {
			const struct image_item *item = &made.image.items[j];
			TEXT_ON_STACK(wanted, SHOW_TEXT_SIZE);
			TEXT_ON_STACK(found, SHOW_TEXT_SIZE);

			show_rule(&made.plan.rules[j - first], &wanted);
			text_printf(&found, "%s comment \"%s\"", item->text, item->comment);
			assert_string_equal(found.data, wanted.data);
		}
		unmake(&made);
	}
}

static void differences_as_json(void **state)
{
	struct made one, two;
	struct report report;
	char *shown = NULL;
	size_t size;
	FILE *to = open_memstream(&shown, &size);

	make(&one, "--proxy-gid=3", NULL);
	make(&two, "--skip-inbound-ports=22", NULL);
	report_begin(&report, to, true);
	report_list(&report, "differences");
	assert_int_equal(check_compare(&one.image, &two.image, &report), 3);
	report_note(&report, "probe", "not sent");
	report_list(&report, "probes");
	report_end(&report, false, "it \"differs\"");
	fclose(to);
	assert_string_equal(shown, "{\"differences\":["
	                           "{\"missing\":true,\"kind\":\"set\",\"name\":\"skip_inbound_ports\","
	                           "\"text\":\"type inet_service; elements = { 4140, 4143, 4191 }\"},"
	                           "{\"missing\":false,\"kind\":\"set\",\"name\":\"skip_inbound_ports\","
	                           "\"text\":\"type inet_service; elements = { 22, 4140, 4143, 4191 }\"},"
	                           "{\"missing\":true,\"kind\":\"rule\",\"chain\":\"output\",\"text\":\"meta skgid 3 counter accept\","
	                           "\"comment\":\"from the proxy, by group\"}],"
	                           "\"probe\":\"not sent\",\"probes\":[],\"ok\":false,\"reason\":\"it \\\"differs\\\"\"}\n");
	free(shown);
	unmake(&one);
	unmake(&two);
}

static void nothing_there_is_all_missing(void **state)
{
	struct made one;
	const struct image nothing = {0};
	char *shown;

	make(&one, NULL, NULL);
	shown = compare(&one, &nothing, one.image.count);
	assert_null(strchr(shown, '+'));
	free(shown);
	unmake(&one);
}

static void many_ports_survive_many_messages(void **state)
{
	char *list = malloc(6 * 33000 + 32), *at = list;
	struct made made;
	size_t ranges = 0;

	at += sprintf(at, "--skip-outbound-ports=");
	for (int port = 1; port < 65536; port += 2)
		at += sprintf(at, "%d,", port);
	at[-1] = '\0';
	make(&made, list, NULL);
	for (const char *c = made.image.items[2].content; *c; c++)
		ranges += *c == ',';
	assert_int_equal(ranges, 32768 - 1);
	unmake(&made);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_image_holds_all),           cmocka_unit_test(equal_tables_do_not_differ),
		cmocka_unit_test(a_missing_rule_shows),          cmocka_unit_test(changed_things_show_both_ways),
		cmocka_unit_test(rules_read_back_as_they_are_shown), cmocka_unit_test(differences_as_json),
		cmocka_unit_test(nothing_there_is_all_missing),  cmocka_unit_test(many_ports_survive_many_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
