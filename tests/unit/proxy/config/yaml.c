#include "proxy/config/yaml.h"

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
#include "lib/text.h"

#define BYTES(text) text, sizeof(text) - 1

static struct yaml_node untouched;

static int parse(struct arena *arena, const char *bytes, size_t length, struct yaml_node **documents, struct yaml_error *error)
{
	*documents = &untouched;
	*error = (struct yaml_error){0};
	return yaml_parse(arena, bytes, length, documents, error);
}

/* The tree in short: {key@line=value …}, [value …], text as it is, plain scalars with a '.' before. */
static void print(struct text *out, const struct yaml_node *node)
{
	if (node->key != NULL)
		text_printf(out, "%s@%u=", node->key, node->line);
	if (node->type == YAML_SCALAR) {
		assert_int_equal(strlen(node->text), node->length);
		text_printf(out, "%s%s", node->plain ? "." : "", node->text);
		return;
	}
	uint32_t count = 0;
	text_char(out, node->type == YAML_MAPPING ? '{' : '[');
	for (const struct yaml_node *child = node->children; child != NULL; child = child->next, count++) {
		text_string(out, count > 0 ? " " : "");
		assert_true((child->key != NULL) == (node->type == YAML_MAPPING));
		print(out, child);
	}
	text_char(out, node->type == YAML_MAPPING ? '}' : ']');
	assert_int_equal(count, node->count);
}

static const struct {
	const char *bytes;
	size_t length;
	const char *tree; /* documents one after another */
} trees[] = {
    {BYTES(""), ""},
    {BYTES("\n# nothing\n"), ""},
    {BYTES("---\n---\n...\n---\nnull\n--- ~\n---\n\n"), ""},
    {BYTES("a: 1"), "{a@1=.1}"},
    {BYTES("# head\n---\na: 1\n---\n# none\n---\nb: [x, 'y', \"z\"]\n"), "{a@3=.1}{b@7=[.x y z]}"},
    {BYTES("a:\n  b:\n\n    c: d\n  e: |\n    f\n    g\nh: >-\n  i\n  j\n"), "{a@1={b@2={c@4=.d} e@5=f\ng\n} h@8=i j}"},
    {BYTES("a:\n- b\n- c: 1\n  d: 2\n-\n"), "{a@1=[.b {c@3=.1 d@4=.2} .]}"},
    {BYTES("{\"a\":{\"b\":[1,true,null,\"x\\u003c\\/\\n\"]},\"c\":\"\"}"), "{a@1={b@1=[.1 .true .null x</\n]} c@1=}"},
    {BYTES("{\n\t\"a\": 1,\n\t\"b\": [\n\t\t2\n\t]\n}\n"), "{a@2=.1 b@3=[.2]}"},
    {BYTES("\xef\xbb\xbf" "a: 1\n"), "{a@1=.1}"},
    {BYTES("\xef\xbb\xbf"), ""},
    {BYTES("a: 1\r\nb: 2\r\n"), "{a@1=.1 b@2=.2}"},
    {BYTES("%YAML 1.1\n---\na: 1\n"), "{a@3=.1}"},
    {BYTES("a: gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n"), "{a@1=.gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80}"},
    {BYTES("80: a\n? b\n: c\n'<<': d\n"), "{80@1=.a b@2=.c <<@4=.d}"},
    {BYTES("a: !!str 80\nb: !!int \"80\"\nc: !!null ''\nd: !!bool true\ne: !!float 1\nf: ! 80\n"),
     "{a@1=80 b@2=.80 c@3=. d@4=.true e@5=.1 f@6=80}"},
    {BYTES("!!map\na: !!seq [b]\n!!str c: d\n"), "{a@2=[.b] c@3=.d}"},
    {BYTES("a: &anchor b\n"), "{a@1=.b}"},
    {BYTES("just text\n"), ".just text"},
    {BYTES("a: x#y\nb: 'it''s'\n"), "{a@1=.x#y b@2=it's}"},
};

static void documents_become_trees(void **state)
{
	for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
		struct arena arena = {0};
		struct yaml_node *documents;
		struct yaml_error error;
		int result = parse(&arena, trees[i].bytes, trees[i].length, &documents, &error);

		if (result != 0)
			fail_msg("\"%s\": %d, line %u: %s", trees[i].bytes, result, error.line, error.text);
		TEXT_ON_STACK(tree, 1024);
		for (const struct yaml_node *document = documents; document != NULL; document = document->next)
			print(&tree, document);
		if (strcmp(tree.data, trees[i].tree) != 0)
			fail_msg("\"%s\": %s, not %s", trees[i].bytes, tree.data, trees[i].tree);
		arena_free(&arena);
	}
}

static const struct {
	const char *bytes;
	size_t length;
	uint32_t line;
	const char *says;
} refusals[] = {
    {BYTES("a: &x 1\nb: *x\n"), 2, "aliases are not accepted (*x)"},
    {BYTES("a: &x {b: *x}\n"), 1, "aliases"},
    {BYTES("a: 1\n<<: {b: 2}\n"), 2, "merge keys (<<)"},
    {BYTES("a: !!binary aGk=\n"), 1, "the tag \"tag:yaml.org,2002:binary\" is not accepted"},
    {BYTES("a: 1\nb: !custom x\n"), 2, "the tag \"!custom\""},
    {BYTES("a: !!set {b}\n"), 1, "set"},
    {BYTES("a: !!str [b]\n"), 1, "not accepted here"},
    {BYTES("a: !!map b\n"), 1, "not accepted here"},
    {BYTES("!!seq a: b\n"), 1, "not accepted here"},
    {BYTES("a: !!int abc\n"), 1, "the tag \"tag:yaml.org,2002:int\" does not fit \"abc\""},
    {BYTES("a: !!bool yes\n"), 1, "does not fit"},
    {BYTES("a: 1\n\nb: 2\na: 3\n"), 4, "the key \"a\" stands twice in one mapping, first in line 1"},
    {BYTES("x:\n  a: 1\n  \"a\": 3\n"), 3, "the key \"a\" stands twice in one mapping, first in line 2"},
    {BYTES("{a: 1, a: 1}"), 1, "stands twice"},
    {BYTES("80: 1\n'80': 1\n"), 2, "stands twice"},
    {BYTES("? [a]\n: b\n"), 1, "a key must be a scalar"},
    {BYTES("x: 1\n{a: b}: c\n"), 2, "key"},
    {BYTES("a: 1\nb: x\0y\n"), 2, "a NUL byte"},
    {BYTES("a: 1\nb: \"x\\0y\"\n"), 2, "an escaped NUL"},
    {BYTES("\"x\\0y\": 1\n"), 1, "an escaped NUL"},
    {BYTES("a: 1\r\nb: 2\rc: \xff\n"), 3, "the byte 0xff is not UTF-8"},
    {BYTES("a: \xc0\xaf\n"), 1, "0xc0"},
    {BYTES("a: \xed\xa0\x80\n"), 1, "0xed"},
    {BYTES("a: \xf4\x90\x80\x80\n"), 1, "0xf4"},
    {BYTES("a: \xe2\x82"), 1, "0xe2"},
    {BYTES("\xff\xfe" "a\0:\0 \0b\0"), 1, "UTF-16"},
    {BYTES("\xfe\xff\0a\0:\0 \0b"), 1, "UTF-16"},
    {BYTES("a: 1\nb: \x07\n"), 2, "control characters are not allowed (U+0007)"},
    {BYTES("a: 1\n\n\x7f\r"), 3, "control characters are not allowed"},
    {BYTES("\xef\xbb\xbf" "a: 1\n\x01"), 2, "control characters"},
    {BYTES("a: [1\n"), 2, "did not find expected ',' or ']' (while parsing a flow sequence from line 1)"},
    {BYTES("a: 1\n b: 2\n"), 2, "mapping values are not allowed"},
    {BYTES("a:\n\t- b\n"), 2, "cannot start any token"},
    {BYTES("a: \"x\n"), 2, "unexpected end of stream"},
    {BYTES("{\"a\": 1}\n{\"b\": 2}\n"), 2, "this does not belong to the document before it; put a line --- between two documents, or mend the indentation"},
    {BYTES("{\"a\":\n\"\\uD83D\\uDE00\"}"), 2, "an escaped half of a surrogate pair, as in \\uD83D\\uDE00, is not accepted; write "},
    {BYTES("a: \"\\q\"\n"), 1, "unknown escape"},
    {BYTES("%YAML 3.0\n---\na: 1\n"), 1, "incompatible"},
    {BYTES("- a\nb: c\n"), 2, ""},
    {BYTES("a: }\n"), 1, ""},
    {BYTES("a: 1\nb"), 2, "could not find expected ':'"},
    {BYTES("a: 1\n---\nb: @c\n"), 3, ""},
};

static void what_is_not_accepted_is_named_with_its_line(void **state)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct arena arena = {0};
		struct yaml_node *documents;
		struct yaml_error error;
		int result = parse(&arena, refusals[i].bytes, refusals[i].length, &documents, &error);

		if (result != -EBADMSG || documents != &untouched || error.line != refusals[i].line || error.text[0] == '\0' ||
		    strstr(error.text, refusals[i].says) == NULL)
			fail_msg("\"%s\": %d, line %u: %s; expected line %u: %s", refusals[i].bytes, result, error.line, error.text,
				 refusals[i].line, refusals[i].says);
		arena_free(&arena);
	}
}

/* `depth` times what opens a level, and as often what closes it. */
static int parse_nested(size_t depth, const char *open, const char *close, struct yaml_error *error)
{
	static char bytes[8000];
	struct arena arena = {0};
	struct yaml_node *documents;
	size_t length = 0;

	for (size_t i = 0; i < depth; i++)
		length += (size_t)snprintf(bytes + length, sizeof bytes - length, "%s", open);
	for (size_t i = 0; i < depth; i++)
		length += (size_t)snprintf(bytes + length, sizeof bytes - length, "%s", close);
	int result = parse(&arena, bytes, length, &documents, error);
	arena_free(&arena);
	return result;
}

static void nesting_is_bounded(void **state)
{
	static const char *const brackets[][2] = {{"[", "]"}, {"{a: ", "}"}, {"- ", ""}, {"[\n", "]\n"}, {"[{a: ", "}]"}};

	for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
		struct yaml_error error;
		size_t most = brackets[i][0][1] == '{' ? YAML_DEPTH_MOST / 2 : YAML_DEPTH_MOST;

		if (parse_nested(most, brackets[i][0], brackets[i][1], &error) != 0)
			fail_msg("%s: %s", brackets[i][0], error.text);
		assert_int_equal(parse_nested(most + 1, brackets[i][0], brackets[i][1], &error), -EBADMSG);
		assert_string_equal(error.text, "nested deeper than 64 levels");
		assert_int_equal(parse_nested(1000, brackets[i][0], "", &error), -EBADMSG);
		assert_string_equal(error.text, "nested deeper than 64 levels");
	}
}

/* Sorted or not, few or many, the first that repeats is found. */
static void keys_that_stand_twice_are_found_in_large_mappings(void **state)
{
	static char bytes[300000];

	for (int keys = 2; keys < 20000; keys = keys * 5 / 2 + 1) {
		struct arena arena = {0};
		struct yaml_node *documents;
		struct yaml_error error;
		size_t length = 0;

		for (int i = 0; i < keys; i++)
			length += (size_t)snprintf(bytes + length, sizeof bytes - length, "k%d: 1\n", i * 7919 % 100003);
		int result = parse(&arena, bytes, length, &documents, &error);
		if (result != 0)
			fail_msg("%d keys: %d, line %u: %s", keys, result, error.line, error.text);
		assert_int_equal(documents->count, keys);
		length += (size_t)snprintf(bytes + length, sizeof bytes - length, "k%d: 2\nk0: 3\n", 7919);
		assert_int_equal(parse(&arena, bytes, length, &documents, &error), -EBADMSG);
		assert_int_equal(error.line, keys + 1);
		assert_string_equal(error.text, "the key \"k7919\" stands twice in one mapping, first in line 2");
		arena_free(&arena);
	}
}

static void a_long_key_is_shortened_in_the_error(void **state)
{
	char bytes[400], key[120];
	struct arena arena = {0};
	struct yaml_node *documents;
	struct yaml_error error;

	memset(key, 'k', sizeof key);
	int length = snprintf(bytes, sizeof bytes, "%.*s: 1\n%.*s: 1\n", (int)sizeof key, key, (int)sizeof key, key);

	assert_int_equal(parse(&arena, bytes, (size_t)length, &documents, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "k\" stands twice in one mapping, first in line 1"));
	arena_free(&arena);
}

static void tag_directives_are_bounded(void **state)
{
	char bytes[4000];
	struct arena arena = {0};
	struct yaml_node *documents;
	struct yaml_error error;
	size_t length = 0;

	for (int i = 0; i < YAML_TAG_DIRECTIVES_MOST; i++)
		length += (size_t)snprintf(bytes + length, sizeof bytes - length, "%%TAG !t%d! tag:yaml.org,2002:\n", i);
	size_t head = length;
	length += (size_t)snprintf(bytes + length, sizeof bytes - length, "---\na: !t63!str 1\n");
	assert_int_equal(parse(&arena, bytes, length, &documents, &error), 0);
	assert_false(documents->children->plain);
	length = head + (size_t)snprintf(bytes + head, sizeof bytes - head, "%%TAG !t! x\n---\na: 1\n");
	assert_int_equal(parse(&arena, bytes, length, &documents, &error), -EBADMSG);
	assert_int_equal(error.line, YAML_TAG_DIRECTIVES_MOST + 1);
	assert_string_equal(error.text, "more than 64 %TAG directives");
	arena_free(&arena);
}

static void a_file_over_the_limit_is_not_looked_at(void **state)
{
	struct arena arena = {0};
	struct yaml_node *documents;
	struct yaml_error error;

	assert_int_equal(parse(&arena, "a", (size_t)YAML_BYTES_MOST + 1, &documents, &error), -EBADMSG);
	assert_string_equal(error.text, "larger than 64 MiB");
	assert_int_equal(parse(&arena, NULL, 0, &documents, &error), 0);
	assert_null(documents);
	arena_free(&arena);
}

static void fields_are_found_by_name(void **state)
{
	static const char bytes[] = "a: 1\nb: {a: 2}\nc: [a]\nd: ~\n";
	struct arena arena = {0};
	struct yaml_node *documents;
	struct yaml_error error;

	assert_int_equal(parse(&arena, BYTES(bytes), &documents, &error), 0);
	assert_string_equal(yaml_field(documents, "a")->text, "1");
	assert_string_equal(yaml_field(yaml_field(documents, "b"), "a")->text, "2");
	assert_null(yaml_field(documents, "e"));
	assert_null(yaml_field(yaml_field(documents, "c"), "a"));
	assert_null(yaml_field(yaml_field(documents, "a"), "a"));
	assert_true(yaml_is_null(yaml_field(documents, "d")));
	assert_false(yaml_is_null(yaml_field(documents, "b")));
	arena_free(&arena);
}

/* Separated by blanks, each as a plain scalar. */
static void plain_scalars_resolve_by_the_core_schema(void **state)
{
	static const struct {
		enum yaml_scalar scalar;
		const char *texts[24];
	} rows[] = {
	    {YAML_NULL, {"", "~", "null", "Null", "NULL"}},
	    {YAML_BOOL, {"true", "True", "TRUE", "false", "False", "FALSE"}},
	    {YAML_INT, {"0", "-0", "+7", "80", "010", "0o17", "0xfF", "99999999999999999999999"}},
	    {YAML_FLOAT, {"1.", ".5", "-1.5", "1e3", "1E-3", "+.5e+1", ".inf", "-.INF", "+.Inf", ".nan", "0.0"}},
	    {YAML_TEXT, {"nUll", "yes",  "tRue", "on",   "0o", "0x",   "0o8", "0xg", "-0x1", "1s",   "1.2.3", "1e", "1e+",
			 ".",    "-",    "+",    "e5",   "-.", ".e1",  "1_0", "1:30", "inf", "-.nan", "10.0.0.1"}},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (const char *const *text = rows[i].texts; text < rows[i].texts + 24 && *text != NULL; text++) {
			struct yaml_node node = {.type = YAML_SCALAR, .plain = true, .text = *text};

			if (yaml_resolve(&node) != rows[i].scalar)
				fail_msg("%s: %u, not %u", *text, yaml_resolve(&node), rows[i].scalar);
			assert_int_equal(yaml_is_null(&node), rows[i].scalar == YAML_NULL);
			node.plain = false;
			assert_int_equal(yaml_resolve(&node), YAML_TEXT);
			assert_false(yaml_is_null(&node));
		}
	}
}

static void characters_are_those_of_rfc_3629(void **state)
{
	static const struct {
		const char *bytes;
		size_t given, length;
	} rows[] = {
	    {"a", 1, 1},        {"a", 0, 0},        {"\0", 1, 1},           {"\x7f", 1, 1},         {"\x80", 1, 0},
	    {"\xc1\xbf", 2, 0}, {"\xc2\x80", 2, 2}, {"\xc2\x80", 1, 0},     {"\xdf\xbf", 2, 2},     {"\xc2\xc2", 2, 0},
	    {"\xe0\x9f\xbf", 3, 0},     {"\xe0\xa0\x80", 3, 3},     {"\xed\x9f\xbf", 3, 3},     {"\xed\xa0\x80", 3, 0},
	    {"\xef\xbf\xbf", 3, 3},     {"\xe2\x82\x41", 3, 0},     {"\xf0\x8f\xbf\xbf", 4, 0}, {"\xf0\x90\x80\x80", 4, 4},
	    {"\xf4\x8f\xbf\xbf", 4, 4}, {"\xf4\x90\x80\x80", 4, 0}, {"\xf5\x80\x80\x80", 4, 0}, {"\xf0\x90\x80\x80", 3, 0},
	    {"\xff", 1, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (yaml_character(rows[i].bytes, rows[i].given) != rows[i].length)
			fail_msg("row %zu: %zu, not %zu", i, yaml_character(rows[i].bytes, rows[i].given), rows[i].length);
}

/* What is written, NULL where it is the same as what was read. */
static const struct {
	const char *read, *written;
} copies[] = {
    {"a: 1\nb: '1'\nc: \"1\"\n", NULL},
    {"a: yes\nb: 0o17\nc: 1e3\nd: ~\ne:\nf: 1_000\ng: 2001-01-01\nh: =\n", NULL},
    {"yes: 1\n'no': 2\n8: 3\n? |\n  x\n: y\n", NULL},
    {"a: !!str 8\nb: !mine {c: d}\ne: !!seq []\nf: ! 8\n", "a: !!str 8\nb: !mine {c: d}\ne: !!seq []\nf: '8'\n"},
    {"a: &x {b: c}\nd: *x\ne:\n  <<: *x\n", NULL},
    {"a: |\n  b\n   c\n\n  d\ne: |2-\n    f\ng: |+\n  h\n\ni: >-\n  j\n", NULL},
    {"a: >-\n  b\n  c\n", "a: >-\n  b c\n"},
    {"# none\na: 1 # none\n--- {b: , c, ? d}\n--- # none\n---\n- e\n", "a: 1\n--- {b: null, c: null, d: null}\n---\n- e\n"},
    {"a: [-, \"x\": y, 1:20]\n", "a: ['-', {\"x\": y}, '1:20']\n"},
    {"{\"a\": \"b\\n\\u00e9\", \"c\": [1, true, null]}\n", "{\"a\": \"b\\n\xc3\xa9\", \"c\": [1, true, null]}\n"},
    {"a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccc\n", NULL},
};

static void what_is_read_as_written_is_written_so(void **state)
{
	for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
		const char *expected = copies[i].written != NULL ? copies[i].written : copies[i].read;
		struct arena arena = {0};
		struct yaml_node *documents = NULL, *again = NULL;
		struct yaml_error error;
		char *bytes = NULL;
		size_t length;
		FILE *to = open_memstream(&bytes, &length);

		if (yaml_parse_as_written(&arena, copies[i].read, strlen(copies[i].read), &documents, &error) != 0)
			fail_msg("row %zu: %s", i, error.text);
		assert_int_equal(yaml_write(documents, to), 0);
		fclose(to);
		if (strcmp(bytes, expected) != 0)
			fail_msg("row %zu: written:\n%s", i, bytes);
		assert_int_equal(yaml_parse_as_written(&arena, bytes, length, &again, &error), 0);
		assert_true(yaml_same(documents, again));
		free(bytes);
		arena_free(&arena);
	}
}

static const char *const differing[][2] = {
    {"a: 1", "a: '1'"}, {"a: 1", "a: 2"}, {"a: 1\nb: 2", "b: 2\na: 1"}, {"a: [b]", "a: [b, c]"}, {"a: &x b", "a: b"},
    {"a: !m b", "a: b"}, {"a: &x b\nc: *x", "a: &x b\nc: b"}, {"a: {}", "a: []"}, {"a: true", "a: 'true'"}, {"a: ", "a: ''"},
    {"a: 1\n---\nb: 1", "a: 1"},
};

static void what_differs_is_not_the_same(void **state)
{
	for (size_t i = 0; i < sizeof differing / sizeof *differing; i++) {
		struct arena arena = {0};
		struct yaml_node *both[2] = {NULL};
		struct yaml_error error;

		for (int j = 0; j < 2; j++)
			assert_int_equal(yaml_parse_as_written(&arena, differing[i][j], strlen(differing[i][j]), &both[j], &error), 0);
		assert_true(yaml_same(both[0], both[0]));
		if (yaml_same(both[0], both[1]))
			fail_msg("row %zu", i);
		arena_free(&arena);
	}
}

static void what_is_written_plain_is_text_everywhere(void **state)
{
	static const char *const plain[] = {"lapse-init", "--a=b", "/usr/bin/x", "lapse:0.1.0", "Always"};
	static const char *const quoted[] = {"yes", "No", "on", "y", "NULL", "true", "10m", "1", "-1", "", "a: b", "a #b", "a:", "---", "~", "a,b", "é"};

	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		assert_true(yaml_safe_plain(plain[i]));
	for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++)
		assert_false(yaml_safe_plain(quoted[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents_become_trees),
	    cmocka_unit_test(what_is_not_accepted_is_named_with_its_line),
	    cmocka_unit_test(nesting_is_bounded),
	    cmocka_unit_test(keys_that_stand_twice_are_found_in_large_mappings),
	    cmocka_unit_test(a_long_key_is_shortened_in_the_error),
	    cmocka_unit_test(tag_directives_are_bounded),
	    cmocka_unit_test(a_file_over_the_limit_is_not_looked_at),
	    cmocka_unit_test(fields_are_found_by_name),
	    cmocka_unit_test(plain_scalars_resolve_by_the_core_schema),
	    cmocka_unit_test(characters_are_those_of_rfc_3629),
	    cmocka_unit_test(what_is_read_as_written_is_written_so),
	    cmocka_unit_test(what_differs_is_not_the_same),
	    cmocka_unit_test(what_is_written_plain_is_text_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
