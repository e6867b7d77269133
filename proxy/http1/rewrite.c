#include "proxy/http1/rewrite.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "proxy/config/catalog.h"
#include "proxy/http1/http1.h"

/* The copy under way; nothing more is appended once there was no memory. */
struct rewriter {
	const uint8_t *extended; /* the line that the client was appended to, NULL = none */
	const struct rewrite *rewrite;
	struct buf *out;
	const char *host; /* the new one, NULL = as it is */
	bool host_is_targets; /* so the target stays */
	bool host_written;
	int result;
};

bool rewrite_needed(const struct rewrite *rewrite)
{
	return rewrite->close || rewrite->forwarded || rewrite->target || rewrite->host || rewrite->target_host || rewrite->edits[0] || rewrite->edits[1];
}

static void rewrite_put(struct rewriter *rewriter, const void *bytes, size_t length)
{
	if (!rewriter->result)
		rewriter->result = buf_append(rewriter->out, bytes, length);
}

static void rewrite_put_text(struct rewriter *rewriter, const char *text)
{
	rewrite_put(rewriter, text, strlen(text));
}

/* Text for a URI: what may not stand in one, and the characters of `also`, as %XX (RFC 3986 §2.1). */
static void rewrite_put_encoded(struct rewriter *rewriter, const char *text, const char *also)
{
	const char *plain = text;

	for (; *text; text++) {
		char code[sizeof "%XX"];

		if (*text > 0x20 && *text < 0x7f && !strchr(also, *text))
			continue;
		rewrite_put(rewriter, plain, (size_t)(text - plain));
		snprintf(code, sizeof code, "%%%02X", (unsigned char)*text);
		rewrite_put_text(rewriter, code);
		plain = text + 1;
	}
	rewrite_put_text(rewriter, plain);
}

static void rewrite_put_target(struct rewriter *rewriter)
{
	const char *target = rewriter->rewrite->target;

	if (*target != '/')
		rewrite_put(rewriter, "/", 1);
	rewrite_put_encoded(rewriter, target, "#");
}

/* Only what may stand in the host and port of a URI (RFC 3986 §3.2). */
static void rewrite_put_host(struct rewriter *rewriter)
{
	rewrite_put_encoded(rewriter, rewriter->host, "\"#/<>?@\\^`{|}");
}

/* The new Host line, in the place of the first one there was. */
static void rewrite_put_host_line(struct rewriter *rewriter)
{
	if (!rewriter->host || rewriter->host_written)
		return;
	rewrite_put_text(rewriter, "Host: ");
	rewrite_put_host(rewriter);
	rewrite_put_text(rewriter, "\r\n");
	rewriter->host_written = true;
}

/* Line breaks and other control bytes of the value become blanks (RFC 9110 §5.5). */
static void rewrite_put_field(struct rewriter *rewriter, const struct header_field *field)
{
	const char *plain = field->value, *at = plain;

	rewrite_put_text(rewriter, field->name);
	rewrite_put_text(rewriter, ": ");
	for (; *at; at++) {
		if (!iscntrl((unsigned char)*at) || *at == '\t')
			continue;
		rewrite_put(rewriter, plain, (size_t)(at - plain));
		rewrite_put(rewriter, " ", 1);
		plain = at + 1;
	}
	rewrite_put(rewriter, plain, (size_t)(at - plain));
	rewrite_put_text(rewriter, "\r\n");
}

/* --- edits --- */

/* Not what frames the message or belongs to this one connection; Host only as rewrite_new_host() has it; and no name that is no
 * token (RFC 9110 §5.6.2). */
static bool rewrite_is_editable(const char *name)
{
	static const char tokens[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char *const kept[] = {"connection", "content-length", "transfer-encoding", "upgrade", "host"};

	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (strcasecmp(name, kept[i]) == 0)
			return false;
	return *name && !name[strspn(name, tokens)];
}

static bool rewrite_is_name(const char *name, const void *bytes, size_t length)
{
	return strlen(name) == length && strncasecmp(name, bytes, length) == 0 && rewrite_is_editable(name);
}

/* Whether the edits from that level on take out the lines of this name. */
static bool rewrite_takes_out(const struct rewrite *rewrite, int level, const void *name, size_t length)
{
	for (; level < REWRITE_LEVELS; level++) {
		const struct header_edits *edits = rewrite->edits[level];

		for (size_t i = 0; edits && i < edits->set_count; i++)
			if (rewrite_is_name(edits->set[i].name, name, length))
				return true;
		for (size_t i = 0; edits && i < edits->remove_count; i++)
			if (rewrite_is_name(edits->remove[i], name, length))
				return true;
	}
	return false;
}

static void rewrite_put_fields(struct rewriter *rewriter, int level, const struct header_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = fields[i].name;

		if (rewrite_is_editable(name) && !rewrite_takes_out(rewriter->rewrite, level + 1, name, strlen(name)))
			rewrite_put_field(rewriter, &fields[i]);
	}
}

static const char *rewrite_new_host(const struct rewrite *rewrite)
{
	const char *host = NULL;

	if (rewrite->host && *rewrite->host)
		return rewrite->host;
	for (int level = 0; level < REWRITE_LEVELS; level++) {
		const struct header_edits *edits = rewrite->edits[level];

		for (size_t i = 0; edits && i < edits->set_count; i++)
			if (strcasecmp(edits->set[i].name, "host") == 0 && *edits->set[i].value)
				host = edits->set[i].value;
	}
	return host;
}

/* --- the head --- */

/* Behind the "://" of a target in absolute-form (RFC 9112 §3.2.2); NULL when it is not in that form. */
static const uint8_t *rewrite_find_authority(const uint8_t *target, const uint8_t *end)
{
	const uint8_t *colon = memchr(target, ':', (size_t)(end - target));

	return isalpha(*target) && colon && end - colon >= 3 && memcmp(colon, "://", 3) == 0 ? colon + 3 : NULL;
}

/* A target that is neither a path nor in absolute-form ("*", that of CONNECT) and a status line stay as they are. */
static void rewrite_put_first_line(struct rewriter *rewriter, const uint8_t *line, const uint8_t *next)
{
	const uint8_t *target = memchr(line, ' ', (size_t)(next - line)), *end = memrchr(line, ' ', (size_t)(next - line));
	const uint8_t *authority = NULL, *path = target ? target + 1 : NULL;

	if (target && target + 1 < end && target[1] != '/') {
		path = authority = rewrite_find_authority(target + 1, end);
		while (path && path < end && !strchr("/?#", *path))
			path++;
	}
	if (!path || path > end) {
		rewrite_put(rewriter, line, (size_t)(next - line));
		return;
	}
	if (authority && rewriter->host && !rewriter->host_is_targets) {
		rewrite_put(rewriter, line, (size_t)(authority - line));
		rewrite_put_host(rewriter);
		line = path;
	}
	if (rewriter->rewrite->target) {
		rewrite_put(rewriter, line, (size_t)(path - line));
		rewrite_put_target(rewriter);
		line = end;
	}
	rewrite_put(rewriter, line, (size_t)(next - line));
}

static const char *rewrite_forwarded_name(const struct rewrite *rewrite)
{
	return rewrite->x_forwarded_for ? "X-Forwarded-For" : "Forwarded";
}

/* The client as an element of that field. A scope says nothing to others, and node names have none (RFC 7239, 6). */
static void rewrite_put_client(struct rewriter *rewriter)
{
	const struct rewrite *rewrite = rewriter->rewrite;
	struct addr client = *rewrite->forwarded;
	bool quoted = client.family == AF_INET6 && !rewrite->x_forwarded_for;
	char host[ADDR_TEXT_SIZE];

	client.scope = 0;
	rewrite_put_text(rewriter, rewrite->x_forwarded_for ? "" : "for=");
	rewrite_put_text(rewriter, quoted ? "\"[" : "");
	rewrite_put_text(rewriter, addr_format_host(&client, host));
	rewrite_put_text(rewriter, quoted ? "]\"\r\n" : "\r\n");
}

/* The last line of that field which stays; NULL: there is none. */
static const uint8_t *rewrite_find_forwarded(const struct rewriter *rewriter, const uint8_t *line, const uint8_t *end)
{
	const char *name = rewrite_forwarded_name(rewriter->rewrite);
	const uint8_t *found = NULL, *next;

	for (; rewriter->rewrite->forwarded && line < end; line = next) {
		const uint8_t *lf = memchr(line, '\n', (size_t)(end - line));

		next = lf ? lf + 1 : end;
		if (lf && http1_line_is(line, (size_t)(next - line), name) && !rewrite_takes_out(rewriter->rewrite, 0, line, strlen(name)))
			found = line;
	}
	return found;
}

static void rewrite_put_lines(struct rewriter *rewriter, const uint8_t *line, const uint8_t *end)
{
	const uint8_t *unchanged = line, *next, *extended = rewrite_find_forwarded(rewriter, line, end);

	rewriter->extended = extended;
	for (; line < end; line = next) {
		const uint8_t *lf = memchr(line, '\n', (size_t)(end - line)), *colon;

		next = lf ? lf + 1 : end;
		colon = memchr(line, ':', (size_t)(next - line));
		if (line == extended) {
			const uint8_t *last = lf > line && lf[-1] == '\r' ? lf - 1 : lf;

			rewrite_put(rewriter, unchanged, (size_t)(last - unchanged));
			rewrite_put_text(rewriter, ", ");
			rewrite_put_client(rewriter);
			unchanged = next;
			continue;
		}
		bool host = rewriter->host && http1_line_is(line, (size_t)(next - line), "host");
		bool connection = rewriter->rewrite->close && http1_line_is(line, (size_t)(next - line), "connection");
		if (!host && !connection && !(colon && rewrite_takes_out(rewriter->rewrite, 0, line, (size_t)(colon - line))))
			continue;
		rewrite_put(rewriter, unchanged, (size_t)(line - unchanged));
		unchanged = next;
		if (host)
			rewrite_put_host_line(rewriter);
	}
	rewrite_put(rewriter, unchanged, (size_t)(end - unchanged));
}

int rewrite_head(const struct rewrite *rewrite, const uint8_t *head, size_t length, struct buf *out)
{
	struct rewriter rewriter = {.rewrite = rewrite, .out = out, .host = rewrite_new_host(rewrite)};
	const uint8_t *end = head + length - 2; /* the blank line */
	const uint8_t *lf, *fields;
	size_t before = buf_length(out);

	rewriter.host_is_targets = !rewriter.host;
	if (!rewriter.host)
		rewriter.host = rewrite->target_host;
	while (head < end && (*head == '\r' || *head == '\n'))
		head++;
	lf = memchr(head, '\n', (size_t)(end - head));
	fields = lf ? lf + 1 : end;
	rewrite_put_first_line(&rewriter, head, fields);
	rewrite_put_lines(&rewriter, fields, end);
	rewrite_put_host_line(&rewriter);
	for (int level = 0; level < REWRITE_LEVELS; level++) {
		const struct header_edits *edits = rewrite->edits[level];

		if (edits) {
			rewrite_put_fields(&rewriter, level, edits->set, edits->set_count);
			rewrite_put_fields(&rewriter, level, edits->add, edits->add_count);
		}
	}
	if (rewrite->forwarded && !rewriter.extended) {
		rewrite_put_text(&rewriter, rewrite_forwarded_name(rewrite));
		rewrite_put_text(&rewriter, ": ");
		rewrite_put_client(&rewriter);
	}
	if (rewrite->close)
		rewrite_put_text(&rewriter, "Connection: close\r\n");
	rewrite_put_text(&rewriter, "\r\n");
	if (rewriter.result)
		out->end = out->start + (uint32_t)before;
	return rewriter.result;
}
