#include "proxy/inject/inject.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/options.h"
#include "lib/text.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/yaml.h"
#include "proxy/inject/inject_description.h"
#include "proxy/inject/inject_options.h"
#include "proxy/inject/pod.h"
#include "proxy/inject/tree.h"

enum { INJECT_USAGE = 64, SUBJECT_SIZE = 300, READ_AT_ONCE = 64 * 1024 };

/* Where the template of the pods is: fields behind one another. */
static const struct inject_kind {
	const char *kind, *path[4];
} inject_kinds[] = {
    {"Pod", {NULL}},
    {"Deployment", {"spec", "template"}},
    {"StatefulSet", {"spec", "template"}},
    {"DaemonSet", {"spec", "template"}},
    {"ReplicaSet", {"spec", "template"}},
    {"ReplicationController", {"spec", "template"}},
    {"Job", {"spec", "template"}},
    {"CronJob", {"spec", "jobTemplate", "spec", "template"}},
    {"PodTemplate", {"template"}},
};

/* --- objects --- */

/* "deploy.yaml:3: Deployment shop/web" */
static const char *inject_subject(struct arena *arena, const char *file, const struct yaml_node *object, const char *kind)
{
	const struct yaml_node *metadata = yaml_field(object, "metadata");
	const char *parts[2] = {"", ""};

	for (size_t i = 0; metadata && i < 2; i++) {
		const struct yaml_node *field = yaml_field(metadata, i ? "name" : "namespace");

		if (!i && !field)
			continue;
		if (i && !field)
			field = yaml_field(metadata, "generateName");
		parts[i] = field && field->type == YAML_SCALAR ? field->text : "";
	}
	return arena_printf(arena, "%s:%u: %s %.63s%s%.253s", file, object->line, kind, parts[0], *parts[0] ? "/" : "",
	                    *parts[1] ? parts[1] : "without a name");
}

/* The next part of the path; NULL, and an error, when it is not there or cannot be changed. */
static struct yaml_node *inject_step(struct inject *inject, const char *subject, struct yaml_node *mapping, const char *key)
{
	struct yaml_node *node = tree_field(mapping, key);

	if (node && node->type == YAML_MAPPING)
		return node;
	if (tree_field(mapping, "<<"))
		diagnostics_add(inject->diagnostics, true, "%s: a merge key (<<) stands where %s is looked for; write the fields out",
		                subject, key);
	else if (node && node->type == YAML_ALIAS)
		diagnostics_add(inject->diagnostics, true, "%s: %s is an alias (*%s); write it out", subject, key, node->text);
	else
		diagnostics_add(inject->diagnostics, true, "%s: it has no %s", subject, key);
	return NULL;
}

static void inject_object(struct inject *inject, const char *file, struct yaml_node *object, const struct inject_kind *kind)
{
	const char *subject = inject_subject(inject->arena, file, object, kind->kind);
	struct yaml_node *at = object, *spec, *metadata;

	inject->no_memory = inject->no_memory || !subject;
	for (size_t i = 0; subject && at && i < 4 && kind->path[i]; i++)
		at = inject_step(inject, subject, at, kind->path[i]);
	spec = subject && at ? inject_step(inject, subject, at, "spec") : NULL;
	if (!spec)
		return;
	metadata = tree_field(at, "metadata");
	if (metadata && metadata->type != YAML_MAPPING) {
		if (!yaml_is_null(metadata) && !inject_step(inject, subject, at, "metadata"))
			return;
		metadata = NULL;
	}
	pod_inject(inject, subject, metadata, spec);
}

/* A document, or an item of a list. */
static void inject_document(struct inject *inject, const char *file, struct yaml_node *document)
{
	const struct yaml_node *kind = yaml_field(document, "kind"), *items = yaml_field(document, "items");
	size_t length = kind && kind->type == YAML_SCALAR ? kind->length : 0;

	if (!length)
		return;
	for (size_t i = 0; i < sizeof inject_kinds / sizeof *inject_kinds; i++)
		if (strcmp(kind->text, inject_kinds[i].kind) == 0)
			inject_object(inject, file, document, &inject_kinds[i]);
	if (length < strlen("List") || strcmp(kind->text + length - strlen("List"), "List") != 0 || !items)
		return;
	for (struct yaml_node *item = items->children; item; item = item->next)
		inject_document(inject, file, item);
}

/* --- files --- */

static int inject_read(FILE *from, struct buf *bytes)
{
	size_t taken;

	do {
		uint8_t *room = buf_reserve(bytes, READ_AT_ONCE);

		if (!room)
			return -ENOMEM;
		taken = fread(room, 1, READ_AT_ONCE, from);
		buf_commit(bytes, taken);
	} while (taken == READ_AT_ONCE && buf_length(bytes) <= YAML_BYTES_MOST);
	return ferror(from) ? -EIO : 0;
}

/* Hangs the documents of one file behind those of the others; `tail` moves on. */
static int inject_file(struct inject *inject, const char *path, FILE *in, struct yaml_node ***tail, FILE *errors)
{
	bool standard = strcmp(path, "-") == 0;
	const char *name = standard ? "standard input" : path;
	struct yaml_error error;
	struct buf bytes = {0};
	FILE *file = standard ? in : fopen(path, "re");
	int result;

	errno = 0;
	result = file ? inject_read(file, &bytes) : -errno;
	if (!file || result == -EIO)
		fprintf(errors, "error: %s: %s\n", name, file ? "it cannot be read" : strerror(-result));
	if (file && !standard)
		fclose(file);
	if (!file || result) {
		buf_release(&bytes);
		return result ? result : -EIO;
	}
	result = yaml_parse_as_written(inject->arena, (const char *)bytes.data, buf_length(&bytes), *tail, &error);
	buf_release(&bytes);
	if (result == -EBADMSG)
		diagnostics_add(inject->diagnostics, true, "%s:%u: %s", name, error.line, error.text);
	if (result)
		return result == -EBADMSG ? 0 : result;
	for (; **tail; *tail = &(**tail)->next)
		inject_document(inject, name, **tail);
	return 0;
}

/* What is written must read back as what was meant, or nothing is written. */
static int inject_write(struct arena *arena, const struct yaml_node *documents, FILE *out, FILE *errors)
{
	struct yaml_node *again = NULL;
	struct yaml_error error;
	char *bytes = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&bytes, &length);
	int result = memory ? yaml_write(documents, memory) : -ENOMEM;

	if (memory && fclose(memory) && !result)
		result = -ENOMEM;
	if (!result)
		result = yaml_parse_as_written(arena, bytes, length, &again, &error);
	if (!result && !yaml_same(documents, again))
		result = -EBADMSG;
	if (result == -EBADMSG)
		fputs("error: the result would not read back as it should; nothing is written. Please report this with the input\n", errors);
	if (!result && (fwrite(bytes, 1, length, out) != length || fflush(out))) {
		fprintf(errors, "error: writing the result failed: %s\n", strerror(errno));
		result = -EIO;
	}
	free(bytes);
	return result;
}

static int inject_all(struct inject *inject, FILE *in, FILE *out, FILE *errors)
{
	static const char *const standard[] = {"-"};
	const struct option_texts *files = &inject->settings->files;
	const char *const *paths = files->count ? files->items : standard;
	size_t count = files->count ? files->count : 1;
	struct yaml_node *documents = NULL, **tail = &documents;
	int result = 0;

	for (size_t i = 0; i < count && !result; i++)
		result = inject_file(inject, paths[i], in, &tail, errors);
	if (!result && !inject->diagnostics->errors && !documents)
		diagnostics_add(inject->diagnostics, true, "there is no document in what was given");
	if (!result && inject->no_memory)
		result = -ENOMEM;
	diagnostics_print(inject->diagnostics, true, errors);
	if (result)
		return result;
	if (inject->diagnostics->errors) {
		fputs("nothing is written\n", errors);
		return -EBADMSG;
	}
	if (!inject->injected && !inject->settings->remove && !inject->diagnostics->warnings)
		fputs("warning: no object has pods; all comes out as it came in\n", errors);
	return inject_write(inject->arena, documents, out, errors);
}

int inject_run(int argc, char **argv, char **environment, FILE *in, FILE *out, FILE *errors)
{
	struct arena arena = {0};
	struct inject_description description = {0};
	struct inject_settings settings = {0};
	struct diagnostics diagnostics = {.arena = &arena};
	struct inject inject = {&arena, &description, &settings, &diagnostics, 0, 0, false};
	TEXT_ON_STACK(error, 512);
	int command = 0, result = inject_description_read(&arena, &description), status = EXIT_SUCCESS;

	if (!result) {
		result = inject_options_parse(&arena, &description, argc, argv, environment, &settings, &command, &error);
		if (result == -EINVAL) {
			fprintf(errors, "lapse-proxy inject: %s\n", error_bytes);
			status = INJECT_USAGE;
		} else if (!result && command == OPTIONS_HELP) {
			result = inject_options_print(&arena, &description, false, out);
		} else if (!result && command == OPTIONS_VERSION) {
			fprintf(out, "lapse-proxy %s\n", LAPSE_VERSION);
		} else if (!result) {
			result = inject_all(&inject, in, out, errors);
			status = result == -EBADMSG ? INJECT_REFUSED : EXIT_SUCCESS;
		}
	}
	if (result == -ENOMEM)
		fputs("lapse-proxy inject: no memory\n", errors);
	if (result && !status)
		status = EXIT_FAILURE;
	inject_options_free(&description, &settings);
	arena_free(&arena);
	return status;
}

void inject_print_man(FILE *to)
{
	struct arena arena = {0};
	struct inject_description description;

	if (!inject_description_read(&arena, &description))
		(void)inject_options_print(&arena, &description, true, to);
	arena_free(&arena);
}
