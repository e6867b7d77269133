#include "proxy/publish/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/json_text.h"

/* What is read is written again, as `want`. */
static void again(const char *bytes, const char *want)
{
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_int_equal(json_parse(&arena, bytes, strlen(bytes), &tree, &error), 0);
	json_text_write(tree, to);
	fclose(to);
	assert_string_equal(text, want);
	free(text);
	arena_free(&arena);
}

static void what_is_read_is_written_again(void **state)
{
	again("{ \"b\" : [1, -2, 1.10, 1e300, true, false, null, \"true\", \"\"], \"a\":{} }",
	      "{\"b\":[1,-2,1.1,1e+300,true,false,null,\"true\",\"\"],\"a\":{}}");
	again("\"\\u00e4 \\\" \\\\ \\n \\u003c\"", "\"ä \\\" \\\\ \\n <\"");
	again("9223372036854775807", "9223372036854775807");
	again("{\"n\":100000000000000000000,\"m\":7}", "{\"n\":1e+20,\"m\":7}"); /* a float of the API server */
	again("[]", "[]");
}

static void strings_are_texts_and_the_rest_is_plain(void **state)
{
	static const char bytes[] = "{\"s\":\"80\",\"i\":80,\"n\":null,\"t\":true}";
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error;

	assert_int_equal(json_parse(&arena, bytes, strlen(bytes), &tree, &error), 0);
	assert_int_equal(yaml_resolve(yaml_field(tree, "s")), YAML_TEXT);
	assert_int_equal(yaml_resolve(yaml_field(tree, "i")), YAML_INT);
	assert_int_equal(yaml_resolve(yaml_field(tree, "t")), YAML_BOOL);
	assert_true(yaml_is_null(yaml_field(tree, "n")));
	assert_int_equal(tree->count, 4);
	arena_free(&arena);
}

static void fails(const char *bytes, size_t length, const char *want)
{
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error = {0};

	assert_int_equal(json_parse(&arena, bytes, length, &tree, &error), -EBADMSG);
	assert_null(tree);
	assert_true(error.offset <= length);
	if (!strstr(error.text, want))
		fail_msg("%s, wanted %s", error.text, want);
	arena_free(&arena);
}

static void bad_bytes_are_errors(void **state)
{
	static const char *const rows[][2] = {
	    {"{\"a\":1,\"a\":2}", "duplicate"}, {"{\"a\":\"\xff\"}", "UTF-8"},    {"{\"a\":\"\xc0\x80\"}", "UTF-8"}, {"[\"\\u0000\"]", "u0000"},
	    {"", ""},                           {"{", ""},                         {"[1,]", ""},                     {"{}x", "end of file"},
	    {"[\"\\ud800\"]", ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		fails(rows[i][0], strlen(rows[i][0]), rows[i][1]);
	fails("[\"a\0b\"]", 7, "");
}

static void depth_and_number_are_bounded(void **state)
{
	enum { MANY = JSON_NODES_MOST + 10 };
	char *bytes = malloc(MANY * 2);

	memset(bytes, '[', MANY);
	fails(bytes, MANY, "deeper than 64");
	bytes[0] = '[';
	for (size_t i = 0; i < MANY - 1; i++)
		memcpy(bytes + 1 + i * 2, "1,", 2);
	fails(bytes, 1 + (MANY - 1) * 2, "more than 200000 values");
	memset(bytes, '[', 64);
	memset(bytes + 64, ']', 64);
	bytes[128] = '\0';
	again(bytes, bytes);
	free(bytes);
}

static void yaml_is_written_as_json(void **state)
{
	static const char bytes[] = "a: 007\nb: 0x1F\nc: ~\nd: 'x\ty'\ne: TRUE\nf: -1.5e3\ng: [yes]\n";
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct yaml_error error;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_int_equal(yaml_parse(&arena, bytes, strlen(bytes), &tree, &error), 0);
	json_text_write(tree, to);
	fclose(to);
	assert_string_equal(text, "{\"a\":\"007\",\"b\":\"0x1F\",\"c\":null,\"d\":\"x\\ty\",\"e\":true,\"f\":-1.5e3,\"g\":[\"yes\"]}");
	free(text);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_read_is_written_again), cmocka_unit_test(strings_are_texts_and_the_rest_is_plain),
	    cmocka_unit_test(bad_bytes_are_errors),          cmocka_unit_test(depth_and_number_are_bounded),
	    cmocka_unit_test(yaml_is_written_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
