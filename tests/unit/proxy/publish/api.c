#include "proxy/publish/api.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/config/yaml.h"
#include "tests/unit/proxy/publish_server.h"

#define ANSWER(line, more, body, length) "HTTP/1.1 " line "\r\nContent-Type: application/json\r\n" more "Content-Length: " length "\r\n\r\n" body

struct seen {
	struct runner runner;
	struct server *server;
	struct api *api;
	char told[2048];
	int calls, wanted;
};

static void on_done(void *owner, int status, const struct yaml_node *tree, int64_t retry_after_ms, const char *error)
{
	struct seen *seen = owner;
	size_t length = strlen(seen->told);
	const struct yaml_node *name = tree ? yaml_field(tree, "n") : NULL;

	snprintf(seen->told + length, sizeof seen->told - length, "%d %s %d %s|", status, name ? name->text : "-", (int)retry_after_ms, error ? error : "-");
	seen->calls++;
}

static bool all_done(void *owner)
{
	struct seen *seen = owner;

	return seen->calls >= seen->wanted;
}

static void begin(struct seen *seen, const struct server_step *steps)
{
	*seen = (struct seen){0};
	runner_new(&seen->runner);
	seen->server = server_new(steps);
	assert_int_equal(api_new(&seen->api, seen->runner.loop, seen->runner.log, seen->server->cluster), 0);
}

static void send_get(struct seen *seen, const char *path)
{
	struct api_request request = {.method = "GET", .path = path, .done = on_done, .owner = seen};

	assert_int_equal(api_send(seen->api, &request), 0);
	seen->wanted++;
}

static void expect(struct seen *seen, const char *wanted, int64_t hurry_ms)
{
	runner_run(&seen->runner, all_done, seen, hurry_ms);
	assert_string_equal(seen->server->wrong, "");
	assert_string_equal(seen->told, wanted);
}

static void end(struct seen *seen)
{
	api_free(seen->api);
	runner_free(&seen->runner);
	server_free(seen->server);
}

static void requests_go_in_order_over_one_connection(void **state)
{
	static const struct server_step steps[] = {
	    {"GET /a HTTP/1.1\r\nHost: 127.0.0.1:", ANSWER("200 OK", "", "{\"n\":1}", "7")},
	    {"Content-Type: application/apply-patch+yaml\r\nContent-Length: 3\r\n\r\nx\ty", ANSWER("201 Created", "", "{\"n\":2}", "7")},
	    {"GET /c ", ANSWER("429 Too Many Requests", "Retry-After: 3\r\n", "{\"kind\":\"Status\",\"message\":\"slow\"}", "34")},
	    {"GET /d ", "HTTP/1.1 503 Unavailable\r\nContent-Length: 4\r\n\r\nbusy"},
	    {"GET /e ", "HTTP/1.1 100 Continue\r\n\r\n" ANSWER("200 OK", "", "{\"n\"", "4")},
	    {0},
	};
	struct seen seen;

	begin(&seen, steps);
	send_get(&seen, "/a");
	struct api_request patch = {"PATCH", "/b", "application/apply-patch+yaml", "x\ty", 3, on_done, &seen};
	assert_int_equal(api_send(seen.api, &patch), 0);
	seen.wanted++;
	send_get(&seen, "/c");
	send_get(&seen, "/d");
	send_get(&seen, "/e");
	runner_run(&seen.runner, all_done, &seen, 0);
	assert_string_equal(seen.server->wrong, "");
	assert_memory_equal(seen.told, "200 1 -1 -|201 2 -1 -|429 - 3000 slow|503 - -1 the API server answered 503|0 - -1 the answer cannot be read: ", 106);
	assert_int_equal(seen.server->connections, 1);
	end(&seen);
}

static void a_kept_connection_that_is_gone_is_made_anew(void **state)
{
	static const struct server_step steps[] = {
	    {"GET /a ", ANSWER("200 OK", "", "{\"n\":1}", "7")},
	    {"GET /b ", NULL, AFTER_RESET},
	    {"GET /b ", ANSWER("200 OK", "", "{\"n\":2}", "7")},
	    {"GET /c ", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", AFTER_RESET},
	    {0},
	};
	struct seen seen;

	begin(&seen, steps);
	send_get(&seen, "/a");
	send_get(&seen, "/b");
	expect(&seen, "200 1 -1 -|200 2 -1 -|", 0);
	send_get(&seen, "/c"); /* was taken up: the owner decides */
	runner_run(&seen.runner, all_done, &seen, 0);
	assert_memory_equal(seen.told + 22, "0 - -1 ", 7);
	end(&seen);
}

static void silence_fails_a_request_and_not_the_next(void **state)
{
	static const struct server_step steps[] = {{"GET /a ", NULL, AFTER_HOLD}, {"GET /b ", ANSWER("200 OK", "", "{\"n\":2}", "7")}, {0}};
	struct seen seen;

	begin(&seen, steps);
	send_get(&seen, "/a");
	send_get(&seen, "/b");
	expect(&seen, "0 - -1 the API server went silent|200 2 -1 -|", 50);
	end(&seen);
}

static void nobody_there_fails_all_that_wait(void **state)
{
	static const struct server_step steps[] = {{0}};
	struct seen seen;

	begin(&seen, steps);
	shutdown(seen.server->listener, SHUT_RDWR);
	send_get(&seen, "/a");
	send_get(&seen, "/b");
	runner_run(&seen.runner, all_done, &seen, 0);
	assert_int_equal(seen.calls, 2);
	assert_non_null(strstr(seen.told, ": Connection refused|0"));
	end(&seen);
}

static void the_forgotten_are_not_told(void **state)
{
	static const struct server_step steps[] = {
	    {"GET /a ", ANSWER("200 OK", "", "{\"n\":1}", "7")}, {"GET /c ", ANSWER("200 OK", "", "{\"n\":3}", "7")}, {0}};
	struct seen seen, other = {0};
	struct api_request request = {.method = "GET", .path = "/a", .done = on_done, .owner = &other};

	begin(&seen, steps);
	assert_int_equal(api_send(seen.api, &request), 0);
	request.path = "/b";
	assert_int_equal(api_send(seen.api, &request), 0);
	api_forget(seen.api, &other);
	send_get(&seen, "/c");
	expect(&seen, "200 3 -1 -|", 0);
	assert_int_equal(other.calls, 0);
	end(&seen);
}

static void paths_are_escaped(void **state)
{
	TEXT_ON_STACK(out, 64);

	api_escape(&out, "a-b.c/d e%?&=+\xc3\xa4");
	assert_string_equal(out.data, "a-b.c%2Fd%20e%25%3F%26%3D%2B%C3%A4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_go_in_order_over_one_connection), cmocka_unit_test(a_kept_connection_that_is_gone_is_made_anew),
	    cmocka_unit_test(silence_fails_a_request_and_not_the_next), cmocka_unit_test(nobody_there_fails_all_that_wait),
	    cmocka_unit_test(the_forgotten_are_not_told),               cmocka_unit_test(paths_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
