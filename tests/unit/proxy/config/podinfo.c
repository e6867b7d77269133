#include "proxy/config/podinfo.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "tests/unit/proxy/guard.h"

struct reading {
	struct arena arena;
	struct diagnostics diagnostics;
	struct podinfo podinfo;
};

static void read_annotations(struct reading *reading, const struct guard *guard, const char *bytes, size_t length)
{
	*reading = (struct reading){0};
	reading->diagnostics.arena = &reading->arena;
	assert_int_equal(podinfo_read_annotations(&reading->podinfo, &reading->arena, &reading->diagnostics, "annotations",
	                                          (const char *)guard_place(guard, bytes, length), length),
	                 0);
}

/* One line, with and without a line feed. */
static void lines(void **state)
{
	static const struct {
		const char *line, *key, *value; /* key NULL = refused */
	} rows[] = {
	    {"lapse.proxy/timeout-connect=\"5s\"", "lapse.proxy/timeout-connect", "5s"},
	    {"a=\"\"", "a", ""},
	    {"A-b_c.d/e9=\"x=y\"", "A-b_c.d/e9", "x=y"},
	    {"a=\" blanks \t\"", "a", " blanks \t"},
	    {"a=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"", "a", "\a\b\f\n\r\t\v\\\""},
	    {"a=\"{\\\"x\\\":\\\"y\\\"}\"", "a", "{\"x\":\"y\"}"},
	    {"a=\"\\x01\\x7f\\xFF\"", "a", "\x01\x7f\xff"},
	    {"a=\"\\101\\3770\"", "a", "A\xff" "0"},
	    {"a=\"\\u00e4\\u20AC\\u0041\\uffff\"", "a", "\xc3\xa4\xe2\x82\xac" "A\xef\xbf\xbf"},
	    {"a=\"\\U0001f600\\U0010ffff\\U00000041\"", "a", "\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf" "A"},
	    {"a=\"\xc3\xa4 \xff\"", "a", "\xc3\xa4 \xff"},
	    {"a=\"\\\\\"", "a", "\\"},
	    {"a", NULL, NULL},
	    {"=", NULL, NULL},
	    {"=\"x\"", NULL, NULL},
	    {"a=", NULL, NULL},
	    {"a=x", NULL, NULL},
	    {"a=\"", NULL, NULL},
	    {"a=\"x", NULL, NULL},
	    {"a=x\"", NULL, NULL},
	    {"a=\"x\" ", NULL, NULL},
	    {"a=\"x\"\r", NULL, NULL},
	    {"a =\"x\"", NULL, NULL},
	    {" a=\"x\"", NULL, NULL},
	    {"a= \"x\"", NULL, NULL},
	    {"a\xc3\xa4=\"x\"", NULL, NULL},
	    {"a=\"x\"y\"", NULL, NULL},
	    {"a=\"\\\"", NULL, NULL},
	    {"a=\"\\'\"", NULL, NULL},
	    {"a=\"\\q\"", NULL, NULL},
	    {"a=\"\\x\"", NULL, NULL},
	    {"a=\"\\x1\"", NULL, NULL},
	    {"a=\"\\x1g\"", NULL, NULL},
	    {"a=\"\\u123\"", NULL, NULL},
	    {"a=\"\\ud800\"", NULL, NULL},
	    {"a=\"\\uDFFF\"", NULL, NULL},
	    {"a=\"\\U00110000\"", NULL, NULL},
	    {"a=\"\\Uffffffff\"", NULL, NULL},
	    {"a=\"\\U0001f60\"", NULL, NULL},
	    {"a=\"\\400\"", NULL, NULL},
	    {"a=\"\\779\"", NULL, NULL},
	    {"a=\"\\77\"", NULL, NULL},
	    {"a=\"\\x00\"", NULL, NULL},
	    {"a=\"\\000\"", NULL, NULL},
	    {"a=\"\\u0000\"", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (int feed = 0; feed < 2; feed++) {
			char bytes[128];
			struct reading reading;
			size_t length = strlen(rows[i].line);

			memcpy(bytes, rows[i].line, length);
			bytes[length] = '\n';
			read_annotations(&reading, *state, bytes, length + (size_t)feed);
			if (reading.podinfo.annotation_count != (rows[i].key != NULL) ||
			    reading.diagnostics.warnings != (rows[i].key == NULL) || reading.diagnostics.errors)
				fail_msg("row %zu: %zu pairs, %zu warnings: %s", i, reading.podinfo.annotation_count,
				         reading.diagnostics.warnings, rows[i].line);
			if (rows[i].key) {
				assert_string_equal(reading.podinfo.annotations[0].key, rows[i].key);
				assert_string_equal(reading.podinfo.annotations[0].value, rows[i].value);
			}
			arena_free(&reading.arena);
		}
	}
}

static void a_file(void **state)
{
	static const char file[] = "a/b=\"1\"\n\nbad\nc=\"2\\n\"\nc=\"3\"\nnul=\"\0\"\nnul\0=\"x\"\nlong=\"12345678901234567890123456789012345678901234567890123"
	                           "45678901234567890123456789\nz=\"4\"";
	static const struct {
		const char *key, *value;
		uint32_t line;
	} expected[] = {{"a/b", "1", 1}, {"c", "2\n", 4}, {"c", "3", 5}, {"z", "4", 9}};
	static const char *const warnings[] = {
	    "annotations:3: bad: accepted is key=\"value\" as the downward API writes it; ignored",
	    "annotations:6: nul=\": accepted is key=\"value\" as the downward API writes it; ignored",
	    "annotations:7: nul: accepted is key=\"value\" as the downward API writes it; ignored",
	    ("annotations:8: long=\"12345678901234567890123456789012345678901234567890123456789012345678901234…: "
	     "accepted is key=\"value\" as the downward API writes it; ignored"),
	};
	struct reading reading;

	read_annotations(&reading, *state, file, sizeof file - 1);
	assert_int_equal(reading.podinfo.annotation_count, sizeof expected / sizeof *expected);
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		assert_string_equal(reading.podinfo.annotations[i].key, expected[i].key);
		assert_string_equal(reading.podinfo.annotations[i].value, expected[i].value);
		assert_int_equal(reading.podinfo.annotations[i].line, expected[i].line);
	}
	const struct diagnostic *diagnostic = reading.diagnostics.first;
	for (size_t i = 0; i < sizeof warnings / sizeof *warnings; i++, diagnostic = diagnostic->next) {
		assert_non_null(diagnostic);
		assert_string_equal(diagnostic->text, warnings[i]);
		assert_false(diagnostic->error);
	}
	assert_null(diagnostic);
	arena_free(&reading.arena);
}

static void labels(void **state)
{
	static const char file[] = "app=\"web\"\napp.kubernetes.io/name=\"\"\nbad\n";
	struct reading reading = {.podinfo.annotation_count = 7};

	reading.diagnostics.arena = &reading.arena;
	assert_int_equal(podinfo_read_labels(&reading.podinfo, &reading.arena, &reading.diagnostics, "labels", file,
	    sizeof file - 1), 0);
	assert_int_equal(reading.podinfo.label_count, 2);
	assert_string_equal(reading.podinfo.labels[0].key, "app");
	assert_string_equal(reading.podinfo.labels[0].value, "web");
	assert_string_equal(reading.podinfo.labels[1].key, "app.kubernetes.io/name");
	assert_string_equal(reading.podinfo.labels[1].value, "");
	assert_string_equal(reading.diagnostics.first->text,
	    "labels:3: bad: accepted is key=\"value\" as the downward API writes it; ignored");
	assert_int_equal(reading.podinfo.annotation_count, 7);
	arena_free(&reading.arena);
}

static void nothing_in_an_empty_file(void **state)
{
	static const char *const files[] = {NULL, "\n", "\n\n\n"};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct reading reading = {.podinfo = {.annotation_count = 7, .label_count = 7}};
		size_t length = files[i] ? strlen(files[i]) : 0;

		reading.diagnostics.arena = &reading.arena;
		assert_int_equal(podinfo_read_annotations(&reading.podinfo, &reading.arena, &reading.diagnostics, "f", files[i],
		    length), 0);
		assert_int_equal(podinfo_read_labels(&reading.podinfo, &reading.arena, &reading.diagnostics, "f", files[i],
		    length), 0);
		assert_int_equal(reading.podinfo.annotation_count + reading.podinfo.label_count + reading.diagnostics.warnings, 0);
		arena_free(&reading.arena);
	}
}

/* As many pairs as fit into a file, and no more memory than a small multiple of its size. */
static void the_shortest_lines(void **state)
{
	enum { LINES = 100000 };
	static char file[LINES * (sizeof "a=\"\"\n" - 1)];
	static const char *const shapes[] = {"a=\"\"\n", "=====", "\n\n\n\n\n", "a=\"\n\n"};
	struct reading reading;

	for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
		reading = (struct reading){0};
		reading.diagnostics.arena = &reading.arena;
		for (size_t i = 0; i < LINES; i++)
			memcpy(file + i * 5, shapes[shape], 5);
		assert_int_equal(podinfo_read_annotations(&reading.podinfo, &reading.arena, &reading.diagnostics, "f", file,
		    sizeof file), 0);
		assert_int_equal(reading.podinfo.annotation_count, shape == 0 ? LINES : 0);
		assert_true(reading.arena.total < 12 * sizeof file);
		arena_free(&reading.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines),
	    cmocka_unit_test(a_file),
	    cmocka_unit_test(labels),
	    cmocka_unit_test(nothing_in_an_empty_file),
	    cmocka_unit_test(the_shortest_lines),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
