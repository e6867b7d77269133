#include "proxy/config/manifest_text.h"

#include "lib/arena.h"
#include "proxy/config/yaml.h"
#include "tests/unit/proxy/route_documents.h"

#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HOST253 LABEL63 "." LABEL63 "." LABEL63 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct fixture {
	struct arena arena;
	struct diagnostics diagnostics;
	struct reader reader;
};

static void start(struct fixture *fixture)
{
	*fixture = (struct fixture){0};
	fixture->diagnostics.arena = &fixture->arena;
	fixture->reader = (struct reader){.arena = &fixture->arena, .diagnostics = &fixture->diagnostics, .file = "f"};
}

static struct yaml_node scalar(const char *text, bool plain)
{
	return (struct yaml_node){.type = YAML_SCALAR, .plain = plain, .text = text, .length = (uint32_t)strlen(text), .line = 1};
}

static void texts_have_rules(void **state)
{
	static const struct {
		field_read *read;
		const char *text;
		bool accepted;
	} rows[] = {
	    {manifest_text_header_name, "X-Trace", true},
	    {manifest_text_header_name, "a!#$%&'*+-.^_`|~9", true},
	    {manifest_text_header_name, "", false},
	    {manifest_text_header_name, ":path", false},
	    {manifest_text_header_name, "a b", false},
	    {manifest_text_header_name, "a\r\nb", false},
	    {manifest_text_header_name, "(a)", false},
	    {manifest_text_header_name, "\xc3\xa4", false},
	    {manifest_text_header_value, "a b\tc", true},
	    {manifest_text_header_value, "\xc3\xa4", true},
	    {manifest_text_header_value, "", false},
	    {manifest_text_header_value, "a\r\nb: c", false},
	    {manifest_text_header_value, "a\nb", false},
	    {manifest_text_header_value, "a\x7f", false},
	    {manifest_text_host, "a", true},
	    {manifest_text_host, "1.2.3.4", true}, /* by the API's pattern */
	    {manifest_text_host, "a-b.c--d.e", true},
	    {manifest_text_host, HOST253, true},
	    {manifest_text_host, HOST253 "a", false},
	    {manifest_text_host, "", false},
	    {manifest_text_host, "a.", false},
	    {manifest_text_host, ".a", false},
	    {manifest_text_host, "a..b", false},
	    {manifest_text_host, "A", false},
	    {manifest_text_host, "-a", false},
	    {manifest_text_host, "a-", false},
	    {manifest_text_host, "a-.b", false},
	    {manifest_text_host, "a:80", false},
	    {manifest_text_host, "*.a", false},
	    {manifest_text_host_pattern, "a", true},
	    {manifest_text_host_pattern, "*.a", true},
	    {manifest_text_host_pattern, "*.a.b", true},
	    {manifest_text_host_pattern, "*", false},
	    {manifest_text_host_pattern, "*.", false},
	    {manifest_text_host_pattern, "*a", false},
	    {manifest_text_host_pattern, "a.*", false},
	    {manifest_text_host_pattern, "*.*.a", false},
	    {manifest_text_host_pattern, "*." HOST253, false},
	    {manifest_text_name, "a.b-c", true},
	    {manifest_text_name, "a_b", false},
	    {manifest_text_namespace, LABEL63, true},
	    {manifest_text_namespace, LABEL63 "a", false},
	    {manifest_text_namespace, "a.b", false},
	    {manifest_text_namespace, "", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture fixture;
		struct yaml_node node = scalar(rows[i].text, false);
		const char *before = "before", *text = before;
		start(&fixture);
		rows[i].read(&fixture.reader, &node, &text);
		if ((text != before) != rows[i].accepted || fixture.reader.failed == rows[i].accepted)
			fail_msg("row %zu, \"%s\": %s", i, rows[i].text, rows[i].accepted ? "refused" : "accepted");
		assert_string_equal(text, rows[i].accepted ? rows[i].text : "before");
		arena_free(&fixture.arena);
	}
}

static void texts_have_limits(void **state)
{
	static const struct {
		field_read *read;
		size_t most;
	} rows[] = {{manifest_text_header_name, 256}, {manifest_text_header_value, 4096}};
	char bytes[5000];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t length = rows[i].most; length <= rows[i].most + 1; length++) {
			struct fixture fixture;
			const char *text = NULL;
			memset(bytes, 'a', length);
			bytes[length] = '\0';
			struct yaml_node node = scalar(bytes, false);
			start(&fixture);
			rows[i].read(&fixture.reader, &node, &text);
			assert_int_equal(text != NULL, length == rows[i].most);
			arena_free(&fixture.arena);
		}
}

static void a_choice_names_all(void **state)
{
	static const char *const names[] = {"Exact", "PathPrefix", "RegularExpression"};
	struct fixture fixture;
	struct yaml_node second = scalar("PathPrefix", true), none = scalar("pathprefix", true), number = scalar("1", true);

	start(&fixture);
	assert_int_equal(MANIFEST_TEXT_CHOICE(&fixture.reader, &second, names), 1);
	assert_false(fixture.reader.failed);
	assert_int_equal(MANIFEST_TEXT_CHOICE(&fixture.reader, &none, names), -1);
	assert_int_equal(MANIFEST_TEXT_CHOICE(&fixture.reader, &number, names), -1);
	assert_int_equal(fixture.diagnostics.errors, 2);
	assert_string_equal(fixture.diagnostics.first->text, "f:1: \"pathprefix\": must be Exact, PathPrefix or RegularExpression");
	arena_free(&fixture.arena);
}

static void integers_have_bounds(void **state)
{
	static const struct {
		const char *text;
		bool accepted;
	} rows[] = {
	    {"400", true}, {"599", true}, {"399", false}, {"600", false}, {"-400", false}, {"4e2", false}, {"x", false},
	    {"99999999999999999999", false}, {"-9223372036854775808", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture fixture;
		struct yaml_node node = scalar(rows[i].text, true);
		int64_t number = -1;
		start(&fixture);
		assert_int_equal(manifest_text_integer(&fixture.reader, &node, 400, 599, &number), rows[i].accepted);
		assert_int_equal(number > 0, rows[i].accepted);
		assert_int_equal(fixture.reader.failed, !rows[i].accepted);
		arena_free(&fixture.arena);
	}
}

static void lower_is_ascii(void **state)
{
	struct fixture fixture;

	start(&fixture);
	assert_string_equal(manifest_text_lower(&fixture.reader, "X-Aa@[Zz`{\xc3\x84"), "x-aa@[zz`{\xc3\x84");
	arena_free(&fixture.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts_have_rules),     cmocka_unit_test(texts_have_limits), cmocka_unit_test(a_choice_names_all),
	    cmocka_unit_test(integers_have_bounds), cmocka_unit_test(lower_is_ascii),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
