#include "proxy/config/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/yaml.h"

#define UNTOUCHED 4242

struct inner {
	const char *name;
	int64_t go, gateway;
};

struct outer {
	bool flag;
	uint16_t port;
	int64_t number;
	struct inner inner;
	struct inner *items;
	size_t item_count;
	const char **texts;
	size_t text_count;
};

static const struct field inner_fields[] = {
    {"name", fields_text, offsetof(struct inner, name), true},
    {"go", fields_duration_go, offsetof(struct inner, go), false},
    {"gateway", fields_duration_gateway, offsetof(struct inner, gateway), false},
    {"status", NULL, 0, false},
};

static void read_inner(struct reader *reader, const struct yaml_node *value, void *field)
{
	FIELDS_READ(reader, value, inner_fields, field);
}

static void read_items(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct outer *outer = field;
	void *items;

	fields_list(reader, value, 3, sizeof *outer->items, read_inner, &items, &outer->item_count);
	outer->items = items;
}

static void read_texts(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct outer *outer = field;
	void *items;

	fields_list(reader, value, 3, sizeof *outer->texts, fields_text, &items, &outer->text_count);
	outer->texts = items;
}

static const struct field outer_fields[] = {
    {"flag", fields_bool, offsetof(struct outer, flag), false},
    {"port", fields_port, offsetof(struct outer, port), false},
    {"number", fields_int, offsetof(struct outer, number), false},
    {"inner", read_inner, offsetof(struct outer, inner), false},
    {"items", read_items, 0, false},
    {"texts", read_texts, 0, false},
    {"status", NULL, 0, false},
};

/* One document that was read. */
struct world {
	struct arena arena;
	struct diagnostics diagnostics;
	struct reader reader;
	struct yaml_node *document;
	struct outer outer;
};

static void start(struct world *world, const char *bytes)
{
	struct yaml_error error;

	*world = (struct world){.outer = {.port = UNTOUCHED, .number = UNTOUCHED, .inner = {NULL, UNTOUCHED, UNTOUCHED}}};
	world->diagnostics.arena = &world->arena;
	world->reader = (struct reader){.arena = &world->arena, .diagnostics = &world->diagnostics, .file = "f.yaml"};
	if (yaml_parse(&world->arena, bytes, strlen(bytes), &world->document, &error) != 0)
		fail_msg("%s: line %u: %s", bytes, error.line, error.text);
}

static void read_document(struct world *world, const char *bytes, bool strict)
{
	start(world, bytes);
	world->reader.strict = strict;
	FIELDS_READ(&world->reader, world->document, outer_fields, &world->outer);
	assert_int_equal(world->reader.path_length, 0);
	assert_string_equal(world->reader.path, "");
	assert_int_equal(world->reader.failed, world->diagnostics.errors > 0);
}

static void a_valid_document_is_read(void **state)
{
	struct world world;

	read_document(&world,
		      "flag: true\nport: 8080\nnumber: -7\nstatus: {a: b}\ninner: {name: \"80\", go: 1.5s, gateway: 1h30m}\n"
		      "items: [{name: a, status: 1}, {name: b, go: \"0\"}]\ntexts: [x, '', yes]\n",
		      true);
	assert_null(world.diagnostics.first);
	assert_true(world.outer.flag);
	assert_int_equal(world.outer.port, 8080);
	assert_int_equal(world.outer.number, -7);
	assert_string_equal(world.outer.inner.name, "80");
	assert_int_equal(world.outer.inner.go, 1500);
	assert_int_equal(world.outer.inner.gateway, 5400000);
	assert_int_equal(world.outer.item_count, 2);
	assert_string_equal(world.outer.items[0].name, "a");
	assert_string_equal(world.outer.items[1].name, "b");
	assert_int_equal(world.outer.items[1].go, 0);
	assert_int_equal(world.outer.text_count, 3);
	assert_string_equal(world.outer.texts[1], "");
	assert_string_equal(world.outer.texts[2], "yes");
	arena_free(&world.arena);
}

static void null_counts_as_absent(void **state)
{
	struct world world;

	read_document(&world, "flag:\nport: ~\nnumber: null\nitems:\ntexts: []\nstatus:\n", true);
	assert_null(world.diagnostics.first);
	assert_int_equal(world.outer.port, UNTOUCHED);
	assert_int_equal(world.outer.number, UNTOUCHED);
	assert_null(world.outer.texts);
	assert_int_equal(world.outer.text_count, 0);
	arena_free(&world.arena);
}

#define GO_ACCEPTED "must be a Go duration from 0s on, as 500ms, 30s, 1h30m"
#define GATEWAY_ACCEPTED "must be a duration of at most four parts as 500ms, 30s, 1h30m (GEP-2257)"
#define INT_ACCEPTED "must be a whole number in decimal, without quotes and leading zeros"
#define PORT_ACCEPTED "must be a port from 1 to 65535, without quotes"
#define BOOL_ACCEPTED "must be true or false, without quotes"
#define TEN "0123456789"
#define FORTY TEN TEN TEN TEN

/* Each says one thing. */
static const struct {
	const char *document;
	const char *says;
} errors[] = {
    {"[]", "f.yaml:1: a list: must be a mapping"},
    {"x", "f.yaml:1: \"x\": must be a mapping"},
    {"a: 1\n", "f.yaml:1: a: unknown field; known are flag, port, number, inner, items, texts, status"},
    {"\nflag: yes", "f.yaml:2: flag: \"yes\": " BOOL_ACCEPTED},
    {"flag: 'true'", "f.yaml:1: flag: \"true\": " BOOL_ACCEPTED},
    {"flag: {}", "f.yaml:1: flag: a mapping: " BOOL_ACCEPTED},
    {"port: 0", "f.yaml:1: port: \"0\": " PORT_ACCEPTED},
    {"port: 65536", "f.yaml:1: port: \"65536\": " PORT_ACCEPTED},
    {"port: -1", "f.yaml:1: port: \"-1\": " PORT_ACCEPTED},
    {"port: '80'", "f.yaml:1: port: \"80\": " PORT_ACCEPTED},
    {"port: 8080.0", "f.yaml:1: port: \"8080.0\": " PORT_ACCEPTED},
    {"port: 99999999999999999999", "f.yaml:1: port: \"99999999999999999999\": " PORT_ACCEPTED},
    {"port: http", "f.yaml:1: port: \"http\": " PORT_ACCEPTED},
    {"port: [80]", "f.yaml:1: port: a list: " PORT_ACCEPTED},
    {"number: 010", "f.yaml:1: number: \"010\": " INT_ACCEPTED},
    {"number: 0x10", "f.yaml:1: number: \"0x10\": " INT_ACCEPTED},
    {"number: +1", "f.yaml:1: number: \"+1\": " INT_ACCEPTED},
    {"number: -01", "f.yaml:1: number: \"-01\": " INT_ACCEPTED},
    {"number: 9223372036854775808", "f.yaml:1: number: \"9223372036854775808\": " INT_ACCEPTED},
    {"number: -9223372036854775809", "f.yaml:1: number: \"-9223372036854775809\": " INT_ACCEPTED},
    {"number: \"\"", "f.yaml:1: number: \"\": " INT_ACCEPTED},
    {"inner: {}", "f.yaml:1: inner.name: this field is required"},
    {"inner:\n  name: ~\n", "f.yaml:2: inner.name: this field is required"},
    {"inner: {name: 80}", "f.yaml:1: inner.name: \"80\": must be text; without quotes this is an integer, quote it"},
    {"inner: {name: 1e3}", "f.yaml:1: inner.name: \"1e3\": must be text; without quotes this is a number, quote it"},
    {"inner: {name: true}", "f.yaml:1: inner.name: \"true\": must be text; without quotes this is a boolean, quote it"},
    {"inner: {name: {}}", "f.yaml:1: inner.name: a mapping: must be text"},
    {"inner: {name: a, go: 0}", "f.yaml:1: inner.go: \"0\": " GO_ACCEPTED "; without quotes this is an integer, give it a unit"},
    {"inner: {name: a, go: ''}", "f.yaml:1: inner.go: \"\": " GO_ACCEPTED},
    {"inner: {name: a, go: '5'}", "f.yaml:1: inner.go: \"5\": " GO_ACCEPTED},
    {"inner: {name: a, go: -1ns}", "f.yaml:1: inner.go: \"-1ns\": " GO_ACCEPTED},
    {"inner: {name: a, go: 3000000h}", "f.yaml:1: inner.go: \"3000000h\": " GO_ACCEPTED "; at most 2562047h"},
    {"inner: {name: a, gateway: 1.5s}", "f.yaml:1: inner.gateway: \"1.5s\": " GATEWAY_ACCEPTED},
    {"inner: {name: a, gateway: 5}",
     "f.yaml:1: inner.gateway: \"5\": " GATEWAY_ACCEPTED "; without quotes this is an integer, give it a unit"},
    {"inner: {name: a, gateway: [1s]}", "f.yaml:1: inner.gateway: a list: " GATEWAY_ACCEPTED},
    {"items:\n- name: a\n- name: b\n  go: 1x\n", "f.yaml:4: items[1].go: \"1x\": " GO_ACCEPTED},
    {"items:\n- {name: a}\n-\n", "f.yaml:3: items[1]: an element of a list must not be null"},
    {"items: [[]]", "f.yaml:1: items[0]: a list: must be a mapping"},
    {"items: {}", "f.yaml:1: items: a mapping: must be a list"},
    {"texts: [a, b, c, d]", "f.yaml:1: texts: a list of 4 elements; at most 3 are accepted"},
    {"texts: [a, 5]", "f.yaml:1: texts[1]: \"5\": must be text; without quotes this is an integer, quote it"},
    {"flag: " FORTY FORTY, "f.yaml:1: flag: \"" FORTY FORTY "\": " BOOL_ACCEPTED},
    {"flag: " FORTY FORTY "x", "f.yaml:1: flag: \"" FORTY FORTY "…\": " BOOL_ACCEPTED},
    {"flag: x" FORTY FORTY "\u00fc", "f.yaml:1: flag: \"x" FORTY TEN TEN TEN "012345678…\": " BOOL_ACCEPTED},
    {"flag: x" FORTY TEN TEN TEN "01234567\u00fcx", "f.yaml:1: flag: \"x" FORTY TEN TEN TEN "01234567…\": " BOOL_ACCEPTED},
    {"flag: \"a\\nb\\eb\"", "f.yaml:1: flag: \"a?b?b\": " BOOL_ACCEPTED},
};

static void what_is_wrong_is_said(void **state)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct world world;

		read_document(&world, errors[i].document, true);
		if (world.diagnostics.errors != 1 || strcmp(world.diagnostics.first->text, errors[i].says) != 0)
			fail_msg("%s: %zu errors: %s; expected %s", errors[i].document, world.diagnostics.errors,
				 world.diagnostics.first != NULL ? world.diagnostics.first->text : "-", errors[i].says);
		assert_true(world.outer.port == UNTOUCHED && world.outer.number == UNTOUCHED);
		assert_true(world.outer.inner.go == UNTOUCHED && world.outer.inner.gateway == UNTOUCHED);
		arena_free(&world.arena);
	}
}

static void limits_are_within(void **state)
{
	struct world world;

	read_document(&world, "port: 65535\nnumber: -9223372036854775808\nflag: False\ntexts: [a, b, c]\n", true);
	assert_null(world.diagnostics.first);
	assert_int_equal(world.outer.port, 65535);
	assert_true(world.outer.number == INT64_MIN);
	assert_false(world.outer.flag);
	arena_free(&world.arena);
	read_document(&world, "port: 1\nnumber: 9223372036854775807\ninner: {name: x, go: 2562047h, gateway: 99999h}\n", true);
	assert_null(world.diagnostics.first);
	assert_int_equal(world.outer.port, 1);
	assert_true(world.outer.number == INT64_MAX);
	arena_free(&world.arena);
}

static void unknown_fields_are_warned_of_and_the_rest_is_read(void **state)
{
	struct world world;

	read_document(&world, "port: 80\nspeed: 1\nitems:\n- {name: a, x: 1}\n- {name: b, x: }\n", false);
	assert_false(world.reader.failed);
	assert_int_equal(world.diagnostics.warnings, 3);
	assert_string_equal(world.diagnostics.first->text, "f.yaml:2: speed: unknown field, ignored; known are flag, port, number, "
	                                            "inner, items, texts, status");
	assert_string_equal(world.diagnostics.first->next->text, "f.yaml:4: items[0].x: unknown field, ignored; known are name, go, gateway, status");
	assert_string_equal(world.diagnostics.last->text, "f.yaml:5: items[1].x: unknown field, ignored; known are name, go, gateway, status");
	assert_int_equal(world.outer.port, 80);
	assert_int_equal(world.outer.item_count, 2);
	arena_free(&world.arena);
}

static void all_errors_of_a_document_are_said(void **state)
{
	struct world world;

	read_document(&world, "port: x\nnumber: y\nitems: [{}, {name: 1}]\n", false);
	assert_int_equal(world.diagnostics.errors, 4);
	arena_free(&world.arena);
}

static void subject_and_value_are_as_given(void **state)
{
	struct world world;

	start(&world, "a: 1\nb: 2\n");
	world.reader.subject = "HTTPRoute default/web";
	const struct yaml_node *node = yaml_field(world.document, "b");
	fields_warn(&world.reader, node, "", "left %s", "out");
	assert_false(world.reader.failed);
	size_t mark = fields_enter(&world.reader, "spec", 0), inner = fields_enter(&world.reader, NULL, 12);
	fields_error(&world.reader, node, "given", "must be %d", 3);
	assert_string_equal(world.reader.path, "spec[12]");
	fields_leave(&world.reader, inner);
	assert_string_equal(world.reader.path, "spec");
	fields_leave(&world.reader, mark);
	assert_true(world.reader.failed);
	assert_string_equal(world.diagnostics.first->text, "f.yaml:2: HTTPRoute default/web: left out");
	assert_string_equal(world.diagnostics.last->text, "f.yaml:2: HTTPRoute default/web: spec[12]: \"given\": must be 3");
	arena_free(&world.arena);
}

/* However long names are and however deep they stand, the path ends within its room and leaves as it came. */
static void a_long_path_is_cut(void **state)
{
	char name[300], before[256];
	size_t marks[64];
	struct world world;

	start(&world, "a: 1\n");
	for (size_t at = 0; at + 3 < sizeof name; at += 3)
		memcpy(name + at, "\xe2\x82\xac", 4);
	for (int i = 0; i < 64; i++) {
		marks[i] = fields_enter(&world.reader, i % 2 == 0 ? name : NULL, 7);
		assert_int_equal(strlen(world.reader.path), world.reader.path_length);
		assert_true(world.reader.path_length < sizeof world.reader.path);
		if (i == 0)
			strcpy(before, world.reader.path);
		fields_error(&world.reader, world.document, "", "wrong");
		assert_null(strchr(world.diagnostics.last->text, '?'));
	}
	assert_true(world.reader.path_length > sizeof world.reader.path - 5);
	for (int i = 63; i > 0; i--)
		fields_leave(&world.reader, marks[i]);
	assert_string_equal(world.reader.path, before);
	fields_leave(&world.reader, marks[0]);
	assert_string_equal(world.reader.path, "");
	arena_free(&world.arena);
}

static void many_known_fields_are_not_listed(void **state)
{
	static const struct field rows[] = {
	    {"a"}, {"b"}, {"c"}, {"d"}, {"e"}, {"f"}, {"g"}, {"h"}, {"i"}, {"j"}, {"k"}, {"l"}, {"m"}, {"n"}, {"o"},
	};
	struct world world;

	for (size_t count = 14; count <= 15; count++) {
		start(&world, "x: 1\n");
		world.reader.strict = true;
		fields_read(&world.reader, world.document, rows, count, NULL);
		assert_string_equal(world.diagnostics.first->text,
				    count == 14 ? "f.yaml:1: x: unknown field; known are a, b, c, d, e, f, g, h, i, j, k, l, m, n"
						: "f.yaml:1: x: unknown field");
		arena_free(&world.arena);
	}
}

static void without_memory_the_document_fails_silently(void **state)
{
	struct world world;
	void *items = &world;
	size_t count = UNTOUCHED;

	start(&world, "[a, b, c]");
	fields_list(&world.reader, world.document, 3, SIZE_MAX / 2, fields_text, &items, &count);
	assert_true(world.reader.failed && world.reader.no_memory);
	assert_null(world.diagnostics.first);
	assert_null(items);
	assert_int_equal(count, 0);
	arena_free(&world.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_valid_document_is_read),
	    cmocka_unit_test(null_counts_as_absent),
	    cmocka_unit_test(what_is_wrong_is_said),
	    cmocka_unit_test(limits_are_within),
	    cmocka_unit_test(unknown_fields_are_warned_of_and_the_rest_is_read),
	    cmocka_unit_test(all_errors_of_a_document_are_said),
	    cmocka_unit_test(subject_and_value_are_as_given),
	    cmocka_unit_test(a_long_path_is_cut),
	    cmocka_unit_test(many_known_fields_are_not_listed),
	    cmocka_unit_test(without_memory_the_document_fails_silently),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
