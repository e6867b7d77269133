#include "lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *value, *quoted;
} strings[] = {
	{"", "\"\""},
	{"plain /?=&'<>", "\"plain /?=&'<>\""},
	{"say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""},
	{"a\nb\rc\td", "\"a\\nb\\rc\\td\""},
	{"\x01\x1b[31m\x7f", "\"\\u0001\\u001b[31m\\u007f\""},
	{"\xc2\x9b\xc2\xa0", "\"\\u009b\xc2\xa0\""},
	{"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\""},
	{"\xff|\xc3|\xe2\x82", "\"\\ufffd|\\ufffd|\\ufffd\\ufffd\""},
	{"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
};

struct written {
	char *text;
	size_t size;
	struct json json;
};

static void begin(struct written *written)
{
	*written = (struct written){0};
	written->json.to = open_memstream(&written->text, &written->size);
	assert_non_null(written->json.to);
}

static void ends_as(struct written *written, const char *expected)
{
	fclose(written->json.to);
	assert_string_equal(written->text, expected);
	free(written->text);
}

static void strings_are_escaped(void **state)
{
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
		struct written written;

		begin(&written);
		json_string(&written.json, NULL, strings[i].value);
		ends_as(&written, strings[i].quoted);
	}
}

/* A sequence that the end cuts is not read beyond it. */
static void escape_stays_inside(void **state)
{
	char out[JSON_ESCAPED_SIZE], *bytes = malloc(2);
	size_t taken;

	assert_non_null(bytes);
	memcpy(bytes, "\xe2\x82", 2);
	assert_int_equal(json_escape((unsigned char *)bytes, 2, out, &taken), 6);
	assert_int_equal(taken, 1);
	bytes[0] = 'a';
	assert_int_equal(json_escape((unsigned char *)bytes, 1, out, &taken), 1);
	assert_int_equal(out[0], 'a');
	free(bytes);
}

static void values_are_separated(void **state)
{
	struct written written;
	struct json *json = &written.json;

	begin(&written);
	json_open(json, NULL, '{');
	json_open(json, "empty", '{');
	json_close(json, '}');
	json_open(json, "list", '[');
	json_number(json, NULL, -9223372036854775807 - 1);
	json_number(json, NULL, 2);
	json_open(json, NULL, '[');
	json_close(json, ']');
	json_open(json, NULL, '{');
	json_null(json, "x");
	json_bool(json, "y", true);
	json_bool(json, "z", false);
	json_close(json, '}');
	json_close(json, ']');
	json_string(json, "a\"b", NULL);
	json_string(json, "c", "d");
	json_close(json, '}');
	ends_as(&written, "{\"empty\":{},\"list\":[-9223372036854775808,2,[],{\"x\":null,\"y\":true,\"z\":false}],\"a\\\"b\":null,\"c\":\"d\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(escape_stays_inside),
		cmocka_unit_test(values_are_separated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
