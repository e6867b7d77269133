#include "proxy/config/catalog.h"

#include <stdlib.h>
#include <string.h>

static const char *const catalog_kinds[] = {
    [KIND_CONFIG] = "Config",
    [KIND_TENANT] = "Tenant",
    [KIND_KUBELB_ROUTE] = "Route",
    [KIND_LOAD_BALANCER] = "LoadBalancer",
    [KIND_HTTP_ROUTE] = "HTTPRoute",
    [KIND_GRPC_ROUTE] = "GRPCRoute",
    [KIND_TCP_ROUTE] = "TCPRoute",
    [KIND_TLS_ROUTE] = "TLSRoute",
    [KIND_INGRESS] = "Ingress",
    [KIND_SERVICE_PROFILE] = "ServiceProfile",
    [KIND_SERVICE] = "Service",
    [KIND_NAMESPACE] = "Namespace",
    [KIND_POD] = "Pod",
};

_Static_assert(sizeof catalog_kinds / sizeof *catalog_kinds == KIND_COUNT, "one name per kind");

const char *catalog_kind_name(enum kind kind)
{
	return catalog_kinds[kind];
}

struct catalog *catalog_new(void)
{
	struct catalog *catalog = calloc(1, sizeof *catalog);

	if (catalog == NULL)
		return NULL;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		catalog->tails[kind] = &catalog->objects[kind];
	return catalog;
}

void catalog_free(struct catalog *catalog)
{
	if (catalog == NULL)
		return;
	arena_free(&catalog->arena);
	free(catalog);
}

void catalog_add(struct catalog *catalog, struct object *object)
{
	object->next = NULL;
	*catalog->tails[object->kind] = object;
	catalog->tails[object->kind] = &object->next;
	catalog->counts[object->kind]++;
}

const struct object *catalog_find(const struct catalog *catalog, enum kind kind, const char *namespace, const char *name)
{
	const struct object *object = catalog->objects[kind];

	while (object != NULL && (strcmp(object->namespace, namespace) != 0 || strcmp(object->name, name) != 0))
		object = object->next;
	return object;
}
