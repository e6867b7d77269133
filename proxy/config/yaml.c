#include "proxy/config/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/diagnostics.h"

#define YAML_BOM "\xef\xbb\xbf"

/* A mapping or sequence that is not closed yet. */
struct yaml_frame {
	struct yaml_node *node, **tail;
	const char *key; /* of a mapping: read, its value not yet; in the arena */
	const struct yaml_form *key_form;
	uint32_t key_line;
};

/* A reading under way; frames[0] stands for the file and holds the documents. */
struct yaml_build {
	struct arena *arena;
	struct yaml_error *error;
	bool as_written; /* forms are kept; aliases, merge keys and foreign tags with them */
	struct yaml_node file;
	struct yaml_frame frames[YAML_DEPTH_MOST + 1];
	uint32_t depth;
	uint32_t nodes;
};

static const struct yaml_tag {
	const char *name;
	enum yaml_type type;
	enum yaml_scalar scalar;
} yaml_tags[] = {
    {"!", YAML_SCALAR, YAML_TEXT},
    {YAML_STR_TAG, YAML_SCALAR, YAML_TEXT},
    {YAML_NULL_TAG, YAML_SCALAR, YAML_NULL},
    {YAML_BOOL_TAG, YAML_SCALAR, YAML_BOOL},
    {YAML_INT_TAG, YAML_SCALAR, YAML_INT},
    {YAML_FLOAT_TAG, YAML_SCALAR, YAML_FLOAT},
    {YAML_MAP_TAG, YAML_MAPPING, YAML_TEXT},
    {YAML_SEQ_TAG, YAML_SEQUENCE, YAML_TEXT},
};

__attribute__((format(printf, 3, 4))) static int yaml_fail(struct yaml_error *error, size_t line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error->text, sizeof error->text, format, arguments);
	va_end(arguments);
	error->line = (uint32_t)line;
	return -EBADMSG;
}

/* "key" is quoted in errors no longer than this. */
static int yaml_quotable(const char *text)
{
	return (int)diagnostics_cut(text, strlen(text), 60);
}

/* --- what is looked at before libyaml is --- */

/* The line that the byte at `offset` is in. CR ends a line too, as libyaml has it. */
static size_t yaml_line(const char *bytes, size_t offset)
{
	size_t line = 1;

	for (size_t i = 0; i < offset; i++)
		line += bytes[i] == '\r' || (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r'));
	return line;
}

/* libyaml compares each %TAG directive with all others, so their number is held before it sees them. */
static int yaml_check_directives(const char *bytes, size_t length, struct yaml_error *error)
{
	static const char directive[] = "%TAG";
	const char *at = bytes;

	for (size_t count = 0; length > 0; count++, at++) {
		at = memmem(at, length - (size_t)(at - bytes), directive, sizeof directive - 1);
		if (at == NULL)
			return 0;
		if (count == YAML_TAG_DIRECTIVES_MOST)
			return yaml_fail(error, yaml_line(bytes, (size_t)(at - bytes)), "more than %d %%TAG directives",
					 YAML_TAG_DIRECTIVES_MOST);
	}
	return 0;
}

/* NUL would end the text for libyaml, and it would take UTF-16. */
static int yaml_check_bytes(const char *bytes, size_t length, struct yaml_error *error)
{
	if (length > YAML_BYTES_MOST)
		return yaml_fail(error, 1, "larger than %d MiB", YAML_BYTES_MOST >> 20);
	if (length >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
		return yaml_fail(error, 1, "this is UTF-16 or UTF-32; only UTF-8 is accepted");
	for (size_t at = 0, character; at < length; at += character) {
		unsigned char byte = (unsigned char)bytes[at];

		character = byte < 0x80 ? 1 : yaml_character(bytes + at, length - at); /* most are ASCII */
		if (byte == '\0')
			return yaml_fail(error, yaml_line(bytes, at), "a NUL byte; only UTF-8 text is accepted");
		if (character == 0)
			return yaml_fail(error, yaml_line(bytes, at), "the byte 0x%02x is not UTF-8", byte);
	}
	return yaml_check_directives(bytes, length, error);
}

/* --- scalars --- */

static int yaml_apply_tag(struct yaml_error *error, struct yaml_node *node, const char *name)
{
	const struct yaml_tag *tag = NULL;

	if (name == NULL)
		return 0;
	for (size_t i = 0; i < sizeof yaml_tags / sizeof *yaml_tags && tag == NULL; i++)
		if (yaml_tags[i].type == node->type && strcmp(yaml_tags[i].name, name) == 0)
			tag = &yaml_tags[i];
	if (tag == NULL)
		return yaml_fail(error, node->line, "the tag \"%.*s\" is not accepted here", yaml_quotable(name), name);
	node->plain = tag->scalar != YAML_TEXT;
	enum yaml_scalar found = yaml_resolve(node);
	if (found != tag->scalar && !(found == YAML_INT && tag->scalar == YAML_FLOAT))
		return yaml_fail(error, node->line, "the tag \"%s\" does not fit \"%.*s\"", name, yaml_quotable(node->text),
				 node->text);
	return 0;
}

/* How the value or key of the event is written; unset where nobody will write it back. */
static int yaml_take_form(struct yaml_build *build, const char *anchor, const char *tag, struct yaml_form form,
                          const struct yaml_form **out)
{
	struct yaml_form *copy = build->as_written ? arena_alloc(build->arena, sizeof *copy) : NULL;

	if (!build->as_written)
		return 0;
	if (copy == NULL)
		return -ENOMEM;
	*copy = form;
	copy->anchor = anchor == NULL ? NULL : arena_text(build->arena, anchor, strlen(anchor));
	copy->tag = tag == NULL ? NULL : arena_text(build->arena, tag, strlen(tag));
	*out = copy;
	return (anchor != NULL && copy->anchor == NULL) || (tag != NULL && copy->tag == NULL) ? -ENOMEM : 0;
}

static int yaml_take_scalar_form(struct yaml_build *build, const yaml_event_t *event, const struct yaml_form **out)
{
	const char *tag = (const char *)event->data.scalar.tag;
	struct yaml_form form = {
	    .style = event->data.scalar.style,
	    .plain_implicit = event->data.scalar.plain_implicit != 0,
	    .quoted_implicit = event->data.scalar.quoted_implicit != 0 || tag == NULL,
	};

	if (tag != NULL && strcmp(tag, "!") == 0) { /* text, as quotes would make it; libyaml does not write this tag */
		if (form.style == YAML_PLAIN_SCALAR_STYLE)
			form.style = YAML_SINGLE_QUOTED_SCALAR_STYLE;
		form.quoted_implicit = true;
		tag = NULL;
	}
	return yaml_take_form(build, (const char *)event->data.scalar.anchor, tag, form, out);
}

/* A copy in the arena of what the event holds. */
static int yaml_take_text(struct yaml_build *build, const yaml_event_t *event, const char **text)
{
	const char *bytes = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	if (memchr(bytes, '\0', length) != NULL)
		return yaml_fail(build->error, event->start_mark.line + 1, "an escaped NUL character is not accepted");
	const char *copy = arena_text(build->arena, bytes, length);
	if (copy == NULL)
		return -ENOMEM;
	*text = copy;
	return 0;
}

/* --- the tree --- */

static int yaml_compare_fields(const void *left, const void *right)
{
	const struct yaml_node *const *a = left, *const *b = right;
	int order = strcmp((*a)->key, (*b)->key);

	return order != 0 ? order : ((*a)->line > (*b)->line) - ((*a)->line < (*b)->line);
}

/* Sorted, equal keys are neighbours: a mapping may have a million fields. */
static int yaml_check_many_keys(struct yaml_error *error, const struct yaml_node *mapping)
{
	const struct yaml_node **fields = calloc(mapping->count, sizeof *fields), *first = NULL, *second = NULL;
	size_t count = 0;

	if (fields == NULL)
		return -ENOMEM;
	for (const struct yaml_node *field = mapping->children; field != NULL; field = field->next)
		fields[count++] = field;
	qsort(fields, count, sizeof(const struct yaml_node *), yaml_compare_fields);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(fields[i - 1]->key, fields[i]->key) == 0 && (second == NULL || fields[i]->line < second->line)) {
			first = fields[i - 1];
			second = fields[i];
		}
	}
	free(fields);
	if (second == NULL)
		return 0;
	return yaml_fail(error, second->line, "the key \"%.*s\" stands twice in one mapping, first in line %u",
			 yaml_quotable(second->key), second->key, first->line);
}

static int yaml_check_keys(struct yaml_error *error, const struct yaml_node *mapping)
{
	enum { FEW = 16 };

	if (mapping->count > FEW)
		return yaml_check_many_keys(error, mapping);
	for (const struct yaml_node *field = mapping->children; field != NULL; field = field->next) {
		const struct yaml_node *first = yaml_field(mapping, field->key);

		if (first != field)
			return yaml_fail(error, field->line, "the key \"%.*s\" stands twice in one mapping, first in line %u",
					 yaml_quotable(field->key), field->key, first->line);
	}
	return 0;
}

static int yaml_take_key(struct yaml_build *build, const yaml_event_t *event)
{
	struct yaml_frame *frame = &build->frames[build->depth];
	size_t line = event->start_mark.line + 1;

	if (event->type != YAML_SCALAR_EVENT)
		return yaml_fail(build->error, line, "a key must be a scalar, not a mapping or list");
	const char *tag = (const char *)event->data.scalar.tag;
	if (!build->as_written && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp((const char *)event->data.scalar.value, "<<") == 0)
		return yaml_fail(build->error, line, "merge keys (<<) are not accepted; write the fields out");
	struct yaml_node key = {.type = YAML_SCALAR, .text = "", .line = (uint32_t)line};
	int result = yaml_take_text(build, event, &key.text);
	if (result == 0)
		result = build->as_written ? yaml_take_scalar_form(build, event, &frame->key_form) :
		                             yaml_apply_tag(build->error, &key, tag);
	if (result == 0) {
		frame->key = key.text;
		frame->key_line = (uint32_t)line;
	}
	return result;
}

/* Hangs a node into the open mapping, sequence or file. */
static void yaml_append(struct yaml_build *build, struct yaml_node *node)
{
	struct yaml_frame *frame = &build->frames[build->depth];

	if (frame->key != NULL) {
		node->key = frame->key;
		node->key_form = frame->key_form;
		node->line = frame->key_line;
		frame->key = NULL;
	}
	*frame->tail = node;
	frame->tail = &node->next;
	frame->node->count++;
}

static int yaml_take_scalar(struct yaml_build *build, const yaml_event_t *event, struct yaml_node *node)
{
	int result = yaml_take_text(build, event, &node->text);

	if (result != 0)
		return result;
	node->length = (uint32_t)event->data.scalar.length;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (build->as_written) {
		node->plain = node->plain && event->data.scalar.tag == NULL;
		result = yaml_take_scalar_form(build, event, &node->form);
	} else {
		result = yaml_apply_tag(build->error, node, (const char *)event->data.scalar.tag);
	}
	if (result == 0 && (build->depth > 0 || !yaml_is_null(node)))
		yaml_append(build, node);
	return result;
}

static int yaml_open(struct yaml_build *build, struct yaml_node *node, const char *anchor, const char *tag, struct yaml_form form)
{
	if (build->depth == YAML_DEPTH_MOST)
		return yaml_fail(build->error, node->line, "nested deeper than %d levels", YAML_DEPTH_MOST);
	int result = build->as_written ? yaml_take_form(build, anchor, tag, form, &node->form) :
	                                 yaml_apply_tag(build->error, node, tag);
	if (result != 0)
		return result;
	yaml_append(build, node);
	build->frames[++build->depth] = (struct yaml_frame){.node = node, .tail = &node->children};
	return 0;
}

static int yaml_take_alias(struct yaml_build *build, const yaml_event_t *event, struct yaml_node *node)
{
	const char *anchor = (const char *)event->data.alias.anchor;

	if (!build->as_written)
		return yaml_fail(build->error, node->line, "aliases are not accepted (*%.*s)", yaml_quotable(anchor), anchor);
	node->type = YAML_ALIAS;
	node->text = arena_text(build->arena, anchor, strlen(anchor));
	if (node->text == NULL)
		return -ENOMEM;
	node->length = (uint32_t)strlen(anchor);
	yaml_append(build, node);
	return 0;
}

static int yaml_take_value(struct yaml_build *build, const yaml_event_t *event)
{
	if (build->nodes++ == YAML_NODES_MOST)
		return yaml_fail(build->error, event->start_mark.line + 1, "more than %d values", YAML_NODES_MOST);
	struct yaml_node *node = arena_alloc(build->arena, sizeof *node);
	if (node == NULL)
		return -ENOMEM;
	node->line = (uint32_t)(event->start_mark.line + 1);
	switch (event->type) {
	case YAML_MAPPING_START_EVENT:
		node->type = YAML_MAPPING;
		return yaml_open(build, node, (const char *)event->data.mapping_start.anchor,
		                 (const char *)event->data.mapping_start.tag,
		                 (struct yaml_form){.style = event->data.mapping_start.style,
		                                    .plain_implicit = event->data.mapping_start.implicit != 0});
	case YAML_SEQUENCE_START_EVENT:
		node->type = YAML_SEQUENCE;
		return yaml_open(build, node, (const char *)event->data.sequence_start.anchor,
		                 (const char *)event->data.sequence_start.tag,
		                 (struct yaml_form){.style = event->data.sequence_start.style,
		                                    .plain_implicit = event->data.sequence_start.implicit != 0});
	case YAML_ALIAS_EVENT:
		return yaml_take_alias(build, event, node);
	default:
		node->type = YAML_SCALAR;
		return yaml_take_scalar(build, event, node);
	}
}

static int yaml_take(struct yaml_build *build, const yaml_event_t *event)
{
	const struct yaml_frame *frame = &build->frames[build->depth];

	switch (event->type) {
	case YAML_ALIAS_EVENT:
	case YAML_SCALAR_EVENT:
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (frame->node->type == YAML_MAPPING && frame->key == NULL)
			return yaml_take_key(build, event);
		return yaml_take_value(build, event);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		build->depth--;
		return frame->node->type == YAML_MAPPING ? yaml_check_keys(build->error, frame->node) : 0;
	default:
		return 0;
	}
}

/* What libyaml says without saying what to do: JSON in a file of several objects, and JSON's way to write U+10000 and above. */
static const struct {
	const char *problem, *text;
} yaml_remedies[] = {
    {"did not find expected <document start>",
     "this does not belong to the document before it; put a line --- between two documents, or mend the indentation"},
    {"found invalid Unicode character escape code",
     "an escaped half of a surrogate pair, as in \\uD83D\\uDE00, is not accepted; write the character itself, or \\U0001F600"},
};

/* What libyaml found wrong. Its reader has an offset and no line; its scanner adds a line behind a last one without an end. */
static int yaml_complain(struct yaml_error *error, const yaml_parser_t *parser, const char *bytes, size_t length)
{
	const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
	size_t last = yaml_line(bytes, length), line = parser->problem_mark.line + 1;

	for (size_t i = 0; i < sizeof yaml_remedies / sizeof *yaml_remedies; i++)
		if (strcmp(problem, yaml_remedies[i].problem) == 0)
			return yaml_fail(error, line < last ? line : last, "%s", yaml_remedies[i].text);
	switch (parser->error) {
	case YAML_MEMORY_ERROR:
		return -ENOMEM;
	case YAML_READER_ERROR:
		line = yaml_line(bytes, parser->problem_offset < length ? parser->problem_offset : length);
		return yaml_fail(error, line, "%s (U+%04X)", problem, (unsigned int)parser->problem_value);
	default:
		line = line < last ? line : last;
		if (parser->context == NULL)
			return yaml_fail(error, line, "%s", problem);
		return yaml_fail(error, line, "%s (%s from line %zu)", problem, parser->context, parser->context_mark.line + 1);
	}
}

static int yaml_run(struct yaml_build *build, yaml_parser_t *parser, const char *bytes, size_t length)
{
	for (bool end = false; !end;) {
		yaml_event_t event;

		if (!yaml_parser_parse(parser, &event))
			return yaml_complain(build->error, parser, bytes, length);
		int result = yaml_take(build, &event);
		end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
		if (result != 0)
			return result;
	}
	return 0;
}

static int yaml_build_all(struct arena *arena, const char *bytes, size_t length, bool as_written, struct yaml_node **documents,
                          struct yaml_error *error)
{
	struct yaml_build build = {.arena = arena, .error = error, .as_written = as_written, .file.type = YAML_SEQUENCE};
	yaml_parser_t parser;
	int result = yaml_check_bytes(bytes, length, error);

	if (result != 0)
		return result;
	if (length == 0)
		bytes = ""; /* NULL perhaps, which libyaml asserts it is not */
	if (length >= strlen(YAML_BOM) && memcmp(bytes, YAML_BOM, strlen(YAML_BOM)) == 0) {
		bytes += strlen(YAML_BOM);
		length -= strlen(YAML_BOM);
	}
	build.frames[0] = (struct yaml_frame){.node = &build.file, .tail = &build.file.children};
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, length);
	result = yaml_run(&build, &parser, bytes, length);
	yaml_parser_delete(&parser);
	if (result == 0)
		*documents = build.file.children;
	return result;
}

int yaml_parse(struct arena *arena, const char *bytes, size_t length, struct yaml_node **documents, struct yaml_error *error)
{
	return yaml_build_all(arena, bytes, length, false, documents, error);
}

int yaml_parse_as_written(struct arena *arena, const char *bytes, size_t length, struct yaml_node **documents,
                          struct yaml_error *error)
{
	return yaml_build_all(arena, bytes, length, true, documents, error);
}

/* --- writing --- */

static int yaml_write_bytes(void *to, unsigned char *bytes, size_t length)
{
	return fwrite(bytes, 1, length, to) == length;
}

/* 0 once the event, which it takes over, is written. */
static int yaml_emit(yaml_emitter_t *emitter, yaml_event_t *event)
{
	if (yaml_emitter_emit(emitter, event))
		return 0;
	return emitter->error == YAML_MEMORY_ERROR ? -ENOMEM : emitter->error == YAML_WRITER_ERROR ? -EIO : -EBADMSG;
}

/* A scalar of ours is written plain where that keeps it what it is. */
static struct yaml_form yaml_scalar_form(const char *text, bool plain, const struct yaml_form *form)
{
	if (form != NULL)
		return *form;
	return (struct yaml_form){
	    .style = plain || yaml_safe_plain(text) ? YAML_PLAIN_SCALAR_STYLE : YAML_SINGLE_QUOTED_SCALAR_STYLE,
	    .plain_implicit = true,
	    .quoted_implicit = true,
	};
}

/* libyaml writes nothing at all as '', which is no null, where it must write something: for keys and between brackets. */
static int yaml_write_scalar(yaml_emitter_t *emitter, const char *text, bool plain, const struct yaml_form *given, bool must)
{
	struct yaml_form form = yaml_scalar_form(text, plain, given);
	yaml_event_t event;

	if (*text == '\0' && form.style == YAML_PLAIN_SCALAR_STYLE && form.tag == NULL && must)
		text = "null";
	if (!yaml_scalar_event_initialize(&event, (const yaml_char_t *)form.anchor, (const yaml_char_t *)form.tag,
	                                  (const yaml_char_t *)text, (int)strlen(text), form.plain_implicit,
	                                  form.quoted_implicit, (yaml_scalar_style_t)form.style))
		return -ENOMEM;
	return yaml_emit(emitter, &event);
}

static int yaml_write_start(yaml_emitter_t *emitter, const struct yaml_node *node)
{
	const struct yaml_form form = node->form != NULL ? *node->form : (struct yaml_form){.plain_implicit = true};
	const yaml_char_t *anchor = (const yaml_char_t *)form.anchor, *tag = (const yaml_char_t *)form.tag;
	yaml_event_t event;
	int ok;

	if (node->type == YAML_MAPPING)
		ok = yaml_mapping_start_event_initialize(&event, anchor, tag, form.plain_implicit, (yaml_mapping_style_t)form.style);
	else
		ok = yaml_sequence_start_event_initialize(&event, anchor, tag, form.plain_implicit, (yaml_sequence_style_t)form.style);
	return ok ? yaml_emit(emitter, &event) : -ENOMEM;
}

/* No deeper than what was read: YAML_DEPTH_MOST, and what was put in. */
static int yaml_write_node(yaml_emitter_t *emitter, const struct yaml_node *node, bool flow)
{
	yaml_event_t event;
	int result;

	if (node->type == YAML_ALIAS)
		return yaml_alias_event_initialize(&event, (const yaml_char_t *)node->text) ? yaml_emit(emitter, &event) : -ENOMEM;
	if (node->type == YAML_SCALAR)
		return yaml_write_scalar(emitter, node->text, node->plain, node->form, flow);
	result = yaml_write_start(emitter, node);
	flow = flow || (node->form != NULL && node->form->style == (node->type == YAML_MAPPING ? (int)YAML_FLOW_MAPPING_STYLE
	                                                                                     : (int)YAML_FLOW_SEQUENCE_STYLE));
	for (const struct yaml_node *child = node->children; result == 0 && child != NULL; child = child->next) {
		if (child->key != NULL)
			result = yaml_write_scalar(emitter, child->key, false, child->key_form, true);
		if (result == 0)
			result = yaml_write_node(emitter, child, flow);
	}
	if (result != 0)
		return result;
	result = node->type == YAML_MAPPING ? yaml_mapping_end_event_initialize(&event) : yaml_sequence_end_event_initialize(&event);
	return result ? yaml_emit(emitter, &event) : -ENOMEM;
}

static int yaml_write_documents(yaml_emitter_t *emitter, const struct yaml_node *documents)
{
	yaml_event_t event;
	int result = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) ? yaml_emit(emitter, &event) : -ENOMEM;

	for (const struct yaml_node *node = documents; result == 0 && node != NULL; node = node->next) {
		result = -ENOMEM;
		if (yaml_document_start_event_initialize(&event, NULL, NULL, NULL, node == documents))
			result = yaml_emit(emitter, &event);
		if (result == 0)
			result = yaml_write_node(emitter, node, false);
		if (result == 0 && yaml_document_end_event_initialize(&event, 1))
			result = yaml_emit(emitter, &event);
	}
	if (result == 0)
		result = yaml_stream_end_event_initialize(&event) ? yaml_emit(emitter, &event) : -ENOMEM;
	return result;
}

int yaml_write(const struct yaml_node *documents, FILE *to)
{
	yaml_emitter_t emitter;
	int result;

	if (!yaml_emitter_initialize(&emitter))
		return -ENOMEM;
	yaml_emitter_set_output(&emitter, yaml_write_bytes, to);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	result = yaml_write_documents(&emitter, documents);
	yaml_emitter_delete(&emitter);
	return result;
}

void yaml_library(struct text *out)
{
	text_string(out, yaml_get_version_string());
}
