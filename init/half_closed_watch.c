#include "init/half_closed_watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "init/half_closed_flows.h"
#include "init/half_closed_known.h"
#include "init/half_closed_list.h"
#include "init/half_closed_places.h"
#include "init/half_closed_print.h"
#include "init/half_closed_progress.h"
#include "init/netlink.h"
#include "init/options.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

/* A scan of one namespace walks conntrack's table of the whole machine: what it costs is told by doing it. */
enum {
	WATCH_KNOWN_MOST = 200000, /* some 45 MB */
	WATCH_PAUSE_MS = 2000,     /* from one look or scan to the next at least, */
	WATCH_PAUSE_SHARE = 20,    /* and so many times the processor time it took: 5 % of one for all scans together, */
	WATCH_PAUSE_MOST_MS = 300000, /* but no longer */
	WATCH_LOST_MS = 500,       /* until the scan after lost events: they come in bursts */
};

struct half_closed_watcher {
	const struct init_options *options;
	struct log *log;
	struct half_closed_places places;
	struct half_closed_known *known; /* owned */
	struct half_closed_progress progress;
	struct pollfd *polls; /* owned: the signals, then a place each */
	size_t poll_count;
	int signals;          /* owned descriptor */
	int64_t look_due;     /* for namespaces that came and went */
	bool begun;           /* all places that were there have been scanned */
	bool crowded;         /* it has been said that there are too many flows */
};

static void half_closed_watch_tell(const struct half_closed_news *news, void *context)
{
	const struct half_closed_watcher *watcher = context;

	if (watcher->options->json)
		half_closed_print_news_json(news, clock_realtime_ms(), stdout);
	else
		half_closed_print_news(news, clock_realtime_ms(), watcher->options->all_namespaces, stdout);
}

static void half_closed_watch_scanned(const struct half_closed_flow *flow, bool destroyed, void *context)
{
	struct half_closed_watcher *watcher = context;

	half_closed_progress_flow(&watcher->progress, half_closed_is(flow->state));
	half_closed_known_scanned(watcher->known, flow, clock_monotonic_ms());
}

static void half_closed_watch_event(const struct half_closed_flow *flow, bool destroyed, void *context)
{
	struct half_closed_watcher *watcher = context;

	half_closed_known_event(watcher->known, flow, destroyed, clock_monotonic_ms());
}

/* Takes the events that wait. Where some were lost there will soon be a scan. 0 or -errno. */
static int half_closed_watch_drain(struct half_closed_watcher *watcher, struct half_closed_place *place)
{
	struct half_closed_flows flows = {half_closed_watch_event, watcher, place, place->seconds};
	int status = half_closed_flows_events(place->events, &flows);

	if (status == -ENOBUFS)
		place->lost = true;
	return status == -ENOBUFS ? 0 : status;
}

/* --- scanning --- */

/* When something may be done again that has taken the processor since `started`, `times` of which are done in turn. */
static int64_t half_closed_watch_next(clock_t started, size_t times)
{
	int64_t pause = (int64_t)(clock() - started) * 1000 / CLOCKS_PER_SEC * WATCH_PAUSE_SHARE * (int64_t)times;

	if (pause < WATCH_PAUSE_MS)
		pause = WATCH_PAUSE_MS;
	return clock_monotonic_ms() + (pause < WATCH_PAUSE_MOST_MS ? pause : WATCH_PAUSE_MOST_MS);
}

static int half_closed_watch_dump(struct half_closed_watcher *watcher, struct half_closed_place *place)
{
	struct half_closed_flows flows = {half_closed_watch_scanned, watcher, place, place->seconds};
	int status = half_closed_places_begin(&watcher->places, place, true);

	if (!status)
		status = half_closed_watch_drain(watcher, place);
	if (status)
		return status;
	half_closed_known_scan_begin(watcher->known, place->scans == 0);
	status = half_closed_flows_dump(place->netlink, &flows);
	if (!status)
		status = half_closed_watch_drain(watcher, place);
	if (!status) {
		half_closed_known_scan_end(watcher->known, place, clock_monotonic_ms());
		place->scans++;
	}
	return status;
}

/* 0, or -errno with one sentence in `error`. */
static int half_closed_watch_scan(struct half_closed_watcher *watcher, struct half_closed_place *place, struct text *error)
{
	clock_t started = clock();
	int status;

	if (place->lost)
		log_message(watcher->log, LOG_WARN,
		            "conntrack's events came faster than they could be read and some are lost; scanning anew");
	place->lost = false;
	status = half_closed_watch_dump(watcher, place);
	if (status) {
		half_closed_places_end(place);
		half_closed_list_explain(place, status, error);
	}
	place->due = half_closed_watch_next(started, watcher->places.count);
	return status;
}

/* A namespace without processes is let go, lest our sockets keep it. */
static void half_closed_watch_drop_empty(struct half_closed_watcher *watcher)
{
	for (size_t i = watcher->places.count; i-- > 0;) {
		struct half_closed_place *place = watcher->places.items[i];

		if (place->present)
			continue;
		half_closed_known_place_gone(watcher->known, place, clock_monotonic_ms());
		half_closed_places_drop(&watcher->places, i);
	}
}

static bool half_closed_watch_is_signalled(const struct half_closed_watcher *watcher)
{
	struct pollfd signals = {.fd = watcher->signals, .events = POLLIN};

	return poll(&signals, 1, 0) > 0;
}

/* The one place must be readable, and at first one of many; else one that is not is named once. */
static int half_closed_watch_places(struct half_closed_watcher *watcher, struct text *error)
{
	bool all = watcher->options->all_namespaces;
	size_t count = watcher->places.count, failed = 0;

	for (size_t i = 0; i < count && !half_closed_watch_is_signalled(watcher); i++) {
		struct half_closed_place *place = watcher->places.items[i];
		int status = 0;

		if (place->due > clock_monotonic_ms())
			continue;
		half_closed_progress_place(&watcher->progress, all ? i + 1 : 0, all ? count : 0);
		text_init(error, error->data, error->size);
		status = half_closed_watch_scan(watcher, place, error);
		failed += status != 0;
		if (status && (!all || (failed == count && !watcher->begun)))
			return status;
		if (status && !place->failed) {
			half_closed_progress_end(&watcher->progress);
			log_message(watcher->log, LOG_WARN, "%s", error->data);
		}
		place->failed = status != 0;
	}
	return 0;
}

static void half_closed_watch_note(struct half_closed_watcher *watcher)
{
	size_t missed = half_closed_known_take_missed(watcher->known);

	if (missed && !watcher->crowded)
		log_message(watcher->log, LOG_WARN, "%zu half-closed flows are too many: %zu more are not watched",
		            half_closed_known_count(watcher->known), missed);
	watcher->crowded = missed > 0;
	if (!watcher->begun)
		half_closed_list_warn_unreadable(&watcher->places, watcher->log);
}

/* The descriptors to wait for, as the places are now. */
static int half_closed_watch_arrange(struct half_closed_watcher *watcher)
{
	struct pollfd *polls = reallocarray(watcher->polls, watcher->places.count + 1, sizeof *polls);

	if (!polls)
		return -ENOMEM;
	watcher->polls = polls;
	watcher->poll_count = watcher->places.count + 1;
	polls[0] = (struct pollfd){.fd = watcher->signals, .events = POLLIN};
	for (size_t i = 0; i < watcher->places.count; i++) {
		const struct netlink *events = watcher->places.items[i]->events;

		polls[i + 1] = (struct pollfd){.fd = events ? netlink_descriptor(events) : -1, .events = POLLIN};
	}
	return 0;
}

/* Looks which namespaces there are. */
static int half_closed_watch_look(struct half_closed_watcher *watcher, struct text *error)
{
	clock_t started = clock();
	int status = half_closed_places_look(&watcher->places, error);

	if (!status && watcher->options->all_namespaces)
		half_closed_watch_drop_empty(watcher);
	watcher->look_due = half_closed_watch_next(started, 1);
	return status;
}

/* Does what is due. */
static int half_closed_watch_turn(struct half_closed_watcher *watcher, struct text *error)
{
	int status = 0;

	half_closed_progress_begin(&watcher->progress, clock_monotonic_ms());
	if (watcher->look_due <= clock_monotonic_ms())
		status = half_closed_watch_look(watcher, error);
	if (!status)
		status = half_closed_watch_places(watcher, error);
	half_closed_progress_end(&watcher->progress);
	half_closed_watch_note(watcher);
	watcher->begun = true;
	return status ? status : half_closed_watch_arrange(watcher);
}

/* --- waiting --- */

/* When something is due. Lost events bring the next scan of their place forward. */
static int64_t half_closed_watch_due(const struct half_closed_watcher *watcher)
{
	int64_t due = watcher->look_due, now = clock_monotonic_ms();

	for (size_t i = 0; i < watcher->places.count; i++) {
		struct half_closed_place *place = watcher->places.items[i];

		if (place->lost && place->due > now + WATCH_LOST_MS)
			place->due = now + WATCH_LOST_MS;
		due = place->due < due ? place->due : due;
	}
	return due;
}

static int half_closed_watch_take(struct half_closed_watcher *watcher, struct text *error)
{
	for (size_t i = 1; i < watcher->poll_count; i++) {
		struct half_closed_place *place = watcher->places.items[i - 1];
		int status = watcher->polls[i].revents ? half_closed_watch_drain(watcher, place) : 0;

		if (status) {
			half_closed_list_explain(place, status, error);
			return status;
		}
	}
	return 0;
}

/* Takes events until something is due or a signal comes: *stop. */
static int half_closed_watch_wait(struct half_closed_watcher *watcher, bool *stop, struct text *error)
{
	int64_t left;

	*stop = half_closed_watch_is_signalled(watcher);
	while (!*stop && (left = half_closed_watch_due(watcher) - clock_monotonic_ms()) > 0) {
		int ready = poll(watcher->polls, watcher->poll_count, (int)left), status = 0;

		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready > 0)
			status = half_closed_watch_take(watcher, error);
		if (status)
			return status;
		if (fflush(stdout)) {
			text_string(error, "cannot write to standard output");
			return -EIO;
		}
		*stop = ready > 0 && watcher->polls[0].revents;
	}
	return 0;
}

static int half_closed_watch_run(struct half_closed_watcher *watcher, struct text *error)
{
	bool stop = false;
	int status = 0;

	while (!status && !stop) {
		status = half_closed_watch_turn(watcher, error);
		fflush(stdout);
		if (!status)
			status = half_closed_watch_wait(watcher, &stop, error);
	}
	return status;
}

/* The two signals come by descriptor. */
static int half_closed_watch_signals(struct half_closed_watcher *watcher)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	watcher->signals = signalfd(-1, &signals, SFD_CLOEXEC);
	return watcher->signals < 0 ? -errno : 0;
}

int half_closed_watch(const struct init_options *options, struct log *log, struct text *error)
{
	struct half_closed_watcher watcher = {.options = options, .log = log, .signals = -1};
	int status = half_closed_places_open(&watcher.places, options->all_namespaces, error);

	if (!status)
		status = half_closed_known_new(&watcher.known, WATCH_KNOWN_MOST, options->min_age_ms, half_closed_watch_tell, &watcher);
	if (!status)
		status = half_closed_watch_signals(&watcher);
	if (!status)
		status = half_closed_watch_run(&watcher, error);
	if (watcher.signals >= 0)
		close(watcher.signals);
	half_closed_known_free(watcher.known);
	half_closed_places_free(&watcher.places);
	free(watcher.polls);
	return status;
}
