#include "proxy/why/why_line.h"

#include <string.h>

#include "lib/clock.h"

static bool why_line_begins(struct why_slice slice, const char *text)
{
	size_t length = strlen(text);

	return slice.length >= length && memcmp(slice.bytes, text, length) == 0;
}

/* Without its first bytes. */
static struct why_slice why_line_from(struct why_slice slice, size_t offset)
{
	return (struct why_slice){slice.bytes + offset, slice.length - offset};
}

static bool why_line_is_record(struct why_slice slice)
{
	return why_line_begins(slice, "{\"ts\":") ||
	       (why_line_begins(slice, "ts=") && (slice.length == 3 || (slice.bytes[3] >= '0' && slice.bytes[3] <= '9')));
}

/* The first place behind a blank where a record begins. */
static bool why_line_search(struct why_slice line, size_t *offset)
{
	if (why_line_is_record(line)) {
		*offset = 0;
		return true;
	}
	for (const char *at = line.bytes;; at += 2) {
		at = memmem(at, line.length - (size_t)(at - line.bytes), "ts", 2);
		if (!at)
			return false;
		size_t start = (size_t)(at - line.bytes);

		if (start >= 2 && at[-1] == '"' && at[-2] == '{')
			start -= 2;
		if (start && (line.bytes[start - 1] == ' ' || line.bytes[start - 1] == '\t') &&
		    why_line_is_record(why_line_from(line, start))) {
			*offset = start;
			return true;
		}
	}
}

/* What the carrier calls the container: "[pod/NAME/CONTAINER] …", "NAME  | …". */
static struct why_slice why_line_pod(struct why_slice before)
{
	const char *bar, *slash;
	size_t length;

	if (why_line_begins(before, "[pod/")) {
		before = why_line_from(before, 5);
		slash = memchr(before.bytes, '/', before.length);
		return (struct why_slice){before.bytes, slash ? (size_t)(slash - before.bytes) : 0};
	}
	bar = memmem(before.bytes, before.length, " | ", 3);
	if (!bar)
		return (struct why_slice){0};
	length = (size_t)(bar - before.bytes);
	while (length && before.bytes[length - 1] == ' ')
		length--;
	if (memchr(before.bytes, ' ', length))
		return (struct why_slice){0};
	return (struct why_slice){before.bytes, length};
}

/* Docker's json-file has the line as "log", journalctl -o json as "MESSAGE", shippers often as "message". */
static bool why_line_unwrap(struct why_slice object, char *scratch, struct why_slice *inner)
{
	struct why_fields fields;
	struct why_field field;

	why_fields_begin(&fields, object.bytes, object.length);
	while (why_fields_next(&fields, &field) == 1) {
		if (!field.text || !(why_slice_is(field.key, "log") || why_slice_is(field.key, "MESSAGE") ||
		                     why_slice_is(field.key, "message")))
			continue;
		*inner = field.value;
		if (field.escaped)
			*inner = (struct why_slice){scratch, why_fields_unescape(field.value, scratch)};
		while (inner->length && (inner->bytes[inner->length - 1] == '\n' || inner->bytes[inner->length - 1] == '\r'))
			inner->length--;
		return true;
	}
	return false;
}

/* "TIME stdout F " or "TIME stderr P ", tags behind a colon: which stream, whether it is a part, and how long that is. False: it is
 * something else. */
static bool why_line_is_cri(struct why_slice line, int *stream, bool *part, size_t *offset)
{
	const char *space = memchr(line.bytes, ' ', line.length < 48 ? line.length : 48), *end;
	struct why_slice rest;
	int64_t ignored;

	if (!space || *line.bytes < '0' || *line.bytes > '9' ||
	    clock_parse(line.bytes, (size_t)(space - line.bytes), &ignored))
		return false;
	rest = why_line_from(line, (size_t)(space + 1 - line.bytes));
	if (!why_line_begins(rest, "stdout ") && !why_line_begins(rest, "stderr "))
		return false;
	*stream = rest.bytes[3] == 'e';
	rest = why_line_from(rest, 7);
	if (!rest.length || (*rest.bytes != 'P' && *rest.bytes != 'F'))
		return false;
	*part = *rest.bytes == 'P';
	end = memchr(rest.bytes, ' ', rest.length);
	if (!end || (end != rest.bytes + 1 && rest.bytes[1] != ':'))
		return false;
	*offset = (size_t)(end + 1 - line.bytes);
	return true;
}

static void why_line_keep(struct why_part *part, struct why_slice bytes)
{
	if (bytes.length > sizeof part->bytes - part->length) {
		part->over = true;
		return;
	}
	memcpy(part->bytes + part->length, bytes.bytes, bytes.length);
	part->length += bytes.length;
}

/* A line of a CRI file: joined with its parts. False: its end is still to come. */
static bool why_line_join(struct why_lines *lines, struct why_slice *line, struct why_line *out)
{
	struct why_part *kept;
	int stream;
	size_t offset;

	if (!why_line_is_cri(*line, &stream, &out->part, &offset))
		return true;
	kept = &lines->parts[stream];
	*line = why_line_from(*line, offset);
	if (out->part || kept->length || kept->over)
		why_line_keep(kept, *line);
	if (out->part)
		return false;
	if (kept->length || kept->over) {
		*line = (struct why_slice){kept->bytes, kept->length};
		out->over = kept->over;
		kept->length = 0; /* the bytes stay until the next part comes */
		kept->over = false;
	}
	return true;
}

void why_line_find(struct why_lines *lines, const char *bytes, size_t length, struct why_line *out)
{
	struct why_slice line = {bytes, length}, inner;
	size_t offset;

	*out = (struct why_line){0};
	if (length && bytes[length - 1] == '\r')
		line.length--;
	if (!line.length || (*bytes >= '0' && *bytes <= '9' && !why_line_join(lines, &line, out)) || !line.length)
		return;
	if (*line.bytes == '{' && !why_line_begins(line, "{\"ts\":")) {
		if (why_line_unwrap(line, lines->scratch, &inner))
			line = inner;
		else
			out->record = line; /* ours, if a shipper has sorted its fields */
	}
	if (!line.length || out->record.bytes || !why_line_search(line, &offset))
		return;
	out->record = why_line_from(line, offset);
	out->pod = why_line_pod((struct why_slice){line.bytes, offset});
}
