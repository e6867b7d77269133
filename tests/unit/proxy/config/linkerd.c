#include "proxy/config/linkerd.h"

#include <string.h>

#include "lib/ports.h"
#include "tests/unit/proxy/config/applied.h"

static void opaque_ports_are_kept(void **state)
{
	static const enum kind kinds[] = {KIND_SERVICE, KIND_NAMESPACE, KIND_POD};
	struct applied applied;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		apply_one(&applied, kinds[i], "config.linkerd.io/opaque-ports", "25, 8000-8002");
		assert_true(!applied.diagnostics.kept && ports_contain(applied.object.opaque_ports, 8001) && !ports_contain(applied.object.opaque_ports, 26));
		arena_free(&applied.arena);
	}
	for (size_t i = 0; i < COUNT(kinds); i++) { /* the numbers apply, a name elsewhere is told of */
		apply_one(&applied, kinds[i], "config.linkerd.io/opaque-ports", "25, mysql ,8000-8002");
		assert_true(applied.diagnostics.kept == 1 && ports_contain(applied.object.opaque_ports, 25) && ports_contain(applied.object.opaque_ports, 8002));
		assert_non_null(strstr(applied.diagnostics.first->text, kinds[i] == KIND_SERVICE ? "\"mysql\" is the name of none of its ports; ignored" :
		                       "\"mysql\" is a name, and names of container ports are not known here; give the number; ignored"));
		arena_free(&applied.arena);
	}
	for (size_t i = 0; i < 4; i++) { /* what is neither a port nor a name */
		apply_one(&applied, KIND_SERVICE, "config.linkerd.io/opaque-ports", (const char *[]){"25,,26", "25,My", "25,-a", "25, a b"}[i]);
		assert_true(applied.diagnostics.kept == 1 && !applied.object.opaque_ports);
		assert_non_null(strstr(applied.diagnostics.first->text, "names of its ports too; ignored"));
		arena_free(&applied.arena);
	}
	apply_one(&applied, KIND_NAMESPACE, "lapse.proxy/timeout-request", "1s"); /* no level of timeouts */
	assert_true(applied.diagnostics.warnings == 1 && !applied.object.annotated && !applied.object.opaque_ports);
	arena_free(&applied.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(opaque_ports_are_kept)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
