#ifndef LAPSE_TESTS_UNIT_PROXY_POLICY_WORLD_H
#define LAPSE_TESTS_UNIT_PROXY_POLICY_WORLD_H

/* Policies of documents as users write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/config/config.h"
#include "proxy/config/diagnostics.h"
#include "proxy/http1/http1_request.h"
#include "proxy/policy/policy.h"
#include "proxy/settings/settings.h"

/* A policy of documents, pod annotations and flags. */
struct world {
	struct settings settings;
	struct config *config;
	struct policy *policy;
	char directory[64];
};

static inline void world_write(const struct world *world, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", world->directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text ? text : "", file);
	fclose(file);
}

static inline void world_remove(const struct world *world, const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", world->directory, name);
	unlink(path);
}

static inline void world_new(struct world *world, const char *documents, const char *annotations, const char *labels,
                             const char *const *flags, const struct policy_question *question)
{
	static char *environment[] = {NULL};
	static char program[] = "lapse-proxy";
	char *argv[16] = {program};
	int argc = 1, command;
	const char *file;
	char path[128];
	struct config_paths paths;
	TEXT_ON_STACK(error, 256);

	for (; flags && *flags; flags++)
		argv[argc++] = (char *)*flags;
	assert_int_equal(settings_parse(argc, argv, environment, &world->settings, &command, &error), 0);
	strcpy(world->directory, "/tmp/lapse-policy-XXXXXX");
	assert_non_null(mkdtemp(world->directory));
	world_write(world, "documents.yaml", documents);
	world_write(world, "annotations", annotations);
	world_write(world, "labels", labels);
	snprintf(path, sizeof path, "%s/documents.yaml", world->directory);
	file = path;
	paths = (struct config_paths){&file, 1, world->directory, "clients"};
	assert_int_equal(config_load(&world->config, &paths, NULL), 0);
	if (world->config->diagnostics.errors)
		fail_msg("%s", world->config->diagnostics.first->text);
	world->policy = policy_new(&world->settings.policy, world->config, NULL, NULL, NULL, question);
	assert_non_null(world->policy);
}

static inline void world_free(struct world *world)
{
	policy_unref(world->policy);
	config_unref(world->config);
	settings_free(&world->settings);
	world_remove(world, "documents.yaml");
	world_remove(world, "annotations");
	world_remove(world, "labels");
	rmdir(world->directory);
}

static inline const struct policy_target *world_target(const struct world *world, enum direction direction, const char *address)
{
	struct addr addr;

	assert_int_equal(addr_parse(address, &addr), 0);
	return policy_target(world->policy, direction, &addr);
}

static inline void world_choose(const struct policy_target *target, const char *method, const char *path, const char *host,
                                struct policy_choice *choice)
{
	static char head[512];
	struct request_head neutral;
	struct route_request request;
	struct slice method_slice, target_slice;
	int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host);

	method_slice = (struct slice){(const uint8_t *)head, strlen(method)};
	target_slice = (struct slice){(const uint8_t *)head + strlen(method) + 1, strlen(path)};
	http1_request_head(&neutral, (const uint8_t *)head, (size_t)length, method_slice, target_slice);
	route_request_read(&request, &neutral);
	policy_route(target, &request, choice);
}

static inline void expect_timeout(const struct timeouts *timeouts, enum timeout_id id, int64_t milliseconds, const char *source)
{
	assert_int_equal(timeouts->of[id].milliseconds, milliseconds);
	assert_string_equal(timeouts->of[id].source, source);
}

#define SERVICE(namespace, name, ip, rest)                                                                             \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: " namespace "}\nspec:\n"           \
	"  clusterIP: " ip "\n  ports: [{port: 80, targetPort: 8080, name: http}, {port: 90, name: other}]\n" rest
#define ROUTE(kind, namespace, name, parent_namespace, parent, rest)                                                  \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\nmetadata: {name: " name ", namespace: " namespace "}\n" \
	"spec:\n  parentRefs: [{group: '', kind: Service, namespace: " parent_namespace ", name: " parent "}]\n" rest

#endif
