#include "proxy/publish/json_stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

struct gathered {
	char text[2048];
	int most;
};

static bool take(void *owner, const char *bytes, size_t length, bool cut)
{
	struct gathered *gathered = owner;
	size_t at = strlen(gathered->text);

	snprintf(gathered->text + at, sizeof gathered->text - at, "%.*s%s|", (int)length, bytes, cut ? "..." : "");
	return --gathered->most != 0;
}

/* In pieces of every size: the same objects, the same rest. */
static void cuts(enum json_stream_form form, size_t most, const char *bytes, int result, const char *want, const char *rest)
{
	for (size_t piece = 1; piece <= strlen(bytes); piece++) {
		struct gathered gathered = {.most = -1};
		struct json_stream stream = {form, most, take, &gathered};
		int got = 0;
		size_t length;

		for (size_t at = 0; at < strlen(bytes) && got == 0; at += piece)
			got = json_stream_feed(&stream, bytes + at, piece < strlen(bytes) - at ? piece : strlen(bytes) - at);
		assert_int_equal(got, result);
		assert_string_equal(gathered.text, want);
		if (rest) {
			const char *found = json_stream_rest(&stream, &length);
			assert_int_equal(length, strlen(rest));
			assert_memory_equal(found, rest, length);
			assert_true(json_stream_is_whole(&stream));
		}
		json_stream_reset(&stream);
	}
}

static void events_are_cut(void **state)
{
	cuts(JSON_STREAM_EVENTS, 100, "{\"a\":{\"b\":\"}{\\\"\"}}\n {\"c\":[{}]}{}\r\n", 0, "{\"a\":{\"b\":\"}{\\\"\"}}|{\"c\":[{}]}|{}|", NULL);
	cuts(JSON_STREAM_EVENTS, 100, "{} x", -EBADMSG, "{}|", NULL);
	cuts(JSON_STREAM_EVENTS, 100, "[1]", -EBADMSG, "", NULL);
	cuts(JSON_STREAM_EVENTS, 5, "{\"a\":\"123456789\"}{\"b\":1}", 0, "{\"a\":...|{\"b\":...|", NULL);
}

static void items_are_cut_out_of_a_list(void **state)
{
	cuts(JSON_STREAM_LIST, 100, "{\"kind\":\"items\",\"metadata\":{\"items\":[7]},\"items\":[{\"n\":\"]\"}, {\"m\":{\"items\":[{}]}}],\"z\":[1,{}]}\n", 0,
	     "{\"n\":\"]\"}|{\"m\":{\"items\":[{}]}}|", "{\"kind\":\"items\",\"metadata\":{\"items\":[7]},\"items\":[],\"z\":[1,{}]}\n");
	cuts(JSON_STREAM_LIST, 100, "{\"items\":[],\"a\":{}}", 0, "", "{\"items\":[],\"a\":{}}");
	cuts(JSON_STREAM_LIST, 100, "{\"items\":null}", 0, "", "{\"items\":null}");
	cuts(JSON_STREAM_LIST, 100, "{\"items\":[1]}", -EBADMSG, "", NULL);
	cuts(JSON_STREAM_LIST, 3, "{\"items\":[{\"n\":1},{}]}", 0, "{\"n...|{}|", "{\"items\":[]}");
	cuts(JSON_STREAM_LIST, 100, "{}{}", -EBADMSG, "", NULL);
}

static void the_rest_is_bounded_and_the_taker_may_stop(void **state)
{
	static char big[JSON_STREAM_REST_MOST + 16];
	struct gathered gathered = {.most = 1};
	struct json_stream stream = {JSON_STREAM_LIST, 100, take, &gathered};

	memset(big, 'x', sizeof big);
	big[0] = '{';
	assert_int_equal(json_stream_feed(&stream, big, sizeof big), -EMSGSIZE);
	json_stream_reset(&stream);
	stream.form = JSON_STREAM_EVENTS;
	assert_int_equal(json_stream_feed(&stream, "{}{}", 4), -ECANCELED);
	assert_string_equal(gathered.text, "{}|");
	json_stream_reset(&stream);
}

static void names_are_found_in_beginnings(void **state)
{
	static const char event[] = "{\"type\":\"ADDED\",\"object\":{\"name\":\"no\",\"metadata\":{\"labels\":{\"name\":\"no\"},\"name\":\"web\",\"namespace\":\"shop\"},\"x\":\"yyy";
	TEXT_ON_STACK(namespace, 64);
	TEXT_ON_STACK(name, 64);

	json_stream_find_name(event, strlen(event), true, &namespace, &name);
	assert_string_equal(namespace.data, "shop");
	assert_string_equal(name.data, "web");
	for (size_t length = 0; length < strlen(event); length++) { /* nothing is read behind the end */
		TEXT_ON_STACK(a, 64);
		TEXT_ON_STACK(b, 64);
		json_stream_find_name(event, length, true, &a, &b);
		assert_true(b.length == 0 || strcmp(b.data, "web") == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_are_cut), cmocka_unit_test(items_are_cut_out_of_a_list),
	    cmocka_unit_test(the_rest_is_bounded_and_the_taker_may_stop), cmocka_unit_test(names_are_found_in_beginnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
