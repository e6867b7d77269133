#include "proxy/why/why_page.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/json.h"
#include "lib/text.h"

enum { PAGE_TEXT_SIZE = 8192 };

static const char *why_page_start(const struct why_page *page, enum why_style style)
{
	static const char *const codes[] = {[WHY_PLAIN] = "", [WHY_BOLD] = "\033[1m", [WHY_FAINT] = "\033[2m", [WHY_ALARM] = "\033[1;31m"};

	return page->colour ? codes[style] : "";
}

static const char *why_page_end(const struct why_page *page, enum why_style style)
{
	return page->colour && style != WHY_PLAIN ? "\033[0m" : "";
}

void why_page_clean(struct why_slice slice, struct text *out)
{
	const unsigned char *bytes = (const unsigned char *)slice.bytes;
	char escaped[JSON_ESCAPED_SIZE];
	size_t taken;

	for (size_t left = slice.length; left; bytes += taken, left -= taken) {
		size_t size = json_escape(bytes, left, escaped, &taken);

		if (*bytes == '"' || *bytes == '\\')
			text_char(out, (char)*bytes);
		else
			text_append(out, escaped, size);
	}
}

/* Bytes that fill at most that many columns, one a character. */
static size_t why_page_fit(const char *text, size_t columns)
{
	size_t length = 0;

	for (; text[length]; length++)
		if (((unsigned char)text[length] & 0xc0) != 0x80 && !columns--)
			break;
	return length;
}

/* What of the text stands on this line: up to the last blank that fits, or a hard cut where there is none. */
static size_t why_page_fold(const char *text, size_t columns)
{
	size_t fits = why_page_fit(text, columns), at = fits;

	if (!text[fits] || text[fits] == ' ')
		return fits;
	while (at && text[at] != ' ')
		at--;
	return at ? at : fits;
}

void why_page_row(const struct why_page *page, int indent, const char *label, int column, enum why_style style, const char *text)
{
	TEXT_ON_STACK(clean, PAGE_TEXT_SIZE);
	const char *at;

	why_page_clean((struct why_slice){text, strlen(text)}, &clean);
	while (clean.length && clean_bytes[clean.length - 1] == ' ')
		clean_bytes[--clean.length] = '\0';
	at = clean_bytes;
	fprintf(page->out, "%*s%-*s", indent, "", column - indent, label);
	for (;;) {
		size_t length = why_page_fold(at, (size_t)(WHY_PAGE_WIDTH - column));

		fprintf(page->out, "%s%.*s%s\n", why_page_start(page, style), (int)length, at, why_page_end(page, style));
		for (at += length; *at == ' '; at++)
			;
		if (!*at)
			break;
		fprintf(page->out, "%*s", column, "");
	}
}

void why_page_heading(const struct why_page *page, const char *text)
{
	fprintf(page->out, "\n%s%s%s\n", why_page_start(page, WHY_BOLD), text, why_page_end(page, WHY_BOLD));
}

void why_page_number(uint64_t number, struct text *out)
{
	char digits[32];
	int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			text_char(out, ',');
		text_char(out, digits[i]);
	}
}

void why_page_count(uint64_t number, const char *one, const char *more, struct text *out)
{
	why_page_number(number, out);
	text_printf(out, " %s", number == 1 ? one : more);
}

void why_page_share(uint64_t part, uint64_t all, struct text *out)
{
	double share = all ? 100.0 * (double)part / (double)all : 0;

	if (part && share < 1)
		text_string(out, "<1 %");
	else
		text_printf(out, "%.0f %%", part < all && share > 99 ? 99 : share);
}

void why_page_duration(int64_t ms, struct text *out)
{
	static const int64_t units[] = {86400000, 3600000, 60000, 1000, 1};
	char duration[DURATION_TEXT_SIZE];

	for (size_t i = 0; i + 1 < sizeof units / sizeof *units; i++)
		if (ms >= units[i]) {
			ms -= ms % (units[i] >= 60000 ? units[i + 1] : ms >= 10000 ? 1000 : 100);
			break;
		}
	if (ms >= 86400000) {
		text_printf(out, "%lldd", (long long)(ms / 86400000));
		if (!(ms %= 86400000))
			return;
	}
	text_string(out, duration_format(ms, duration));
}

void why_page_time(const struct why_page *page, int64_t at_ms, bool seconds, struct text *out)
{
	char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE], at[CLOCK_TEXT_SIZE];

	clock_format(page->first_ms, first);
	clock_format(page->last_ms, last);
	clock_format(at_ms, at); /* "2026-01-02T03:04:05.678Z" */
	if (strncmp(first, last, 10) != 0)
		text_printf(out, "%.5s ", at + 5);
	text_printf(out, "%.*s", seconds ? 8 : 5, at + 11);
}

void why_page_place(const char *name, struct text *out)
{
	bool port = name[0] == ':' && name[1] != ':'; /* not "::1" */

	text_printf(out, "%s%s", port ? "port " : "", name + port);
}

void why_page_top(const struct why_top *top, size_t most, struct text *out)
{
	const struct why_place *places[WHY_TOP_PLACES];
	size_t count = why_top_list(top, places);
	uint64_t left = top->total;

	if (count == 1 && places[0]->count - places[0]->error == left) {
		why_page_place(places[0]->name, out);
		return;
	}
	for (size_t i = 0; i < count && i < most; i++) {
		uint64_t certain = places[i]->count - places[i]->error;

		if (certain * 20 < top->total && top->used == WHY_TOP_PLACES) {
			count = i; /* one of very many */
			break;
		}
		text_string(out, i ? ", " : "");
		why_page_place(places[i]->name, out);
		text_string(out, " (");
		why_page_number(certain, out);
		text_char(out, ')');
		left -= certain;
	}
	if (!left)
		return;
	text_string(out, count ? " and others (" : "many");
	if (count) {
		why_page_number(left, out);
		text_char(out, ')');
	}
}
