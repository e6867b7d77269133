/* The pod's annotations: a downward-API file and what the annotations in it set. No file stops it,
    what is read reads as the same once
 * every byte of it is escaped, and what is set is within its bounds. The first byte chooses the kind of the object. */
#include "tests/fuzz/fuzz.h"

#include "lib/arena.h"
#include "proxy/config/annotations.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/podinfo.h"

struct result {
	struct arena arena;
	struct diagnostics diagnostics;
	struct podinfo podinfo;
};

static void read_file(struct result *result, const char *bytes, size_t length)
{
	*result = (struct result){0};
	result->diagnostics.arena = &result->arena;
	char *file = (char *)exact_copy(bytes, length);
	HOLDS(podinfo_read_annotations(&result->podinfo, &result->arena, &result->diagnostics, "f", file, length) == 0);
	HOLDS(podinfo_read_labels(&result->podinfo, &result->arena, &result->diagnostics, "f", file, length) == 0);
	free(file);
	HOLDS(result->diagnostics.errors == 0 && result->podinfo.annotation_count == result->podinfo.label_count);
}

/* Each pair again, its value all in \x escapes. */
static void reads_back(const struct podinfo *podinfo, size_t most)
{
	char *file = malloc(most * 4 + 1), *at = file;
	struct result again;
	HOLDS(file);
	for (size_t i = 0; i < podinfo->annotation_count; i++) {
		HOLDS(strcmp(podinfo->annotations[i].key, podinfo->labels[i].key) == 0);
		HOLDS(strcmp(podinfo->annotations[i].value, podinfo->labels[i].value) == 0);
		at += sprintf(at, "%s=\"", podinfo->annotations[i].key);
		for (const char *value = podinfo->annotations[i].value; *value; value++)
			at += sprintf(at, "\\x%02x", (unsigned char)*value);
		at += sprintf(at, "\"\n");
	}
	read_file(&again, file, (size_t)(at - file));
	HOLDS(again.diagnostics.warnings == 0 && again.podinfo.annotation_count == podinfo->annotation_count);
	for (size_t i = 0; i < podinfo->annotation_count; i++) {
		HOLDS(strcmp(podinfo->annotations[i].key, again.podinfo.annotations[i].key) == 0);
		HOLDS(strcmp(podinfo->annotations[i].value, again.podinfo.annotations[i].value) == 0);
	}
	arena_free(&again.arena);
	free(file);
}

static void is_in_bounds(const struct object *object)
{
	size_t set = 0;
	for (int id = 0; object->annotated && id < TIMEOUT_COUNT; id++) {
		const struct timeout_value *value = &object->annotated->of[id];
		HOLDS(value->milliseconds >= TIMEOUT_UNSET && value->milliseconds <= INT64_MAX / 1000000 + 1);
		HOLDS((value->milliseconds == TIMEOUT_UNSET) == !value->source);
		set += value->milliseconds != TIMEOUT_UNSET;
	}
	HOLDS(set > 0 || !object->annotated);
	if (!object->retry)
		return;
	uint64_t codes = object->retry->grpc;
	for (size_t i = 0; i < sizeof object->retry->codes / sizeof *object->retry->codes; i++)
		codes |= object->retry->codes[i];
	HOLDS(codes && object->retry->source && object->retry->attempts >= 1 && object->retry->attempts <= 65535);
	HOLDS(object->retry->codes[RETRY_STATUS_COUNT / 32] >> RETRY_STATUS_COUNT % 32 == 0 && object->retry->grpc >> 17 == 0);
	HOLDS(object->retry->attempt_ms >= 0 && object->retry->backoff_ms <= object->retry->backoff_most_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result result;
	if (size < 1)
		return 0;
	struct object object = {.kind = (enum kind)(data[0] % KIND_COUNT), .namespace = "n", .name = "o", .file = "f"};
	read_file(&result, (const char *)data + 1, size - 1);
	HOLDS(result.podinfo.annotation_count <= (size + 4) / 5);
	reads_back(&result.podinfo, 2 * size);
	size_t before = result.diagnostics.warnings;
	HOLDS(annotations_apply(&result.arena, &result.diagnostics, &object, result.podinfo.annotations,
	    result.podinfo.annotation_count) == 0);
	HOLDS(result.diagnostics.warnings - before <= result.podinfo.annotation_count);
	is_in_bounds(&object);
	arena_free(&result.arena);
	return 0;
}
