/* Changed heads: whatever the configuration says,
    the copy is one head with the framing it had and nothing more or less than was asked.
 * The first byte chooses what is changed, then eight texts up to a NUL each, the rest is the head. */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <strings.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "proxy/config/catalog.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_field.h"
#include "proxy/http1/rewrite.h"

static const struct http1_limits limits = {1 << 20, 1 << 20, 1 << 20, 1024};

enum { TARGET, HOST, SET_NAME, SET_VALUE, ADD_NAME, ADD_VALUE, REMOVE, BACKEND_NAME, TEXTS };

static int parse(enum http1_kind kind, const uint8_t *bytes, size_t size, size_t *length, struct message_head *head)
{
	static const struct message_head question = {0};
	struct input_scan scan = {0};
	struct http1_error error;
	int result = http1_scan_head(&scan, kind, bytes, size, &limits, length, &error);
	return result ? result : http1_parse_head(kind, bytes, *length, kind == HTTP1_RESPONSE ? &question : NULL, &limits, head,
	    &error);
}

static int lines_named(const uint8_t *bytes, size_t length, const char *name)
{
	int count = 0;
	const uint8_t *line = bytes, *end = bytes + length, *lf;
	for (; (lf = memchr(line, '\n', (size_t)(end - line))); line = lf + 1)
		count += line != bytes && http1_line_is(line, (size_t)(lf - line), name);
	return count;
}

static bool is_one_of(const char *name, const char *const *names)
{
	while (*names && strcasecmp(name, *names) != 0)
		names++;
	return *names;
}

static bool is_editable(const char *name)
{
	static const char *const kept[] = {"connection", "content-length", "transfer-encoding", "upgrade", "host", NULL};
	for (const char *c = name; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", *c))
			return false;
	return *name && !is_one_of(name, kept);
}

static void lines_are_right(const struct rewrite *rewrite, const uint8_t *head, size_t length, const struct buf *out)
{
	const struct header_edits *rule = rewrite->edits[0], *backend = rewrite->edits[1];
	const char *const names[] = {"a", "connection", "content-length", "host", "upgrade",
	"forwarded", "x-forwarded-for", rule ? rule->set->name : "b",
	                             rule ? rule->add->name : "c", rule ? *rule->remove : "d", backend ? backend->add->name : "e"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *name = names[i];
		bool editable = is_editable(name);
		int count = lines_named(head, length, name);
		if (rule && editable && (strcasecmp(name, rule->set->name) == 0 || strcasecmp(name, *rule->remove) == 0))
			count = 0;
		bool kept = count; /* a line that the client can be appended to */
		if (rule && editable)
			count += (strcasecmp(name, rule->set->name) == 0) + (strcasecmp(name, rule->add->name) == 0);
		if (backend && editable)
			count += strcasecmp(name, backend->add->name) == 0;
		if (rewrite->forwarded && !kept)
			count += strcasecmp(name, rewrite->x_forwarded_for ? "x-forwarded-for" : "forwarded") == 0;
		if (rewrite->close && strcasecmp(name, "connection") == 0)
			count = 1;
		if (strcasecmp(name, "host") == 0 && count != lines_named(buf_bytes(out), buf_length(out), name))
			count = (rewrite->host && *rewrite->host) || (rule && strcasecmp(rule->set->name, "host") == 0) ? 1 : count;
		/* A name that is none can only match by chance what stands elsewhere. */
		if (editable || strcasecmp(name, "host") == 0)
			HOLDS(lines_named(buf_bytes(out), buf_length(out), name) == count);
	}
}

static void means_the_same(const struct rewrite *rewrite, enum http1_kind kind, const struct message_head *before,
    const struct buf *out)
{
	struct message_head after;
	size_t length;
	uint8_t *bytes = exact_copy(buf_bytes(out), buf_length(out));
	HOLDS(parse(kind, bytes, buf_length(out), &length, &after) == 0);
	HOLDS(length == buf_length(out) && after.minor == before->minor && after.status == before->status);
	HOLDS(after.framing == before->framing && after.is_head == before->is_head && after.is_connect == before->is_connect);
	HOLDS(after.framing != MESSAGE_LENGTH || after.content_length == before->content_length);
	HOLDS(rewrite->close ? !after.keep_alive && !after.upgrade : after.keep_alive == before->keep_alive &&
	    after.upgrade == before->upgrade);
	if (kind == HTTP1_REQUEST) {
		HOLDS(after.method.length == before->method.length);
		HOLDS(memcmp(after.method.bytes, bytes, after.method.length) == 0);
		if (!rewrite->target && !rewrite->host && !rewrite->edits[0])
			HOLDS(after.target.length == before->target.length &&
			      memcmp(after.target.bytes, before->target.bytes, after.target.length) == 0);
	}
	free(bytes);
}

/* Documents name hosts and nothing else there; a head with another would be refused. */
static bool is_no_host(const char *name, const char *value)
{
	bool odd = false;

	for (const char *at = value; *at; at++)
		odd |= *at <= ' ' || *at >= 0x7f;
	return strcasecmp(name, "host") == 0 && (odd || !http1_is_host((struct slice){(const uint8_t *)value, strlen(value)}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *texts[TEXTS];
	if (size < 1)
		return 0;
	uint8_t *copy = exact_copy(data, size), *at = copy + 1, *end = copy + size;
	for (int i = 0; i < TEXTS; i++) {
		uint8_t *nul = memchr(at, '\0', (size_t)(end - at));
		if (!nul) {
			free(copy);
			return 0;
		}
		texts[i] = (const char *)at;
		at = nul + 1;
	}
	if (is_no_host("host", texts[HOST]) || is_no_host(texts[SET_NAME], texts[SET_VALUE]) || is_no_host(texts[ADD_NAME], texts[ADD_VALUE]) ||
	    is_no_host(texts[BACKEND_NAME], texts[ADD_VALUE])) {
		free(copy);
		return 0;
	}
	struct addr client = {.family = data[0] & 1 ? AF_INET : AF_INET6, .bytes = {10, 1}};
	const struct header_field set = {texts[SET_NAME], texts[SET_VALUE]}, add = {texts[ADD_NAME], texts[ADD_VALUE]},
				  more = {texts[BACKEND_NAME], texts[ADD_VALUE]};
	const struct header_edits rule = {.set = &set, .set_count = 1, .add = &add, .add_count = 1, .remove = &texts[REMOVE],
	    .remove_count = 1},
				  backend = {.add = &more, .add_count = 1};
	const struct rewrite rewrite = {
	    .forwarded = data[0] & 2 ? &client : NULL,
	    .x_forwarded_for = texts[BACKEND_NAME][0] & 1,
	    .close = data[0] & 4,
	    .target = data[0] & 8 ? texts[TARGET] : NULL,
	    .host = data[0] & 16 ? texts[HOST] : NULL,
	    .edits = {data[0] & 32 ? &rule : NULL, data[0] & 64 ? &backend : NULL},
	};
	enum http1_kind kind = data[0] & 128 ? HTTP1_RESPONSE : HTTP1_REQUEST;
	struct message_head before;
	size_t length;
	struct buf out = {0};

	if (parse(kind, at, (size_t)(end - at), &length, &before) == 0) {
		uint8_t *head = exact_copy(at, length);
		HOLDS(rewrite_head(&rewrite, head, length, &out) == 0);
		size_t empty = 0;
		while (head[empty] == '\r' || head[empty] == '\n')
			empty++;
		HOLDS(rewrite_needed(&rewrite) ||
		      (buf_length(&out) == length - empty && memcmp(buf_bytes(&out), head + empty, buf_length(&out)) == 0));
		lines_are_right(&rewrite, head, length, &out);
		means_the_same(&rewrite, kind, &before, &out);
		buf_release(&out);
		free(head);
	}
	free(copy);
	return 0;
}
