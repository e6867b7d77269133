#include "init/half_closed_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "init/half_closed_flows.h"
#include "init/half_closed_places.h"
#include "init/half_closed_print.h"
#include "init/half_closed_progress.h"
#include "init/options.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

enum { LIST_ROWS_MOST = 200000 }; /* what the table holds: some 32 MB */

struct half_closed_listing {
	const struct init_options *options;
	struct half_closed_flow *rows; /* owned */
	size_t count, capacity;
	struct half_closed_totals totals;
	struct half_closed_progress progress;
};

/* false: no room. */
static bool half_closed_list_keep(struct half_closed_listing *listing, const struct half_closed_flow *flow)
{
	if (listing->count == listing->capacity) {
		size_t capacity = listing->capacity ? listing->capacity + listing->capacity / 2 : 256;
		struct half_closed_flow *rows;

		capacity = capacity < LIST_ROWS_MOST ? capacity : LIST_ROWS_MOST;
		rows = capacity > listing->count ? reallocarray(listing->rows, capacity, sizeof *rows) : NULL;
		if (!rows)
			return false;
		listing->rows = rows;
		listing->capacity = capacity;
	}
	listing->rows[listing->count++] = *flow;
	return true;
}

static void half_closed_list_take(const struct half_closed_flow *flow, bool destroyed, void *context)
{
	struct half_closed_listing *listing = context;
	bool wanted = half_closed_is(flow->state), old = half_closed_is_old(flow, listing->options->min_age_ms);

	half_closed_progress_flow(&listing->progress, wanted && old);
	if (!wanted)
		return;
	if (!old) {
		listing->totals.younger++;
		return;
	}
	half_closed_print_count(&listing->totals, flow);
	if (listing->options->json)
		half_closed_print_json(flow, stdout);
	else if (!half_closed_list_keep(listing, flow))
		listing->totals.unlisted++;
}

static int half_closed_list_place(struct half_closed_listing *listing, const struct half_closed_places *places,
                                  struct half_closed_place *place)
{
	struct half_closed_flows flows = {half_closed_list_take, listing, place, place->seconds};
	int status = half_closed_places_begin(places, place, false);

	if (!status)
		status = half_closed_flows_dump(place->netlink, &flows);
	half_closed_places_end(place);
	return status;
}

void half_closed_list_explain(const struct half_closed_place *place, int status, struct text *error)
{
	half_closed_places_name(place, error);
	if (error->length)
		text_string(error, ": ");
	half_closed_flows_explain(status, error);
}

void half_closed_list_warn_unreadable(const struct half_closed_places *places, struct log *log)
{
	if (places->unreadable)
		log_message(log, LOG_WARN,
		            "processes whose network namespace cannot be seen: %zu; some namespaces may be missing, CAP_SYS_PTRACE shows all",
		            places->unreadable);
}

/* How many places failed; `error` holds the sentence of the first, *status its -errno. */
static size_t half_closed_list_places(struct half_closed_listing *listing, const struct half_closed_places *places, int *status,
                                      struct text *error)
{
	bool all = listing->options->all_namespaces;
	size_t failed = 0;

	for (size_t i = 0; i < places->count; i++) {
		int code;

		half_closed_progress_place(&listing->progress, all ? i + 1 : 0, all ? places->count : 0);
		code = half_closed_list_place(listing, places, places->items[i]);
		if (code && !failed++) {
			half_closed_list_explain(places->items[i], code, error);
			*status = code;
		}
	}
	return failed;
}

/* All that was found has been read. */
static void half_closed_list_print(struct half_closed_listing *listing)
{
	if (listing->options->json)
		return;
	if (listing->count)
		qsort(listing->rows, listing->count, sizeof *listing->rows, half_closed_compare);
	half_closed_print_table(listing->rows, listing->count, listing->options->all_namespaces, stdout);
	half_closed_print_summary(&listing->totals, stdout);
}

static int half_closed_list_run(struct half_closed_listing *listing, const struct half_closed_places *places, struct log *log,
                                size_t *found, struct text *error)
{
	int status = 0;
	size_t failed = half_closed_list_places(listing, places, &status, error);

	*found = half_closed_print_sum(&listing->totals);
	listing->totals.places = listing->options->all_namespaces ? places->count - failed : 0;
	half_closed_progress_end(&listing->progress);
	if (failed && !*found)
		return status;
	half_closed_list_print(listing);
	fflush(stdout);
	if (failed)
		log_message(log, LOG_WARN, "%zu of %zu network namespaces could not be read; the first, %s", failed, places->count,
		            error->data);
	return 0;
}

int half_closed_list(const struct init_options *options, struct log *log, size_t *found, struct text *error)
{
	struct half_closed_listing listing = {.options = options, .totals = {.min_age_ms = options->min_age_ms}};
	struct half_closed_places places;
	int status = half_closed_places_open(&places, options->all_namespaces, error);

	half_closed_progress_begin(&listing.progress, clock_monotonic_ms());
	if (!status)
		status = half_closed_places_look(&places, error);
	if (!status) {
		half_closed_list_warn_unreadable(&places, log);
		status = half_closed_list_run(&listing, &places, log, found, error);
	}
	free(listing.rows);
	half_closed_places_free(&places);
	return status;
}
