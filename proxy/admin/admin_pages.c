#include "proxy/admin/admin_pages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_host.h"
#include "proxy/connection/worker.h"

enum method { METHOD_GET, METHOD_POST, METHODS };

static admin_page admin_pages_index, admin_pages_live, admin_pages_ready, admin_pages_version, admin_pages_drain,
	admin_pages_shutdown, admin_pages_log_level;

/* Everything there is: one row a page. What is not for outside is for this host only, a POST, which changes something, always. */
static const struct {
	enum method method;
	const char *path;
	admin_page *run;
	const char *help;
	const char *parameters; /* those it knows, between blanks; NULL: it looks at none and minds none */
	bool outside; /* other hosts may see it too: those who probe and scrape */
} pages[] = {
    {METHOD_GET, "/", admin_pages_index, "this list", NULL},
    {METHOD_GET, "/live", admin_pages_live, "200 while the process runs", NULL, true},
    {METHOD_GET, "/ready", admin_pages_ready, "200, or 503 once it drains", NULL, true},
    {METHOD_GET, "/version", admin_pages_version, "the version", NULL},
    {METHOD_GET, "/metrics", admin_metrics_page, "Prometheus text, or OpenMetrics as Accept says", NULL, true},
    {METHOD_GET, "/config", admin_config_page, "timeouts with their sources, documents read, settings; ?service=NAMESPACE/NAME[:PORT]",
     " service "},
    {METHOD_GET, "/connections", admin_view_connections,
     "those open now, as JSON, or as a page in a browser; ?direction= client= server= service= protocol= stage= timer= id= sort=deadline|age limit= "
     "format=html|json",
     " direction client server service protocol stage timer id sort limit format refresh "},
    {METHOD_GET, "/connections.js", admin_html_script, "the script by which that page refreshes itself", NULL},
    {METHOD_GET, "/half-closed", admin_view_half_closed, "those of which one side has finished, as JSON; filters as above",
     " direction client server service protocol stage timer id sort limit "},
    {METHOD_POST, "/drain", admin_pages_drain, "begins to shut down, as SIGTERM does", ""},
    {METHOD_POST, "/shutdown", admin_pages_shutdown, "the same, by the name that Linkerd has for it: the end of a Job", ""},
    {METHOD_POST, "/log-level", admin_pages_log_level, "?level=debug|info|warn|error|off", " level "},
    {METHOD_POST, "/connections/close", admin_view_close, "ends those that ?id= or filters as above choose",
     " direction client server service protocol stage timer id "},
};

enum { PAGES = sizeof pages / sizeof pages[0] };

static const char *const methods[] = {[METHOD_GET] = "GET", [METHOD_POST] = "POST"};
static const char *const allowed[] = {[METHOD_GET] = "GET, HEAD", [METHOD_POST] = "POST"};

/* --- answers --- */

FILE *admin_pages_open(struct admin_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	return open_memstream(&answer->body, &answer->length);
}

void admin_pages_close(struct admin_answer *answer, FILE *out, int status, const char *type)
{
	bool failed = !out || ferror(out);

	if (out && fclose(out))
		failed = true;
	answer->status = failed ? 503 : status;
	answer->type = failed ? NULL : type;
	if (!failed)
		return;
	free(answer->body);
	answer->body = NULL;
	answer->length = 0;
}

void admin_pages_say(struct admin_call *call, int status, const char *format, ...)
{
	FILE *out = admin_pages_open(call->answer);
	va_list arguments;

	va_start(arguments, format);
	if (out) {
		vfprintf(out, format, arguments);
		fputc('\n', out);
	}
	va_end(arguments);
	admin_pages_close(call->answer, out, status, NULL);
}

/* --- requests --- */

static bool admin_pages_is(const struct slice *slice, const char *text)
{
	return slice->length == strlen(text) && memcmp(slice->bytes, text, slice->length) == 0;
}

static int admin_pages_hex(uint8_t digit)
{
	return digit >= '0' && digit <= '9' ? digit - '0' : (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f' ? (digit | 0x20) - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded */
static void admin_pages_decode(const uint8_t *bytes, size_t length, struct text *out)
{
	for (size_t i = 0; i < length; i++) {
		int high = bytes[i] == '%' && i + 2 < length ? admin_pages_hex(bytes[i + 1]) : -1;
		int low = high < 0 ? -1 : admin_pages_hex(bytes[i + 2]);

		if (low >= 0)
			i += 2;
		text_char(out, low >= 0 ? (char)(high * 16 + low) : bytes[i] == '+' ? ' ' : (char)bytes[i]);
	}
}

/* The next NAME[=VALUE] of a form; what it takes is cut off its front. False: there is none. */
static bool admin_pages_next(struct slice *form, struct slice *name, struct slice *value)
{
	const uint8_t *end, *equals;

	while (form->length && *form->bytes == '&')
		*form = (struct slice){form->bytes + 1, form->length - 1};
	if (!form->length)
		return false;
	end = memchr(form->bytes, '&', form->length);
	end = end ? end : form->bytes + form->length;
	equals = memchr(form->bytes, '=', (size_t)(end - form->bytes));
	*name = (struct slice){form->bytes, (size_t)((equals ? equals : end) - form->bytes)};
	*value = equals ? (struct slice){equals + 1, (size_t)(end - equals - 1)} : (struct slice){end, 0};
	*form = (struct slice){end, form->length - (size_t)(end - form->bytes)};
	return true;
}

static struct slice admin_pages_body_form(const struct admin_call *call)
{
	struct slice form = call->body;

	while (form.length && (form.bytes[form.length - 1] == '\n' || form.bytes[form.length - 1] == '\r'))
		form.length--;
	return form;
}

bool admin_pages_parameter(const struct admin_call *call, const char *name, struct text *value)
{
	struct slice forms[] = {call->query, admin_pages_body_form(call)}, key, raw;

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		while (admin_pages_next(&forms[i], &key, &raw))
			if (admin_pages_is(&key, name)) {
				admin_pages_decode(raw.bytes, raw.length, value);
				return true;
			}
	return false;
}

bool admin_pages_field_has(const struct admin_call *call, const char *name, const char *bytes)
{
	const uint8_t *line = call->fields.bytes, *end = line + call->fields.length, *next;

	for (; line < end; line = next + 1) {
		next = memchr(line, '\n', (size_t)(end - line));
		if (!next)
			break;
		if (http1_line_is(line, (size_t)(next - line), name) && memmem(line, (size_t)(next - line), bytes, strlen(bytes)))
			return true;
	}
	return false;
}

/* A field's value without the blanks around it. False: there is no such field. */
static bool admin_pages_field(const struct admin_call *call, const char *name, struct text *value)
{
	const char *line = (const char *)call->fields.bytes, *end = line + call->fields.length, *next;

	for (; line < end; line = next + 1) {
		const char *from, *to;

		next = memchr(line, '\n', (size_t)(end - line));
		if (!next)
			break;
		if (!http1_line_is((const uint8_t *)line, (size_t)(next - line), name))
			continue;
		from = line + strlen(name) + 1;
		for (to = next; to > from && strchr(" \t\r", to[-1]);)
			to--;
		while (from < to && strchr(" \t", *from))
			from++;
		text_append(value, from, (size_t)(to - from));
		return true;
	}
	return false;
}

/* Whether the request is for us, whatever name another page made mean our address. One without Host is none of a browser's; a POST needs
 * it all the same, and an address or localhost in it. */
static bool admin_pages_is_for_us(const struct admin_call *call, enum method method)
{
	TEXT_ON_STACK(host, 320);

	if (!admin_pages_field(call, "host", &host))
		return method == METHOD_GET;
	return !host.truncated && (admin_host_is_plain(host_bytes) ||
	                           (method == METHOD_GET && admin_host_is_ours(host_bytes, &call->context->names)));
}

/* Which of the words between blanks it is, from 0; -1: none. */
static int admin_pages_word(const struct slice *name, const char *words)
{
	int at = 0;

	for (words += strspn(words, " "); *words; words += strcspn(words, " "), words += strspn(words, " "), at++)
		if (name->length == strcspn(words, " ") && memcmp(name->bytes, words, name->length) == 0)
			return at;
	return -1;
}

/* A parameter that is not known, or a second one of a name, would be a filter that does not filter. */
static bool admin_pages_known(struct admin_call *call, const char *known)
{
	struct slice forms[] = {call->query, admin_pages_body_form(call)}, key, value;
	uint32_t seen = 0;

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		while (admin_pages_next(&forms[i], &key, &value)) {
			int word = admin_pages_word(&key, known);

			if (word < 0 && i && value.bytes == key.bytes + key.length) /* a body may be a mere word */
				continue;
			if (word < 0) {
				admin_pages_say(call, 400, "a parameter is not known here; known are:%s", *known ? known : " none");
				return false;
			}
			if (seen & 1U << word) {
				admin_pages_say(call, 400, "%.*s is given twice", (int)key.length, (const char *)key.bytes);
				return false;
			}
			seen |= 1U << word;
		}
	return true;
}

void admin_pages_answer(struct admin_call *call)
{
	enum method method = admin_pages_is(&call->head->method, "POST") ? METHOD_POST : METHOD_GET;
	bool is_method = method == METHOD_POST || call->head->is_head || admin_pages_is(&call->head->method, "GET");
	size_t found = PAGES;

	for (size_t i = 0; i < PAGES; i++)
		if (admin_pages_is(&call->path, pages[i].path))
			found = i;
	if (method == METHOD_GET && !admin_pages_is_for_us(call, method)) {
		admin_pages_say(call, 421, "Host is none of this proxy's names: ask by an address, localhost or the pod's name, or start "
		                "lapse-proxy with --admin-host and that name");
	} else if (found == PAGES) {
		admin_pages_index(call);
		call->answer->status = call->answer->status == 200 ? 404 : call->answer->status;
	} else if (!is_method || pages[found].method != method) {
		admin_pages_say(call, 405, "%s takes %s", pages[found].path, allowed[pages[found].method]);
		call->answer->allow = allowed[pages[found].method];
	} else if (!pages[found].outside && !call->loopback) {
		admin_pages_say(call, 403, "%s is for the same host only: connect to a loopback address, as kubectl port-forward does; from "
		                "elsewhere there are /live, /ready and /metrics", pages[found].path);
	} else if (method == METHOD_POST && admin_pages_field_has(call, "origin", "")) {
		admin_pages_say(call, 403, "this is not done for pages in a browser, which send an Origin field");
	} else if (method == METHOD_POST && !admin_pages_is_for_us(call, method)) {
		admin_pages_say(call, 403, "this is done only where Host is an address or localhost, so that no page in a browser can ask it");
	} else if (!pages[found].parameters || admin_pages_known(call, pages[found].parameters)) {
		pages[found].run(call);
	}
}

/* --- the small pages --- */

static void admin_pages_index(struct admin_call *call)
{
	FILE *out = admin_pages_open(call->answer);

	for (size_t i = 0; i < PAGES && out; i++)
		fprintf(out, "%-4s %-18s %s\n", methods[pages[i].method], pages[i].path, pages[i].help);
	admin_pages_close(call->answer, out, 200, NULL);
}

static void admin_pages_live(struct admin_call *call)
{
	admin_pages_say(call, 200, "live");
}

static void admin_pages_ready(struct admin_call *call)
{
	bool draining = atomic_load_explicit(&call->context->proxy->drain, memory_order_relaxed) != DRAIN_NONE;

	admin_pages_say(call, draining ? 503 : 200, draining ? "draining" : "ready");
}

static void admin_pages_version(struct admin_call *call)
{
	admin_pages_say(call, 200, "lapse-proxy %s", LAPSE_VERSION);
}

static void admin_pages_begin_drain(struct admin_call *call, const char *who)
{
	bool draining = atomic_load_explicit(&call->context->proxy->drain, memory_order_relaxed) != DRAIN_NONE;

	if (!draining)
		call->context->drain(call->context->owner, who);
	admin_pages_say(call, 200, draining ? "it drains already" : "draining");
}

static void admin_pages_drain(struct admin_call *call)
{
	admin_pages_begin_drain(call, "POST /drain");
}

static void admin_pages_shutdown(struct admin_call *call)
{
	admin_pages_begin_drain(call, "POST /shutdown");
}

static void admin_pages_log_level(struct admin_call *call)
{
	const struct admin_context *context = call->context;
	struct slice body = admin_pages_body_form(call);
	enum log_level level;
	TEXT_ON_STACK(name, 16);
	bool wanted;

	if (!admin_pages_parameter(call, "level", &name))
		text_append(&name, (const char *)body.bytes, body.length);
	if (log_find_level(name_bytes, &level)) {
		admin_pages_say(call, 400, "level: debug, info, warn, error or off");
		return;
	}
	wanted = log_wants(context->log, LOG_INFO); /* it is said under the more talkative of the two levels */
	if (wanted)
		log_message(context->log, LOG_INFO, "the log level becomes %s, as POST /log-level asks", name_bytes);
	log_set_level(context->log, level);
	if (!wanted)
		log_message(context->log, LOG_INFO, "the log level becomes %s, as POST /log-level asks", name_bytes);
	for (int i = 0; i < context->proxy->worker_count; i++)
		if (context->proxy->workers[i])
			log_set_level(context->proxy->workers[i]->log, level);
	admin_pages_say(call, 200, "%s", log_level_name(level));
}
