/* What an API server may send: a watch or a list, cut into objects, each made a tree and read as a document. In pieces it is the
 * same as in one. The first byte chooses the form and the size of the pieces. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/manifest.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/json.h"
#include "proxy/publish/json_stream.h"
#include "proxy/publish/json_text.h"
#include "proxy/publish/kinds.h"
#include "proxy/publish/reflector_object.h"

struct taken {
	uint64_t hash, count;
	bool quiet;
};

/* Read as a document by the same code as a file. */
static void read_document(const struct yaml_node *tree)
{
	struct catalog *catalog = catalog_new();
	struct arena said = {0};
	struct diagnostics found = {.arena = &said};
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	HOLDS(catalog && to);
	json_text_write(tree, to);
	fclose(to);
	int result = manifest_read(catalog, &found, "object", text, size);
	HOLDS(result == 0 || result == -EBADMSG);
	HOLDS((result == 0) == (found.errors == 0));
	free(text);
	catalog_free(catalog);
	arena_free(&said);
}

static void read_object(const char *bytes, size_t length)
{
	struct arena arena = {0};
	struct yaml_node *tree = NULL;
	struct json_error error;
	struct reflector_object object;
	uint8_t *exact = exact_copy(bytes, length);
	int result = json_parse(&arena, (const char *)exact, length, &tree, &error);

	free(exact);
	HOLDS(result == 0 || (result == -EBADMSG && !tree && error.offset <= length));
	if (result == 0) {
		const struct yaml_node *inner = yaml_field(tree, "object");

		inner = inner ? inner : tree;
		for (size_t i = 0; i < kinds_count(); i += kinds_count() - 1)
			if (reflector_object_read(&arena, inner, kinds_at(i), "v1", &object) == 0)
				HOLDS(*object.name && yaml_field(object.tree, "kind") && yaml_field(object.tree, "apiVersion"));
		struct reflector_status status;
		reflector_object_read_status(inner, &status);
		HOLDS(status.message && status.retry_after_ms <= 3600000);
		read_document(inner);
	}
	arena_free(&arena);
}

static bool take(void *owner, const char *bytes, size_t length, bool cut)
{
	struct taken *taken = owner;
	TEXT_ON_STACK(namespace, 64);
	TEXT_ON_STACK(name, 64);

	taken->count++;
	taken->hash = taken->hash * 31 + cut;
	for (size_t i = 0; i < length; i++)
		taken->hash = taken->hash * 31 + (uint8_t)bytes[i];
	if (!taken->quiet) {
		json_stream_find_name(bytes, length, taken->count & 1, &namespace, &name);
		if (!cut)
			read_object(bytes, length);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct taken whole = {0}, pieces = {.quiet = true};
	struct json_stream one = {data[0] & 1 ? JSON_STREAM_LIST : JSON_STREAM_EVENTS, 4096, take, &whole};
	struct json_stream many = {one.form, 4096, take, &pieces};
	size_t piece = (size_t)(data[0] >> 1) + 1, length, other;
	int result = json_stream_feed(&one, (const char *)data + 1, size - 1), same = 0;

	for (size_t at = 1; at < size && same == 0; at += piece)
		same = json_stream_feed(&many, (const char *)data + at, piece < size - at ? piece : size - at);
	HOLDS(result == same && whole.count == pieces.count && whole.hash == pieces.hash);
	if (result == 0) {
		const char *a = json_stream_rest(&one, &length), *b = json_stream_rest(&many, &other);
		HOLDS(json_stream_is_whole(&one) == json_stream_is_whole(&many) && length == other && memcmp(a, b, length) == 0);
	}
	json_stream_reset(&one);
	json_stream_reset(&many);
	return 0;
}
