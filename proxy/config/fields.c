#include "proxy/config/fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/yaml.h"

enum { FIELDS_QUOTED_MOST = 80, FIELDS_KNOWN_MOST = 14 };

/* --- saying what is wrong --- */

static void fields_append_short(struct text *out, const char *bytes, size_t length)
{
	size_t cut = diagnostics_cut(bytes, length, FIELDS_QUOTED_MOST);

	text_append(out, bytes, cut);
	if (cut < length)
		text_string(out, "…");
}

static void fields_append_quoted(struct text *out, const char *bytes, size_t length)
{
	text_char(out, '"');
	fields_append_short(out, bytes, length);
	text_char(out, '"');
}

static void fields_append_value(struct text *out, const struct yaml_node *node)
{
	if (node->type != YAML_SCALAR) {
		text_string(out, node->type == YAML_MAPPING ? "a mapping" : "a list");
		return;
	}
	fields_append_quoted(out, node->text, node->length);
}

__attribute__((format(printf, 5, 0))) static void fields_report(struct reader *reader, bool error, const struct yaml_node *node,
								 const char *value, const char *format, va_list arguments)
{
	char accepted[DIAGNOSTIC_SIZE];
	TEXT_ON_STACK(line, 2 * DIAGNOSTIC_SIZE);

	text_printf(&line, "%s:%u: ", reader->file, node->line);
	if (reader->subject != NULL)
		text_printf(&line, "%s: ", reader->subject);
	if (reader->path_length > 0)
		text_printf(&line, "%s: ", reader->path);
	if (value == NULL)
		fields_append_value(&line, node);
	else if (*value != '\0')
		fields_append_quoted(&line, value, strlen(value));
	if (value == NULL || *value != '\0')
		text_string(&line, ": ");
	vsnprintf(accepted, sizeof accepted, format, arguments);
	diagnostics_add(reader->diagnostics, error, "%s%s", line.data, accepted);
	reader->failed |= error;
}

void fields_error(struct reader *reader, const struct yaml_node *node, const char *value, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fields_report(reader, true, node, value, format, arguments);
	va_end(arguments);
}

void fields_warn(struct reader *reader, const struct yaml_node *node, const char *value, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fields_report(reader, false, node, value, format, arguments);
	va_end(arguments);
}

void fields_no_memory(struct reader *reader)
{
	reader->failed = reader->no_memory = true;
}

size_t fields_enter(struct reader *reader, const char *name, size_t index)
{
	size_t mark = reader->path_length, room = sizeof reader->path - 1 - mark;
	TEXT_ON_STACK(part, FIELDS_QUOTED_MOST + 8);

	if (name == NULL) {
		text_printf(&part, "[%zu]", index);
	} else {
		text_string(&part, mark > 0 ? "." : "");
		fields_append_short(&part, name, strlen(name));
	}
	size_t length = diagnostics_cut(part.data, part.length, room);
	memcpy(reader->path + mark, part.data, length);
	reader->path_length = mark + length;
	reader->path[reader->path_length] = '\0';
	return mark;
}

void fields_leave(struct reader *reader, size_t mark)
{
	reader->path_length = mark;
	reader->path[mark] = '\0';
}

/* --- mappings and lists --- */

/* The path is that of the field. */
static void fields_unknown(struct reader *reader, const struct yaml_node *field, const struct field *rows, size_t count)
{
	TEXT_ON_STACK(known, DIAGNOSTIC_SIZE / 2);

	for (size_t i = 0; i < count && count <= FIELDS_KNOWN_MOST; i++)
		text_printf(&known, "%s%s", i == 0 ? "; known are " : ", ", rows[i].name);
	if (reader->strict)
		fields_error(reader, field, "", "unknown field%s", known.data);
	else
		fields_warn(reader, field, "", "unknown field, ignored%s", known.data);
}

static void fields_read_one(struct reader *reader, const struct yaml_node *field, const struct field *rows, size_t count,
			    void *object)
{
	const struct field *row = NULL;

	for (size_t i = 0; i < count && row == NULL; i++)
		if (strcmp(rows[i].name, field->key) == 0)
			row = &rows[i];
	if (row != NULL && (row->read == NULL || yaml_is_null(field)))
		return;
	size_t mark = fields_enter(reader, field->key, 0);
	if (row == NULL)
		fields_unknown(reader, field, rows, count);
	else
		row->read(reader, field, (char *)object + row->offset);
	fields_leave(reader, mark);
}

static void fields_check_required(struct reader *reader, const struct yaml_node *mapping, const struct field *row)
{
	const struct yaml_node *field = row->required ? yaml_field(mapping, row->name) : NULL;

	if (!row->required || (field != NULL && !yaml_is_null(field)))
		return;
	size_t mark = fields_enter(reader, row->name, 0);
	fields_error(reader, field != NULL ? field : mapping, "", "this field is required");
	fields_leave(reader, mark);
}

void fields_read(struct reader *reader, const struct yaml_node *mapping, const struct field *rows, size_t count, void *object)
{
	if (mapping->type != YAML_MAPPING) {
		fields_error(reader, mapping, NULL, "must be a mapping");
		return;
	}
	for (const struct yaml_node *field = mapping->children; field != NULL && !reader->no_memory; field = field->next)
		fields_read_one(reader, field, rows, count, object);
	for (size_t i = 0; i < count; i++)
		fields_check_required(reader, mapping, &rows[i]);
}

static void fields_list_element(struct reader *reader, const struct yaml_node *element, size_t index, field_read *read, void *item)
{
	size_t mark = fields_enter(reader, NULL, index);

	if (yaml_is_null(element))
		fields_error(reader, element, "", "an element of a list must not be null");
	else
		read(reader, element, item);
	fields_leave(reader, mark);
}

void fields_list(struct reader *reader, const struct yaml_node *value, size_t most, size_t size, field_read *read, void **items,
		 size_t *count)
{
	size_t index = 0;

	*items = NULL;
	*count = 0;
	if (value->type != YAML_SEQUENCE) {
		fields_error(reader, value, NULL, "must be a list");
		return;
	}
	if (value->count > most) {
		fields_error(reader, value, "", "a list of %u elements; at most %zu are accepted", value->count, most);
		return;
	}
	if (value->count == 0)
		return;
	char *array = arena_array(reader->arena, value->count, size);
	if (array == NULL) {
		fields_no_memory(reader);
		return;
	}
	for (const struct yaml_node *element = value->children; element != NULL && !reader->no_memory; element = element->next) {
		fields_list_element(reader, element, index, read, array + index * size);
		index++;
	}
	*items = array;
	*count = value->count;
}

/* --- scalars --- */

/* Complains of what is not text. of_number: what to do to a number. */
static bool fields_is_text(struct reader *reader, const struct yaml_node *value, const char *accepted, const char *of_number)
{
	static const char *const names[] = {
	    [YAML_NULL] = "null",
	    [YAML_BOOL] = "a boolean",
	    [YAML_INT] = "an integer",
	    [YAML_FLOAT] = "a number",
	};
	enum yaml_scalar scalar = yaml_resolve(value);

	if (value->type != YAML_SCALAR)
		fields_error(reader, value, NULL, "must be %s", accepted);
	else if (scalar != YAML_TEXT)
		fields_error(reader, value, NULL, "must be %s; without quotes this is %s, %s", accepted, names[scalar],
			     scalar == YAML_INT || scalar == YAML_FLOAT ? of_number : "quote it");
	return value->type == YAML_SCALAR && scalar == YAML_TEXT;
}

void fields_text(struct reader *reader, const struct yaml_node *value, void *field)
{
	if (!fields_is_text(reader, value, "text", "quote it"))
		return;
	const char *text = arena_text(reader->arena, value->text, value->length);
	if (text == NULL)
		fields_no_memory(reader);
	else
		*(const char **)field = text;
}

void fields_bool(struct reader *reader, const struct yaml_node *value, void *field)
{
	if (yaml_resolve(value) != YAML_BOOL)
		fields_error(reader, value, NULL, "must be true or false, without quotes");
	else
		*(bool *)field = value->text[0] == 't' || value->text[0] == 'T';
}

/* Decimal digits as JSON has them: 010 is 8 to YAML 1.1 and 10 to YAML 1.2. */
static int fields_parse_int(const struct yaml_node *value, int64_t *out)
{
	if (yaml_resolve(value) != YAML_INT)
		return -EINVAL;
	const char *at = value->text;
	bool negative = *at == '-';
	int64_t number = 0;

	at += negative;
	if (*at == '+' || (*at == '0' && at[1] != '\0'))
		return -EINVAL;
	for (; *at != '\0'; at++) {
		int digit = *at - '0';

		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, negative ? -digit : digit, &number))
			return -ERANGE;
	}
	*out = number;
	return 0;
}

void fields_int(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t number;

	if (fields_parse_int(value, &number) != 0)
		fields_error(reader, value, NULL, "must be a whole number in decimal, without quotes and leading zeros");
	else
		*(int64_t *)field = number;
}

void fields_port(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t number;

	if (fields_parse_int(value, &number) != 0 || number < 1 || number > UINT16_MAX)
		fields_error(reader, value, NULL, "must be a port from 1 to 65535, without quotes");
	else
		*(uint16_t *)field = (uint16_t)number;
}

static void fields_read_duration(struct reader *reader, const struct yaml_node *value, enum duration_grammar grammar,
				 int64_t *field)
{
	static const char *const accepted[] = {
	    [DURATION_GO] = "a Go duration from 0s on, as 500ms, 30s, 1h30m",
	    [DURATION_GEP2257] = "a duration of at most four parts as 500ms, 30s, 1h30m (GEP-2257)",
	};
	int64_t milliseconds;

	if (!fields_is_text(reader, value, accepted[grammar], "give it a unit"))
		return;
	int result = duration_parse(grammar, value->text, &milliseconds);
	if (result == -ERANGE)
		fields_error(reader, value, NULL, "must be %s; at most 2562047h", accepted[grammar]);
	else if (result != 0 || milliseconds < 0)
		fields_error(reader, value, NULL, "must be %s", accepted[grammar]);
	else
		*field = milliseconds;
}

void fields_duration_go(struct reader *reader, const struct yaml_node *value, void *field)
{
	fields_read_duration(reader, value, DURATION_GO, field);
}

void fields_duration_gateway(struct reader *reader, const struct yaml_node *value, void *field)
{
	fields_read_duration(reader, value, DURATION_GEP2257, field);
}
