#include "proxy/publish/json_stream.h"

#include <errno.h>
#include <string.h>

#include "lib/text.h"

static bool json_stream_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where the byte at hand belongs. */
static bool json_stream_keeps(const struct json_stream *stream)
{
	return stream->form == JSON_STREAM_LIST || stream->in_item;
}

static int json_stream_keep(struct json_stream *stream, const char *bytes, size_t length)
{
	if (length == 0 || !json_stream_keeps(stream))
		return 0;
	if (!stream->in_item) {
		if (buf_length(&stream->rest) + length > JSON_STREAM_REST_MOST)
			return -EMSGSIZE;
		return buf_append(&stream->rest, bytes, length);
	}
	if (stream->cut || buf_length(&stream->item) + length > stream->most) {
		size_t room = stream->most - buf_length(&stream->item);

		length = stream->cut ? 0 : room;
		stream->cut = true;
	}
	return length > 0 ? buf_append(&stream->item, bytes, length) : 0;
}

/* An object has ended. */
static int json_stream_give(struct json_stream *stream)
{
	enum { KEPT = 64 << 10 };
	bool more = stream->value(stream->owner, (const char *)buf_bytes(&stream->item), buf_length(&stream->item), stream->cut);

	stream->in_item = stream->cut = false;
	if (stream->item.capacity > KEPT)
		buf_release(&stream->item);
	else
		buf_clear(&stream->item);
	return more ? 0 : -ECANCELED;
}

/* Inside quotes: the number of bytes up to and with the closing quote, or all. */
static size_t json_stream_quoted(struct json_stream *stream, const char *bytes, size_t length)
{
	size_t at = 0;

	for (; at < length && stream->quoted; at++) {
		if (stream->escaped)
			stream->escaped = false;
		else if (bytes[at] == '\\')
			stream->escaped = true;
		else if (bytes[at] == '"')
			stream->quoted = false;
		if (stream->depth == 1 && stream->quoted) {
			if (stream->key_length < sizeof stream->key)
				stream->key[stream->key_length] = bytes[at];
			stream->key_length += stream->key_length <= sizeof stream->key;
		}
	}
	return at;
}

/* Between objects only blanks, and commas between items, may stand. 1: an object begins. */
static int json_stream_between(struct json_stream *stream, char c)
{
	if (c == '{') {
		stream->in_item = true;
		return 1;
	}
	if (json_stream_is_blank(c) || (stream->in_items && c == ','))
		return 0;
	return -EBADMSG;
}

static bool json_stream_at_items(const struct json_stream *stream)
{
	return stream->form == JSON_STREAM_LIST && stream->depth == 1 && stream->key_length == 5 && memcmp(stream->key, "items", 5) == 0;
}

/* One byte outside quotes, which is kept already or will be. 1: an object ends with it. */
static int json_stream_step(struct json_stream *stream, char c)
{
	uint32_t floor = stream->form == JSON_STREAM_LIST ? 2 : 0;

	switch (c) {
	case '"':
		stream->quoted = true;
		stream->key_length = stream->depth == 1 ? 0 : stream->key_length;
		break;
	case '[':
		stream->in_items |= json_stream_at_items(stream);
		__attribute__((fallthrough));
	case '{':
		if (stream->depth == UINT32_MAX)
			return -EBADMSG;
		stream->depth++;
		break;
	case '}':
	case ']':
		if (stream->depth == 0)
			return -EBADMSG;
		stream->depth--;
		if (stream->in_item && stream->depth == floor)
			return 1;
		stream->whole = stream->depth == 0;
		break;
	default:
		if (stream->depth == 0 && !json_stream_is_blank(c))
			return -EBADMSG;
	}
	return 0;
}

/* The items have ended, or one of them begins, or it is nothing. */
static int json_stream_outside(struct json_stream *stream, char c)
{
	if (stream->in_items && !stream->in_item && c == ']') {
		stream->in_items = false;
		stream->key_length = 0;
		return 1;
	}
	return json_stream_between(stream, c);
}

int json_stream_feed(struct json_stream *stream, const char *bytes, size_t length)
{
	size_t from = 0, at = 0;
	int result = 0;

	while (at < length && result == 0) {
		if (stream->quoted) {
			at += json_stream_quoted(stream, bytes + at, length - at);
			continue;
		}
		char c = bytes[at];
		if (stream->form == JSON_STREAM_LIST && stream->whole && !json_stream_is_blank(c))
			return -EBADMSG;
		if (!stream->in_item && (stream->form == JSON_STREAM_EVENTS || stream->in_items)) {
			int belongs = json_stream_outside(stream, c);

			if (belongs < 0)
				return belongs;
			from = belongs ? at : at + 1;
			if (!belongs) {
				at++;
				continue;
			}
		}
		bool items = stream->in_items;
		result = json_stream_step(stream, c);
		at++;
		if (result < 0)
			return result;
		if (result > 0 || items != stream->in_items) { /* an object ends, or the items begin */
			bool ends = result > 0;

			result = json_stream_keep(stream, bytes + from, at - from);
			from = at;
			if (result == 0 && ends)
				result = json_stream_give(stream);
		}
	}
	if (result != 0)
		return result;
	if (!stream->in_item && (stream->form == JSON_STREAM_EVENTS || stream->in_items))
		return 0;
	return json_stream_keep(stream, bytes + from, at - from);
}

bool json_stream_is_whole(const struct json_stream *stream)
{
	return stream->form == JSON_STREAM_LIST ? stream->whole : !stream->in_item;
}

const char *json_stream_rest(const struct json_stream *stream, size_t *length)
{
	*length = buf_length(&stream->rest);
	return (const char *)buf_bytes(&stream->rest);
}

void json_stream_reset(struct json_stream *stream)
{
	struct json_stream fresh = {stream->form, stream->most, stream->value, stream->owner};

	buf_release(&stream->item);
	buf_release(&stream->rest);
	*stream = fresh;
}

/* --- the beginning of an object --- */

enum { PATH_MOST = 4 };
struct json_stream_path {
	const char *keys[PATH_MOST];
	size_t lengths[PATH_MOST];
	size_t depth;
};

static bool json_stream_is_at(const struct json_stream_path *path, bool event, const char *field)
{
	const char *const keys[] = {"object", "metadata", field};
	size_t skip = event ? 0 : 1;

	if (path->depth != 3 - skip)
		return false;
	for (size_t i = 0; i < path->depth; i++)
		if (path->keys[i] == NULL || path->lengths[i] != strlen(keys[i + skip]) ||
		    memcmp(path->keys[i], keys[i + skip], path->lengths[i]) != 0)
			return false;
	return true;
}

/* A text that has been read, from the quote at `from` to the one at `to`: a key, or a value. */
static void json_stream_note(struct json_stream_path *path, const char *bytes, size_t length, size_t from, size_t to, bool event,
                             struct text *namespace, struct text *name)
{
	size_t next = to + 1, at = path->depth - 1;

	while (next < length && json_stream_is_blank(bytes[next]))
		next++;
	if (next < length && bytes[next] == ':') {
		if (path->depth >= 1 && path->depth <= PATH_MOST) {
			path->keys[at] = bytes + from + 1;
			path->lengths[at] = to - from - 1;
		}
	} else if (namespace->length == 0 && json_stream_is_at(path, event, "namespace")) {
		text_append(namespace, bytes + from + 1, to - from - 1);
	} else if (name->length == 0 && json_stream_is_at(path, event, "name")) {
		text_append(name, bytes + from + 1, to - from - 1);
	}
}

void json_stream_find_name(const char *bytes, size_t length, bool event, struct text *namespace, struct text *name)
{
	struct json_stream_path path = {.depth = 0};

	for (size_t at = 0; at < length; at++) {
		char c = bytes[at];

		if (c == '{' || c == '[') {
			if (path.depth < PATH_MOST)
				path.keys[path.depth] = NULL;
			path.depth++;
		} else if (c == '}' || c == ']') {
			if (path.depth == 0)
				return;
			path.depth--;
		} else if (c == '"') {
			size_t from = at++;

			while (at < length && bytes[at] != '"')
				at += bytes[at] == '\\' ? 2 : 1;
			if (at >= length)
				return;
			json_stream_note(&path, bytes, length, from, at, event, namespace, name);
		}
	}
}
