#include "proxy/config/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct object *add(struct catalog *catalog, enum kind kind, const char *namespace, const char *name)
{
	struct object *object = arena_alloc(&catalog->arena, sizeof *object);

	*object = (struct object){.kind = kind, .namespace = namespace, .name = name};
	catalog_add(catalog, object);
	return object;
}

static void keeps_the_order_of_each_kind(void **state)
{
	struct catalog *catalog = catalog_new();
	const char *names[] = {"b", "a", "c"};
	size_t at = 0;

	for (size_t i = 0; i < 3; i++) {
		add(catalog, KIND_HTTP_ROUTE, "default", names[i]);
		add(catalog, KIND_SERVICE, "default", "other");
	}
	CATALOG_EACH(catalog, KIND_HTTP_ROUTE, object)
		assert_string_equal(object->name, names[at++]);
	assert_int_equal(at, 3);
	assert_int_equal(catalog->counts[KIND_HTTP_ROUTE], 3);
	assert_int_equal(catalog->counts[KIND_SERVICE], 3);
	assert_null(catalog->objects[KIND_TENANT]);
	catalog_free(catalog);
}

static void finds_by_kind_namespace_and_name(void **state)
{
	struct catalog *catalog = catalog_new();
	const struct object *web = add(catalog, KIND_HTTP_ROUTE, "default", "web");
	const struct object *other = add(catalog, KIND_HTTP_ROUTE, "shop", "web");
	const struct object *service = add(catalog, KIND_SERVICE, "default", "web");
	const struct object *tenant = add(catalog, KIND_TENANT, "", "web");

	assert_ptr_equal(catalog_find(catalog, KIND_HTTP_ROUTE, "default", "web"), web);
	assert_ptr_equal(catalog_find(catalog, KIND_HTTP_ROUTE, "shop", "web"), other);
	assert_ptr_equal(catalog_find(catalog, KIND_SERVICE, "default", "web"), service);
	assert_ptr_equal(catalog_find(catalog, KIND_TENANT, "", "web"), tenant);
	assert_null(catalog_find(catalog, KIND_HTTP_ROUTE, "", "web"));
	assert_null(catalog_find(catalog, KIND_HTTP_ROUTE, "default", "we"));
	assert_null(catalog_find(catalog, KIND_INGRESS, "default", "web"));
	catalog_free(catalog);
}

static void every_kind_has_a_name(void **state)
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		assert_true(strlen(catalog_kind_name(kind)) > 2);
	assert_string_equal(catalog_kind_name(KIND_KUBELB_ROUTE), "Route");
	assert_string_equal(catalog_kind_name(KIND_SERVICE_PROFILE), "ServiceProfile");
	assert_string_equal(catalog_kind_name(KIND_POD), "Pod");
	catalog_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_order_of_each_kind),
		cmocka_unit_test(finds_by_kind_namespace_and_name),
		cmocka_unit_test(every_kind_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
