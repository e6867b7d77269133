#include "init/half_closed_progress.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/clock.h"

enum { PROGRESS_FIRST_MS = 150, PROGRESS_EVERY_MS = 100, PROGRESS_FLOWS = 1024 }; /* the clock is looked at once in so many */

void half_closed_progress_begin(struct half_closed_progress *progress, int64_t now)
{
	*progress = (struct half_closed_progress){.terminal = isatty(STDERR_FILENO) == 1, .due = now + PROGRESS_FIRST_MS};
}

static void half_closed_progress_show(struct half_closed_progress *progress)
{
	int64_t now;

	if (!progress->terminal || (now = clock_monotonic_ms()) < progress->due)
		return;
	fputs("\r\033[Kscanning", stderr);
	if (progress->places)
		fprintf(stderr, " network namespace %zu of %zu", progress->place, progress->places);
	fprintf(stderr, ": %zu flows looked at, %zu half-closed", progress->looked, progress->found);
	fflush(stderr);
	progress->shown = true;
	progress->due = now + PROGRESS_EVERY_MS;
}

void half_closed_progress_place(struct half_closed_progress *progress, size_t place, size_t places)
{
	progress->place = place;
	progress->places = places;
	half_closed_progress_show(progress);
}

void half_closed_progress_flow(struct half_closed_progress *progress, bool found)
{
	progress->found += found;
	if (++progress->looked % PROGRESS_FLOWS == 0)
		half_closed_progress_show(progress);
}

void half_closed_progress_end(struct half_closed_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->shown = false;
}
