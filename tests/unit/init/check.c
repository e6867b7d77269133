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
#include "init/rules.h"
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

	assert_int_equal(check_compare(&expected->plan, &expected->image, found, to), differences);
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
	assert_string_equal(items[0].content, "names { \"eth0\" \"net1\" }");
	assert_string_equal(items[1].content, "IPv4 { 10.0.0.0/8 240.0.0.0/4 }");
	assert_string_equal(items[2].content, "IPv6 { fd00::/8 }");
	assert_string_equal(items[4].content, "ports { 4140 4143 4191 }");
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
	assert_string_equal(shown, "+ output: [ meta load skgid => reg 1 ] [ cmp eq reg 1 0x00000003 ] [ counter ] "
	                           "[ immediate reg 0 accept ] comment \"from the proxy, by group\"\n");
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
	assert_string_equal(shown, "- set skip_inbound_ports ports { 22 4140 4143 4191 }\n"
	                           "+ set skip_inbound_ports ports { 23 4140 4143 4191 }\n");
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
		ranges += *c == ' ';
	assert_int_equal(ranges, 32768 + 2);
	unmake(&made);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_image_holds_all),           cmocka_unit_test(equal_tables_do_not_differ),
		cmocka_unit_test(a_missing_rule_shows),          cmocka_unit_test(changed_things_show_both_ways),
		cmocka_unit_test(nothing_there_is_all_missing),  cmocka_unit_test(many_ports_survive_many_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
