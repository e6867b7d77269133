/* /connections for people: one page that refreshes itself, with a script of our own or, without scripts, by a meta element. Nothing
 * comes from elsewhere. Its text, style and script are connections.html, .css and .js; here is what changes in it. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/duration.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_files.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/admin/admin_view.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/policy/policy.h"

/* --- pieces --- */

/* slash: what stands for one. */
static void admin_html_escape(FILE *out, const char *text, const char *slash)
{
	for (; *text; text++)
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '/':
			fputs(slash, out);
			break;
		default:
			fputc(*text, out);
			break;
		}
}

static void admin_html_text(FILE *out, const char *text)
{
	admin_html_escape(out, text, "/<wbr>"); /* a good place for a new line */
}

/* An IPv6 address is long: behind each colon is a place for a new line. */
static void admin_html_address_text(FILE *out, const char *text)
{
	for (bool long_one = *text == '['; *text; text++) {
		fputc(*text, out);
		if (long_one && *text == ':' && text[1] != ':')
			fputs("<wbr>", out);
	}
}

static void admin_html_attribute(FILE *out, const char *text)
{
	admin_html_escape(out, text, "/");
}

static void admin_html_url(FILE *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:";

	for (; *text; text++)
		if (strchr(plain, *text))
			fputc(*text, out);
		else
			fprintf(out, "%%%02X", (unsigned char)*text);
}

/* <a href="…">: this page with one parameter changed; value NULL: without it. attributes: further ones. */
static void admin_html_open_link(const struct view *view, enum view_parameter changed, const char *value, const char *attributes, FILE *out)
{
	const char *separator = "?";

	fprintf(out, "<a%s href=\"/connections", attributes);
	for (int i = 0; i < VIEW_PARAMETERS; i++) {
		const char *now = i == (int)changed ? value : view->values[i];

		if (!now || !*now)
			continue;
		fprintf(out, "%s%s=", separator, admin_view_parameter_name((enum view_parameter)i));
		admin_html_url(out, now);
		separator = "&amp;";
	}
	fputs("\">", out);
}

static void admin_html_link(const struct view *view, enum view_parameter changed, const char *value, FILE *out)
{
	admin_html_open_link(view, changed, value, "", out);
}

/* In the table only the first link of a row is a tab stop; the script leads from it to the others. */
static void admin_html_cell_link(const struct view *view, enum view_parameter changed, const char *value, FILE *out)
{
	admin_html_open_link(view, changed, value, " tabindex=-1", out);
}

/* As precise as is of use: tenths below ten seconds. */
static void admin_html_duration(int64_t milliseconds, FILE *out)
{
	char text[DURATION_TEXT_SIZE];

	if (milliseconds < 10000)
		fprintf(out, "%" PRId64 ".%" PRId64 "s", milliseconds / 1000, milliseconds % 1000 / 100);
	else
		fputs(duration_format(milliseconds / 1000 * 1000, text), out);
}

static void admin_html_bytes(uint64_t bytes, FILE *out)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
		value /= 1024;
	fprintf(out, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* --- columns --- */

static void admin_html_filter(const struct view *view, enum view_parameter parameter, const char *value, FILE *out)
{
	admin_html_cell_link(view, parameter, value, out);
	admin_html_text(out, value);
	fputs("</a>", out);
}

static void admin_html_id(const struct view *view, const struct walk_row *row, FILE *out)
{
	char id[24];

	snprintf(id, sizeof id, "%" PRIu64, row->id);
	admin_html_link(view, VIEW_ID, id, out);
	fprintf(out, "%s</a>", id);
}

static void admin_html_direction(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_filter(view, VIEW_DIRECTION, words_direction(row->direction), out);
}

/* A click on the address chooses its host. */
static void admin_html_address(const struct view *view, enum view_parameter parameter, const struct addr *addr, FILE *out)
{
	char host[ADDR_TEXT_SIZE], text[ADDR_TEXT_SIZE];

	if (!addr->family)
		return;
	admin_html_cell_link(view, parameter, addr_format_host(addr, host), out);
	admin_html_address_text(out, addr_format(addr, text));
	fputs("</a>", out);
}

static void admin_html_client(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_address(view, VIEW_CLIENT, &row->client, out);
}

static void admin_html_server(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_address(view, VIEW_SERVER, &row->server, out);
}

static void admin_html_service(const struct view *view, const struct walk_row *row, FILE *out)
{
	if (row->service)
		admin_html_filter(view, VIEW_SERVICE, row->service, out);
}

static void admin_html_protocol(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_filter(view, VIEW_PROTOCOL, words_protocol(row->protocol), out);
}

static void admin_html_stage(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_filter(view, VIEW_STAGE, words_phase(row->phase), out);
	if (row->half_closed)
		fprintf(out, " <span class=quiet>%s finished</span>", row->client_finished ? "client" : "server");
	if (row->unread) {
		fputs(" <span class=quiet>unread since ", out);
		admin_html_text(out, row->unread);
		fputs("</span>", out);
	}
}

static void admin_html_age(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_duration(row->age, out);
}

static void admin_html_idle(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_duration(row->idle, out);
}

static void admin_html_deadline(const struct view *view, const struct walk_row *row, FILE *out)
{
	enum { SOON_MS = 10000 };

	if (row->left == INT64_MAX) {
		fputs("<span class=quiet>none</span>", out);
		return;
	}
	fputs(row->left < SOON_MS ? "<span class=soon>" : "<span>", out);
	admin_html_duration(row->left, out);
	fputs("</span>", out);
}

static void admin_html_timer(const struct view *view, const struct walk_row *row, FILE *out)
{
	char text[DURATION_TEXT_SIZE];

	if (row->timer == TIMEOUT_NONE)
		return;
	admin_html_filter(view, VIEW_TIMER, timeouts_name(row->timer), out);
	fprintf(out, " %s", duration_format(row->value, text));
}

static void admin_html_source(const struct view *view, const struct walk_row *row, FILE *out)
{
	if (row->source)
		admin_html_text(out, row->source);
}

static void admin_html_moved(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_bytes(row->received_client, out);
	fputs(" / ", out);
	admin_html_bytes(row->sent_client, out);
}

static void admin_html_requests(const struct view *view, const struct walk_row *row, FILE *out)
{
	if (row->protocol == PROTOCOL_HTTP1)
		fprintf(out, "%" PRIu32, row->requests);
}

/* One row a column. */
static const struct {
	const char *title, *class;
	void (*print)(const struct view *view, const struct walk_row *row, FILE *out);
} columns[] = {
    {"id", "number", admin_html_id},
    {"direction", "", admin_html_direction},
    {"client", "address", admin_html_client},
    {"server", "address", admin_html_server},
    {"Service", "wide", admin_html_service},
    {"protocol", "", admin_html_protocol},
    {"stage", "", admin_html_stage},
    {"age", "number", admin_html_age},
    {"idle", "number", admin_html_idle},
    {"deadline in", "number", admin_html_deadline},
    {"timer", "", admin_html_timer},
    {"set by", "quiet wide", admin_html_source},
    {"from / to client", "number", admin_html_moved},
    {"requests", "number", admin_html_requests},
};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* --- the page --- */

static void admin_html_choice(const struct view *view, enum view_parameter parameter, const char *value, bool chosen, const char *words,
                              FILE *out)
{
	if (chosen) {
		fprintf(out, "<b>%s</b>", words);
		return;
	}
	admin_html_link(view, parameter, value, out);
	fprintf(out, "%s</a>", words);
}

static void admin_html_title(const struct view *view, FILE *out)
{
	admin_html_attribute(out, view->context->names.hostname);
	fprintf(out, ": %" PRIu64 " connection%s – lapse-proxy", view->walk.open, view->walk.open == 1 ? "" : "s");
}

static void admin_html_reload(const struct view *view, FILE *out)
{
	if (view->refresh)
		fprintf(out, "<noscript><meta http-equiv=refresh content=%u></noscript>\n", view->refresh);
}

static void admin_html_style(const struct view *view, FILE *out)
{
	/* cppcheck-suppress comparePointers; both are labels of one file */
	fwrite(admin_files_css, 1, (size_t)(admin_files_css_end - admin_files_css), out);
}

static void admin_html_refresh(const struct view *view, FILE *out)
{
	fprintf(out, "%u", view->refresh);
}

static void admin_html_pod(const struct view *view, FILE *out)
{
	admin_html_attribute(out, view->context->names.hostname);
}

static void admin_html_version(const struct view *view, FILE *out)
{
	fputs(LAPSE_VERSION, out);
}

static void admin_html_draining(const struct view *view, FILE *out)
{
	const struct proxy *proxy = view->context->proxy;
	const struct timeout_value *drain = &policy_timeouts(proxy->policy)->of[TIMEOUT_DRAIN];
	bool draining = atomic_load_explicit(&proxy->drain, memory_order_relaxed) != DRAIN_NONE;
	char text[DURATION_TEXT_SIZE];

	fprintf(out, "<p id=draining role=status%s>", draining ? "" : " hidden");
	if (draining && drain->milliseconds)
		fprintf(out, "Draining: this proxy leaves with its last connection, or %s after it was told to (timeout drain).",
		        duration_format(drain->milliseconds, text));
	else if (draining)
		fputs("Draining: this proxy leaves with its last connection.", out);
	fputs("</p>", out);
}

static void admin_html_counts(const struct view *view, FILE *out)
{
	const struct walk *walk = &view->walk;

	fprintf(out, "<p id=counts><b>%" PRIu64 "</b> open", walk->open);
	if (walk->matched != walk->open)
		fprintf(out, ", <b>%" PRIu64 "</b> chosen", walk->matched);
	if (walk->row_count != walk->matched)
		fprintf(out, ", the first <b>%zu</b> shown", walk->row_count);
	fputs("</p>", out);
}

static void admin_html_controls(const struct view *view, FILE *out)
{
	fputs("<p>", out);
	admin_html_choice(view, VIEW_SORT, NULL, view->walk.sort == WALK_BY_DEADLINE, "next deadline first", out);
	fputs(" · ", out);
	admin_html_choice(view, VIEW_SORT, "age", view->walk.sort == WALK_BY_AGE, "oldest first", out);
	fputs(" · ", out);
	if (view->refresh)
		fprintf(out, "refreshes every %u s · ", view->refresh);
	admin_html_choice(view, VIEW_REFRESH, view->refresh ? "0" : NULL, false, view->refresh ? "pause" : "refresh again", out);
	fputs(" · ", out);
	admin_html_choice(view, VIEW_FORMAT, "json", false, "as JSON", out);
	fputs("</p>", out);
}

static void admin_html_select(const struct view *view, enum view_parameter parameter, FILE *out)
{
	const char *choice;

	fprintf(out, "<select name=%s><option value=\"\">any</option>", admin_view_parameter_name(parameter));
	for (unsigned i = 0; (choice = admin_view_parameter_choice(parameter, i)); i++)
		fprintf(out, "<option%s>%s</option>", strcmp(choice, view->values[parameter]) == 0 ? " selected" : "", choice);
	fputs("</select>", out);
}

/* A field for each filter; what else was asked for goes along. */
static void admin_html_form(const struct view *view, FILE *out)
{
	bool chosen = false;

	fputs("<form action=\"/connections\">", out);
	for (enum view_parameter i = 0; i < VIEW_FILTERS; i++) {
		fprintf(out, "<label>%s", admin_view_parameter_name(i));
		if (admin_view_parameter_choice(i, 0)) {
			admin_html_select(view, i, out);
		} else {
			fprintf(out, "<input name=%s value=\"", admin_view_parameter_name(i));
			admin_html_attribute(out, view->values[i]);
			fputs("\" placeholder=any autocomplete=off spellcheck=false>", out);
		}
		fputs("</label>", out);
		chosen |= view->values[i][0] != '\0';
	}
	for (enum view_parameter i = VIEW_FILTERS; i < VIEW_PARAMETERS; i++) {
		if (!view->values[i][0])
			continue;
		fprintf(out, "<input type=hidden name=%s value=\"", admin_view_parameter_name(i));
		admin_html_attribute(out, view->values[i]);
		fputs("\">", out);
	}
	fputs("<button>Filter</button>", out);
	if (chosen)
		fputs("<a href=\"/connections\">clear</a>", out);
	fputs("</form>", out);
}

static void admin_html_rows(const struct view *view, FILE *out)
{
	fputs("<div id=rows><table><thead><tr>", out);
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(out, "<th class=\"%s\">%s</th>", columns[i].class[0] == 'n' ? "number" : "", columns[i].title);
	fputs("</tr></thead><tbody>\n", out);
	for (size_t row = 0; row < view->walk.row_count; row++) {
		fprintf(out, "<tr id=c%" PRIu64 ">", view->walk.rows[row]->id);
		for (size_t i = 0; i < COLUMNS; i++) {
			fprintf(out, "<td class=\"%s\" data-name=\"%s\">", columns[i].class, columns[i].title);
			columns[i].print(view, view->walk.rows[row], out);
			fputs("</td>", out); /* nothing between the two: the stylesheet hides what is empty */
		}
		fputs("</tr>\n", out);
	}
	fputs("</tbody></table>", out);
	if (!view->walk.row_count)
		fprintf(out, "<p class=none>%s</p>", view->walk.open ? "No open connection is like that." : "No connection is open.");
	fputs("</div>", out);
}

/* What stands for {{name}} in connections.html. */
static const struct {
	const char *name;
	void (*print)(const struct view *view, FILE *out);
} pieces[] = {
    {"title", admin_html_title},       {"reload", admin_html_reload},     {"style", admin_html_style}, {"refresh", admin_html_refresh},
    {"pod", admin_html_pod},           {"version", admin_html_version},   {"draining", admin_html_draining},
    {"counts", admin_html_counts},     {"controls", admin_html_controls}, {"form", admin_html_form},   {"rows", admin_html_rows},
};

void admin_html_print(const struct view *view, FILE *out)
{
	const char *at = admin_files_html, *end = admin_files_html_end, *open, *close;

	while ((open = memmem(at, (size_t)(end - at), "{{", 2)) && (close = memmem(open, (size_t)(end - open), "}}", 2))) {
		fwrite(at, 1, (size_t)(open - at), out);
		for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
			if (strlen(pieces[i].name) == (size_t)(close - open - 2) &&
			    memcmp(pieces[i].name, open + 2, (size_t)(close - open - 2)) == 0)
				pieces[i].print(view, out);
		at = close + 2;
	}
	fwrite(at, 1, (size_t)(end - at), out);
}

void admin_html_script(struct admin_call *call)
{
	FILE *out = admin_pages_open(call->answer);

	if (out)
		/* cppcheck-suppress comparePointers; both are labels of one file */
		fwrite(admin_files_js, 1, (size_t)(admin_files_js_end - admin_files_js), out);
	admin_pages_close(call->answer, out, 200, "text/javascript; charset=utf-8");
}
