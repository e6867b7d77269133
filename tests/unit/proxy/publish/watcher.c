/* All kinds at once: discovery, and what the reflectors say. The server answers by path. */
#include "proxy/publish/watcher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/publish/api.h"
#include "proxy/publish/kinds.h"
#include "proxy/publish/watcher_grant.h"
#include "tests/unit/proxy/publish_server.h"

#define JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define NOT_FOUND "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
#define FORBIDDEN "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"kind\":\"Status\",\"message\":\"no\"}"
#define LISTED "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"

/* A thread a connection; the first row of which `path` is in the request answers. */
struct row {
	const char *path, *answer;
	bool hold;
};
static _Atomic(const struct row *) rows;
static atomic_int requests;

static void *answer(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char request[8192];

	if (server_read(fd, request, sizeof request)) {
		const struct row *row = rows;

		requests++;
		while (row->path && !strstr(request, row->path))
			row++;
		server_send(fd, row->path ? row->answer : NOT_FOUND);
		if (row->path && row->hold)
			while (read(fd, request, sizeof request) > 0)
				continue;
	}
	close(fd);
	return NULL;
}

static void *accept_all(void *argument)
{
	struct server *server = argument;
	pthread_t thread;
	int fd;

	while ((fd = accept(server->listener, NULL, NULL)) >= 0)
		if (!pthread_create(&thread, NULL, answer, (void *)(intptr_t)fd))
			pthread_detach(thread);
	return NULL;
}

struct seen {
	struct runner runner;
	struct server *server;
	struct api *api;
	struct watcher *watcher;
	int synced, absent, forbidden, mended, unreachable;
	const struct watch_kind *last;
	char sentence[512], grant[2048], namespaces[256];
	int wanted_synced, wanted_absent, wanted_forbidden;
};

static void on_object(void *owner, const struct watch_kind *kind, const char *namespace, const char *name, const char *version, const struct yaml_node *object)
{
}

static void on_refused(void *owner, const struct watch_kind *kind, const char *namespace, const char *name, const char *sentence)
{
}

static void on_restart(void *owner, const struct watch_kind *kind, const char *namespace)
{
}

static void on_synced(void *owner, const struct watch_kind *kind, const char *namespace)
{
	struct seen *seen = owner;

	seen->synced++;
	seen->last = kind;
	if (namespace)
		snprintf(seen->namespaces + strlen(seen->namespaces), sizeof seen->namespaces - strlen(seen->namespaces), "%s/%s ", kind->plural, namespace);
}

static void on_absent(void *owner, const struct watch_kind *kind)
{
	((struct seen *)owner)->absent++;
}

static void on_problem(void *owner, const struct watch_kind *kind, const char *namespace, const char *sentence, const char *grant)
{
	struct seen *seen = owner;

	seen->mended += !sentence;
	seen->unreachable += sentence && !kind;
	if (!grant)
		return;
	seen->forbidden++;
	snprintf(seen->sentence, sizeof seen->sentence, "%s", sentence);
	snprintf(seen->grant, sizeof seen->grant, "%s", grant);
}

static const struct watcher_events events = {on_object, on_refused, on_restart, on_synced, on_absent, on_problem};

static bool enough(void *owner)
{
	struct seen *seen = owner;

	return seen->synced >= seen->wanted_synced && seen->absent >= seen->wanted_absent && seen->forbidden >= seen->wanted_forbidden;
}

static void begin(struct seen *seen, const struct row *first, const char *const *namespaces)
{
	static const struct server_step none[] = {{0}};

	*seen = (struct seen){0};
	rows = first;
	runner_new(&seen->runner);
	seen->server = server_new(none);
	shutdown(seen->server->listener, SHUT_RDWR);
	pthread_join(seen->server->thread, NULL);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(seen->server->port)};
	close(seen->server->listener);
	seen->server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(seen->server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	assert_int_equal(bind(seen->server->listener, (void *)&address, sizeof address), 0);
	assert_int_equal(listen(seen->server->listener, 64), 0);
	assert_int_equal(pthread_create(&seen->server->thread, NULL, accept_all, seen->server), 0);
	assert_int_equal(api_new(&seen->api, seen->runner.loop, seen->runner.log, seen->server->cluster), 0);
	assert_int_equal(watcher_new(&seen->watcher, seen->runner.loop, seen->runner.log, seen->api, namespaces, "lapse:publisher", &events, seen), 0);
}

static void run(struct seen *seen, int synced, int absent, int forbidden, int64_t hurry_ms)
{
	seen->wanted_synced = synced;
	seen->wanted_absent = absent;
	seen->wanted_forbidden = forbidden;
	assert_true(runner_run(&seen->runner, enough, seen, hurry_ms));
}

static void end(struct seen *seen)
{
	watcher_free(seen->watcher);
	api_free(seen->api);
	runner_free(&seen->runner);
	server_free(seen->server);
}

#define BUILT_IN                                                                                                                            \
	{"GET /api/v1/namespaces?watch", JSON LISTED, true}, {"GET /api/v1/services?watch", JSON LISTED, true},                             \
	{                                                                                                                                   \
		"GET /apis/networking.k8s.io/v1/ingresses?watch", JSON LISTED, true                                                         \
	}

static void kinds_come_and_go(void **state)
{
	static const struct row none[] = {BUILT_IN, {0}};
	static const struct row some[] = {
	    BUILT_IN,
	    {"GET /apis/gateway.networking.k8s.io ", JSON "{\"versions\":[{\"version\":\"v1beta1\"},{\"version\":\"v1\"}]}"},
	    {"GET /apis/gateway.networking.k8s.io/v1 ", JSON "{\"resources\":[{\"name\":\"httproutes/status\",\"verbs\":[\"get\"]},{\"name\":\"grpcroutes\",\"verbs\":[\"list\",\"watch\"]}]}"},
	    {"GET /apis/gateway.networking.k8s.io/v1beta1 ", JSON "{\"resources\":[{\"name\":\"httproutes\",\"verbs\":[\"list\",\"watch\"]}]}"},
	    {"GET /apis/gateway.networking.k8s.io/v1/grpcroutes?watch", JSON LISTED, true},
	    {"GET /apis/gateway.networking.k8s.io/v1beta1/httproutes?watch", JSON LISTED, true},
	    {0},
	};
	struct seen seen;

	begin(&seen, none, NULL);
	run(&seen, 3, 10, 0, 0);
	int before = requests;
	int64_t at = clock_ahead_ms;
	rows = some;
	run(&seen, 5, 10, 0, 50);
	assert_in_range(clock_ahead_ms - at, 55000, 80000); /* a minute */
	assert_in_range(requests - before, 5, 12);
	end(&seen);
}

static void rights_that_are_missing_are_named(void **state)
{
	static const struct row some[] = {{"/namespaces/shop/services", FORBIDDEN}, {"/namespaces/", JSON LISTED, true}, {"fieldSelector=metadata.name%3D", JSON LISTED, true}, {0}};
	static const char *const namespaces[] = {"shop", "pay", NULL};
	struct seen seen;

	begin(&seen, some, namespaces);
	run(&seen, 5, 10, 1, 0);
	assert_string_equal(seen.sentence, "may not watch services in namespace shop: no");
	assert_string_equal(seen.grant,
	                    "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: lapse-publish-services\n  namespace: shop\n"
	                    "rules:\n  - apiGroups: [\"\"]\n    resources: [services]\n    verbs: [get, list, watch]\n---\n"
	                    "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: lapse-publish-services\n  namespace: shop\n"
	                    "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: lapse-publish-services\n"
	                    "subjects:\n  - kind: ServiceAccount\n    namespace: lapse\n    name: publisher\n");
	assert_non_null(strstr(seen.namespaces, "services/pay "));
	assert_non_null(strstr(seen.namespaces, "namespaces/shop "));
	end(&seen);
}

static void grants_fit_what_is_watched(void **state)
{
	TEXT_ON_STACK(whole, 2048);
	TEXT_ON_STACK(one, 2048);

	watcher_grant(&whole, kinds_at(3), NULL, NULL);
	assert_non_null(strstr(whole.data, "kind: ClusterRole\nmetadata:\n  name: lapse-publish-httproutes.gateway.networking.k8s.io\nrules:"));
	assert_non_null(strstr(whole.data, "apiGroups: [\"gateway.networking.k8s.io\"]"));
	assert_non_null(strstr(whole.data, "kind: ClusterRoleBinding"));
	watcher_grant(&one, kinds_at(0), "shop", "a:b");
	assert_non_null(strstr(one.data, "resourceNames: [shop]"));
	assert_false(whole.truncated || one.truncated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_come_and_go), cmocka_unit_test(rights_that_are_missing_are_named), cmocka_unit_test(grants_fit_what_is_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
