#ifndef LAPSE_TESTS_UNIT_PROXY_CONFIG_APPLIED_H
#define LAPSE_TESTS_UNIT_PROXY_CONFIG_APPLIED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/annotations.h"
#include "proxy/config/diagnostics.h"

/* An object of a kind, and what annotations make of it. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct applied {
	struct arena arena;
	struct diagnostics diagnostics;
	union {
		struct object object;
		struct service service;
	};
};

static inline void apply(struct applied *applied, enum kind kind, const struct annotation *annotations, size_t count)
{
	*applied = (struct applied){.object = {.kind = kind, .namespace = kind == KIND_TENANT ? "" : "default", .name = "web",
	.file = "r.yaml"}};
	applied->diagnostics.arena = &applied->arena;
	assert_int_equal(annotations_apply(&applied->arena, &applied->diagnostics, &applied->object, annotations, count), 0);
	assert_int_equal(applied->diagnostics.errors, 0);
}

static inline void apply_one(struct applied *applied, enum kind kind, const char *key, const char *value)
{
	const struct annotation annotation = {.key = key, .value = value, .line = 12};

	apply(applied, kind, &annotation, 1);
}

#endif
