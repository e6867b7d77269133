/* /connections for people: one page that refreshes itself, with a script of our own or, without scripts, by a meta element. Nothing
 * comes from elsewhere. */
#include <inttypes.h>
#include <string.h>

#include "lib/duration.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/admin/admin_view.h"
#include "proxy/connection/conn.h"

static const char style[] =
    ":root{color-scheme:light dark;--ground:#fff;--raised:#f4f6f8;--text:#1b2430;--quiet:#566473;--line:#dde3e9;--edge:#8a97a5;"
    "--link:#0b5fb8;--soon:#a8480a;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ground:#11161c;--raised:#1a222b;--text:#e3e9ef;--quiet:#9aa8b6;--line:#2b3641;"
    "--edge:#657484;--link:#7db8f5;--soon:#f0a35e;--bad:#ff8a80}}"
    "*{box-sizing:border-box}"
    "body{margin:0;padding:16px 20px;background:var(--ground);color:var(--text);font:13px/1.45 system-ui,sans-serif}"
    "h1{margin:0 0 2px;font-size:18px}p{margin:2px 0;color:var(--quiet)}p b{color:var(--text)}"
    "a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}"
    "#lost{margin:10px 0 0;padding:6px 10px;border:1px solid var(--bad);border-radius:6px;color:var(--bad);font-weight:600}"
    "[hidden]{display:none!important}"
    "form{display:flex;flex-wrap:wrap;align-items:end;gap:8px;margin:12px 0 0}"
    "label{flex:1 1 96px;max-width:210px;min-width:0;font-size:11px;color:var(--quiet)}"
    "input,select{display:block;width:100%;height:28px;padding:2px 6px;border:1px solid var(--edge);border-radius:6px;"
    "background:var(--ground);color:var(--text);font:13px system-ui,sans-serif}"
    "::placeholder{color:var(--quiet);opacity:1}"
    "button{height:28px;padding:2px 14px;border:1px solid var(--edge);border-radius:6px;background:var(--raised);color:var(--text);"
    "font:600 13px system-ui,sans-serif;cursor:pointer}"
    "form a{line-height:28px}"
    "table{width:100%;margin-top:12px;border-collapse:collapse;font-size:12.5px}"
    "th{padding:5px;text-align:left;font-weight:600;color:var(--quiet);border-bottom:2px solid var(--line);white-space:nowrap}"
    "td{padding:5px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}"
    "td a{color:inherit}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
    ".a{min-width:150px;overflow-wrap:anywhere;font:11.5px/1.65 ui-monospace,monospace}.s{min-width:128px}.e{min-width:66px}"
    ".s,.e{overflow-wrap:anywhere}"
    ".q{color:var(--quiet)}.soon{color:var(--soon);font-weight:600}"
    "tr:hover td{background:var(--raised)}.none{padding:32px 0;text-align:center}"
    "@media(max-width:860px){body{padding:12px}label{flex:1 1 40%;max-width:none}thead{display:none}table,tbody{display:block}"
    "tr{display:grid;grid-template-columns:1fr 1fr;gap:2px 12px;margin-bottom:10px;padding:8px 10px;border:1px solid var(--line);"
    "border-radius:8px;background:var(--raised)}"
    "td,td.n{display:block;min-width:0;padding:0;border:0;text-align:left;white-space:normal;overflow-wrap:anywhere}"
    "td.w{grid-column:1/-1}td:empty{display:none}"
    "td::before{content:attr(data-name);display:block;font:11px system-ui,sans-serif;color:var(--quiet)}}";

/* Fetches the page anew and takes what changes from it; what is being typed or chosen stays. */
static const char script[] =
    "\"use strict\";\n"
    "const seconds = Number(document.body.dataset.refresh);\n"
    "let heard = new Date();\n"
    "function find(id) { return document.getElementById(id); }\n"
    "function lost(is) {\n"
    "\tfind(\"lost\").hidden = !is;\n"
    "\tif (is)\n"
    "\t\tfind(\"lost\").textContent = `No answer from lapse-proxy since ${heard.toLocaleTimeString()}: what follows is from then. `\n"
    "\t\t\t+ `Asking again every ${seconds} s.`;\n"
    "}\n"
    "async function refresh() {\n"
    "\tif (document.hidden)\n"
    "\t\treturn;\n"
    "\tconst answer = await fetch(location.href, {headers: {accept: \"text/html\"}, signal: AbortSignal.timeout(10000)});\n"
    "\tif (!answer.ok)\n"
    "\t\tthrow new Error(answer.status);\n"
    "\tconst page = new DOMParser().parseFromString(await answer.text(), \"text/html\");\n"
    "\tfor (const id of [\"counts\", \"rows\"])\n"
    "\t\tfind(id).replaceWith(page.getElementById(id));\n"
    "\tdocument.title = page.title;\n"
    "\theard = new Date();\n"
    "}\n"
    "async function turn() {\n"
    "\tawait refresh().then(() => lost(false), () => lost(true));\n"
    "\tsetTimeout(turn, seconds * 1000);\n"
    "}\n"
    "if (seconds)\n"
    "\tsetTimeout(turn, seconds * 1000);\n";

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

/* <a href="…">: this page with one parameter changed; value NULL: without it. */
static void admin_html_link(const struct view *view, enum view_parameter changed, const char *value, FILE *out)
{
	const char *separator = "?";

	fputs("<a href=\"/connections", out);
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
	admin_html_link(view, parameter, value, out);
	admin_html_text(out, value);
	fputs("</a>", out);
}

static void admin_html_id(const struct view *view, const struct walk_row *row, FILE *out)
{
	fprintf(out, "%" PRIu64, row->id);
}

static void admin_html_direction(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_filter(view, VIEW_DIRECTION, origin_direction_name(row->direction), out);
}

/* A click on the address chooses its host. */
static void admin_html_address(const struct view *view, enum view_parameter parameter, const struct addr *addr, FILE *out)
{
	char host[ADDR_TEXT_SIZE], text[ADDR_TEXT_SIZE];

	if (!addr->family)
		return;
	admin_html_link(view, parameter, addr_format_host(addr, host), out);
	admin_html_text(out, addr_format(addr, text));
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
	admin_html_filter(view, VIEW_PROTOCOL, detect_name(row->protocol), out);
}

static void admin_html_stage(const struct view *view, const struct walk_row *row, FILE *out)
{
	admin_html_filter(view, VIEW_STAGE, conn_phase_name(row->phase), out);
	if (row->half_closed)
		fprintf(out, " <span class=q>%s finished</span>", row->client_finished ? "client" : "server");
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
		fputs("<span class=q>none</span>", out);
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
    {"id", "n", admin_html_id},
    {"direction", "", admin_html_direction},
    {"client", "a", admin_html_client},
    {"server", "a", admin_html_server},
    {"Service", "e w", admin_html_service},
    {"protocol", "", admin_html_protocol},
    {"stage", "", admin_html_stage},
    {"age", "n", admin_html_age},
    {"idle", "n", admin_html_idle},
    {"deadline in", "n", admin_html_deadline},
    {"timer", "", admin_html_timer},
    {"set by", "q w s", admin_html_source},
    {"from / to client", "n", admin_html_moved},
    {"requests", "n", admin_html_requests},
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

static void admin_html_head(const struct view *view, FILE *out)
{
	fprintf(out, "<!doctype html><html lang=en><head><meta charset=utf-8><title>lapse-proxy: %" PRIu64 " connections</title>",
	        view->walk.open);
	fputs("<meta name=viewport content=\"width=device-width,initial-scale=1\">", out);
	if (view->refresh)
		fprintf(out, "<noscript><meta http-equiv=refresh content=%u></noscript>", view->refresh);
	fprintf(out, "<style>%s</style><script src=\"/connections.js\" defer></script></head><body data-refresh=%u>", style, view->refresh);
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
		fprintf(out, "<th class=\"%s\">%s</th>", columns[i].class[0] == 'n' ? "n" : "", columns[i].title);
	fputs("</tr></thead><tbody>\n", out);
	for (size_t row = 0; row < view->walk.row_count; row++) {
		fputs("<tr>", out);
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

void admin_html_print(const struct view *view, FILE *out)
{
	admin_html_head(view, out);
	fputs("<h1>Connections of lapse-proxy</h1>", out);
	admin_html_counts(view, out);
	admin_html_controls(view, out);
	admin_html_form(view, out);
	fputs("<p id=lost role=status hidden></p>", out);
	admin_html_rows(view, out);
	fputs("</body></html>\n", out);
}

void admin_html_script(struct admin_call *call)
{
	FILE *out = admin_pages_open(call->answer);

	if (out)
		fputs(script, out);
	admin_pages_close(call->answer, out, 200, "text/javascript; charset=utf-8");
}
