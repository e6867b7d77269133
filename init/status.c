#include "init/status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "init/batch.h"
#include "init/conntrack_apply.h"
#include "init/image.h"
#include "init/plan.h"
#include "init/show.h"
#include "init/tw_reuse.h"
#include "lib/conntrack.h"
#include "lib/json.h"
#include "lib/text.h"

/* "{ 22, 80-89 }" */
static const char *status_elements(const struct image_item *set)
{
	const char *open = strchr(set->content, '{');

	return open ? open : set->content;
}

static void status_print_rules(const struct image *image, FILE *to)
{
	fputs("table inet " PLAN_TABLE "\n", to);
	for (size_t i = 0; i < image->count; i++) {
		const struct image_item *set = &image->items[i];

		if (set->kind == IMAGE_SET)
			fprintf(to, "  set %-19s %s\n", set->name, status_elements(set));
	}
	for (size_t i = 0; i < image->count; i++) {
		const struct image_item *chain = &image->items[i];

		if (chain->kind != IMAGE_CHAIN)
			continue;
		fprintf(to, "  chain %-11s %s\n", chain->name, chain->content);
		for (size_t j = 0; j < image->count; j++) {
			const struct image_item *rule = &image->items[j];

			if (rule->kind == IMAGE_RULE && !strcmp(rule->name, chain->name))
				fprintf(to, "    %10" PRIu64 " packets %12" PRIu64 " bytes  %s\n", rule->packets, rule->bytes,
				        rule->comment[0] ? rule->comment : rule->text);
		}
	}
}

static void status_print_timeouts(struct netlink *netlink, FILE *to)
{
	uint32_t seconds[CONNTRACK_STATE_COUNT] = {0};
	const char *way = conntrack_apply_read(netlink, seconds);

	if (!way) {
		fputs("conntrack: none in this namespace\n", to);
		return;
	}
	fprintf(to, "conntrack timeouts (by %s)\n", way);
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		if (seconds[i])
			fprintf(to, "  %-12s %10" PRIu32 "s\n", conntrack_state_name((enum conntrack_state)i), seconds[i]);
}

/* Sums one column over the CPUs of /proc/net/stat/nf_conntrack: a line of names, then one line of hexadecimal numbers per CPU. */
static int status_sum_column(const char *column, uint64_t *sum)
{
	FILE *from = fopen("/proc/net/stat/nf_conntrack", "re");
	char line[1024], *word, *rest;
	int wanted = -1, at = 0;
	uint64_t total = 0;

	if (!from)
		return -errno;
	if (fgets(line, sizeof line, from))
		for (word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest), at++)
			if (!strcmp(word, column))
				wanted = at;
	while (wanted >= 0 && fgets(line, sizeof line, from)) {
		uint64_t value = 0;

		at = 0;
		for (word = strtok_r(line, " \n", &rest); word && at <= wanted; word = strtok_r(NULL, " \n", &rest), at++)
			if (at == wanted && sscanf(word, "%" SCNx64, &value) == 1)
				total += value;
	}
	fclose(from);
	if (wanted < 0)
		return -ENOENT;
	*sum = total;
	return 0;
}

static void status_print_table_use(FILE *to)
{
	uint64_t count = 0, max = 0, failed = 0, dropped = 0;

	if (!conntrack_setting_read("nf_conntrack_count", &count)) {
		fprintf(to, "conntrack table\n  entries      %10" PRIu64, count);
		if (!conntrack_setting_read("nf_conntrack_max", &max) && max)
			fprintf(to, " of %" PRIu64 " (%" PRIu64 "%%)", max, count * 100 / max);
		fputc('\n', to);
	}
	if (!status_sum_column("insert_failed", &failed))
		fprintf(to, "  insert_failed%10" PRIu64 "\n", failed);
	if (!status_sum_column("drop", &dropped))
		fprintf(to, "  drop         %10" PRIu64 "%s\n", dropped, dropped ? "  (connections lost: the table was full)" : "");
}

/* --- as JSON --- */

static void status_json_set(const struct image_item *set, struct json *json)
{
	const char *at = status_elements(set) + 1;
	char element[SHOW_TEXT_SIZE];

	json_open(json, NULL, '{');
	json_string(json, "name", set->name);
	json_open(json, "elements", '[');
	while (at += strspn(at, " ,\""), *at && *at != '}') {
		size_t length = strcspn(at, " ,\"");

		snprintf(element, sizeof element, "%.*s", (int)length, at);
		json_string(json, NULL, element);
		at += length;
	}
	json_close(json, ']');
	json_close(json, '}');
}

static void status_json_chain(const struct image *image, const struct image_item *chain, struct json *json)
{
	json_open(json, NULL, '{');
	json_string(json, "name", chain->name);
	json_string(json, "hook", chain->content[0] ? chain->content : NULL);
	json_open(json, "rules", '[');
	for (size_t i = 0; i < image->count; i++) {
		const struct image_item *rule = &image->items[i];

		if (rule->kind != IMAGE_RULE || strcmp(rule->name, chain->name))
			continue;
		json_open(json, NULL, '{');
		json_number(json, "packets", (int64_t)rule->packets);
		json_number(json, "bytes", (int64_t)rule->bytes);
		json_string(json, "text", rule->text);
		json_string(json, "comment", rule->comment);
		json_close(json, '}');
	}
	json_close(json, ']');
	json_close(json, '}');
}

static void status_json_rules(const struct image *image, struct json *json)
{
	json_string(json, "table", "inet " PLAN_TABLE);
	json_open(json, "sets", '[');
	for (size_t i = 0; i < image->count; i++)
		if (image->items[i].kind == IMAGE_SET)
			status_json_set(&image->items[i], json);
	json_close(json, ']');
	json_open(json, "chains", '[');
	for (size_t i = 0; i < image->count; i++)
		if (image->items[i].kind == IMAGE_CHAIN)
			status_json_chain(image, &image->items[i], json);
	json_close(json, ']');
}

static void status_json_conntrack(struct netlink *netlink, struct json *json)
{
	uint32_t seconds[CONNTRACK_STATE_COUNT] = {0};
	const char *way = conntrack_apply_read(netlink, seconds);
	uint64_t value;

	json_open(json, "conntrack", '{');
	json_string(json, "by", way);
	json_open(json, "timeouts_s", '{');
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		if (seconds[i])
			json_number(json, conntrack_state_name((enum conntrack_state)i), seconds[i]);
	json_close(json, '}');
	if (!conntrack_setting_read("nf_conntrack_count", &value))
		json_number(json, "entries", (int64_t)value);
	if (!conntrack_setting_read("nf_conntrack_max", &value))
		json_number(json, "entries_most", (int64_t)value);
	if (!status_sum_column("insert_failed", &value))
		json_number(json, "insert_failed", (int64_t)value);
	if (!status_sum_column("drop", &value))
		json_number(json, "drop", (int64_t)value);
	json_close(json, '}');
}

static void status_print_json(struct netlink *netlink, const struct image *image, bool installed, FILE *to)
{
	struct json json = {.to = to};
	int reuse = tw_reuse_read();

	json_open(&json, NULL, '{');
	json_bool(&json, "installed", installed);
	if (installed)
		status_json_rules(image, &json);
	status_json_conntrack(netlink, &json);
	if (reuse >= 0)
		json_number(&json, "tcp_tw_reuse", reuse);
	json_close(&json, '}');
	fputc('\n', to);
}

static void status_print_text(struct netlink *netlink, const struct image *image, bool installed, FILE *to)
{
	if (installed)
		status_print_rules(image, to);
	else
		fputs("table inet " PLAN_TABLE ": not installed\n", to);
	status_print_timeouts(netlink, to);
	status_print_table_use(to);
	tw_reuse_print(to);
}

int status_print(struct netlink *netlink, bool as_json, FILE *to, struct text *error)
{
	struct image image = {0};
	int status = image_read(netlink, &image);

	if (status && status != -ENOENT) {
		batch_explain(status, "read the table inet " PLAN_TABLE, "", "", error);
		return status;
	}
	(as_json ? status_print_json : status_print_text)(netlink, &image, !status, to);
	image_free(&image);
	return 0;
}
