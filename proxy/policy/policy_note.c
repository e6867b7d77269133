/* What is to be told of rules that do more for HTTP/1 than for HTTP/2: a sentence for each route, profile or Service, once. */
#include <stdatomic.h>

#include "proxy/policy/policy_data.h"

static struct policy_note *policy_note_find(struct policy_build *build, const struct object *object)
{
	struct arena *arena = &build->policy->arena;
	const char *text = arena_printf(arena, "%s %s/%s: HTTP/2 requests get only its timeouts for now; its backends, filters, retries and 404 are for HTTP/1",
	                                catalog_kind_name(object->kind), object->namespace, object->name);
	void **slot = text ? map_at(&build->policy->notes, arena, text) : NULL;
	struct policy_note *note = slot ? *slot : NULL;

	build->no_memory |= !slot;
	if (!slot || note)
		return note;
	note = policy_build_alloc(build, 1, sizeof *note);
	if (!note)
		return NULL;
	*note = (struct policy_note){.object = object, .text = text};
	*slot = note;
	return note;
}

struct policy_note *policy_note_of(struct policy_build *build, const struct object *object)
{
	if (!build->note || build->note->object != object)
		build->note = policy_note_find(build, object);
	return build->note;
}

void policy_note_tell(struct policy_build *build, struct policy_note *note)
{
	if (!note || atomic_exchange_explicit(&note->told, true, memory_order_relaxed))
		return;
	diagnostics_add(&build->policy->diagnostics, false, "%s:%u: %s", note->object->file, note->object->line, note->text);
}

void policy_note_inherit(struct policy *policy, const struct policy *before)
{
	for (size_t i = 0; i < policy->notes.capacity; i++) {
		struct policy_note *note = policy->notes.entries[i].value;
		const struct policy_note *old = note ? map_get(&before->notes, note->text) : NULL;

		if (old && atomic_load_explicit(&old->told, memory_order_relaxed))
			atomic_store_explicit(&note->told, true, memory_order_relaxed);
	}
}

const char *policy_note_http1_only(const struct policy_target *target, const struct policy_choice *choice)
{
	struct policy_note *note = choice->rule ? choice->rule->note : target->note;

	if (!note || (!choice->refusal && !choice->address && !choice->filters && !choice->retry))
		return NULL;
	if (atomic_load_explicit(&note->told, memory_order_relaxed) || atomic_exchange_explicit(&note->told, true, memory_order_relaxed))
		return NULL;
	return note->text;
}
