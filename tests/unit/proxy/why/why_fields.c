#include "proxy/why/why_fields.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is read of a line, as "key=value;" with marks behind the key: " text, \ escaped, [ nested; "!" where it is neither form. */
static const struct {
	const char *line, *read;
} rows[] = {
    {"", ""},
    {"a=1 b=2", "a=1;b=2;"},
    {"a=1  b=\"two words\"", "a=1;b\"=two words;"},
    {"a=\"\" b=x=y", "a\"=;b=x=y;"},
    {"a=\"say \\\"no\\\"\" b=1", "a\"\\=say \\\"no\\\";b=1;"},
    {"a=\"ends in \\\\\" b=1", "a\"\\=ends in \\\\;b=1;"},
    {"a=1 b=\"cut", "a=1;!"},
    {"a=1 b=\"cut\\\"", "a=1;!"},
    {"a=1 b=", "a=1;!"},
    {"a=1 b", "a=1;!"},
    {"a=\"x\"y", "!"},
    {"=1", "!"},
    {"plain words", "!"},
    {"{}", ""},
    {" {}", "!"},
    {"{ }  ", ""},
    {"{\"a\":1,\"b\":\"two\"}", "a=1;b\"=two;"},
    {"{ \"a\" : -1.5e3 , \"b\" : true,\"c\":null }", "a=-1.5e3;b=true;c=null;"},
    {"{\"a\":{\"b\":[1,\"}]\"]},\"c\":2}", "a[={\"b\":[1,\"}]\"]};c=2;"},
    {"{\"a\":[{}],\"b\":\"\\\"\"}", "a[=[{}];b\"\\=\\\";"},
    {"{\"a\":1", "a=1;!"},
    {"{\"a\":1,}", "a=1;!"},
    {"{\"a\":1 \"b\":2}", "a=1;!"},
    {"{\"a\":1}x", "a=1;!"},
    {"{\"a\"}", "!"},
    {"{\"a\":}", "!"},
    {"{\"a\":nil}", "!"},
    {"{\"a\":\"cut}", "!"},
    {"{\"a\":[1}", "!"},
    {"{\"a\":[}]", "!"},
    {"{a:1}", "!"},
    {"{", "!"},
};

static void reads_lines(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char read[256] = "";
		size_t length = strlen(rows[i].line);
		struct why_fields fields;
		struct why_field field;
		int result;

		why_fields_begin(&fields, rows[i].line, length);
		while ((result = why_fields_next(&fields, &field)) == 1) {
			strncat(read, field.key.bytes, field.key.length);
			strcat(strcat(strcat(read, field.text ? "\"" : ""), field.escaped ? "\\" : ""), field.nested ? "[=" : "=");
			strncat(read, field.value.bytes, field.value.length);
			strcat(read, ";");
		}
		if (result == -EBADMSG)
			strcat(read, "!");
		if (strcmp(read, rows[i].read) != 0)
			fail_msg("%s: %s, expected %s", rows[i].line, read, rows[i].read);
	}
}

/* No depth of brackets is too deep to be refused. */
static void bounds_depth(void **state)
{
	char line[600] = "{\"a\":";
	struct why_fields fields;
	struct why_field field;

	memset(line + 5, '[', 500);
	why_fields_begin(&fields, line, 505);
	assert_int_equal(why_fields_next(&fields, &field), -EBADMSG);
}

static void unescapes(void **state)
{
	static const struct {
		const char *value, *text;
	} escapes[] = {
	    {"plain", "plain"}, {"a\\\"b\\\\c\\/d", "a\"b\\c/d"}, {"\\n\\r\\t", "\n\r\t"}, {"\\u0041\\u00e9\\u20ac", "A\u00e9\u20ac"},
	    {"\\ud83d\\ude00", "\U0001f600"}, {"\\ud83d\\udc00\\ud83d\\udfff", "\U0001f400\U0001f7ff"}, {"\\ud83dx", "\ufffdx"}, {"\\ud83d\\u0041", "\ufffdA"}, {"\\ude00", "\ufffd"},
	    {"\\u12", "12"}, {"\\u", ""}, {"end\\", "end\\"}, {"\\q", "q"},
	};

	for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
		char out[64] = "";
		size_t length = strlen(escapes[i].value);
		size_t got = why_fields_unescape((struct why_slice){escapes[i].value, length}, out);

		assert_true(got <= length);
		out[got] = '\0';
		assert_string_equal(out, escapes[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_lines),
	    cmocka_unit_test(bounds_depth),
	    cmocka_unit_test(unescapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
