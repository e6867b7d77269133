/* A list and a watch, and an API server that misbehaves in every way it can. */
#include "proxy/publish/reflector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/publish/dialer.h"
#include "proxy/publish/kinds.h"
#include "tests/unit/proxy/publish_server.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
/* A body whose end is the connection's. */
#define OPEN "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
#define STATUS(line, more) "HTTP/1.1 " line "\r\nContent-Type: application/json\r\n" more "Connection: close\r\n\r\n"
#define OBJECT(name, version) \
	"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}\n"
#define BOOKMARK(version) "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"
#define LISTED(version)                                                                                                                 \
	"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"" version                                \
	"\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define ITEM(name, version) "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, more, items) "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" version "\"" more "},\"items\":[" items "]}"
#define ERROR(code, more) "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"said\",\"code\":" code more "}}\n"

#define INITIAL "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
#define FROM(version) "&resourceVersion=" version " "

struct seen {
	struct runner runner;
	struct server *server;
	struct dialer *dialer;
	struct reflector *reflector;
	struct watcher_counts counts;
	char told[8192]; /* "restart +web@5 synced -web" */
	const char *wanted;
	char sentence[512], verb[16];
};

__attribute__((format(printf, 2, 3))) static void tell(struct seen *seen, const char *format, ...)
{
	va_list arguments;
	size_t length = strlen(seen->told);

	va_start(arguments, format);
	vsnprintf(seen->told + length, sizeof seen->told - length, format, arguments);
	va_end(arguments);
}

static void on_object(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *version,
                      const struct yaml_node *object)
{
	assert_string_equal(namespace, "shop");
	tell(owner, "%c%s@%s ", object ? '+' : '-', name, version);
}

static void on_refused(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *sentence)
{
	struct seen *seen = owner;

	snprintf(seen->sentence, sizeof seen->sentence, "%s", sentence);
	tell(owner, "?%s/%s ", namespace, name);
}

static void on_restart(void *owner, struct reflector *reflector)
{
	tell(owner, "restart ");
}

static void on_synced(void *owner, struct reflector *reflector)
{
	tell(owner, "synced ");
}

static void on_absent(void *owner, struct reflector *reflector)
{
	struct seen *seen = owner;

	tell(owner, "absent ");
	reflector_free(reflector);
	seen->reflector = NULL;
}

static void on_reached(void *owner, struct reflector *reflector)
{
}

static void on_trouble(void *owner, struct reflector *reflector, enum reflector_trouble trouble, const char *sentence, const char *verb)
{
	static const char *const words[] = {"mended ", "unreachable ", "forbidden ", "trouble "};
	struct seen *seen = owner;

	tell(owner, "%s", words[trouble]);
	if (sentence)
		snprintf(seen->sentence, sizeof seen->sentence, "%s", sentence);
	snprintf(seen->verb, sizeof seen->verb, "%s", verb);
}

static const struct reflector_events events = {on_object, on_refused, on_restart, on_synced, on_absent, on_reached, on_trouble};

static bool all_told(void *owner)
{
	struct seen *seen = owner;

	return strlen(seen->told) >= strlen(seen->wanted) || seen->server->wrong[0];
}

static const struct watch_kind *find_kind(const char *plural)
{
	for (size_t i = 0; i < kinds_count(); i++)
		if (strcmp(kinds_at(i)->plural, plural) == 0)
			return kinds_at(i);
	return NULL;
}

static void begin(struct seen *seen, const struct server_step *steps, const char *plural, const char *namespace)
{
	*seen = (struct seen){0};
	runner_new(&seen->runner);
	seen->server = server_new(steps);
	assert_int_equal(dialer_new(&seen->dialer, seen->runner.loop, seen->runner.log, seen->server->cluster), 0);
	const struct watch_kind *kind = find_kind(plural);
	assert_int_equal(reflector_new(&seen->reflector, seen->dialer, kind, kind->versions[0], namespace, &seen->counts, &events, seen), 0);
}

static void expect(struct seen *seen, const char *wanted, int64_t hurry_ms)
{
	seen->wanted = wanted;
	runner_run(&seen->runner, all_told, seen, hurry_ms);
	assert_string_equal(seen->server->wrong, "");
	assert_string_equal(seen->told, wanted);
}

static void end(struct seen *seen)
{
	reflector_free(seen->reflector);
	int turns = 2;
	runner_run(&seen->runner, runner_never, &turns, 0);
	dialer_free(seen->dialer);
	runner_free(&seen->runner);
	assert_string_equal(seen->server->wrong, "");
	server_free(seen->server);
}

static void run(const struct server_step *steps, const char *wanted, int64_t hurry_ms)
{
	struct seen seen;

	begin(&seen, steps, "services", NULL);
	expect(&seen, wanted, hurry_ms);
	end(&seen);
}

/* --- as it should be --- */

static void list_comes_through_the_watch(void **state)
{
	static const struct server_step steps[] = {
	    {"GET /api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=",
	     OPEN EVENT("ADDED", "web", "5") LISTED("7") EVENT("MODIFIED", "web", "8") EVENT("DELETED", "web", "9"), AFTER_CLOSE},
	    {FROM("9"), OPEN BOOKMARK("12"), AFTER_CLOSE, .reject = "sendInitialEvents"},
	    {FROM("12"), OPEN EVENT("ADDED", "db", "13"), AFTER_HOLD},
	    {0},
	};

	run(steps, "restart +web@5 synced +web@8 -web@9 +db@13 ", 0);
}

static void namespaces_are_in_the_path(void **state)
{
	static const struct server_step services[] = {{"GET /api/v1/namespaces/shop/services?watch", OPEN LISTED("7"), AFTER_HOLD}, {0}};
	static const struct server_step one[] = {{"GET /api/v1/namespaces?fieldSelector=metadata.name%3Dshop&watch", OPEN LISTED("7"), AFTER_HOLD}, {0}};
	static const struct server_step group[] = {{"GET /apis/gateway.networking.k8s.io/v1/httproutes?watch", OPEN LISTED("7"), AFTER_HOLD}, {0}};
	struct seen seen;

	begin(&seen, services, "services", "shop");
	expect(&seen, "restart synced ", 0);
	end(&seen);
	begin(&seen, one, "namespaces", "shop");
	expect(&seen, "restart synced ", 0);
	end(&seen);
	begin(&seen, group, "httproutes", NULL);
	expect(&seen, "restart synced ", 0);
	end(&seen);
}

static void servers_without_it_are_listed_in_pages(void **state)
{
	static const struct server_step refuses[] = {
	    {INITIAL, STATUS("422 Unprocessable Entity", "") "{\"kind\":\"Status\",\"message\":\"sendInitialEvents is forbidden\"}", AFTER_CLOSE},
	    {"services?limit=500 ", OPEN LIST("20", ",\"continue\":\"a+b/c=\"", ITEM("web", "5") "," ITEM("db", "6")), AFTER_CLOSE},
	    {"limit=500&continue=a%2Bb%2Fc%3D ", OPEN LIST("20", "", ITEM("x", "7")), AFTER_CLOSE},
	    {FROM("20"), OPEN EVENT("DELETED", "x", "21"), AFTER_HOLD},
	    {0},
	};
	static const struct server_step etcd_cannot[] = {
	    {INITIAL, OPEN ERROR("500", ""), AFTER_CLOSE},
	    {"services?limit=500 ", OPEN LIST("20", "", ""), AFTER_CLOSE},
	    {FROM("20"), OPEN, AFTER_HOLD},
	    {0},
	};
	static const struct server_step ignores[] = {
	    {INITIAL, HEAD "0\r\n\r\n", AFTER_CLOSE},
	    {INITIAL, HEAD "0\r\n\r\n", AFTER_CLOSE},
	    {"services?limit=500 ", OPEN LIST("20", "", ""), AFTER_CLOSE},
	    {FROM("20"), OPEN, AFTER_HOLD},
	    {0},
	};

	run(refuses, "restart +web@5 +db@6 +x@7 synced -x@21 ", 0);
	run(etcd_cannot, "restart restart synced ", 0);
	run(ignores, "restart restart restart synced ", 5);
}

/* --- 410 --- */

static void gone_begins_a_full_list(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN LISTED("7"), AFTER_CLOSE},
	    {FROM("7"), STATUS("410 Gone", "") "{\"kind\":\"Status\",\"code\":410}", AFTER_CLOSE},
	    {INITIAL, OPEN EVENT("ADDED", "web", "30") LISTED("31") ERROR("410", ""), AFTER_CLOSE},
	    {INITIAL, OPEN LISTED("40"), AFTER_HOLD},
	    {0},
	};
	struct seen seen;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "restart synced restart +web@30 synced restart synced ", 5);
	assert_int_equal(seen.counts.gone, 2);
	assert_int_equal(seen.counts.restarts, 2);
	end(&seen);
}

static void gone_between_pages_begins_again(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, STATUS("400 Bad Request", ""), AFTER_CLOSE},
	    {"limit=500 ", OPEN LIST("20", ",\"continue\":\"c\"", ITEM("web", "5")), AFTER_CLOSE},
	    {"continue=c ", STATUS("410 Gone", "") "{\"kind\":\"Status\",\"metadata\":{\"continue\":\"d\"}}", AFTER_CLOSE},
	    {"limit=500 ", OPEN LIST("30", "", ITEM("db", "6")), AFTER_CLOSE},
	    {FROM("30"), OPEN, AFTER_HOLD},
	    {0},
	};

	run(steps, "restart +web@5 restart +db@6 synced ", 0);
}

/* --- pauses --- */

static void too_many_requests_are_waited_for(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN LISTED("7"), AFTER_CLOSE},
	    {FROM("7"), STATUS("429 Too Many Requests", "Retry-After: 20\r\n"), AFTER_CLOSE},
	    {FROM("7"), OPEN ERROR("429", ",\"details\":{\"retryAfterSeconds\":20}"), AFTER_CLOSE},
	    {FROM("7"), OPEN EVENT("ADDED", "web", "8"), AFTER_HOLD},
	    {0},
	};
	struct seen seen;
	int64_t before = clock_ahead_ms;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "restart synced +web@8 ", 20);
	assert_true(clock_ahead_ms - before >= 35000); /* most of 40 s was jumped over */
	assert_int_equal(seen.counts.throttled, 2);
	assert_int_equal(seen.counts.requests, 4);
	end(&seen);
}

static void forbidden_is_said_and_asked_for_each_minute(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, STATUS("403 Forbidden", "") "{\"kind\":\"Status\",\"message\":\"u cannot watch\"}", AFTER_CLOSE},
	    {INITIAL, STATUS("403 Forbidden", "") "{\"kind\":\"Status\",\"message\":\"u cannot watch\"}", AFTER_CLOSE},
	    {INITIAL, OPEN LISTED("7"), AFTER_HOLD},
	    {0},
	};
	struct seen seen;
	int64_t before = clock_ahead_ms;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "forbidden ", 0);
	assert_string_equal(seen.sentence, "u cannot watch");
	assert_string_equal(seen.verb, "watch");
	expect(&seen, "forbidden restart mended synced ", 50);
	assert_true(clock_ahead_ms - before >= 110000);
	end(&seen);
}

static void a_token_that_has_expired_is_read_anew(void **state)
{
	static const struct server_step steps[] = {
	    {"Bearer first\r\n", OPEN LISTED("7"), AFTER_CLOSE},
	    {"Bearer first\r\n", STATUS("401 Unauthorized", ""), AFTER_CLOSE},
	    {"Bearer second\r\n", OPEN EVENT("ADDED", "web", "8"), AFTER_CLOSE},
	    {FROM("8"), STATUS("401 Unauthorized", ""), AFTER_CLOSE}, /* and now the new one is not taken either */
	    {FROM("8"), OPEN, AFTER_HOLD},
	    {0},
	};
	struct seen seen;
	char path[] = "/tmp/lapse-unit-XXXXXX";
	int fd = mkstemp(path);
	TEXT_ON_STACK(error, 512);

	assert_true(fd >= 0 && write(fd, "first\n", 6) == 6);
	begin(&seen, steps, "services", NULL);
	FILE *config = fopen(seen.server->path, "w");
	fprintf(config, "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: "
	        "'http://127.0.0.1:%u'}}], users: [{name: u, user: {tokenFile: '%s'}}]}\n", seen.server->port, path);
	fclose(config);
	reflector_free(seen.reflector);
	int turns = 2;
	runner_run(&seen.runner, runner_never, &turns, 0);
	dialer_free(seen.dialer);
	cluster_free(seen.server->cluster);
	assert_int_equal(cluster_kubeconfig(&seen.server->cluster, seen.server->path, NULL, &error), 0);
	assert_int_equal(dialer_new(&seen.dialer, seen.runner.loop, seen.runner.log, seen.server->cluster), 0);
	assert_int_equal(reflector_new(&seen.reflector, seen.dialer, find_kind("services"), "v1", NULL, &seen.counts, &events, &seen), 0);
	seen.told[0] = '\0';
	expect(&seen, "restart synced ", 0);
	assert_true(pwrite(fd, "second\n", 7, 0) == 7);
	expect(&seen, "restart synced +web@8 trouble mended ", 5);
	close(fd);
	unlink(path);
	end(&seen);
}

/* --- what is half, silent or gone --- */

static void half_an_event_is_no_event(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN LISTED("7") "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"w", AFTER_CLOSE},
	    {FROM("7"), HEAD "40\r\n{\"type\":\"ADDED\",\"obj", AFTER_RESET},
	    {FROM("7"), OPEN "{\"type\":\"ADDED\",\"object\":", AFTER_HOLD, .later = OBJECT("web", "8") "}"},
	    {0},
	};

	run(steps, "restart synced +web@8 ", 0);
}

static void a_list_cut_short_begins_again(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN EVENT("ADDED", "web", "5"), AFTER_RESET},
	    {INITIAL, OPEN EVENT("ADDED", "web", "6") LISTED("7"), AFTER_HOLD, .reject = "resourceVersion="},
	    {0},
	};

	run(steps, "restart +web@5 restart +web@6 synced ", 0);
}

static void silence_ends_a_watch(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN LISTED("7"), AFTER_HOLD},           /* until timeoutSeconds and the grace are over */
	    {FROM("7"), OPEN BOOKMARK("8"), AFTER_HOLD},       /* bookmarks have come: until two were missed */
	    {FROM("8"), NULL, AFTER_HOLD},                     /* not even a head */
	    {FROM("8"), OPEN EVENT("ADDED", "web", "9"), AFTER_HOLD},
	    {0},
	};
	struct seen seen;
	int64_t before = clock_ahead_ms;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "restart synced +web@9 ", 400);
	assert_in_range(clock_ahead_ms - before, 240000 + 15000 + 150000 + 45000 - 5000, 300000 + 15000 + 150000 + 45000 + 60000);
	end(&seen);
}

static bool is_told_unreachable(void *owner)
{
	return strstr(((struct seen *)owner)->told, "unreachable") != NULL;
}

static void a_server_that_dies_is_said_once_and_found_again(void **state)
{
	static const struct server_step steps[] = {{INITIAL, OPEN LISTED("7"), AFTER_CLOSE}, {0}};
	static const struct server_step again[] = {{FROM("7"), OPEN EVENT("ADDED", "web", "8"), AFTER_HOLD}, {0}};
	struct seen seen;
	int nothing = 400;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "restart synced ", 0);
	shutdown(seen.server->listener, SHUT_RDWR);
	pthread_join(seen.server->thread, NULL);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(seen.server->port)};
	close(seen.server->listener);
	assert_true(runner_run(&seen.runner, is_told_unreachable, &seen, 50));
	runner_run(&seen.runner, runner_never, &nothing, 750); /* five minutes */
	assert_string_equal(seen.told, "restart synced unreachable ");
	assert_in_range(seen.counts.requests, 8, 40); /* at most every 15 s once it has been gone for a while */
	seen.server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(seen.server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
	assert_int_equal(bind(seen.server->listener, (void *)&address, sizeof address), 0);
	assert_int_equal(listen(seen.server->listener, 16), 0);
	seen.server->steps = again;
	seen.server->taken = 0;
	assert_int_equal(pthread_create(&seen.server->thread, NULL, server_run, seen.server), 0);
	reflector_hurry(seen.reflector);
	expect(&seen, "restart synced unreachable mended +web@8 ", 2);
	end(&seen);
}

static void a_watch_cut_again_and_again_goes_on(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN LISTED("1"), AFTER_RESET},
	    {FROM("1"), OPEN EVENT("ADDED", "a", "2"), AFTER_RESET},
	    {FROM("2"), OPEN EVENT("ADDED", "b", "3"), AFTER_CLOSE},
	    {FROM("3"), OPEN EVENT("ADDED", "c", "4"), AFTER_RESET},
	    {FROM("4"), OPEN EVENT("ADDED", "d", "5"), AFTER_HOLD},
	    {0},
	};

	run(steps, "restart synced +a@2 +b@3 +c@4 +d@5 ", 5);
}

/* --- kinds and objects --- */

static void a_kind_that_is_gone_is_absent(void **state)
{
	static const struct server_step steps[] = {{"httproutes", STATUS("404 Not Found", ""), AFTER_CLOSE}, {0}};
	struct seen seen;

	begin(&seen, steps, "httproutes", NULL);
	expect(&seen, "absent ", 0);
	end(&seen);
}

static void a_bad_object_costs_no_other(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN EVENT("ADDED", "a", "1") "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"big\",\"namespace\":\"shop\"},\"x\":\"", AFTER_HOLD,
	     .filler = (5 << 20), .later = "\"}}" EVENT("ADDED", "b", "2") "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"bad\xff\"}}}" "{\"type\":\"ADDED\",\"object\":{\"spec\":{}}}" LISTED("7")},
	    {0},
	};
	struct seen seen;

	begin(&seen, steps, "services", NULL);
	expect(&seen, "restart +a@1 ?shop/big +b@2 ?/bad\xff ?/ synced ", 0);
	end(&seen);
}

static void what_is_no_json_is_said(void **state)
{
	static const struct server_step steps[] = {
	    {INITIAL, OPEN "<html>", AFTER_CLOSE}, {INITIAL, OPEN LISTED("7"), AFTER_HOLD}, {0}};

	run(steps, "restart trouble restart mended synced ", 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_comes_through_the_watch),
	    cmocka_unit_test(namespaces_are_in_the_path),
	    cmocka_unit_test(servers_without_it_are_listed_in_pages),
	    cmocka_unit_test(gone_begins_a_full_list),
	    cmocka_unit_test(gone_between_pages_begins_again),
	    cmocka_unit_test(too_many_requests_are_waited_for),
	    cmocka_unit_test(forbidden_is_said_and_asked_for_each_minute),
	    cmocka_unit_test(a_token_that_has_expired_is_read_anew),
	    cmocka_unit_test(half_an_event_is_no_event),
	    cmocka_unit_test(a_list_cut_short_begins_again),
	    cmocka_unit_test(silence_ends_a_watch),
	    cmocka_unit_test(a_server_that_dies_is_said_once_and_found_again),
	    cmocka_unit_test(a_watch_cut_again_and_again_goes_on),
	    cmocka_unit_test(a_kind_that_is_gone_is_absent),
	    cmocka_unit_test(a_bad_object_costs_no_other),
	    cmocka_unit_test(what_is_no_json_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
