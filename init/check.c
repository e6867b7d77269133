#include "init/check.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "init/batch.h"
#include "init/image.h"
#include "init/plan.h"
#include "init/report.h"
#include "init/rules.h"
#include "lib/text.h"

static bool check_equal(const struct image_item *a, const struct image_item *b)
{
	return a->kind == b->kind && !strcmp(a->name, b->name) && !strcmp(a->content, b->content) &&
	       !strcmp(a->comment, b->comment);
}

static void check_print_text(const char *sign, const struct image_item *item, FILE *to)
{
	switch (item->kind) {
	case IMAGE_SET:
		fprintf(to, "%s set %s { %s }\n", sign, item->name, item->content);
		break;
	case IMAGE_CHAIN:
		fprintf(to, "%s chain %s { %s }\n", sign, item->name, item->content);
		break;
	case IMAGE_RULE:
		fprintf(to, item->comment[0] ? "%s %s: %s comment \"%s\"\n" : "%s %s: %s\n", sign, item->name, item->text, item->comment);
		break;
	}
}

static void check_print(bool missing, const struct image_item *item, struct report *report)
{
	static const char *const kinds[] = {[IMAGE_SET] = "set", [IMAGE_CHAIN] = "chain", [IMAGE_RULE] = "rule"};
	struct json *json = &report->json;
	bool rule = item->kind == IMAGE_RULE;

	if (!report->to)
		return;
	if (!report->as_json) {
		check_print_text(missing ? "-" : "+", item, report->to);
		return;
	}
	json_open(json, NULL, '{');
	json_bool(json, "missing", missing);
	json_string(json, "kind", kinds[item->kind]);
	json_string(json, rule ? "chain" : "name", item->name);
	json_string(json, "text", rule ? item->text : item->content);
	if (rule)
		json_string(json, "comment", item->comment);
	json_close(json, '}');
}

static bool check_follows(const struct image_item *item, const struct image *image, size_t from)
{
	for (; from < image->count; from++)
		if (check_equal(item, &image->items[from]))
			return true;
	return false;
}

size_t check_compare(const struct image *expected, const struct image *found, struct report *report)
{
	size_t i = 0, j = 0, differences = 0;

	while (i < expected->count || j < found->count) {
		const struct image_item *want = i < expected->count ? &expected->items[i] : NULL;
		const struct image_item *have = j < found->count ? &found->items[j] : NULL;

		if (want && have && check_equal(want, have)) {
			i++;
			j++;
			continue;
		}
		differences++;
		if (want && (!have || !check_follows(want, found, j))) {
			check_print(true, want, report);
			i++;
		} else {
			assert(have); /* the loop goes on while either is left */
			check_print(false, have, report);
			j++;
		}
	}
	return differences;
}

static int check_expect(const struct plan *plan, struct image *out)
{
	struct batch *batch = NULL;
	int status = batch_new(&batch);

	if (!status)
		status = rules_add_install(batch, plan);
	if (!status)
		status = image_expect(batch, out);
	batch_free(batch);
	return status;
}

int check_rules(struct netlink *netlink, const struct plan *plan, struct report *report, struct text *error)
{
	struct image expected = {0}, found = {0};
	size_t differences;
	int status = check_expect(plan, &expected);

	if (status) {
		text_string(error, "out of memory");
		return status;
	}
	report_list(report, "differences");
	status = image_read(netlink, &found);
	if (status == -ENOENT) {
		text_string(error, "the table inet " PLAN_TABLE " is not installed; run lapse-init install");
		status = 1;
	} else if (status) {
		batch_explain(status, "read the table inet " PLAN_TABLE, "", "", error);
	} else {
		differences = check_compare(&expected, &found, report);
		if (differences) {
			text_printf(error,
			            "the table inet " PLAN_TABLE " is not as these options make it: %zu difference%s (- missing, "
			            "+ not wanted); lapse-init install restores it",
			            differences, differences == 1 ? "" : "s");
			status = 1;
		}
	}
	image_free(&expected);
	image_free(&found);
	return status;
}
